//! Logs, metrics and the health server. Labels are closed sets of static words.

mod counts;
mod exposition;
mod health;
mod logs;
mod metrics;
mod queue;

pub use counts::{Counts, ObjectState, STATES};
pub use health::{Readiness, serve, serve_probes, serve_text};
pub use logs::start as start_logs;
pub use metrics::Metrics;
pub use queue::{Key, Queue, Running};
