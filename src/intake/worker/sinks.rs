//! The sinks that all mailboxes share: each has its own queue, its own breaker and its own connections, so that one
//! that hangs holds up nobody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;

use crate::intake::answer::Verdict;
use crate::intake::breaker::{Admission, Breaker};
use crate::intake::http::Door;
use crate::intake::queue::{Options, Work};
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
    state: Mutex<State>,
}

/// How a sink did lately.
#[derive(Debug)]
struct State {
    breaker: Breaker,
    /// Why the last request failed; `None` when it did not.
    failure: Option<String>,
}

/// A place at a sink that is waited for. Dropping it gives up the place, also one that came free already: nobody keeps a
/// place who can't use it.
#[derive(Debug)]
pub(super) struct PlaceRequest {
    place: oneshot::Receiver<OwnedSemaphorePermit>,
    waiting: AbortHandle,
}

impl PlaceRequest {
    /// Waits for a place in a task of its own, which calls `on_free` when it has one.
    pub(super) fn new(outlet: &Outlet, on_free: impl FnOnce() + Send + 'static) -> Self {
        let room = Arc::clone(&outlet.room);
        let (sender, place) = oneshot::channel();
        let task = tokio::spawn(async move {
            if let Ok(permit) = room.acquire_owned().await
                && sender.send(permit).is_ok()
            {
                on_free();
            }
        });
        Self { place, waiting: task.abort_handle() }
    }

    /// The place, if it came free.
    pub(super) fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        self.place.try_recv().ok()
    }
}

impl Drop for PlaceRequest {
    fn drop(&mut self) {
        self.waiting.abort();
    }
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
    fn new(sink: Arc<Sink>, is_disabled: bool, options: &Options) -> Self {
        let mut state = State { breaker: Breaker::new(options.pauses), failure: None };
        if is_disabled {
            state.breaker.refused();
            state.failure = Some("it answered 410 before this worker started".to_owned());
        }
        Self {
            door: Door::new(&sink, options.sink_timeout),
            room: Arc::new(Semaphore::new(sink.access.concurrency.clamp(1, 1_000))),
            large: Arc::new(Semaphore::new(LARGE_AT_A_TIME)),
            state: Mutex::new(state),
            sink,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one request.
    pub(super) fn admit(&self, now: i64) -> Admission {
        self.state().breaker.admit(now)
    }

    /// A request that was admitted was not sent.
    pub(super) fn cancelled(&self) {
        self.state().breaker.cancelled();
    }

    /// Why it is failing; `None` when it works.
    pub(super) fn failing(&self) -> Option<String> {
        let state = self.state();
        state.breaker.is_failing().then(|| state.failure.clone().unwrap_or_default())
    }

    /// Why it gets nothing until it is configured anew; `None` when it gets something.
    pub(super) fn disabled(&self) -> Option<String> {
        let state = self.state();
        state.breaker.is_disabled().then(|| state.failure.clone().unwrap_or_default())
    }

    /// Somebody asks to try it again.
    pub(super) fn enable(&self) {
        self.state().breaker.enabled();
    }

    /// Learns from an answer.
    pub(super) fn learn(&self, verdict: &Verdict, now: i64) -> Change {
        let mut state = self.state();
        match verdict {
            Verdict::Delivered | Verdict::Permanent(_) => {
                state.breaker.succeeded();
                state.failure = None;
                Change::None
            }
            Verdict::Gone(why) => {
                state.breaker.refused();
                state.failure = Some(why.clone());
                Change::Disabled(why.clone())
            }
            Verdict::Temporary { why, retry_after } => {
                let starts_failing = state.breaker.failed(now, *retry_after);
                state.failure = Some(why.clone());
                if starts_failing { Change::Failing(why.clone()) } else { Change::None }
            }
        }
    }
}

/// All sinks by name.
#[derive(Debug, Default)]
pub(super) struct Outlets(RwLock<BTreeMap<String, Arc<Outlet>>>);

impl Outlets {
    /// Takes over the sinks of the work. One that did not change keeps its breaker and its connections. Whether
    /// anything changed.
    pub(super) fn set(&self, work: &Work, options: &Options) -> bool {
        let sinks = &work.sinks;
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        known.retain(|name, outlet| sinks.get(name).is_some_and(|sink| *sink == outlet.sink));
        let mut changed = known.len() != before;
        for (name, sink) in sinks {
            if !known.contains_key(name) {
                changed = true;
                let is_disabled = work.disabled.contains(name);
                known.insert(name.clone(), Arc::new(Outlet::new(Arc::clone(sink), is_disabled, options)));
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

    #[tokio::test]
    async fn a_place_that_is_given_up_is_free_for_others() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut narrow = (*sinks("https://a.example")["s"]).clone();
        narrow.access.concurrency = 1;
        let outlet = Outlet::new(Arc::new(narrow), false, &Options::default());
        let first = Arc::clone(&outlet.room).try_acquire_owned().unwrap();
        let (sender, free) = oneshot::channel();
        let came = PlaceRequest::new(&outlet, move || {
            let _ = sender.send(());
        });
        let waits = PlaceRequest::new(&outlet, || {});
        tokio::task::yield_now().await;
        drop(first);
        free.await.unwrap();
        // One has the place, the other still waits; both are given up.
        drop((came, waits));
        let mut next = PlaceRequest::new(&outlet, || {});
        let since = std::time::Instant::now();
        let place = loop {
            if let Some(place) = next.take() {
                break place;
            }
            assert!(since.elapsed().as_secs() < 30, "the place is lost");
            tokio::task::yield_now().await;
        };
        assert!(Arc::clone(&outlet.room).try_acquire_owned().is_err());
        drop(place);
        assert!(Arc::clone(&outlet.room).try_acquire_owned().is_ok());
    }

    #[test]
    fn a_sink_is_new_only_when_it_changed() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let outlets = Outlets::default();
        let options = Options::default();
        let set = |outlets: &Outlets, sinks, disabled: &[&str]| {
            let disabled = disabled.iter().map(|name| (*name).to_owned()).collect();
            outlets.set(&Work { sinks, disabled, ..Work::default() }, &options)
        };
        assert!(set(&outlets, sinks("https://a.example"), &[]));
        let first = outlets.get("s").unwrap();
        assert_eq!(first.learn(&Verdict::Gone("410".into()), 0), Change::Disabled("410".into()));
        assert!(!set(&outlets, sinks("https://a.example"), &["s"]));
        assert_eq!(outlets.get("s").unwrap().admit(0), Admission::Never);
        assert!(set(&outlets, sinks("https://b.example"), &[]));
        assert_eq!(outlets.get("s").unwrap().admit(0), Admission::Go);
        assert!(set(&outlets, BTreeMap::new(), &[]) && outlets.get("s").is_none());
        // A new process learns that the sink answered 410.
        let next = Outlets::default();
        assert!(set(&next, sinks("https://a.example"), &["s"]));
        let sink = next.get("s").unwrap();
        assert!(sink.admit(0) == Admission::Never && sink.disabled().is_some());
        sink.enable();
        assert!(sink.admit(0) == Admission::Go && sink.disabled().is_none());
    }
}
