//! Streamable HTTP: `/mcp` for clients and `/healthz` for probes.

mod authenticate;
mod identity;
mod impersonate;
mod sessions;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::server::Server;
use crate::config::McpSettings;
use authenticate::{Authenticator, Refusal};
use sessions::Sessions;

/// Most connections; further ones are closed at once.
const CONNECTIONS: usize = 512;
/// Time limit for the header of a request, and for its body.
const REQUEST: Duration = Duration::from_secs(10);
/// Largest body of a request; bytes.
const LARGEST: usize = 2 << 20;
/// How long running calls may take after the process was told to end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What every connection shares.
struct Shared {
    authenticator: Authenticator,
    client: kube::Client,
    sessions: Sessions,
    service: StreamableHttpService<Server, LocalSessionManager>,
}

/// Serves until `ended` is cancelled.
///
/// # Errors
/// When the address can't be bound.
pub(super) async fn serve(
    listen: SocketAddr,
    server: Server,
    settings: &McpSettings,
    client: kube::Client,
    ended: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, writes = settings.allow_writes, "serving tools for agents");
    let manager = Arc::new(LocalSessionManager::default());
    let config = configured(settings, ended.child_token());
    let shared = Arc::new(Shared {
        authenticator: Authenticator::new(client.clone(), settings.audience.clone()),
        client,
        sessions: Sessions::new(manager.clone()),
        service: StreamableHttpService::new(move || Ok(server.clone()), manager, config),
    });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(place) = room.clone().try_acquire_owned() {
                    let (shared, ended) = (shared.clone(), ended.clone());
                    tokio::spawn(async move {
                        connection(stream, shared, ended).await;
                        drop(place);
                    });
                }
            }
            // Too many open files; retry.
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    // All places are free when the last connection is closed.
    let _ = tokio::time::timeout(LAST_ANSWERS, room.acquire_many(all)).await;
    Ok(())
}

fn configured(settings: &McpSettings, ended: CancellationToken) -> StreamableHttpServerConfig {
    let config = StreamableHttpServerConfig::default()
        .with_allowed_origins(settings.allowed_origins.iter().cloned())
        .enforce_origin_validation()
        .with_max_request_body_bytes(LARGEST)
        .with_json_response(true)
        .with_cancellation_token(ended);
    match settings.allowed_hosts.as_slice() {
        [] => config,
        hosts => config.with_allowed_hosts(hosts.iter().cloned()),
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, ended: CancellationToken) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(REQUEST);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that breaks off is no error of ours.
        _ = connection.as_mut() => {}
        () = ended.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_ANSWERS, connection).await;
        }
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Answer {
    match request.uri().path() {
        "/mcp" => served(shared, request).await.unwrap_or_else(|refusal| refused(&refusal)),
        "/healthz" if request.method() == Method::GET => text(StatusCode::OK, "ok"),
        _ => text(StatusCode::NOT_FOUND, "not found: the path of this server is /mcp"),
    }
}

async fn served(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refusal> {
    if ![Method::POST, Method::GET, Method::DELETE].contains(request.method()) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "use POST, GET or DELETE");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
        return Ok(answer);
    }
    let identity = shared.authenticator.identity(request.headers()).await?;
    let client = impersonate::client(&shared.client, &identity)?;
    let (mut parts, body) = request.into_parts();
    // Neither tools nor logs need the token from here on.
    parts.headers.remove(http::header::AUTHORIZATION);
    let body = tokio::time::timeout(REQUEST, Limited::new(body, LARGEST).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body of the request is larger than 2 MiB"));
        }
        Ok(Err(_)) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body of the request can't be read")),
        Err(_) => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body of the request took too long")),
    };
    let initializes = match message(&body) {
        Ok(method) => method.as_deref() == Some("initialize"),
        // A GET or DELETE has no body.
        Err(_) if body.is_empty() && parts.method != Method::POST => false,
        Err(error) => return Ok(*error),
    };
    shared.sessions.admit(&parts.headers, &identity.user, initializes).await?;
    parts.extensions.insert(Caller::new(client, identity.user.clone()));
    let answer = shared.service.handle(Request::from_parts(parts, Full::new(body))).await;
    shared.sessions.remember(answer.headers(), &identity.user).await;
    Ok(answer)
}

/// The method of a message, or the protocol's error for a body that is none (JSON-RPC 2.0, section 5.1).
fn message(body: &[u8]) -> Result<Option<String>, Box<Answer>> {
    let bad = |code, message| Box::new(protocol_error(code, message));
    let value: Value = serde_json::from_slice(body).map_err(|_| bad(-32700, "the body is not JSON"))?;
    if value["jsonrpc"] != "2.0" {
        return Err(bad(-32600, "the body is not a message of JSON-RPC 2.0; batches are not served"));
    }
    Ok(value["method"].as_str().map(ToOwned::to_owned))
}

fn protocol_error(code: i32, message: &str) -> Answer {
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    let mut answer = text(StatusCode::BAD_REQUEST, &error.to_string());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = text(refusal.status, &refusal.message);
    if refusal.status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    }
    answer
}

fn text(status: StatusCode, message: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{message}\n"))).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
