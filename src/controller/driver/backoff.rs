//! How long to wait after failures of an object.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::shrink::shrink;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(5);

/// Number of failures in a row, by object.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Counts a failure and returns the wait: 2 s, doubled each time up to 5 min, plus up to a quarter by `jitter` (0
    /// to 1).
    pub(crate) fn failed(&self, object: &str, jitter: f64) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        *count += 1;
        waiting(*count).mul_f64(1.0 + jitter / 4.0)
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
        let backoff = Backoff::default();
        backoff.failed("a", 0.0);
        assert_eq!(backoff.failed("a", 0.0), Duration::from_secs(4));
        assert_eq!(backoff.failed("b", 1.0), Duration::from_millis(2500));
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a", 0.0), Duration::from_secs(2));
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
