//! What is known of a connection's Secret beside the connection, and what was counted of things that vanished from a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::plan::Vanished;

/// The Secret that a connection was read from, but for what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionSecret {
    /// Its name.
    pub(crate) name: String,
    /// Its uid, by which events find it.
    pub(crate) uid: Option<String>,
    /// The value of its annotation [`crate::crd::RECREATE_VANISHED`].
    pub(crate) consent: Option<String>,
}

/// What was counted of late, by server. It saves counting again and reporting twice; nothing else.
#[derive(Debug, Default)]
pub(crate) struct VanishedCounts(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Counted>>>>>);

/// One count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// When.
    pub(crate) at: Instant,
    /// What was counted.
    pub(crate) vanished: Vanished,
    /// How many things were reported to be missing, and on which day since 1970.
    pub(crate) reported: Option<(usize, i64)>,
}

impl VanishedCounts {
    /// The last count of a server; whoever counts holds it.
    pub(crate) fn of(&self, server: &str) -> Arc<tokio::sync::Mutex<Option<Counted>>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry(server.to_owned()).or_default().clone()
    }
}
