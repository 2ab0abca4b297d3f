//! Looks at Mailcow again from time to time and wakes the objects whose things were changed there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::watch;

use super::connection::Server;
use super::patch::Object;
use super::stores::Stores;
use crate::inventory::{Census, Inventory, Moved};
use crate::mail::{Catch, DomainName};
use crate::telemetry::Metrics;

/// One for each kind.
const LISTENERS: usize = 4;

/// What a driver hears of changes on Mailcow.
pub(super) type Heard = UnboundedReceiver<Arc<Moved>>;

/// Looks again and again.
pub(super) struct Poll {
    server: watch::Receiver<Server>,
    stores: Stores,
    interval: Duration,
    metrics: Metrics,
    listeners: Vec<UnboundedSender<Arc<Moved>>>,
}

impl Poll {
    /// Gives the poll and what its listeners hear.
    pub(super) fn new(
        server: watch::Receiver<Server>,
        stores: Stores,
        (interval, metrics): (Duration, Metrics),
    ) -> (Self, Vec<Heard>) {
        metrics.polls_every(interval);
        let (listeners, heard) = (0..LISTENERS).map(|_| unbounded()).unzip();
        (Self { server, stores, interval, metrics, listeners }, heard)
    }

    /// Runs for ever.
    pub(super) async fn run(self) {
        self.stores.ready().await;
        loop {
            tokio::time::sleep(self.interval.mul_f64(0.9 + rand::random::<f64>() / 5.0)).await;
            let server = self.server.borrow().clone();
            if let Ok(inventory) = server {
                self.look(&inventory).await;
            }
        }
    }

    async fn look(&self, inventory: &Inventory) {
        let started = Instant::now();
        inventory.count_ours(&census(&self.stores));
        let tell = |moved: Moved| {
            if moved == Moved::default() {
                return;
            }
            let moved = Arc::new(moved);
            for listener in &self.listeners {
                // Whoever has stopped listening is at its end.
                let _ = listener.unbounded_send(moved.clone());
            }
        };
        match inventory.refresh(tell).await {
            Ok(()) => self.metrics.polled(started.elapsed()),
            Err(error) => tracing::debug!(%error, "Mailcow could not be looked at"),
        }
    }
}

/// Counts the objects that were placed before, by the domain they belong to.
pub(super) fn census(stores: &Stores) -> Census {
    let mut census = Census { domains: stores.domains.state().len(), ..Census::default() };
    for mailbox in stores.mailboxes.state() {
        count(&mut census.mailboxes, mailbox.status.as_ref().and_then(|status| status.address.as_deref()));
    }
    for alias in stores.aliases.state() {
        count(&mut census.aliases, alias.status.as_ref().and_then(|status| status.address.as_deref()));
    }
    census
}

fn count(by_domain: &mut BTreeMap<DomainName, usize>, address: Option<&str>) {
    if let Some(catch) = address.and_then(|text| Catch::parse(text).ok()) {
        *by_domain.entry(catch.domain().clone()).or_default() += 1;
    }
}

/// The objects that a change on Mailcow is about.
pub(super) fn woken<K: Object + 'static>(
    heard: Heard,
    store: Store<K>,
    is_about: fn(&Moved, &K) -> bool,
) -> impl Stream<Item = ObjectRef<K>> + Send {
    heard.flat_map(move |moved| {
        let objects = store.state_filter(|object| is_about(&moved, object));
        futures::stream::iter(
            objects.into_iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect::<Vec<_>>(),
        )
    })
}
