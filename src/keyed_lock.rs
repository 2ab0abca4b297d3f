//! A lock for each key: tasks with the same key wait for each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// One lock for each key.
#[derive(Debug, Default)]
pub struct KeyedLock(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl KeyedLock {
    /// Waits for the lock; it is free again when the guard is dropped.
    pub async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(name.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_has_the_turn_of_a_name() {
        let locks = KeyedLock::default();
        let first = locks.lock("a").await;
        let _other_name = locks.lock("b").await;
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), locks.lock("a")).await;
        assert!(waits.is_err());
        drop(first);
        locks.lock("a").await;
    }
}
