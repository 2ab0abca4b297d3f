//! Mailboxes: what is wanted and what is there. Passwords are not among it.

use std::collections::BTreeSet;

use super::{Address, Mark, Quota, RateLimit, Tags};
use crate::crd::Protocol;

/// Who gets in (Mailcow's `active` 0, 1 and 2; recording `04_mailbox/edit_active_2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Neither mail nor people: 0.
    Inactive,
    /// Mail and people: 1.
    Active,
    /// Mail comes in, people don't: 2.
    LoginDisabled,
}

/// Who checks a mailbox's password (Mailcow's `authsource`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// Mailcow, by the password that it keeps.
    #[default]
    Mailcow,
    /// An identity provider: Mailcow takes a password and a forced change and applies neither (recordings
    /// `19_authsource/lda_*`, `key_*`, `oid_*`).
    Elsewhere,
}

/// A mailbox as it should be; `None` is not managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Its address.
    pub address: Address,
    /// The name that people see; Mailcow can't clear it.
    pub name: Option<String>,
    /// How much it may hold.
    pub quota: Quota,
    /// Whether that is only a default: a mailbox that may hold more keeps it.
    pub is_default_quota: bool,
    /// Who gets in.
    pub access: Access,
    /// Its own rate limit.
    pub rate_limit: Option<RateLimit>,
    /// The ways in which it can be reached.
    pub protocols: Option<BTreeSet<Protocol>>,
    /// Whether its mail must be encrypted on its way.
    pub tls: Tls<Option<bool>>,
    /// Whether its owner has to choose a new password.
    pub force_password_change: Option<bool>,
    /// What it may send as: addresses, `@domain`, `*`; lower case.
    pub sender_acl: Option<BTreeSet<String>>,
    /// Its tags.
    pub tags: Tags,
    /// Who manages it.
    pub mark: Mark,
}

/// A mailbox as Mailcow has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxHave {
    /// Its address.
    pub address: Address,
    /// The name that people see.
    pub name: String,
    /// How much it may hold.
    pub quota: Quota,
    /// Who gets in.
    pub access: Access,
    /// Its own rate limit, not its domain's.
    pub rate_limit: RateLimit,
    /// The ways in which it can be reached.
    pub protocols: BTreeSet<Protocol>,
    /// Those that the server's version has no switch for (before 2026-01).
    pub hidden_protocols: BTreeSet<Protocol>,
    /// Whether its mail must be encrypted on its way.
    pub tls: Tls<bool>,
    /// Whether its owner has to choose a new password.
    pub force_password_change: bool,
    /// Who checks its password.
    pub login: Login,
    /// What it may send as; `None` where the server's version can't show it (before 2026-07a).
    pub sender_acl: Option<BTreeSet<String>>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Custom attributes by name, the mark's among them; an edit replaces them all. (A map takes half a KiB for one.)
    pub attributes: Vec<(String, String)>,
    /// Bytes in it.
    pub used: Quota,
    /// Messages in it.
    pub messages: u64,
    /// Last logins by IMAP, SMTP and POP3 in Unix seconds; 0 is never.
    pub last_logins: [i64; 3],
}

/// Whether mail must be encrypted on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls<B> {
    /// Mail that comes in.
    pub incoming: B,
    /// Mail that goes out.
    pub outgoing: B,
}

impl MailboxHave {
    /// The custom attribute that holds the mark.
    pub const MARK: &str = "managed-by";

    /// Who manages it, if anybody does: the attribute says so, else the tag that a mailbox is made with.
    pub fn mark(&self) -> Option<Mark> {
        let attribute = self.attributes.iter().find(|(name, _)| name == Self::MARK);
        let marked = attribute.and_then(|(_, text)| Mark::find(text));
        marked.or_else(|| self.tags.iter().find_map(|tag| Mark::find(tag)))
    }

    /// Whether nothing differs but how much mail is in it and who looked at it.
    #[must_use]
    pub fn same_settings(&self, other: &Self) -> bool {
        let Self { used, messages, last_logins, .. } = *other;
        Self { used, messages, last_logins, ..self.clone() } == *other
    }
}
