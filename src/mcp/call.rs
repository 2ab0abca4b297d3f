//! What one call of a tool works with.

use std::time::Duration;

use rmcp::model::{CallToolResponse, ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::managed::Managed;
use super::scope::Scope;
use super::tool_error::{ErrorKind, ToolError};

/// Time between two looks at an object that becomes ready.
const AGAIN: Duration = Duration::from_millis(500);

/// What a call answers.
pub(crate) type Answer = Result<CallToolResponse, ToolError>;

/// Where a call reports what it waits for.
pub(crate) enum Progress {
    /// Nowhere: the client does not want it.
    Nowhere,
    /// In notifications to the client.
    Client(Peer<RoleServer>, ProgressToken),
    /// In the state of a task.
    Task(watch::Sender<String>),
}

/// A call of a tool.
pub(crate) struct Call<'a> {
    /// Who calls.
    pub(crate) caller: &'a Caller,
    /// The served namespaces.
    pub(crate) scope: &'a Scope,
    /// Whether the client cancelled the call.
    pub(crate) cancelled: &'a CancellationToken,
    /// Where progress is reported.
    pub(crate) progress: Progress,
}

impl Call<'_> {
    /// Ends a call that was cancelled before it changed anything.
    pub(crate) fn check(&self) -> Result<(), ToolError> {
        if self.cancelled.is_cancelled() { Err(ToolError::cancelled()) } else { Ok(()) }
    }

    /// Waits until an object is ready, a person must act, the time is over or the call is cancelled. Gives the object as
    /// last read; `None` if the caller may not read it.
    pub(crate) async fn until_ready<K: Managed>(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
    ) -> Result<Option<K>, ToolError> {
        let begin = Instant::now();
        loop {
            let object = match self.caller.get::<K>(namespace, name).await {
                Ok(object) => object,
                Err(error) if error.error == ErrorKind::Forbidden => return Ok(None),
                Err(error) => return Err(error),
            };
            let is_settled = object.is_ready() || object.is_current() && object.is_true("Stalled");
            if is_settled || begin.elapsed() >= limit || self.cancelled.is_cancelled() {
                return Ok(Some(object));
            }
            self.report(begin.elapsed(), limit, object.reason().unwrap_or_default()).await;
            let rest = limit.saturating_sub(begin.elapsed());
            tokio::select! {
                () = tokio::time::sleep(AGAIN.min(rest)) => {}
                () = self.cancelled.cancelled() => {}
            }
        }
    }

    async fn report(&self, elapsed: Duration, limit: Duration, reason: String) {
        let message = if reason.is_empty() { "waiting for the operator".to_owned() } else { reason };
        match &self.progress {
            Progress::Nowhere => {}
            Progress::Client(peer, token) => {
                let progress = ProgressNotificationParam::new(token.clone(), elapsed.as_secs_f64())
                    .with_total(limit.as_secs_f64())
                    .with_message(message);
                // A client that is gone needs no progress.
                let _ = tokio::time::timeout(AGAIN, peer.notify_progress(progress)).await;
            }
            Progress::Task(state) => {
                state.send_replace(message);
            }
        }
    }
}
