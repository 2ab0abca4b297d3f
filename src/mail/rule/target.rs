//! Addresses that mail is forwarded to. They belong to other servers, so the local part keeps its case.

use std::fmt;

use crate::mail::{Address, DomainName, InvalidAddress};

/// Why a text is not a forward target; the message has the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// The part after the `@` is not a domain for mail.
    #[error(transparent)]
    Domain(InvalidAddress),
    /// The part before it, or the whole.
    #[error("{0:?} is not an address to forward to: {1}")]
    Address(String, &'static str),
}

/// An address of another mailbox, here or elsewhere: local part as written, canonical domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Without the quotes that it may need.
    local: String,
    domain: DomainName,
}

impl Target {
    /// Reads `local@domain`; the local part may be a quoted string (RFC 5321).
    ///
    /// # Errors
    /// When it is not one address of at most 254 bytes in A-labels, or its local part is not ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let bad = |why| InvalidTarget::Address(text.to_owned(), why);
        let (local, domain) = text.rsplit_once('@').ok_or_else(|| bad("it has no @"))?;
        if local.is_empty() || local.len() > 64 {
            return Err(bad("the part before the @ needs 1 to 64 characters"));
        }
        let local = match local.strip_prefix('"') {
            Some(rest) => {
                unquoted(rest).ok_or_else(|| bad("the quotes before the @ don't contain a single ASCII text"))?
            }
            None if is_dot_atom(local) => local.to_owned(),
            None => return Err(bad("write a plain address without a name, such as info@example.com")),
        };
        let target = Self { local, domain: DomainName::parse(domain).map_err(InvalidTarget::Domain)? };
        match target.to_string().len() {
            0..=254 => Ok(target),
            _ => Err(bad("it is longer than 254 bytes")),
        }
    }

    /// The part before the `@`, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part behind the `@`.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// Whether mail to it ends in `mailbox`, as far as the name shows: Mailcow ignores case and any `+tag`.
    pub fn is_in(&self, mailbox: &Address) -> bool {
        let plain = self.local.split_once('+').map_or(self.local.as_str(), |(before, _)| before);
        let same = |local: &str| local.eq_ignore_ascii_case(mailbox.local());
        self.domain == *mailbox.domain() && (same(plain) || same(&self.local))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_atom(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        let escaped = self.local.replace('\\', r"\\").replace('"', r#"\""#);
        write!(f, "\"{escaped}\"@{}", self.domain)
    }
}

fn is_dot_atom(local: &str) -> bool {
    let is_atom = |part: &str| !part.is_empty() && part.bytes().all(is_atom_byte);
    local.split('.').all(is_atom)
}

fn is_atom_byte(b: u8) -> bool {
    b.is_ascii_graphic() && !br#"@"(),.:;<>[\]"#.contains(&b)
}

/// The text of a quoted string after its first quote; `None` when the last quote is missing or not at the end.
fn unquoted(rest: &str) -> Option<String> {
    let mut chars = rest.chars();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
    let is_plain = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    (is_plain && !text.is_empty() && chars.as_str().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_canonical_and_the_local_part_as_written() {
        assert_eq!(Target::parse("John.Doe@BÜCHER.example").unwrap().to_string(), "John.Doe@xn--bcher-kva.example");
        assert_eq!(Target::parse("a@B.test").unwrap(), Target::parse("a@b.test").unwrap());
    }

    #[test]
    fn quotes_stay_only_where_they_are_needed() {
        let shown = |text| Target::parse(text).unwrap().to_string();
        assert_eq!(shown(r#""john doe"@dest.test"#), r#""john doe"@dest.test"#);
        assert_eq!(shown(r#""john"@dest.test"#), "john@dest.test");
        assert_eq!(shown(r#""a\"b\\c@d"@dest.test"#), r#""a\"b\\c@d"@dest.test"#);
    }

    #[test]
    fn what_is_not_one_plain_address_is_refused() {
        for bad in [
            "alice",
            "Alice <alice@dest.test>",
            "<a@b.test>",
            "a@b.test, c@d.test",
            "a@b.test;c@d.test",
            "a b@c.test",
            "@b.test",
            "a@",
            "a@localhost",
            "a@[1.2.3.4]",
            ".a@b.test",
            "a..b@c.test",
            "ä@b.test",
            "a@b.test\r\n",
            "a\n@b.test",
            "\"a@b.test",
            "\"a\"b@c.test",
            "\"\"@c.test",
            "\"a\r\nb\"@c.test",
            "a(x)@b.test",
            "a@b.test\0",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("{}@{}.test", "a".repeat(64), "b.".repeat(95) + "c");
        assert!(Target::parse(&long).is_err());
    }

    #[test]
    fn any_case_and_tag_of_a_mailbox_is_in_it() {
        let ada = Address::parse("ada@e.com").unwrap();
        for (text, inside) in [
            ("Ada@E.com", true),
            ("ada+x@e.com", true),
            ("adam@e.com", false),
            ("ada@f.com", false),
            ("x+ada@e.com", false),
        ] {
            assert_eq!(Target::parse(text).unwrap().is_in(&ada), inside, "{text}");
        }
    }
}
