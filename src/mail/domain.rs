//! Domains: desired and observed.

use serde::{Deserialize, Serialize};

use super::{DomainName, Mark, Quota, RateLimit, Tags};

/// The desired domain; `None`: not managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: DomainName,
    /// Its description; Mailcow can't clear it.
    pub description: Option<String>,
    /// Whether it receives mail.
    pub active: bool,
    /// Its limits; each can be unmanaged.
    pub limits: Limits<Option<u32>, Option<Quota>>,
    /// The limit of each of its senders.
    pub rate_limit: Option<RateLimit>,
    /// Whether its users find each other in the address book.
    pub address_list: Option<bool>,
    /// How its mail is relayed.
    pub relay: Relay<Option<bool>, Option<u32>>,
    /// Its tags, without the mark.
    pub tags: Tags,
    /// The DKIM key to create if it has none.
    pub dkim: Dkim,
    /// Its ownership mark.
    pub mark: Mark,
}

/// A domain on Mailcow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DomainHave {
    /// Its name.
    pub name: DomainName,
    /// Its description.
    pub description: String,
    /// Whether it receives mail.
    pub active: bool,
    /// Its limits.
    pub limits: Limits<u32, Quota>,
    /// The limit of each of its senders.
    pub rate_limit: RateLimit,
    /// Whether its users find each other in the address book.
    pub address_list: bool,
    /// How its mail is relayed.
    pub relay: Relay<bool, u32>,
    /// Its tags, including the mark.
    pub tags: Vec<String>,
    /// The DKIM key; `None` when it has none.
    pub dkim: Option<DkimKey>,
    /// Number of mailboxes.
    pub mailboxes: u32,
    /// Number of aliases.
    pub aliases: u32,
    /// The largest possible quota of a new mailbox within the domain's limit.
    pub quota_left: Quota,
    /// Size of its mail, in bytes.
    pub used: Quota,
    /// Number of messages.
    pub messages: u64,
}

impl DomainHave {
    /// Its ownership mark, if any.
    pub fn mark(&self) -> Option<Mark> {
        self.tags.iter().find_map(|tag| Mark::at_start(tag))
    }
}

/// Limits of a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits<N, Q> {
    /// Number of mailboxes.
    pub mailboxes: N,
    /// Number of aliases.
    pub aliases: N,
    /// Default quota of a mailbox.
    pub default_quota: Q,
    /// The largest quota of a mailbox.
    pub mailbox_quota: Q,
    /// The sum of all quotas.
    pub total_quota: Q,
}

/// How a domain's mail is relayed. Each switch turns those before it on, and turning it off leaves them on (recording
/// `02_domain`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Relay<B, N> {
    /// Whether this server relays all of its mail.
    pub backup_mx: B,
    /// Whether mail to any recipient is relayed.
    pub all_recipients: B,
    /// Whether only recipients without a mailbox here are relayed.
    pub unknown_only: B,
    /// Number of the relay host for outgoing mail; 0: none.
    pub host: N,
}

/// A DKIM key to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// The selector.
    pub selector: String,
    /// RSA key size in bits.
    pub key_size: u16,
    /// Whether the spec asks for this key; otherwise any existing key is accepted.
    pub is_demanded: bool,
}

/// The public half of a DKIM key that Mailcow has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DkimKey {
    /// The selector.
    pub selector: String,
    /// Key size in bits as Mailcow reports it; 0 if it doesn't.
    pub key_size: u16,
    /// The TXT record's value, unquoted and in one piece.
    pub record: String,
    /// The public key, base64 of the DER `SubjectPublicKeyInfo`.
    pub public_key: String,
}

impl DkimKey {
    /// The key of a record in a status or in Mailcow's UI; `None` if the record has no public key. `key_size` is in bits;
    /// 0 if it is unknown.
    pub fn of_record(selector: &str, key_size: u16, record: &str) -> Option<Self> {
        let public_key = record.split(';').find_map(|tag| tag.trim().strip_prefix("p="))?.to_owned();
        Some(Self { selector: selector.to_owned(), key_size, record: record.to_owned(), public_key })
    }
}
