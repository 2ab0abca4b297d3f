//! The right to write, checked before each write to Mailcow and to the Kubernetes API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Until when this process may write. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Permit(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    Always,
    Never,
    Then(Instant),
}

impl Permit {
    /// The permit of a process without leader election.
    pub(crate) fn always() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// Grants it until then.
    pub(crate) fn grant(&self, until: Instant) {
        self.set(Until::Then(until));
    }

    /// Revokes it.
    pub(crate) fn revoke(&self) {
        self.set(Until::Never);
    }

    /// Whether this process may write.
    pub(crate) fn holds(&self) -> bool {
        self.left().is_some()
    }

    /// How long it may still write; `None` when it may not.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Until::Always => Some(Duration::MAX),
            Until::Never => None,
            Until::Then(then) => then.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()),
        }
    }

    fn set(&self, until: Until) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_the_clock_and_by_hand() {
        let permit = Permit::always();
        assert!(permit.holds());
        permit.grant(Instant::now() + Duration::from_mins(1));
        let interner = permit.clone();
        assert!(interner.holds() && interner.left().is_some_and(|left| left <= Duration::from_mins(1)));
        interner.revoke();
        assert!(!permit.holds());
        permit.grant(Instant::now());
        assert!(!permit.holds(), "the time is over");
    }
}
