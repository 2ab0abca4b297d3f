//! The part of DER that keys and certificates need (X.690, section 8).

/// The content of a DER element with this tag, and what follows it.
pub(super) fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (_, content, rest) = split(der, tag)?;
    Some((content, rest))
}

/// The element whole, its content, and what follows it.
fn split(der: &[u8], tag: u8) -> Option<(&[u8], &[u8], &[u8])> {
    let [found, first, rest @ ..] = der else { return None };
    if *found != tag {
        return None;
    }
    let digits = usize::from(first.checked_sub(0x80).unwrap_or_default());
    if digits > 3 || *first == 0x80 {
        return None;
    }
    let (length, rest) = rest.split_at_checked(digits)?;
    let length = match digits {
        0 => usize::from(*first),
        _ => length.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)),
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = der.get(..der.len() - after.len())?;
    Some((whole, content, after))
}

/// The `SubjectPublicKeyInfo` of a certificate, whole (RFC 5280, section 4.1).
pub(super) fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (fields, _) = element(certificate, SEQUENCE)?;
    let after_version = element(fields, 0xa0).map_or(fields, |(_, rest)| rest);
    let (_, after_serial) = element(after_version, 0x02)?;
    let mut rest = after_serial;
    for _signature_issuer_validity_subject in 0..4 {
        rest = element(rest, SEQUENCE)?.1;
    }
    split(rest, SEQUENCE).map(|(whole, ..)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short_or_long() {
        assert_eq!(element(&[2, 1, 7, 9], 2), Some((&[7][..], &[9][..])));
        assert_eq!(element(&[2, 0x81, 1, 7], 2), Some((&[7][..], &[][..])));
        assert_eq!(element(&[2, 0x82, 0, 1, 7], 2), Some((&[7][..], &[][..])));
        for bad in [&[2][..], &[2, 2, 7], &[3, 1, 7], &[2, 0x80, 1], &[2, 0x84, 0, 0, 0, 1, 7], &[2, 0x81]] {
            assert_eq!(element(bad, 2), None, "{bad:?}");
        }
    }

    #[test]
    fn the_key_of_a_certificate_is_found_behind_the_subject() {
        let sequence = |content: &[u8]| [&[0x30, u8::try_from(content.len()).unwrap()], content].concat();
        let key = sequence(&[1, 2, 3]);
        let before = [vec![0xa0, 1, 2, 2, 1, 5], sequence(&[]), sequence(&[9]), sequence(&[]), sequence(&[])].concat();
        let certificate = sequence(&sequence(&[before, key.clone(), vec![0xa3, 0]].concat()));
        assert_eq!(public_key(&certificate), Some(key.as_slice()));
        assert_eq!(public_key(&certificate[..12]), None);
    }
}
