//! Manifest → what should exist. Only decisions; data of other objects comes as values.

mod action;
mod alias;
mod condition;
mod domain;
mod mailbox;
mod rule;

pub use alias::{alias, alias_catch};
pub use domain::{domain, domain_name};
pub use mailbox::{mailbox, mailbox_address};
pub use rule::{applies, is_enabled, rule, rule_problems};

use std::borrow::Cow;

use crate::outcome::{Outcome, Reason};

/// An invalid value of the spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field's path in the manifest.
    pub field: Cow<'static, str>,
    /// What is wrong and what to write.
    pub why: String,
}

impl Invalid {
    /// An error for a field, from its parse error.
    pub(crate) fn of(field: impl Into<Cow<'static, str>>) -> impl Fn(String) -> Self {
        let field = field.into();
        move |why| Self { field: field.clone(), why }
    }

    /// An error for a value, which is shortened if it is long.
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

/// Why a rule can't be active.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// An invalid value of the rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The installation has no sink of this name.
    #[error(
        "{field}: the installation has no sink {sink:?}; {}add it to sinks in the chart",
        match known.as_slice() { [] => String::new(), known => format!("use one of {}, or ", known.join(", ")) }
    )]
    SinkNotFound {
        /// The field's path in the manifest.
        field: String,
        /// The name.
        sink: String,
        /// The sinks that the rule's namespace may use.
        known: Vec<String>,
    },
    /// The sink is not for this namespace.
    #[error(
        "{field}: rules of the namespace {namespace} may not use the sink {sink:?}; add the namespace to the sink in the chart (sinks)"
    )]
    SinkNotAllowed {
        /// The field's path in the manifest.
        field: String,
        /// The name.
        sink: String,
        /// The rule's namespace.
        namespace: String,
    },
}

impl Unusable {
    /// The reason for conditions.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_) => Reason::InvalidSpec,
            Self::SinkNotFound { .. } => Reason::SinkNotFound,
            Self::SinkNotAllowed { .. } => Reason::SinkNotAllowed,
        }
    }
}
