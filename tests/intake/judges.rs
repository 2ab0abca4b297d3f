//! Receivers that nobody here wrote: `CalDAV` servers, libraries that verify signatures, and one that reads Postmark's
//! JSON.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ground::{HttpSink, Received};
use mailcow_operator::intake::queue::{QueueFolder, QueueKind};
use mailcow_operator::intake::sink::{Access, Authorization, Caldav, Sink, SinkKind, Webhook};

use super::dovecot::{self, Dovecot, free_port};
use super::world::{Worker, folders, mailbox, message, options, queue, until, work};

const USER: &str = "dev@acme.test";

/// The folder with the judges; `None`, and a word, when they are not installed.
fn installed() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/intake/judges/build.sh");
    let output = Command::new(script).arg("--ready").output().unwrap();
    if !output.status.success() {
        assert!(std::env::var_os("CI").is_none(), "run tests/intake/judges/build.sh");
        println!("skipped: run tests/intake/judges/build.sh");
        return None;
    }
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}

/// Python with the judges' libraries.
pub(crate) fn python() -> Option<PathBuf> {
    installed().map(|folder| folder.join("bin/python"))
}

/// A request that the worker really sent, with these signing secrets.
async fn sent(secrets: &[&str], raw: &[u8]) -> Received {
    let server = Dovecot::start();
    let folder = queue("bugs", "tracker");
    server.add_mailbox(USER, &[&folder.folder]);
    let sink = HttpSink::start().await.unwrap();
    let webhook = Webhook {
        url: sink.url(),
        signing_secrets: secrets.iter().map(|secret| (*secret).into()).collect(),
        raw_email: true,
    };
    let access = Access { allow_private: true, ..Access::default() };
    let outlet = Sink { name: "tracker".into(), kind: SinkKind::Webhook(webhook), access };
    let worker = Worker::start(work(vec![mailbox(USER, server.port, vec![folder])], vec![outlet.into()]), options());
    server.deliver("ada@example.com", &[USER], raw);
    until("the request", async || sink.count() == 1).await;
    worker.stop().await;
    sink.received().remove(0)
}

/// Runs a judge with a JSON document on its standard input.
fn judged(mut command: Command, input: &serde_json::Value) -> String {
    use std::io::Write as _;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test]
async fn the_official_libraries_verify_our_signature_also_while_a_key_is_replaced() {
    let (true, Some(folder)) = (dovecot::is_there(), installed()) else { return };
    let received = sent(&[NEW, OLD], &message("signed")).await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/intake/judges");
    for secret in [OLD, NEW] {
        let good = serde_json::json!({
            "secret": secret, "headers": received.headers, "body": String::from_utf8(received.body.clone()).unwrap(),
        });
        let mut bad = good.clone();
        bad["body"] = format!("{} ", good["body"].as_str().unwrap()).into();
        let mut other = good.clone();
        other["secret"] = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB".into();
        for (input, verdict) in [(&good, "verified"), (&bad, "refused"), (&other, "refused")] {
            let mut python = Command::new(folder.join("bin/python"));
            python.arg(here.join("verify.py"));
            assert_eq!(judged(python, input).trim(), verdict, "Python");
            let mut node = Command::new("node");
            node.arg(here.join("verify.js")).env("NODE_PATH", folder.join("node_modules"));
            assert_eq!(judged(node, input).trim(), verdict, "Node");
        }
    }
}

#[tokio::test]
async fn a_library_for_postmark_reads_our_json() {
    let (true, Some(folder)) = (dovecot::is_there(), installed()) else { return };
    let raw = "From: =?utf-8?Q?=C3=84da?= <ada@example.com>\nTo: Dev <dev@acme.test>, bob@example.net\nCc: c@example.net\n\
               Subject: =?utf-8?Q?H=C3=A9?=\nMessage-ID: <1@example.com>\nDate: Sat, 28 Nov 2026 12:00:00 +0100\n\
               Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\n\
               plain\n--c\nContent-Type: text/html\n\n<p>rich<img src=\"cid:p@q\"></p>\n--c--\n--b\nContent-Type: image/gif; \
               name=p.gif\nContent-ID: <p@q>\nContent-Disposition: inline\nContent-Transfer-Encoding: base64\n\nR0lG\n--b\n\
               Content-Type: application/pdf\nContent-Disposition: attachment; filename*=UTF-8''%C3%A4.pdf\n\nPDF\n--b--\n";
    let received = sent(&[OLD], raw.as_bytes()).await;
    let mut python = Command::new(folder.join("bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/intake/judges/postmark.py"));
    let read: serde_json::Value = serde_json::from_str(&judged(python, &received.json())).unwrap();
    assert_eq!(
        read,
        serde_json::json!({
            "event_id": received.json()["MessageID"],
            "from": "Äda <ada@example.com>",
            "to": ["Dev <dev@acme.test>", "bob@example.net"],
            "cc": ["c@example.net"],
            "subject": "Hé",
            "text": "plain",
            "html": "<p>rich<img src=\"cid:p@q\"></p>",
            "date": "2026-11-28T12:00:00+01:00",
            "message_id": "<1@example.com>",
            "envelope_recipient": "dev@acme.test",
            "attachments": [["ä.pdf", "application/pdf", "UERG"]],
            "inline": [["p@q", "image/gif", "R0lG"]],
        })
    );
}

/// A server of `CalDAV`; it ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn answers(port: u16) {
    let since = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(since.elapsed() < Duration::from_mins(1), "the server does not start");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The worker makes a task and a note in a collection; a repeat after a crash makes no second one.
async fn makes_tasks_and_notes(name: &str, collection: &str, authorization: Authorization) {
    let server = Dovecot::start();
    let task = queue("bugs", "calendar");
    let note =
        QueueFolder { folder: QueueKind::Note.folder("team/bugs", "calendar"), kind: QueueKind::Note, ..task.clone() };
    let note = QueueFolder { labels: vec!["mail".into(), "with, comma".into()], ..note };
    server.add_mailbox(USER, &[&task.folder, &note.folder]);
    let caldav = Caldav { url: collection.to_owned(), inline_attachments: 10_000 };
    let access = Access { allow_private: true, authorization, ..Access::default() };
    let sink = Sink { name: "calendar".into(), kind: SinkKind::Caldav(caldav), access };
    let work = work(vec![mailbox(USER, server.port, vec![task.clone(), note.clone()])], vec![sink.into()]);
    let raw = "From: Ada <ada@example.com>\nTo: dev@acme.test\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe;_1,2?=\nContent-Type: \
               multipart/mixed; boundary=b\n\n--b\n\nHello; there, \\ all\n--b\nContent-Type: text/x-log; name=\"a b.log\"\n\
               Content-Disposition: attachment\n\nlog\n--b--\n";
    server.deliver("ada@example.com", &[USER], raw.as_bytes());
    let worker = Worker::start(work.clone(), options());
    let is_done = async |folder: &QueueFolder| {
        folders(USER, server.port, &folder.folder).await == std::collections::BTreeMap::from([("Done", 1)])
    };
    until(&format!("{name} takes them"), async || is_done(&task).await && is_done(&note).await).await;
    worker.stop().await;
    // A crash before the move: both are in the queue again, with their ids.
    for folder in [&task, &note] {
        let mut person = super::world::session(USER, server.port).await;
        person.select(&format!("{}/Done", folder.folder)).await.unwrap();
        let uids = person.search(None).await.unwrap();
        person.remove_keywords(&uids, &mailcow_operator::intake::state::keywords()).await.unwrap();
        person.move_to(&uids, &folder.folder).await.unwrap();
    }
    let worker = Worker::start(work, options());
    until(&format!("{name} knows them already"), async || is_done(&task).await && is_done(&note).await).await;
    worker.stop().await;
}

#[tokio::test]
async fn radicale_keeps_our_tasks_and_notes_once() {
    let (true, Some(folder)) = (dovecot::is_there(), installed()) else { return };
    let port = free_port();
    let home = std::env::temp_dir().join(format!("intake-radicale-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("users"), "dev:secret\n").unwrap();
    let mut command = Command::new(folder.join("bin/python"));
    command.args(["-m", "radicale", "--hosts", &format!("127.0.0.1:{port}"), "--auth-type", "htpasswd"]);
    command.arg("--auth-htpasswd-filename").arg(home.join("users")).args(["--auth-htpasswd-encryption", "plain"]);
    command.arg("--storage-filesystem-folder").arg(home.join("data")).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(command.spawn().unwrap());
    answers(port).await;
    let collection = format!("http://127.0.0.1:{port}/dev/mail/");
    curl(&["-u", "dev:secret", "-X", "MKCALENDAR", &collection]);
    let authorization = Authorization::Basic { user: "dev".into(), password: "secret".into() };
    makes_tasks_and_notes("Radicale", &collection, authorization).await;
    let all = curl(&["-u", "dev:secret", &collection]).replace("\r\n ", "");
    assert_eq!((all.matches("BEGIN:VTODO").count(), all.matches("BEGIN:VJOURNAL").count()), (1, 1), "{all}");
    assert!(all.contains("SUMMARY:Grüße\\; 1\\,2") && all.contains("Hello\\; there\\, \\\\ all"), "{all}");
    assert!(all.contains("bG9n") && all.contains("with\\, comma"), "{all}");
    let _ = std::fs::remove_dir_all(home);
}

#[tokio::test]
async fn xandikos_keeps_our_tasks_and_notes_once() {
    let (true, Some(folder)) = (dovecot::is_there(), installed()) else { return };
    let port = free_port();
    let home = std::env::temp_dir().join(format!("intake-xandikos-{}", std::process::id()));
    let mut command = Command::new(folder.join("bin/xandikos"));
    command.args(["serve", "-l", "127.0.0.1", "-p", &port.to_string(), "--defaults", "--autocreate", "-d"]).arg(&home);
    command.args(["--current-user-principal", "/dev/"]).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(command.spawn().unwrap());
    answers(port).await;
    let collection = format!("http://127.0.0.1:{port}/dev/calendars/calendar/");
    makes_tasks_and_notes("Xandikos", &collection, Authorization::None).await;
    let report = r#"<?xml version="1.0"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"/></c:filter></c:calendar-query>"#;
    let all = curl(&["-X", "REPORT", "-H", "Depth: 1", "-H", "Content-Type: text/xml", "-d", report, &collection]);
    let all = all.replace("&#13;\n ", "").replace("\r\n ", "").replace("\n ", "");
    assert_eq!((all.matches("BEGIN:VTODO").count(), all.matches("BEGIN:VJOURNAL").count()), (1, 1), "{all}");
    assert!(all.contains("SUMMARY:Grüße\\; 1\\,2"), "{all}");
    let _ = std::fs::remove_dir_all(home);
}
