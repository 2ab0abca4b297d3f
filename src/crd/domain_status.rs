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

/// What the operator knows about the domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailDomainStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation of the spec that Mailcow last showed in full; a difference after that is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_generation: Option<i64>,
    /// When the domain, which was gone from Mailcow with its mail, was last made again, empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Time>,
    /// What Mailcow refused and is not sent again for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedWrite>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The domain as a lower-case A-label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The policies that hold, and where each comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Conditions: `Ready`, `Synced`, `DNSVerified`, one per DNS record, where asked for `OwnershipVerified`,
    /// `Published` and `Provisioned`, and while they hold `Reconciling`, `Stalled`, `Drifted`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<StatusCondition>,
    /// The Mailcow server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerStatus>,
    /// Whom this object waits for, where another one has the domain, or had it a while ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// The tags on Mailcow that the spec put there or names: those that go when the spec no longer lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The DKIM key in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dkim: Option<DkimStatus>,
    /// What DNS says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsStatus>,
    /// When `DNSVerified` was True for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_verified_at: Option<Time>,
    /// The record that proves the ownership of the domain; only where that is demanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<OwnershipStatus>,
    /// Where records were last published to; also what has to be taken back when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_to: Option<DnsPublish>,
    /// What the domain holds on Mailcow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<DomainUsage>,
    /// What is attached to the domain in Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attached>,
    /// What became of the namespaces that are entitled to a mailbox; only with `spec.autoProvision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<ProvisionedStatus>,
}

/// Another namespace's claim on a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimStatus {
    /// A digest of the namespace: its name is nobody's business.
    pub namespace_digest: String,
    /// Until when the domain is kept for that namespace; absent while it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Time>,
}

/// The Mailcow server that holds the domain.
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
    /// Key size in bits, as Mailcow says it.
    pub key_size: u16,
    /// The TXT record's value to publish at `<selector>._domainkey.<domain>`.
    pub record: String,
}

/// What DNS says about the domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsStatus {
    /// The generation of the spec that was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that DNS was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// One entry for each record, sorted by type and name.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned(), "name".to_owned()]))]
    pub records: Vec<DnsRecordStatus>,
}

/// What the domain holds on Mailcow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainUsage {
    /// Mailboxes.
    pub mailboxes: u32,
    /// Aliases.
    pub aliases: u32,
    /// Bytes of mail, as a quantity.
    pub quota_used: String,
    /// Messages.
    pub messages: u64,
}

/// What is attached to the domain in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Attached {
    /// `EmailMailbox` objects.
    pub mailboxes: u32,
    /// `EmailAlias` objects.
    pub aliases: u32,
    /// `EmailForwardingRule` objects.
    pub rules: u32,
}
