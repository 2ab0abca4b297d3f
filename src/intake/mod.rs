//! Mail → task or note, once. The worker reads queue folders by IMAP and delivers each message to its sink.
//!
//! ```text
//! queue folder ──imap──▶ raw message ──mime──▶ Mail ──payload──▶ Request ──http──▶ answer ──answer──▶ Verdict
//!      ▲ claim (state)                                                                               │
//!      └────────────────── Done, Failed, or a later try ◀────────────────────────────────────────────┘
//! ```
//!
//! Reading is at least once: a message stays in its folder until the sink has taken it. Writing is idempotent: each try
//! has the same identity ([`identity`]), by which the sink recognises a repeat. Together a message becomes one task.
//! All that decides stands in the mailbox; what the process remembers only saves work. All but `imap`, `http` and
//! `worker` is pure: no async, no clock, no client.

pub mod answer;
pub mod breaker;
mod http;
pub mod identity;
pub mod imap;
pub mod limit;
pub mod mime;
pub mod payload;
pub mod queue;
pub mod report;
pub mod rule_ref;
pub mod sink;
pub mod state;
mod worker;

pub use worker::run;
