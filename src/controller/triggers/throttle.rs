//! Limits how often an item passes, without losing its last occurrence and without waiting for a pause.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tokio::time::Instant;

use crate::shrink::shrink;

/// Each item at once, and again at most once in `interval`. The last occurrence is never lost and never waits for a
/// pause.
pub(crate) fn throttled<T: Clone + Eq + Hash + Send + 'static>(
    events: impl Stream<Item = T> + Send + 'static,
    interval: Duration,
) -> BoxStream<'static, T> {
    let throttle = Throttle { interval, passed: HashMap::new(), waiting: VecDeque::new() };
    let next = |(mut events, mut throttle): (BoxStream<'static, T>, Throttle<T>)| async move {
        loop {
            let due = throttle.next_due();
            let item = tokio::select! {
                biased;
                () = due => throttle.take_due(),
                item = events.next() => throttle.admit(item?),
            };
            if let Some(item) = item {
                return Some((item, (events, throttle)));
            }
        }
    };
    stream::unfold((events.boxed(), throttle), next).boxed()
}

/// Items that passed recently, and items that wait.
struct Throttle<T> {
    interval: Duration,
    /// When each item last passed, and whether it waits to pass again.
    passed: HashMap<T, (Instant, bool)>,
    /// Items that passed, in that order; each is checked when its interval ends.
    waiting: VecDeque<T>,
}

impl<T: Clone + Eq + Hash> Throttle<T> {
    /// Lets the item pass unless it did recently.
    fn admit(&mut self, item: T) -> Option<T> {
        if let Some((_, waits)) = self.passed.get_mut(&item) {
            *waits = true;
            return None;
        }
        self.pass(item.clone());
        Some(item)
    }

    fn pass(&mut self, item: T) {
        self.passed.insert(item.clone(), (Instant::now(), false));
        self.waiting.push_back(item);
    }

    /// Waits until the interval of the first one is over.
    fn next_due(&self) -> impl Future<Output = ()> + use<T> {
        let first = self.waiting.front().and_then(|item| self.passed.get(item));
        let due = first.map(|(since, _)| *since + self.interval);
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The first item if it occurred again; otherwise it is forgotten.
    fn take_due(&mut self) -> Option<T> {
        let item = self.waiting.pop_front()?;
        let (_, waits) = self.passed.remove(&item)?;
        shrink(&mut self.passed);
        if !waits {
            return None;
        }
        self.pass(item.clone());
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::mpsc::unbounded;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn what_never_stops_coming_passes_once_in_each_interval() {
        let (sender, events) = unbounded();
        let passed = throttled(events, INTERVAL);
        let started = Instant::now();
        tokio::spawn(async move {
            while started.elapsed() < 10 * INTERVAL {
                let _ = sender.unbounded_send("busy");
                tokio::time::sleep(INTERVAL / 20).await;
            }
        });
        let count = passed.count().await;
        // A busy machine may let fewer pass, and none may be more.
        assert!((2..=12).contains(&count), "{count} in 10 intervals");
    }

    #[tokio::test]
    async fn the_first_passes_at_once_and_the_last_is_not_lost() {
        let (sender, events) = unbounded();
        let mut passed = throttled(events, INTERVAL);
        let started = Instant::now();
        for item in ["a", "a", "b", "a"] {
            sender.unbounded_send(item).unwrap();
        }
        let mut next = async || (passed.next().await.unwrap(), started.elapsed() >= INTERVAL);
        assert_eq!([next().await, next().await, next().await], [("a", false), ("b", false), ("a", true)]);
    }

    #[test]
    fn what_passed_is_forgotten() {
        let mut throttle = Throttle { interval: INTERVAL, passed: HashMap::new(), waiting: VecDeque::new() };
        assert_eq!(throttle.admit("a"), Some("a"));
        assert_eq!(throttle.take_due(), None);
        assert!(throttle.passed.is_empty() && throttle.waiting.is_empty());
    }
}
