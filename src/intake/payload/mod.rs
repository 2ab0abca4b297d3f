//! A message → the request for its sink, as data.

mod caldav;
mod signature;
mod title;
mod webhook;

use std::fmt;

use super::identity::Identity;
use super::mime::Mail;
use super::queue::QueueFolder;
use super::sink::{Sink, SinkKind};
use crate::mail::Address;

pub use signature::{InvalidSecret, Signer};

/// A message and where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The identity: the same for each try.
    pub identity: &'a Identity,
    /// The mailbox.
    pub mailbox: &'a Address,
    /// The queue folder.
    pub queue: &'a QueueFolder,
    /// The message.
    pub mail: &'a Mail,
    /// The message as it came; empty when it was too large to fetch.
    pub raw: &'a [u8],
    /// When it arrived, in seconds since 1970.
    pub arrived: i64,
    /// The number of this try, from 1.
    pub attempt: u32,
    /// The id in Mailcow's own `Authentication-Results`; `None`: no such field is believed.
    pub authserv_id: Option<&'a str>,
}

/// A request without its host.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `POST` or `PUT`.
    pub method: &'static str,
    /// The URL.
    pub url: String,
    /// Header fields, without `Authorization` and without signatures.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, url, body, .. } = self;
        write!(f, "{method} {url} with {} bytes", body.len())
    }
}

impl Delivery<'_> {
    /// The request for a sink.
    ///
    /// # Errors
    /// When the URL of the sink can't be used.
    pub fn request(&self, sink: &Sink) -> Result<Request, String> {
        match &sink.kind {
            SinkKind::Webhook(webhook) => Ok(webhook::request(self, webhook, sink.access.max_size)),
            SinkKind::Caldav(caldav) => caldav::request(self, caldav, sink.access.max_size),
        }
    }

    /// The title.
    pub fn title(&self) -> String {
        title::title(self.queue.title.as_deref(), &self.mail.subject, self.mail.sender(), &self.recipient())
    }

    /// The address that the message was sent to: what Postfix wrote, or the mailbox.
    pub fn recipient(&self) -> String {
        let written = ["x-original-to", "delivered-to"].map(|name| self.mail.header(name).trim().to_owned());
        written.into_iter().find(|address| address.contains('@')).unwrap_or_else(|| self.mailbox.to_string())
    }

    /// The results of Mailcow's own checks: method and result. Only the topmost field counts, and only with
    /// Mailcow's id: the sender could have written any other.
    pub fn authentication(&self) -> Vec<(String, String)> {
        let first = self.mail.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authentication-results"));
        let (Some((_, value)), Some(id)) = (first, self.authserv_id) else { return Vec::new() };
        let mut pieces = value.split(';');
        let by = pieces.next().unwrap_or_default().split_whitespace().next().unwrap_or_default();
        if !by.eq_ignore_ascii_case(id) {
            return Vec::new();
        }
        let mut results: Vec<(String, String)> = Vec::new();
        for piece in pieces {
            let Some((method, rest)) = piece.trim().split_once('=') else { continue };
            let result = rest.split([' ', '(']).next().unwrap_or_default();
            let (method, result) = (method.trim().to_ascii_lowercase(), result.trim().to_ascii_lowercase());
            if ["spf", "dkim", "dmarc", "arc"].contains(&method.as_str()) && !results.iter().any(|(m, _)| *m == method)
            {
                results.push((method, result));
            }
        }
        results
    }

    /// What a person has to know about a message that is not complete here.
    fn note(&self, omitted: &[String]) -> Option<String> {
        let incomplete = self.mail.incomplete.as_ref().map(|why| format!("This message is not complete here: {why}."));
        let files = (!omitted.is_empty())
            .then(|| format!("Files that were too large and stay in the mailbox: {}.", omitted.join(", ")));
        let parts: Vec<String> = [incomplete, files].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

#[cfg(test)]
mod tests;
