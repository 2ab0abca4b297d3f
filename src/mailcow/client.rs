//! One `send`: URL, key, time limits, breaker and queues.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::breaker::{Breaker, REJECTED_WAIT};
use super::connection::{Connection, Observer, Permit};
use super::error::Error;
use super::location::{base_url, without_credentials};
use super::writers::{Lane, Writers};
use crate::certificates;

/// Time limit of a read; that of a list grows with its size.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Time limit of a write: one that rebuilds the groupware's view takes half a minute at 5,000 mailboxes, and others
/// wait for it.
const WRITE_LIMIT: Duration = Duration::from_mins(5);
/// Number of parallel reads; the server gains nothing from more.
const READERS: usize = 4;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    read: Duration,
    write: Duration,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A read; long lists may take `more_time` than other reads.
    Read { more_time: Duration },
    /// A write.
    Write,
}

/// A question to Mailcow.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The route.
    pub(super) action: &'static str,
    /// More parts of its path.
    pub(super) parts: &'a [&'a str],
    /// The body, for a route that needs more than its path.
    pub(super) body: Option<Value>,
    /// How much longer than other reads it may take.
    pub(super) more_time: Duration,
}

impl<'a> Question<'a> {
    /// A question with only a path.
    pub(super) const fn of(action: &'static str, parts: &'a [&'a str]) -> Self {
        Self { action, parts, body: None, more_time: Duration::ZERO }
    }
}

/// A client of one Mailcow server. It keeps no cookies: Mailcow's session cookie is an API session without a key.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
    mail_host: Option<String>,
    readers: Semaphore,
    writers: Writers,
    breaker: Breaker,
    limits: Limits,
    observer: Observer,
    permit: Permit,
    /// The last answer about the version, and when it came.
    pub(super) version: tokio::sync::Mutex<Option<(Instant, String)>>,
    /// The header `Date` of the last answer.
    pub(super) date: Mutex<Option<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server()).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client; sends nothing yet.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`] or [`Error::InvalidConnection`] when the URL, the key or the certificate can't be used.
    pub fn new(connection: &Connection, observer: Observer) -> Result<Self, Error> {
        let url = || without_credentials(&connection.url);
        let base = base_url(&connection.url).map_err(|why| Error::InvalidUrl { url: url(), why })?;
        let bad = |why: String| Error::InvalidConnection { url: url(), why };
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("mailcow-operator/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &connection.ca {
            for der in certificates::read(ca).map_err(bad)? {
                let certificate = reqwest::Certificate::from_der(&der).map_err(|error| bad(deepest(&error)))?;
                builder = builder.add_root_certificate(certificate);
            }
        }
        let mut key = header::HeaderValue::from_str(connection.api_key.expose_secret().trim()).map_err(|_| {
            bad("the API key has characters that are not allowed in a key; copy it from Mailcow again".to_owned())
        })?;
        if key.is_empty() {
            return Err(bad("the API key is empty; use Mailcow's read-write key".to_owned()));
        }
        key.set_sensitive(true);
        let http = builder
            .default_headers(header::HeaderMap::from_iter([(header::HeaderName::from_static("x-api-key"), key)]))
            .build()
            .map_err(|error| bad(deepest(&error)))?;
        Ok(Self {
            http,
            base,
            key: connection.api_key.clone(),
            mail_host: connection.mail_host.clone(),
            readers: Semaphore::new(READERS),
            writers: Writers::default(),
            breaker: Breaker::default(),
            limits: Limits { read: READ_LIMIT, write: WRITE_LIMIT },
            observer,
            permit: Arc::new(|| true),
            version: tokio::sync::Mutex::default(),
            date: Mutex::default(),
        })
    }

    /// With other time limits than 30 seconds for a read and 5 minutes for a write.
    #[must_use]
    pub fn with_limits(mut self, read: Duration, write: Duration) -> Self {
        self.limits = Limits { read, write };
        self
    }

    /// Sends writes only while `permit` says yes.
    #[must_use]
    pub fn with_permit(mut self, permit: Permit) -> Self {
        self.permit = permit;
        self
    }

    /// Counts how often the server answered again after trouble.
    pub fn recoveries(&self) -> watch::Receiver<u64> {
        self.breaker.recoveries()
    }

    /// The state of the breaker: `closed` sends all requests, `open` one at a time, `rejected` none.
    pub fn breaker(&self) -> &'static str {
        self.breaker.word()
    }

    /// Whether the server is known not to answer, or to reject the key.
    pub fn is_in_trouble(&self) -> bool {
        self.breaker() != "closed"
    }

    /// Scheme, host and port.
    pub fn server(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Host name of the mail server in MX records, if the connection has one.
    pub fn mail_host(&self) -> Option<&str> {
        self.mail_host.as_deref()
    }

    /// The host name or address in the server's URL.
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Reads `get/…`: parts of the path are encoded here.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub(super) async fn get(&self, action: &'static str, parts: &[&str]) -> Result<Value, Error> {
        self.read(&Question::of(action, parts), |body, path| self.parsed(body, path)).await
    }

    /// Asks, and parses the answer with `parse` from its body and its path.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub(super) async fn read<T>(
        &self,
        question: &Question<'_>,
        parse: impl FnOnce(&[u8], &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let action = question.action;
        let url = self.url(action, question.parts);
        let path = url.path().to_owned();
        let _turn = self.readers.acquire().await;
        let _admission = self.breaker.admit(rand::random()).await?;
        let started = Instant::now();
        let kind = Kind::Read { more_time: question.more_time };
        let answer = self.send(kind, url, question.body.as_ref()).await;
        let read = answer.and_then(|body| parse(&body, &path));
        self.note(read.as_ref().err());
        (self.observer)(action, read.as_ref().map_or_else(label, |_| "ok"), started.elapsed());
        read
    }

    /// Writes, and judges the answer.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when the connection broke after the request was sent; what the judge says.
    pub(super) async fn post(
        &self,
        (action, parts): (&'static str, &[&str]),
        body: &Value,
        lane: &Lane,
        judge: impl Fn(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _turn = self.writers.turn(lane).await;
        let _admission = self.breaker.admit(rand::random()).await?;
        if !(self.permit)() {
            return Err(self.unreachable(
                "nothing was sent, because another instance of the operator may be the leader now".to_owned(),
            ));
        }
        let started = Instant::now();
        let answer = self.send(Kind::Write, self.url(action, parts), Some(body)).await;
        self.note(answer.as_ref().err());
        let done = answer.and_then(|answer| judge(&answer));
        (self.observer)(action, done.as_ref().map_or_else(label, |()| "ok"), started.elapsed());
        done
    }

    fn url(&self, action: &str, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let parts = parts.iter().map(|part| encoded(part));
            segments.pop_if_empty().extend(["api", "v1"]).extend(action.split('/')).extend(parts);
        }
        url
    }

    /// The single place that sends requests to the server.
    async fn send(&self, kind: Kind, url: Url, body: Option<&Value>) -> Result<Vec<u8>, Error> {
        let (path, is_write) = (url.path().to_owned(), kind == Kind::Write);
        let limit = match kind {
            Kind::Read { more_time } => self.limits.read + more_time,
            Kind::Write => self.limits.write,
        };
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = self.http.request(method, url).timeout(limit);
        if let Some(body) = body {
            request = request.json(body);
        }
        let broken = |error: &reqwest::Error| self.broken(error, is_write, &path, limit);
        let asked = async {
            let response = request.send().await.map_err(|error| broken(&error))?;
            let status = response.status();
            if let Some(date) = response.headers().get(header::DATE).and_then(|date| date.to_str().ok()) {
                *self.date.lock().unwrap_or_else(PoisonError::into_inner) = Some(date.to_owned());
            }
            let body = response.bytes().await.map_err(|error| broken(&error))?;
            self.judged(status, &body, &path).map(|()| body.into())
        };
        asked.await
    }

    /// Tells the breaker how a request ended, and logs once when the server's trouble begins and ends.
    fn note(&self, error: Option<&Error>) {
        let server = self.server();
        match error {
            Some(error @ Error::KeyRejected { .. }) => {
                if self.breaker.rejected(error.clone()) {
                    tracing::warn!(server, %error, "Mailcow refuses the operator's requests");
                }
            }
            Some(error @ (Error::Unreachable { .. } | Error::OutcomeUnknown { .. } | Error::NotTheApi { .. })) => {
                if let Some(since) = self.breaker.failed(error, rand::random()) {
                    tracing::warn!(server, %since, %error, "Mailcow does not answer; the operator retries one request at a time, and the objects are Ready=Unknown");
                }
            }
            Some(_) | None => {
                if let Some(since) = self.breaker.answered() {
                    tracing::info!(server, trouble_since = %since, "Mailcow answers again");
                }
            }
        }
    }

    fn key_rejected(&self, why: &str) -> Error {
        let wait_minutes = REJECTED_WAIT.as_secs() / 60;
        let why = why.replace(self.key.expose_secret(), "…");
        Error::KeyRejected { server: self.server(), why, wait_minutes }
    }

    /// Judges the status. Refusals of single entries have status 200 and are not seen here.
    fn judged(&self, status: StatusCode, body: &[u8], path: &str) -> Result<(), Error> {
        match status.as_u16() {
            200 => Ok(()),
            401 => Err(self.key_rejected(&message_of(body).unwrap_or_else(|| "status 401".to_owned()))),
            403 => Err(Error::ReadOnlyKey { server: self.server() }),
            // Without PHP the web server treats a write as a request for a page (recording `30_php_down`).
            405 | 502 if is_page(body) => Err(self.unreachable(format!(
                "it answered with status {status} and a page of its web server: PHP does not answer; check the container php-fpm-mailcow"
            ))),
            429 | 500..=599 => Err(self.unreachable(match failed_backend(body) {
                Some(backend) => format!("it answered with status {status}: its connection to {backend} failed; check that container"),
                None => format!("it answered with status {status}"),
            })),
            _ => Err(self.not_the_api(path, format!("status {status}"))),
        }
    }

    /// Reads a `get` answer; one that is empty means that no key was seen (recording `01_auth/no_key_get_list`).
    fn parsed(&self, body: &[u8], path: &str) -> Result<Value, Error> {
        self.not_empty(body, path)?;
        serde_json::from_slice(body).map_err(|_| self.not_the_api(path, "it is not JSON".to_owned()))
    }

    /// Refuses an answer without anything in it.
    ///
    /// # Errors
    /// [`Error::NotTheApi`].
    pub(super) fn not_empty(&self, body: &[u8], path: &str) -> Result<(), Error> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(self.not_the_api(path, "it is empty".to_owned()));
        }
        Ok(())
    }

    fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { server: self.server(), why }
    }

    pub(super) fn not_the_api(&self, path: &str, why: String) -> Error {
        Error::NotTheApi { server: self.server(), path: path.to_owned(), why }
    }

    pub(super) fn unexpected(&self, path: &str, why: String) -> Error {
        Error::Unexpected { server: self.server(), path: path.to_owned(), why }
    }

    fn broken(&self, error: &reqwest::Error, is_write: bool, path: &str, limit: Duration) -> Error {
        let why = if error.is_timeout() && !error.is_connect() {
            format!("no answer within {limit:?}")
        } else {
            deepest(error)
        };
        if is_write && !error.is_connect() {
            let action = path.trim_start_matches(self.base.path()).to_owned();
            return Error::OutcomeUnknown { action, why, is_empty: false };
        }
        self.unreachable(why)
    }
}

fn label(error: &Error) -> &'static str {
    error.reason().as_str()
}

/// A part of a path, encoded once more than the URL will be: Mailcow's web server and its PHP decode it one after the
/// other (recording `16_path_encoding`). Parts that are the same when decoded twice stay readable.
fn encoded(part: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    part.bytes().map(byte).collect()
}

/// The innermost cause; the outer ones only repeat the URL.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Whether an answer is a page and not of the API.
fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// The backend that Mailcow itself can't reach, as named on its page (recordings `10_backend_trouble/*_down_get`).
fn failed_backend(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("Connection to ")?;
    let (backend, _) = rest.split_once(" failed")?;
    let is_name = backend.len() <= 40 && backend.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
    is_name.then(|| backend.to_owned())
}

/// `msg` of a bare error object.
fn message_of(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("msg")?.as_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str, ca: Option<&str>) -> Result<Client, Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = ca.map(ToOwned::to_owned);
        let connection = Connection { url: url.into(), api_key: SecretString::from("K3Y-K3Y"), ca, mail_host: None };
        let made = Client::new(&connection, Arc::new(|_, _, _| ()));
        assert!(!format!("{connection:?} {made:?}").contains("K3Y"), "the key is never shown");
        made
    }

    #[test]
    fn neither_key_nor_password_is_ever_shown() {
        let error = client("https://user:hunter2@m.example.com", None).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_broken_certificate_is_not_taken_for_a_missing_one_or_a_bad_url() {
        let error = client("https://m.example.com", Some("hello")).unwrap_err();
        assert!(matches!(error, Error::InvalidConnection { .. }), "{error}");
        assert!(error.to_string().contains("ca.crt") && error.to_string().contains("https://m.example.com"), "{error}");
        client("https://m.example.com", None).unwrap();
    }

    #[test]
    fn names_reach_mailcow_through_two_decoders() {
        // Recordings 16_path_encoding/get_mailbox_*_twice; an @ is the same decoded once, twice or not at all.
        let client = client("https://m.example.com/mail/", None).unwrap();
        for (name, path) in [
            ("a+b@enc.test", "a%252Bb@enc.test"),
            ("a&b@enc.test", "a%2526b@enc.test"),
            ("a%b@enc.test", "a%2525b@enc.test"),
            ("a%2bb@enc.test", "a%25252bb@enc.test"),
            ("a'b@enc.test", "a%2527b@enc.test"),
            ("a?b#c@enc.test", "a%253Fb%2523c@enc.test"),
            ("x-1_2~3.4@enc.test", "x-1_2~3.4@enc.test"),
        ] {
            assert_eq!(client.url("get/mailbox", &[name]).path(), format!("/mail/api/v1/get/mailbox/{path}"));
        }
    }

    #[test]
    fn what_mailcow_cannot_reach_is_named() {
        let client = client("https://m.example.com", None).unwrap();
        let said = |status, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            client.judged(status, body.as_bytes(), "/api/v1/get/domain/e.com").unwrap_err()
        };
        // Recordings 10_backend_trouble/*_down_get.
        for backend in ["dockerapi container", "Redis", "database"] {
            let page = format!(
                "<center style='font-family:sans-serif;'>Connection to {backend} failed.<br /><br />The following error was reported:<br/>Connection refused</center>\n"
            );
            let error = said(500, &page);
            assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains(backend), "{error}");
        }
        let other = said(500, "<p>Connection to <script>alert(1)</script> failed</p>").to_string();
        assert!(!other.contains("script"), "{other}");
        // Recording 30_php_down: a GET and a POST.
        for status in [502, 405] {
            let error = said(status, "<!DOCTYPE html>\n<html>");
            assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("PHP"), "{error}");
        }
        let wrong = said(405, r#"{"type":"error","msg":"only POST method is allowed"}"#);
        assert!(matches!(wrong, Error::NotTheApi { .. }), "{wrong}");
    }
}
