//! A write that Mailcow refused, as statuses remember it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A write that Mailcow refused. It is sent again when something changes that it depends on, or after a day: a refusal
/// may cost Mailcow as much as a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RefusedWrite {
    /// A digest of what was sent and of what it depends on: the spec, what Mailcow has of the thing and its domain's limits,
    /// the version of the Secret, a request to look.
    pub digest: String,
    /// The reason in `Ready`.
    pub reason: String,
    /// Mailcow's words.
    pub message: String,
    /// When it was refused.
    pub time: Time,
}
