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

/// A mail domain: it exists on Mailcow with these limits, and its DNS records are verified.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "email.askrobots.com",
    version = "v1alpha1",
    kind = "EmailDomain",
    doc = "A mail domain: it exists on Mailcow with these limits, and its DNS records are verified.",
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
    /// The domain name, as a U-label or an A-label (`bücher.example` or `xn--bcher-kva.example`); compared as a
    /// lower-case A-label. It can't be changed.
    #[schemars(length(min = 3, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("domain can't be changed; make another EmailDomain"))]
    #[x_kube(validation = Rule::new("self.contains('.') && !self.startsWith('.') && !self.endsWith('.') && !self.contains('..')").message("domain must be a name with at least two labels and no dot at its ends, such as example.com"))]
    #[x_kube(validation = Rule::new("!self.matches('[\\\\s@/:*_\"\\'<>()\\\\[\\\\],;\\\\\\\\]')").message("domain must hold no blanks, wildcards, underscores, '@' or punctuation"))]
    pub domain: String,
    /// Which of the configured Mailcow servers holds it; default `default`. It can't be changed.
    #[serde(default = "default_server")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("server can't be changed; make another EmailDomain"))]
    pub server: String,
    /// Text for people, shown in Mailcow. Omitted: left as it is on Mailcow (the domain's name when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self != '0'").message("description must not be 0 alone: Mailcow takes that for none"))]
    pub description: Option<String>,
    /// Whether the domain takes and sends mail; default true. Mailboxes keep their own state.
    #[serde(default = "yes")]
    pub active: bool,
    /// How much the domain may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What a mailbox of this domain gets when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_defaults: Option<MailboxDefaults>,
    /// How many messages each sender of the domain may send. Omitted: left as it is on Mailcow (no limit when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Whether the domain's mailboxes find each other in the groupware's address book. Omitted: left as it is on Mailcow
    /// (true when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_address_list: Option<bool>,
    /// How mail is relayed to or through other servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
    /// Tags on Mailcow, at most 25. Tags that others add stay; one that was listed here and no longer is, is removed.
    /// Compared without regard to case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(t, !t.startsWith('mailcow-operator') && t == t.trim())").message("a tag must have no blanks at its ends and must not begin with mailcow-operator, which marks the owner"))]
    #[x_kube(validation = Rule::new("self.all(t, t != '0')").message("a tag must not be 0 alone: Mailcow drops it"))]
    pub tags: Vec<String>,
    /// The DKIM key that Mailcow signs with. An existing key is never deleted or replaced: where it is another than is
    /// asked for here, the domain says `DkimKeyDiffers`. Omitted: an existing key will do, else one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dkim: Option<DkimSpec>,
    /// Which DNS records are verified, and what they have to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsSpec>,
    /// How the ownership of the domain is proven. Until it is, nothing is created on Mailcow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<OwnershipSpec>,
    /// Which namespaces may attach mailboxes, aliases and rules; default only the domain's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Mailboxes that are made by themselves, one for each entitled namespace. Needs the feature gate `AutoProvisioning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_provision: Option<AutoProvision>,
    /// What happens on Mailcow when this object is deleted; default that of the namespace or the installation, else
    /// `Retain`. `Delete` waits until no mailbox is left in the domain; the DKIM key survives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeletionPolicy")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What to do when the domain already exists on Mailcow; default that of the namespace or the
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

fn default_server() -> String {
    DEFAULT_SERVER.to_owned()
}

fn yes() -> bool {
    true
}

/// How much a domain may hold. What is omitted is left as it is on Mailcow; a new domain gets 10 mailboxes, 400
/// aliases, 10Gi for each mailbox and 10Gi in all (raised or lowered to fit what is given).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.mailboxQuota) || !has(self.totalQuota) || quantity(self.mailboxQuota).compareTo(quantity(self.totalQuota)) <= 0").message("mailboxQuota must not be above totalQuota"))]
pub struct Limits {
    /// Number of mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub mailboxes: Option<u32>,
    /// Number of aliases. Mailcow can't lower it to 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub aliases: Option<u32>,
    /// The largest quota a mailbox may have: a whole number of `Mi`, `Gi` or `Ti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,8}(Mi|Gi|Ti)$')").message("a quota is a whole number of Mi, Gi or Ti, such as 2Gi"))]
    pub mailbox_quota: Option<String>,
    /// The sum of all mailbox quotas: a whole number of `Mi`, `Gi` or `Ti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,8}(Mi|Gi|Ti)$')").message("a quota is a whole number of Mi, Gi or Ti, such as 2Gi"))]
    pub total_quota: Option<String>,
}

/// How mail is relayed to or through other servers. What is omitted is left as it is on Mailcow (off when new).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.allRecipients) && self.allRecipients) || (has(self.backupMx) && self.backupMx)").message("allRecipients needs backupMx: true: Mailcow switches it on with it"))]
#[x_kube(validation = Rule::new("!(has(self.unknownOnly) && self.unknownOnly) || (has(self.allRecipients) && self.allRecipients)").message("unknownOnly needs backupMx: true and allRecipients: true: Mailcow switches them on with it"))]
pub struct Relay {
    /// Whether this server only takes mail for the domain and hands it on to the server that holds the mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_mx: Option<bool>,
    /// Whether mail to any recipient is handed on, known here or not. Needs `backupMx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_recipients: Option<bool>,
    /// Whether mailboxes that exist here are delivered here, and only the others handed on. Needs `allRecipients`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_only: Option<bool>,
    /// The number of the sender-dependent transport (relay host) on Mailcow that the domain's mail leaves by; 0 is none.
    /// Mailcow does not check that it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub host: Option<u32>,
}

/// What a mailbox gets when it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MailboxDefaults {
    /// Quota: a whole number of `Mi`, `Gi` or `Ti`. Omitted: 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,8}(Mi|Gi|Ti)$')").message("a quota is a whole number of Mi, Gi or Ti, such as 2Gi"))]
    pub quota: Option<String>,
    /// How many messages each mailbox may send. Omitted: what is set on Mailcow stays (no limit when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// The ways in which each mailbox can be reached: those that are not listed are switched off, so an empty list is none.
    /// Omitted: what is set on Mailcow stays (all when new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub protocols: Option<Vec<Protocol>>,
}

/// The DKIM key that Mailcow makes for the domain (RFC 6376).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DkimSpec {
    /// The selector: the record's name is `<selector>._domainkey.<domain>`. Default `dkim`.
    #[serde(default = "selector")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"))]
    pub selector: String,
    /// RSA key size in bits: 2048 or 4096. Default 2048.
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

/// Which DNS records are verified, and what they have to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsSpec {
    /// The records that `DNSVerified` needs. Default: MX, SPF, DKIM and DMARC; these four are verified and shown all the
    /// same when they are left out. The others are looked up only when they stand here.
    #[serde(default = "all_records")]
    #[schemars(length(max = 13))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub required: Vec<DnsRecordKind>,
    /// What the DMARC record has to say. Omitted: any valid record will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dmarc: Option<DmarcSpec>,
    /// Mail servers that may stand beside Mailcow's in the MX records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub allowed_extra_mx: Vec<String>,
    /// Where the records are written to, for something else to bring them into DNS; default `None`.
    #[serde(default)]
    pub publish: DnsPublish,
    /// What becomes of published `DNSEndpoint` objects when this object is deleted or `publish` changes; default
    /// `Retain`. `Delete` has external-dns remove the records from DNS.
    #[serde(default = "keep")]
    pub published_policy: RemovalPolicy,
    /// Publish also in place of records that DNS holds now: mail then comes to Mailcow.
    #[serde(default)]
    pub cutover: bool,
    /// Other TXT values at the domain's own name, such as site verifications. They are published beside SPF, since
    /// external-dns replaces all TXT records of a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 2048)))]
    pub apex_txt: Vec<String>,
    /// What waits until `DNSVerified` is True; default `None`.
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

/// What the DMARC record has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DmarcSpec {
    /// The policy (`p=`) that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<DmarcPolicy>,
    /// Addresses that must be in `rua=`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 3, max = 254)))]
    pub report_to: Vec<String>,
}

/// A DMARC policy (RFC 9989, tag `p`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    /// Only reports.
    None,
    /// Failing mail is suspicious.
    Quarantine,
    /// Failing mail is refused.
    Reject,
}
