//! The connection to a Mailcow server, its observer and its permit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretString};

use super::location::without_credentials;

/// How to reach a Mailcow server.
#[derive(Clone)]
pub struct Connection {
    /// `https://mail.example.com`, with or without `/api/v1`.
    pub url: String,
    /// The read-write API key.
    pub api_key: SecretString,
    /// A private certificate authority in PEM, in addition to the public ones.
    pub ca: Option<String>,
    /// Host name of the mail server in MX records, if it is not that of the URL.
    pub mail_host: Option<String>,
}

impl Connection {
    /// The connection in a Secret with the keys `url`, `apiKey`, and optionally `ca.crt` and `mailHost`.
    ///
    /// # Errors
    /// Which key is missing or unreadable.
    pub fn of_secret(secret: &Secret) -> Result<Self, String> {
        let text = |key: &str| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key))?;
            std::str::from_utf8(&bytes.0).ok().map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
        };
        let missing =
            |key: &str| format!("the Secret {} does not have the key {key}, or it is empty", secret.name_any());
        let has_ca = secret.data.as_ref().is_some_and(|data| data.contains_key("ca.crt"));
        if has_ca && text("ca.crt").is_none() {
            let name = secret.name_any();
            return Err(format!(
                "the key ca.crt of the Secret {name} is empty or not text; give the certificate as PEM text, or remove the key"
            ));
        }
        Ok(Self {
            url: text("url").ok_or_else(|| missing("url"))?,
            api_key: SecretString::from(text("apiKey").ok_or_else(|| missing("apiKey"))?),
            ca: text("ca.crt"),
            mail_host: text("mailHost"),
        })
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.ca, &self.mail_host) == (&other.url, &other.ca, &other.mail_host)
            && self.api_key.expose_secret() == other.api_key.expose_secret()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("url", &without_credentials(&self.url)).finish_non_exhaustive()
    }
}

/// Called for every request: action (`add/mailbox`), outcome (one static word) and duration.
pub type Observer = Arc<dyn Fn(&'static str, &'static str, Duration) + Send + Sync>;

/// Called before each write is sent.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use std::collections::BTreeMap;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data: BTreeMap<String, ByteString> =
            entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn a_secret_is_read_with_or_without_a_certificate() {
        let connection = Connection::of_secret(&secret(&[("url", "https://m.example\n"), ("apiKey", "K")])).unwrap();
        assert_eq!((connection.url.as_str(), connection.ca), ("https://m.example", None));
        assert!(
            Connection::of_secret(&secret(&[("url", "u"), ("apiKey", "K"), ("ca.crt", "PEM")])).unwrap().ca.is_some()
        );
    }

    #[test]
    fn a_certificate_that_is_no_text_is_not_taken_for_a_missing_one() {
        let with = |ca: &str| Connection::of_secret(&secret(&[("url", "u"), ("apiKey", "K"), ("ca.crt", ca)]));
        assert!(with(" \n").unwrap_err().contains("ca.crt"));
        let mut binary = secret(&[("url", "u"), ("apiKey", "K")]);
        binary.data.as_mut().unwrap().insert("ca.crt".into(), ByteString(vec![0x30, 0x82, 0xff]));
        assert!(Connection::of_secret(&binary).unwrap_err().contains("PEM"));
    }

    #[test]
    fn a_missing_key_is_named() {
        assert!(Connection::of_secret(&secret(&[("url", "u")])).unwrap_err().contains("apiKey"));
        assert!(Connection::of_secret(&secret(&[("url", " "), ("apiKey", "K")])).unwrap_err().contains("url"));
    }
}
