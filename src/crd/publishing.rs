//! How a domain's DNS records are published, what waits for them, and how its ownership is proven.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the operator writes the expected DNS records, so that another tool publishes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsPublish {
    /// Only in the status.
    #[default]
    None,
    /// Into `DNSEndpoint` objects, which external-dns (0.22 or newer) publishes.
    #[serde(rename = "DNSEndpoint")]
    DnsEndpoint,
    /// Into the `ConfigMap` `<name>-dns`: as zone lines, Terraform, a table and JSON.
    ConfigMap,
}

/// What waits until `DNSVerified` is True.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsGate {
    /// Nothing.
    #[default]
    None,
    /// `Ready` of the domain. Mailboxes do not wait.
    Ready,
    /// The domain stays inactive on Mailcow until DNS is verified once. The operator never deactivates it again because
    /// of DNS.
    Activate,
}

/// How the ownership of a domain is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OwnershipMethod {
    /// No proof, unless the installation requires it.
    #[default]
    None,
    /// A TXT record at `_email-operator-challenge.<domain>` with the value in `status.ownership`.
    #[serde(rename = "TXT")]
    Txt,
}

/// How the ownership of a domain is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnershipSpec {
    /// The method. Default: `None`.
    #[serde(default)]
    pub method: OwnershipMethod,
}

/// The record that proves the ownership of the domain, and the result of its checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnershipStatus {
    /// The name of the TXT record.
    pub name: String,
    /// The value of the record, valid only for this object.
    pub value: String,
    /// Whether the ownership is proven.
    pub verified: bool,
    /// Result of the last check, in words.
    pub message: String,
    /// Number of checks in a row without the record, after it existed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Since when checks do not find the record, or get no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// Time of the last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked: Option<Time>,
    /// Time of the next check.
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
