//! The body of a `CalDAV` request: a VTODO or a VJOURNAL (RFC 5545).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;

use super::{Delivery, Request};
use crate::intake::mime::File;
use crate::intake::queue::QueueKind;
use crate::intake::sink::Caldav;

/// The longest description in bytes.
const LONGEST_TEXT: usize = 100 * 1024;
/// The longest line in bytes, without its end (RFC 5545, section 3.1).
const LONGEST_LINE: usize = 75;

/// `PUT` of an object that must not be there yet: a repeat is answered with 412.
///
/// # Errors
/// When the URL has a query or a fragment.
pub(super) fn request(delivery: &Delivery<'_>, caldav: &Caldav, max_size: usize) -> Result<Request, String> {
    if caldav.url.contains(['?', '#']) {
        return Err("its URL has ? or #; write the URL of the collection alone".to_owned());
    }
    let url = format!("{}/{}.ics", caldav.url.trim_end_matches('/'), delivery.identity.as_str());
    let mut room = caldav.inline_attachments.min(max_size.saturating_sub(2 * LONGEST_TEXT) / 4 * 3);
    let mut inline = Vec::new();
    let mut omitted = Vec::new();
    for file in &delivery.mail.files {
        if file.content.len() <= room {
            room -= file.content.len();
            inline.push(file);
        } else {
            omitted.push(file.name.clone());
        }
    }
    let body = object(delivery, &inline, &omitted).into_bytes();
    let headers = vec![("content-type", "text/calendar; charset=utf-8".to_owned()), ("if-none-match", "*".to_owned())];
    Ok(Request { method: "PUT", url, headers, body })
}

fn object(delivery: &Delivery<'_>, inline: &[&File], omitted: &[String]) -> String {
    let component = match delivery.queue.kind {
        QueueKind::Task => "VTODO",
        QueueKind::Note => "VJOURNAL",
    };
    let arrived = Timestamp::from_second(delivery.arrived).unwrap_or_default().to_zoned(TimeZone::UTC);
    let stamp = arrived.strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//mailcow-operator//intake//EN".to_owned(),
        format!("BEGIN:{component}"),
        format!("UID:{}", delivery.identity.global()),
        format!("DTSTAMP:{stamp}"),
        format!("CREATED:{stamp}"),
        format!("SUMMARY:{}", escaped(&delivery.title())),
        format!("DESCRIPTION:{}", escaped(&description(delivery, omitted))),
    ];
    match delivery.queue.kind {
        QueueKind::Task => lines.push("STATUS:NEEDS-ACTION".to_owned()),
        QueueKind::Note => lines.push(format!("DTSTART:{stamp}")),
    }
    if !delivery.queue.labels.is_empty() {
        let labels: Vec<String> = delivery.queue.labels.iter().map(|label| escaped(label)).collect();
        lines.push(format!("CATEGORIES:{}", labels.join(",")));
    }
    lines.extend(inline.iter().map(|file| attachment(file)));
    lines.extend([format!("END:{component}"), "END:VCALENDAR".to_owned()]);
    lines.iter().map(|line| folded(line)).collect()
}

/// Who wrote, and the text.
fn description(delivery: &Delivery<'_>, omitted: &[String]) -> String {
    let mail = delivery.mail;
    let mut text = format!("From: {}\nTo: {}\n", mail.header("from"), delivery.recipient());
    for (name, value) in [("Date", mail.header("date")), ("Subject", mail.subject.as_str())] {
        if !value.is_empty() {
            text.extend([name, ": ", value, "\n"]);
        }
    }
    let kept = mail.text.floor_char_boundary(LONGEST_TEXT);
    text.push('\n');
    text.push_str(&mail.text[..kept]);
    if kept < mail.text.len() {
        text.push_str("\n\nThe text is longer; the rest stays in the mailbox.");
    }
    if let Some(note) = delivery.note(omitted) {
        text.push_str("\n\n");
        text.push_str(&note);
    }
    text
}

/// A file inline. The name goes along in the two parameters that clients read.
fn attachment(file: &File) -> String {
    let name: String = file.name.chars().filter(|c| !c.is_control() && !"\",:;".contains(*c)).collect();
    let is_type = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
    let kind: String = file.content_type.chars().filter(|c| is_type(*c)).collect();
    let kind = if kind.contains('/') { kind } else { "application/octet-stream".to_owned() };
    let content = STANDARD.encode(&file.content);
    format!("ATTACH;FMTTYPE={kind};ENCODING=BASE64;VALUE=BINARY;FILENAME=\"{name}\";X-FILENAME=\"{name}\":{content}")
}

/// A text value (RFC 5545, section 3.3.11). Characters that XML forbids are left out: servers put the object into XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() && c != '\t' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// A line of at most 75 bytes, and the rest behind it.
fn folded(line: &str) -> String {
    let mut folded = String::with_capacity(line.len() + line.len() / 25);
    let mut length = 0;
    for c in line.chars() {
        if length + c.len_utf8() > LONGEST_LINE {
            folded.push_str("\r\n ");
            length = 1;
        }
        folded.push(c);
        length += c.len_utf8();
    }
    folded.push_str("\r\n");
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_folded_between_characters() {
        let long = "é".repeat(100);
        let lines = folded(&long);
        assert!(lines.split("\r\n").all(|line| line.len() <= LONGEST_LINE), "{lines}");
        assert_eq!(lines.replace("\r\n ", "").trim_end(), long);
        assert_eq!(folded("short"), "short\r\n");
    }

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escaped("a;b,c\\d\ne\u{0}\u{b}\tf\r"), "a\\;b\\,c\\\\d\\ne\tf");
    }
}
