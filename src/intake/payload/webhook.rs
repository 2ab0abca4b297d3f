//! The body of a webhook: Postmark's inbound JSON, that many tools read, and one object more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use k8s_openapi::jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Delivery, Request};
use crate::intake::mime::{File, Person};
use crate::intake::queue::QueueKind;
use crate::intake::sink::Webhook;

/// The shortest text that is left when a body has to become smaller, in bytes.
const SHORTEST_TEXT: usize = 16 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inbound<'a> {
    from_name: &'a str,
    message_stream: &'static str,
    from: &'a str,
    from_full: Full<'a>,
    to: &'a str,
    to_full: Vec<Full<'a>>,
    cc: &'a str,
    cc_full: Vec<Full<'a>>,
    bcc: &'a str,
    bcc_full: Vec<Full<'a>>,
    original_recipient: String,
    subject: &'a str,
    #[serde(rename = "MessageID")]
    message_id: &'a str,
    reply_to: &'a str,
    mailbox_hash: String,
    date: String,
    text_body: String,
    html_body: &'a str,
    stripped_text_reply: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_email: Option<String>,
    tag: &'static str,
    headers: Vec<Header<'a>>,
    attachments: Vec<Attachment<'a>>,
    kubernetes: Kubernetes<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Full<'a> {
    email: &'a str,
    name: &'a str,
    mailbox_hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment<'a> {
    name: &'a str,
    content: String,
    content_type: &'a str,
    content_length: usize,
    #[serde(rename = "ContentID", skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubernetes<'a> {
    rule: &'a str,
    namespace: &'a str,
    action: &'static str,
    mailbox: String,
    title: String,
    labels: &'a [String],
    attempt: u32,
    #[serde(skip_serializing_if = "Map::is_empty")]
    authentication: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    omitted_files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<&'a str>,
}

/// The request. A body over `max_size` goes without the raw message, then without its largest files, its HTML and the
/// end of its text; the message stays in the mailbox.
pub(super) fn request(delivery: &Delivery<'_>, webhook: &Webhook, max_size: usize) -> Request {
    let mut shape = Shape::of(delivery, webhook.raw_email);
    let mut body = shape.body(delivery);
    while body.len() > max_size && shape.shrink(delivery, body.len() - max_size) {
        body = shape.body(delivery);
    }
    let headers = vec![("content-type", "application/json".to_owned())];
    Request { method: "POST", url: webhook.url.clone(), headers, body }
}

/// What goes along.
struct Shape<'a> {
    raw: bool,
    html: bool,
    text: usize,
    headers: usize,
    files: Vec<&'a File>,
    omitted: Vec<String>,
}

impl<'a> Shape<'a> {
    fn of(delivery: &Delivery<'a>, raw: bool) -> Self {
        Self {
            raw: raw && !delivery.raw.is_empty(),
            html: true,
            text: delivery.mail.text.len(),
            headers: delivery.mail.headers.len(),
            files: delivery.mail.files.iter().collect(),
            omitted: Vec::new(),
        }
    }

    /// Leaves something out; false when nothing is left to leave out.
    fn shrink(&mut self, delivery: &Delivery<'_>, over: usize) -> bool {
        if self.raw {
            self.raw = false;
        } else if let Some(largest) = self.largest_for(over) {
            self.omitted.push(self.files.remove(largest).name.clone());
        } else if self.html && delivery.mail.html.is_some() {
            self.html = false;
        } else if self.text > SHORTEST_TEXT {
            self.text = SHORTEST_TEXT;
        } else if self.headers > 20 {
            self.headers = 20;
        } else {
            return false;
        }
        true
    }

    /// The smallest file that makes the body small enough, or the largest.
    fn largest_for(&self, over: usize) -> Option<usize> {
        let size = |file: &File| file.content.len() / 3 * 4;
        let sizes = || self.files.iter().enumerate().map(|(i, file)| (size(file), i));
        sizes().filter(|(size, _)| *size >= over).min().or_else(|| sizes().max()).map(|(_, i)| i)
    }

    fn body(&self, delivery: &Delivery<'a>) -> Vec<u8> {
        let mail = delivery.mail;
        let text = &mail.text[..mail.text.floor_char_boundary(self.text)];
        let text_body = match delivery.note(&self.omitted) {
            Some(note) if text.is_empty() => note,
            Some(note) => format!("{text}\n\n{note}"),
            None => text.to_owned(),
        };
        let sender = mail.from.first();
        let recipient = delivery.recipient();
        let results = delivery.authentication().into_iter().map(|(method, result)| (method, Value::String(result)));
        let inbound = Inbound {
            from_name: sender.map(|sender| sender.name.as_str()).unwrap_or_default(),
            message_stream: "inbound",
            from: mail.sender(),
            from_full: sender.map_or_else(|| unread(mail.header("from")), full),
            to: mail.header("to"),
            to_full: mail.to.iter().map(full).collect(),
            cc: mail.header("cc"),
            cc_full: mail.cc.iter().map(full).collect(),
            bcc: mail.header("bcc"),
            bcc_full: mail.bcc.iter().map(full).collect(),
            mailbox_hash: hash(&recipient),
            original_recipient: recipient,
            subject: &mail.subject,
            message_id: delivery.identity.as_str(),
            reply_to: mail.header("reply-to"),
            date: date(delivery),
            text_body,
            html_body: mail.html.as_deref().filter(|_| self.html).unwrap_or_default(),
            stripped_text_reply: &mail.reply[..mail.reply.floor_char_boundary(self.text)],
            raw_email: self.raw.then(|| String::from_utf8_lossy(delivery.raw).into_owned()),
            tag: "",
            headers: mail.headers.iter().take(self.headers).map(|(name, value)| Header { name, value }).collect(),
            attachments: self.files.iter().map(|file| attachment(file)).collect(),
            kubernetes: Kubernetes {
                rule: &delivery.queue.rule.name,
                namespace: &delivery.queue.rule.namespace,
                action: match delivery.queue.kind {
                    QueueKind::Task => "createTask",
                    QueueKind::Note => "createNote",
                },
                mailbox: delivery.mailbox.to_string(),
                title: delivery.title(),
                labels: &delivery.queue.labels,
                attempt: delivery.attempt,
                authentication: results.collect(),
                omitted_files: self.omitted.clone(),
                incomplete: mail.incomplete.as_deref(),
            },
        };
        // A value of strings and numbers alone is always JSON.
        serde_json::to_vec(&inbound).unwrap_or_default()
    }
}

fn full(person: &Person) -> Full<'_> {
    Full { email: &person.email, name: &person.name, mailbox_hash: hash(&person.email) }
}

/// A sender that can't be read: the field as it came stands for the name.
fn unread(field: &str) -> Full<'_> {
    Full { email: "", name: field, mailbox_hash: String::new() }
}

/// What is behind the plus sign of an address.
fn hash(address: &str) -> String {
    let local = address.rsplit_once('@').map(|(local, _)| local).unwrap_or_default();
    local.split_once('+').map(|(_, tag)| tag.to_owned()).unwrap_or_default()
}

fn attachment(file: &File) -> Attachment<'_> {
    Attachment {
        name: &file.name,
        content: STANDARD.encode(&file.content),
        content_type: &file.content_type,
        content_length: file.content.len(),
        content_id: file.content_id.as_deref(),
    }
}

/// The date as the sender wrote it, or that of the arrival.
fn date(delivery: &Delivery<'_>) -> String {
    if delivery.mail.date.is_some() {
        return delivery.mail.header("date").to_owned();
    }
    let arrived = Timestamp::from_second(delivery.arrived).unwrap_or_default().to_zoned(TimeZone::UTC);
    rfc2822::to_string(&arrived).unwrap_or_default()
}
