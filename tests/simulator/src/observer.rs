//! Whoever sees every request as it comes and as it has been carried out, and may order trouble for it.

use crate::call::Call;
use crate::fault::Trouble;
use crate::state::State;

/// One request on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path behind `/api/v1/`, decoded, without the query.
    pub path: String,
    /// The body. It may hold passwords and is left out of the `Debug` form.
    pub body: String,
}

impl Asked {
    pub(crate) fn of(call: &Call) -> Self {
        Self { method: call.method.clone(), path: call.route(), body: call.body.clone() }
    }

    /// Whether it asks for a change.
    pub fn is_write(&self) -> bool {
        ["add/", "edit/", "delete/"].iter().any(|action| self.path.starts_with(action))
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Sees every request. Its methods are called while the state is locked: they must not call the simulator.
pub trait Observer: Send + Sync {
    /// A request has come; the trouble that is given back befalls it, before any that was ordered otherwise.
    fn before(&self, asked: &Asked, state: &State) -> Option<Trouble>;

    /// Whatever it does has been done; its answer, of which the status is given (0 when the connection is cut), has not
    /// yet been sent.
    fn after(&self, asked: &Asked, status: u16, state: &State);
}
