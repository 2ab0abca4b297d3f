//! The client of the Kubernetes API: every call has a timeout, writes need the leader's permit, and the time of the
//! last successful call is known.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full};
use kube::client::{Body, ClientBuilder};
use tower::filter::FilterLayer;
use tower::{Layer, Service};

use crate::leader::permit::Permit;

/// Timeout of a call; an admission webhook may use 30 s of it. A watch must begin in this time, and then continues.
const DEADLINE: Duration = Duration::from_secs(40);

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
    Ok(ClientBuilder::try_from(config)?.with_layer(deadlines).with_layer(&FilterLayer::new(check)).build())
}

/// Sets the timeout of each call.
struct Deadlines {
    limit: Duration,
    last: LastAnswer,
}

impl<S> Layer<S> for Deadlines {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, limit: self.limit, last: self.last.clone() }
    }
}

/// A service whose calls end in time: with the whole answer, or, for a watch, with its beginning.
struct Deadline<S> {
    inner: S,
    limit: Duration,
    last: LastAnswer,
}

impl<S, B> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
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
        let (limit, last, is_watch) = (self.limit, self.last.clone(), is_watch(&request));
        let answer = self.inner.call(request);
        let answered = async move {
            let (head, body) = answer.await.map_err(Into::into)?.into_parts();
            let body = if is_watch {
                Either::Left(body)
            } else {
                Either::Right(Full::new(body.collect().await.map_err(Into::into)?.to_bytes()))
            };
            last.note(head.status);
            Ok(Response::from_parts(head, body))
        };
        Box::pin(async move { tokio::time::timeout(limit, answered).await.map_err(|_| TooLate(limit))? })
    }
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
