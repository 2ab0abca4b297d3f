//! The operator against a real control plane and a simulated Mailcow, under the rights that the chart gives it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]

mod world;

// Tests start in the order of their names; these last longest.
mod access;
mod alias;
mod appeared;
mod bad_input;
mod before;
mod bench;
mod churn;
mod dashboard;
mod deletion;
mod deletion_triggers;
mod dns;
mod domain;
mod fairness;
mod fields;
mod figures;
mod gitops;
mod guests;
mod instances;
mod judges;
mod killed;
mod large;
mod leader;
mod lists;
mod loops;
mod mailbox;
mod mailcow_restored;
mod namespaces;
mod old_crds;
mod outage;
mod pages;
mod priority;
mod process;
mod provision;
mod provision_bench;
mod publish;
mod refused;
mod restore;
mod rule;
mod rule_removal;
mod scale;
mod secret_scan;
mod senders;
mod servers;
mod telemetry;
mod trouble;
mod truth;
mod vanished;
