//! Publishes items to all subscribers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

/// Sends each item to every subscriber. Clones share the subscribers.
#[derive(Debug)]
pub struct Publisher<T>(Arc<Mutex<Vec<UnboundedSender<T>>>>);

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

impl<T: Clone> Publisher<T> {
    /// All items from now on.
    pub fn subscribe(&self) -> UnboundedReceiver<T> {
        self.subscribe_after(Vec::new)
    }

    /// First the items of `past`, then all items from now on: nothing is published in between.
    pub fn subscribe_after(&self, past: impl FnOnce() -> Vec<T>) -> UnboundedReceiver<T> {
        let (sender, receiver) = unbounded();
        let mut subscribers = self.subscribers();
        for item in past() {
            // The receiver is still here.
            let _ = sender.unbounded_send(item);
        }
        subscribers.push(sender);
        receiver
    }

    /// Sends the item to every subscriber; forgets closed ones.
    pub fn publish(&self, item: &T) {
        self.subscribers().retain(|subscriber| subscriber.unbounded_send(item.clone()).is_ok());
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<UnboundedSender<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    fn received(subscription: &mut UnboundedReceiver<u8>) -> Vec<u8> {
        std::iter::from_fn(|| subscription.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn every_subscriber_gets_every_item_from_then_on() {
        let publisher = Publisher::default();
        let mut first = publisher.subscribe();
        publisher.publish(&1);
        let mut second = publisher.subscribe_after(|| vec![0]);
        publisher.publish(&2);
        assert_eq!(received(&mut first), [1, 2]);
        assert_eq!(received(&mut second), [0, 2]);
        drop(first);
        publisher.publish(&3);
        assert_eq!(received(&mut second), [3]);
        assert_eq!(publisher.subscribers().len(), 1);
    }
}
