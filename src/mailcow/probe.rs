//! Questions about the connection itself, for people who look for a fault.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use serde_json::json;

use super::client::Client;
use super::error::Error;
use super::writers::probe_lane;

impl Client {
    /// Whether the key may write. Asks for an edit of no entries, which changes nothing (recordings
    /// `01_auth/edit_items_empty`, `ro_key_edit`).
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn may_write(&self) -> Result<bool, Error> {
        let body = json!({"items": [], "attr": {"active": 1}});
        match self.post(("edit/domain", &[]), &body, &probe_lane(), |_| Ok(())).await {
            Ok(()) => Ok(true),
            Err(Error::ReadOnlyKey { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The server's clock at its last answer (RFC 9110, section 6.6.1); `None` if no answer had a date.
    pub fn clock(&self) -> Option<Timestamp> {
        let date = self.date.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()?;
        rfc2822::parse(&date).ok().map(|zoned| zoned.timestamp())
    }
}
