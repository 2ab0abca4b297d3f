//! The sinks that all mailboxes share: each has its own queue, its own breaker and its own connections, so that one
//! that hangs holds up nobody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Semaphore;

use crate::intake::answer::Verdict;
use crate::intake::breaker::{Admission, Breaker};
use crate::intake::http::Door;
use crate::intake::queue::Options;
use crate::intake::sink::Sink;

/// Messages of more than [`LARGE`] bytes on their way to one sink at a time.
const LARGE_AT_A_TIME: usize = 2;
/// From this size on a message counts as large, in bytes.
pub(super) const LARGE: u32 = 1024 * 1024;

/// A sink in use.
#[derive(Debug)]
pub(super) struct Outlet {
    /// Its configuration.
    pub(super) sink: Arc<Sink>,
    /// The way to it, or what is wrong with its configuration.
    pub(super) door: Result<Door, String>,
    /// Requests at a time.
    pub(super) room: Arc<Semaphore>,
    /// Large messages at a time.
    pub(super) large: Arc<Semaphore>,
    breaker: Mutex<(Breaker, Option<String>)>,
}

/// What changed with a sink by an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that a person has to know.
    None,
    /// It counts as failing from now on; why.
    Failing(String),
    /// It gets nothing more until it is configured anew; why.
    Disabled(String),
}

impl Outlet {
    fn new(sink: Arc<Sink>, options: &Options) -> Self {
        Self {
            door: Door::new(&sink, options.sink_timeout),
            room: Arc::new(Semaphore::new(sink.access.concurrency.clamp(1, 1_000))),
            large: Arc::new(Semaphore::new(LARGE_AT_A_TIME)),
            breaker: Mutex::new((Breaker::new(options.pauses), None)),
            sink,
        }
    }

    fn breaker(&self) -> MutexGuard<'_, (Breaker, Option<String>)> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one request.
    pub(super) fn admit(&self, now: i64) -> Admission {
        self.breaker().0.admit(now)
    }

    /// A request that was admitted was not sent.
    pub(super) fn cancelled(&self) {
        self.breaker().0.cancelled();
    }

    /// Why it is failing; `None` when it works.
    pub(super) fn failing(&self) -> Option<String> {
        let state = self.breaker();
        state.0.is_failing().then(|| state.1.clone().unwrap_or_default())
    }

    /// Learns from an answer.
    pub(super) fn learn(&self, verdict: &Verdict, now: i64) -> Change {
        let mut state = self.breaker();
        match verdict {
            Verdict::Delivered | Verdict::Permanent(_) => {
                state.0.succeeded();
                state.1 = None;
                Change::None
            }
            Verdict::Gone(why) => {
                state.0.refused();
                state.1 = Some(why.clone());
                Change::Disabled(why.clone())
            }
            Verdict::Temporary { why, retry_after } => {
                let starts_failing = state.0.failed(now, *retry_after);
                state.1 = Some(why.clone());
                if starts_failing { Change::Failing(why.clone()) } else { Change::None }
            }
        }
    }
}

/// All sinks by name.
#[derive(Debug, Default)]
pub(super) struct Outlets(RwLock<BTreeMap<String, Arc<Outlet>>>);

impl Outlets {
    /// Takes over a new configuration. A sink that did not change keeps its breaker and its connections. Whether
    /// anything changed.
    pub(super) fn set(&self, sinks: &BTreeMap<String, Arc<Sink>>, options: &Options) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        known.retain(|name, outlet| sinks.get(name).is_some_and(|sink| *sink == outlet.sink));
        let mut changed = known.len() != before;
        for (name, sink) in sinks {
            if !known.contains_key(name) {
                changed = true;
                known.insert(name.clone(), Arc::new(Outlet::new(Arc::clone(sink), options)));
            }
        }
        changed
    }

    /// A sink.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Outlet>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::sink::{Access, SinkKind, Webhook};

    fn sinks(url: &str) -> BTreeMap<String, Arc<Sink>> {
        let webhook = Webhook { url: url.into(), signing_secrets: vec![], raw_email: false };
        let sink = Sink { name: "s".into(), kind: SinkKind::Webhook(webhook), access: Access::default() };
        BTreeMap::from([("s".to_owned(), Arc::new(sink))])
    }

    #[test]
    fn a_sink_is_new_only_when_it_changed() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let outlets = Outlets::default();
        let options = Options::default();
        assert!(outlets.set(&sinks("https://a.example"), &options));
        let first = outlets.get("s").unwrap();
        assert_eq!(first.learn(&Verdict::Gone("410".into()), 0), Change::Disabled("410".into()));
        assert!(!outlets.set(&sinks("https://a.example"), &options));
        assert_eq!(outlets.get("s").unwrap().admit(0), Admission::Never);
        assert!(outlets.set(&sinks("https://b.example"), &options));
        assert_eq!(outlets.get("s").unwrap().admit(0), Admission::Go);
        assert!(outlets.set(&BTreeMap::new(), &options) && outlets.get("s").is_none());
    }
}
