//! What the tools answer. Every answer is an object; sizes are texts, because some clients round large numbers. Text that
//! others wrote is [`Untrusted`].

use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::Kind;
use super::untrusted::Untrusted;
use crate::crd::{DnsRecordKind, DnsVerdict, MailboxState};

/// Domains.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Domains {
    /// One page.
    pub(crate) items: Vec<DomainItem>,
    /// Where the next page begins; omitted on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A domain.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DomainItem {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) dns_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mailboxes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aliases: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota_used: Option<String>,
}

/// Mailboxes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mailboxes {
    /// One page.
    pub(crate) items: Vec<MailboxItem>,
    /// Where the next page begins; omitted on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A mailbox.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MailboxItem {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<Untrusted>,
    pub(crate) state: MailboxState,
    pub(crate) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<String>,
}

/// Aliases.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Aliases {
    /// One page.
    pub(crate) items: Vec<AliasItem>,
    /// Where the next page begins; omitted on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// An alias.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AliasItem {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// The first targets.
    pub(crate) goto: Vec<Untrusted>,
    pub(crate) active: bool,
    pub(crate) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Rules.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rules {
    /// One page.
    pub(crate) items: Vec<RuleItem>,
    /// Where the next page begins; omitted on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A rule.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleItem {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mailbox: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) priority: u32,
    /// What matches, and what happens, as in the manifest.
    pub(crate) rule: Untrusted,
    pub(crate) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// The DNS records of a domain.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DomainDns {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    /// Whether every required record is correct.
    pub(crate) verified: bool,
    /// The records to publish, in zone file format.
    pub(crate) records: Vec<DnsRecord>,
    /// What to do next.
    pub(crate) what_to_do: String,
}

/// A DNS record.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DnsRecord {
    #[serde(rename = "type")]
    pub(crate) kind: DnsRecordKind,
    pub(crate) name: String,
    pub(crate) verdict: DnsVerdict,
    pub(crate) required: bool,
    /// Correct values.
    pub(crate) expected: Vec<String>,
    /// Published values.
    pub(crate) observed: Vec<Untrusted>,
    pub(crate) message: Untrusted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<Untrusted>,
    pub(crate) warnings: Vec<Untrusted>,
}

/// Why an object is not ready, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: Untrusted,
    /// What the reason means and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) what_to_do: Option<String>,
}

/// The state of an object.
#[expect(clippy::struct_excessive_bools, reason = "an answer, not a state")]
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    #[schemars(with = "String")]
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    pub(crate) ready: bool,
    /// Whether the operator has seen the latest change.
    pub(crate) is_current: bool,
    pub(crate) paused: bool,
    pub(crate) deleting: bool,
    pub(crate) conditions: Vec<Explained>,
    /// What happens on Mailcow when the object is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_policy: Option<String>,
    /// The Secret with the password; its content is in no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials_secret: Option<String>,
}

/// Whether an object was created or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum Change {
    /// It was created.
    Created,
    /// It was changed.
    Changed,
    /// It was so already.
    Unchanged,
}

/// What a write did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    #[schemars(with = "String")]
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) change: Change,
    pub(crate) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// What the object waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_for: Option<Explained>,
    /// The Secret with the password; its content is in no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials_secret: Option<String>,
    pub(crate) what_to_do: String,
}

/// What a deletion would do.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlannedDelete {
    #[schemars(with = "String")]
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What `apply_delete` takes.
    pub(crate) digest: String,
    pub(crate) expires_in_seconds: u32,
    /// Whether mail would be destroyed.
    pub(crate) destroys_mail: bool,
    /// What would be lost, in words.
    pub(crate) would_be_lost: Vec<String>,
    pub(crate) what_to_do: String,
}

/// What a deletion did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deleted {
    #[schemars(with = "String")]
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Whether the object is gone, or the operator still works on it.
    pub(crate) gone: bool,
    pub(crate) what_to_do: String,
}

/// What happens to a message.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestedRules {
    pub(crate) mailbox: String,
    /// The rules that match, in the order they run.
    pub(crate) matched: Vec<String>,
    /// Where the message is forwarded.
    pub(crate) forwards: Vec<String>,
    /// Tasks and notes.
    pub(crate) queues: Vec<TestedQueue>,
    /// Whether a copy goes into Trash.
    pub(crate) trash: bool,
    /// Whether a copy stays in the inbox.
    pub(crate) inbox: bool,
    /// Invalid rules, which are left out, and other remarks.
    pub(crate) remarks: Vec<Untrusted>,
}

/// A task or a note that a message becomes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestedQueue {
    pub(crate) action: String,
    pub(crate) sink: String,
}
