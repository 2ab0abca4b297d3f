//! `EmailForwardingRule`: what happens to incoming mail.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DomainRef, DriftPolicy, Ref, RemovalPolicy};
use super::rule_action::Action;
use super::status_condition::StatusCondition;
use super::tenancy::Policies;

/// A rule for the incoming mail of a mailbox, or of all mailboxes of a domain. All rules of one mailbox become one Sieve
/// script (RFC 5228).
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailForwardingRule",
    doc = "A rule for the incoming mail of a mailbox, or of all mailboxes of a domain. All rules of one mailbox become one Sieve script (RFC 5228).",
    plural = "emailforwardingrules",
    singular = "emailforwardingrule",
    shortname = "efr",
    category = "email",
    namespaced,
    status = "EmailForwardingRuleStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Mailbox","type":"string","jsonPath":".spec.mailboxRef.name"}"#,
    printcolumn = r#"{"name":"Domain","type":"string","jsonPath":".spec.domainRef.name"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Position","type":"integer","jsonPath":".status.position"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Mailboxes","type":"integer","priority":1,"jsonPath":".status.mailboxCount"}"#,
    printcolumn = r#"{"name":"Delivered","type":"integer","priority":1,"jsonPath":".status.delivered.total"}"#,
    printcolumn = r#"{"name":"Waiting","type":"integer","priority":1,"jsonPath":".status.delivered.waiting"}"#,
    printcolumn = r#"{"name":"Failed","type":"integer","priority":1,"jsonPath":".status.delivered.failed"}"#,
    printcolumn = r#"{"name":"Enabled","type":"boolean","priority":1,"jsonPath":".spec.enabled"}"#,
    printcolumn = r#"{"name":"Shadowed-By","type":"string","priority":1,"jsonPath":".status.shadowedBy"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.mailboxRef) != has(self.domainRef)").message("give exactly one of mailboxRef and domainRef"))]
#[x_kube(validation = Rule::new("has(self.mailboxRef) == has(oldSelf.mailboxRef) && (!has(self.mailboxRef) || self.mailboxRef == oldSelf.mailboxRef)").message("mailboxRef can't be changed; create another EmailForwardingRule"))]
#[x_kube(validation = Rule::new("has(self.domainRef) == has(oldSelf.domainRef) && (!has(self.domainRef) || self.domainRef == oldSelf.domainRef)").message("domainRef can't be changed; create another EmailForwardingRule"))]
pub struct EmailForwardingRuleSpec {
    /// The `EmailMailbox` of the rule, in the same namespace. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_ref: Option<Ref>,
    /// Instead of `mailboxRef`: an `EmailDomain`. The rule applies to all its `EmailMailbox` objects in the same
    /// namespace, also later ones. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_ref: Option<DomainRef>,
    /// Whether the rule is active. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Rules with a lower number run first, then older rules, then by name. Default: 100.
    #[serde(default = "priority")]
    #[schemars(range(min = 0, max = 10_000))]
    pub priority: u32,
    /// Which mail the rule applies to. Default: all mail except spam.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What happens to the mail, in order. `ignore` can only be the last.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.size() < 2 || self.map(a, has(a.ignore)).slice(0, self.size() - 1).all(i, !i)").message("ignore can only be the last action"))]
    pub actions: Vec<Action>,
    /// Whether later rules see the mail too. Default: `Stop`.
    #[serde(default)]
    pub on_match: OnMatch,
    /// What happens on Mailcow when you delete this object. Default: the policy of the namespace or the installation,
    /// otherwise `Delete`, which removes the rule from the script. `Retain` keeps the script as it is until another
    /// rule of the mailbox changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RemovalPolicy")]
    pub deletion_policy: Option<RemovalPolicy>,
    /// What to do if the mailbox has an active prefilter that somebody else made. Mailcow allows only one. `Force`
    /// deactivates it, and activates it again when the last rule is deleted. With `IfUnowned` (default) and `Never` it
    /// stays, and the rule waits with `FilterSlotTaken`. It is enough if one rule of the mailbox has `Force`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AdoptionPolicy")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What to do if somebody changes the script on Mailcow by hand. Default: `Correct`. If one rule of the mailbox has
    /// `Report`, the changed script stays until a rule changes, and the rules report `Drifted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DriftPolicy")]
    pub drift_policy: Option<DriftPolicy>,
}

fn yes() -> bool {
    true
}

fn priority() -> u32 {
    100
}

/// Which mail a rule applies to: all conditions of `all` match, and at least one of `any`, if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.all) ? self.all.map(c, has(c.values) ? c.values.map(v, v.size()).sum() : 0).sum() : 0) + (has(self.any) ? self.any.map(c, has(c.values) ? c.values.map(v, v.size()).sum() : 0).sum() : 0) <= 65535").message("all values together must not have more than 65535 characters, because they would not fit into the mailbox's script"))]
pub struct Match {
    /// All conditions must match. An empty list always matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub all: Vec<Condition>,
    /// At least one condition must match, if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub any: Vec<Condition>,
    /// Whether the rule applies to mail that Mailcow marked as spam. Default: `Never`.
    #[serde(default)]
    pub spam: Spam,
    /// Only mail larger than this: a whole number of `Ki` or `Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]{0,6}(Ki|Mi)$"))]
    pub larger_than: Option<String>,
    /// Only mail smaller than this: a whole number of `Ki` or `Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]{0,6}(Ki|Mi)$"))]
    pub smaller_than: Option<String>,
}

/// Whether a rule applies to mail that Mailcow marked as spam.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Spam {
    /// Spam and other mail.
    Any,
    /// Only spam.
    Only,
    /// Only other mail.
    #[default]
    Never,
}

/// A condition on a message. Comparisons ignore the case of ASCII letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.header) == (self.field == 'Header')").message("set header if and only if field is Header"))]
#[x_kube(validation = Rule::new("(self.operator == 'Exists') == (!has(self.values) || self.values.size() == 0)").message("every operator needs values, except Exists, which must have none"))]
#[x_kube(validation = Rule::new("self.operator == 'Equals' || !has(self.values) || self.values.all(v, v.size() > 0)").message("only the operator Equals may have an empty value"))]
#[x_kube(validation = Rule::new("self.operator != 'Exists' || self.field == 'Header' || self.field == 'Subject'").message("the operator Exists needs the field Header or Subject"))]
#[x_kube(validation = Rule::new("self.operator != 'Domain' || self.field in ['Sender', 'EnvelopeSender', 'Recipient']").message("the operator Domain needs the field Sender, EnvelopeSender or Recipient"))]
pub struct Condition {
    /// The part of the message to compare.
    pub field: Field,
    /// The header's name, for `field: Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 78), regex(pattern = r"^[!-9;-~]+$"))]
    pub header: Option<String>,
    /// How to compare.
    pub operator: Operator,
    /// The values to compare with. It is enough if one matches. Only `Equals` may have an empty text: with
    /// `EnvelopeSender` it matches bounces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub values: Vec<String>,
    /// Inverts the condition. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// The part of a message that a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Field {
    /// The addresses of the From header.
    Sender,
    /// The address of MAIL FROM. Empty for bounces.
    EnvelopeSender,
    /// The address the mail was sent to (RCPT TO), alias or mailbox; never the headers To and Cc.
    Recipient,
    /// The subject, decoded.
    Subject,
    /// Any header, by name.
    Header,
}

/// How a condition compares. The case of ASCII letters does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The whole value is equal.
    Equals,
    /// The value contains this text.
    Contains,
    /// The value begins with this text.
    StartsWith,
    /// The value ends with this text.
    EndsWith,
    /// The domain of the address is equal. Subdomains do not match.
    Domain,
    /// A pattern for the whole value: `*` for anything, `?` for one byte, `\` before a literal one.
    Glob,
    /// A portable POSIX extended regular expression, without backslash letters and look-around.
    Regex,
    /// The header exists.
    Exists,
}

/// Whether later rules see the mail too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnMatch {
    /// No later rule sees it.
    #[default]
    Stop,
    /// Later rules see it too.
    Continue,
}

/// The observed state of the rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailForwardingRuleStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The policies in effect, and the source of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Conditions: `Ready`, `Synced`, `Accepted`, `ResolvedRefs`, `Programmed`, and while true `Reconciling`,
    /// `Stalled`, `Drifted`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<StatusCondition>,
    /// The rule's position in the script of its mailbox, from 1. For a domain's rule only if it is the same in all
    /// mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// The earlier rule that takes all mail of this rule, as `namespace/name`. For a domain's rule only if it is the
    /// same in all mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
    /// SHA-256 of the mailbox's whole script as last read from Mailcow, in hex. For a domain's rule: of all these
    /// hashes, in the order of the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_hash: Option<String>,
    /// Addresses of the rule's mailboxes, sorted. Only the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub mailboxes: Vec<String>,
    /// Number of the rule's mailboxes, including those not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_count: Option<u32>,
    /// What became of the copies for `createTask` and `createNote`, in all mailboxes of the rule. The worker of task
    /// delivery writes it. Email sinks are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<DeliveredStatus>,
    /// The last value of the annotation `email.askrobots.com/replay` that the worker handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_replay: Option<String>,
}

/// What became of the copies of messages in the queue folders of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredStatus {
    /// Number of messages that sinks have taken.
    pub total: u64,
    /// Number of messages in `Failed`: no sink has taken them, and nobody tries them again unless you ask for it.
    pub failed: u64,
    /// Number of messages that wait for their first or next try.
    pub waiting: u64,
    /// When a sink last took a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,
    /// Why messages wait or fail, one of the reasons of events or conditions. Omitted when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Sinks of the rule that answered 410. They get nothing until their configuration changes or you ask for a replay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled_sinks: Vec<DisabledSink>,
}

/// A sink that answered 410.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisabledSink {
    /// Its name.
    pub name: String,
    /// A hash of the configuration that it had, without values of Secrets.
    pub configuration: String,
}
