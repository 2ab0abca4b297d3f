//! What was asked of the server, for tests to look at.

use std::fmt;
use std::time::{Duration, Instant};

/// One request that was answered.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path behind `/api/v1/`, decoded, without the query.
    pub path: String,
    /// The query.
    pub query: String,
    /// The body. It may hold passwords and is left out of the `Debug` form.
    pub body: String,
    /// The API key that came with it. It is left out of the `Debug` form.
    pub key: String,
    /// When it came, counted from the start of the simulator.
    pub at: Duration,
    /// How long the answer took.
    pub took: Duration,
    /// The status of the answer; 0 when the connection was cut.
    pub status: u16,
}

impl Request {
    /// Whether it asked for a change.
    pub fn is_write(&self) -> bool {
        ["add/", "edit/", "delete/"].iter().any(|action| self.path.starts_with(action))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {} in {:?}", self.method, self.path, self.status, self.took)
    }
}

/// The list of requests.
pub(crate) struct Journal {
    started: Instant,
    pub(crate) requests: Vec<Request>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), requests: Vec::new() }
    }

    pub(crate) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }
}
