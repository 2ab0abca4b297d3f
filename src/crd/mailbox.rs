//! `EmailMailbox`: a mailbox on Mailcow and the Secret that opens it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DeletionPolicy, DomainRef, DriftPolicy, Protocol, RateLimit};
use super::refused_write::RefusedWrite;
use super::status_condition::StatusCondition;
use super::tenancy::Policies;

/// A mailbox. Its password lives only in a Secret.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailMailbox",
    doc = "A mailbox on Mailcow. Its password lives only in a Secret.",
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
#[x_kube(validation = Rule::new("!(has(self.passwordSecretRef) && has(self.credentialsSecretName))").message("credentialsSecretName is the name of the generated Secret; leave it out if you set passwordSecretRef"))]
pub struct EmailMailboxSpec {
    /// The part before the `@`: at most 64 letters, digits and `. _ - + & ' %`, compared in lower case. Not just `0`,
    /// because Mailcow refuses it. Immutable.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("localPart can't be changed; create another EmailMailbox"))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("localPart is only the part before the @, such as ada; the domain comes from domainRef"))]
    #[x_kube(validation = Rule::new("!self.contains('/')").message("localPart must not contain a slash: Mailcow's API can't address such a mailbox; use - or _ instead"))]
    #[x_kube(validation = Rule::new("self != '0'").message("localPart must not be just 0, because Mailcow treats it as empty"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+&\\'%/-]+([.][A-Za-z0-9_+&\\'%/-]+)*$')").message("localPart may contain letters, digits and . _ - + & ' %; it must not begin or end with a dot or contain two dots in a row"))]
    pub local_part: String,
    /// The `EmailDomain` of the mailbox. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("domainRef can't be changed; create another EmailMailbox"))]
    pub domain_ref: DomainRef,
    /// The full name of the user. If omitted, the value on Mailcow stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    #[x_kube(validation = Rule::new("!self.startsWith('<') && !self.endsWith('>')").message("displayName must not begin with < or end with >, because Mailcow removes them"))]
    #[x_kube(validation = Rule::new("!self.lowerAscii().contains('mailcow-operator/')").message("displayName must not contain mailcow-operator/, which begins the ownership mark"))]
    #[x_kube(validation = Rule::new("self != '0'").message("displayName must not be just 0, because Mailcow treats it as empty"))]
    pub display_name: Option<String>,
    /// Quota: a whole number of `Mi`, `Gi` or `Ti`, or `0` for no limit. Default: the domain's `mailboxDefaults.quota`,
    /// otherwise 1Gi. The default never lowers the quota of an existing mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^(0|[1-9][0-9]{0,8}(Mi|Gi|Ti))$')").message("quota is a whole number of Mi, Gi or Ti, such as 2Gi, or 0 for no limit"))]
    pub quota: Option<String>,
    /// Whether the mailbox receives mail and users can log in. Default: `Active`.
    #[serde(default)]
    pub state: MailboxState,
    /// The Secret and key with the password, in the same namespace. If omitted, the operator generates a password into
    /// the Secret `credentialsSecretName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Name of the generated Secret, of type `kubernetes.io/basic-auth`. Default: `<name>-mailbox`. After a
    /// change, the operator generates a new password in a Secret with the new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub credentials_secret_name: Option<String>,
    /// Whether this is a mailbox of the platform, not of a tenant. The operator never deletes it on Mailcow, whatever
    /// `deletionPolicy` says, and does not count it in the domain's `status.attached.mailboxes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// Protocols of the mailbox. Protocols that are not listed are off, so an empty list turns all off. Default: the
    /// domain's `mailboxDefaults.protocols`. If both are omitted, the value on Mailcow stays; a new mailbox gets all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub protocols: Option<Vec<Protocol>>,
    /// Whether mail from and to other servers must be encrypted in transit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Whether the user must choose a new password at the next login. The operator sets this once, and again only after
    /// it was `false` or omitted. The user's new password is then in no Secret. If omitted, the value on Mailcow stays;
    /// a new mailbox gets false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_password_change: Option<bool>,
    /// Further sender addresses, in addition to the mailbox's own address and its aliases: `@example.com` and all addresses
    /// of a domain that this namespace has on the server, and the addresses of its mailboxes and aliases there. In the
    /// platform's namespaces any address, or `*` for all. An empty list removes all. If omitted, the value on Mailcow
    /// stays, except for entries that were listed here and are no longer the namespace's; a new mailbox gets no further
    /// senders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 254)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.all(a, a == '*' || a.matches('^[^@\\\\s,;]*@[^@\\\\s,;]+[.][^@\\\\s,;]+$'))").message("each senderAcl entry must be an address such as info@example.com, a domain such as @example.com, or *"))]
    pub sender_acl: Option<Vec<String>>,
    /// Tags on Mailcow, at most 25, compared without regard to case and accents, as Mailcow's database does. Tags that
    /// others add stay. A tag that you remove from this list is removed on Mailcow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25), inner(length(min = 1, max = 64), regex(pattern = r"^[^\x00-\x1f\x7f]+$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.all(t, !t.lowerAscii().contains('mailcow-operator') && t == t.trim())").message("a tag must not begin or end with a blank, and must not contain mailcow-operator, which is the ownership mark"))]
    #[x_kube(validation = Rule::new("self.all(t, t != '0')").message("a tag must not be just 0, because Mailcow drops it"))]
    pub tags: Vec<String>,
    /// How many messages the mailbox may send. Default: the domain's `mailboxDefaults.rateLimit`. If both are omitted,
    /// the value on Mailcow stays; a new mailbox has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// What happens on Mailcow when you delete this object. Default: the policy of the namespace or the installation,
    /// otherwise `Retain`. `Delete` destroys the mail. If the mailbox has messages, it also needs the annotation
    /// `email.askrobots.com/confirm-delete: <address>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeletionPolicy")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What to do if the mailbox already exists on Mailcow. Default: the policy of the namespace or the installation,
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

/// Whether mail from and to other servers must be encrypted in transit. If a field is omitted, its value on Mailcow
/// stays; a new mailbox does not require encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// Whether to refuse unencrypted incoming mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_incoming: Option<bool>,
    /// Whether to send mail only to servers that support encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_outgoing: Option<bool>,
}

/// Whether the mailbox receives mail and users can log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MailboxState {
    /// The mailbox receives mail, and users can log in.
    #[default]
    Active,
    /// The mailbox receives mail, but nobody can log in.
    LoginDisabled,
    /// The mailbox receives no mail, and nobody can log in. Existing mail stays.
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
    /// Key in the Secret. Default: `password`.
    #[serde(default = "password")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._A-Za-z0-9]+$"))]
    pub key: String,
}

fn password() -> String {
    "password".to_owned()
}

// What few mailboxes have is boxed, because the operator holds every status in memory.
/// The observed state of the mailbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailMailboxStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation of the spec that was last in sync with Mailcow. A later difference is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_generation: Option<i64>,
    /// The generation of the `EmailDomain` whose `mailboxDefaults` were used at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_domain_generation: Option<i64>,
    /// When the operator last recreated the mailbox, empty, after it vanished from Mailcow with its mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Time>,
    /// The write that Mailcow refused and that the operator does not repeat for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Box<RefusedWrite>>,
    /// The last value of the annotation `email.askrobots.com/reconcile-requested-at` that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The full address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
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
    /// The quota and its usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
    /// Number of messages in the mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// When the user last logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<Box<LastLogin>>,
    /// Name of the Secret with the settings for a mail client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_name: Option<String>,
    /// The tags on Mailcow that come from the spec. The operator removes them when the spec no longer lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The last written `senderAcl`, if the server's version can't show it (before 2026-07a). The operator writes it
    /// again when the spec differs from this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_acl: Option<Vec<String>>,
    /// Entries of `senderAcl` that may be on Mailcow. The operator removes them when they are no longer the namespace's, even
    /// while the object is paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub granted_senders: Vec<String>,
    /// Whether the operator has already set `forcePasswordChange`, so that it does not set it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password_change_asked: bool,
    /// The version of the Secret whose password was last set on Mailcow: its uid, its resourceVersion, and a digest of
    /// its last writer and time. The digest is left out if somebody else than the operator wrote the Secret's data less
    /// than a minute before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_version: Option<String>,
    /// The Sieve script of the mailbox's rules. Omitted if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Box<ScriptStatus>>,
    /// The app password with which the worker of task delivery reads the mailbox. Omitted if no rule needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Box<DeliveryStatus>>,
    /// The last value of the annotation `email.askrobots.com/replay` that the worker of task delivery handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_replay: Option<String>,
}

/// State of the app password of a mailbox. The password itself is in a Secret in the operator's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryStatus {
    /// State of the app password.
    #[serde(default)]
    pub state: ScriptState,
    /// The reason, one of the reasons of conditions. Omitted when in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The Sieve script of a mailbox on Mailcow, and its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptStatus {
    /// SHA-256 of the operator's script as last read from Mailcow, in hex. Omitted if Mailcow has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// State of the script.
    #[serde(default)]
    pub state: ScriptState,
    /// The reason, one of the reasons of conditions. Omitted when in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The rules in the script, and deleted rules that may still be in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<ScriptRule>,
}

/// State of a script, or of an app password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ScriptState {
    /// Mailcow has what the current rules need.
    #[default]
    InSync,
    /// It waits for something else.
    Waiting,
    /// Mailcow is not reachable.
    Unknown,
    /// You must act.
    Stalled,
}

/// A rule in a script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptRule {
    /// Name of the `EmailForwardingRule`, in the mailbox's namespace.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The generation of its spec in the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The value of its annotation `email.askrobots.com/reconcile-requested-at` at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
    /// Whether it was paused at that time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether a script on Mailcow has the rule, or may have it. The operator keeps the finalizer until the rule is
    /// out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_force: bool,
    /// Its position in the script, from 1. Omitted if the rule is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// The earlier rule that takes all its mail, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
    /// Why the rule is left out: one of the reasons of conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The quota of a mailbox and its usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct QuotaStatus {
    /// The limit, as a quantity. `0`: no limit.
    pub limit: String,
    /// The used size, as a quantity.
    pub used: String,
    /// The used size, in percent of the limit. Omitted without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
}

/// When the user last logged in, by protocol. Omitted if never.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct LastLogin {
    /// With IMAP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<Time>,
    /// With SMTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Time>,
    /// With POP3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pop3: Option<Time>,
}
