//! Waiting for something to become true, with a word about what was seen when it did not.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::{Error, Result};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Repeats `attempt` until it succeeds and gives its value; its last error becomes part of the failure message.
///
/// ```no_run
/// # async fn example(operator: ground::Operator) -> ground::Result<()> {
/// ground::wait_until(std::time::Duration::from_secs(5), "the operator to start", async || {
///     if operator.logs().contains("ready") { Ok(()) } else { Err("no such line yet") }
/// })
/// .await
/// # }
/// ```
///
/// # Errors
/// [`Error::Timeout`] after `limit`, also when an attempt hangs.
pub async fn wait_until<T, E: Display>(
    limit: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let end = Instant::now() + limit;
    let mut last = "nothing, the first attempt never came back".to_owned();
    while let Ok(result) = timeout_at(end, attempt()).await {
        match result {
            Ok(value) => return Ok(value),
            Err(error) => last = error.to_string(),
        }
        if Instant::now() + PAUSE >= end {
            break;
        }
        sleep(PAUSE).await;
    }
    Err(Error::Timeout { what: what.to_owned(), limit, last })
}
