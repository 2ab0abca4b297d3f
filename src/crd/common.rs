//! Words that several kinds share: policies, references, rate limits.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens on Mailcow when the object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Everything stays on Mailcow as it is; only the operator's mark is taken off.
    Retain,
    /// The thing stays on Mailcow with its mail, but is switched off.
    Deactivate,
    /// The thing is removed from Mailcow. Where mail would be lost this also needs the annotation
    /// `email.askrobots.com/confirm-delete`.
    Delete,
}

/// What happens on Mailcow when an alias or a rule is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemovalPolicy {
    /// It stays.
    Retain,
    /// It is removed.
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
    /// An alias or a rule can't be switched off and kept: it stays.
    fn from(policy: DeletionPolicy) -> Self {
        match policy {
            DeletionPolicy::Retain | DeletionPolicy::Deactivate => Self::Retain,
            DeletionPolicy::Delete => Self::Delete,
        }
    }
}

/// What to do when the thing already exists on Mailcow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// Never touch what the operator did not make.
    Never,
    /// Adopt it when it carries no other owner's mark.
    #[default]
    IfUnowned,
    /// Take it over even from another owner, but for an object that still exists.
    Force,
}

/// What to do when Mailcow shows something else than it did when the object was last in sync, and the spec is the same:
/// somebody changed it by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// Put it back, and say in an event which fields were.
    #[default]
    Correct,
    /// Write nothing and say so in the condition `Drifted`. A change of the spec, or a new value of the annotation
    /// `email.askrobots.com/reconcile-requested-at` that begins with `correct`, writes once.
    Report,
}

/// A way to reach a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// Reading mail that stays on the server.
    #[serde(rename = "IMAP")]
    Imap,
    /// Fetching mail.
    #[serde(rename = "POP3")]
    Pop3,
    /// Sending mail.
    #[serde(rename = "SMTP")]
    Smtp,
    /// Editing one's own filters.
    Sieve,
    /// Synchronizing phones (Exchange `ActiveSync`). Mailcow has a switch for it since 2026-01.
    #[serde(rename = "EAS")]
    Eas,
    /// Calendars and address books (`CalDAV`, `CardDAV`). Mailcow has a switch for it since 2026-01.
    #[serde(rename = "DAV")]
    Dav,
    /// The webmail.
    #[serde(rename = "SOGo")]
    Sogo,
}

impl Protocol {
    /// Every way to reach a mailbox.
    pub const ALL: [Self; 7] = [Self::Imap, Self::Pop3, Self::Smtp, Self::Sieve, Self::Eas, Self::Dav, Self::Sogo];
}

/// A reference to an `EmailDomain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; default the one of the object that refers to it. Another one has to let this one in with its
    /// `allowedNamespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

impl DomainRef {
    /// The namespace that is meant by an object in `own`.
    pub fn namespace_from<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }

    /// Whether two objects in `own` mean the same domain.
    pub fn is_same(&self, other: &Self, own: &str) -> bool {
        self.name == other.name && self.namespace_from(own) == other.namespace_from(own)
    }
}

/// A reference to an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ref {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The time in which a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// How many messages may be sent in a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Number of messages; 0 takes the limit away.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub messages: u32,
    /// The time in which they are counted.
    pub per: Per,
}
