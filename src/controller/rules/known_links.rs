//! What aliases and rules do to each other, as it was last found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::UnboundedReceiver;

use crate::forwarding::{ForwardingLoop, Routes};
use crate::mail::Address;
use crate::publisher::Publisher;

/// What rules do to each other.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Links {
    /// Rules that would forward in a loop and are left out, by `namespace/name`.
    pub(crate) loops: BTreeMap<String, ForwardingLoop>,
    /// Mailboxes that a domain's rule has nothing to do in, with the rule's `namespace/name`: its forwards would all come
    /// back through aliases.
    pub(crate) alone: BTreeSet<(String, Address)>,
    routes: Routes,
}

impl Links {
    /// From loops, each with the rule that is left out, and the other two.
    pub(crate) fn new(loops: Vec<ForwardingLoop>, alone: BTreeSet<(String, Address)>, routes: Routes) -> Self {
        Self { loops: loops.into_iter().map(|found| (found.id.clone(), found)).collect(), alone, routes }
    }

    /// Where mail goes that passes aliases and mailboxes of ours.
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The rules about which the two say different things.
    fn differing(&self, other: &Self) -> BTreeSet<String> {
        let loops = |a: &Self, b: &Self| -> Vec<String> {
            a.loops.iter().filter(|(id, found)| b.loops.get(*id) != Some(found)).map(|(id, _)| id.clone()).collect()
        };
        let alone = self.alone.symmetric_difference(&other.alone).map(|(id, _)| id.clone());
        loops(self, other).into_iter().chain(loops(other, self)).chain(alone).collect()
    }
}

/// The links of the last state of all objects that was looked at: saves looking at it again, and says which rules fare
/// otherwise than in the state before, whoever asked.
#[derive(Debug, Default)]
pub(crate) struct KnownLinks {
    last: Mutex<(u64, Arc<Links>)>,
    changed: Publisher<BTreeSet<String>>,
}

impl KnownLinks {
    /// The links of this state, if they are known.
    pub(crate) fn of(&self, state: u64) -> Option<Arc<Links>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (last.0 == state).then(|| last.1.clone())
    }

    /// Keeps the links of this state in place of others, and publishes the rules about which the two say different things.
    pub(crate) fn remember(&self, state: u64, links: Arc<Links>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let differing = links.differing(&last.1);
        *last = (state, links);
        if !differing.is_empty() {
            self.changed.publish(&differing);
        }
    }

    /// The rules, by `namespace/name`, that begin or cease to be left out, somewhere or everywhere. Each answer that was
    /// ever given and differs from the one before comes here: a script that was made from it is due again.
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
        Arc::new(Links::new(loops.collect(), BTreeSet::new(), Routes::default()))
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
