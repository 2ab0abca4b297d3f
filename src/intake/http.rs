//! The only door to sinks: HTTP without redirects and proxies, to public addresses unless the sink allows others.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Response, Url};
use secrecy::ExposeSecret;

use super::answer::{Verdict, judge};
use super::payload::{Delivery, Request, Signer};
use super::sink::{Access, Authorization, Sink, SinkKind};
use crate::certificates;
use crate::clock;
use crate::dns::is_public;

/// How much of an answer's body is read, in bytes.
const MOST_ANSWER: usize = 4_096;
/// How much of it goes into messages, in characters.
const MOST_WORDS: usize = 200;
/// How long a connection may stay idle: longer than a minute's pause, shorter than most servers'.
const IDLE: Duration = Duration::from_secs(50);

/// A sink that can be used.
#[derive(Debug)]
pub(super) struct Door {
    client: Client,
    signer: Option<Signer>,
}

impl Door {
    /// Prepares requests; sends nothing yet.
    ///
    /// # Errors
    /// What is wrong with the sink's configuration, and what to do.
    pub(super) fn new(sink: &Sink, timeout: Duration) -> Result<Self, String> {
        let (url, secrets) = match &sink.kind {
            SinkKind::Webhook(webhook) => (&webhook.url, webhook.signing_secrets.as_slice()),
            SinkKind::Caldav(caldav) => (&caldav.url, [].as_slice()),
        };
        check(url, &sink.access)?;
        let signer = match &sink.kind {
            SinkKind::Webhook(_) => Some(Signer::new(secrets).map_err(|error| error.to_string())?),
            SinkKind::Caldav(_) => None,
        };
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(sink.access.concurrency)
            .dns_resolver(Arc::new(Guard { allow_private: sink.access.allow_private }))
            .default_headers(authorization(&sink.access.authorization)?)
            .user_agent(concat!("mailcow-operator/", env!("CARGO_PKG_VERSION")));
        if !sink.access.ca.is_empty() {
            let pem = std::str::from_utf8(&sink.access.ca).map_err(|_| "its CA is not PEM text".to_owned())?;
            for der in certificates::read(pem)? {
                let certificate = Certificate::from_der(&der).map_err(|error| error.to_string())?;
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|error| deepest(&error))?;
        Ok(Self { client, signer })
    }

    /// Sends one message and judges the answer.
    pub(super) async fn deliver(&self, delivery: &Delivery<'_>, sink: &Sink) -> Verdict {
        match delivery.request(sink) {
            Ok(request) => self.send(request, delivery.identity.as_str(), &sink.kind).await,
            Err(why) => Verdict::Temporary { why, retry_after: None },
        }
    }

    async fn send(&self, request: Request, id: &str, kind: &SinkKind) -> Verdict {
        let method = if request.method == "PUT" { Method::PUT } else { Method::POST };
        let signed = self.signer.as_ref().map(|signer| signer.headers(&format!("msg_{id}"), seconds(), &request.body));
        let mut builder = self.client.request(method, &request.url);
        for (name, value) in request.headers.into_iter().chain(signed.into_iter().flatten()) {
            builder = builder.header(name, value);
        }
        match builder.body(request.body).send().await {
            Ok(response) => judged(response, kind).await,
            Err(error) => Verdict::Temporary { why: unreached(&error), retry_after: None },
        }
    }
}

fn seconds() -> i64 {
    clock::now().0.as_second()
}

/// An address in the URL itself never reaches the resolver, so it is checked here.
fn check(url: &str, access: &Access) -> Result<(), String> {
    let url = Url::parse(url).map_err(|error| format!("its URL is invalid: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("its URL must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("its URL has a user or a password; keep them in a Secret".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if address.is_ok_and(|address| !access.allow_private && !is_public(address)) {
        return Err(NOT_PUBLIC.to_owned());
    }
    Ok(())
}

const NOT_PUBLIC: &str = "its address is not public; allow private addresses for this sink if that is intended";

fn authorization(authorization: &Authorization) -> Result<HeaderMap, String> {
    let text = match authorization {
        Authorization::None => return Ok(HeaderMap::new()),
        Authorization::Basic { user, password } => {
            format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose_secret())))
        }
        Authorization::Bearer(token) => format!("Bearer {}", token.expose_secret().trim()),
    };
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| "its token has characters that no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// Resolves names to addresses that may be used.
#[derive(Debug)]
struct Guard {
    allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{NOT_PUBLIC}")]
struct NotPublic;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<SocketAddr> = found.filter(|address| allow_private || is_public(address.ip())).collect();
            if usable.is_empty() {
                return Err(NotPublic.into());
            }
            let addresses: Addrs = Box::new(usable.into_iter());
            Ok(addresses)
        })
    }
}

async fn judged(mut response: Response, kind: &SinkKind) -> Verdict {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    // The status alone decides; what can't be read of the body is left out.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= MOST_ANSWER {
            body.truncate(MOST_ANSWER);
            break;
        }
    }
    let is_refusal = (400..500).contains(&status) && ![401, 407].contains(&status);
    let words = if is_refusal { words(&body) } else { String::new() };
    judge(kind, status, retry_after.as_deref(), &words, seconds())
}

/// The beginning of an answer, for a message; nothing of an HTML page.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.starts_with('<') {
        return String::new();
    }
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WORDS).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Why there was no answer, without the URL.
fn unreached(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    format!("it can't be reached: {}", deepest(error))
}

fn deepest(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::sink::Webhook;

    fn sink(url: &str, access: Access) -> Sink {
        let webhook = Webhook { url: url.into(), signing_secrets: vec![], raw_email: false };
        Sink { name: "s".into(), kind: SinkKind::Webhook(webhook), access }
    }

    fn opened(url: &str, access: Access) -> Result<(), String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Door::new(&sink(url, access), Duration::from_secs(1)).map(|_| ())
    }

    #[test]
    fn a_sink_that_is_configured_wrongly_is_refused() {
        for (url, why) in [
            ("tracker", "URL is invalid"),
            ("ftp://t.example", "must begin with"),
            ("https://u:p@t.example", "a user or a password"),
            ("http://127.0.0.1/", "not public"),
            ("http://0x7f.1/", "not public"),
            ("http://2130706433/", "not public"),
            ("http://[::1]:80/", "not public"),
            ("http://[::ffff:169.254.169.254]/", "not public"),
            ("http://169.254.169.254/latest", "not public"),
        ] {
            let error = opened(url, Access::default()).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
        assert_eq!(opened("http://127.0.0.1/", Access { allow_private: true, ..Access::default() }), Ok(()));
        assert_eq!(opened("https://t.example/hook?x=y", Access::default()), Ok(()));
        let error = opened("https://t.example", Access { ca: b"nothing".to_vec(), ..Access::default() }).unwrap_err();
        assert!(error.contains("certificate"), "{error}");
        let bearer = Authorization::Bearer("a\nb".into());
        assert!(opened("https://t.example", Access { authorization: bearer, ..Access::default() }).is_err());
    }

    #[test]
    fn the_words_of_an_answer_are_one_short_line() {
        assert_eq!(words(b" {\"error\":\r\n \"no\"} "), "{\"error\": \"no\"}");
        assert_eq!(words(b"<html>"), "");
        assert!(words(&b"x ".repeat(4_000)).len() <= MOST_WORDS);
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_refused() {
        let guard = Guard { allow_private: false };
        let error = guard.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.to_string().contains("not public"));
        let allowed = Guard { allow_private: true }.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(allowed.count() > 0);
    }
}
