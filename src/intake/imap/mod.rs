//! IMAP as the worker needs it: a thin session over imap-codec.
//!
//! How Dovecot really behaves is a test in `tests/intake/dovecot_facts.rs`, line by line.

mod connection;
mod session;
mod wire;

pub use connection::Endpoint;
pub use session::{Claimed, FolderCounts, Header, Idle, Listed, Selected, Session};

/// What went wrong with a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration can't be used.
    #[error("{0}")]
    Invalid(String),
    /// No connection, or it broke.
    #[error("the IMAP server can't be reached: {0}")]
    Unreachable(String),
    /// The server's certificate is not accepted.
    #[error("the IMAP server's certificate is not accepted: {0}")]
    Certificate(String),
    /// The server refuses the login.
    #[error("the IMAP server refuses the login: {0}; the app password may be wrong, or IMAP is off for the mailbox")]
    Login(String),
    /// The server refused a command.
    #[error("the IMAP server refused {command}: {text}")]
    Refused {
        /// The command, without its arguments.
        command: &'static str,
        /// What the server wrote.
        text: String,
        /// Whether the folder does not exist.
        no_folder: bool,
        /// Whether the server did not understand the command (BAD).
        not_understood: bool,
    },
    /// The server lacks an extension.
    #[error("the IMAP server has no {0}, which the worker needs")]
    Unsupported(&'static str),
    /// The server reported a problem of its own with a folder (an untagged NO). From then on this session may see an
    /// old state of the folder for ever, even after another SELECT.
    #[error("the IMAP server reported a problem with a folder: {0}")]
    Stale(String),
    /// The server broke the protocol.
    #[error("the IMAP server broke the protocol: {0}")]
    Protocol(String),
}

impl Error {
    /// Whether the session can be used no more.
    pub fn ends_session(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}
