//! Domains: what is wanted and what is there.

use super::{DomainName, Mark, Quota, RateLimit, Tags};

/// A domain as it should be; `None` is not managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: DomainName,
    /// Text for people; Mailcow can't clear it.
    pub description: Option<String>,
    /// Whether it takes mail.
    pub active: bool,
    /// How much it may hold; each limit by itself may be unmanaged.
    pub limits: Limits<Option<u32>, Option<Quota>>,
    /// The limit of each of its senders.
    pub rate_limit: Option<RateLimit>,
    /// Whether its mailboxes find each other in the address book.
    pub address_list: Option<bool>,
    /// How its mail is relayed.
    pub relay: Relay<Option<bool>, Option<u32>>,
    /// Its tags, but for the mark.
    pub tags: Tags,
    /// The DKIM key to make where there is none.
    pub dkim: Dkim,
    /// Who manages it.
    pub mark: Mark,
}

/// A domain as Mailcow has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainHave {
    /// Its name.
    pub name: DomainName,
    /// Text for people.
    pub description: String,
    /// Whether it takes mail.
    pub active: bool,
    /// How much it may hold.
    pub limits: Limits<u32, Quota>,
    /// The limit of each of its senders.
    pub rate_limit: RateLimit,
    /// Whether its mailboxes find each other in the address book.
    pub address_list: bool,
    /// How its mail is relayed.
    pub relay: Relay<bool, u32>,
    /// Its tags, the mark's among them.
    pub tags: Vec<String>,
    /// The DKIM key; `None` when it has none.
    pub dkim: Option<DkimKey>,
    /// Mailboxes in it.
    pub mailboxes: u32,
    /// Aliases in it.
    pub aliases: u32,
    /// The most that a new mailbox may hold of what the domain may hold.
    pub quota_left: Quota,
    /// Bytes of mail in it.
    pub used: Quota,
    /// Messages in it.
    pub messages: u64,
}

impl DomainHave {
    /// Who manages it, if anybody does.
    pub fn mark(&self) -> Option<Mark> {
        self.tags.iter().find_map(|tag| Mark::find(tag))
    }

    /// Whether nothing differs but how much is in it.
    #[must_use]
    pub fn same_settings(&self, other: &Self) -> bool {
        let Self { mailboxes, aliases, quota_left, used, messages, .. } = *other;
        Self { mailboxes, aliases, quota_left, used, messages, ..self.clone() } == *other
    }
}

/// How much a domain may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits<N, Q> {
    /// Number of mailboxes.
    pub mailboxes: N,
    /// Number of aliases.
    pub aliases: N,
    /// Quota of a mailbox that does not say.
    pub default_quota: Q,
    /// The largest quota of a mailbox.
    pub mailbox_quota: Q,
    /// The sum of all quotas.
    pub total_quota: Q,
}

/// How a domain's mail is relayed. Each switch turns those before it on, and turning it off leaves them on (recording
/// `02_domain`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relay<B, N> {
    /// Whether this server hands all of it on.
    pub backup_mx: B,
    /// Whether any recipient will do.
    pub all_recipients: B,
    /// Whether only recipients without a mailbox here are handed on.
    pub unknown_only: B,
    /// The number of the relay host for mail that leaves; 0 is none.
    pub host: N,
}

/// A DKIM key to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// The selector.
    pub selector: String,
    /// RSA key size in bits.
    pub key_size: u16,
    /// Whether a key of this kind is asked for; else one that exists will do, whatever it is.
    pub is_demanded: bool,
}

/// The public half of a DKIM key that Mailcow has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// The selector.
    pub selector: String,
    /// Key size in bits as Mailcow says it; 0 when it doesn't.
    pub key_size: u16,
    /// The TXT record's value, unquoted and in one piece.
    pub record: String,
    /// The public key, base64 of the DER `SubjectPublicKeyInfo`.
    pub public_key: String,
}
