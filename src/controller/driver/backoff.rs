//! How long to wait after failures of an object.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::shrink::shrink;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(5);

/// Failures in a row, by object.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, Failures>>);

#[derive(Debug)]
struct Failures {
    count: u32,
    /// When the last of them was.
    last: Instant,
}

impl Backoff {
    /// Counts a failure and returns the wait: 2 s, doubled each time up to 5 min, plus up to a quarter by `jitter` (0
    /// to 1). What fails before its wait is over, because something else triggered it, has not failed once more: otherwise
    /// an object that many changes trigger would soon wait for minutes.
    pub(crate) fn failed(&self, object: &str, jitter: f64) -> Duration {
        self.failed_at(object, jitter, Instant::now())
    }

    fn failed_at(&self, object: &str, jitter: f64, now: Instant) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = all.entry(object.to_owned()).or_insert(Failures { count: 0, last: now });
        if failures.count == 0 || now.saturating_duration_since(failures.last) >= waiting(failures.count) {
            *failures = Failures { count: failures.count + 1, last: now };
        }
        waiting(failures.count).mul_f64(1.0 + jitter / 4.0)
    }

    /// Forgets an object's failures.
    pub(crate) fn succeeded(&self, object: &str) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(object);
        shrink(&mut *failures);
    }
}

/// The time, multiplied by 0.9 to 1.1 at random.
pub(crate) fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.9 + rand::random::<f64>() / 5.0)
}

fn waiting(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(factor).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_five_minutes() {
        let seconds: Vec<u64> = [1, 2, 3, 8, 9, 40].iter().map(|n| waiting(*n).as_secs()).collect();
        assert_eq!(seconds, [2, 4, 8, 256, 300, 300]);
    }

    #[test]
    fn success_starts_again() {
        let (backoff, start) = (Backoff::default(), Instant::now());
        backoff.failed_at("a", 0.0, start);
        assert_eq!(backoff.failed_at("a", 0.0, start + Duration::from_secs(2)), Duration::from_secs(4));
        assert_eq!(backoff.failed("b", 1.0), Duration::from_millis(2500));
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a", 0.0), Duration::from_secs(2));
    }

    #[test]
    fn what_is_triggered_before_its_wait_is_over_has_not_failed_once_more() {
        let (backoff, start) = (Backoff::default(), Instant::now());
        let at = |millis| backoff.failed_at("a", 0.0, start + Duration::from_millis(millis)).as_secs();
        assert_eq!([0, 300, 1999, 2000, 2100, 5999, 6000].map(at), [2, 2, 2, 4, 4, 4, 8]);
    }

    #[test]
    fn objects_that_come_and_go_leave_nothing() {
        let backoff = Backoff::default();
        let names = |round: u32| (0..5000).map(move |n| format!("EmailMailbox/n/{round}-{n}"));
        for round in 0..3 {
            for name in names(round) {
                backoff.failed(&name, 0.0);
            }
            for name in names(round) {
                backoff.succeeded(&name);
            }
        }
        let left = backoff.0.lock().unwrap();
        assert!(left.is_empty() && left.capacity() < 2048, "{}", left.capacity());
    }
}
