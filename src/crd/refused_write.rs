//! A write that Mailcow refused, as stored in the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A write that Mailcow refused. The operator sends it again when something changes that it depends on, or after a day,
/// because a refused write may cost Mailcow as much as a successful one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RefusedWrite {
    /// A digest of the write and of what it depends on: the spec, the entry and the limits of its domain on Mailcow,
    /// the version of the Secret, a reconcile request.
    pub digest: String,
    /// The reason of `Ready`.
    pub reason: String,
    /// Mailcow's answer.
    pub message: String,
    /// Time of the refusal.
    pub time: Time,
    /// How often in a row Mailcow gave an empty answer to it; absent if Mailcow refused it. From the eighth time on, the
    /// operator retries once an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u32>,
}
