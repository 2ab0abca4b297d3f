//! `EmailForwardingRule`: what happens to mail as it comes in.

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
    printcolumn = r#"{"name":"Enabled","type":"boolean","priority":1,"jsonPath":".spec.enabled"}"#,
    printcolumn = r#"{"name":"Shadowed-By","type":"string","priority":1,"jsonPath":".status.shadowedBy"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.mailboxRef) != has(self.domainRef)").message("a rule has exactly one of mailboxRef and domainRef"))]
#[x_kube(validation = Rule::new("has(self.mailboxRef) == has(oldSelf.mailboxRef) && (!has(self.mailboxRef) || self.mailboxRef == oldSelf.mailboxRef)").message("mailboxRef can't be changed; make another EmailForwardingRule"))]
#[x_kube(validation = Rule::new("has(self.domainRef) == has(oldSelf.domainRef) && (!has(self.domainRef) || self.domainRef == oldSelf.domainRef)").message("domainRef can't be changed; make another EmailForwardingRule"))]
pub struct EmailForwardingRuleSpec {
    /// The `EmailMailbox` whose mail the rule sees, in the same namespace. It can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_ref: Option<Ref>,
    /// Instead of `mailboxRef`: the `EmailDomain` in the same namespace whose mailboxes' mail the rule sees, as far as
    /// they are `EmailMailbox` objects, those that come later too. It can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_ref: Option<DomainRef>,
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
    /// What happens to the mail, in order. `ignore` can only be the last.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.size() < 2 || self.map(a, has(a.ignore)).slice(0, self.size() - 1).all(i, !i)").message("ignore can only be the last action"))]
    pub actions: Vec<Action>,
    /// Whether later rules see the mail too; default `Stop`.
    #[serde(default)]
    pub on_match: OnMatch,
    /// What happens on Mailcow when this object is deleted; default that of the namespace or the installation, else
    /// `Delete`: the rule leaves the script. `Retain` leaves the script as it is until another rule of the mailbox
    /// changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RemovalPolicy")]
    pub deletion_policy: Option<RemovalPolicy>,
    /// What to do when a mailbox has an active prefilter that somebody else made; Mailcow allows one. `Force` switches
    /// it off, and on again when the last rule goes; `IfUnowned` (default) and `Never` leave it, and the rule waits with
    /// `FilterSlotTaken`. One rule of the mailbox that says `Force` is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AdoptionPolicy")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What to do when somebody changed the script on Mailcow by hand; default `Correct`. One rule of the mailbox that
    /// says `Report` is enough to leave it as it is until a rule changes; the rules then say `Drifted`.
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
    /// The policies that hold, and where each comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Conditions: `Ready`, `Synced`, `Accepted`, `ResolvedRefs`, `Programmed`, and while they hold `Reconciling`,
    /// `Stalled`, `Drifted`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<StatusCondition>,
    /// The rule's place among the rules of its mailbox, from 1; of a domain's rule, if it is the same in all mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// The rule that takes all of this rule's mail before it, as `namespace/name`; of a domain's rule, if it is the same
    /// in all mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
    /// SHA-256 of the mailbox's whole script as Mailcow last showed it, in hex; of a domain's rule, of all hashes in the
    /// order of the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_hash: Option<String>,
    /// Addresses of the mailboxes whose script the rule belongs to, sorted: the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub mailboxes: Vec<String>,
    /// How many mailboxes there are, those that are not listed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_count: Option<u32>,
}
