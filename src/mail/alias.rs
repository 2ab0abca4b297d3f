//! Aliases: desired and observed.

use serde::{Deserialize, Serialize};

use std::collections::BTreeSet;

use super::{Address, Catch, Mark};
use crate::crd::Sink;

/// The desired alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its address.
    pub catch: Catch,
    /// Its targets.
    pub goto: Goto,
    /// Whether it receives mail.
    pub active: bool,
    /// Whether the groupware offers it as a sender.
    pub visible_in_sogo: Option<bool>,
    /// Whether its targets may send as it; not on every version of Mailcow.
    pub sender_allowed: Option<bool>,
    /// The comment that the domain's users see; empty: none.
    pub public_comment: Option<String>,
    /// Its ownership mark.
    pub mark: Mark,
}

/// The targets of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goto {
    /// To these addresses; never empty.
    Addresses(BTreeSet<Address>),
    /// To none.
    Sink(Sink),
}

impl Goto {
    /// As Mailcow shows them (recordings `05_alias/add_goto_null` and similar).
    pub fn texts(&self) -> BTreeSet<String> {
        match self {
            Self::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect(),
            Self::Sink(sink) => [written(*sink).to_owned()].into(),
        }
    }
}

const fn written(sink: Sink) -> &'static str {
    match sink {
        Sink::Discard => "null@localhost",
        Sink::LearnSpam => "spam@localhost",
        Sink::LearnHam => "ham@localhost",
    }
}

/// An alias on Mailcow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AliasHave {
    /// Its number; never reused (recording `05_alias/add_readd_gets_new_id`).
    pub id: u64,
    /// Its address.
    pub catch: Catch,
    /// Its targets as Mailcow writes them, in lower case, sorted, each once: addresses, or `null@localhost` and similar.
    /// (A set needs a quarter of a KiB for one entry.)
    pub goto: Box<[String]>,
    /// Whether it receives mail.
    pub active: bool,
    /// Whether the groupware offers it as a sender.
    pub visible_in_sogo: bool,
    /// Whether its targets may send as it; true if the server's version has no such field.
    pub sender_allowed: bool,
    /// The comment that the domain's users see; empty: none.
    pub public_comment: String,
    /// The comment for administrators, with the mark.
    pub private_comment: String,
}

impl AliasHave {
    /// Its ownership mark, if any.
    pub fn mark(&self) -> Option<Mark> {
        Mark::at_start(&self.private_comment)
    }

    /// Whether it allows the mailbox to send as it, so that Mailcow does not keep the same entry in the mailbox's own
    /// list (recordings `17_sender_acl/get_set_own_allowed`, `get_set_own_blocked`).
    pub fn lets_send(&self, mailbox: &Address) -> bool {
        self.sender_allowed && self.goto.contains(&mailbox.to_string())
    }

    /// The new address of the mailbox that had this address before a rename, as Mailcow notes it (recording
    /// `24_rename_mailbox/alias_of_old_after_second`).
    pub fn renamed_to(&self) -> Option<Address> {
        let note = self.private_comment.strip_prefix("Mailbox was renamed from ")?;
        let (from, to) = note.split_once(" to ")?;
        (Catch::One(Address::parse(from).ok()?) == self.catch).then(|| Address::parse(to).ok())?
    }

    /// Its sink, if any.
    pub fn sink(&self) -> Option<Sink> {
        let only = self.goto.first().filter(|_| self.goto.len() == 1)?;
        [Sink::Discard, Sink::LearnSpam, Sink::LearnHam].into_iter().find(|sink| written(*sink) == only)
    }
}
