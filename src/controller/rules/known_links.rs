//! What aliases and rules do to each other, as it was last found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::forwarding::{ForwardingLoop, Routes};
use crate::mail::Address;

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
    pub(crate) fn differing(&self, other: &Self) -> BTreeSet<String> {
        let loops = |a: &Self, b: &Self| -> Vec<String> {
            a.loops.iter().filter(|(id, found)| b.loops.get(*id) != Some(found)).map(|(id, _)| id.clone()).collect()
        };
        let alone = self.alone.symmetric_difference(&other.alone).map(|(id, _)| id.clone());
        loops(self, other).into_iter().chain(loops(other, self)).chain(alone).collect()
    }
}

/// The links of one state of all objects: saves looking at them again.
#[derive(Debug, Default)]
pub(crate) struct KnownLinks(Mutex<Option<(u64, Arc<Links>)>>);

impl KnownLinks {
    /// The links of this state, if they are known.
    pub(crate) fn of(&self, state: u64) -> Option<Arc<Links>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(of, _)| *of == state).map(|(_, links)| links.clone())
    }

    /// Keeps the links of this state in place of others.
    pub(crate) fn remember(&self, state: u64, links: Arc<Links>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((state, links));
    }
}
