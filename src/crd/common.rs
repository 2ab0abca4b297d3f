//! Types that several kinds share: policies, references, rate limits.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens on Mailcow when you delete the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Everything stays on Mailcow as it is. The operator only removes its mark.
    Retain,
    /// The domain or mailbox stays on Mailcow with its mail, but becomes inactive.
    Deactivate,
    /// The operator deletes it on Mailcow. If this destroys mail, it needs the annotation
    /// `email.askrobots.com/confirm-delete`.
    Delete,
}

/// What happens on Mailcow when you delete an alias or a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemovalPolicy {
    /// It stays.
    Retain,
    /// The operator removes it.
    Delete,
}

impl From<RemovalPolicy> for DeletionPolicy {
    fn from(policy: RemovalPolicy) -> Self {
        match policy {
            RemovalPolicy::Retain => Self::Retain,
            RemovalPolicy::Delete => Self::Delete,
        }
    }
}

impl From<DeletionPolicy> for RemovalPolicy {
    /// Aliases and rules have no inactive state on deletion: they stay as they are.
    fn from(policy: DeletionPolicy) -> Self {
        match policy {
            DeletionPolicy::Retain | DeletionPolicy::Deactivate => Self::Retain,
            DeletionPolicy::Delete => Self::Delete,
        }
    }
}

/// What to do with an entry that already exists on Mailcow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// Never change an entry that the operator did not create.
    Never,
    /// Adopt the entry unless it has the mark of another owner.
    #[default]
    IfUnowned,
    /// Adopt the entry even from another owner, unless that owner is an object that still exists.
    Force,
}

/// What to do about drift: Mailcow differs from the spec because somebody changed it by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// Correct the fields on Mailcow. The event `DriftCorrected` names them.
    #[default]
    Correct,
    /// Write nothing and set the condition `Drifted`. To write once, change the spec, or set the annotation
    /// `email.askrobots.com/reconcile-requested-at` to a new value that begins with `correct`.
    Report,
}

/// A protocol to access a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// Read mail on the server.
    #[serde(rename = "IMAP")]
    Imap,
    /// Fetch mail.
    #[serde(rename = "POP3")]
    Pop3,
    /// Send mail.
    #[serde(rename = "SMTP")]
    Smtp,
    /// Edit Sieve filters (`ManageSieve`).
    Sieve,
    /// Synchronize phones (Exchange `ActiveSync`). Needs Mailcow 2026-01 or newer.
    #[serde(rename = "EAS")]
    Eas,
    /// Calendars and address books (`CalDAV`, `CardDAV`). Needs Mailcow 2026-01 or newer.
    #[serde(rename = "DAV")]
    Dav,
    /// The webmail.
    #[serde(rename = "SOGo")]
    Sogo,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 7] = [Self::Imap, Self::Pop3, Self::Smtp, Self::Sieve, Self::Eas, Self::Dav, Self::Sogo];
}

/// A reference to an `EmailDomain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainRef {
    /// Name of the object.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Namespace of the object. Default: the namespace of the referring object. An `EmailDomain` in another namespace
    /// must allow it in `allowedNamespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

impl DomainRef {
    /// The namespace that an object in `own` refers to.
    pub fn namespace_from<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }

    /// Whether two objects in `own` refer to the same domain.
    pub fn is_same(&self, other: &Self, own: &str) -> bool {
        self.name == other.name && self.namespace_from(own) == other.namespace_from(own)
    }
}

/// A reference to an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ref {
    /// Name of the object.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// The period of a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Per {
    /// One second.
    Second,
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One day.
    Day,
}

/// How many messages may be sent in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Number of messages. 0 removes the limit.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub messages: u32,
    /// The period.
    pub per: Per,
}
