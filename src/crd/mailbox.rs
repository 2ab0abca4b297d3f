//! `EmailMailbox`: a mailbox on Mailcow and the Secret that opens it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DeletionPolicy, DomainRef, DriftPolicy, Protocol, RateLimit};
use super::refused_write::RefusedWrite;
use super::status_condition::StatusCondition;
use super::tenancy::Policies;

/// A mailbox. Its password lives in a Secret and nowhere else.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailMailbox",
    doc = "A mailbox on Mailcow. Its password lives in a Secret and nowhere else.",
    plural = "emailmailboxes",
    singular = "emailmailbox",
    shortname = "embx",
    category = "email",
    namespaced,
    status = "EmailMailboxStatus",
    derive = "PartialEq",
    selectable = ".spec.localPart",
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.address"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Used","type":"string","jsonPath":".status.quota.used"}"#,
    printcolumn = r#"{"name":"Quota","type":"string","jsonPath":".status.quota.limit"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".spec.state"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Secret","type":"string","priority":1,"jsonPath":".status.credentialsSecretName"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.passwordSecretRef) && has(self.credentialsSecretName))").message("credentialsSecretName names the generated Secret: leave it out when passwordSecretRef is given"))]
pub struct EmailMailboxSpec {
    /// The part before the `@`, of at most 64 letters, digits and `. _ - + & ' %`; compared in lower case. Not `0` alone,
    /// which Mailcow does not take. It can't be changed.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("localPart can't be changed; make another EmailMailbox"))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("localPart is only the part before the @, such as ada; the domain comes from domainRef"))]
    #[x_kube(validation = Rule::new("!self.contains('/')").message("localPart must not contain a slash: Mailcow's API can't address such a mailbox; use - or _ instead"))]
    #[x_kube(validation = Rule::new("self != '0'").message("localPart must not be 0 alone: Mailcow takes that for no name"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+&\\'%/-]+([.][A-Za-z0-9_+&\\'%/-]+)*$')").message("localPart takes letters, digits and . _ - + & ' %, with no dot at its ends or beside another dot"))]
    pub local_part: String,
    /// The `EmailDomain` of the mailbox. It can't be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("domainRef can't be changed; make another EmailMailbox"))]
    pub domain_ref: DomainRef,
    /// The name that people see. Omitted: left as it is on Mailcow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('<') && !self.endsWith('>')").message("displayName must not begin with < or end with >: Mailcow cuts them off"))]
    #[x_kube(validation = Rule::new("self != '0'").message("displayName must not be 0 alone: Mailcow takes that for no name"))]
    pub display_name: Option<String>,
    /// How much mail it may hold: a whole number of `Mi`, `Gi` or `Ti`, or `0` for no limit. Omitted: what the domain's
    /// `mailboxDefaults` say, else 1Gi; a mailbox that may hold more keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^(0|[1-9][0-9]{0,8}(Mi|Gi|Ti))$')").message("quota is a whole number of Mi, Gi or Ti, such as 2Gi, or 0 for no limit"))]
    pub quota: Option<String>,
    /// Whether mail comes in and people can log in; default `Active`.
    #[serde(default)]
    pub state: MailboxState,
    /// A key of a Secret in the same namespace that holds the password. Omitted: the operator generates a password and
    /// keeps it in the Secret `credentialsSecretName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Name of the generated Secret, of type `kubernetes.io/basic-auth`. Default: `<name>-mailbox`. It can't be
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub credentials_secret_name: Option<String>,
    /// Whether it serves the platform and not a tenant: it is never deleted on Mailcow, whatever `deletionPolicy` says,
    /// and not counted among the domain's `status.attached.mailboxes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// The ways in which it can be reached: those that are not listed are switched off, so an empty list is none. Omitted:
    /// what the domain's `mailboxDefaults` say, else left as it is on Mailcow (all when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub protocols: Option<Vec<Protocol>>,
    /// Whether mail from and to other servers must be encrypted on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Whether its owner has to choose a new password at the next login; asked for once, and again only after it was
    /// `false` or left out. The owner's new password is then in no Secret. Omitted: left as it is on Mailcow (not asked for
    /// when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_password_change: Option<bool>,
    /// What it may send as, beside its own address and its aliases: addresses that exist on Mailcow, `@example.com` for
    /// a whole domain, or `*` for anything; nothing of a domain that another namespace has. An empty list takes all of it
    /// away. Omitted: left as it is on Mailcow (none when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 254)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(a, a == '*' || a.matches('^[^@\\\\s,;]*@[^@\\\\s,;]+[.][^@\\\\s,;]+$'))").message("each senderAcl entry must be an address, @ and a domain, or *"))]
    pub sender_acl: Option<Vec<String>>,
    /// Tags on Mailcow, at most 25. Tags that others add stay; one that was listed here and no longer is, is removed.
    /// Compared without regard to case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(t, !t.startsWith('mailcow-operator') && t == t.trim())").message("a tag must have no blanks at its ends and must not begin with mailcow-operator, which marks the owner"))]
    #[x_kube(validation = Rule::new("self.all(t, t != '0')").message("a tag must not be 0 alone: Mailcow drops it"))]
    pub tags: Vec<String>,
    /// How many messages the mailbox may send. Omitted: what the domain's `mailboxDefaults` say, else left as it is on
    /// Mailcow (no limit when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// What happens on Mailcow when this object is deleted; default that of the namespace or the installation, else
    /// `Retain`. `Delete` destroys the mail in it; when it holds messages this also needs the annotation
    /// `email.askrobots.com/confirm-delete: <address>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeletionPolicy")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What to do when the mailbox already exists on Mailcow; default that of the namespace or the
    /// installation, else `IfUnowned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AdoptionPolicy")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What to do when Mailcow was changed by hand; default that of the namespace or the installation, else
    /// `Correct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DriftPolicy")]
    pub drift_policy: Option<DriftPolicy>,
}

/// Whether mail from and to other servers must be encrypted on its way. What is omitted is left as it is on Mailcow (not
/// required when new).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// Whether mail that comes unencrypted is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_incoming: Option<bool>,
    /// Whether mail to servers that can't encrypt is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_outgoing: Option<bool>,
}

/// Whether mail comes in and people can log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MailboxState {
    /// Mail comes in, people can log in.
    #[default]
    Active,
    /// Mail comes in, nobody can log in.
    LoginDisabled,
    /// No mail comes in, nobody can log in; the mail in it stays.
    Inactive,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Key in the Secret; default `password`.
    #[serde(default = "password")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._A-Za-z0-9]+$"))]
    pub key: String,
}

fn password() -> String {
    "password".to_owned()
}

/// What the operator knows about the mailbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailMailboxStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation of the spec that Mailcow last showed in full; a difference after that is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_generation: Option<i64>,
    /// The generation of the `EmailDomain` whose `mailboxDefaults` were taken then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_domain_generation: Option<i64>,
    /// When the mailbox, which was gone from Mailcow with its mail, was last made again, empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Time>,
    /// What Mailcow refused and is not sent again for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedWrite>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The whole address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
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
    /// How much it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
    /// Messages in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// When somebody last logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<LastLogin>,
    /// The Secret with what a mail client needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_name: Option<String>,
    /// The tags on Mailcow that the spec put there or names: those that go when the spec no longer lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What `senderAcl` was last set to, where the server's version can't show it (before 2026-07a): it is written when
    /// the spec says something else than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_acl: Option<Vec<String>>,
    /// Whether a password change was asked for and not taken back: it is not asked for again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password_change_asked: bool,
    /// Which version of which Secret was last set as password on Mailcow: its uid, its resourceVersion, and a digest of who
    /// last wrote what is in it, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_version: Option<String>,
    /// What became of the script that the rules of the mailbox are made into; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptStatus>,
}

/// The Sieve script of a mailbox on Mailcow, and the rules that it was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptStatus {
    /// SHA-256 of the script as Mailcow last showed it, in hex; absent when it showed none of the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Where the script stands.
    #[serde(default)]
    pub state: ScriptState,
    /// Why, in one of the words of conditions; absent in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The rules that it was made from, and those that may still be in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<ScriptRule>,
}

/// Where a script stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ScriptState {
    /// Mailcow shows it as the rules ask.
    #[default]
    InSync,
    /// Something else has to come first.
    Waiting,
    /// It can't be known now.
    Unknown,
    /// You must act.
    Stalled,
}

/// A rule as a script was made from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptRule {
    /// Name of the `EmailForwardingRule`, in the mailbox's namespace.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The generation of its spec that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The value of its annotation `email.askrobots.com/reconcile-requested-at` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
    /// Whether it was paused then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether a script on Mailcow has it, or may have it: the rule is not let go before it is out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_force: bool,
    /// Its place in the script, from 1; absent when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// The earlier rule that takes all its mail, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
    /// Why it is left out, in one of the words of conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How much a mailbox holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct QuotaStatus {
    /// The limit, as a quantity; `0` is no limit.
    pub limit: String,
    /// In use, as a quantity.
    pub used: String,
    /// In use, in percent of the limit; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
}

/// When somebody last logged in, by protocol; absent when never.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct LastLogin {
    /// By IMAP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<Time>,
    /// By SMTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Time>,
    /// By POP3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pop3: Option<Time>,
}
