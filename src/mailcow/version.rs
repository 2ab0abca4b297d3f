//! The server's version, read now and then, because a server is updated while the operator runs.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::Client;
use super::error::Error;

/// How long an answer is valid.
const KEEP: Duration = Duration::from_mins(5);

impl Client {
    /// The server's version, such as `2026-07a`.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn version(&self) -> Result<String, Error> {
        let value = self.get("get/status", &["version"]).await?;
        let version = value.get("version").and_then(Value::as_str).map(ToOwned::to_owned);
        version.ok_or_else(|| self.unexpected("get/status/version", "it has no version".to_owned()))
    }

    /// The server's version, such as `2026-07a`, at most five minutes old.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn known_version(&self) -> Result<String, Error> {
        let mut remembered = self.version.lock().await;
        if let Some((_, version)) = remembered.as_ref().filter(|(since, _)| since.elapsed() < KEEP) {
            return Ok(version.clone());
        }
        let version = self.version().await?;
        *remembered = Some((Instant::now(), version.clone()));
        Ok(version)
    }
}
