//! Public keys for DKIM.
//!
//! Mailcow never shows a private key, so none is made: a new key is a random odd number of the
//! wanted size with the usual exponent, in the form every reader of public keys accepts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `rsaEncryption` with its empty parameter.
const ALGORITHM: [u8; 15] = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
/// 65537, the exponent of every key.
const EXPONENT: [u8; 5] = [2, 3, 1, 0, 1];

/// Whether OpenSSL makes keys of that many bits.
pub(crate) fn can_make(bits: usize) -> bool {
    (384..=16_384).contains(&bits)
}

/// A new public key of that many bits, base64 of its DER form.
pub(crate) fn make(bits: usize) -> String {
    let mut modulus = vec![0_u8; bits.div_ceil(8)];
    for chunk in modulus.chunks_mut(16) {
        let random = rand::random::<u128>().to_be_bytes();
        chunk.copy_from_slice(&random[..chunk.len()]);
    }
    let top = (bits - 1) % 8;
    if let Some(first) = modulus.first_mut() {
        *first = (*first & ((1 << top) - 1)) | 1 << top;
    }
    if let Some(last) = modulus.last_mut() {
        *last |= 1;
    }
    if modulus.first().is_some_and(|first| first & 0x80 != 0) {
        modulus.insert(0, 0);
    }
    encode(&modulus)
}

/// The public half of a private key in PKCS #8 or PKCS #1 form.
pub(crate) fn public_of(pem: &str) -> Option<String> {
    let body: String =
        pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect::<Vec<_>>().concat();
    if !pem.contains("PRIVATE KEY") {
        return None;
    }
    let der = STANDARD.decode(body).ok()?;
    let (_, outer, _) = element(&der)?;
    let (_, _, after_version) = element(outer)?;
    let (tag, second, after_second) = element(after_version)?;
    if tag == 2 {
        return Some(encode(second));
    }
    let (_, wrapped, _) = element(after_second)?;
    let (_, key, _) = element(wrapped)?;
    let (_, _, after_version) = element(key)?;
    let (_, modulus, _) = element(after_version)?;
    Some(encode(modulus))
}

/// Tag, content and rest of the DER element at the front.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn encode(modulus: &[u8]) -> String {
    let key = wrap(0x30, &[wrap(2, modulus), EXPONENT.to_vec()].concat());
    let bit_string = wrap(3, &[vec![0], key].concat());
    STANDARD.encode(wrap(0x30, &[ALGORITHM.to_vec(), bit_string].concat()))
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let digits: Vec<u8> = length.iter().copied().skip_while(|b| *b == 0).collect();
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
            out.extend(digits);
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_have_the_length_of_real_ones() {
        for (bits, length) in [(1024, 216), (2048, 392), (3072, 564), (4096, 736)] {
            assert_eq!(super::make(bits).len(), length);
        }
        assert_ne!(super::make(1024), super::make(1024));
        assert!(super::make(999).len() < 216);
    }
}
