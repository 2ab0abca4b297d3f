//! SPF (RFC 7208): an evaluator that asks nothing itself, and the SPF row.
//!
//! [`evaluate`] is `check_host()` of section 4 over the answers known so far; [`crate::dns::check_host`] drives it.

mod eval;
mod macros;
mod mechanism;
mod record;
mod result;
mod tree;
mod verdict;

pub use eval::evaluate;
pub use result::{Evaluation, Sender, SpfResult};
pub use verdict::verdict;
