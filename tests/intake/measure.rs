//! Figures: time from delivery to sink, throughput beside a plain Python loop, and memory with many mailboxes.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ground::HttpSink;

use super::dovecot::{self, Dovecot};
use super::process::{Process, Task};
use super::world::{Worker, mailbox, message, options, queue, webhook, work};

const USER: &str = "dev@acme.test";

/// Prints although the test passes: only what `println!` writes is held back.
pub(crate) fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

/// The loop that people write: no claim, no signature, no retry, no guarantee.
const PYTHON: &str = r#"
import imaplib, json, sys, email, email.policy, base64, resource, time
import requests
port, sink, folder, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
imap = imaplib.IMAP4("127.0.0.1", port)
imap.login("dev@acme.test", "secret")
imap.select('"%s"' % folder)
http = requests.Session()
begin = time.time()
done = 0
for uid in imap.uid("search", None, "ALL")[1][0].split():
    raw = imap.uid("fetch", uid, "(BODY.PEEK[])")[1][0][1]
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    text = mail.get_body(("plain",)).get_content()
    body = {"From": mail["From"], "To": mail["To"], "Subject": mail["Subject"], "Date": str(mail["Date"]), "TextBody": text,
            "Headers": [{"Name": k, "Value": str(v)} for k, v in mail.items()]}
    http.post(sink, json=body).raise_for_status()
    imap.uid("store", uid, "+FLAGS", "(\\Deleted)")
    done += 1
imap.expunge()
usage = resource.getrusage(resource.RUSAGE_SELF)
print(done, time.time() - begin, usage.ru_utime + usage.ru_stime)
"#;

fn cpu_seconds(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn memory_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_mail_is_at_the_sink_in_time() {
    if !dovecot::is_there() {
        return;
    }
    let server = Dovecot::start();
    let first = queue("bugs", "tracker");
    let second = queue("orders", "tracker");
    let sink = HttpSink::start().await.unwrap();
    server.add_mailbox(USER, &[&first.folder]);
    let mut slow = options();
    // Only IDLE may bring the mail.
    slow.scan_interval = Duration::from_mins(10);
    let worker = Worker::start(
        work(
            vec![mailbox(USER, server.port, vec![first.clone(), second.clone()])],
            vec![webhook("tracker", &sink.url())],
        ),
        slow,
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut times = Vec::new();
    for number in 0..40 {
        server.add_mailbox(USER, &[if number % 2 == 0 { &first.folder } else { &second.folder }]);
        let since = Instant::now();
        server.deliver("ada@example.com", &[USER], &message(&format!("m{number}")));
        let before = number;
        while sink.count() == before {
            assert!(since.elapsed() < Duration::from_secs(30), "mail {number} does not come");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(since.elapsed());
    }
    times.sort();
    report(&format!("from delivery to sink by IDLE: median {:?}, slowest of 40 {:?}", times[20], times[39]));
    assert!(times[38] < Duration::from_secs(5), "{times:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn throughput_beside_a_python_loop() {
    if !dovecot::is_there() {
        return;
    }
    let count = super::campaign::number("INTAKE_MAILS", 2_000);
    let python = super::judges::python().expect("the Python libraries are installed");
    let (worker_queue, python_queue) = (queue("bugs", "tracker"), queue("python", "tracker"));
    let server = Dovecot::start();
    let sink = HttpSink::start().await.unwrap();
    server.add_mailbox(USER, &[&worker_queue.folder, &python_queue.folder]);
    let mut lmtp = server.lmtp();
    for number in 0..count {
        lmtp.deliver("ada@example.com", &[USER], &message(&format!("m{number}"))).unwrap();
    }
    let script = std::env::temp_dir().join(format!("intake-loop-{}.py", std::process::id()));
    std::fs::write(&script, PYTHON).unwrap();
    let output = tokio::process::Command::new(python)
        .arg(&script)
        .args([&server.port.to_string(), &sink.url(), &python_queue.folder, &count.to_string()])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(sink.count(), count, "{text} {}", String::from_utf8_lossy(&output.stderr));
    let process = Process::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("intake-throughput.log"));
    let rules = vec![("bugs".to_owned(), "tracker".to_owned(), sink.url())];
    let task = Task { port: server.port, users: vec![USER.into()], rules, connections: 10, scan_seconds: 60 };
    let since = Instant::now();
    process.ensure(&task);
    while sink.count() < 2 * count {
        assert!(since.elapsed() < Duration::from_mins(10), "{}", process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let wall = since.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cpu = cpu_seconds(process.id().unwrap());
    process.kill();
    let per = |seconds: f64| count as f64 / seconds;
    report(&format!(
        "throughput of {count} mails: Python {:.0}/s and {:.0} per CPU second; worker {:.0}/s and {:.0} per CPU second ({:.1} times)",
        per(numbers[1]),
        per(numbers[2]),
        per(wall),
        per(cpu),
        numbers[2] / cpu
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn memory_with_many_mailboxes() {
    if !dovecot::is_there() {
        return;
    }
    let count: usize = super::campaign::number("INTAKE_MAILBOXES", 1_000);
    let server = Dovecot::start();
    let sink = HttpSink::start().await.unwrap();
    let users: Vec<String> = (0..count).map(|number| format!("u{number}@acme.test")).collect();
    for user in &users {
        server.set_password(user, Some("secret"));
    }
    let process = Process::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("intake-memory.log"));
    let rules = vec![("bugs".to_owned(), "tracker".to_owned(), sink.url())];
    let task = Task { port: server.port, users: users.clone(), rules, connections: 200, scan_seconds: 60 };
    process.ensure(&task);
    tokio::time::sleep(Duration::from_secs(90)).await;
    let pid = process.id().unwrap();
    let idle = memory_kib(pid);
    for user in &users {
        server.add_mailbox(user, &[&queue("bugs", "tracker").folder]);
        server.deliver("ada@example.com", &[user], &message(user));
    }
    // Each is looked at once a minute.
    let since = Instant::now();
    while sink.count() < count {
        assert!(since.elapsed() < Duration::from_mins(4), "{} of {count} mails", sink.count());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    report(&format!(
        "{count} mailboxes: {idle} KiB after the first scans, {} KiB after one mail each",
        memory_kib(pid)
    ));
    process.kill();
}
