//! `kubectl-email` as people and programs call it: the real program, a real API server, a simulated Mailcow, real DNS.

#![expect(clippy::print_stdout, reason = "what is skipped, and what was measured, is printed")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]

mod world;

mod check;
mod completion;
mod dns;
mod export;
mod figures;
mod frame;
mod live_rules;
mod operations;
mod plan;
mod quarantine;
mod report;
mod rules;
mod status;
