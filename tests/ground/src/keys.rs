//! Secrets of one control plane: the key that signs service account tokens, and the admin's token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::{Error, Result};

/// What precedes the point in the `SubjectPublicKeyInfo` of a P-256 key.
const PUBLIC_KEY_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A new P-256 key as PEM, the private and the public half in one text: Kubernetes takes from it what it needs.
pub(crate) fn signing_key() -> Result<String> {
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let random = SystemRandom::new();
    let unreadable = |message: String| Error::Unreadable { what: "the new signing key".to_owned(), message };
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|e| unreadable(e.to_string()))?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).map_err(|e| unreadable(e.to_string()))?;
    let public = [&PUBLIC_KEY_HEAD, pair.public_key().as_ref()].concat();
    Ok(pem("PRIVATE KEY", private.as_ref()) + &pem("PUBLIC KEY", &public))
}

/// A new token nobody can guess.
pub(crate) fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// One PEM block.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: String = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_key_has_both_halves_in_lines_of_64() {
        let key = signing_key().unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(key.ends_with("-----END PUBLIC KEY-----\n"));
        assert!(key.lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(token(), token());
    }
}
