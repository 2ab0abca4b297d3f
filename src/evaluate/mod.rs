//! Rules and a message → which rules match and what would happen, without a server.
//!
//! This reads messages as Dovecot's Sieve (Pigeonhole) does and shares nothing with the scripts that
//! [`crate::sieve`] writes but the rules themselves: `tests/sieve` lets both judge the same mail. No mail library reads
//! headers as Pigeonhole does (they mend what it leaves broken), so the reading is written out here; only Base64 and
//! character sets come from libraries.

mod address;
mod charsets;
mod compare;
mod message;
mod outcome;
mod words;

pub use message::Message;
pub use outcome::{Envelope, Outcome, evaluate};
