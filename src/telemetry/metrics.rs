//! Counters that people watch.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock;
use crate::outcome::Reason;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// All metrics; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Labels<2>, Counter>,
    reconcile_seconds: Family<Labels<1>, Histogram>,
    mailcow_requests: Family<Labels<2>, Counter>,
    mailcow_seconds: Family<Labels<1>, Histogram>,
    dns_verdicts: Family<Labels<2>, Counter>,
    mailcow_configured: Gauge,
    mailcow_up: Gauge,
    mailcow_version: Family<[(&'static str, String); 1], Gauge>,
    poll_seconds: Histogram,
    polled: Gauge,
    leader: Gauge,
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
            polled: Gauge::default(),
            leader: Gauge::default(),
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
    }

    /// Notes that all that is remembered of Mailcow was looked at again.
    pub fn polled(&self, took: Duration) {
        self.poll_seconds.observe(took.as_secs_f64());
        self.polled.set(clock::now().0.as_second());
    }

    /// All of them in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// Never in practice: writing to a text can't fail.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("mailcow_operator");
        registry.register("reconciles", "Passes over objects by kind and outcome", self.reconciles.clone());
        registry.register("reconcile_seconds", "Time of a pass in seconds", self.reconcile_seconds.clone());
        registry.register(
            "mailcow_requests",
            "Requests to Mailcow by action and outcome",
            self.mailcow_requests.clone(),
        );
        registry.register(
            "mailcow_request_seconds",
            "Time of a request to Mailcow in seconds",
            self.mailcow_seconds.clone(),
        );
        registry.register("dns_verdicts", "Verdicts on DNS records", self.dns_verdicts.clone());
        registry.register(
            "mailcow_configured",
            "1 when a Mailcow server is configured",
            self.mailcow_configured.clone(),
        );
        registry.register("poll_seconds", "Time of a whole look at Mailcow in seconds", self.poll_seconds.clone());
        registry.register(
            "polled_timestamp_seconds",
            "When Mailcow was last looked at whole, in Unix seconds; 0 is never",
            self.polled.clone(),
        );
        registry.register("leader", "1 when this instance works, 0 when it stands by", self.leader.clone());
        registry.register("mailcow_up", "1 when Mailcow answered the last request", self.mailcow_up.clone());
        registry.register("mailcow_info", "The version of Mailcow; always 1", self.mailcow_version.clone());
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written_with_their_labels() {
        let metrics = Metrics::default();
        metrics.reconciled("EmailDomain", "in_sync", Duration::from_millis(7));
        metrics.asked_mailcow("add/domain", "ok", Duration::from_millis(7));
        let text = metrics.text().unwrap();
        assert!(
            text.contains(r#"mailcow_operator_reconciles_total{kind="EmailDomain",outcome="in_sync"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"mailcow_operator_mailcow_requests_total{action="add/domain",outcome="ok"} 1"#));
    }
}
