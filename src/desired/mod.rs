//! Manifest → what should exist. Deciding only; what another object has to tell comes as a value.

mod alias;
mod domain;
mod mailbox;

pub use alias::{alias, alias_catch};
pub use domain::{domain, domain_name};
pub use mailbox::{mailbox, mailbox_address};

use crate::outcome::{Outcome, Reason};

/// A value of the spec that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field's path in the manifest.
    pub field: &'static str,
    /// What is wrong with it and what to write.
    pub why: String,
}

impl Invalid {
    /// Of a field, from the error that reading it gave.
    fn of(field: &'static str) -> impl Fn(String) -> Self {
        move |why| Self { field, why }
    }
}

impl From<Invalid> for Outcome {
    fn from(invalid: Invalid) -> Self {
        Self::stalled(Reason::InvalidSpec, invalid.to_string())
    }
}
