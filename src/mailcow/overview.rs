//! A whole server in as few requests as possible, for exports: lists over all domains, and what the operator has no kind
//! for.

use serde_json::Value;

use super::client::{Client, Question};
use super::error::Error;
use super::identity::Named;
use super::observe::{TIME_FOR_A_MAILBOX, TIME_FOR_AN_ALIAS, alias_have, filter, mailbox_have};
use super::reply::is_nothing;
use super::wire::{WireAlias, WireFilter, WireMailbox};
use crate::mail::{Address, AliasHave, Catch, MailboxHave};

/// Entries of a list, and the names of those that can't be read.
#[derive(Clone, Debug)]
pub struct Listed<K, V> {
    /// The readable entries.
    pub entries: Vec<(K, V)>,
    /// Names that are no address of a mailbox or alias.
    pub odd: Vec<String>,
}

/// A Sieve filter of a mailbox, made by its user or by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxFilter {
    /// The mailbox.
    pub mailbox: Address,
    /// `prefilter` or `postfilter`.
    pub kind: String,
    /// Whether it is the active one of its kind.
    pub active: bool,
    /// Its description.
    pub description: String,
    /// Whether the operator made it.
    pub is_ours: bool,
}

/// Entries that the operator has no kind for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherEntries {
    /// What they are, such as `alias domains`.
    pub what: &'static str,
    /// Their names, without secrets.
    pub names: Vec<String>,
}

/// Routes of entries without a kind: what they are, the route with its parts, and the keys that name an entry.
const OTHERS: [(&str, &str, &[&str], &[&str]); 7] = [
    ("alias domains", "get/alias-domain", &["all"], &["alias_domain", "target_domain"]),
    ("sync jobs", "get/syncjobs", &["all", "no_log"], &["user2", "host1"]),
    ("resources", "get/resource", &["all"], &["name"]),
    ("domain administrators", "get/domain-admin", &["all"], &["username"]),
    ("BCC maps", "get/bcc", &["all"], &["local_dest", "bcc_dest"]),
    ("relay hosts", "get/relayhost", &["all"], &["id", "hostname"]),
    ("transports", "get/transport", &["all"], &["destination", "nexthop"]),
];

impl Client {
    /// Every mailbox of all domains, of which about `expected` are known, in one list (recording
    /// `04_mailbox/list_all_unknown_domain`).
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn all_mailboxes(&self, expected: u32) -> Result<Listed<Address, MailboxHave>, Error> {
        let more_time = TIME_FOR_A_MAILBOX * expected;
        let question = Question { more_time, ..Question::of("get/mailbox", &["all"]) };
        let mut listed = Listed { entries: Vec::new(), odd: Vec::new() };
        for wire in self.list_readable::<WireMailbox>(&question).await? {
            match wire.name() {
                Some(address) => listed.entries.push((address.clone(), mailbox_have(address, wire))),
                None => listed.odd.push(wire.username.unwrap_or_else(|| "a half-deleted mailbox".to_owned())),
            }
        }
        Ok(listed)
    }

    /// Every alias of all domains, of which about `expected` are known, in one list.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn all_aliases(&self, expected: u32) -> Result<Listed<Catch, AliasHave>, Error> {
        let more_time = TIME_FOR_AN_ALIAS * expected;
        let question = Question { more_time, ..Question::of("get/alias", &["all"]) };
        let mut listed = Listed { entries: Vec::new(), odd: Vec::new() };
        for wire in self.list_readable::<WireAlias>(&question).await? {
            match wire.name() {
                Some(catch) => listed.entries.push((catch.clone(), alias_have(catch, wire))),
                None => listed.odd.push(wire.address),
            }
        }
        Ok(listed)
    }

    /// The Sieve filters of all mailboxes.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn all_filters(&self) -> Result<Vec<MailboxFilter>, Error> {
        let all: Vec<WireFilter> = self.list_readable(&Question::of("get/filters", &["all"])).await?;
        let filters = all.into_iter().filter_map(|wire| {
            let (mailbox, kind) = (wire.name()?, wire.filter_type.clone());
            let filter = filter(wire);
            let is_ours = filter.mark().is_some();
            Some(MailboxFilter { mailbox, kind, active: filter.active, description: filter.description, is_ours })
        });
        Ok(filters.collect())
    }

    /// The entries that the operator has no kind for; kinds without entries are left out.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn other_entries(&self) -> Result<Vec<OtherEntries>, Error> {
        let mut found = Vec::new();
        for (what, route, parts, keys) in OTHERS {
            let value = self.get(route, parts).await?;
            if is_nothing(&value) {
                continue;
            }
            let names: Vec<String> = value.as_array().into_iter().flatten().map(|entry| named(entry, keys)).collect();
            if !names.is_empty() {
                found.push(OtherEntries { what, names });
            }
        }
        Ok(found)
    }
}

/// The values of some keys, such as `a.example (b.example)`.
fn named(entry: &Value, keys: &[&str]) -> String {
    let text = |key: &&str| match &entry[*key] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let mut values = keys.iter().map(text).filter(|value| !value.is_empty());
    match (values.next(), values.next()) {
        (Some(first), Some(second)) => format!("{first} ({second})"),
        (Some(only), None) => only,
        _ => "without a name".to_owned(),
    }
}
