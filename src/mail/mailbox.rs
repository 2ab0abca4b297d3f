//! Mailboxes: desired and observed, without passwords.

use serde::{Deserialize, Serialize};

use std::collections::BTreeSet;

use super::{Address, Mark, Quota, RateLimit, Tags};
use crate::crd::Protocol;

/// State of a mailbox (Mailcow's `active` 0, 1 and 2; recording `04_mailbox/edit_active_2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// No mail, no login: 0.
    Inactive,
    /// Mail and login: 1.
    Active,
    /// Mail, but no login: 2.
    LoginDisabled,
}

/// Who checks a mailbox's password (Mailcow's `authsource`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Login {
    /// Mailcow, with its own password.
    #[default]
    Mailcow,
    /// An identity provider: Mailcow accepts a password and a forced change but applies neither (recordings
    /// `19_authsource/lda_*`, `key_*`, `oid_*`).
    Elsewhere,
}

/// The desired mailbox; `None`: not managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Its address.
    pub address: Address,
    /// The user's full name; Mailcow can't clear it.
    pub name: Option<String>,
    /// Its quota.
    pub quota: Quota,
    /// Whether this is only a default: a larger quota stays.
    pub is_default_quota: bool,
    /// Its state.
    pub access: Access,
    /// Its own rate limit.
    pub rate_limit: Option<RateLimit>,
    /// Its protocols.
    pub protocols: Option<BTreeSet<Protocol>>,
    /// Whether its mail must be encrypted in transit.
    pub tls: Tls<Option<bool>>,
    /// Whether the user must choose a new password.
    pub force_password_change: Option<bool>,
    /// Its sender addresses: addresses, `@domain`, `*`; lower case.
    pub sender_acl: Option<BTreeSet<String>>,
    /// Its tags.
    pub tags: Tags,
    /// Its ownership mark.
    pub mark: Mark,
}

/// A mailbox on Mailcow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MailboxHave {
    /// Its address.
    pub address: Address,
    /// The user's full name.
    pub name: String,
    /// Its quota.
    pub quota: Quota,
    /// Its state.
    pub access: Access,
    /// Its own rate limit, not its domain's.
    pub rate_limit: RateLimit,
    /// Its protocols.
    pub protocols: BTreeSet<Protocol>,
    /// Protocols that the server's version can't turn off (before 2026-01).
    pub hidden_protocols: BTreeSet<Protocol>,
    /// Whether its mail must be encrypted in transit.
    pub tls: Tls<bool>,
    /// Whether the user must choose a new password.
    pub force_password_change: bool,
    /// Who checks its password.
    pub login: Login,
    /// Its sender addresses; `None` if the server's version can't show them (before 2026-07a).
    pub sender_acl: Option<BTreeSet<String>>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Custom attributes by name, including the mark; an edit replaces them all. (A map needs half a KiB for one
    /// entry.)
    pub attributes: Vec<(String, String)>,
    /// Size of its mail, in bytes.
    pub used: Quota,
    /// Number of messages.
    pub messages: u64,
    /// Last logins by IMAP, SMTP and POP3 in Unix seconds; 0: never.
    pub last_logins: [i64; 3],
}

/// Whether mail must be encrypted in transit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tls<B> {
    /// Incoming mail.
    pub incoming: B,
    /// Outgoing mail.
    pub outgoing: B,
}

impl MailboxHave {
    /// The custom attribute with the mark.
    pub const MARK: &str = "managed-by";

    /// Its ownership mark, if any: from the attribute, otherwise from the tag of a created mailbox.
    pub fn mark(&self) -> Option<Mark> {
        let attribute = self.attributes.iter().find(|(name, _)| name == Self::MARK);
        let marked = attribute.and_then(|(_, text)| Mark::at_start(text));
        marked.or_else(|| self.tags.iter().find_map(|tag| Mark::at_start(tag)))
    }
}
