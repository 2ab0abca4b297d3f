//! Hashes as text, and shortened names.

use sha2::{Digest, Sha256};

/// Two lower-case digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// SHA-256 of a text (FIPS 180-4) as 64 digits.
pub fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The text; of one that is longer than `longest` bytes the beginning, `~` and 8 digits of its hash.
pub fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(longest.saturating_sub(9))).unwrap_or_default();
    format!("{kept}~{}", hex(&Sha256::digest(text.as_bytes())[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_as_everybody_writes_it() {
        assert_eq!(hex(&[0, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert!(sha256("abc").starts_with("ba7816bf8f01cfea") && sha256("abc").len() == 64);
    }

    #[test]
    fn a_long_text_is_cut_and_stays_apart() {
        assert_eq!(cut("short", 20), "short");
        let long = |last: &str| cut(&format!("{}{last}", "x".repeat(30)), 20);
        assert_ne!(long("a"), long("b"));
        assert_eq!(long("a").len(), 20);
        let wide = cut(&"ü".repeat(30), 20);
        assert!(wide.starts_with("ü") && wide.len() <= 20, "{wide}");
    }
}
