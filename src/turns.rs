//! One at a time: who names the same thing waits for the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// One turn at a time for whoever names the same thing.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn; it ends when the guard is dropped.
    pub async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
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
        let turns = Turns::default();
        let first = turns.take("a").await;
        let _other_name = turns.take("b").await;
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), turns.take("a")).await;
        assert!(waits.is_err());
        drop(first);
        turns.take("a").await;
    }
}
