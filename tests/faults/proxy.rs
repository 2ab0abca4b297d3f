//! A proxy before the API server that serves one operator, and breaks what passes as a script says.
//!
//! It speaks HTTP/1.1 over TLS with a certificate of its own authority, so that each request is one answer on one
//! connection, and knows three kinds of them: writes, lists and watches. Everything else is handed on.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::schedule::{Act, When};

/// How long a watch whose event was dropped is dead before it ends with 410.
const LOST: Duration = Duration::from_millis(500);

/// A request to the API server, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path without the query.
    pub(crate) path: String,
    /// The plural of the kind, such as `emailmailboxes`.
    pub(crate) kind: String,
    /// Empty for what has none, and for lists over all.
    pub(crate) namespace: String,
    /// Empty for lists and creations.
    pub(crate) name: String,
    /// `status` and the like.
    pub(crate) subresource: String,
    pub(crate) is_watch: bool,
    /// As text; empty for reads.
    pub(crate) body: String,
}

impl Call {
    fn new(method: &Method, uri: &http::Uri, body: &Bytes) -> Self {
        let pieces: Vec<&str> = uri.path().split('/').filter(|piece| !piece.is_empty()).collect();
        // /api/v1/… and /apis/group/version/…
        let rest = pieces.get(if pieces.first() == Some(&"api") { 2 } else { 3 }..).unwrap_or_default();
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let piece = |n: usize| rest.get(n).copied().unwrap_or_default().to_owned();
        let is_watch = uri.query().unwrap_or_default().split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
        Self {
            method: method.clone(),
            path: uri.path().to_owned(),
            kind: piece(0),
            namespace: namespace.to_owned(),
            name: piece(1),
            subresource: piece(2),
            is_watch,
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET && self.kind != "subjectaccessreviews" && self.kind != "selfsubjectaccessreviews"
    }

    fn is_list(&self) -> bool {
        self.method == Method::GET && self.name.is_empty() && !self.kind.is_empty() && !self.is_watch
    }
}

/// Decides what goes wrong, and sees what passes.
pub(crate) trait Script: Send + Sync + 'static {
    /// A write is about to be handed on.
    fn write(&self, call: &Call) -> Option<Act>;
    /// A write was answered by the API server; the operator has not yet seen it.
    fn written(&self, call: &Call, status: u16, act: Option<Act>);
    /// A list is asked for.
    fn list(&self, call: &Call) -> Option<Act>;
    /// An event of a watch is about to be handed on.
    fn event(&self, call: &Call) -> Option<Act>;
    /// Stop the operator for so long, or kill it.
    fn strike(&self, act: Act);
}

/// A running proxy; it ends when this is dropped.
pub(crate) struct Proxy {
    port: u16,
    authority: String,
    watches: Arc<AtomicUsize>,
    acceptor: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    script: Arc<dyn Script>,
    silent_until: Mutex<Instant>,
    /// Watches that are open.
    watches: Arc<AtomicUsize>,
    /// The first answer to each list.
    lists: Mutex<HashMap<String, (http::HeaderMap, Bytes)>>,
    /// Until when the API server knows nothing newer than the first answer, by path.
    lags: Mutex<HashMap<String, Instant>>,
}

impl Proxy {
    /// Starts one before the API server at `url`, which shows `certificate` (PEM).
    pub(crate) async fn start((url, certificate): (String, &[u8]), script: Arc<dyn Script>) -> Self {
        let trusted = reqwest::Certificate::from_pem(certificate).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
        let (authority, acceptor) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let watches = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            upstream: url,
            client,
            script,
            silent_until: Mutex::new(Instant::now()),
            watches: Arc::clone(&watches),
            lists: Mutex::default(),
            lags: Mutex::default(),
        });
        let acceptor = tokio::spawn(accept(listener, acceptor, shared));
        Self { port, authority, watches, acceptor }
    }

    /// How many watches are open.
    pub(crate) fn watches(&self) -> usize {
        self.watches.load(Ordering::Relaxed)
    }

    /// Where it listens, and the certificate of its authority (PEM).
    pub(crate) fn way(&self) -> (u16, &str) {
        (self.port, &self.authority)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// A certificate for 127.0.0.1, and its authority as PEM.
fn tls() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    drop(stream.set_nodelay(true));
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    // The operator is killed at times, and answers are cut on purpose.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// What ends a connection without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

type Answer = Response<Stream>;

/// A body in pieces, as they come.
struct Stream(UnboundedReceiver<Bytes>);

impl Stream {
    fn whole(bytes: Bytes) -> Self {
        let (sender, receiver) = unbounded();
        drop(sender.unbounded_send(bytes));
        Self(receiver)
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next_unpin(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// A refusal as the API server words it.
fn refusal(status: StatusCode, reason: &str) -> Answer {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "failed on purpose", "reason": reason, "code": status.as_u16(),
    });
    let mut response = Response::new(Stream::whole(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn failed() -> Answer {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
}

/// The last event of a watch that asks for what is compacted.
fn gone() -> Bytes {
    let event = serde_json::json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    }});
    Bytes::from(format!("{event}\n"))
}

impl Shared {
    fn silence(&self, time: Duration) {
        let mut until = self.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Instant::now() + time);
    }

    async fn unsilenced(&self) {
        loop {
            let until = *self.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let call = Call::new(&parts.method, &parts.uri, &body);
        self.unsilenced().await;
        if call.is_write() {
            self.write(call, &parts, body).await
        } else if call.is_watch {
            self.watch(call, &parts).await
        } else if call.is_list() {
            self.list(&call, &parts).await
        } else {
            Ok(whole(self.hand_on(&parts, body).await?))
        }
    }

    async fn write(&self, call: Call, parts: &http::request::Parts, body: Bytes) -> Result<Answer, Cut> {
        let act = self.script.write(&call);
        match act {
            Some(Act::Fail(When::Before)) => return Ok(failed()),
            Some(Act::Conflict) => return Ok(refusal(StatusCode::CONFLICT, "Conflict")),
            Some(Act::Cut(When::Before)) => return Err(Cut),
            Some(strike @ Act::Kill(When::Before)) => {
                self.script.strike(strike);
                return Err(Cut);
            }
            Some(Act::Hold(ms)) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            Some(strike @ Act::Stop(_)) => self.script.strike(strike),
            Some(Act::Silence(ms)) => {
                self.silence(Duration::from_millis(ms.into()));
                self.unsilenced().await;
            }
            _ => {}
        }
        let (status, headers, bytes) = self.hand_on(parts, body).await?;
        self.script.written(&call, status.as_u16(), act);
        match act {
            Some(Act::Fail(When::After)) => Ok(failed()),
            Some(Act::Cut(When::After)) => Err(Cut),
            Some(strike @ Act::Kill(When::After)) => {
                self.script.strike(strike);
                Err(Cut)
            }
            _ => Ok(whole((status, headers, bytes))),
        }
    }

    async fn list(&self, call: &Call, parts: &http::request::Parts) -> Result<Answer, Cut> {
        let query = parts.uri.query().unwrap_or_default();
        let accepted = parts.headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let is_of_metadata = accepted.is_some_and(|accept| accept.contains("PartialObjectMetadataList"));
        let is_later_page = query.contains("continue=");
        // What a watch asks beside its list: the version of the data, and which objects exist.
        if query.split('&').any(|part| part == "limit=1") || is_of_metadata && call.kind.starts_with("email") {
            let old = self.any_old_list(&call.path).filter(|_| self.lags_until(&call.path).is_some());
            return match old {
                Some((headers, bytes)) => Ok(whole((StatusCode::OK, headers, metadata_of(&bytes)))),
                None => Ok(whole(self.hand_on(parts, Bytes::new()).await?)),
            };
        }
        let act = self.script.list(call);
        if let Some(Act::Lag(ms)) = act {
            self.lag(&call.path, ms);
        }
        let question = question(&call.path, query, is_of_metadata);
        match act {
            Some(Act::Fail(_)) => return Ok(failed()),
            Some(Act::Hold(ms)) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            _ => {}
        }
        let is_old = act == Some(Act::Stale) || self.lags_until(&call.path).is_some();
        if is_old
            && !is_later_page
            && let Some((headers, bytes)) = self.old_list(&question)
        {
            return Ok(whole((StatusCode::OK, headers, bytes)));
        }
        let (status, headers, bytes) = self.hand_on(parts, Bytes::new()).await?;
        if status == StatusCode::OK && !is_later_page {
            let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.entry(question).or_insert_with(|| (headers.clone(), bytes.clone()));
        }
        Ok(whole((status, headers, bytes)))
    }

    /// The first answer to this question.
    fn old_list(&self, question: &str) -> Option<(http::HeaderMap, Bytes)> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).get(question).cloned()
    }

    /// The first answer to a question for a list at this path.
    fn any_old_list(&self, path: &str) -> Option<(http::HeaderMap, Bytes)> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |question: &str| question.split('?').next() == Some(path);
        lists.iter().filter(|(question, _)| is_of(question)).map(|(_, answer)| answer.clone()).next()
    }

    /// From now on the API server knows nothing newer at this path, for so long.
    fn lag(&self, path: &str, ms: u32) {
        let until = Instant::now() + Duration::from_millis(ms.into());
        self.lags.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), until);
    }

    /// Until when the API server knows nothing newer than that; `None` once it does.
    fn lags_until(&self, path: &str) -> Option<Instant> {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.get(path).copied().filter(|until| *until > Instant::now())
    }

    async fn watch(self: Arc<Self>, call: Call, parts: &http::request::Parts) -> Result<Answer, Cut> {
        if let Some(until) = self.lags_until(&call.path) {
            tokio::time::sleep_until(until.into()).await;
        }
        let upstream = self.request(parts, Bytes::new()).send().await.map_err(|_| Cut)?;
        let (sender, receiver) = unbounded();
        let mut response = Response::new(Stream(receiver));
        *response.status_mut() = upstream.status();
        *response.headers_mut() = passed(upstream.headers());
        let shared = Arc::clone(&self);
        tokio::spawn(async move {
            shared.watches.fetch_add(1, Ordering::Relaxed);
            Arc::clone(&shared).events(call, upstream, sender).await;
            shared.watches.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(response)
    }

    /// Hands on the events of a watch, one line each, until either side ends it or the script does.
    async fn events(self: Arc<Self>, call: Call, mut upstream: reqwest::Response, operator: UnboundedSender<Bytes>) {
        let mut rest = Vec::new();
        loop {
            let piece = tokio::select! {
                piece = upstream.chunk() => piece,
                () = closed(&operator) => return,
            };
            let Ok(Some(piece)) = piece else { return };
            rest.extend_from_slice(&piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = Bytes::from(rest.drain(..=end).collect::<Vec<u8>>());
                if self.event(&call, line, &operator).await.is_break() {
                    return;
                }
            }
        }
    }

    async fn event(&self, call: &Call, line: Bytes, operator: &UnboundedSender<Bytes>) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let is_change = [&b"{\"type\":\"ADDED\""[..], b"{\"type\":\"MODIFIED\"", b"{\"type\":\"DELETED\""];
        let is_change = is_change.iter().any(|start| line.starts_with(start));
        let act = if is_change { self.script.event(call) } else { None };
        let mut times = 1;
        match act {
            Some(Act::Drop) => {
                tokio::time::sleep(LOST).await;
                drop(operator.unbounded_send(gone()));
                return Break(());
            }
            Some(act @ (Act::Gone | Act::Lag(_))) => {
                if let Act::Lag(ms) = act {
                    self.lag(&call.path, ms);
                }
                drop(operator.unbounded_send(gone()));
                return Break(());
            }
            Some(Act::Close) => return Break(()),
            Some(Act::Repeat) => times = 2,
            Some(Act::Hold(ms)) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            Some(Act::Silence(ms)) => self.silence(Duration::from_millis(ms.into())),
            Some(strike @ Act::Stop(_)) => self.script.strike(strike),
            _ => {}
        }
        self.unsilenced().await;
        for _ in 0..times {
            if operator.unbounded_send(line.clone()).is_err() {
                return Break(());
            }
        }
        if let Some(strike @ Act::Kill(_)) = act {
            self.script.strike(strike);
        }
        Continue(())
    }

    fn request(&self, parts: &http::request::Parts, body: Bytes) -> reqwest::RequestBuilder {
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let request = self.client.request(parts.method.clone(), format!("{}{path}", self.upstream));
        request.headers(passed(&parts.headers)).body(body)
    }

    async fn hand_on(
        &self,
        parts: &http::request::Parts,
        body: Bytes,
    ) -> Result<(StatusCode, http::HeaderMap, Bytes), Cut> {
        let response = self.request(parts, body).send().await.map_err(|_| Cut)?;
        let (status, headers) = (response.status(), passed(response.headers()));
        Ok((status, headers, response.bytes().await.map_err(|_| Cut)?))
    }
}

/// What a list is asked for: its path, a selector of fields, and whether metadata are enough.
fn question(path: &str, query: &str, is_of_metadata: bool) -> String {
    let selector = query.split('&').find(|part| part.starts_with("fieldSelector=")).unwrap_or_default();
    format!("{path}?{selector}&metadata={is_of_metadata}")
}

/// A list as one of its objects' metadata.
fn metadata_of(list: &Bytes) -> Bytes {
    let list: serde_json::Value = serde_json::from_slice(list).unwrap_or_default();
    let items = list["items"].as_array().into_iter().flatten();
    let items: Vec<_> = items.map(|object| serde_json::json!({"metadata": object["metadata"]})).collect();
    let list = serde_json::json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": list["metadata"], "items": items,
    });
    Bytes::from(list.to_string())
}

/// Waits until nobody reads any more.
async fn closed(operator: &UnboundedSender<Bytes>) {
    while !operator.is_closed() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn whole((status, headers, bytes): (StatusCode, http::HeaderMap, Bytes)) -> Answer {
    let mut response = Response::new(Stream::whole(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers that are not about one connection.
fn passed(headers: &http::HeaderMap) -> http::HeaderMap {
    let own =
        ["connection", "content-length", "host", "keep-alive", "transfer-encoding", "te", "upgrade", "accept-encoding"];
    headers.iter().filter(|(name, _)| !own.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
}
