//! When scripts were last read from Mailcow. This only saves requests: an unknown script is read again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::reflector::ObjectRef;

use crate::crd::EmailMailbox;

/// Recent reads, by mailbox object.
#[derive(Debug, Default)]
pub(crate) struct ScriptReads(Mutex<Reads>);

type Reads = HashMap<ObjectRef<EmailMailbox>, (Instant, usize)>;

impl ScriptReads {
    /// Stores that the script was read from this server now; forgets older reads.
    pub(crate) fn remember(&self, mailbox: ObjectRef<EmailMailbox>, server: usize, good_for: Duration) {
        let mut reads = self.reads();
        if reads.len() == reads.capacity() {
            reads.retain(|_, (at, _)| at.elapsed() < good_for);
            reads.shrink_to_fit();
        }
        reads.insert(mailbox, (Instant::now(), server));
    }

    /// Whether the script was read from this server so recently.
    pub(crate) fn is_recent(&self, mailbox: &ObjectRef<EmailMailbox>, server: usize, good_for: Duration) -> bool {
        self.reads().get(mailbox).is_some_and(|(at, from)| *from == server && at.elapsed() < good_for)
    }

    /// Makes the script be read again: something changed on Mailcow, or the mailbox is deleted.
    pub(crate) fn forget(&self, mailbox: &ObjectRef<EmailMailbox>) {
        self.reads().remove(mailbox);
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_good_for_a_while_and_from_one_server() {
        let (reads, mailbox) = (ScriptReads::default(), ObjectRef::new("m").within("n"));
        let long = Duration::from_mins(1);
        assert!(!reads.is_recent(&mailbox, 1, long));
        reads.remember(mailbox.clone(), 1, long);
        assert!(reads.is_recent(&mailbox, 1, long) && !reads.is_recent(&mailbox, 2, long));
        assert!(!reads.is_recent(&mailbox, 1, Duration::ZERO));
        reads.forget(&mailbox);
        assert!(!reads.is_recent(&mailbox, 1, long));
    }
}
