//! The intake worker against a real Dovecot (IMAP, LMTP and Sieve) and real HTTP servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]
#![expect(clippy::print_stdout, reason = "tests report what they measured, and why they are skipped")]

mod campaign;
mod dovecot;
mod facts;
mod judges;
mod measure;
mod process;
mod protocol;
mod proxy;
mod sink;
mod trouble;
mod world;
