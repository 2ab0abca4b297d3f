//! The intake worker against a real Dovecot (IMAP, LMTP and Sieve) and real HTTP servers.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]
#![expect(clippy::excessive_nesting, reason = "a campaign is a loop in which everything happens")]
#![expect(clippy::cast_precision_loss, reason = "counts of a test are far below 2^52")]
#![expect(clippy::print_stdout, reason = "tests report what they measured, and why they are skipped")]

mod campaign;
mod dovecot;
mod facts;
mod judges;
mod measure;
mod process;
mod protocol;
mod proxy;
mod trouble;
mod world;
