//! The connection to a Mailcow server, its observer and its permit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
