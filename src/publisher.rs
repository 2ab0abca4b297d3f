//! Publishes items to all subscribers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

/// Sends each item to every subscriber. Clones share the subscribers.
pub struct Publisher<T>(Arc<Mutex<Vec<Subscriber<T>>>>);

/// Sends one subscriber what it selects of an item. Says whether the subscriber is still there.
type Subscriber<T> = Box<dyn Fn(&T) -> bool + Send>;

impl<T> Clone for Publisher<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Publisher<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("subscribers", &self.subscribers().len()).finish()
    }
}

impl<T> Publisher<T> {
    /// All items from now on.
    pub fn subscribe(&self) -> UnboundedReceiver<T>
    where
        T: Clone + Send + 'static,
    {
        self.subscribe_to(Vec::new, |item: &T| Some(item.clone()))
    }

    /// What `select` takes of each item: first of those of `past`, then of all items from now on. Nothing is published
    /// in between. `select` runs while an item is published, so that what it leaves out takes no memory; it must not
    /// use this publisher.
    pub fn subscribe_to<S: Send + 'static, P: IntoIterator<Item = T>>(
        &self,
        past: impl FnOnce() -> P,
        select: impl Fn(&T) -> Option<S> + Send + 'static,
    ) -> UnboundedReceiver<S> {
        let (sender, receiver) = unbounded();
        let subscriber: Subscriber<T> = Box::new(move |item| send(&sender, select(item)));
        let mut subscribers = self.subscribers();
        for item in past() {
            subscriber(&item);
        }
        subscribers.push(subscriber);
        receiver
    }

    /// Sends the item to every subscriber; forgets closed ones.
    pub fn publish(&self, item: &T) {
        self.subscribers().retain(|subscriber| subscriber(item));
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what was selected, if anything. Says whether the receiver is still there.
fn send<S>(sender: &UnboundedSender<S>, selected: Option<S>) -> bool {
    match selected {
        Some(selected) => sender.unbounded_send(selected).is_ok(),
        None => !sender.is_closed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    fn received<S>(subscription: &mut UnboundedReceiver<S>) -> Vec<S> {
        std::iter::from_fn(|| subscription.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn every_subscriber_gets_every_item_from_then_on() {
        let publisher = Publisher::default();
        let mut first = publisher.subscribe();
        publisher.publish(&1);
        let mut second = publisher.subscribe_to(|| vec![0], |item| Some(*item));
        publisher.publish(&2);
        assert_eq!(received(&mut first), [1, 2]);
        assert_eq!(received(&mut second), [0, 2]);
        drop(first);
        publisher.publish(&3);
        assert_eq!(received(&mut second), [3]);
        assert_eq!(publisher.subscribers().len(), 1);
    }

    #[test]
    fn a_subscriber_gets_only_what_it_selects() {
        let publisher = Publisher::default();
        let mut even = publisher.subscribe_to(|| vec![1, 2], |item| (item % 2 == 0).then(|| item.to_string()));
        (3..=6).for_each(|item| publisher.publish(&item));
        assert_eq!(received(&mut even), ["2", "4", "6"]);
        drop(even);
        publisher.publish(&7);
        assert_eq!(publisher.subscribers().len(), 0, "a closed one is forgotten, whatever it selects");
    }
}
