//! A sink as the worker uses it: every Secret is already read.

use secrecy::{ExposeSecret, SecretString};

/// Where tasks and notes go.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// Its name, for messages and metrics.
    pub name: String,
    /// How it is reached.
    pub kind: SinkKind,
    /// What the requests need, whatever the kind.
    pub access: Access,
}

/// How a sink is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    /// `POST` of a JSON document.
    Webhook(Webhook),
    /// `PUT` of an iCalendar object into a collection.
    Caldav(Caldav),
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The URL.
    pub url: String,
    /// Secrets that each request is signed with: `whsec_…` or plain base64, the newest first. During a rotation there
    /// are two or more. Without any, requests are not signed.
    pub signing_secrets: Vec<SecretString>,
    /// Whether `RawEmail` goes along.
    pub raw_email: bool,
}

impl PartialEq for Webhook {
    fn eq(&self, other: &Self) -> bool {
        let secrets = |webhook: &Self| -> Vec<String> {
            webhook.signing_secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect()
        };
        self.url == other.url && self.raw_email == other.raw_email && secrets(self) == secrets(other)
    }
}

/// A `CalDAV` collection (RFC 4791).
#[derive(Clone, Debug, PartialEq)]
pub struct Caldav {
    /// URL of the collection.
    pub url: String,
    /// Attachments up to this many bytes together go along inline; the others are only named.
    pub inline_attachments: usize,
}

/// How requests reach a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// `Authorization`
    pub authorization: Authorization,
    /// Whether the sink may have an address that is not public (RFC 6890).
    pub allow_private: bool,
    /// Certificates of a private CA, PEM; empty for the public roots alone.
    pub ca: Vec<u8>,
    /// The largest request body in bytes. A message over it goes without its files, and then without most of its text.
    pub max_size: usize,
    /// Requests at a time.
    pub concurrency: usize,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            authorization: Authorization::None,
            allow_private: false,
            ca: Vec::new(),
            max_size: 35 * 1024 * 1024,
            concurrency: 8,
        }
    }
}

/// The header `Authorization`.
#[derive(Clone, Debug, Default)]
pub enum Authorization {
    /// No header.
    #[default]
    None,
    /// `Basic` (RFC 7617).
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// `Bearer` (RFC 6750).
    Bearer(SecretString),
}

impl PartialEq for Authorization {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Basic { user, password }, Self::Basic { user: other_user, password: other_password }) => {
                user == other_user && password.expose_secret() == other_password.expose_secret()
            }
            (Self::Bearer(token), Self::Bearer(other)) => token.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}
