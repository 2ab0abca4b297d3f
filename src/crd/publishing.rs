//! How a domain's DNS records are handed on, what waits for them, and how its ownership is proven.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the records that DNS should hold are written to, so that something else brings them into DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsPublish {
    /// Nowhere: they only stand in the status.
    #[default]
    None,
    /// Into `DNSEndpoint` objects, which external-dns (0.22 or newer) brings into DNS.
    #[serde(rename = "DNSEndpoint")]
    DnsEndpoint,
    /// Into the `ConfigMap` named `<name>-dns`: as lines of a zone, as Terraform, as a table and as JSON.
    ConfigMap,
}

/// What waits until `DNSVerified` is True.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsGate {
    /// Nothing.
    #[default]
    None,
    /// `Ready`. Mailboxes do not wait.
    Ready,
    /// The domain is inactive on Mailcow until DNS was verified once. It is never switched off again for DNS.
    Activate,
}

/// How the ownership of a domain is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OwnershipMethod {
    /// Not at all, unless the installation demands it.
    #[default]
    None,
    /// By a TXT record at `_email-operator-challenge.<domain>`; its value stands in `status.ownership`.
    #[serde(rename = "TXT")]
    Txt,
}

/// How the ownership of a domain is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnershipSpec {
    /// The method; default `None`.
    #[serde(default)]
    pub method: OwnershipMethod,
}

/// The record that proves the ownership of the domain, and whether it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnershipStatus {
    /// The name of the TXT record.
    pub name: String,
    /// Its value, for this object alone.
    pub value: String,
    /// Whether it counts as proven.
    pub verified: bool,
    /// What the last check found, in words.
    pub message: String,
    /// How many checks in a row did not find it after it was there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Since when checks do not find it, or get no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// When it was last looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked: Option<Time>,
    /// When it will be looked up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check: Option<Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_fields_that_users_write() {
        let words = [
            serde_json::to_value(DnsPublish::DnsEndpoint).unwrap(),
            serde_json::to_value(OwnershipMethod::Txt).unwrap(),
            serde_json::to_value(DnsGate::Activate).unwrap(),
        ];
        assert_eq!(words, ["DNSEndpoint", "TXT", "Activate"]);
    }
}
