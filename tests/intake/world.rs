//! A worker in the test's process, and what a test wants to know of the mailboxes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailcow_operator::intake::breaker::Pauses;
use mailcow_operator::intake::imap::{Endpoint, Session};
use mailcow_operator::intake::queue::{
    ImapServer, ImapTls, Limits, MailboxQueues, Options, QueueFolder, QueueKind, Replay, Work,
};
use mailcow_operator::intake::report::{EventReason, Report, RuleEvent};
use mailcow_operator::intake::rule_ref::RuleRef;
use mailcow_operator::intake::sink::{Access, Sink, SinkKind, Webhook};
use mailcow_operator::intake::state::Waits;
use mailcow_operator::mail::Address;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The longest that a test waits for something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Options by which a test does not wait for minutes.
pub(crate) fn options() -> Options {
    Options {
        connections: 50,
        scan_interval: Duration::from_secs(1),
        imap_timeout: Duration::from_secs(10),
        sink_timeout: Duration::from_secs(2),
        waits: Waits([1; 10]),
        pauses: Pauses { shortest: 1, longest: 2 },
    }
}

/// A webhook.
pub(crate) fn webhook(name: &str, url: &str) -> Arc<Sink> {
    let webhook = Webhook { url: url.into(), signing_secrets: vec![SECRET.into()], raw_email: false };
    let access = Access { allow_private: true, ..Access::default() };
    Arc::new(Sink { name: name.into(), kind: SinkKind::Webhook(webhook), access })
}

/// A signing secret.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A queue folder of the rule `team/<rule>`.
pub(crate) fn queue(rule: &str, sink: &str) -> QueueFolder {
    QueueFolder {
        folder: QueueKind::Task.folder(&format!("team/{rule}"), sink),
        kind: QueueKind::Task,
        sink: sink.into(),
        rule: RuleRef { uid: format!("uid-{rule}"), namespace: "team".into(), name: rule.into() },
        title: None,
        labels: vec![],
        automatic: false,
        limits: Limits { per_sender_and_hour: 1_000_000, per_hour: 1_000_000, tries: 10 },
        keep_done: None,
        replay: Replay::default(),
    }
}

/// A server without TLS on this machine.
pub(crate) fn plain_server(port: u16) -> Arc<ImapServer> {
    Arc::new(ImapServer { host: "127.0.0.1".into(), port, tls: ImapTls::Plaintext, ca: vec![] })
}

/// A mailbox.
pub(crate) fn mailbox(user: &str, port: u16, folders: Vec<QueueFolder>) -> MailboxQueues {
    MailboxQueues {
        address: Address::parse(user).unwrap(),
        server: plain_server(port),
        login: user.into(),
        password: "secret".into(),
        folders,
        authserv_id: None,
    }
}

/// The work of mailboxes and sinks.
pub(crate) fn work(mailboxes: Vec<MailboxQueues>, sinks: Vec<Arc<Sink>>) -> Work {
    Work { mailboxes, sinks: sinks.into_iter().map(|sink| (sink.name.clone(), sink)).collect(), ..Work::default() }
}

/// A running worker.
pub(crate) struct Worker {
    work: watch::Sender<Arc<Work>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    reports: mpsc::Receiver<Report>,
    /// All reports so far.
    pub(crate) seen: Vec<Report>,
}

impl Worker {
    /// Starts one.
    pub(crate) fn start(work: Work, options: Options) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, receiver) = watch::channel(Arc::new(work));
        let (reports, incoming) = mpsc::channel(100_000);
        let stop = CancellationToken::new();
        let task = tokio::spawn(mailcow_operator::intake::run(receiver, reports, options, stop.clone()));
        Self { work: sender, stop, task, reports: incoming, seen: Vec::new() }
    }

    /// Changes the work.
    pub(crate) fn set(&self, work: Work) {
        self.work.send_replace(Arc::new(work));
    }

    /// All reports so far.
    pub(crate) fn reports(&mut self) -> &[Report] {
        while let Ok(report) = self.reports.try_recv() {
            self.seen.push(report);
        }
        &self.seen
    }

    /// Waits for the next report.
    pub(crate) async fn next(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// The Events so far.
    pub(crate) fn events(&mut self) -> Vec<RuleEvent> {
        let events = self.reports().iter().filter_map(|report| match report {
            Report::Event(event) => Some(event.clone()),
            _ => None,
        });
        events.collect()
    }

    /// Waits for an Event.
    pub(crate) async fn event(&mut self, reason: EventReason) -> RuleEvent {
        let since = Instant::now();
        loop {
            if let Some(event) = self.events().into_iter().find(|event| event.reason == reason) {
                return event;
            }
            assert!(since.elapsed() < PATIENCE, "no event {reason:?}: {:#?}", self.seen);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it politely; gives all its reports.
    pub(crate) async fn stop(mut self) -> Vec<Report> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, &mut self.task).await.unwrap().unwrap();
        self.reports().to_vec()
    }

    /// Ends it at once: nothing that runs comes to an end.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// A session of a person.
pub(crate) async fn session(user: &str, port: u16) -> Session {
    let endpoint = Endpoint::new(plain_server(port)).unwrap();
    Session::open(&endpoint, user, &"secret".into(), Duration::from_secs(20)).await.unwrap()
}

/// Messages in folders, by the name behind the queue folder's; the queue itself is `""`.
pub(crate) async fn folders(user: &str, port: u16, queue: &str) -> BTreeMap<&'static str, u32> {
    let mut session = session(user, port).await;
    let mut counts = BTreeMap::new();
    for below in ["", "Done", "Failed", "Skipped"] {
        let name = if below.is_empty() { queue.to_owned() } else { format!("{queue}/{below}") };
        let count = session.counts(&name).await.unwrap().unwrap_or_default().messages;
        if count > 0 {
            counts.insert(below, count);
        }
    }
    session.close().await;
    counts
}

/// A message.
pub(crate) fn message(subject: &str) -> Vec<u8> {
    format!(
        "From: Ada <ada@example.com>\nTo: dev@acme.test\nSubject: {subject}\nMessage-ID: <{subject}@example.com>\n\
         Date: Sat, 28 Nov 2026 12:00:00 +0100\n\nHello from {subject}\n"
    )
    .into_bytes()
}
