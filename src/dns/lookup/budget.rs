//! The time limit of a check. Time in the queue does not count: it says nothing about the servers, and a namespace with
//! many checks would make the checks of all others fail.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

tokio::task_local! {
    /// The time limit of the check that the running task makes.
    static BUDGET: Budget;
}

/// The remaining time of a check. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    deadline: Instant,
    /// The number of queries in the queue, and since when there has been one.
    waiting: usize,
    since: Instant,
}

impl Budget {
    /// Starts now.
    pub(super) fn new(allowed: Duration) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State { deadline: now + allowed, waiting: 0, since: now })))
    }

    /// When the time ends, if no query waits in the queue from now on.
    fn deadline(&self) -> Instant {
        let state = self.state();
        let waited = if state.waiting > 0 { state.since.elapsed() } else { Duration::ZERO };
        state.deadline + waited
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline()
    }

    /// Runs a future within the time; `None` if the time is up.
    pub(super) async fn within<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(BUDGET.scope(self.clone(), work));
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                // The end may have moved.
                () = sleep_until(deadline) => if self.is_over() { return None },
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a turn without using up the time of the running check.
pub(super) async fn waiting<F: Future>(turn: F) -> F::Output {
    let _paused = BUDGET.try_with(Budget::clone).ok().map(Paused::new);
    turn.await
}

/// Stops the clock until it is dropped.
struct Paused(Budget);

impl Paused {
    fn new(budget: Budget) -> Self {
        {
            let mut state = budget.state();
            if state.waiting == 0 {
                state.since = Instant::now();
            }
            state.waiting += 1;
        }
        Self(budget)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting = state.waiting.saturating_sub(1);
        if state.waiting == 0 {
            let waited = state.since.elapsed();
            state.deadline += waited;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn waiting_for_a_turn_uses_up_no_time_and_everything_else_does() {
        let budget = Budget::new(ALLOWED);
        let turn = async { waiting(tokio::time::sleep(3 * ALLOWED)).await };
        assert!(budget.within(turn).await.is_some());
        assert!(!budget.is_over(), "two that wait at once wait once");
        let both =
            async { tokio::join!(waiting(tokio::time::sleep(ALLOWED)), waiting(tokio::time::sleep(2 * ALLOWED))) };
        assert!(budget.within(both).await.is_some());
        assert!(budget.within(tokio::time::sleep(2 * ALLOWED)).await.is_none() && budget.is_over());
    }

    #[tokio::test]
    async fn outside_of_a_check_a_turn_is_only_waited_for() {
        assert_eq!(waiting(std::future::ready(1)).await, 1);
    }
}
