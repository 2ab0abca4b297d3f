//! When nothing is sent: after a rejected key, and while the server is in trouble. And when only one request is sent:
//! while the key is not confirmed yet, because Mailcow counts each wrong one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, watch};

use super::error::Error;
use crate::clock;

/// How long nothing is sent after a 401. Mailcow bans an address after ten of them.
pub(super) const REJECTED_WAIT: Duration = Duration::from_mins(15);
/// After this many failures in a row, of any requests, the server is in trouble.
const TROUBLE: u32 = 3;
/// Longest time between two tries of a server in trouble.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Admits requests or not; one for each server.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    recoveries: watch::Sender<u64>,
    /// Held by the one request that tests a key.
    probing: AsyncMutex<()>,
}

/// The right to send one request; kept until its answer is known.
#[derive(Debug)]
#[must_use]
pub(super) struct Admission<'a> {
    _probing: Option<AsyncMutexGuard<'a, ()>>,
}

#[derive(Debug, Default)]
struct State {
    rejected: Option<(Instant, Error)>,
    /// When the first of the failures was, or the rejection.
    since: Option<Timestamp>,
    /// Failures in a row, the last one, and when the next call may try.
    failures: u32,
    last: Option<Error>,
    next: Option<Instant>,
    /// Whether the server accepted the key.
    is_proven: bool,
    /// Number of finished requests that tested the key, and why the last one did not confirm it.
    probes: u64,
    unproven: Option<Error>,
}

impl State {
    /// Notes that a request did not confirm the key.
    fn probed(&mut self, error: &Error) {
        self.probes += 1;
        self.unproven = Some(error.clone());
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: Mutex::default(), recoveries: watch::Sender::new(0), probing: AsyncMutex::default() }
    }
}

impl Breaker {
    /// Admits a request, if it may be sent. While the key is not confirmed, one request tests it, and the others wait
    /// and share its result.
    ///
    /// # Errors
    /// What keeps it from being sent.
    pub(super) async fn admit(&self, jitter: f64) -> Result<Admission<'_>, Error> {
        let (is_proven, probes) = {
            let state = self.state();
            (state.is_proven, state.probes)
        };
        if is_proven {
            return self.allow(jitter).map(|()| Admission { _probing: None });
        }
        let probing = self.probing.lock().await;
        let (is_proven, unproven) = {
            let state = self.state();
            (state.is_proven, state.unproven.clone().filter(|_| state.probes != probes))
        };
        match unproven {
            Some(error) if !is_proven => Err(error),
            _ => self.allow(jitter).map(|()| Admission { _probing: (!is_proven).then_some(probing) }),
        }
    }

    /// Whether a request may be sent. For a server in trouble one request tries, and the others share the last result.
    ///
    /// # Errors
    /// What keeps it from being sent.
    fn allow(&self, jitter: f64) -> Result<(), Error> {
        let mut state = self.state();
        if let Some((since, error)) = &state.rejected
            && since.elapsed() < REJECTED_WAIT
        {
            return Err(error.clone());
        }
        let now = Instant::now();
        match (&state.last, state.next) {
            (Some(error), Some(next)) if state.failures >= TROUBLE && now < next => Err(error.clone()),
            _ => {
                state.next = Some(now + pause(state.failures, jitter));
                Ok(())
            }
        }
    }

    /// The key or the address was rejected. Returns whether this is news: several requests may have been in progress.
    pub(super) fn rejected(&self, error: Error) -> bool {
        let mut state = self.state();
        let is_known = state.rejected.as_ref().is_some_and(|(since, _)| since.elapsed() < REJECTED_WAIT);
        state.is_proven = false;
        state.probed(&error);
        state.rejected = Some((Instant::now(), error));
        state.since.get_or_insert_with(|| clock::now().0);
        !is_known
    }

    /// The server was not reachable, failed, or something else answers in its place. If it is now in trouble, returns
    /// since when.
    pub(super) fn failed(&self, error: &Error, jitter: f64) -> Option<Timestamp> {
        let mut state = self.state();
        // Unreadable lists of one kind, such as those of big domains, say nothing about the whole server.
        let is_new =
            state.failures + 1 < TROUBLE || !state.last.as_ref().is_some_and(|last| is_same_route(last, error));
        state.failures = state.failures.saturating_add(u32::from(is_new));
        state.last = Some(error.clone());
        state.probed(error);
        state.next = Some(Instant::now() + pause(state.failures, jitter));
        let since = *state.since.get_or_insert_with(|| clock::now().0);
        (is_new && state.failures == TROUBLE).then_some(since)
    }

    /// The server answered. If that ends its trouble, returns since when it was in trouble.
    pub(super) fn answered(&self) -> Option<Timestamp> {
        let mut state = self.state();
        let was_in_trouble = state.failures >= TROUBLE || state.rejected.is_some();
        let before = std::mem::replace(&mut *state, State { is_proven: true, ..State::default() });
        drop(state);
        if was_in_trouble {
            self.recoveries.send_modify(|count| *count += 1);
        }
        before.since.filter(|_| was_in_trouble)
    }

    /// The state.
    pub(super) fn word(&self) -> &'static str {
        let state = self.state();
        match &state.rejected {
            Some((since, _)) if since.elapsed() < REJECTED_WAIT => "rejected",
            _ if state.failures >= TROUBLE => "open",
            _ => "closed",
        }
    }

    /// Counts how often the server answered again after trouble.
    pub(super) fn recoveries(&self) -> watch::Receiver<u64> {
        self.recoveries.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two answers that did not come from the API belong to the same route, such as `get/mailbox`.
fn is_same_route(one: &Error, other: &Error) -> bool {
    let route = |error: &Error| match error {
        Error::NotTheApi { path, .. } => path.split_once("/v1/").map(|(_, route)| {
            let parts: Vec<String> = route.split('/').take(2).map(ToOwned::to_owned).collect();
            parts
        }),
        _ => None,
    };
    route(one).is_some_and(|one| Some(one) == route(other))
}

/// 1 s after the third failure, doubled up to 30 s, and up to a quarter more by `jitter` (0 to 1).
fn pause(failures: u32, jitter: f64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(TROUBLE)).unwrap_or(u32::MAX);
    Duration::from_secs(1).saturating_mul(doubled).min(LONGEST_PAUSE).mul_f64(1.0 + jitter / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Error {
        Error::Unreachable { server: "https://m".into(), why: "refused".into() }
    }

    #[test]
    fn a_server_in_trouble_is_tried_by_one_call_at_a_time() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.allow(0.0), Ok(()), "single failures are the objects' own business");
            breaker.failed(&down(), 0.0);
        }
        assert_eq!(breaker.failed(&down(), 0.0), None, "the trouble was reported");
        assert_eq!((breaker.allow(0.0), breaker.word()), (Err(down()), "open"));
        breaker.state().next = Some(Instant::now());
        assert_eq!(breaker.allow(0.0), Ok(()));
        assert_eq!(breaker.allow(0.0), Err(down()), "the next one waits for the first");
    }

    #[test]
    fn an_answer_ends_the_trouble_and_is_told_once() {
        let breaker = Breaker::default();
        let recoveries = breaker.recoveries();
        assert_eq!(breaker.answered(), None);
        let reported: Vec<_> = (0..4).filter_map(|_| breaker.failed(&down(), 0.0)).collect();
        assert_eq!(reported.len(), 1);
        assert_eq!(breaker.answered(), Some(reported[0]), "since the first failure");
        assert_eq!(breaker.answered(), None);
        assert_eq!((*recoveries.borrow(), breaker.allow(0.0)), (1, Ok(())));
        assert_eq!(breaker.word(), "closed");
    }

    #[test]
    fn lists_of_one_kind_that_cannot_be_read_are_no_trouble_of_the_server_and_pages_everywhere_are() {
        let page = |path: &str| Error::NotTheApi {
            server: "https://m".into(),
            path: format!("/mail/api/v1/{path}"),
            why: "no JSON".into(),
        };
        let breaker = Breaker::default();
        for domain in ["a", "b", "c", "d"] {
            assert_eq!(breaker.failed(&page(&format!("get/mailbox/all/{domain}.example")), 0.0), None);
        }
        assert_eq!(breaker.word(), "closed");
        assert!(breaker.failed(&page("get/alias/all/a.example"), 0.0).is_some());
        assert_eq!(breaker.word(), "open");
        assert_eq!(breaker.failed(&page("get/alias/all/b.example"), 0.0), None, "the trouble was reported");
    }

    #[test]
    fn a_rejected_key_stops_everything() {
        let breaker = Breaker::default();
        assert!(breaker.rejected(down()) && !breaker.rejected(down()));
        assert_eq!((breaker.allow(0.0), breaker.word()), (Err(down()), "rejected"));
    }

    /// What becomes of eight calls that come at once, when each that is sent ends so.
    async fn calls(breaker: &Breaker, answer: Result<(), Error>) -> (usize, Vec<Result<(), Error>>) {
        let sent = std::sync::atomic::AtomicUsize::new(0);
        let call = async || {
            let _admission = breaker.admit(0.0).await?;
            sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::task::yield_now().await;
            match &answer {
                Ok(()) => drop(breaker.answered()),
                Err(error @ Error::KeyRejected { .. }) => drop(breaker.rejected(error.clone())),
                Err(error) => drop(breaker.failed(error, 0.0)),
            }
            answer.clone()
        };
        let ended = futures::future::join_all((0..8).map(|_| call())).await;
        (sent.into_inner(), ended)
    }

    #[tokio::test]
    async fn one_call_tries_a_key_and_the_others_share_what_became_of_it() {
        let wrong = Error::KeyRejected { server: "https://m".into(), why: "no".into(), wait_minutes: 15 };
        for error in [wrong.clone(), down()] {
            let breaker = Breaker::default();
            assert_eq!(calls(&breaker, Err(error.clone())).await, (1, vec![Err(error); 8]));
        }
        let breaker = Breaker::default();
        assert_eq!(calls(&breaker, Ok(())).await, (8, vec![Ok(()); 8]));
        // A key that is refused later, and after the long wait for it: one call again.
        breaker.rejected(wrong.clone());
        assert_eq!(calls(&breaker, Ok(())).await.0, 0);
        breaker.state().rejected = None;
        assert_eq!(calls(&breaker, Err(wrong.clone())).await.0, 1);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_leaves_the_try_to_the_next() {
        let breaker = Breaker::default();
        drop(breaker.admit(0.0).await);
        assert_eq!(calls(&breaker, Ok(())).await.0, 8);
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let seconds: Vec<u64> = [0, 3, 4, 5, 8, 99].iter().map(|n| pause(*n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 30, 30]);
    }
}
