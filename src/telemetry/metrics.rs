//! Metrics that are counted as events happen. Current states are counted at each scrape, in [`super::counts`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::counts::{Counts, Watcher};
use super::queue::Queue;
use crate::gates::Gates;
use crate::outcome::Reason;

/// The labels of a metric.
pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The label of a metric for each configured server.
pub(super) type OfServer = [(&'static str, String); 1];

/// The state of a configured server.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Its version, if known.
    pub(super) version: Option<String>,
    /// When it was last polled completely, or when it was configured.
    pub(super) polled_at: Instant,
}

/// All metrics; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) reconciles: Family<Labels<2>, Counter>,
    pub(super) reconcile_seconds: Family<Labels<1>, Histogram>,
    pub(super) mailcow_requests: Family<Labels<2>, Counter>,
    pub(super) mailcow_seconds: Family<Labels<1>, Histogram>,
    pub(super) dns_verdicts: Family<Labels<2>, Counter>,
    pub(super) mailcow_configured: Family<OfServer, Gauge>,
    pub(super) mailcow_up: Family<OfServer, Gauge>,
    pub(super) features: Family<Labels<1>, Gauge>,
    pub(super) poll_seconds: Histogram,
    pub(super) poll_interval: Gauge,
    pub(super) leader: Gauge,
    pub(super) crd_fields_missing: Family<Labels<1>, Gauge>,
    queue: Queue,
    pub(super) watcher: Watcher,
    servers: Arc<Mutex<BTreeMap<String, Seen>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(histogram),
            mailcow_requests: Family::default(),
            mailcow_seconds: Family::new_with_constructor(histogram),
            dns_verdicts: Family::default(),
            mailcow_configured: Family::default(),
            mailcow_up: Family::default(),
            features: Family::default(),
            poll_seconds: histogram(),
            poll_interval: Gauge::default(),
            leader: Gauge::default(),
            crd_fields_missing: Family::default(),
            queue: Queue::default(),
            watcher: Watcher::default(),
            servers: Arc::default(),
        }
    }
}

/// From a single read (5 ms) to a write with a rebuild (30 s).
fn histogram() -> Histogram {
    Histogram::new([0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0])
}

impl Metrics {
    /// Counts a reconcile of an object of `kind` and its outcome.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
        self.reconcile_seconds.get_or_create(&[("kind", kind)]).observe(took.as_secs_f64());
    }

    /// Waiting and running reconciles.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Sets how to make the counts.
    pub fn count_with(&self, look: impl Fn() -> Counts + Send + Sync + 'static) {
        self.watcher.set(look);
    }

    /// Counts a request to a Mailcow server: the action, the outcome and the duration.
    pub fn asked_mailcow(&self, server: &str, action: &'static str, outcome: &'static str, took: Duration) {
        self.mailcow_requests.get_or_create(&[("action", action), ("outcome", outcome)]).inc();
        self.mailcow_seconds.get_or_create(&[("action", action)]).observe(took.as_secs_f64());
        let is_down = [Reason::MailcowUnreachable, Reason::KeyOrSourceRejected].map(Reason::as_str).contains(&outcome);
        self.mailcow_up.get_or_create(&of(server)).set(i64::from(!is_down));
    }

    /// The version of a configured Mailcow server.
    pub fn mailcow_version(&self, server: &str, version: &str) {
        if let Some(seen) = self.lock().get_mut(server) {
            seen.version = Some(version.to_owned());
        }
    }

    /// Which feature gates are on.
    pub fn gates(&self, gates: &Gates) {
        for (name, is_on) in gates.iter() {
            self.features.get_or_create(&[("name", name)]).set(i64::from(is_on));
        }
    }

    /// Counts a verdict on a DNS record.
    pub fn dns_verdict(&self, record: &'static str, verdict: &'static str) {
        self.dns_verdicts.get_or_create(&[("record", record), ("verdict", verdict)]).inc();
    }

    /// Whether this instance is the leader.
    pub fn leading(&self, yes: bool) {
        self.leader.set(i64::from(yes));
    }

    /// Number of fields of this version that the CRD of a kind in the cluster lacks.
    pub fn crd_lacks(&self, kind: &'static str, fields: usize) {
        let fields = i64::try_from(fields).unwrap_or(i64::MAX);
        self.crd_fields_missing.get_or_create(&[("kind", kind)]).set(fields);
    }

    /// Whether the connection to the server with this name is configured.
    pub fn configured(&self, server: &str, yes: bool) {
        self.mailcow_configured.get_or_create(&of(server)).set(i64::from(yes));
        let seen = yes.then(|| Seen { version: None, polled_at: Instant::now() });
        match seen {
            Some(seen) => drop(self.lock().insert(server.to_owned(), seen)),
            None => drop(self.lock().remove(server)),
        }
    }

    /// The interval between two polls of Mailcow.
    pub fn polls_every(&self, interval: Duration) {
        self.poll_interval.set(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX));
    }

    /// Notes a complete poll of a server.
    pub fn polled(&self, server: &str, took: Duration) {
        self.poll_seconds.observe(took.as_secs_f64());
        if let Some(seen) = self.lock().get_mut(server) {
            seen.polled_at = Instant::now();
        }
    }

    /// The configured servers.
    pub(super) fn servers(&self) -> BTreeMap<String, Seen> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The label of a server.
pub(super) fn of(server: &str) -> OfServer {
    [("server", server.to_owned())]
}
