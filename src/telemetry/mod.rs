//! Logs, metrics and the health server. Labels are closed sets of static words.

mod health;
mod logs;
mod metrics;

pub use health::serve;
pub use logs::start as start_logs;
pub use metrics::Metrics;
