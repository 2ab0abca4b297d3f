//! When an object is reconciled again.

use std::time::Duration;

/// What happens after a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Reconcile again after this time at the latest.
    Requeue(Duration),
    /// Wait for a change.
    AwaitChange,
}

impl Action {
    /// Reconcile again after this time.
    pub(crate) const fn requeue(after: Duration) -> Self {
        Self::Requeue(after)
    }

    /// Wait for a change.
    pub(crate) const fn await_change() -> Self {
        Self::AwaitChange
    }
}
