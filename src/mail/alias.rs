//! Aliases: what is wanted and what is there.

use super::{Address, Catch, Mark};

/// An alias as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// What it catches.
    pub catch: Catch,
    /// Where its mail goes: sorted, each once, never empty.
    pub goto: Vec<Address>,
    /// Whether it takes mail.
    pub active: bool,
    /// Who manages it.
    pub mark: Mark,
}

/// An alias as Mailcow has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasHave {
    /// Its number; never used again (recording `05_alias/add_readd_gets_new_id`).
    pub id: u64,
    /// What it catches.
    pub catch: Catch,
    /// Where its mail goes, as Mailcow writes it, sorted: addresses, or `null@localhost` and the like.
    pub goto: Vec<String>,
    /// Whether it takes mail.
    pub active: bool,
    /// The comment for administrators, the mark's place.
    pub private_comment: String,
}

impl AliasHave {
    /// Who manages it, if anybody does.
    pub fn mark(&self) -> Option<Mark> {
        Mark::find(&self.private_comment)
    }
}
