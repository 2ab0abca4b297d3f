//! Names as text: lower case, no last dot, any bytes in a label but the dot; the root is the empty text.

use std::net::IpAddr;

/// The canonical form of a name.
pub(super) fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether DNS can hold the name: labels of 1 to 63 bytes, 253 bytes in all (RFC 1035, section 2.3.4).
pub(super) fn is_askable(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Whether `name` is `parent` or below it.
pub(super) fn is_within(name: &str, parent: &str) -> bool {
    parent.is_empty() || name == parent || name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

/// The name without its first label; of a single label, the root.
pub(super) fn parent(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, rest)| rest)
}

/// The number of labels; 0 for the root.
pub(super) fn labels(name: &str) -> usize {
    if name.is_empty() { 0 } else { name.split('.').count() }
}

/// The last `count` labels.
pub(super) fn last_labels(name: &str, count: usize) -> &str {
    (count..labels(name)).fold(name, |rest, _| parent(rest))
}

/// The address's parts in the order of the text: four numbers, or 32 hexadecimal digits (RFC 7208, section 7.3).
pub(super) fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let digits = v6.octets().iter().map(|byte| format!("{:X}.{:X}", byte >> 4, byte & 15)).collect::<Vec<_>>();
            digits.join(".")
        }
    }
}

/// The name that holds the PTR records of an address (RFC 1035, section 3.5; RFC 3596, section 2.5).
pub(super) fn reverse(ip: IpAddr) -> String {
    let dotted = dotted(ip);
    let parts = dotted.rsplit('.').collect::<Vec<_>>().join(".");
    let suffix = if ip.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    canonical(&format!("{parts}.{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_within_themselves_and_their_parents_only() {
        assert!(is_within("a.example.com", "example.com"));
        assert!(is_within("example.com", "example.com") && is_within("com", ""));
        assert!(!is_within("badexample.com", "example.com") && !is_within("com", "example.com"));
    }

    #[test]
    fn labels_are_counted_from_the_right() {
        assert_eq!((labels(""), labels("a.b.c")), (0, 3));
        assert_eq!(last_labels("a.b.c", 2), "b.c");
        assert_eq!(last_labels("c", 2), "c");
    }

    #[test]
    fn what_dns_cannot_hold_is_not_asked() {
        assert!(is_askable("a b.example"));
        for bad in ["", "a..b", &"a".repeat(64), &"ab.".repeat(90)] {
            assert!(!is_askable(bad), "{bad:?}");
        }
    }

    #[test]
    fn reverse_names_follow_the_family() {
        assert_eq!(reverse("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        let v6 = reverse("2001:db8::1".parse().unwrap());
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
    }
}
