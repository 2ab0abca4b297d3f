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
    /// Where Outlook and others find the settings of a mail client.
    Autodiscover,
    /// Where Thunderbird and others find the settings of a mail client.
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
    /// The key that the mail host presents on port 25 (RFC 7672).
    #[serde(rename = "TLSA")]
    Tlsa,
    /// The names of the IP addresses that mail leaves from (RFC 1912, section 2.1).
    #[serde(rename = "PTR")]
    Ptr,
    /// Which certificate authorities may issue certificates for the hosts (RFC 8659).
    #[serde(rename = "CAA")]
    Caa,
    /// The logo shown with the domain's mail.
    #[serde(rename = "BIMI")]
    Bimi,
}

impl DnsRecordKind {
    /// All types.
    pub const ALL: [Self; 13] = [
        Self::Mx,
        Self::Spf,
        Self::Dkim,
        Self::Dmarc,
        Self::Autodiscover,
        Self::Autoconfig,
        Self::Srv,
        Self::MtaSts,
        Self::TlsRpt,
        Self::Tlsa,
        Self::Ptr,
        Self::Caa,
        Self::Bimi,
    ];

    /// The value in the status.
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
    /// The value in the status.
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

/// A DNS record: its expected and its observed values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsRecordStatus {
    /// The record type.
    #[serde(rename = "type")]
    pub kind: DnsRecordKind,
    /// The name of the record.
    pub name: String,
    /// The verdict.
    pub verdict: DnsVerdict,
    /// Whether `DNSVerified` needs it.
    pub required: bool,
    /// Correct values, in zone file format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<String>,
    /// Published values, in zone file format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<String>,
    /// Problems that do not change the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<DnsWarning>,
    /// The verdict in words.
    pub message: String,
    /// What to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Who answered.
    pub source: DnsSource,
    /// Whether resolvers have the same answer. Omitted if this was not checked, for example because the record is
    /// missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<DnsPropagation>,
    /// Whether the resolver reports that the answer is signed and valid (DNSSEC, the AD bit). Omitted if this was not
    /// checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnssec: Option<bool>,
    /// Number of bad checks in a row after a good one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Since when the record is not correct, or checks get no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// When a check last got an answer. Omitted if the last check got one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answered: Option<Time>,
    /// Time of the last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked: Option<Time>,
    /// Time of the next check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check: Option<Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Result of a DNS check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DnsVerdict {
    /// The record is correct.
    Verified,
    /// No record of this type exists.
    Missing,
    /// The record is valid, but has another value than expected.
    Mismatch,
    /// Several records exist where the RFC allows one.
    Multiple,
    /// The record breaks the RFC's syntax or limits.
    Invalid,
    /// No reliable answer: timeout, SERVFAIL, REFUSED.
    TempError,
}

/// Propagation of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DnsPropagation {
    /// The state.
    pub state: DnsReach,
    /// For `Pending`: when the older answer in the resolver's cache expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// For `Disagree`: the answer of each server of the zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
}

/// State of propagation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsReach {
    /// The zone's servers and the resolver have the same answer.
    Everywhere,
    /// The zone's servers have the record; the resolver still caches an older answer.
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

/// Problems that do not change the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DnsWarning {
    /// The reason, in CamelCase.
    pub reason: String,
    /// The reason in words.
    pub message: String,
}
