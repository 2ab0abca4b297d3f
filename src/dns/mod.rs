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
//! Every row (`mx`, `spf`, `dkim`, `dmarc`) is a pure function of what is wanted and of the answers [`Known`] so far: it
//! returns a [`Verdict`], or the questions it still [`Need`]s. [`check`] asks them and calls the row again. All but
//! `lookup` is pure: no async, no clock, no client.

mod answer;
mod dkim;
mod dmarc;
mod known;
mod lookup;
mod mx;
mod name;
mod schedule;
mod shown;
pub mod spf;
mod tags;
mod verdict;
mod wanted;

pub use answer::{Answer, Caa, Kind, Mx, Outcome, Page, Question, Srv, Tlsa};
pub use dkim::dkim;
pub use dmarc::dmarc;
pub use known::{Known, Need};
pub use lookup::{BadResolvers, Lookup, Mode, Options, check, check_host};
pub use mx::mx;
pub use schedule::{next_check, settle, settle_all};
pub use spf::verdict as spf_verdict;
pub use verdict::{Reach, Verdict};
pub use wanted::{Expected, Wanted, expected};
