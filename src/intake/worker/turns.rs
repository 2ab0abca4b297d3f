//! Connections that mailboxes share. With more mailboxes than connections those that wait take turns with those that
//! had no mail lately.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a mailbox that had mail keeps its connection although others wait.
const KEEPS_AFTER_MAIL: Duration = Duration::from_mins(10);

/// The connections.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// A mailbox gives its connection away after this time at the latest, when others wait.
    longest: Duration,
}

/// A connection that a mailbox may have.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    since: Instant,
}

impl Turns {
    /// `connections` at a time.
    pub(super) fn new(connections: usize, longest: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(connections.max(1))), waiting: AtomicUsize::new(0), longest }
    }

    /// Waits for a connection; who waits longest comes first. `None` never happens: the semaphore is not closed.
    pub(super) async fn take(&self) -> Option<Turn> {
        let waits = Waits::new(&self.waiting);
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        drop(waits);
        Some(Turn { _permit: permit, since: Instant::now() })
    }

    /// Whether a mailbox that has nothing to do should give its connection away.
    pub(super) fn should_yield(&self, turn: &Turn, last_mail: Option<Instant>) -> bool {
        let had_mail = last_mail.is_some_and(|at| at.elapsed() < KEEPS_AFTER_MAIL);
        self.waiting.load(Ordering::Relaxed) > 0 && (!had_mail || turn.since.elapsed() >= self.longest)
    }
}

/// Counts one that waits, also when its future is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_had_no_mail_gives_way_to_those_who_wait() {
        let turns = Arc::new(Turns::new(1, Duration::from_millis(200)));
        let turn = turns.take().await.unwrap();
        let mail = Some(Instant::now());
        assert!(!turns.should_yield(&turn, None), "nobody waits");
        let other = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take().await.is_some() }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(turns.should_yield(&turn, None) && !turns.should_yield(&turn, mail));
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(turns.should_yield(&turn, mail), "its time is over");
        drop(turn);
        assert!(other.await.unwrap());
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }
}
