//! The small PHP functions whose exact behaviour shows in Mailcow's answers.

/// `htmlspecialchars` with its default flags.
pub(crate) fn html_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#039;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// What Mailcow takes for a domain name: labels of letters, digits and inner hyphens.
pub(crate) fn is_domain_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// `FILTER_VALIDATE_EMAIL`.
pub(crate) fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    address.len() <= 254 && is_local_part(local) && is_mail_domain(domain)
}

fn is_local_part(local: &str) -> bool {
    const EXTRA: &str = "!#$%&'*+-/=?^_`{|}~";
    local.len() <= 64
        && local
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(|c| c.is_ascii_alphanumeric() || EXTRA.contains(c)))
}

fn is_mail_domain(domain: &str) -> bool {
    let top_is_a_word =
        domain.rsplit_once('.').is_some_and(|(_, top)| top.starts_with(|c: char| c.is_ascii_alphabetic()));
    top_is_a_word && is_domain_name(domain)
}

/// Lower case and punycode, as Mailcow stores domain names; `""` when it cannot be done.
pub(crate) fn to_punycode(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    idna::domain_to_ascii(name).unwrap_or_default()
}

/// The name with punycode labels written out.
pub(crate) fn to_unicode(name: &str) -> String {
    idna::domain_to_unicode(name).0
}

/// The two parts of an address as Mailcow cuts them: around the first `@`, both empty without one.
pub(crate) fn cut_address(address: &str) -> (&str, &str) {
    address.split_once('@').unwrap_or(("", ""))
}

/// The pieces of a list written with blanks, commas, semicolons or newlines.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    text.split([' ', ',', ';', '\n', '\r', '\t']).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
}

/// Names are found whatever their case: the key under which a name is kept and sorted.
pub(crate) fn collated(name: &str) -> String {
    name.to_uppercase()
}

/// Undoes percent encoding.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = text.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[i], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_as_php_does() {
        for good in ["a@b.test", "o'neil&co@b.test", "x+y@xn--mller-kva.test", "-a@b.test"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["null@localhost", "a..b@b.test", ".a@b.test", "a b@b.test", "j\u{f6}@b.test"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn domain_names_are_judged_as_mailcow_does() {
        assert!(is_domain_name("localhost") && is_domain_name("1.2.3.4"));
        assert!(!is_domain_name("dot.test.") && !is_domain_name("bad_domain.test"));
    }
}
