//! The shell: one driver per kind, and everything that waits.
//!
//! A driver is a table of contents: what is wanted, what is there, what differs, do it, read it back, say so.

mod alias;
mod backoff;
mod claims;
mod connection;
mod context;
mod domain;
mod drift;
mod drive;
mod endpoints;
mod events;
mod latest;
mod leader;
mod lease;
mod mailbox;
mod merged;
mod ownership;
mod pass;
mod passwords;
mod patch;
mod permit;
mod places;
mod policies;
mod poll;
mod provision;
mod provisions;
mod publish;
mod references;
mod rule;
mod ruleset;
mod run;
mod script;
mod scripts;
mod secret_watch;
mod secrets;
mod senders;
mod servers;
mod sinks;
mod stores;
mod sync;
mod verification;
mod wake;
mod wiring;
mod words;

pub use run::{Error as StartError, run};
