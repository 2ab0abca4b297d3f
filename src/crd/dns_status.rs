//! The DNS records of a domain, in its status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A DNS record that mail needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DnsRecordKind {
    /// Where mail for the domain goes (RFC 5321, section 5.1).
    #[serde(rename = "MX")]
    Mx,
    /// Who may send for the domain (RFC 7208).
    #[serde(rename = "SPF")]
    Spf,
    /// The key that signatures are checked with (RFC 6376).
    #[serde(rename = "DKIM")]
    Dkim,
    /// What receivers do with mail that fails (RFC 9989).
    #[serde(rename = "DMARC")]
    Dmarc,
    /// Where Outlook and others find a mail client's settings.
    Autodiscover,
    /// Where Thunderbird and others find a mail client's settings.
    Autoconfig,
    /// Which hosts and ports serve mail clients (RFC 6186, RFC 8314).
    #[serde(rename = "SRV")]
    Srv,
    /// That senders must use TLS (RFC 8461).
    #[serde(rename = "MTASTS")]
    MtaSts,
    /// Where senders report trouble with TLS (RFC 8460).
    #[serde(rename = "TLSRPT")]
    TlsRpt,
    /// The key that the mail host shows on port 25 (RFC 7672).
    #[serde(rename = "TLSA")]
    Tlsa,
    /// The names of the addresses that mail is sent from (RFC 1912, section 2.1).
    #[serde(rename = "PTR")]
    Ptr,
    /// Which certificate authorities may issue for the hosts (RFC 8659).
    #[serde(rename = "CAA")]
    Caa,
    /// The logo beside the domain's mail.
    #[serde(rename = "BIMI")]
    Bimi,
}

impl DnsRecordKind {
    /// The word of the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mx => "MX",
            Self::Spf => "SPF",
            Self::Dkim => "DKIM",
            Self::Dmarc => "DMARC",
            Self::Autodiscover => "Autodiscover",
            Self::Autoconfig => "Autoconfig",
            Self::Srv => "SRV",
            Self::MtaSts => "MTASTS",
            Self::TlsRpt => "TLSRPT",
            Self::Tlsa => "TLSA",
            Self::Ptr => "PTR",
            Self::Caa => "CAA",
            Self::Bimi => "BIMI",
        }
    }
}

impl DnsVerdict {
    /// The word of the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Missing => "Missing",
            Self::Mismatch => "Mismatch",
            Self::Multiple => "Multiple",
            Self::Invalid => "Invalid",
            Self::TempError => "TempError",
        }
    }
}

/// One DNS record: what is wanted, what is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsRecordStatus {
    /// Which record.
    #[serde(rename = "type")]
    pub kind: DnsRecordKind,
    /// The name of the record.
    pub name: String,
    /// The verdict.
    pub verdict: DnsVerdict,
    /// Whether `DNSVerified` needs it.
    pub required: bool,
    /// Values that would be right, in the format of zone files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<String>,
    /// Values that were seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<String>,
    /// What is allowed but better otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<DnsWarning>,
    /// The verdict in words.
    pub message: String,
    /// What to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Who answered.
    pub source: DnsSource,
    /// Whether the rest of the world sees the same; omitted while it was not asked, as when the record is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<DnsPropagation>,
    /// Whether the resolver says that the answer is signed and valid (DNSSEC, the AD bit); omitted while it was not
    /// asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnssec: Option<bool>,
    /// How many checks in a row gave a bad answer after a good one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Since when checks find it other than wanted, or get no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// When a check last got an answer; omitted when that was the last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answered: Option<Time>,
    /// When it was last looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked: Option<Time>,
    /// When it will be looked up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check: Option<Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// What a DNS check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DnsVerdict {
    /// As wanted.
    Verified,
    /// No record of that family.
    Missing,
    /// Well-formed, but not what is wanted.
    Mismatch,
    /// More than one where the RFC allows one.
    Multiple,
    /// Against the RFC's syntax or limits.
    Invalid,
    /// No answer that can be trusted: time-out, SERVFAIL, REFUSED.
    TempError,
}

/// How far a record has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DnsPropagation {
    /// In one word.
    pub state: DnsReach,
    /// For `Pending`: when the resolver will have forgotten the older answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// For `Disagree`: which server of the zone has which answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
}

/// How far a record has come, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsReach {
    /// The zone's servers and the resolver have the same answer.
    Everywhere,
    /// The zone's servers have it; the resolver still holds an older answer.
    Pending,
    /// The zone's servers have different answers.
    Disagree,
}

/// Who answered a DNS check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsSource {
    /// The zone's own name servers.
    Authoritative,
    /// A recursive resolver.
    Recursive,
}

/// What is allowed but better otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DnsWarning {
    /// One CamelCase word.
    pub reason: String,
    /// The same in words.
    pub message: String,
}
