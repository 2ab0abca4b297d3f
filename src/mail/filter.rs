//! Sieve filters in Mailcow's prefilter slot.

use super::Mark;

/// A prefilter of a mailbox on Mailcow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its number.
    pub id: u64,
    /// Whether it is the active one; Mailcow allows one per mailbox and type.
    pub active: bool,
    /// The script, byte for byte.
    pub script: String,
    /// The description.
    pub description: String,
}

impl Filter {
    /// Its ownership mark: in the script's first line, or, if the whole script was replaced, in the description.
    pub fn mark(&self) -> Option<Mark> {
        Mark::of_script(&self.script).or_else(|| Mark::at_start(&self.description))
    }
}
