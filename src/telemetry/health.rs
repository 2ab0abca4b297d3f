//! The server for `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Metrics;

/// Whether the operator is ready, or why it is not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Serves until the process ends. `/healthz` answers while the process runs, because a restart repairs neither
/// Kubernetes nor Mailcow. `/readyz` returns the result of `readiness`.
///
/// # Errors
/// When the address can't be bound.
pub async fn serve(listen: SocketAddr, metrics: Metrics, readiness: Readiness) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics and health");
    axum::serve(listener, router(metrics, readiness)).await
}

fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { ready(&readiness()) }))
        .route("/metrics", get(move || async move { exposition(&metrics) }))
}

fn ready(readiness: &Result<(), String>) -> (StatusCode, String) {
    match readiness {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.clone()),
    }
}

fn exposition(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_ready_says_why() {
        assert_eq!(ready(&Ok(())), (StatusCode::OK, "ok".to_owned()));
        assert_eq!(ready(&Err("x".to_owned())), (StatusCode::SERVICE_UNAVAILABLE, "x".to_owned()));
    }
}
