//! The process `mailcow-operator intake`: it turns rules, mailboxes and Secrets into what [`crate::intake`] works on, and
//! its reports into statuses, events and metrics.
//!
//! ```text
//! rules, mailboxes, app passwords, sinks ──work──▶ intake::queue::Work ──▶ intake ──▶ Report ──reports──▶ status.delivered
//! ```
//!
//! Only the holder of a Lease works. Nothing is stored here that a new process would miss.

mod metrics;
mod reports;
mod run;
mod secrets;
mod sinks;
mod work;

pub use metrics::WorkerMetrics;
pub use reports::{Figures, SinkFigures};
pub use run::{Error, run};
