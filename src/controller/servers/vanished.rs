//! What is known of a connection's Secret beside the connection, and the counts of entries that vanished from a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::plan::Vanished;

/// The Secret of a connection, without its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionSecret {
    /// Its name.
    pub(crate) name: String,
    /// Its uid, for events.
    pub(crate) uid: Option<String>,
    /// The value of its annotation [`crate::crd::RECREATE_VANISHED`].
    pub(crate) consent: Option<String>,
}

/// Recent counts, by server. They only save a second count and a second report.
#[derive(Debug, Default)]
pub(crate) struct VanishedCounts(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Counted>>>>>);

/// One count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// When.
    pub(crate) at: Instant,
    /// What was counted.
    pub(crate) vanished: Vanished,
    /// Number of entries reported as missing, and the day since 1970.
    pub(crate) reported: Option<(usize, i64)>,
}

impl VanishedCounts {
    /// The last count of a server; locked while it is counted.
    pub(crate) fn of(&self, server: &str) -> Arc<tokio::sync::Mutex<Option<Counted>>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry(server.to_owned()).or_default().clone()
    }
}
