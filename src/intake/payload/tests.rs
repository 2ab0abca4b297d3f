use serde_json::Value;

use super::*;
use crate::intake::mime;
use crate::intake::queue::{Limits, QueueKind, Replay};
use crate::intake::rule_ref::RuleRef;
use crate::intake::sink::{Access, Caldav, Webhook};

const RAW: &str = "Return-Path: <ada@example.com>\r\nX-Original-To: bugs+web@acme.test\r\n\
Authentication-Results: mail.acme.test; spf=pass (x) smtp.mailfrom=a; dkim=fail; dkim=pass; dmarc=none; foo=bar\r\n\
Authentication-Results: mail.acme.test; spf=fail\r\nFrom: Ada <ada@example.com>\r\nTo: Bugs <bugs+web@acme.test>\r\n\
Subject: It breaks\r\nMessage-ID: <1@example.com>\r\nDate: Sat, 28 Nov 2026 12:00:00 +0100\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b\r\nContent-Type: application/pdf\r\n\
Content-Disposition: attachment; filename=a.pdf\r\n\r\nPDF\r\n--b--\r\n";

fn queue(kind: QueueKind) -> QueueFolder {
    let rule = RuleRef { uid: "u".into(), namespace: "team".into(), name: "bugs".into() };
    QueueFolder {
        folder: kind.folder("team/bugs", "tracker"),
        kind,
        sink: "tracker".into(),
        rule,
        title: Some("Bug: {subject}".into()),
        labels: vec!["mail".into(), "a,b".into()],
        automatic: false,
        limits: Limits::default(),
        keep_done: None,
        replay: Replay::default(),
    }
}

fn with<T>(raw: &str, kind: QueueKind, then: impl FnOnce(&Delivery<'_>) -> T) -> T {
    let mailbox = Address::parse("dev@acme.test").unwrap();
    let queue = queue(kind);
    let identity = Identity::of(&mailbox, &queue.folder, "guid", &queue.rule);
    let mail = mime::read(raw.as_bytes());
    then(&Delivery {
        identity: &identity,
        mailbox: &mailbox,
        queue: &queue,
        mail: &mail,
        raw: raw.as_bytes(),
        arrived: 1_795_863_600,
        attempt: 2,
        authserv_id: Some("mail.acme.test"),
    })
}

fn webhook(max_size: usize, raw_email: bool) -> Sink {
    let webhook = Webhook { url: "https://t.example/hook".into(), signing_secrets: vec![], raw_email };
    let access = Access { max_size, ..Access::default() };
    Sink { name: "tracker".into(), kind: SinkKind::Webhook(webhook), access }
}

fn json(delivery: &Delivery<'_>, sink: &Sink) -> Value {
    serde_json::from_slice(&delivery.request(sink).unwrap().body).unwrap()
}

#[test]
fn a_webhook_gets_postmarks_fields_and_one_object() {
    with(RAW, QueueKind::Task, |delivery| {
        let json = json(delivery, &webhook(1_000_000, false));
        for (path, value) in [
            ("/From", "ada@example.com"),
            ("/FromName", "Ada"),
            ("/FromFull/Email", "ada@example.com"),
            ("/ToFull/0/MailboxHash", "web"),
            ("/OriginalRecipient", "bugs+web@acme.test"),
            ("/MailboxHash", "web"),
            ("/Subject", "It breaks"),
            ("/MessageID", delivery.identity.as_str()),
            ("/Date", "Sat, 28 Nov 2026 12:00:00 +0100"),
            ("/TextBody", "Hello"),
            ("/HtmlBody", ""),
            ("/Headers/0/Name", "Return-Path"),
            ("/Attachments/0/Name", "a.pdf"),
            ("/Attachments/0/Content", "UERG"),
            ("/Kubernetes/rule", "bugs"),
            ("/Kubernetes/namespace", "team"),
            ("/Kubernetes/action", "createTask"),
            ("/Kubernetes/title", "Bug: It breaks"),
            ("/Kubernetes/labels/0", "mail"),
            ("/Kubernetes/authentication/spf", "pass"),
            ("/Kubernetes/authentication/dkim", "fail"),
        ] {
            assert_eq!(json.pointer(path), Some(&Value::from(value)), "{path}");
        }
        assert_eq!(
            (json["Attachments"][0]["ContentLength"].clone(), json["Kubernetes"]["attempt"].clone()),
            (3.into(), 2.into())
        );
        assert!(json.get("RawEmail").is_none() && json["Kubernetes"]["authentication"].get("foo").is_none());
    });
}

#[test]
fn results_of_another_checker_are_not_believed() {
    let forged = RAW.replacen("mail.acme.test", "mail.evil.test", 1);
    with(&forged, QueueKind::Task, |delivery| assert_eq!(delivery.authentication(), []));
}

#[test]
fn a_large_message_loses_what_is_largest_and_says_so() {
    let raw = RAW.replace("PDF", &"PDF ".repeat(100_000));
    with(&raw, QueueKind::Task, |delivery| {
        let all = json(delivery, &webhook(10_000_000, true));
        assert!(
            all["RawEmail"].as_str().unwrap().contains("PDF PDF") && all["Attachments"].as_array().unwrap().len() == 1
        );
        let less = json(delivery, &webhook(600_000, true));
        assert!(less.get("RawEmail").is_none() && less["Attachments"].as_array().unwrap().len() == 1);
        let body = delivery.request(&webhook(10_000, true)).unwrap().body;
        assert!(body.len() <= 10_000);
        let least: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(least["Kubernetes"]["omittedFiles"], serde_json::json!(["a.pdf"]));
        assert!(least["TextBody"].as_str().unwrap().contains("a.pdf"));
    });
}

#[test]
fn a_date_that_cannot_be_read_is_that_of_the_arrival() {
    let raw = RAW.replace("Sat, 28 Nov 2026 12:00:00 +0100", "yesterday");
    with(&raw, QueueKind::Task, |delivery| {
        assert_eq!(json(delivery, &webhook(1_000_000, false))["Date"], "Sat, 28 Nov 2026 11:00:00 +0000");
    });
}

#[test]
fn a_sender_that_cannot_be_read_is_named_as_it_came() {
    with("From: \"jo doe\"@example.net\r\n\r\nx", QueueKind::Task, |delivery| {
        let json = json(delivery, &webhook(1_000_000, false));
        assert_eq!(
            (json["FromFull"]["Email"].clone(), json["From"].clone()),
            ("".into(), "\"jo doe\"@example.net".into())
        );
        assert_eq!(json["OriginalRecipient"], "dev@acme.test");
    });
}

fn caldav(url: &str) -> Sink {
    let caldav = Caldav { url: url.into(), inline_attachments: 100 };
    Sink { name: "calendar".into(), kind: SinkKind::Caldav(caldav), access: Access::default() }
}

#[test]
fn caldav_gets_a_task_that_must_not_be_there_yet() {
    with(RAW, QueueKind::Task, |delivery| {
        let request = delivery.request(&caldav("https://dav.example/tasks/")).unwrap();
        assert_eq!(request.url, format!("https://dav.example/tasks/{}.ics", delivery.identity.as_str()));
        assert!(request.method == "PUT" && request.headers.contains(&("if-none-match", "*".to_owned())));
        let text = String::from_utf8(request.body).unwrap().replace("\r\n ", "");
        for line in [
            "BEGIN:VTODO",
            "SUMMARY:Bug: It breaks",
            "CATEGORIES:mail,a\\,b",
            "STATUS:NEEDS-ACTION",
            "DTSTAMP:20261128T110000Z",
            "ATTACH;FMTTYPE=application/pdf;ENCODING=BASE64;VALUE=BINARY;FILENAME=\"a.pdf\";X-FILENAME=\"a.pdf\":UERG",
        ] {
            assert!(text.split("\r\n").any(|known| known == line), "{line} in\n{text}");
        }
        assert!(text.contains("\\n\\nHello"), "{text}");
    });
}

#[test]
fn a_note_is_a_journal_and_a_large_file_is_named() {
    let raw = RAW.replace("PDF", &"PDF".repeat(100));
    with(&raw, QueueKind::Note, |delivery| {
        let request = delivery.request(&caldav("https://dav.example/notes")).unwrap();
        let text = String::from_utf8(request.body).unwrap().replace("\r\n ", "");
        assert!(
            text.contains("BEGIN:VJOURNAL") && !text.contains("ATTACH") && text.contains("stay in the mailbox: a.pdf")
        );
    });
    with(RAW, QueueKind::Note, |delivery| assert!(delivery.request(&caldav("https://dav.example/?x")).is_err()));
}

#[test]
fn a_request_shows_no_content() {
    with(RAW, QueueKind::Task, |delivery| {
        let request = delivery.request(&webhook(1_000_000, false)).unwrap();
        assert!(format!("{request:?}").starts_with("POST https://t.example/hook with "));
    });
}
