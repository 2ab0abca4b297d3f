//! Which addresses are public. Published records decide where the operator connects to, so it does not connect to other
//! addresses (of the cluster, the node, a cloud's metadata service) unless that is allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The message for a host that has only other addresses.
pub(super) const NOT_PUBLIC: &str = "has no public address (dns.allowPrivate allows private ones)";

/// IPv4 networks that are not public (IANA special-purpose registry, RFC 6890), with their prefix lengths.
const V4: [([u8; 4], u8); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10), // carrier-grade NAT (RFC 6598)
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32), // Azure's host agent
    ([169, 254, 0, 0], 16),   // link-local, and the metadata services of clouds
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24), // documentation
    ([192, 31, 196, 0], 24),
    ([192, 168, 0, 0], 16),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// Whether an address is one of the public Internet's.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let bits = u32::from(ip);
    !V4.iter().any(|(network, length)| (bits ^ u32::from(Ipv4Addr::from(*network))) >> (32 - u32::from(*length)) == 0)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let bits = u128::from(ip);
    let embedded = |shift: u32| is_public_v4(Ipv4Addr::from(u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or(0)));
    let [first, second, rest @ ..] = ip.segments();
    match (first, second) {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address in them.
        (0x64, 0xff9b) if rest.starts_with(&[0; 4]) => embedded(0),
        (0x2002, _) => embedded(80),
        // Teredo, ORCHID, benchmarks, documentation.
        (0x2001, 0..=0x01ff | 0xdb8) | (0x3fff, 0..=0x0fff) => false,
        // Mapped and compatible IPv4 (::/8), local NAT64, unique local, link-local, multicast and what is not assigned:
        // only 2000::/3 is global unicast.
        _ => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in ["9.9.9.9", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "2620:fe::fe", "2a00::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:9.9.9.9",
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
        assert!(is_public("64:ff9b::909:909".parse().unwrap()) && is_public("2002:909:909::".parse().unwrap()));
    }
}
