//! What objects can be searched by.

use crate::crd::EmailAlias;
use crate::hash::hashed;
use crate::kubernetes::store::{IndexKey, IndexKeys};
use crate::outcome::Reason;
use crate::status::{self, Conditioned};

/// What an object can be searched by.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Key<'a> {
    /// Its name, in any namespace.
    Name(&'a str),
    /// Its namespace.
    Namespace(&'a str),
    /// Its uid.
    Uid(&'a str),
    /// The `EmailDomain` that it is or belongs to, by namespace and name.
    Domain(&'a str, &'a str),
    /// An `EmailMailbox` that it needs, by namespace and name.
    Mailbox(&'a str, &'a str),
    /// An address of its status, in lower case: its own, and those that it forwards to or sends as.
    Address(&'a str),
    /// The domain of its own address; of a domain its name, as in the spec and in the status.
    DomainName(&'a str),
    /// The address that it wants, as a hash.
    Wanted(u64),
    /// The local part without the detail after `+` (RFC 5233), in lower case.
    Base(&'a str),
    /// The Secret with its password: the hash of its name.
    Secret(u64),
    /// A rule in its script, by uid.
    Rule(&'a str),
    /// Mailboxes that send as others, by namespace.
    Sends(&'a str),
    /// Aliases that are left out because of others.
    LeftOut,
    /// Objects of which no reconcile has reported the spec yet.
    Unfinished,
    /// Domains with automatic mailboxes.
    Provisions,
    /// Rules that are being deleted, by namespace.
    Deleting(&'a str),
}

impl From<Key<'_>> for IndexKey {
    fn from(key: Key<'_>) -> Self {
        let [.., a, b, c, d] = hashed(&key).to_le_bytes();
        Self(u32::from_le_bytes([a, b, c, d]))
    }
}

impl From<Key<'_>> for IndexKeys {
    fn from(key: Key<'_>) -> Self {
        IndexKey::from(key).into()
    }
}

impl<'a> FromIterator<Key<'a>> for IndexKeys {
    fn from_iter<I: IntoIterator<Item = Key<'a>>>(keys: I) -> Self {
        keys.into_iter().map(IndexKey::from).collect()
    }
}

/// Whether the alias is left out because of others.
pub(crate) fn is_left_out(alias: &EmailAlias) -> bool {
    let conditions = alias.status.as_ref().map(Conditioned::conditions).unwrap_or_default();
    status::ready(conditions).is_some_and(|ready| ready.reason == Reason::Conflict.as_str())
}
