//! `EmailDomain`: a mail domain on Mailcow, its limits, its DKIM key and the verification of its DNS records.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DeletionPolicy, DriftPolicy, Protocol, RateLimit, RemovalPolicy};
use super::dns_status::DnsRecordKind;
use super::domain_status::EmailDomainStatus;
use super::publishing::{DnsGate, DnsPublish, OwnershipSpec};
use super::tenancy::AllowedNamespaces;
use super::{AutoProvision, DEFAULT_SERVER};

/// A mail domain on Mailcow, with its limits, its DKIM key and the verification of its DNS records.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailDomain",
    doc = "A mail domain on Mailcow, with its limits, its DKIM key and the verification of its DNS records.",
    plural = "emaildomains",
    singular = "emaildomain",
    shortname = "edom",
    category = "email",
    namespaced,
    status = "EmailDomainStatus",
    derive = "PartialEq",
    selectable = ".spec.domain",
    printcolumn = r#"{"name":"Domain","type":"string","jsonPath":".status.domain"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"DNS","type":"string","jsonPath":".status.conditions[?(@.type==\"DNSVerified\")].status"}"#,
    printcolumn = r#"{"name":"Mailboxes","type":"integer","jsonPath":".status.usage.mailboxes"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"MX","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"MXVerified\")].status"}"#,
    printcolumn = r#"{"name":"SPF","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"SPFVerified\")].status"}"#,
    printcolumn = r#"{"name":"DKIM","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"DKIMVerified\")].status"}"#,
    printcolumn = r#"{"name":"DMARC","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"DMARCVerified\")].status"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailDomainSpec {
    /// The domain name, as a U-label or an A-label (`bücher.example` or `xn--bcher-kva.example`). The operator compares
    /// lower-case A-labels. Immutable.
    #[schemars(length(min = 3, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("domain can't be changed; create another EmailDomain"))]
    #[x_kube(validation = Rule::new("self.contains('.') && !self.startsWith('.') && !self.endsWith('.') && !self.contains('..')").message("domain must be a name with at least two labels and no dot at its ends, such as example.com"))]
    #[x_kube(validation = Rule::new("!self.matches('[\\\\s@/:*_\"\\'<>()\\\\[\\\\],;\\\\\\\\]')").message("domain must not contain blanks, wildcards, underscores, '@' or punctuation"))]
    pub domain: String,
    /// Name of the Mailcow server, from the installation's configuration. Default: `default`. Immutable.
    #[serde(default = "default_server")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("server can't be changed; create another EmailDomain"))]
    pub server: String,
    /// Description in Mailcow's UI. If omitted, the value on Mailcow stays; a new domain gets its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    #[x_kube(validation = Rule::new("!self.lowerAscii().contains('mailcow-operator/')").message("description must not contain mailcow-operator/, which begins the ownership mark"))]
    #[x_kube(validation = Rule::new("self != '0'").message("description must not be just 0, because Mailcow treats it as empty"))]
    pub description: Option<String>,
    /// Whether the domain receives and sends mail. Default: true. Mailboxes keep their own state.
    #[serde(default = "yes")]
    pub active: bool,
    /// Limits of the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Defaults for the mailboxes of this domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_defaults: Option<MailboxDefaults>,
    /// How many messages each sender of the domain may send. If omitted, the value on Mailcow stays; a new domain has
    /// no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Whether users of the domain find each other in the groupware's address book. If omitted, the value on Mailcow
    /// stays; a new domain gets true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_address_list: Option<bool>,
    /// How mail is relayed to or through other servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
    /// Tags on Mailcow, at most 25, compared without regard to case and accents, as Mailcow's database does. Tags that
    /// others add stay. A tag that you remove from this list is removed on Mailcow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25), inner(length(min = 1, max = 64), regex(pattern = r"^[^\x00-\x1f\x7f]+$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.all(t, !t.lowerAscii().contains('mailcow-operator') && t == t.trim())").message("a tag must not begin or end with a blank, and must not contain mailcow-operator, which is the ownership mark"))]
    #[x_kube(validation = Rule::new("self.all(t, t != '0')").message("a tag must not be just 0, because Mailcow drops it"))]
    pub tags: Vec<String>,
    /// The DKIM key that Mailcow signs with. The operator never deletes or replaces an existing key: if it differs from
    /// this field, the domain reports `DkimKeyDiffers`. If omitted, any existing key is accepted; a domain without a
    /// key gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dkim: Option<DkimSpec>,
    /// Which DNS records the operator verifies, and their expected values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsSpec>,
    /// How to prove the ownership of the domain. The operator creates nothing on Mailcow before the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<OwnershipSpec>,
    /// Which namespaces may have mailboxes, aliases and rules in this domain. Default: only its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Automatic mailboxes, one for each entitled namespace. Needs the feature gate `AutoProvisioning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_provision: Option<AutoProvision>,
    /// What happens on Mailcow when you delete this object. Default: the policy of the namespace or the installation,
    /// otherwise `Retain`. `Delete` waits until the domain has no mailboxes. The DKIM key stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeletionPolicy")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What to do if the domain already exists on Mailcow. Default: the policy of the namespace or the installation,
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

fn default_server() -> String {
    DEFAULT_SERVER.to_owned()
}

fn yes() -> bool {
    true
}

/// Limits of the domain. If a limit is omitted, its value on Mailcow stays. A new domain gets 10 mailboxes, 400
/// aliases, 10Gi for each mailbox and 10Gi in total, adjusted to the limits that you give.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.mailboxQuota) || !has(self.totalQuota) || quantity(self.mailboxQuota).compareTo(quantity(self.totalQuota)) <= 0").message("mailboxQuota must not be above totalQuota"))]
pub struct Limits {
    /// Largest number of mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub mailboxes: Option<u32>,
    /// Largest number of aliases. Mailcow can't lower it to 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub aliases: Option<u32>,
    /// Largest quota of a mailbox: a whole number of `Mi`, `Gi` or `Ti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,8}(Mi|Gi|Ti)$')").message("a quota is a whole number of Mi, Gi or Ti, such as 2Gi"))]
    pub mailbox_quota: Option<String>,
    /// Largest sum of all mailbox quotas: a whole number of `Mi`, `Gi` or `Ti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,8}(Mi|Gi|Ti)$')").message("a quota is a whole number of Mi, Gi or Ti, such as 2Gi"))]
    pub total_quota: Option<String>,
}

/// How mail is relayed to or through other servers. If a field is omitted, its value on Mailcow stays; a new domain has
/// relaying off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.allRecipients) && self.allRecipients) || (has(self.backupMx) && self.backupMx)").message("allRecipients needs backupMx: true, because Mailcow turns backupMx on with it"))]
#[x_kube(validation = Rule::new("!(has(self.unknownOnly) && self.unknownOnly) || (has(self.allRecipients) && self.allRecipients)").message("unknownOnly needs backupMx: true and allRecipients: true, because Mailcow turns both on with it"))]
pub struct Relay {
    /// Whether this server only accepts mail for the domain and relays it to the server with the mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_mx: Option<bool>,
    /// Whether to relay mail to all recipients, known on this server or not. Needs `backupMx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_recipients: Option<bool>,
    /// Whether to deliver mail for mailboxes on this server here, and relay only the rest. Needs `allRecipients`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_only: Option<bool>,
    /// Number of Mailcow's sender-dependent transport (relay host) for the domain's outgoing mail. 0: no relay host.
    /// Mailcow does not check that it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub host: Option<u32>,
}

/// Defaults for the mailboxes of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MailboxDefaults {
    /// Quota: a whole number of `Mi`, `Gi` or `Ti`. Default: 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,8}(Mi|Gi|Ti)$')").message("a quota is a whole number of Mi, Gi or Ti, such as 2Gi"))]
    pub quota: Option<String>,
    /// How many messages each mailbox may send. If omitted, the value on Mailcow stays; a new mailbox has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Protocols of each mailbox. Protocols that are not listed are off, so an empty list turns all off. If omitted,
    /// the value on Mailcow stays; a new mailbox gets all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub protocols: Option<Vec<Protocol>>,
}

/// The DKIM key that Mailcow creates for the domain (RFC 6376).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DkimSpec {
    /// The selector. The name of the record is `<selector>._domainkey.<domain>`. Default: `dkim`.
    #[serde(default = "selector")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"))]
    pub selector: String,
    /// RSA key size in bits: 2048 or 4096. Default: 2048.
    #[serde(default = "key_size")]
    #[x_kube(validation = Rule::new("self == 2048 || self == 4096").message("keySize must be 2048 or 4096"))]
    pub key_size: u16,
}

impl Default for DkimSpec {
    fn default() -> Self {
        Self { selector: selector(), key_size: key_size() }
    }
}

fn selector() -> String {
    "dkim".to_owned()
}

fn key_size() -> u16 {
    2048
}

/// Which DNS records the operator verifies, and their expected values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsSpec {
    /// The records that `DNSVerified` needs. Default: MX, SPF, DKIM and DMARC. The operator always verifies and shows
    /// these four. It checks the other types only if you list them here.
    #[serde(default = "all_records")]
    #[schemars(length(max = 13))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub required: Vec<DnsRecordKind>,
    /// Expected values of the DMARC record. If omitted, any valid record is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dmarc: Option<DmarcSpec>,
    /// Other mail servers that are allowed in the MX records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r#"^[^\s\x00-\x1f\x7f@/:*"'<>(),;\\]+$"#))
    )]
    pub allowed_extra_mx: Vec<String>,
    /// Where the operator writes the records, so that another tool publishes them in DNS. Needs the feature gate
    /// `DNSPublishing`. Default: `None`.
    #[serde(default)]
    pub publish: DnsPublish,
    /// What happens to published `DNSEndpoint` objects when you delete this object or change `publish`. Default:
    /// `Retain`. With `Delete`, external-dns removes the records from DNS.
    #[serde(default = "keep")]
    pub published_policy: RemovalPolicy,
    /// Whether to replace existing records in DNS. Mail then goes to Mailcow.
    #[serde(default)]
    pub cutover: bool,
    /// Other TXT records of the domain, such as site verifications. The operator publishes them together with SPF,
    /// because external-dns replaces all TXT records of a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 2048), regex(pattern = r"^[^\x00-\x1f\x7f]+$")))]
    pub apex_txt: Vec<String>,
    /// What waits until `DNSVerified` is True. Default: `None`.
    #[serde(default)]
    pub gate: DnsGate,
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self {
            required: all_records(),
            dmarc: None,
            allowed_extra_mx: Vec::new(),
            publish: DnsPublish::None,
            published_policy: RemovalPolicy::Retain,
            cutover: false,
            apex_txt: Vec::new(),
            gate: DnsGate::None,
        }
    }
}

fn keep() -> RemovalPolicy {
    RemovalPolicy::Retain
}

fn all_records() -> Vec<DnsRecordKind> {
    vec![DnsRecordKind::Mx, DnsRecordKind::Spf, DnsRecordKind::Dkim, DnsRecordKind::Dmarc]
}

/// Expected values of the DMARC record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DmarcSpec {
    /// The policy (`p=`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<DmarcPolicy>,
    /// Addresses that must be in `rua=`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 3, max = 254), regex(pattern = r"^[^\s\x00-\x1f\x7f@,;]+@[^\s\x00-\x1f\x7f@,;]+$"))
    )]
    pub report_to: Vec<String>,
}

/// A DMARC policy (RFC 9989, tag `p`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    /// Receivers only report.
    None,
    /// Receivers treat failing mail as suspicious.
    Quarantine,
    /// Receivers refuse failing mail.
    Reject,
}
