//! The mechanisms of an SPF record (RFC 7208, section 5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::macros::MacroString;

/// A mechanism.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// `all`
    All,
    /// `include:domain`
    Include(MacroString),
    /// `a[:domain][/4][//6]`
    A(Option<MacroString>, Prefixes),
    /// `mx[:domain][/4][//6]`
    Mx(Option<MacroString>, Prefixes),
    /// `ptr[:domain]`
    Ptr(Option<MacroString>),
    /// `ip4:` and `ip6:`
    Ip(IpAddr, u8),
    /// `exists:domain`
    Exists(MacroString),
}

/// Prefix lengths in bits for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    v4: u8,
    v6: u8,
}

impl Mechanism {
    /// Reads a mechanism without its qualifier.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let end = text.find([':', '/']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let target = || rest.strip_prefix(':').ok_or_else(|| format!("{name} needs a colon and a value"));
        match name.to_ascii_lowercase().as_str() {
            "all" if rest.is_empty() => Ok(Self::All),
            "all" => Err("all must have no value".to_owned()),
            "include" => Ok(Self::Include(MacroString::domain(target()?)?)),
            "exists" => Ok(Self::Exists(MacroString::domain(target()?)?)),
            "a" => ranged(rest).map(|(domain, prefixes)| Self::A(domain, prefixes)),
            "mx" => ranged(rest).map(|(domain, prefixes)| Self::Mx(domain, prefixes)),
            "ptr" if rest.is_empty() => Ok(Self::Ptr(None)),
            "ptr" => Ok(Self::Ptr(Some(MacroString::domain(target()?)?))),
            "ip4" => network(target()?, 32, |ip| ip.parse::<Ipv4Addr>().ok().map(IpAddr::V4)),
            "ip6" => network(target()?, 128, |ip| ip.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
            _ => Err(format!("{name:?} is not a mechanism")),
        }
    }

    /// Whether it counts towards the 10 terms that look up (section 4.6.4).
    pub(super) fn looks_up(&self) -> bool {
        !matches!(self, Self::All | Self::Ip(..))
    }
}

/// `[":" domain-spec] ["/" ip4-length] ["//" ip6-length]`
fn ranged(rest: &str) -> Result<(Option<MacroString>, Prefixes), String> {
    let (rest, v6) = trailing_length(rest, "//", 128)?;
    let (rest, v4) = trailing_length(rest, "/", 32)?;
    let domain = match rest.strip_prefix(':') {
        Some(domain) => Some(MacroString::domain(domain)?),
        None if rest.is_empty() => None,
        None => return Err(format!("{rest:?} is not a prefix length")),
    };
    Ok((domain, Prefixes { v4, v6 }))
}

/// Takes a prefix length off the end, if there is one.
fn trailing_length<'a>(text: &'a str, mark: &str, most: u8) -> Result<(&'a str, u8), String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_digit());
    match digits.strip_suffix(mark) {
        Some(before) if digits.len() < text.len() => Ok((before, length(&text[digits.len()..], most)?)),
        _ => Ok((text, most)),
    }
}

fn length(digits: &str, most: u8) -> Result<u8, String> {
    let value = digits.parse::<u8>().ok().filter(|value| *value <= most);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    value.filter(|_| plain).ok_or_else(|| format!("/{digits} is not a prefix length of at most {most}"))
}

fn network(text: &str, most: u8, parse: impl Fn(&str) -> Option<IpAddr>) -> Result<Mechanism, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, digits)) => (address, length(digits, most)?),
        None => (text, most),
    };
    let address =
        parse(address).ok_or_else(|| format!("{address:?} is not an IPv{} address", if most == 32 { 4 } else { 6 }))?;
    Ok(Mechanism::Ip(address, bits))
}

impl Prefixes {
    /// Whether two addresses of one family are in one network.
    pub(super) fn same_network(self, a: IpAddr, b: IpAddr) -> bool {
        let bits = if a.is_ipv4() { self.v4 } else { self.v6 };
        same_network(a, b, bits)
    }
}

/// Whether two addresses of one family agree in their first bits.
pub(super) fn same_network(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differing = u32::from(a) ^ u32::from(b);
            differing.checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differing = u128::from(a) ^ u128::from(b);
            differing.checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_grammar_is_read() {
        for good in [
            "all",
            "ALL",
            "a",
            "a/24",
            "a//64",
            "a/24//64",
            "a:e.com/24//64",
            "mx:foo:bar/baz.e.com",
            "ptr",
            "ptr:e.com",
            "ip4:192.0.2.0/24",
            "ip6:2001:db8::/32",
            "ip6:::1",
            "exists:%{i}.e.com",
            "include:e.com",
        ] {
            assert!(Mechanism::parse(good).is_ok(), "{good}: {:?}", Mechanism::parse(good));
        }
        for bad in [
            "",
            "all:x",
            "all/8",
            "al",
            "include",
            "include:",
            "include:e.com/24",
            "exists",
            "a/33",
            "a//129",
            "a/024",
            "a:",
            "a/24/64",
            "ptr/0",
            "ptr:",
            "ip4",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4//32",
            "ip4:::1",
            "ip6:1.2.3.4",
            "ip6:::1/129",
            "ip4:1.2.3.4/",
            "a:1.2.3.4",
            "a/",
        ] {
            assert!(Mechanism::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_compared_by_their_first_bits() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(same_network(ip("192.0.2.1"), ip("192.0.2.200"), 24));
        assert!(!same_network(ip("192.0.2.1"), ip("192.0.3.1"), 24));
        assert!(same_network(ip("192.0.2.1"), ip("10.0.0.1"), 0));
        assert!(same_network(ip("2001:db8::1"), ip("ff00::"), 0));
        assert!(!same_network(ip("2001:db8::1"), ip("2001:db8::2"), 128));
        assert!(!same_network(ip("2001:db8::1"), ip("192.0.2.1"), 0));
    }

    #[test]
    fn what_looks_up_counts() {
        let counted = ["a", "mx", "ptr", "include:e.com", "exists:e.com"];
        assert!(counted.iter().all(|text| Mechanism::parse(text).unwrap().looks_up()));
        assert!(!["all", "ip4:1.2.3.4"].iter().any(|text| Mechanism::parse(text).unwrap().looks_up()));
    }
}
