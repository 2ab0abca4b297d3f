//! Applies changes, one request each, and checks that Mailcow confirmed them.

use secrecy::{ExposeSecret, SecretString};

use super::client::Client;
use super::error::Error;
use super::reply::write_outcome;
use super::request::{Request, request};
use super::writers::{Lane, lane};
use crate::plan::Change;

/// How often a deadlock is tried again at once.
const DEADLOCK_TRIES: u32 = 3;

impl Client {
    /// Applies changes in order and stops at the first failure. `password` is for changes that set one.
    ///
    /// # Errors
    /// [`Error::Refused`], or any other of the calls.
    pub async fn execute(&self, changes: &[Change], password: Option<&SecretString>) -> Result<(), Error> {
        for change in changes {
            let done = self.write(&request(change, password), &lane(change)).await;
            // Mailcow's own message may repeat what it was sent.
            done.map_err(|error| password.map_or(error.clone(), |password| error.without(password.expose_secret())))?;
        }
        Ok(())
    }

    pub(super) async fn write(&self, request: &Request, lane: &Lane) -> Result<(), Error> {
        let parts: Vec<&str> = request.name.as_deref().into_iter().collect();
        let mut tries = 0;
        loop {
            let judge = |answer: &[u8]| write_outcome(answer, request);
            let done = self.post((request.route, &parts), &request.body, lane, judge).await;
            match done.map_err(|error| named(error, &request.action)) {
                Ok(()) => return Ok(()),
                Err(Error::Busy { .. }) if tries < DEADLOCK_TRIES => {
                    tries += 1;
                    let jitter = u64::from(rand::random::<u8>());
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(tries) * 50 + jitter)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A broken connection knows only the path; the action in words is better.
fn named(error: Error, action: &str) -> Error {
    match error {
        Error::OutcomeUnknown { why, is_empty, .. } => {
            Error::OutcomeUnknown { action: action.to_owned(), why, is_empty }
        }
        other => other,
    }
}
