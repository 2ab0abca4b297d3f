//! The HTTP servers for `/metrics`, `/healthz` and `/readyz`: one for all of them and, optionally, one only for probes.
//! The second one runs on its own thread, so a flood of requests at the first can't block it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use super::Metrics;

/// Maximum number of connections; further ones are closed at once.
const CONNECTIONS: usize = 128;
/// Maximum number of connections from one address.
const OF_ONE: usize = 16;
/// Time limit for the header of a request.
const HEADER: Duration = Duration::from_secs(10);
/// After this time, a connection is closed once its current answer is sent.
const LIFETIME: Duration = Duration::from_mins(2);
/// Time limit for that answer.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// Metrics are gathered at most once within this time, however many requests come.
const FRESH: Duration = Duration::from_secs(1);

/// Whether the operator is ready, or why it is not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Serves until the process ends. `/healthz` answers while the process runs, because a restart repairs neither
/// Kubernetes nor Mailcow. `/readyz` returns the result of `readiness`.
///
/// # Errors
/// When the address can't be bound.
pub async fn serve(listen: SocketAddr, metrics: Metrics, readiness: Readiness) -> std::io::Result<()> {
    serve_text(listen, move || metrics.text(), readiness).await
}

/// The same with the text of other metrics.
///
/// # Errors
/// When the address can't be bound.
pub async fn serve_text(
    listen: SocketAddr,
    text: impl Fn() -> Result<String, std::fmt::Error> + Send + Sync + 'static,
    readiness: Readiness,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics and health");
    let latest = Latest::default();
    let text = Arc::new(text);
    let metrics = Router::new().route("/metrics", get(move || async move { latest.exposition(text.as_ref()) }));
    accept(listener, metrics.merge(health(readiness))).await;
    Ok(())
}

/// Serves probes on a thread of its own until the process ends.
///
/// # Errors
/// When the address can't be bound, or the system gives no thread.
pub fn serve_probes(listen: SocketAddr, readiness: Readiness) -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    tracing::info!(address = %listener.local_addr()?, "serving probes");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || {
        runtime.block_on(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, health(readiness)).await,
                Err(error) => tracing::error!(%error, "probes can't be served"),
            }
        });
    };
    std::thread::Builder::new().name("probes".to_owned()).spawn(serve).map(drop)
}

fn health(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { ready(&readiness()) }))
}

/// Accepts connections for ever, up to the limits.
async fn accept(listener: TcpListener, router: Router) {
    let room = Room::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(place) = room.take(peer.ip()) {
                    tokio::spawn(answer(stream, router.clone(), place));
                }
            }
            // Too many open files; retry.
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, router: Router, _place: Place) {
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    if tokio::time::timeout(LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        // Cuts off clients that read too slowly.
        let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
    }
}

/// The number of connections, by client address.
#[derive(Clone, Debug, Default)]
struct Room(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// Counts as a connection until it is dropped.
#[derive(Debug)]
struct Place {
    room: Room,
    peer: IpAddr,
}

impl Room {
    /// A place for a connection, if one is free.
    fn take(&self, peer: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, from_peer) = (taken.values().sum::<usize>(), taken.get(&peer).copied().unwrap_or_default());
        if all >= CONNECTIONS || from_peer >= OF_ONE {
            return None;
        }
        taken.insert(peer, from_peer + 1);
        Some(Place { room: self.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
    }
}

/// The last exposition, and when it was gathered.
#[derive(Clone, Debug, Default)]
struct Latest(Arc<Mutex<Option<(Instant, Bytes)>>>);

impl Latest {
    fn exposition(&self, text: &impl Fn() -> Result<String, std::fmt::Error>) -> Response {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, text)| text.clone());
        let Some(text) = fresh.or_else(|| text().ok().map(Bytes::from)) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        if latest.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH) {
            *latest = Some((Instant::now(), text.clone()));
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], text).into_response()
    }
}

fn ready(readiness: &Result<(), String>) -> (StatusCode, String) {
    match readiness {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::telemetry::Counts;

    #[test]
    fn who_is_not_ready_says_why() {
        assert_eq!(ready(&Ok(())), (StatusCode::OK, "ok".to_owned()));
        assert_eq!(ready(&Err("x".to_owned())), (StatusCode::SERVICE_UNAVAILABLE, "x".to_owned()));
    }

    #[test]
    fn one_address_does_not_take_all_the_room_and_gives_its_own_back() {
        let room = Room::default();
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let flood: Vec<_> = std::iter::from_fn(|| room.take(address(1))).collect();
        assert_eq!(flood.len(), OF_ONE);
        let others: Vec<_> = (2..=255).filter_map(|n| room.take(address(n))).collect();
        assert_eq!(flood.len() + others.len(), CONNECTIONS);
        drop((flood, others));
        assert!(room.0.lock().unwrap().is_empty());
    }

    #[test]
    fn metrics_are_gathered_once_however_often_they_are_asked_for() {
        let (metrics, latest, looks) = (Metrics::default(), Latest::default(), Arc::new(AtomicUsize::new(0)));
        let counted = looks.clone();
        metrics.count_with(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Counts::default()
        });
        for _ in 0..50 {
            assert_eq!(latest.exposition(&|| metrics.text()).status(), StatusCode::OK);
        }
        assert!(looks.load(Ordering::Relaxed) <= 2, "{looks:?}");
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn connections_that_are_held_open_keep_nobody_at_the_other_address_waiting() {
        let (listener, probes) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), free_port());
        let address = listener.local_addr().unwrap();
        let readiness: Readiness = Arc::new(|| Ok(()));
        tokio::spawn(accept(listener, health(readiness.clone())));
        serve_probes(probes, readiness).unwrap();
        let mut held = Vec::new();
        for _ in 0..OF_ONE {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
            held.push(stream);
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(5), refused.read(&mut [0; 1])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "it is closed at once: {closed:?}");
        for _ in 0..100 {
            assert!(ask(probes, "/healthz").await.ends_with("ok"));
        }
        assert!(ask(probes, "/metrics").await.starts_with("HTTP/1.1 404"));
        drop(held);
    }

    fn free_port() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }
}
