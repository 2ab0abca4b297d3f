//! App passwords: passwords of a mailbox for single programs.

use super::Mark;

/// An app password of a mailbox on Mailcow, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whether it opens IMAP and nothing else.
    pub is_imap_only: bool,
    /// Whether it is active.
    pub active: bool,
    /// Whether somebody changed it since it was created.
    pub was_changed: bool,
}

impl AppPassword {
    /// Its ownership mark, at the beginning of its name.
    pub fn mark(&self) -> Option<Mark> {
        Mark::at_start(&self.name)
    }

    /// What follows the mark in its name: the version of the password that we made.
    pub fn version(&self) -> Option<&str> {
        self.mark()?;
        self.name.split_once(' ').map(|(_, version)| version)
    }
}
