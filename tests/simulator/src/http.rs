//! The listening socket and the bytes on it.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::server::{Outcome, Shared};

/// Accepts connections until it is aborted; its connections end with it.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, peer)) = listener.accept().await {
            connections.spawn(serve(stream, peer, Arc::clone(&shared)));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| respond(request, peer.ip(), Arc::clone(&shared)));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client may go away at any time, and some answers are cut on purpose.
    drop(connection.await);
}

async fn respond(request: Request<Incoming>, from: IpAddr, shared: Arc<Shared>) -> Result<Response<AnswerBody>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let outcome = shared.serve(&parts, body, from).await.ok_or(Cut)?;
    Ok(response(outcome, parts.method == hyper::Method::HEAD))
}

fn response(outcome: Outcome, bodiless: bool) -> Response<AnswerBody> {
    let reply = outcome.answer.reply;
    let text = if bodiless { String::new() } else { reply.body };
    let mut response = Response::new(AnswerBody::new(text, outcome.cut));
    *response.status_mut() = hyper::StatusCode::from_u16(reply.status).unwrap_or_default();
    let content_type = if reply.html { "text/html; charset=utf-8" } else { "application/json" };
    let mut header = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
    header(hyper::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(cookie) = outcome.answer.cookie {
        let value = format!("MCSESSID={cookie}; path=/; HttpOnly; SameSite=Lax");
        if let Ok(value) = HeaderValue::from_str(&value) {
            header(hyper::header::SET_COOKIE, value);
        }
    }
    response
}

/// A body in one piece, or half of one and then an error, which ends the connection.
pub(crate) struct AnswerBody {
    data: Option<Bytes>,
    length: u64,
    cut: bool,
}

impl AnswerBody {
    fn new(text: String, cut: bool) -> Self {
        let data = Bytes::from(text);
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        Self { data: Some(if cut { data.slice(..data.len() / 2) } else { data }), length, cut }
    }
}

/// The error that ends a connection on purpose.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.cut => Poll::Ready(Some(Err(Cut))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.cut && self.data.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
