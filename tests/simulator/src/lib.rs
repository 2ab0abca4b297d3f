//! A Mailcow server that answers over HTTP as recordings of the real one do.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use mailcow_simulator::{Fault, Options, Simulator, Trouble};
//!
//! let mailcow = Simulator::start(Options::default()).await?;
//! mailcow.edit(|state| {
//!     state.seed_domain("acme.test");
//!     state.seed_mailbox("alice@acme.test");
//! });
//! mailcow.fault(Fault::once("edit/mailbox", Trouble::Deadlock));
//! // … let a client talk to mailcow.url() with mailcow.api_key() …
//! assert_eq!(mailcow.writes(), 0);
//! # Ok(())
//! # }
//! ```

mod answer;
mod call;
mod clock;
mod cost;
mod database;
mod fault;
mod gate;
mod http;
mod journal;
mod json;
mod json_text;
mod netfilter;
mod observer;
mod php;
mod reads;
mod seed;
mod server;
mod sieve;
mod simulator;
mod state;
mod topics;
mod writer;
mod writes;

pub use cost::CostModel;
pub use database::Row;
pub use fault::{Fault, Trouble};
pub use journal::Request;
pub use json::Json;
pub use netfilter::Netfilter;
pub use observer::{Asked, Observer};
pub use sieve::check as check_sieve;
pub use simulator::{Options, Simulator};
pub use state::*;
