//! Room in a driver's queue for what would fill it at once: passes over all objects, and the turn of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an object waits for room: those before it may wait for a namespace that is slow.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// The room of one queue. Clones share it.
#[derive(Debug)]
pub(crate) struct Room<K: Resource<DynamicType = ()>> {
    free: Arc<Semaphore>,
    held: Arc<Mutex<HashMap<ObjectRef<K>, OwnedSemaphorePermit>>>,
}

impl<K: Resource<DynamicType = ()>> Clone for Room<K> {
    fn clone(&self) -> Self {
        Self { free: self.free.clone(), held: self.held.clone() }
    }
}

impl<K: Resource<DynamicType = ()>> Room<K> {
    /// Room for so many objects.
    pub(crate) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), held: Arc::default() }
    }

    /// Waits for room for an object that is about to enter the queue. If none appears in time, it enters without.
    pub(crate) async fn enter(&self, object: &ObjectRef<K>) {
        if self.held().contains_key(object) {
            return;
        }
        if let Ok(Ok(permit)) = tokio::time::timeout(PATIENCE, self.free.clone().acquire_owned()).await {
            self.held().insert(object.clone(), permit);
        }
    }

    /// An object left the queue, which makes room if it had any.
    pub(crate) fn leave(&self, object: &ObjectRef<K>) {
        self.held().remove(object);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, OwnedSemaphorePermit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::crd::EmailAlias;

    fn object(name: &str) -> ObjectRef<EmailAlias> {
        ObjectRef::new(name).within("n")
    }

    #[tokio::test]
    async fn room_is_made_by_those_that_had_some_and_taken_once() {
        let room = Room::new(2);
        for name in ["a", "a", "b"] {
            assert!(room.enter(&object(name)).now_or_never().is_some(), "{name}");
        }
        assert!(room.enter(&object("c")).now_or_never().is_none());
        room.leave(&object("never had room"));
        assert!(room.enter(&object("c")).now_or_never().is_none(), "who had no room makes none");
        room.leave(&object("a"));
        room.leave(&object("a"));
        assert!(room.enter(&object("c")).now_or_never().is_some());
        assert!(room.enter(&object("d")).now_or_never().is_none());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_and_who_enters_without_room_makes_none() {
        let room = Room::new(1);
        room.enter(&object("a")).await;
        let started = tokio::time::Instant::now();
        room.enter(&object("b")).await;
        assert!(started.elapsed() >= PATIENCE);
        room.leave(&object("b"));
        assert!(room.enter(&object("c")).now_or_never().is_none());
    }
}
