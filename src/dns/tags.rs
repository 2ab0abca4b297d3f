//! Tag lists, `tag=value; tag=value`, as DKIM keys and BIMI records are written (RFC 6376, section 3.2). DMARC, MTA-STS
//! and TLS-RPT have grammars of their own.

use super::characters::unexpected;

/// Tags in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tags(Vec<(String, String)>);

impl Tags {
    /// Reads a tag list. Folding white space around names and values is free, as is a last semicolon; names and values
    /// keep their case.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let unfolded = unfold(text);
        if let Some(problem) = unexpected(&unfolded, |byte| matches!(byte, b'\t' | 0x20..=0x7e)) {
            return Err(problem);
        }
        let text = String::from_utf8_lossy(&unfolded);
        let mut pieces = text.split(';').collect::<Vec<_>>();
        if pieces.len() > 1 && pieces.last().is_some_and(|last| last.trim().is_empty()) {
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
            return Err(no_tag(piece));
        };
        let name = name.trim_end();
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !letters || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(format!("{name:?} is not the name of a tag"));
        }
        if self.get(name).is_some() {
            return Err(format!("the tag {name}= is in the record twice"));
        }
        self.0.push((name.to_owned(), value.trim_start().to_owned()));
        Ok(())
    }

    /// A tag's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str())
    }

    /// A tag's value, where the tag has to be there.
    ///
    /// # Errors
    /// That it is missing, or written in capitals.
    pub(super) fn demand(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| match self.0.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(name)) {
            Some((tag, _)) => format!("the tag {tag}= is ignored: write {name}= in lower case"),
            None => format!("the tag {name}= is missing"),
        })
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

/// Says what to write for a piece without `=`.
pub(super) fn no_tag(piece: &str) -> String {
    if piece.is_empty() {
        return "there is nothing between two semicolons".to_owned();
    }
    match piece.split_once(':') {
        Some((name, value)) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            format!("{piece:?} does not have the form tag=value: write {name}={}", value.trim())
        }
        _ => format!("{piece:?} does not have the form tag=value"),
    }
}

/// Takes the line ends out of folded white space: CRLF before a blank (RFC 6376, section 2.8).
fn unfold(text: &[u8]) -> Vec<u8> {
    let mut unfolded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let [b'\r', b'\n', b' ' | b'\t', ..] = rest {
            rest = rest.get(2..).unwrap_or_default();
            continue;
        }
        unfolded.push(*first);
        rest = after;
    }
    unfolded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6376, section 3.2, production by production.
    #[test]
    fn tag_lists_are_read_as_the_grammar_has_them() {
        for (text, tags) in [
            // tag-list = tag-spec *( ";" tag-spec ) [ ";" ]
            ("a=1", &[("a", "1")][..]),
            ("a=1;b=2;", &[("a", "1"), ("b", "2")]),
            // tag-spec = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
            (" v = DKIM1 ;\tk=rsa; p = a b=; ", &[("v", "DKIM1"), ("k", "rsa"), ("p", "a b=")]),
            ("a=1;\r\n b=2", &[("a", "1"), ("b", "2")]),
            // tag-name = ALPHA *ALNUMPUNC
            ("aZ_9=1", &[("aZ_9", "1")]),
            // tag-value = [ tval *( 1*(WSP / FWS) tval ) ]
            ("a=", &[("a", "")]),
            ("a=x  y", &[("a", "x  y")]),
            // VALCHAR = %x21-3A / %x3C-7E
            ("n=\"rotated\"!~=:", &[("n", "\"rotated\"!~=:")]),
            // "Tags MUST be interpreted in a case-sensitive manner."
            ("p=1;P=2", &[("p", "1"), ("P", "2")]),
        ] {
            let wanted = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(Tags::parse(text.as_bytes()), Ok(Tags(wanted)), "{text:?}");
        }
        assert_eq!(Tags::parse(b"s=email : *").unwrap().list("s", ':'), Some(vec!["email", "*"]));
        assert_eq!(Tags::parse(b"v=1;k=2").unwrap().place("k"), Some(1));
    }

    #[test]
    fn what_is_no_tag_list_is_refused() {
        for bad in [
            "",
            ";",
            "a=1;;b=2",
            "a",
            "a=1;a=2",
            "=x",
            "a-b=c",
            "1=2",
            "_a=1",
            "a b=1",
            "v=\u{e4}",
            "v=\0",
            "v=\x7f",
            "a=1\nb",
            "a=1;\nb=2",
            "a=1;\r\nb=2",
        ] {
            assert!(Tags::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_write() {
        assert!(Tags::parse(b"v=1; fo:1").unwrap_err().ends_with("write fo=1"));
        let capital = Tags::parse(b"P=abc").unwrap();
        assert_eq!(capital.demand("p").unwrap_err(), "the tag P= is ignored: write p= in lower case");
        assert_eq!(capital.demand("l").unwrap_err(), "the tag l= is missing");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for a in 0..=255u8 {
            for b in [0, b';', b'=', b' ', b'v', b'\r', b'\n', 0xff] {
                drop(Tags::parse(&[a, b, a]));
                drop(Tags::parse(&[b, a, b, b]));
            }
        }
    }
}
