//! Rate limits.

use crate::crd::Per;

/// How many messages may be sent in a time; 0 messages is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// No limit of its own.
    Unlimited,
    /// At most so many messages in the time.
    Limit {
        /// Number of messages, at least 1.
        messages: u32,
        /// The time in which they are counted.
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
