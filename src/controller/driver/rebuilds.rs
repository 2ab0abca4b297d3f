//! Some writes make Mailcow rebuild its groupware view, which blocks all other writes (recordings `11_contention`).
//! Such writes of one object keep a minimum distance, however often its spec changes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::hash::hashed;
use crate::kubernetes::object::Object;
use crate::shrink::shrink;

/// The minimum time between two such writes of one object.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// When objects last had such a write. The key is kind and name: Mailcow can't tell an object that is deleted and
/// created again from the old one.
#[derive(Debug, Default)]
pub(crate) struct Rebuilds(Mutex<HashMap<u64, Instant>>);

impl Rebuilds {
    /// Whether the object may have such a write now.
    pub(crate) fn may_follow<K: Object>(&self, object: &K) -> bool {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(&key(object)).is_none_or(|at| at.elapsed() >= INTERVAL)
    }

    /// Records that the object had one.
    pub(crate) fn written<K: Object>(&self, object: &K) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= written.capacity() / 2 {
            written.retain(|_, at| at.elapsed() < INTERVAL);
            shrink(&mut *written);
        }
        written.insert(key(object), Instant::now());
    }
}

fn key<K: Object>(object: &K) -> u64 {
    hashed(&(K::KIND, &object.meta().namespace, &object.meta().name))
}
