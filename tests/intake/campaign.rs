//! Many mails, while everything breaks: two workers that are killed at every kind of command, a Dovecot that is killed,
//! UIDs that get lost, folders that are deleted, sinks that are killed, or take mail and do not confirm it, and hostile
//! mail in between. In the end each mail is one task, or lies in `Failed`.
//!
//! `INTAKE_MAILS=10000` sets the number of mails, `INTAKE_SEED` the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ground::{Deed, HttpSink, Received};

use super::dovecot::{self, Dovecot};
use super::facts::Raw;
use super::process::{Process, Task};
use super::proxy::{Fault, Proxy};

const USERS: [&str; 3] = ["dev@acme.test", "ops@acme.test", "web@acme.test"];
const RULES: [(&str, &str); 2] = [("bugs", "tracker"), ("orders", "board")];

/// A number of the environment.
pub(crate) fn number(name: &str, default: usize) -> usize {
    let text = std::env::var_os(name).and_then(|text| text.into_string().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A small generator: the same seed gives the same faults.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

/// What the workers do at a command: each kind of command gets each kind of fault.
struct Plan {
    seen: std::sync::Mutex<BTreeMap<String, usize>>,
    struck: std::sync::Mutex<BTreeMap<(String, String), usize>>,
    every: usize,
    off: AtomicBool,
}

impl Plan {
    fn fault(&self, text: &str) -> Fault {
        let words: Vec<&str> = text.split_whitespace().skip(1).collect();
        let command = match words.as_slice() {
            ["UID", verb, ..] => format!(
                "UID {verb}{}",
                if text.contains("$IntakeTry") {
                    " claim"
                } else if text.contains("$IntakeDelivered") {
                    " mark"
                } else if text.contains("HEADER") {
                    " header"
                } else if text.contains("BODY") {
                    " body"
                } else {
                    ""
                }
            ),
            [verb, ..] => (*verb).to_owned(),
            [] => return Fault::None,
        };
        if self.off.load(Ordering::Relaxed) {
            return Fault::None;
        }
        let mut seen = self.seen.lock().unwrap();
        let count = seen.entry(command.clone()).or_default();
        *count += 1;
        // Commands of a delivery break often, those of each session seldom.
        let every = if command.starts_with("UID") { self.every } else { self.every * 4 };
        if !count.is_multiple_of(every) {
            return Fault::None;
        }
        let fault = [Fault::CutBefore, Fault::CutAfter, Fault::KillBefore, Fault::KillAfter][(*count / every) % 4];
        *self.struck.lock().unwrap().entry((command, format!("{fault:?}"))).or_default() += 1;
        fault
    }
}

/// The sink's deed: it depends on the id and on how often it came, so that each mail is taken in the end.
fn deed(received: &Received, before: usize) -> Deed {
    let id = received.id();
    let hash = id.bytes().fold(0_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
    if hash.is_multiple_of(97) {
        return Deed::Refuse(422, "");
    }
    if before > 0 && !hash.is_multiple_of(3) || before > 2 {
        return Deed::Take(200);
    }
    match (hash >> 8) % 20 {
        0 => Deed::TakeLate(Duration::from_secs(4)),
        1 => Deed::TakeAndCut,
        2 => Deed::TakeAndBabble,
        3 => Deed::Refuse(500, ""),
        4 => Deed::Refuse(429, "retry-after: 1\r\n"),
        5 => Deed::Cut,
        6 => Deed::Refuse(302, "location: http://169.254.169.254/latest/meta-data\r\n"),
        7 if hash.is_multiple_of(11) => Deed::Hang,
        8 => Deed::Take(503),
        9 => Deed::Take(204),
        _ => Deed::Take(200),
    }
}

/// A mail; some are hostile. Each has its own subject, but for those that have none that can be read.
fn mail(number: usize, dice: &mut Dice) -> Vec<u8> {
    let head = |more: &str| format!("From: Ada <ada{}@example.com>\nSubject: t{number}\n{more}", number % 50);
    let text = match dice.roll(12) {
        0 => head("Message-ID: <same@example.com>\n\nthe same id\n"),
        1 => head("\nno id\n"),
        2 => {
            let level = |i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n");
            let deep = (0..80).map(level).collect::<Vec<_>>().concat();
            head(&deep)
        }
        3 => head(&format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(1_500))),
        4 => head(&format!("Content-Type: text/html\n\n{}", "<div><table><tr><td>".repeat(1_000))),
        5 => head(
            "Content-Type: multipart/mixed; boundary=\"\n\n--\n--\nContent-Transfer-Encoding: base64\n\n====!!!!\n",
        ),
        6 => head(&format!("Content-Type: text/plain; charset=utf-7\n\n{}", "+ADw-".repeat(2_000))),
        7 => head("X: {99999}\nY: * 1 FETCH (UID 1)\n\nm1 OK done\n* 5 EXISTS\n) X-GUID fake)\n{3}\n"),
        8 => head(&format!(
            "Content-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\n{}",
            "QUJD\n".repeat(20_000)
        )),
        9 => head(&format!("{}\nx\n", "X-Long: y\n".repeat(3_000))),
        _ => head(&format!("Message-ID: <{number}@example.com>\nDate: Sat, 28 Nov 2026 12:00:00 +0100\n\nplain\n")),
    };
    let mut bytes = text.into_bytes();
    if dice.roll(10) == 0 {
        bytes.extend(
            (0..2_000)
                .map(|_| u8::try_from(dice.roll(256)).unwrap())
                .map(|b| if b == 0 || b == b'\r' { b'x' } else { b }),
        );
    }
    bytes
}

/// Files of the messages of a folder on disk.
fn files(folder: &Path) -> impl Iterator<Item = std::io::Result<std::fs::DirEntry>> {
    let parts = ["cur", "new"].map(|part| std::fs::read_dir(folder.join(part)));
    parts.into_iter().flat_map(|part| part.into_iter().flatten())
}

/// Subjects of the messages of a folder on disk.
fn subjects(folder: &Path) -> Vec<String> {
    let subject = |entry: std::io::Result<std::fs::DirEntry>| {
        let bytes = std::fs::read(entry.ok()?.path()).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().find(|line| line.starts_with("Subject: "))?;
        Some(line["Subject: ".len()..].to_owned())
    };
    files(folder).filter_map(subject).collect()
}

fn queue_path(server: &Dovecot, user: &str, rule: &str, sink: &str, below: &str) -> std::path::PathBuf {
    server.maildir(user).join(format!(".Ops.Tasks.team.{rule}@{sink}{below}"))
}

/// More mail is delivered only while fewer copies than this wait, and fewer than a tenth of all mails.
const BACKLOG: usize = 400;

/// A person deletes a folder that is empty, if it is. The next mail makes it again.
async fn delete_if_empty(server: &Dovecot, user: &str, folder: &str) -> bool {
    let mut person = Raw::open(server, user).await;
    let counts = person.send(&format!("STATUS \"{folder}\" (MESSAGES)")).await;
    counts.contains("(MESSAGES 0)") && person.send(&format!("DELETE \"{folder}\"")).await.contains("x OK")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_mail_becomes_one_task_whatever_breaks() {
    campaign(number("INTAKE_MAILS", 120)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
#[ignore = "it takes an hour: make campaign"]
async fn each_of_ten_thousand_mails_becomes_one_task() {
    campaign(number("INTAKE_MAILS", 10_000)).await;
}

#[expect(clippy::too_many_lines, reason = "it reads as it runs: prepare, deliver while all breaks, count")]
async fn campaign(mails: usize) {
    if !dovecot::is_there() {
        return;
    }
    let mut dice = Dice(number("INTAKE_SEED", 17) as u64);
    let mut server = Dovecot::start();
    let mut sinks = [HttpSink::start().await.unwrap(), HttpSink::start().await.unwrap()];
    for sink in &sinks {
        sink.judge(deed);
        sink.keep_little();
    }
    let folders: Vec<String> = RULES.iter().map(|(rule, sink)| format!("Ops/Tasks/team/{rule}@{sink}")).collect();
    for user in USERS {
        server.add_mailbox(user, &folders.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let plan = Arc::new(Plan {
        seen: std::sync::Mutex::default(),
        struck: std::sync::Mutex::default(),
        every: number("INTAKE_EVERY", 11),
        off: AtomicBool::new(false),
    });
    let mut processes = Vec::new();
    for name in ["a", "b"] {
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("intake-campaign-{name}.log"));
        let process = Process::new(log);
        let (faults, killed) = (Arc::clone(&plan), process.clone());
        let proxy = Proxy::start(server.port, move |_, text| faults.fault(text), move || killed.kill()).await;
        let task = Task {
            port: proxy.port,
            users: USERS.map(str::to_owned).to_vec(),
            rules: RULES
                .iter()
                .zip(&sinks)
                .map(|((rule, name), sink)| ((*rule).into(), (*name).into(), sink.url()))
                .collect(),
            connections: 10,
            scan_seconds: 1,
        };
        processes.push((process, proxy, task));
    }
    let since = Instant::now();
    let delivered = Arc::new(AtomicUsize::new(0));
    let mut sent: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut crashes, mut lost_uids, mut sink_crashes, mut deleted_folders) = (0, 0, 0, 0);
    // On a busy machine it takes longer: only a standstill is a failure. Faults end when most of the mail is through.
    let (mut progress, mut last_progress) = ((0, 0), Instant::now());
    let mut calm_since: Option<Instant> = None;
    loop {
        for (process, _, task) in &processes {
            process.ensure(task);
        }
        let done = delivered.load(Ordering::Relaxed);
        let queues = USERS.iter().flat_map(|user| RULES.iter().map(move |(rule, sink)| (user, rule, sink)));
        let waiting: usize =
            queues.map(|(user, rule, sink)| files(&queue_path(&server, user, rule, sink, "")).count()).sum();
        // One user at a time gets no mail, so that the folders become empty and can be deleted.
        let idle = done * 6 / mails % USERS.len();
        if done < mails && waiting < (mails / 10).clamp(20, BACKLOG) {
            let mut lmtp = server.lmtp();
            for number in done..(done + 20).min(mails) {
                let user = USERS[(idle + 1 + dice.roll(USERS.len() - 1)) % USERS.len()];
                lmtp.deliver("ada@example.com", &[user], &mail(number, &mut dice)).unwrap();
                sent.entry(user).or_default().push(format!("t{number}"));
                delivered.fetch_add(1, Ordering::Relaxed);
            }
            // The server dies a few times, and loses the UIDs of a folder a few times.
            if dice.roll(mails.div_ceil(200).max(2)) == 0 {
                server.crash();
                crashes += 1;
            }
            if dice.roll(mails.div_ceil(200).max(2)) == 0 {
                let (rule, sink) = RULES[dice.roll(RULES.len())];
                let folder = queue_path(&server, USERS[dice.roll(USERS.len())], rule, sink, "");
                let files = ["dovecot-uidlist", "dovecot.index", "dovecot.index.log", "dovecot.index.cache"];
                lost_uids += usize::from(
                    files.iter().filter(|file| std::fs::remove_file(folder.join(file)).is_ok()).count() > 0,
                );
            }
            if dice.roll(mails.div_ceil(200).max(2)) == 0 {
                let away = Duration::from_millis(u64::try_from(dice.roll(1_500)).unwrap());
                sinks[dice.roll(RULES.len())].crash(away).await;
                sink_crashes += 1;
            }
        }
        if done < mails && dice.roll(3) == 0 {
            let folder = &folders[dice.roll(folders.len())];
            deleted_folders += usize::from(delete_if_empty(&server, USERS[idle], folder).await);
        }
        if done >= mails && waiting == 0 {
            // Nothing moves any more.
            if calm_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(2) {
                break;
            }
        } else {
            calm_since = None;
        }
        if done >= mails && waiting <= mails * RULES.len() / 10 {
            plan.off.store(true, Ordering::Relaxed);
        }
        if progress != (done, waiting) {
            (progress, last_progress) = ((done, waiting), Instant::now());
        }
        let is_stuck = last_progress.elapsed() > Duration::from_mins(3);
        assert!(!is_stuck, "{waiting} still wait\n{}", last_logs(&processes));
        tokio::time::sleep(Duration::from_millis(if done < mails { 150 } else { 300 })).await;
    }
    let took = since.elapsed();
    let kills: usize = processes.iter().map(|(process, ..)| process.kills()).sum();
    let logs: String = processes.iter().map(|(process, ..)| process.log()).collect();
    for (process, ..) in &processes {
        process.kill();
    }
    let (mut lost, mut doubled, mut copies) = (Vec::new(), Vec::new(), 0);
    let (mut failed_count, mut done_count, mut requests, mut silent) = (0, 0, 0, 0);
    let events: BTreeSet<(&str, &str)> = logs.lines().filter_map(failure).collect();
    for (i, (rule, name)) in RULES.iter().enumerate() {
        let received = sinks[i].received();
        requests += received.len();
        let mut tasks: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for one in received.iter().filter(|one| one.taken) {
            let mailbox = one.json()["Kubernetes"]["mailbox"].as_str().unwrap().to_owned();
            tasks.entry((mailbox, one.subject())).or_default().insert(one.id().to_owned());
        }
        for (user, subjects_sent) in &sent {
            let done = subjects(&queue_path(&server, user, rule, name, ".Done"));
            let failed = subjects(&queue_path(&server, user, rule, name, ".Failed"));
            done_count += done.len();
            failed_count += failed.len();
            for subject in subjects_sent {
                let made = tasks.get(&((*user).to_owned(), subject.clone())).map_or(0, BTreeSet::len);
                let (in_done, in_failed) = (count(&done, subject), count(&failed, subject));
                silent += usize::from(in_failed > 0 && !events.contains(&(*user, subject.as_str())));
                // A server that is killed between the two halves of a move leaves the message in both folders; the one that
                // is left in the queue is delivered with the same id, and moved again.
                copies += in_done.saturating_sub(1) + in_failed.saturating_sub(1);
                if in_done.min(1) + in_failed.min(1) != 1 || (in_done > 0 && made == 0) {
                    lost.push(format!("{user} {rule} {subject}: done {in_done}, failed {in_failed}, tasks {made}"));
                }
                if made > 1 {
                    doubled.push(format!("{user} {rule} {subject}: {made} tasks"));
                }
            }
        }
    }
    let panics = logs.matches("panicked at").count();
    // A message whose last try ended the worker has an event without its subject.
    let nameless = logs.matches("tries; the last one did not end").count();
    let struck = plan.struck.lock().unwrap().clone();
    super::measure::report(&format!(
        "campaign: {mails} mails in {} folders each, {took:.0?}: {done_count} done, {failed_count} failed, {} lost, {} doubled, \
         {copies} second copies in Done or Failed, {panics} panics, {requests} requests, {silent} failures whose event was not seen, {nameless} events without a \
         subject; the workers were killed {kills} times, Dovecot {crashes} times, the sinks {sink_crashes} times; UIDs lost {lost_uids} times, \
         folders deleted {deleted_folders} times; {} kinds of faults at commands, {} in all",
        RULES.len(),
        lost.len(),
        doubled.len(),
        struck.len(),
        struck.values().sum::<usize>(),
    ));
    if mails > 1_000 {
        println!("{struck:#?}");
    }
    assert!(
        lost.is_empty() && doubled.is_empty() && panics == 0,
        "lost {lost:#?}\ndoubled {doubled:#?}\npanics {panics}"
    );
    assert_eq!(done_count + failed_count - copies, mails * RULES.len());
    // One that is killed leaves a copy of each message of the moves that it was at.
    assert!(copies == 0 || crashes > 0, "only a server that was killed leaves copies");
    // A worker that is killed between its report and the test's reading of it.
    assert!(silent <= nameless + kills, "each failure is an event: {silent} are not");
    assert!(kills > 0);
}

/// The mailbox and the subject of an event of a failure.
fn failure(line: &str) -> Option<(&str, &str)> {
    // The test harness writes the name of the test before the first line.
    let (mailbox, rest) = line.split_once("event DeliveryFailed: ")?.1.split_once(": \"")?;
    Some((mailbox, rest.split_once('"')?.0))
}

fn last_logs(processes: &[(Process, Proxy, Task)]) -> String {
    let logs: String = processes.iter().map(|(process, ..)| process.log()).collect();
    let lines: Vec<&str> = logs.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn count(all: &[String], subject: &str) -> usize {
    all.iter().filter(|known| *known == subject).count()
}
