//! The right to write, asked at both doors: before each write to Mailcow and before each to the Kubernetes API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Until when this process may write. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Permit(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    Always,
    Never,
    Then(Instant),
}

impl Permit {
    /// The right of one that is alone.
    pub(crate) fn always() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// Gives it until then.
    pub(crate) fn grant(&self, until: Instant) {
        self.set(Until::Then(until));
    }

    /// Takes it back.
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
