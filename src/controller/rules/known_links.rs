//! The last result about forwarding between aliases and rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::UnboundedReceiver;

use crate::forwarding::{ForwardingLoop, Paths};
use crate::mail::Address;
use crate::publisher::Publisher;

/// Relations between rules.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Links {
    /// Rules that would close a forwarding loop and are left out, by `namespace/name`.
    pub(crate) loops: BTreeMap<String, ForwardingLoop>,
    /// Mailboxes in which a domain's rule does nothing, with the rule's `namespace/name`: all its forwards would come
    /// back through aliases.
    pub(crate) alone: BTreeSet<(String, Address)>,
    paths: Paths,
}

impl Links {
    /// From loops, each with the rule that is left out, and the other two values.
    pub(crate) fn new(loops: Vec<ForwardingLoop>, alone: BTreeSet<(String, Address)>, paths: Paths) -> Self {
        Self { loops: loops.into_iter().map(|found| (found.id.clone(), found)).collect(), alone, paths }
    }

    /// The paths of mail through our aliases and mailboxes.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The rules for which the two differ.
    fn differing(&self, other: &Self) -> BTreeSet<String> {
        let loops = |a: &Self, b: &Self| -> Vec<String> {
            a.loops.iter().filter(|(id, found)| b.loops.get(*id) != Some(found)).map(|(id, _)| id.clone()).collect()
        };
        let alone = self.alone.symmetric_difference(&other.alone).map(|(id, _)| id.clone());
        loops(self, other).into_iter().chain(loops(other, self)).chain(alone).collect()
    }
}

/// The links of the last checked state of all objects. They save a second check, and show which rules changed since the
/// state before.
#[derive(Debug, Default)]
pub(crate) struct KnownLinks {
    /// Held by the one task that finds them.
    pub(crate) finding: tokio::sync::Mutex<()>,
    last: Mutex<(u64, Arc<Links>)>,
    changed: Publisher<BTreeSet<String>>,
}

impl KnownLinks {
    /// The links of this state, if known.
    pub(crate) fn of(&self, state: u64) -> Option<Arc<Links>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (last.0 == state).then(|| last.1.clone())
    }

    /// Stores the links of this state, and publishes the rules that changed.
    pub(crate) fn remember(&self, state: u64, links: Arc<Links>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let differing = links.differing(&last.1);
        *last = (state, links);
        if !differing.is_empty() {
            self.changed.publish(&differing);
        }
    }

    /// The rules, by `namespace/name`, that start or stop being left out, in some or all mailboxes. A script that was
    /// made from an older result is due again.
    pub(crate) fn subscribe(&self) -> UnboundedReceiver<BTreeSet<String>> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    fn links_with(ids: &[&str]) -> Arc<Links> {
        let loops = ids.iter().map(|id| ForwardingLoop { id: (*id).to_owned(), others: Vec::new(), way: Vec::new() });
        Arc::new(Links::new(loops.collect(), BTreeSet::new(), Paths::default()))
    }

    #[test]
    fn every_rule_that_fares_otherwise_is_published_whoever_asked() {
        let known = KnownLinks::default();
        let mut changed = known.subscribe();
        let mut next = || changed.next().now_or_never().flatten().map(|ids| ids.into_iter().collect::<Vec<_>>());
        known.remember(1, links_with(&["n/a"]));
        // Opened again before anybody else looked.
        known.remember(2, links_with(&[]));
        known.remember(3, links_with(&[]));
        assert_eq!([next(), next(), next()], [Some(vec!["n/a".to_owned()]), Some(vec!["n/a".to_owned()]), None]);
        assert!(known.of(2).is_none() && known.of(3).is_some());
    }
}
