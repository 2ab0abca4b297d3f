//! `EmailAlias`: an address that forwards its mail to others.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DomainRef, DriftPolicy, Ref, RemovalPolicy};
use super::refused_write::RefusedWrite;
use super::status_condition::StatusCondition;
use super::tenancy::Policies;

/// An alias that forwards its mail to other addresses.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailAlias",
    doc = "An alias on Mailcow that forwards its mail to other addresses.",
    plural = "emailaliases",
    singular = "emailalias",
    shortname = "ealias",
    category = "email",
    namespaced,
    status = "EmailAliasStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.address"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Goto","type":"string","jsonPath":".status.gotoSummary"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"ID","type":"integer","priority":1,"jsonPath":".status.aliasId"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.localPart) != (has(self.catchAll) && self.catchAll)").message("give exactly one of localPart and catchAll: true"))]
#[x_kube(validation = Rule::new("[has(self.goto), has(self.gotoMailboxRefs), has(self.sink)].filter(given, given).size() == 1").message("give exactly one of goto, gotoMailboxRefs and sink"))]
#[x_kube(validation = Rule::new("has(self.localPart) == has(oldSelf.localPart) && (!has(self.localPart) || self.localPart == oldSelf.localPart)").message("localPart and catchAll can't be changed; create another EmailAlias"))]
pub struct EmailAliasSpec {
    /// The `EmailDomain` of the alias. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("domainRef can't be changed; create another EmailAlias"))]
    pub domain_ref: DomainRef,
    /// The part before the `@`: at most 64 letters, digits and `. _ - + & ' % /`, compared in lower case. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("localPart is only the part before the @, such as sales; the domain comes from domainRef"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+&\\'%/-]+([.][A-Za-z0-9_+&\\'%/-]+)*$')").message("localPart may contain letters, digits and . _ - + & ' % /; it must not begin or end with a dot or contain two dots in a row"))]
    pub local_part: Option<String>,
    /// Whether the alias gets all mail of the domain that no mailbox and no other alias gets. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_all: Option<bool>,
    /// Addresses that get the mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 3, max = 254)))]
    #[x_kube(validation = Rule::new("self.all(a, a.matches('^[^@\\\\s,;]+@[^@\\\\s,;]+[.][^@\\\\s,;]+$'))").message("each goto must be one address, such as info@example.com"))]
    pub goto: Option<Vec<String>>,
    /// `EmailMailbox` objects in the same namespace that get the mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub goto_mailbox_refs: Option<Vec<Ref>>,
    /// Discards the mail or trains the spam filter, instead of forwarding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
    /// Whether the groupware offers the alias as a sender. If omitted, the value on Mailcow stays; a new alias gets
    /// true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_in_sogo: Option<bool>,
    /// Whether the target mailboxes may send as the alias. Needs Mailcow 2026-01 or newer. If omitted, the value on
    /// Mailcow stays; a new alias gets true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_allowed: Option<bool>,
    /// A comment that the domain's users can see, at most 160 bytes. An empty text removes it. If omitted, the value on
    /// Mailcow stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160), regex(pattern = r"^[^\x00-\x1f\x7f]*$"))]
    #[x_kube(validation = Rule::new("!self.lowerAscii().contains('mailcow-operator/')").message("publicComment must not contain mailcow-operator/, which begins the ownership mark"))]
    pub public_comment: Option<String>,
    /// Whether the alias receives mail. Default: true.
    #[serde(default = "yes")]
    pub active: bool,
    /// What happens on Mailcow when you delete this object. Default: the policy of the namespace or the installation,
    /// otherwise `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RemovalPolicy")]
    pub deletion_policy: Option<RemovalPolicy>,
    /// What to do if the alias already exists on Mailcow. Default: the policy of the namespace or the installation,
    /// otherwise `IfUnowned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AdoptionPolicy")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What to do about changes made by hand on Mailcow. Default: the policy of the namespace or the installation,
    /// otherwise `Correct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DriftPolicy")]
    pub drift_policy: Option<DriftPolicy>,
}

/// What happens to mail that is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sink {
    /// The mail is discarded.
    Discard,
    /// The spam filter learns the mail as spam, and the mail is discarded.
    LearnSpam,
    /// The spam filter learns the mail as ham, and the mail is discarded.
    LearnHam,
}

fn yes() -> bool {
    true
}

/// The observed state of the alias.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailAliasStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation of the spec that was last in sync with Mailcow. A later difference is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_generation: Option<i64>,
    /// The write that Mailcow refused and that the operator does not repeat for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Box<RefusedWrite>>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The full address. A catch-all is `@example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Number of the alias on Mailcow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_id: Option<u64>,
    /// The targets on Mailcow: addresses, or `null@localhost`, `spam@localhost` or `ham@localhost`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goto: Vec<String>,
    /// The first target and the number of further ones, such as `ada@example.com +4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goto_summary: Option<String>,
    /// The Mailcow server of the last reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The policies in effect, and the source of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Conditions: `Ready`, `Synced`, `ResolvedRefs`, and while true `Reconciling`, `Stalled`, `Drifted`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<StatusCondition>,
}
