//! Which forwarding loops were found among the rules of each namespace, so that they are searched once per change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::forwarding::ForwardingLoop;

/// Rules of a namespace that forward to its mailboxes.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) rules: Vec<String>,
    pub(crate) rings: Vec<ForwardingLoop>,
}

/// What was found in each namespace, and for which state of its objects.
#[derive(Debug, Default)]
pub(crate) struct KnownLoops(Mutex<FoundLoops>);

type FoundLoops = HashMap<String, (u64, Arc<Links>)>;

impl KnownLoops {
    pub(crate) fn known(&self, namespace: &str, state: u64) -> Option<Arc<Links>> {
        self.lock().get(namespace).filter(|known| known.0 == state).map(|known| known.1.clone())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, FoundLoops> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
