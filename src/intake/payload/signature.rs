//! Signatures of webhooks (Standard Webhooks 1.0, symmetric keys).

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

/// The shortest key in bytes. The specification asks for 24; other senders' keys are shorter.
const SHORTEST: usize = 16;

const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signs requests with one key, or with several while a key is replaced.
#[derive(Clone)]
pub struct Signer(Vec<hmac::Key>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer with {} keys", self.0.len())
    }
}

/// Why a signing secret can't be used; without the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is no base64.
    #[error("the signing secret is not base64: write whsec_ and base64, or base64 alone")]
    NotBase64,
    /// It is too short.
    #[error(
        "the signing secret is too short: make one of 24 to 64 random bytes, for example with `openssl rand -base64 32`"
    )]
    TooShort,
}

impl Signer {
    /// Reads secrets: `whsec_` and base64, or base64 alone, with or without padding and blanks around it.
    ///
    /// # Errors
    /// [`InvalidSecret`].
    pub fn new(secrets: &[SecretString]) -> Result<Self, InvalidSecret> {
        secrets.iter().map(|secret| key(secret.expose_secret())).collect::<Result<_, _>>().map(Self)
    }

    /// The header fields for a body: id, timestamp and signatures. `now` is that of this try, in seconds since 1970.
    pub fn headers(&self, id: &str, now: i64, body: &[u8]) -> Vec<(&'static str, String)> {
        let mut headers = vec![("webhook-id", id.to_owned()), ("webhook-timestamp", now.to_string())];
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{now}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        let signatures: Vec<String> = self.0.iter().map(sign).collect();
        if !signatures.is_empty() {
            headers.push(("webhook-signature", signatures.join(" ")));
        }
        headers
    }
}

fn key(secret: &str) -> Result<hmac::Key, InvalidSecret> {
    let text = secret.trim();
    let text = text.strip_prefix("whsec_").unwrap_or(text);
    let bytes = ANY_PADDING.decode(text).map_err(|_| InvalidSecret::NotBase64)?;
    if bytes.len() < SHORTEST {
        return Err(InvalidSecret::TooShort);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secrets: &[&str]) -> Result<Signer, InvalidSecret> {
        Signer::new(&secrets.iter().map(|secret| SecretString::from(*secret)).collect::<Vec<_>>())
    }

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_is_that_of_the_reference_libraries() {
        let headers = signer(&[SECRET]).unwrap().headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            headers,
            [
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
                ("webhook-timestamp", "1614265330".to_owned()),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()),
            ]
        );
    }

    #[test]
    fn all_forms_of_a_secret_are_one_key() {
        let of = |secret: &str| signer(&[secret]).unwrap().headers("i", 1, b"x");
        let plain = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA==";
        for form in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA==\n"] {
            assert_eq!(of(form), of(plain), "{form:?}");
        }
    }

    #[test]
    fn each_key_signs_while_one_is_replaced() {
        let both = signer(&[SECRET, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]).unwrap().headers("i", 1, b"x");
        assert_eq!(both[2].1.split(' ').count(), 2);
        assert_eq!(signer(&[]).unwrap().headers("i", 1, b"x").len(), 2);
    }

    #[test]
    fn a_bad_secret_is_refused_and_not_repeated() {
        assert_eq!(signer(&["not base64!"]).unwrap_err(), InvalidSecret::NotBase64);
        assert_eq!(signer(&["whsec_AAAA"]).unwrap_err(), InvalidSecret::TooShort);
        assert_eq!(format!("{:?}", signer(&[SECRET]).unwrap()), "Signer with 1 keys");
    }
}
