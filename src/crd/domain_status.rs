//! The status of an `EmailDomain`: its key, its DNS records, its usage.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::dns_status::DnsRecordStatus;
use super::provision::ProvisionedStatus;
use super::publishing::{DnsPublish, OwnershipStatus};
use super::refused_write::RefusedWrite;
use super::status_condition::StatusCondition;
use super::tenancy::Policies;

/// The observed state of the domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailDomainStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation of the spec that was last in sync with Mailcow. A later difference is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_generation: Option<i64>,
    /// When the operator last recreated the domain, empty, after it vanished from Mailcow with its mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Time>,
    /// The write that Mailcow refused and that the operator does not repeat for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Box<RefusedWrite>>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The domain as a lower-case A-label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The policies in effect, and the source of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Conditions: `Ready`, `Synced`, `DNSVerified`, one for each DNS record type, `OwnershipVerified`, `Published` and
    /// `Provisioned` if the spec uses them, and while true `Reconciling`, `Stalled`, `Drifted`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<StatusCondition>,
    /// The Mailcow server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerStatus>,
    /// The other namespace that owns the domain, or owned it recently, while this object waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// The tags on Mailcow that come from the spec. The operator removes them when the spec no longer lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The DKIM key in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dkim: Option<DkimStatus>,
    /// Results of the DNS checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsStatus>,
    /// When `DNSVerified` was True for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_verified_at: Option<Time>,
    /// The record that proves the ownership of the domain. Only if ownership must be proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<OwnershipStatus>,
    /// Where the records were last published, so that they can be removed when this changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_to: Option<DnsPublish>,
    /// What the domain contains on Mailcow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<DomainUsage>,
    /// Objects in Kubernetes that refer to the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attached>,
    /// Result of `spec.autoProvision` for the entitled namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<ProvisionedStatus>,
}

/// Another namespace's claim on a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimStatus {
    /// A digest of the namespace, because its name is confidential.
    pub namespace_digest: String,
    /// Until when the domain is reserved for that namespace. Omitted while the namespace owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Time>,
}

/// The Mailcow server of the domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ServerStatus {
    /// Its version, such as `2026-07a`.
    pub version: String,
}

/// The DKIM key in use: public data only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DkimStatus {
    /// The selector.
    pub selector: String,
    /// Key size in bits, as Mailcow reports it.
    pub key_size: u16,
    /// The TXT record's value to publish at `<selector>._domainkey.<domain>`.
    pub record: String,
}

/// Results of the DNS checks of the domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsStatus {
    /// The generation of the spec that the checks used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that the DNS checks handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// One entry for each record, sorted by type and name.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned(), "name".to_owned()]))]
    pub records: Vec<DnsRecordStatus>,
}

/// What the domain contains on Mailcow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainUsage {
    /// Number of mailboxes.
    pub mailboxes: u32,
    /// Number of aliases.
    pub aliases: u32,
    /// Size of the mail, as a quantity.
    pub quota_used: String,
    /// Number of messages.
    pub messages: u64,
}

/// Objects in Kubernetes that refer to the domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Attached {
    /// Number of `EmailMailbox` objects.
    pub mailboxes: u32,
    /// Number of `EmailAlias` objects.
    pub aliases: u32,
    /// Number of `EmailForwardingRule` objects.
    pub rules: u32,
}
