//! The only access to Mailcow: its requests, and the meaning of its answers.
//!
//! Nothing outside this room knows a URL, a JSON key or a message text of Mailcow.

mod app_passwords;
mod attributes;
mod breaker;
mod client;
mod connection;
mod error;
mod execute;
mod identity;
mod location;
mod observe;
mod overview;
mod probe;
mod quarantine;
mod reply;
mod request;
mod version;
mod wire;
mod writers;

pub use client::Client;
pub use connection::{Connection, Observer, Permit};
pub use error::Error;
pub use observe::MailboxPage;
pub use overview::{Listed, MailboxFilter, OtherEntries};
pub use quarantine::Quarantined;
pub use writers::rebuilds;
