//! An HTTP sink that keeps what it gets, and answers as it is told.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
struct Kept {
    requests: Arc<Mutex<Vec<Received>>>,
    status: Arc<Mutex<u16>>,
}

/// A running sink.
pub(crate) struct Receiver {
    kept: Kept,
    /// Its URL.
    pub(crate) url: String,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        let kept = Kept::default();
        *kept.status.lock().unwrap() = 200;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(take)).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { kept, url }
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        *self.kept.status.lock().unwrap() = status;
    }

    /// What came, oldest first.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.kept.requests.lock().unwrap().clone()
    }
}

async fn take(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    kept.requests.lock().unwrap().push(Received { headers, body: body.to_vec() });
    (StatusCode::from_u16(*kept.status.lock().unwrap()).unwrap(), "told so")
}
