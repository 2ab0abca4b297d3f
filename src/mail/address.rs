//! Domain names and addresses in canonical form: lower case, A-labels.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a domain name or address; the message has the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Not a domain name for mail.
    #[error("{0:?} is not a domain name: {1}")]
    Domain(String, &'static str),
    /// Not an address that Mailcow accepts.
    #[error("{0:?} is not an email address: {1}")]
    Address(String, &'static str),
}

/// A domain name as a lower-case A-label without the last dot (RFC 5890). Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DomainName(Arc<str>);

impl DomainName {
    /// Reads a U-label or A-label name, in any case, with or without the last dot.
    ///
    /// # Errors
    /// When it is no host name of at least two labels (RFC 1123, section 2.1), or IDNA (UTS 46) refuses it.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let bad = |why| InvalidAddress::Domain(text.to_owned(), why);
        let trimmed = text.strip_suffix('.').unwrap_or(text);
        let ascii = idna::domain_to_ascii_strict(trimmed).map_err(|_| bad("a label is malformed"))?;
        if ascii.len() > 253 {
            return Err(bad("it is longer than 253 bytes"));
        }
        if !ascii.contains('.') {
            return Err(bad("it needs at least two labels, such as example.com"));
        }
        if ascii.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit())) {
            return Err(bad("it is an IP address"));
        }
        Ok(Self(ascii.into()))
    }

    /// The name in A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address: lower-case local part and canonical domain.
///
/// Local parts are what Mailcow takes (recordings `04_mailbox/add_localpart_*`): no quoting, ASCII only. Clones share
/// the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Address {
    local: Arc<str>,
    domain: DomainName,
}

impl Address {
    /// Puts an address together.
    ///
    /// # Errors
    /// When the local part is not one that Mailcow takes.
    pub fn new(local: &str, domain: DomainName) -> Result<Self, InvalidAddress> {
        let bad = |why| InvalidAddress::Address(format!("{local}@{domain}"), why);
        if local.is_empty() || local.len() > 64 {
            return Err(bad("the part before the @ needs 1 to 64 characters"));
        }
        if !local.bytes().all(|b| b.is_ascii_graphic() && !br#"@"(),:;<>[\]"#.contains(&b)) {
            return Err(bad(
                "the part before the @ takes ASCII letters, digits and . ! # $ % & ' * + - / = ? ^ _ ` { | } ~",
            ));
        }
        if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(bad("a dot must stand between two other characters"));
        }
        Ok(Self { local: local.to_ascii_lowercase().into(), domain })
    }

    /// Reads `local@domain`.
    ///
    /// # Errors
    /// When either side is malformed.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let (local, domain) =
            text.rsplit_once('@').ok_or_else(|| InvalidAddress::Address(text.to_owned(), "it has no @"))?;
        Self::new(local, DomainName::parse(domain)?)
    }

    /// The part before the `@`.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// The same address. If it is in this domain, it shares the text of its name: thousands of addresses in one domain
    /// need it once.
    #[must_use]
    pub fn sharing(self, domain: &DomainName) -> Self {
        if self.domain == *domain { Self { domain: domain.clone(), ..self } } else { self }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// What an alias catches: one address, or all that nothing else in the domain takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Catch {
    /// One address.
    One(Address),
    /// The rest of the domain; Mailcow writes it `@example.com`.
    All(DomainName),
}

impl Catch {
    /// Reads an address or `@domain`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        match text.strip_prefix('@') {
            Some(domain) => DomainName::parse(domain).map(Self::All),
            None => Address::parse(text).map(Self::One),
        }
    }

    /// The domain it belongs to.
    pub fn domain(&self) -> &DomainName {
        match self {
            Self::One(address) => address.domain(),
            Self::All(domain) => domain,
        }
    }

    /// The same, with a shared domain ([`Address::sharing`]).
    #[must_use]
    pub fn sharing(self, domain: &DomainName) -> Self {
        match self {
            Self::One(address) => Self::One(address.sharing(domain)),
            Self::All(own) if own == *domain => Self::All(domain.clone()),
            Self::All(other) => Self::All(other),
        }
    }
}

impl fmt::Display for Catch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::All(domain) => write!(f, "@{domain}"),
        }
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for DomainName {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        Self::parse(&text)
    }
}

impl From<Catch> for String {
    fn from(catch: Catch) -> Self {
        catch.to_string()
    }
}

impl TryFrom<String> for Catch {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_lower_case_a_labels() {
        let name = DomainName::parse("BÜCHER.Example.").unwrap();
        assert_eq!(name.as_str(), "xn--bcher-kva.example");
        assert_eq!(name, DomainName::parse("xn--bcher-kva.EXAMPLE").unwrap());
    }

    proptest::proptest! {
        /// Entries are kept in memory as text.
        #[test]
        fn what_was_read_is_read_again_from_its_text(text in "(\\PC{0,8}\\.){1,3}\\PC{1,8}\\.?|[a-zA-Zß-öЀ-яא-ת0-9-]{1,8}\\.[a-zß]{2,6}", local in "[ -~]{1,10}") {
            if let Ok(name) = DomainName::parse(&text) {
                proptest::prop_assert_eq!(DomainName::parse(name.as_str()), Ok(name.clone()));
                if let Ok(address) = Address::new(&local, name) {
                    proptest::prop_assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
                    proptest::prop_assert_eq!(Catch::parse(&address.to_string()), Ok(Catch::One(address)));
                }
            }
        }
    }

    #[test]
    fn what_is_no_mail_domain_is_refused() {
        for bad in
            ["", ".", "localhost", "1.2.3.4", "a..b", "-a.example", "a_b.example", "*.example.com", "a b.example"]
        {
            assert!(DomainName::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("{}.example", "a.".repeat(130));
        assert!(DomainName::parse(&long).is_err());
    }

    #[test]
    fn addresses_are_lower_case_and_keep_the_characters_that_mailcow_takes() {
        assert_eq!(Address::parse("O'Neil+X/y@Example.COM").unwrap().to_string(), "o'neil+x/y@example.com");
    }

    #[test]
    fn what_mailcow_refuses_as_local_part_is_refused() {
        for bad in ["", ".a", "a.", "a..b", "a b", "\"a\"", "ä", "a@b"] {
            assert!(Address::new(bad, DomainName::parse("example.com").unwrap()).is_err(), "{bad:?}");
        }
        assert!(Address::new(&"a".repeat(65), DomainName::parse("example.com").unwrap()).is_err());
    }

    #[test]
    fn a_catch_all_is_written_with_nothing_before_the_at() {
        assert_eq!(Catch::parse("@Example.com").unwrap().to_string(), "@example.com");
        assert!(matches!(Catch::parse("a@example.com").unwrap(), Catch::One(_)));
    }
}
