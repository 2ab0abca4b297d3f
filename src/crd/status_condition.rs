//! The standard condition, with shared text: ten thousand objects with the same condition hold its text once.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The text of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConditionText {
    /// Its type, such as `Ready`.
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason, in CamelCase.
    pub reason: String,
    /// The message.
    pub message: String,
}

/// One condition in a status; on the wire it is the standard one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Condition", into = "Condition")]
pub struct StatusCondition {
    /// The text; its fields are reached through `Deref`.
    pub text: Arc<ConditionText>,
    /// The generation of the spec that it describes.
    pub observed_generation: Option<i64>,
    /// When its status last changed.
    pub last_transition_time: Time,
}

impl Deref for StatusCondition {
    type Target = ConditionText;

    fn deref(&self) -> &ConditionText {
        &self.text
    }
}

impl From<Condition> for StatusCondition {
    fn from(condition: Condition) -> Self {
        let Condition { type_, status, reason, message, observed_generation, last_transition_time } = condition;
        let text = Arc::new(ConditionText { type_, status, reason, message });
        Self { text, observed_generation, last_transition_time }
    }
}

impl From<StatusCondition> for Condition {
    fn from(condition: StatusCondition) -> Self {
        let StatusCondition { text, observed_generation, last_transition_time } = condition;
        let ConditionText { type_, status, reason, message } = Arc::unwrap_or_clone(text);
        Self { type_, status, reason, message, observed_generation, last_transition_time }
    }
}

impl JsonSchema for StatusCondition {
    fn schema_name() -> Cow<'static, str> {
        Condition::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Condition::json_schema(generator)
    }
}
