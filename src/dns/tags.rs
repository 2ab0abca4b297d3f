//! Tag lists, `tag=value; tag=value`, as DKIM and DMARC write them (RFC 6376, section 3.2; RFC 9989, section 4.8).

/// Tags in the order of the text: lower-case name, value without blanks around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tags(Vec<(String, String)>);

impl Tags {
    /// Reads a tag list; blanks around names and values are free, as is a last semicolon.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        if let Some(byte) = text.iter().find(|byte| !(byte.is_ascii_graphic() || b" \t\r\n".contains(byte))) {
            return Err(format!("the byte {byte:#04x} is not allowed in it"));
        }
        let text = String::from_utf8_lossy(text);
        let mut pieces = text.split(';').collect::<Vec<_>>();
        if pieces.last().is_some_and(|last| last.trim().is_empty()) {
            pieces.pop();
        }
        let mut tags = Self::default();
        for piece in pieces {
            tags.push(piece.trim())?;
        }
        Ok(tags)
    }

    fn push(&mut self, piece: &str) -> Result<(), String> {
        let Some((name, value)) = piece.split_once('=') else {
            return Err(format!("{piece:?} is not of the form tag=value"));
        };
        let name = name.trim_end().to_ascii_lowercase();
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !letters || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(format!("{name:?} is not a tag"));
        }
        if self.get(&name).is_some() {
            return Err(format!("the tag {name}= stands in it twice"));
        }
        self.0.push((name, value.trim_start().to_owned()));
        Ok(())
    }

    /// A tag's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str())
    }

    /// The place of a tag, from 0.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|(tag, _)| tag == name)
    }

    /// The members of a list that is separated by this character.
    pub(super) fn list(&self, name: &str, separator: char) -> Option<Vec<&str>> {
        self.get(name).map(|value| value.split(separator).map(str::trim).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_a_last_semicolon_are_free() {
        let tags = Tags::parse(b" v = DKIM1 ;\tk=rsa; p = a b=; ").unwrap();
        assert_eq!((tags.get("v"), tags.get("k"), tags.get("p")), (Some("DKIM1"), Some("rsa"), Some("a b=")));
        assert_eq!(tags.place("k"), Some(1));
        assert_eq!(Tags::parse(b"s=email : *").unwrap().list("s", ':'), Some(vec!["email", "*"]));
    }

    #[test]
    fn what_is_no_tag_list_is_refused() {
        for bad in ["v=1;;p=2", "v", "v=1; v=2", "=x", "a-b=c", "1=2", "v=\u{e4}", "v=\0"] {
            assert!(Tags::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(Tags::parse(b"").unwrap(), Tags::default());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for a in 0..=255u8 {
            for b in [0, b';', b'=', b' ', b'v', 0xff] {
                drop(Tags::parse(&[a, b, a]));
                drop(Tags::parse(&[b, a, b, b]));
            }
        }
    }
}
