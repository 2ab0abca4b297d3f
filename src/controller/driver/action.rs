//! When an object is looked at again.

use std::time::Duration;

/// What follows a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Another one after this time, whatever happens meanwhile.
    Requeue(Duration),
    /// Nothing before something changes.
    AwaitChange,
}

impl Action {
    /// Another one after this time.
    pub(crate) const fn requeue(after: Duration) -> Self {
        Self::Requeue(after)
    }

    /// Nothing before something changes.
    pub(crate) const fn await_change() -> Self {
        Self::AwaitChange
    }
}
