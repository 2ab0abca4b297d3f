//! The metrics of the worker. Sinks are labels, because the installation configures them; mailboxes and rules are not.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::reports::Figures;
use crate::intake::report::{AttemptReport, AttemptResult};

/// The label of a sink.
type OfSink = [(&'static str, String); 1];
/// Computes the current figures.
type CurrentFigures = Box<dyn Fn() -> Figures + Send + Sync>;

/// All metrics of the worker; cloning shares them.
#[derive(Clone)]
pub struct WorkerMetrics {
    attempts: Family<[(&'static str, String); 2], Counter>,
    delivery_seconds: Family<OfSink, Histogram>,
    leader: Gauge,
    figures: Arc<Mutex<Option<CurrentFigures>>>,
}

impl fmt::Debug for WorkerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerMetrics")
    }
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            delivery_seconds: Family::new_with_constructor(|| {
                Histogram::new([0.25, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 43200.0])
            }),
            leader: Gauge::default(),
            figures: Arc::default(),
        }
    }
}

impl WorkerMetrics {
    /// Counts a try.
    pub fn attempted(&self, attempt: &AttemptReport) {
        let labels = [("sink", attempt.sink.clone()), ("result", attempt.result.as_str().to_owned())];
        self.attempts.get_or_create(&labels).inc();
        if attempt.result == AttemptResult::Delivered {
            self.delivery_seconds.get_or_create(&[("sink", attempt.sink.clone())]).observe(attempt.age_seconds);
        }
    }

    /// Whether this instance works.
    pub fn leading(&self, yes: bool) {
        self.leader.set(i64::from(yes));
    }

    /// Sets how the current figures are computed, at each request for the metrics.
    pub fn compute_figures_with(&self, figures: impl Fn() -> Figures + Send + Sync + 'static) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(figures));
    }

    /// All of them in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// Never in practice: writing to a text can't fail.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|figures| figures());
        let figures = figures.unwrap_or_default();
        let mut registry = Registry::with_prefix("mailcow_operator_intake");
        registry.register("attempts", "Tries of messages at a sink, by result", self.attempts.clone());
        let help = "Time from the arrival of a message in its queue folder until its sink had it, in seconds";
        registry.register("delivery_seconds", help, self.delivery_seconds.clone());
        registry.register("leader", "1 if this instance works, 0 if it is on standby", self.leader.clone());
        let (waiting, failed): (Family<OfSink, Gauge>, Family<OfSink, Gauge>) = Default::default();
        let oldest: Family<OfSink, Gauge<f64, AtomicU64>> = Family::default();
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (sink, of_sink) in &figures.sinks {
            let label = [("sink", sink.clone())];
            waiting.get_or_create(&label).set(number(of_sink.waiting));
            failed.get_or_create(&label).set(number(of_sink.failed));
            oldest.get_or_create(&label).set(of_sink.oldest_waiting);
        }
        registry.register("waiting_messages", "Messages that wait in queue folders", waiting);
        registry.register("failed_messages", "Messages in Failed, which nobody tries again", failed);
        let help = "Age of the oldest message that waits in a queue folder, in seconds; 0 if none waits";
        registry.register("oldest_waiting_seconds", help, oldest);
        let orphaned: Gauge = Gauge::default();
        orphaned.set(number(figures.orphaned));
        registry.register("orphaned_messages", "Messages in queue folders that no rule names any more", orphaned);
        let mailboxes: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
        mailboxes.get_or_create(&[("state", "ok")]).set(figures.mailboxes_ok);
        mailboxes.get_or_create(&[("state", "failing")]).set(figures.mailboxes_failing);
        registry.register("mailboxes", "Mailboxes with queue folders, by the result of the last scan", mailboxes);
        let scan_age: Gauge<f64, AtomicU64> = Gauge::default();
        scan_age.set(figures.scan_age);
        let help = "Seconds since the last successful scan of the mailbox that has waited longest for one";
        registry.register("scan_age_seconds", help, scan_age);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reports::SinkFigures;
    use super::*;

    #[test]
    fn figures_are_computed_each_time() {
        let metrics = WorkerMetrics::default();
        assert!(metrics.text().unwrap().contains("mailcow_operator_intake_scan_age_seconds 0"));
        metrics.compute_figures_with(|| Figures {
            sinks: [("tracker".to_owned(), SinkFigures { waiting: 2, failed: 0, oldest_waiting: 7.5 })].into(),
            mailboxes_ok: 3,
            mailboxes_failing: 1,
            orphaned: 4,
            ..Figures::default()
        });
        let text = metrics.text().unwrap();
        assert!(text.contains(r#"mailcow_operator_intake_waiting_messages{sink="tracker"} 2"#), "{text}");
        assert!(text.contains(r#"mailcow_operator_intake_oldest_waiting_seconds{sink="tracker"} 7.5"#));
        assert!(text.contains(r#"mailcow_operator_intake_mailboxes{state="failing"} 1"#));
        assert!(text.contains("mailcow_operator_intake_orphaned_messages 4"));
    }
}
