//! Manifest → what should exist. Deciding only; what another object has to tell comes as a value.

mod alias;
mod condition;
mod domain;
mod mailbox;
mod rule;

pub use alias::{alias, alias_catch};
pub use domain::{domain, domain_name};
pub use mailbox::{mailbox, mailbox_address};
pub use rule::rule;

use std::borrow::Cow;

use crate::outcome::{Outcome, Reason};

/// A value of the spec that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field's path in the manifest.
    pub field: Cow<'static, str>,
    /// What is wrong with it and what to write.
    pub why: String,
}

impl Invalid {
    /// Of a field, from the error that reading it gave.
    fn of(field: impl Into<Cow<'static, str>>) -> impl Fn(String) -> Self {
        let field = field.into();
        move |why| Self { field: field.clone(), why }
    }

    /// Of a value: says what it is, cut when it is long, and what is wrong with it.
    fn value(field: impl Into<Cow<'static, str>>, value: &str, why: impl std::fmt::Display) -> Self {
        let (shown, more) = match value.char_indices().nth(60) {
            Some((at, _)) => (&value[..at], "…"),
            None => (value, ""),
        };
        Self { field: field.into(), why: format!("{shown:?}{more} {why}") }
    }
}

impl From<Invalid> for Outcome {
    fn from(invalid: Invalid) -> Self {
        Self::stalled(Reason::InvalidSpec, invalid.to_string())
    }
}
