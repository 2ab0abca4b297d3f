//! Polls Mailcow periodically and triggers the objects whose entries changed there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::controller::driver::backoff::jittered;
use crate::controller::servers::Servers;
use crate::crd::DEFAULT_SERVER;
use crate::inventory::{Inventory, ObjectCounts};
use crate::kubernetes::stores::Stores;
use crate::mail::{Catch, DomainName};
use crate::telemetry::Metrics;

/// How soon unreadable lists, and a server in trouble, are polled again; waiting objects retry at intervals of up to
/// five minutes.
const SOON: Duration = Duration::from_secs(30);

/// Refreshes the data of Mailcow periodically.
pub(crate) struct Poll {
    servers: Servers,
    stores: Stores,
    interval: Duration,
    metrics: Metrics,
}

impl Poll {
    /// Polls every `interval`.
    pub(crate) fn new(servers: Servers, stores: Stores, interval: Duration, metrics: Metrics) -> Self {
        metrics.polls_every(interval);
        Self { servers, stores, interval, metrics }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.stores.ready().await;
        let mut due = Instant::now() + jittered(self.interval);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(jittered(SOON))).await;
            let is_due = due <= Instant::now();
            for (name, inventory) in self.servers.reachable() {
                if is_due {
                    self.refresh(&name, &inventory).await;
                } else if let Err(error) = inventory.refresh_unread().await {
                    tracing::debug!(server = name, %error, "Mailcow can't be read yet");
                }
            }
            if is_due {
                due = Instant::now() + jittered(self.interval);
            }
        }
    }

    async fn refresh(&self, name: &str, inventory: &Inventory) {
        let started = Instant::now();
        inventory.count_ours(&counts_by_domain(&self.stores, name));
        match inventory.refresh().await {
            Ok(()) => {
                self.metrics.polled(name, started.elapsed());
                // The server may have been updated meanwhile.
                if let Ok(version) = inventory.client().known_version().await {
                    self.metrics.mailcow_version(name, &version);
                }
            }
            // A server in trouble was already reported.
            Err(error) if inventory.client().is_in_trouble() => {
                tracing::debug!(server = name, %error, "Mailcow could not be polled");
            }
            Err(error) => tracing::warn!(server = name, %error, "Mailcow could not be polled; retrying"),
        }
    }
}

/// Counts the objects on a server, by domain.
pub(crate) fn counts_by_domain(stores: &Stores, server: &str) -> ObjectCounts {
    let domains = stores.domains.filter(|domain| domain.spec.server == server).len();
    let mut counts = ObjectCounts { domains, ..ObjectCounts::default() };
    let is_there = |on: Option<&str>| on.unwrap_or(DEFAULT_SERVER) == server;
    for mailbox in stores.mailboxes.all() {
        let status = mailbox.status.as_ref().filter(|status| is_there(status.server.as_deref()));
        count(&mut counts.mailboxes, status.and_then(|status| status.address.as_deref()));
    }
    for alias in stores.aliases.all() {
        let status = alias.status.as_ref().filter(|status| is_there(status.server.as_deref()));
        count(&mut counts.aliases, status.and_then(|status| status.address.as_deref()));
    }
    counts
}

fn count(by_domain: &mut BTreeMap<DomainName, usize>, address: Option<&str>) {
    if let Some(catch) = address.and_then(|text| Catch::parse(text).ok()) {
        *by_domain.entry(catch.domain().clone()).or_default() += 1;
    }
}
