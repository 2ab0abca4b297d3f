//! Rate limits.

use serde::{Deserialize, Serialize};

use crate::crd::Per;

/// How many messages may be sent in a period; 0 messages: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RateLimit {
    /// No limit of its own.
    Unlimited,
    /// At most this many messages in the period.
    Limit {
        /// Number of messages, at least 1.
        messages: u32,
        /// The period.
        per: Per,
    },
}

impl From<&crate::crd::RateLimit> for RateLimit {
    fn from(spec: &crate::crd::RateLimit) -> Self {
        match spec.messages {
            0 => Self::Unlimited,
            messages => Self::Limit { messages, per: spec.per },
        }
    }
}
