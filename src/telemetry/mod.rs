//! Logs, metrics and the health server. Labels are closed sets of static words.

mod exposition;
mod health;
mod logs;
mod metrics;
mod queue;
mod standing;

pub use health::serve;
pub use logs::start as start_logs;
pub use metrics::Metrics;
pub use queue::{Key, Queue, Running};
pub use standing::{STATES, Standing};
