//! Sessions of clients before 2026-07-28. A session is its caller's: for others it does not exist.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tokio::sync::Mutex;

use super::authenticate::Refusal;

/// The header with the id of a session.
const SESSION: &str = "mcp-session-id";
/// Most sessions.
const ALL: usize = 512;
/// Most sessions of one caller.
const OF_ONE: usize = 128;

/// Who has which session.
pub(crate) struct Sessions {
    manager: Arc<LocalSessionManager>,
    owners: Mutex<HashMap<String, String>>,
}

impl Sessions {
    /// Nobody has one.
    pub(crate) fn new(manager: Arc<LocalSessionManager>) -> Self {
        Self { manager, owners: Mutex::default() }
    }

    /// Whether a request may go on: its session is the caller's, or there is room for a new one.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn admit(&self, headers: &HeaderMap, who: &str, initializes: bool) -> Result<(), Refusal> {
        let mut ids = headers.get_all(SESSION).iter();
        let id = ids.next().map(|id| id.to_str().unwrap_or_default());
        if ids.next().is_some() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "there is more than one Mcp-Session-Id header"));
        }
        if let Some(id) = id {
            let is_own = self.owners.lock().await.get(id).is_some_and(|owner| owner == who);
            let unknown = || Refusal::new(StatusCode::NOT_FOUND, "there is no such session; begin a new one");
            return if is_own { Ok(()) } else { Err(unknown()) };
        }
        if !initializes {
            return Ok(());
        }
        let mut owners = self.owners.lock().await;
        let live = self.manager.sessions.read().await;
        owners.retain(|id, _| live.contains_key(id.as_str()));
        let of_one = owners.values().filter(|owner| *owner == who).count();
        // Also those that are not remembered yet.
        if live.len() >= ALL || of_one >= OF_ONE {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "there are too many sessions; close some, or try again in five minutes",
            ));
        }
        Ok(())
    }

    /// Remembers the session that an answer begins.
    pub(crate) async fn remember(&self, answer: &HeaderMap, who: &str) {
        if let Some(id) = answer.get(SESSION).and_then(|id| id.to_str().ok()) {
            self.owners.lock().await.entry(id.to_owned()).or_insert_with(|| who.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(ids: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(SESSION, HeaderValue::from_str(id).unwrap());
        }
        headers
    }

    #[tokio::test]
    async fn a_session_is_its_callers() {
        let sessions = Sessions::new(Arc::default());
        sessions.remember(&with(&["s1"]), "ada").await;
        assert!(sessions.admit(&with(&["s1"]), "ada", false).await.is_ok());
        for (id, who) in [("s1", "bob"), ("s2", "ada"), ("", "ada")] {
            let refusal = sessions.admit(&with(&[id]), who, false).await.unwrap_err();
            assert_eq!(refusal.status, StatusCode::NOT_FOUND, "{id} {who}");
        }
        // Nobody takes a session over by an answer that repeats its id.
        sessions.remember(&with(&["s1"]), "bob").await;
        assert!(sessions.admit(&with(&["s1"]), "bob", false).await.is_err());
        assert_eq!(
            sessions.admit(&with(&["s1", "s2"]), "ada", false).await.unwrap_err().status,
            StatusCode::BAD_REQUEST
        );
    }
}
