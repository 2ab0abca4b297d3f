//! IMAP connections that mailboxes share. With more mailboxes than connections, a mailbox that had no mail lately gives
//! its connection to one that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a mailbox that had mail keeps its connection although others wait.
const KEEPS_AFTER_MAIL: Duration = Duration::from_mins(10);

/// The connections.
#[derive(Debug)]
pub(super) struct Connections {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// A mailbox gives its connection away after this time at the latest, when others wait.
    longest: Duration,
}

/// One of them, held by a mailbox.
#[derive(Debug)]
pub(super) struct Connection {
    _permit: OwnedSemaphorePermit,
    since: Instant,
}

impl Connections {
    /// `most` at a time.
    pub(super) fn new(most: usize, longest: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(most.max(1))), waiting: AtomicUsize::new(0), longest }
    }

    /// Waits for a connection; who waits longest comes first. `None` never happens: the semaphore is not closed.
    pub(super) async fn acquire(&self) -> Option<Connection> {
        let waits = Waits::new(&self.waiting);
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        drop(waits);
        Some(Connection { _permit: permit, since: Instant::now() })
    }

    /// Whether a mailbox that has nothing to do should give its connection away.
    pub(super) fn should_yield(&self, connection: &Connection, last_mail: Option<Instant>) -> bool {
        let had_mail = last_mail.is_some_and(|at| at.elapsed() < KEEPS_AFTER_MAIL);
        self.waiting.load(Ordering::Relaxed) > 0 && (!had_mail || connection.since.elapsed() >= self.longest)
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
        let connections = Arc::new(Connections::new(1, Duration::from_millis(200)));
        let connection = connections.acquire().await.unwrap();
        let mail = Some(Instant::now());
        assert!(!connections.should_yield(&connection, None), "nobody waits");
        let other = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.acquire().await.is_some() }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(connections.should_yield(&connection, None) && !connections.should_yield(&connection, mail));
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(connections.should_yield(&connection, mail), "its time is over");
        drop(connection);
        assert!(other.await.unwrap());
        assert_eq!(connections.waiting.load(Ordering::Relaxed), 0);
    }
}
