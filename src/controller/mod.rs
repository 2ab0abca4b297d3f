//! The shell: one driver for each kind, and everything that waits.
//!
//! A driver is a table of contents: what is wanted, what is there, what differs, do it, read it back, report it.

mod alias;
mod delivery;
mod domain;
mod domain_dns;
mod driver;
mod drivers;
mod mailbox;
mod provision;
mod rules;
mod run;
mod servers;
pub(crate) mod shutdown;
mod triggers;

pub use run::{Error as StartError, run};
