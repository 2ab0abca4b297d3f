//! The chart as people use it: Helm installs, upgrades and uninstalls it on a real API server, and the operator runs with
//! just the arguments, environment and rights of the Deployment that is then there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]
#![expect(clippy::print_stdout, reason = "what is skipped, and what was measured, is said")]

mod charts;
mod image;
mod lifecycle;
mod release;
