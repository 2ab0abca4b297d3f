//! Aliases: what is wanted and what is there.

use std::collections::BTreeSet;

use super::{Address, Catch, Mark};
use crate::crd::Sink;

/// An alias as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// What it catches.
    pub catch: Catch,
    /// Where its mail goes.
    pub goto: Goto,
    /// Whether it takes mail.
    pub active: bool,
    /// Whether the groupware offers it as a sender.
    pub visible_in_sogo: Option<bool>,
    /// Whether those it goes to may send as it; not on every version of Mailcow.
    pub sender_allowed: Option<bool>,
    /// The comment that the domain's people see; empty is none.
    pub public_comment: Option<String>,
    /// Who manages it.
    pub mark: Mark,
}

/// Where the mail of an alias goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goto {
    /// To these addresses; never empty.
    Addresses(BTreeSet<Address>),
    /// To none.
    Sink(Sink),
}

impl Goto {
    /// As Mailcow shows it (recordings `05_alias/add_goto_null` and the like).
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

/// An alias as Mailcow has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasHave {
    /// Its number; never used again (recording `05_alias/add_readd_gets_new_id`).
    pub id: u64,
    /// What it catches.
    pub catch: Catch,
    /// Where its mail goes, as Mailcow writes it in lower case: addresses, or `null@localhost` and the like.
    pub goto: BTreeSet<String>,
    /// Whether it takes mail.
    pub active: bool,
    /// Whether the groupware offers it as a sender.
    pub visible_in_sogo: bool,
    /// Whether those it goes to may send as it; true where the server's version does not ask.
    pub sender_allowed: bool,
    /// The comment that the domain's people see; empty when there is none.
    pub public_comment: String,
    /// The comment for administrators, the mark's place.
    pub private_comment: String,
}

impl AliasHave {
    /// Who manages it, if anybody does.
    pub fn mark(&self) -> Option<Mark> {
        Mark::find(&self.private_comment)
    }

    /// Whether it lets the mailbox send as it, so that Mailcow does not keep the same in the mailbox's own list (recordings
    /// `17_sender_acl/get_set_own_allowed`, `get_set_own_blocked`).
    pub fn lets_send(&self, mailbox: &Address) -> bool {
        self.sender_allowed && self.goto.contains(&mailbox.to_string())
    }

    /// The mailbox that had its address until it was renamed, as Mailcow notes it (recording
    /// `24_rename_mailbox/alias_of_old_after_second`).
    pub fn renamed_to(&self) -> Option<Address> {
        let note = self.private_comment.strip_prefix("Mailbox was renamed from ")?;
        let (from, to) = note.split_once(" to ")?;
        (Catch::One(Address::parse(from).ok()?) == self.catch).then(|| Address::parse(to).ok())?
    }

    /// The sink that it goes to, if any.
    pub fn sink(&self) -> Option<Sink> {
        let only = self.goto.first().filter(|_| self.goto.len() == 1)?;
        [Sink::Discard, Sink::LearnSpam, Sink::LearnHam].into_iter().find(|sink| written(*sink) == only)
    }
}
