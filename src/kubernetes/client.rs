//! The client of the Kubernetes API: every call has a timeout, writes need the leader's permit, and the time of the
//! last successful call is known. A page of a list has a limited size: whoever may write objects can fill each of them
//! with more than a MiB of metadata.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use kube::client::{Body, ClientBuilder};
use tower::buffer::BufferLayer;
use tower::filter::FilterLayer;
use tower::{Layer, Service, ServiceExt};

use crate::leader::permit::Permit;

/// Timeout of a call; an admission webhook may use 30 s of it. A watch must begin in this time, and then continues.
const DEADLINE: Duration = Duration::from_secs(40);
/// The largest page of a list, in bytes, unless it has only one object. Larger ones are asked for again with fewer
/// objects. Five lists are read in parallel, and a page needs several times its size.
const LARGEST_PAGE: usize = 4 << 20;
/// After a page of fewer bytes, the next one may have twice as many objects.
const SMALL_PAGE: u64 = 1 << 20;
/// Calls that wait for the connection.
const WAITING: usize = 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// When a call of the Kubernetes API last succeeded. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct LastAnswer(Arc<Mutex<Instant>>);

impl Default for LastAnswer {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl LastAnswer {
    /// Time since then; since the start, if there was none yet.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Notes an answer of the API; a server error does not count.
    fn note(&self, status: http::StatusCode) {
        if !status.is_server_error() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

/// The error for a call that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent, because another instance may be the leader now")]
struct NotLeading;

/// The error for a call without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct TooLate(Duration);

/// A client that sends writes only while `permit` holds.
///
/// # Errors
/// When the configuration can't be used.
pub(crate) fn client(config: kube::Config, permit: Permit, last: LastAnswer) -> Result<kube::Client, kube::Error> {
    with_deadline(config, permit, &Deadlines { limit: DEADLINE, last })
}

fn with_deadline(config: kube::Config, permit: Permit, deadlines: &Deadlines) -> Result<kube::Client, kube::Error> {
    let check = move |request: Request<Body>| {
        if *request.method() == http::Method::GET || permit.holds() { Ok(request) } else { Err(NotLeading) }
    };
    let builder = ClientBuilder::try_from(config)?.with_layer(&BufferLayer::new(WAITING));
    Ok(builder.with_layer(deadlines).with_layer(&FilterLayer::new(check)).build())
}

/// Sets the timeout of each call.
struct Deadlines {
    limit: Duration,
    last: LastAnswer,
}

impl<S> Layer<S> for Deadlines {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, limit: self.limit, last: self.last.clone(), pages: Pages::default() }
    }
}

/// A service whose calls end in time: with the whole answer, or, for a watch, with its beginning.
struct Deadline<S> {
    inner: S,
    limit: Duration,
    last: LastAnswer,
    pages: Pages,
}

impl<S, B> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<B, Full<bytes::Bytes>>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (limit, last, pages) = (self.limit, self.last.clone(), self.pages.clone());
        let again = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, again);
        let answered = async move {
            let answer = if is_watch(&request) {
                let (head, body) = ready.oneshot(request).await.map_err(Into::into)?.into_parts();
                Response::from_parts(head, Either::Left(body))
            } else {
                let (parts, body) = request.into_parts();
                let answer = match page_size(&parts) {
                    Some(most) => pages.read(ready, &parts, most).await?,
                    None => whole(send(ready, Request::from_parts(parts, body)).await?).await?,
                };
                answer.map(Either::Right)
            };
            last.note(answer.status());
            Ok(answer)
        };
        Box::pin(async move { tokio::time::timeout(limit, answered).await.map_err(|_| TooLate(limit))? })
    }
}

/// The number of objects in the next page of each list that had large ones, by its path. Clones share it.
#[derive(Clone, Debug, Default)]
struct Pages(Arc<Mutex<HashMap<String, u32>>>);

impl Pages {
    /// Reads a page of at most `most` objects; of fewer, if it is too large.
    async fn read<S, B>(&self, service: S, parts: &Parts, most: u32) -> Result<Response<Full<bytes::Bytes>>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
        B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>>,
    {
        let path = parts.uri.path();
        let mut objects = self.of(path).unwrap_or(most).min(most);
        loop {
            let request = Request::from_parts(with_page_size(parts.clone(), objects)?, Body::empty());
            let answer = send(service.clone(), request).await?;
            let page = if objects > 1 { unless_too_large(answer).await? } else { Some(whole(answer).await?) };
            if let Some(page) = page {
                let is_small = http_body::Body::size_hint(page.body()).exact().is_some_and(|size| size < SMALL_PAGE);
                self.set(path, if is_small { objects.saturating_mul(2) } else { objects }, most);
                return Ok(page);
            }
            objects = (objects / 8).max(1);
            self.set(path, objects, most);
        }
    }

    fn of(&self, path: &str) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }

    fn set(&self, path: &str, objects: u32, most: u32) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if objects < most {
            pages.insert(path.to_owned(), objects);
        } else {
            pages.remove(path);
        }
    }
}

async fn send<S: Service<Request<Body>, Error: Into<BoxError>>>(
    service: S,
    request: Request<Body>,
) -> Result<S::Response, BoxError> {
    service.oneshot(request).await.map_err(Into::into)
}

/// The whole answer.
async fn whole<B>(answer: Response<B>) -> Result<Response<Full<bytes::Bytes>>, BoxError>
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>>,
{
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(head, Full::new(body.collect().await.map_err(Into::into)?.to_bytes())))
}

/// The whole answer; `None` if it is larger than a page may be.
async fn unless_too_large<B>(answer: Response<B>) -> Result<Option<Response<Full<bytes::Bytes>>>, BoxError>
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>>,
{
    match whole(answer.map(|body| Limited::new(body, LARGEST_PAGE))).await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The largest number of objects in the page that a request asks for.
fn page_size(request: &Parts) -> Option<u32> {
    let query = request.uri.query().filter(|_| request.method == http::Method::GET)?;
    query.split('&').find_map(|part| part.strip_prefix("limit=")?.parse().ok())
}

/// The same request for a page of this many objects.
fn with_page_size(mut request: Parts, objects: u32) -> Result<Parts, http::Error> {
    let parts = request.uri.query().unwrap_or_default().split('&');
    let query: Vec<String> = parts
        .map(|part| if part.starts_with("limit=") { format!("limit={objects}") } else { part.to_owned() })
        .collect();
    let path = format!("{}?{}", request.uri.path(), query.join("&"));
    let mut uri = request.uri.into_parts();
    uri.path_and_query = Some(path.parse()?);
    request.uri = http::Uri::from_parts(uri)?;
    Ok(request)
}

fn is_watch(request: &Request<Body>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers each request with these bytes, and then with nothing more.
    async fn silent_after(answer: &'static str) -> kube::Config {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answered(stream, answer));
            }
        });
        config
    }

    async fn answered(mut stream: tokio::net::TcpStream, answer: &str) {
        let mut request = [0; 4096];
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_call_that_hangs_ends_and_is_no_answer_wherever_it_hangs() {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{";
        for answer in ["", half] {
            let last = LastAnswer::default();
            let before = *last.0.lock().unwrap();
            let deadlines = Deadlines { limit: Duration::from_millis(200), last: last.clone() };
            let client = with_deadline(silent_after(answer).await, Permit::always(), &deadlines).unwrap();
            let error = Api::<ConfigMap>::namespaced(client, "n").get("m").await.unwrap_err();
            assert!(format!("{error:?}").contains("TooLate"), "{error:?}");
            assert_eq!(*last.0.lock().unwrap(), before);
        }
    }

    #[tokio::test]
    async fn an_answer_is_noted_and_a_broken_server_is_none() {
        let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        let broken = "HTTP/1.1 500 Broken\r\nContent-Length: 2\r\n\r\n{}";
        for (answer, is_noted) in [(gone, true), (broken, false)] {
            let last = LastAnswer::default();
            let before = *last.0.lock().unwrap();
            let client = client(silent_after(answer).await, Permit::always(), last.clone()).unwrap();
            let _ = Api::<ConfigMap>::namespaced(client, "n").get("m").await;
            assert_eq!(*last.0.lock().unwrap() > before, is_noted, "{answer}");
        }
    }

    /// A server whose list has as many objects as are asked for, each of this size; and the numbers that were asked for.
    async fn large_objects(size: usize) -> (kube::Config, Arc<Mutex<Vec<u32>>>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let numbers = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request[..read]).into_owned();
                let limit = text.split(['&', '?', ' ']).find_map(|part| part.strip_prefix("limit=")?.parse().ok());
                numbers.lock().unwrap().extend(limit);
                // As text: to serialize hundreds of megabytes takes a minute in a debug build.
                let object = format!(r#"{{"metadata":{{"name":"m"}},"data":{{"x":"{}"}}}}"#, "y".repeat(size));
                let objects = vec![object.as_str(); limit.map_or(1, |limit: u32| limit as usize)].join(",");
                let body =
                    format!(r#"{{"apiVersion":"v1","kind":"ConfigMapList","metadata":{{}},"items":[{objects}]}}"#);
                let close = "Connection: close";
                let head = format!("HTTP/1.1 200 OK\r\n{close}\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        (config, asked)
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_is_asked_for_with_fewer_objects() {
        for (size, expected) in [
            (1000, vec![(vec![100], 100), (vec![100], 100)]),
            // The next page begins with the number that fitted, and grows after small pages only.
            (100_000, vec![(vec![100, 12], 12), (vec![12], 12)]),
            (50_000, vec![(vec![100, 12], 12), (vec![24], 24)]),
            (3_000_000, vec![(vec![100, 12, 1], 1), (vec![1], 1)]),
            // One object is read, whatever its size.
            (5_000_000, vec![(vec![100, 12, 1], 1)]),
        ] {
            let (config, asked) = large_objects(size).await;
            let maps =
                Api::<ConfigMap>::namespaced(client(config, Permit::always(), LastAnswer::default()).unwrap(), "n");
            for (numbers, objects) in expected {
                let page = maps.list(&kube::api::ListParams::default().limit(100)).await.unwrap();
                assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), numbers, "{size}");
                assert_eq!(page.items.len(), objects, "{size}");
            }
        }
    }

    #[tokio::test]
    async fn without_the_permit_the_kubernetes_api_is_read_and_not_written() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Nobody listens there: what is sent ends in another error.
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let permit = Permit::always();
        let leases: kube::Api<k8s_openapi::api::coordination::v1::Lease> =
            kube::Api::namespaced(client(config, permit.clone(), LastAnswer::default()).unwrap(), "n");
        let is_held_back = async |lease: &str| {
            let (read, written) =
                (leases.get(lease).await, leases.delete(lease, &kube::api::DeleteParams::default()).await);
            let said = [read.unwrap_err().to_string(), written.unwrap_err().to_string()];
            said.map(|error| error.contains("nothing was sent"))
        };
        assert_eq!(is_held_back("a").await, [false, false]);
        let _lease = permit.need_lease();
        assert_eq!(is_held_back("a").await, [false, true]);
    }
}
