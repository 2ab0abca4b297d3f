//! Names of characters that are copied by accident from a web page or a zone file.

/// Which character is not allowed, and what is before it; `None` when all are.
pub(super) fn unexpected(text: &[u8], allowed: impl Fn(u8) -> bool) -> Option<String> {
    let place = text.iter().position(|byte| !allowed(*byte))?;
    let (before, rest) = text.split_at(place);
    let before = String::from_utf8_lossy(before);
    let near = before.chars().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<String>();
    let after = if near.is_empty() { " at its start".to_owned() } else { format!(" after {near:?}") };
    Some(match named(rest) {
        Some((name, instead)) => {
            format!("there is {name}{after}, perhaps copied from a web page: write {instead} instead")
        }
        None => format!("the byte {:#04x}{after} is not allowed", rest.first().copied().unwrap_or_default()),
    })
}

/// The name of the character at the start of a text, and what to write instead.
fn named(text: &[u8]) -> Option<(String, &'static str)> {
    let start = text.get(..text.len().min(4)).unwrap_or_default();
    let character = start.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    // A lone 0xa0 is the same character in ISO 8859-1.
    let character = character.or_else(|| (text.first() == Some(&0xa0)).then_some('\u{a0}'))?;
    let (name, instead) = match character {
        '\u{a0}' | '\u{202f}' => ("a no-break space", "a plain space"),
        '\u{2000}'..='\u{200a}' | '\u{3000}' => ("a wide or thin space", "a plain space"),
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => ("an invisible character", "nothing"),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}' => ("a curly quotation mark", "nothing"),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => ("a dash", "a plain -"),
        '\t' => ("a tab", "a plain space"),
        '\n' | '\r' => ("a line end", "a plain space"),
        other if other.is_ascii() => return None,
        other => return Some((format!("the character {other:?}"), "plain ASCII")),
    };
    Some((format!("{name} (U+{:04X})", u32::from(character)), instead))
}

/// A text in lower case, without blanks, quotation marks, backslashes and non-ASCII characters: the intended record,
/// however it is written.
pub(super) fn bare(text: &[u8]) -> String {
    let kept = text.iter().filter(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    kept.map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// Whether a text has a character that is not allowed in a URI (RFC 3986, section 2).
pub(super) fn is_no_uri(text: &str) -> bool {
    text.contains(|c: char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c))
}

/// Whether the text after `mailto:` in a URI has a mail address with a host name, perhaps with header fields after a
/// `?` (RFC 6068, section 2).
pub(super) fn is_mailto(text: &str) -> bool {
    let address = text.split('?').next().unwrap_or_default();
    let Some((local, host)) = address.rsplit_once('@') else { return false };
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    !local.is_empty() && !local.contains('@') && host.contains('.') && host.split('.').all(label)
}

/// Zone file syntax in a record from a web form, and what to write instead; for a record that can't be parsed.
pub(super) fn from_zone_file(text: &[u8]) -> Option<String> {
    if text.windows(2).any(|pair| pair == b"\\;") {
        return Some("write ; without the backslash, which is only for zone files".to_owned());
    }
    text.contains(&b'"').then(|| "remove the quotation marks, which are only for zone files".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_from_a_web_page_is_named() {
        let printable = |byte: u8| matches!(byte, 0x20..=0x7e);
        for (text, words) in [
            ("v=DMARC1;\u{a0}p=none".as_bytes(), "a no-break space (U+00A0) after \"v=DMARC1;\""),
            (b"v=DMARC1;\xa0p=none", "a no-break space (U+00A0)"),
            ("\u{feff}v=DMARC1".as_bytes(), "an invisible character (U+FEFF) at its start"),
            ("\u{201c}v=DMARC1".as_bytes(), "a curly quotation mark (U+201C)"),
            ("v=spf1 mx \u{2013}all".as_bytes(), "write a plain - instead"),
            ("v=spf1\tmx".as_bytes(), "a tab (U+0009)"),
            ("caf\u{e9}".as_bytes(), "the character 'é'"),
            (b"\xff", "the byte 0xff at its start"),
            (b"a\0", "the byte 0x00 after \"a\""),
        ] {
            let found = unexpected(text, printable).unwrap();
            assert!(found.contains(words), "{found}");
        }
        assert_eq!(unexpected(b"v=spf1 mx -all", printable), None);
    }

    #[test]
    fn a_mail_address_has_a_host_name() {
        for good in ["a@b.test", "a+b%40c@b-1.test", "a@b.test?subject=x"] {
            assert!(is_mailto(good), "{good}");
        }
        for bad in ["", "a", "@b.test", "a@", "a@b", "a@b..test", "a@@b.test", "a@b.test=https://x.test", "a@b_c.test"]
        {
            assert!(!is_mailto(bad), "{bad}");
        }
    }

    #[test]
    fn a_record_is_known_by_what_it_was_meant_to_be() {
        assert_eq!(bare("\u{a0}\"V = STSv1\\; id=1\"".as_bytes()), "v=stsv1;id=1");
    }
}
