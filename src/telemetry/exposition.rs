//! All metrics as text: names, descriptions, and current values.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use super::counts::Counts;
use super::metrics::{Labels, Metrics, OfServer, of};

/// States of the breaker towards Mailcow.
const BREAKER: [&str; 3] = ["closed", "open", "rejected"];
/// The revision of this build, if it was given.
const REVISION: Option<&str> = option_env!("REVISION");

impl Metrics {
    /// All of them in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// Never in practice: writing to a text can't fail.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let counts = self.watcher.look();
        let mut names = Names(Registry::with_prefix("mailcow_operator"));
        names.work(self);
        names.mailcow(self, &counts);
        names.objects(&counts);
        names.quotas(&counts);
        names.process(self);
        let mut text = String::new();
        encode(&mut text, &names.0)?;
        Ok(text)
    }
}

/// The registered metrics.
struct Names(Registry);

impl Names {
    fn add(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register(name, help, metric.clone());
    }

    fn work(&mut self, metrics: &Metrics) {
        self.add("reconciles", "Reconciles, by kind and outcome", &metrics.reconciles);
        self.add("reconcile_seconds", "Time of a reconcile in seconds", &metrics.reconcile_seconds);
        let (waiting, running): (Family<Labels<1>, Gauge>, Family<Labels<1>, Gauge>) = Default::default();
        for (driver, wait, run) in metrics.queue().depths() {
            waiting.get_or_create(&[("kind", driver)]).set(wait);
            running.get_or_create(&[("kind", driver)]).set(run);
        }
        self.add("queue_depth", "Objects that wait for a reconcile", &waiting);
        self.add("reconciles_in_progress", "Running reconciles", &running);
        self.add("dns_verdicts", "Verdicts on DNS records", &metrics.dns_verdicts);
    }

    fn mailcow(&mut self, metrics: &Metrics, counts: &Counts) {
        self.add("mailcow_requests", "Requests sent to Mailcow, by action and outcome", &metrics.mailcow_requests);
        self.add("mailcow_request_seconds", "Time of a request to Mailcow in seconds", &metrics.mailcow_seconds);
        let help = "1 if the connection to this server is configured";
        self.add("mailcow_configured", help, &metrics.mailcow_configured);
        self.add("mailcow_up", "1 if Mailcow answered the last request", &metrics.mailcow_up);
        let breaker: Family<[(&'static str, String); 2], Gauge> = Family::default();
        for (server, holds) in &counts.breakers {
            for state in BREAKER {
                let labels = [("server", server.clone()), ("state", state.to_owned())];
                breaker.get_or_create(&labels).set(i64::from(*holds == state));
            }
        }
        let help = "1 for the current state: closed sends all requests, open one at a time, rejected none";
        self.add("mailcow_breaker", help, &breaker);
        self.servers(metrics);
        self.add("poll_seconds", "Time of a complete poll of Mailcow in seconds", &metrics.poll_seconds);
        self.add("poll_interval_seconds", "Time between two polls of Mailcow in seconds", &metrics.poll_interval);
    }

    fn servers(&mut self, metrics: &Metrics) {
        let version: Family<[(&'static str, String); 2], Gauge> = Family::default();
        let age: Family<OfServer, Gauge<f64, AtomicU64>> = Family::default();
        for (server, seen) in metrics.servers() {
            age.get_or_create(&of(&server)).set(seen.polled_at.elapsed().as_secs_f64());
            if let Some(said) = seen.version {
                version.get_or_create(&[("server", server), ("version", said)]).set(1);
            }
        }
        self.add("mailcow_info", "The version of Mailcow; always 1", &version);
        let help = "Seconds since the last complete poll of Mailcow, or since it was configured";
        self.add("snapshot_age_seconds", help, &age);
    }

    fn objects(&mut self, counts: &Counts) {
        let objects: Family<Labels<2>, Gauge> = Family::default();
        for ((kind, state), count) in &counts.objects {
            objects.get_or_create(&[("kind", kind), ("state", state)]).set(*count);
        }
        self.add("objects", "Objects, by kind and state", &objects);
        let (recreated, vanished): (Family<Labels<1>, Gauge>, Family<Labels<1>, Gauge>) = Default::default();
        for (kind, count) in &counts.recreated {
            recreated.get_or_create(&[("kind", kind)]).set(*count);
        }
        let help = "Objects whose entries vanished from Mailcow with their mail and were recreated, empty, within the last day";
        self.add("objects_recreated", help, &recreated);
        for (kind, count) in &counts.vanished {
            vanished.get_or_create(&[("kind", kind)]).set(*count);
        }
        let help = "Objects whose entries vanished from Mailcow together with many others, and are not recreated";
        self.add("objects_vanished", help, &vanished);
        let domains: Family<Labels<1>, Gauge> = Family::default();
        for (said, count) in &counts.domains {
            domains.get_or_create(&[("dns_verified", said)]).set(*count);
        }
        self.add("domains", "Domains, by whether their required DNS records are correct", &domains);
    }

    fn quotas(&mut self, counts: &Counts) {
        let nearly_full = Gauge::<i64>::default();
        nearly_full.set(counts.nearly_full);
        self.add("mailboxes_nearly_full", "Mailboxes that use 90 percent of their quota or more", &nearly_full);
    }

    fn process(&mut self, metrics: &Metrics) {
        self.add("feature_enabled", "1 if the feature gate is on", &metrics.features);
        let help = "Fields of this version that the CRD in the cluster lacks, by kind; if above 0, apply the new CRD";
        self.add("crd_fields_missing", help, &metrics.crd_fields_missing);
        self.add("leader", "1 if this instance works, 0 if it is on standby", &metrics.leader);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let alive = Gauge::<i64>::default();
            alive.set(i64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX));
            self.add("alive_tasks", "Asynchronous tasks of this process that have not ended", &alive);
        }
        let build: Family<Labels<2>, Gauge> = Family::default();
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION.unwrap_or("unknown"))];
        build.get_or_create(&labels).set(1);
        self.add("build_info", "Version and revision of this program; always 1", &build);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ObjectState;
    use std::time::Duration;

    #[test]
    fn counters_are_written_with_their_labels() {
        let metrics = Metrics::default();
        metrics.reconciled("EmailDomain", "in_sync", Duration::from_millis(7));
        metrics.asked_mailcow("default", "add/domain", "ok", Duration::from_millis(7));
        let text = metrics.text().unwrap();
        assert!(
            text.contains(r#"mailcow_operator_reconciles_total{kind="EmailDomain",outcome="in_sync"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"mailcow_operator_mailcow_requests_total{action="add/domain",outcome="ok"} 1"#));
        assert!(text.contains(r#"mailcow_operator_build_info{version=""#));
    }

    #[test]
    fn what_has_a_state_is_looked_up_each_time() {
        let metrics = Metrics::default();
        let has = |text: &str| metrics.text().unwrap().contains(text);
        assert!(!has("mailcow_operator_objects{") && !has("mailcow_operator_mailcow_breaker{"));
        metrics.count_with(|| {
            let mut counts = Counts { breakers: [("default".to_owned(), "open")].into(), ..Counts::default() };
            counts.count("EmailAlias", &ObjectState::of(&[], false, None), 1);
            counts
        });
        assert!(has(r#"mailcow_operator_objects{kind="EmailAlias",state="NotReady"} 1"#));
        assert!(has(r#"breaker{server="default",state="open"} 1"#) && has(r#"state="closed"} 0"#));
        let pass = metrics.queue().started("EmailAlias", &("n".into(), "a".into()));
        assert!(has(r#"mailcow_operator_reconciles_in_progress{kind="EmailAlias"} 1"#));
        drop(pass);
        assert!(has(r#"mailcow_operator_reconciles_in_progress{kind="EmailAlias"} 0"#));
    }

    #[test]
    fn a_snapshot_is_as_old_as_the_last_look_and_there_is_none_without_a_server() {
        let metrics = Metrics::default();
        assert!(!metrics.text().unwrap().contains("snapshot_age_seconds{"));
        metrics.configured("default", true);
        metrics.polled("default", Duration::from_secs(1));
        assert!(metrics.text().unwrap().contains("mailcow_operator_snapshot_age_seconds{server=\"default\"} 0."));
        metrics.configured("default", false);
        assert!(!metrics.text().unwrap().contains("snapshot_age_seconds{"));
    }
}
