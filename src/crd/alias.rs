//! `EmailAlias`: an address that hands its mail on to others.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DomainRef, DriftPolicy, Ref, RemovalPolicy};
use super::refused_write::RefusedWrite;
use super::status_condition::StatusCondition;
use super::tenancy::Policies;

/// An alias: mail to it goes to other addresses.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailAlias",
    doc = "An alias on Mailcow: mail to it goes to other addresses.",
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
#[x_kube(validation = Rule::new("has(self.localPart) == has(oldSelf.localPart) && (!has(self.localPart) || self.localPart == oldSelf.localPart)").message("localPart and catchAll can't be changed; make another EmailAlias"))]
pub struct EmailAliasSpec {
    /// The `EmailDomain` of the alias. It can't be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("domainRef can't be changed; make another EmailAlias"))]
    pub domain_ref: DomainRef,
    /// The part before the `@`, of at most 64 letters, digits and `. _ - + & ' % /`; compared in lower case. It can't
    /// be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("localPart is only the part before the @, such as sales; the domain comes from domainRef"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+&\\'%/-]+([.][A-Za-z0-9_+&\\'%/-]+)*$')").message("localPart takes letters, digits and . _ - + & ' % /, with no dot at its ends or beside another dot"))]
    pub local_part: Option<String>,
    /// Take all mail of the domain that no mailbox and no other alias takes. It can't be changed.
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
    /// What happens to its mail instead of going to addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
    /// Whether the groupware offers the alias as a sender. Omitted: left as it is on Mailcow (true when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_in_sogo: Option<bool>,
    /// Whether the mailboxes it goes to may send as the alias. Needs Mailcow 2026-01. Omitted: left as it is on Mailcow
    /// (true when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_allowed: Option<bool>,
    /// A comment that the domain's people see, at most 160 bytes; empty takes it away. Omitted: left as it is on Mailcow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub public_comment: Option<String>,
    /// Whether the alias takes mail; default true.
    #[serde(default = "yes")]
    pub active: bool,
    /// What happens on Mailcow when this object is deleted; default that of the namespace or the installation, else
    /// `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RemovalPolicy")]
    pub deletion_policy: Option<RemovalPolicy>,
    /// What to do when the alias already exists on Mailcow; default that of the namespace or the installation,
    /// else `IfUnowned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AdoptionPolicy")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What to do when Mailcow was changed by hand; default that of the namespace or the installation, else
    /// `Correct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DriftPolicy")]
    pub drift_policy: Option<DriftPolicy>,
}

/// What happens to mail that goes to no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sink {
    /// It is thrown away.
    Discard,
    /// The spam filter learns it as spam, and it is thrown away.
    LearnSpam,
    /// The spam filter learns it as no spam, and it is thrown away.
    LearnHam,
}

fn yes() -> bool {
    true
}

/// What the operator knows about the alias.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailAliasStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation of the spec that Mailcow last showed in full; a difference after that is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_generation: Option<i64>,
    /// What Mailcow refused and is not sent again for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedWrite>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The whole address; a catch-all is `@example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The alias' number on Mailcow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_id: Option<u64>,
    /// Where mail goes, as Mailcow says it: addresses, or `null@localhost`, `spam@localhost` or `ham@localhost`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goto: Vec<String>,
    /// The first of `goto` and how many more there are, such as `ada@example.com +4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goto_summary: Option<String>,
    /// The Mailcow server that it was last looked for on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The policies that hold, and where each comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Conditions: `Ready`, `Synced`, `ResolvedRefs`, and while they hold `Reconciling`, `Stalled`, `Drifted`,
    /// `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<StatusCondition>,
}
