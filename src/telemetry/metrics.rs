//! What people watch: counted as it happens. What has a state is looked up when it is asked for, in [`super::standing`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::exposition::text;
use super::queue::Queue;
use super::standing::{Standing, Watcher};
use crate::outcome::Reason;

/// The labels of a metric.
pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

/// All metrics; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) reconciles: Family<Labels<2>, Counter>,
    pub(super) reconcile_seconds: Family<Labels<1>, Histogram>,
    pub(super) mailcow_requests: Family<Labels<2>, Counter>,
    pub(super) mailcow_seconds: Family<Labels<1>, Histogram>,
    pub(super) dns_verdicts: Family<Labels<2>, Counter>,
    pub(super) mailcow_configured: Gauge,
    pub(super) mailcow_up: Gauge,
    pub(super) mailcow_version: Family<[(&'static str, String); 1], Gauge>,
    pub(super) poll_seconds: Histogram,
    pub(super) poll_interval: Gauge,
    pub(super) leader: Gauge,
    queue: Queue,
    watcher: Watcher,
    /// When Mailcow was last looked at whole, or when there was a connection.
    looked_at: Arc<Mutex<Option<Instant>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(histogram),
            mailcow_requests: Family::default(),
            mailcow_seconds: Family::new_with_constructor(histogram),
            dns_verdicts: Family::default(),
            mailcow_configured: Gauge::default(),
            mailcow_up: Gauge::default(),
            mailcow_version: Family::default(),
            poll_seconds: histogram(),
            poll_interval: Gauge::default(),
            leader: Gauge::default(),
            queue: Queue::default(),
            watcher: Watcher::default(),
            looked_at: Arc::default(),
        }
    }
}

/// From a single get (5 ms) to a rebuilding write (30 s).
fn histogram() -> Histogram {
    Histogram::new([0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0])
}

impl Metrics {
    /// Counts a pass over an object of `kind` and what came of it.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
        self.reconcile_seconds.get_or_create(&[("kind", kind)]).observe(took.as_secs_f64());
    }

    /// What waits for a pass, and what has one.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Tells how to look at how things stand.
    pub fn look_with(&self, look: impl Fn() -> Standing + Send + Sync + 'static) {
        self.watcher.set(look);
    }

    /// Counts a request to Mailcow.
    pub fn asked_mailcow(&self, action: &'static str, outcome: &'static str, took: Duration) {
        self.mailcow_requests.get_or_create(&[("action", action), ("outcome", outcome)]).inc();
        self.mailcow_seconds.get_or_create(&[("action", action)]).observe(took.as_secs_f64());
        let is_down = [Reason::MailcowUnreachable, Reason::KeyOrSourceRejected].map(Reason::as_str).contains(&outcome);
        self.mailcow_up.set(i64::from(!is_down));
    }

    /// The version of the configured Mailcow server.
    pub fn mailcow_version(&self, version: &str) {
        self.mailcow_version.clear();
        self.mailcow_version.get_or_create(&[("version", version.to_owned())]).set(1);
    }

    /// Counts a verdict on a DNS record.
    pub fn dns_verdict(&self, record: &'static str, verdict: &'static str) {
        self.dns_verdicts.get_or_create(&[("record", record), ("verdict", verdict)]).inc();
    }

    /// Whether this instance leads.
    pub fn leading(&self, yes: bool) {
        self.leader.set(i64::from(yes));
    }

    /// Whether a Mailcow server is configured.
    pub fn configured(&self, yes: bool) {
        self.mailcow_configured.set(i64::from(yes));
        self.set_looked_at(yes);
    }

    /// How often all that is remembered of Mailcow is looked at again.
    pub fn polls_every(&self, interval: Duration) {
        self.poll_interval.set(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX));
    }

    /// Notes that all that is remembered of Mailcow was looked at again.
    pub fn polled(&self, took: Duration) {
        self.poll_seconds.observe(took.as_secs_f64());
        self.set_looked_at(true);
    }

    fn set_looked_at(&self, yes: bool) {
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = yes.then(Instant::now);
    }

    /// Since when Mailcow was not looked at whole; `None` without a server.
    pub(super) fn snapshot_age(&self) -> Option<Duration> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// All of them in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// Never in practice: writing to a text can't fail.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        text(self, &self.watcher.look())
    }
}
