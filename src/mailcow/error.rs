//! Errors of Mailcow, with texts that say what to do. They never have a key or a password.

use crate::outcome::{Outcome, Reason, Why};

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configured URL is invalid.
    #[error("the Mailcow URL {url:?} is invalid: {why}; use a URL such as https://mail.example.com")]
    InvalidUrl {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another part of the connection is invalid.
    #[error("the connection to Mailcow at {url} is invalid: {why}")]
    InvalidConnection {
        /// As configured, without credentials.
        url: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// No connection, a timeout, a reset, or a server error.
    #[error("Mailcow at {server} can't be reached: {why}")]
    Unreachable {
        /// Scheme, host and port.
        server: String,
        /// What happened.
        why: String,
    },
    /// 401: Mailcow refuses the key, or the IP address.
    #[error(
        "Mailcow at {server} refuses the API key or the operator's IP address ({why}); check the key, that API access is on, and the allowed addresses. The operator sends nothing until the key changes or {wait_minutes} minutes have passed, because Mailcow bans addresses"
    )]
    KeyRejected {
        /// Scheme, host and port.
        server: String,
        /// Mailcow's own message.
        why: String,
        /// Minutes until the next try.
        wait_minutes: u64,
    },
    /// 403: the key is read-only.
    #[error("the API key for Mailcow at {server} is read-only; give the operator the read-write key")]
    ReadOnlyKey {
        /// Scheme, host and port.
        server: String,
    },
    /// A refusal inside a success answer.
    #[error("Mailcow refused to {action}: {message}")]
    Refused {
        /// The action, with the name of the entry.
        action: String,
        /// Mailcow's code, such as `password_complexity`.
        code: String,
        /// The same in words.
        message: String,
    },
    /// A write was interrupted or got an empty answer: it may be done, half done or not done.
    #[error("Mailcow did not confirm the request to {action}: {why}; the operator checks the result before it retries")]
    OutcomeUnknown {
        /// The action, with the name of the entry.
        action: String,
        /// What happened.
        why: String,
        /// Whether Mailcow's answer was empty. That happens when a request crashes its PHP or waits too long for its
        /// database; the same request may fail each time.
        is_empty: bool,
    },
    /// A database deadlock; a retry is right.
    #[error("Mailcow was too busy to {action}: {why}")]
    Busy {
        /// The action, with the name of the entry.
        action: String,
        /// Mailcow's own message.
        why: String,
    },
    /// An answer about another entry.
    #[error(
        "Mailcow at {server} answered {asked:?} with data of another entry; the operator ignores the answer and writes nothing"
    )]
    OtherThing {
        /// Scheme, host and port.
        server: String,
        /// The question; never the answer.
        asked: String,
    },
    /// Something that is not from Mailcow's API, such as a page.
    #[error("the answer of {server} to {path} is not from Mailcow's API ({why}); check the URL")]
    NotTheApi {
        /// Scheme, host and port.
        server: String,
        /// The path asked.
        path: String,
        /// What was seen; never the answer's text.
        why: String,
    },
    /// JSON that the API does not use.
    #[error("the answer of Mailcow at {server} to {path} is not readable ({why}); check that its version is supported")]
    Unexpected {
        /// Scheme, host and port.
        server: String,
        /// The path asked.
        path: String,
        /// What was seen; never the answer's text.
        why: String,
    },
}

impl Error {
    /// The reason for conditions, events and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidConnection { .. } => Reason::MailcowNotConfigured,
            Self::InvalidUrl { .. } | Self::NotTheApi { .. } | Self::Unexpected { .. } | Self::OtherThing { .. } => {
                Reason::UnexpectedAnswer
            }
            Self::Unreachable { .. } | Self::OutcomeUnknown { .. } | Self::Busy { .. } => Reason::MailcowUnreachable,
            Self::KeyRejected { .. } => Reason::KeyOrSourceRejected,
            Self::ReadOnlyKey { .. } => Reason::KeyReadOnly,
            Self::Refused { code, .. } if code.starts_with("password_") => Reason::PasswordRejected,
            Self::Refused { .. } => Reason::RefusedByMailcow,
        }
    }

    /// The same, with the secret removed from Mailcow's message.
    pub(super) fn without(mut self, secret: &str) -> Self {
        let words = match &mut self {
            Self::Refused { message, .. } => message,
            Self::OutcomeUnknown { why, .. }
            | Self::Busy { why, .. }
            | Self::NotTheApi { why, .. }
            | Self::Unexpected { why, .. }
            | Self::Unreachable { why, .. }
            | Self::InvalidUrl { why, .. }
            | Self::InvalidConnection { why, .. }
            | Self::KeyRejected { why, .. } => why,
            Self::ReadOnlyKey { .. } | Self::OtherThing { .. } => return self,
        };
        if !secret.is_empty() && words.contains(secret) {
            *words = words.replace(secret, "…");
        }
        self
    }

    /// Whether there was an answer that was not readable.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::NotTheApi { .. } | Self::Unexpected { .. } | Self::OtherThing { .. })
    }

    /// Whether the same request may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Busy { .. }
            | Self::NotTheApi { .. }
            | Self::Unexpected { .. }
            | Self::OtherThing { .. } => true,
            Self::InvalidUrl { .. }
            | Self::InvalidConnection { .. }
            | Self::KeyRejected { .. }
            | Self::ReadOnlyKey { .. }
            | Self::Refused { .. } => false,
        }
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        let why = Why::new(error.reason(), error.to_string());
        match error {
            Error::Refused { .. } => Self::Stalled(why),
            // The object itself is fine: the state of Mailcow is unknown now.
            _ => Self::Unknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_mailcow_repeats_is_left_out() {
        let error = |why: &str| Error::OutcomeUnknown { action: "a".into(), why: why.into(), is_empty: false };
        assert_eq!(error("near 'hunter2'").without("hunter2"), error("near '…'"));
        assert_eq!(error("near").without(""), error("near"));
    }
}
