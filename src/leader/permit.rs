//! The right to write, checked before each write to Mailcow and to the Kubernetes API.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Until when this process may write: as long as it holds every Lease that it needs. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Permit(Arc<Mutex<Vec<Option<Instant>>>>);

/// The part of a permit that one Lease gives.
#[derive(Debug)]
pub(crate) struct LeasePermit {
    all: Permit,
    place: usize,
}

impl Permit {
    /// The permit of a process that needs no Lease.
    pub(crate) fn always() -> Self {
        Self(Arc::default())
    }

    /// From now on it needs one more Lease, which is not held yet.
    pub(crate) fn need_lease(&self) -> LeasePermit {
        let mut leases = self.leases();
        leases.push(None);
        LeasePermit { all: self.clone(), place: leases.len() - 1 }
    }

    /// Whether this process may write.
    pub(crate) fn holds(&self) -> bool {
        let now = Instant::now();
        self.leases().iter().all(|until| left(*until, now).is_some())
    }

    fn leases(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeasePermit {
    /// The Lease is held until then.
    pub(crate) fn grant(&self, until: Instant) {
        self.set(Some(until));
    }

    /// The Lease is not held any more.
    pub(crate) fn revoke(&self) {
        self.set(None);
    }

    /// How long the Lease is still held; `None` when it is not.
    pub(crate) fn left(&self) -> Option<Duration> {
        left(self.all.leases().get(self.place).copied().flatten(), Instant::now())
    }

    /// Whether every Lease that the process needs is held.
    pub(crate) fn is_complete(&self) -> bool {
        self.all.holds()
    }

    fn set(&self, until: Option<Instant>) {
        if let Some(lease) = self.all.leases().get_mut(self.place) {
            *lease = until;
        }
    }
}

fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until?.checked_duration_since(now).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_the_clock_and_by_hand() {
        let permit = Permit::always();
        assert!(permit.holds());
        let lease = permit.need_lease();
        assert!(!permit.holds());
        lease.grant(Instant::now() + Duration::from_mins(1));
        let shared = permit.clone();
        assert!(shared.holds() && lease.left().is_some_and(|left| left <= Duration::from_mins(1)));
        lease.revoke();
        assert!(!shared.holds());
        lease.grant(Instant::now());
        assert!(!permit.holds(), "the time is over");
    }

    #[test]
    fn it_needs_every_lease() {
        let permit = Permit::always();
        let [one, other] = [permit.need_lease(), permit.need_lease()];
        let later = Instant::now() + Duration::from_mins(1);
        one.grant(later);
        assert!(!permit.holds() && !one.is_complete() && one.left().is_some() && other.left().is_none());
        other.grant(later);
        assert!(permit.holds() && one.is_complete());
        one.revoke();
        assert!(!permit.holds() && other.left().is_some());
    }
}
