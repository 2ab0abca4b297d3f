//! The operator against a real control plane and a simulated Mailcow, under the rights that the chart gives it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]

mod world;

mod alias;
mod bad_input;
mod bench;
mod deletion;
mod dns;
mod domain;
mod fields;
mod guests;
mod killed;
mod mailbox;
mod outage;
mod process;
mod provision;
mod provision_bench;
mod publish;
mod rule;
mod scale;
mod servers;
mod trouble;
mod truth;
