//! The work of drivers: waiting objects and running reconciles.
//!
//! The runtime keeps its queue to itself, so both of its ends are counted: what goes in, and what begins.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::shrink::shrink;

/// An object by namespace and name.
pub type Key = (String, String);

/// The work of all drivers. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Queue(Arc<Mutex<BTreeMap<&'static str, Work>>>);

/// The work of one driver.
#[derive(Clone, Debug, Default)]
struct Work {
    triggered: HashSet<Key>,
    running: i64,
}

/// A running reconcile; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    queue: Queue,
    driver: &'static str,
}

impl Queue {
    /// The object waits for a reconcile.
    pub fn triggered(&self, driver: &'static str, object: Key) {
        self.work().entry(driver).or_default().triggered.insert(object);
    }

    /// The reconcile of the object starts. If it is triggered meanwhile, it gets another one.
    pub fn started(&self, driver: &'static str, object: &Key) -> Running {
        let mut work = self.work();
        let work = work.entry(driver).or_default();
        work.triggered.remove(object);
        shrink(&mut work.triggered);
        work.running += 1;
        Running { queue: self.clone(), driver }
    }

    /// The object was deleted and no longer waits.
    pub fn deleted(&self, driver: &'static str, object: &Key) {
        let mut work = self.work();
        let triggered = &mut work.entry(driver).or_default().triggered;
        triggered.remove(object);
        shrink(triggered);
    }

    /// For each driver, the number of waiting objects and of running reconciles.
    pub fn depths(&self) -> Vec<(&'static str, i64, i64)> {
        let waiting = |work: &Work| i64::try_from(work.triggered.len()).unwrap_or(i64::MAX);
        self.work().iter().map(|(driver, work)| (*driver, waiting(work), work.running)).collect()
    }

    fn work(&self) -> MutexGuard<'_, BTreeMap<&'static str, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue.work().entry(self.driver).or_default().running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("n".to_owned(), name.to_owned())
    }

    #[test]
    fn an_object_waits_once_until_its_pass_and_again_when_it_is_woken_meanwhile() {
        let queue = Queue::default();
        for name in ["a", "b", "a"] {
            queue.triggered("EmailAlias", key(name));
        }
        assert_eq!(queue.depths(), [("EmailAlias", 2, 0)]);
        let pass = queue.started("EmailAlias", &key("a"));
        assert_eq!(queue.depths(), [("EmailAlias", 1, 1)]);
        queue.triggered("EmailAlias", key("a"));
        drop(pass);
        assert_eq!(queue.depths(), [("EmailAlias", 2, 0)]);
        queue.deleted("EmailAlias", &key("b"));
        assert_eq!(queue.depths(), [("EmailAlias", 1, 0)]);
    }
}
