//! `EmailForwardingRule`: what happens to mail as it comes in.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as StatusCondition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Ref, RemovalPolicy};

/// A rule for the incoming mail of a mailbox. All rules of one mailbox become one Sieve script (RFC 5228).
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailForwardingRule",
    doc = "A rule for the incoming mail of a mailbox. All rules of one mailbox become one Sieve script (RFC 5228).",
    plural = "emailforwardingrules",
    singular = "emailforwardingrule",
    shortname = "efr",
    category = "email",
    namespaced,
    status = "EmailForwardingRuleStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Mailbox","type":"string","jsonPath":".spec.mailboxRef.name"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Position","type":"integer","jsonPath":".status.position"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Enabled","type":"boolean","priority":1,"jsonPath":".spec.enabled"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailForwardingRuleSpec {
    /// The `EmailMailbox` whose mail the rule sees, in the same namespace. It can't be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("mailboxRef can't be changed; make another EmailForwardingRule"))]
    pub mailbox_ref: Ref,
    /// Whether the rule is in force; default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Rules with a lower number run first; ties by creation time, then by name. Default 100.
    #[serde(default = "priority")]
    #[schemars(range(min = 0, max = 10_000))]
    pub priority: u32,
    /// Which mail the rule is for; omitted: all mail but spam.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What happens to it, in order. `ignore` can only be the last.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.size() < 2 || self.map(a, has(a.ignore)).slice(0, self.size() - 1).all(i, !i)").message("ignore can only be the last action"))]
    pub actions: Vec<Action>,
    /// Whether later rules see the mail too; default `Stop`.
    #[serde(default)]
    pub on_match: OnMatch,
    /// What happens on Mailcow when this object is deleted; default `Delete`: the rule leaves the script. `Retain`
    /// leaves the script as it is until another rule of the mailbox changes.
    #[serde(default = "delete")]
    pub deletion_policy: RemovalPolicy,
}

fn yes() -> bool {
    true
}

fn priority() -> u32 {
    100
}

fn delete() -> RemovalPolicy {
    RemovalPolicy::Delete
}

/// Which mail a rule is for: every condition of `all`, and one of `any` if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Every one must hold; an empty list always holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub all: Vec<Condition>,
    /// At least one must hold, if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub any: Vec<Condition>,
    /// What of the mail that Mailcow marked as spam the rule sees; default `Never`.
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

/// What a rule sees of the mail that Mailcow marked as spam.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Spam {
    /// Spam and other mail.
    Any,
    /// Only spam.
    Only,
    /// No spam.
    #[default]
    Never,
}

/// One thing that can be true of a message. Comparisons ignore the case of ASCII letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.header) == (self.field == 'Header')").message("header is given with field: Header, and only then"))]
#[x_kube(validation = Rule::new("(self.operator == 'Exists') == (!has(self.values) || self.values.size() == 0)").message("values are needed by every operator but Exists, which takes none"))]
#[x_kube(validation = Rule::new("self.operator == 'Equals' || !has(self.values) || self.values.all(v, v.size() > 0)").message("only operator Equals takes an empty value"))]
#[x_kube(validation = Rule::new("self.operator != 'Exists' || self.field == 'Header' || self.field == 'Subject'").message("operator Exists is for the fields Header and Subject"))]
#[x_kube(validation = Rule::new("self.operator != 'Domain' || self.field in ['Sender', 'EnvelopeSender', 'Recipient']").message("operator Domain is for the fields Sender, EnvelopeSender and Recipient"))]
pub struct Condition {
    /// What is looked at.
    pub field: Field,
    /// The header's name, for `field: Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 78), regex(pattern = r"^[!-9;-~]+$"))]
    pub header: Option<String>,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with; one that fits is enough. Only `Equals` takes the empty text: with `EnvelopeSender` it
    /// is the sender of bounces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub values: Vec<String>,
    /// Turns the condition round; default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Field {
    /// The addresses of the From header.
    Sender,
    /// The address of MAIL FROM; empty for bounces.
    EnvelopeSender,
    /// The address the mail was sent to (RCPT TO), alias or mailbox; never the headers To and Cc.
    Recipient,
    /// The subject, decoded.
    Subject,
    /// Any header, by name.
    Header,
}

/// How a condition compares. The case of ASCII letters makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The whole value.
    Equals,
    /// Some part of it.
    Contains,
    /// Its beginning.
    StartsWith,
    /// Its end.
    EndsWith,
    /// The domain of an address, without subdomains.
    Domain,
    /// A pattern for the whole value: `*` for anything, `?` for one byte, `\` before a literal one.
    Glob,
    /// A POSIX extended regular expression of the portable kind: no backslash letters, no look-around.
    Regex,
    /// The header is there.
    Exists,
}

/// What happens to a message: exactly one of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.forward) != has(self.ignore)").message("an action is exactly one of forward and ignore"))]
pub struct Action {
    /// Send it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Keep it out of the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Ignore>,
}

/// Send the message on to other addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// Where to.
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 254)))]
    #[x_kube(validation = Rule::new("self.all(a, a.matches('^([^@\\\\s,;\"]+|\"[^\"]+\")@[^@\\\\s,;]+[.][^@\\\\s,;]+$'))").message("each address must be one address, such as info@example.com"))]
    pub to: Vec<String>,
    /// Whether the mailbox keeps a copy; default true.
    #[serde(default = "yes")]
    pub keep_copy: bool,
}

/// Keep the message out of the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// Where it goes; default `Trash`.
    #[serde(default)]
    pub mode: IgnoreMode,
}

/// Where an ignored message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IgnoreMode {
    /// Into the folder Trash.
    #[default]
    Trash,
    /// Nowhere: it is lost.
    Discard,
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

/// What the operator knows about the rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailForwardingRuleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Conditions: `Ready`, `Accepted`, `ResolvedRefs`, `Programmed`, and while they hold `Reconciling`, `Stalled`,
    /// `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<StatusCondition>,
    /// The rule's place among the rules of its mailbox, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// The rule that takes all of this rule's mail before it, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
    /// SHA-256 of the mailbox's whole script, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_hash: Option<String>,
    /// Addresses of the mailboxes that the rule is in force for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mailboxes: Vec<String>,
}
