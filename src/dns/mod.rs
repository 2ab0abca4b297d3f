//! DNS: what has to be published for a mail domain, what is published, and what to say about it.
//!
//! ```text
//! Wanted ──expected──▶ [Expected]                 what to paste into the zone
//! Wanted ──check──▶ [Verdict] ──settle──▶ DnsRecordStatus
//!            │ ▲
//!       Need ▼ │ Answer
//!           Lookup                                the only part that asks
//! ```
//!
//! Every row ([`rows`]) is a pure function of what is wanted and of the answers [`Known`] so far: it
//! returns a [`Verdict`], or the questions it still [`Need`]s. [`check`] asks them and calls the row again. All but
//! `lookup` is pure: no async, no clock, no client.

mod answer;
mod bimi;
mod caa;
mod characters;
mod client_host;
mod der;
mod dkim;
mod dmarc;
mod family;
mod fields;
mod hosts;
mod known;
mod lookup;
mod mta_sts;
mod mx;
mod name;
mod ownership;
mod presentation;
mod ptr;
pub mod publish;
mod rows;
mod schedule;
pub mod spf;
mod srv;
mod tags;
mod tls_rpt;
mod tlsa;
mod verdict;
mod wanted;

pub use answer::{Answer, Caa, Kind, Mx, Outcome, Page, Question, Srv, Tlsa};
pub use bimi::{bimi, logo};
pub use caa::caa;
pub use client_host::{autoconfig, autodiscover};
pub use dkim::dkim;
pub use dmarc::dmarc;
pub use known::{Known, Need};
pub(crate) use lookup::is_public;
pub use lookup::{BadResolvers, Lookup, Mode, Options, check, check_host};
pub use mta_sts::{Policy, PolicyMode, mta_sts_host, mta_sts_record, version};
pub use mx::mx;
pub use ownership::{Challenge, Claimant, Proof, challenge, proof, question, settle_ownership};
pub use ptr::ptr;
pub use rows::{Row, rows};
pub use schedule::{next_check, settle, settle_all};
pub use spf::verdict as spf_verdict;
pub use tls_rpt::{reports, tls_rpt};
pub use tlsa::tlsa;
pub use verdict::{Reach, Verdict};
pub use wanted::{Expected, Wanted, expected};

#[cfg(test)]
mod tests;
