//! mailcow-operator: declarative email hosting on Mailcow.
//!
//! Fetch everything, decide without I/O, act on a list, report:
//!
//! ```text
//! manifest ──desired──▶ mail::Mailbox ─┐
//!                                      ├─ plan ──▶ [Change] ──▶ mailcow::execute ──▶ Outcome ──status──▶ .status
//! inventory ──────────▶ mail::Mailbox ─┘
//!    ▲ looked at on a timer: what changed wakes its objects; whoever finds a difference asks again before writing
//! Mailcow ──mailcow::observe
//!
//! EmailDomain ──dns::expected──▶ [Expected] ──dns::check──▶ [Verdict] ──dns::settle_all──▶ records ──status──▶ .status
//! rules of one mailbox ──desired──▶ [mail::rule::Rule] ──sieve::compile──▶ Script ──plan──▶ …
//!                                                    └──evaluate, with a message──▶ Outcome
//! ```
//!
//! Mail in queue folders becomes tasks and notes in [`intake`]; [`worker`] is the process around it.
//!
//! The rooms are those steps; [`controller`] is the only place where they meet. [`tenancy`] says who may do what, and
//! [`gates`] which parts are on. [`mail`], [`desired`], [`tenancy`], [`plan`], [`sieve`], [`evaluate`], [`forwarding`],
//! [`status`] and [`dns`] (but for its lookup) are pure: no async, no clock, no client.

mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod controller;
pub mod crd;
pub mod desired;
pub mod dns;
pub mod evaluate;
mod fair;
pub mod forwarding;
pub mod gates;
mod hash;
pub mod intake;
pub mod inventory;
pub mod keyed_lock;
mod kubernetes;
mod leader;
mod listing;
pub mod mail;
pub mod mailcow;
pub mod mcp;
pub mod outcome;
mod packed;
pub mod plan;
pub mod publisher;
pub mod shrink;
pub mod sieve;
mod sinks_file;
pub mod startup;
pub mod status;
pub mod telemetry;
pub mod tenancy;
pub mod worker;
