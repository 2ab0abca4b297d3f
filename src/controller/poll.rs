//! Looks at Mailcow again from time to time and wakes the objects whose things were changed there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use kube::runtime::reflector::{ObjectRef, Store};

use super::patch::Object;
use super::servers::Servers;
use super::stores::Stores;
use crate::crd::DEFAULT_SERVER;
use crate::inventory::{Census, Inventory, Moved};
use crate::mail::{Catch, DomainName};
use crate::telemetry::Metrics;

/// One for each kind.
const LISTENERS: usize = 4;

/// What a driver hears of changes on Mailcow.
pub(super) type Heard = UnboundedReceiver<Arc<Moved>>;

/// Looks again and again.
pub(super) struct Poll {
    servers: Servers,
    stores: Stores,
    interval: Duration,
    metrics: Metrics,
    listeners: Vec<UnboundedSender<Arc<Moved>>>,
}

impl Poll {
    /// Gives the poll and what its listeners hear.
    pub(super) fn new(
        servers: Servers,
        stores: Stores,
        (interval, metrics): (Duration, Metrics),
    ) -> (Self, Vec<Heard>) {
        metrics.polls_every(interval);
        let (listeners, heard) = (0..LISTENERS).map(|_| unbounded()).unzip();
        (Self { servers, stores, interval, metrics, listeners }, heard)
    }

    /// Runs for ever.
    pub(super) async fn run(self) {
        self.stores.ready().await;
        loop {
            tokio::time::sleep(self.interval.mul_f64(0.9 + rand::random::<f64>() / 5.0)).await;
            for (name, inventory) in self.servers.reachable() {
                self.look(&name, &inventory).await;
            }
        }
    }

    async fn look(&self, name: &str, inventory: &Inventory) {
        let started = Instant::now();
        inventory.count_ours(&census(&self.stores, name));
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
            Ok(()) => {
                self.metrics.polled(name, started.elapsed());
                // It may have been updated meanwhile.
                if let Ok(version) = inventory.client().known_version().await {
                    self.metrics.mailcow_version(name, &version);
                }
            }
            Err(error) => tracing::debug!(%error, "Mailcow could not be looked at"),
        }
    }
}

/// Counts the objects that were placed on a server before, by the domain they belong to.
pub(super) fn census(stores: &Stores, server: &str) -> Census {
    let domains = stores.domains.state_filter(|domain| domain.spec.server == server).len();
    let mut census = Census { domains, ..Census::default() };
    let is_there = |on: Option<&str>| on.unwrap_or(DEFAULT_SERVER) == server;
    for mailbox in stores.mailboxes.state() {
        let status = mailbox.status.as_ref().filter(|status| is_there(status.server.as_deref()));
        count(&mut census.mailboxes, status.and_then(|status| status.address.as_deref()));
    }
    for alias in stores.aliases.state() {
        let status = alias.status.as_ref().filter(|status| is_there(status.server.as_deref()));
        count(&mut census.aliases, status.and_then(|status| status.address.as_deref()));
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
