//! The operator against a real control plane and a simulated Mailcow, under the rights that the chart gives it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]

mod world;

mod alias;
mod bad_input;
mod bench;
mod dashboard;
mod deletion;
mod dns;
mod domain;
mod fields;
mod killed;
mod leader;
mod mailbox;
mod outage;
mod process;
mod publish;
mod rule;
mod scale;
mod secret_scan;
mod telemetry;
mod trouble;
mod truth;
