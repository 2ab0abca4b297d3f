//! The worker of one mailbox: one connection, on which it scans, claims, fetches and moves, while deliveries run beside
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connection, Connections};
use super::delivery::Notice;
use super::folder::Folder;
use super::sinks::Outlets;
use crate::clock;
use crate::intake::imap::{Endpoint, Error, Idle, Session};
use crate::intake::queue::{MailboxQueues, Options};
use crate::intake::report::{EventReason, Failure, Report, RuleEvent, ScanReport};

/// Waits after failures, each twice as long as the one before.
struct Backoff {
    first: Duration,
    longest: Duration,
}

/// After a failed connection.
const RECONNECT: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(2) };
/// After a refused login: servers ban addresses that try wrong passwords often.
const LOGIN: Backoff = Backoff { first: Duration::from_mins(1), longest: Duration::from_mins(30) };
/// How much longer than a request to a sink may take the worker waits for the last ones when it ends.
pub(super) const LAST_DELIVERIES: Duration = Duration::from_secs(2);
/// How long the worker waits for the end of a delivery before it starts to idle.
const SOON: Duration = Duration::from_millis(250);
/// How far apart deliveries may end that are moved together.
const TOGETHER: Duration = Duration::from_millis(2);

/// What all mailboxes share.
pub(super) struct Shared {
    /// Options.
    pub(super) options: Options,
    /// The sinks.
    pub(super) outlets: Outlets,
    /// The connections.
    pub(super) connections: Connections,
    /// The deliveries that run.
    pub(super) deliveries: TaskTracker,
    /// Where reports go.
    pub(super) reports: mpsc::Sender<Report>,
    /// Ends the worker.
    pub(super) stop: CancellationToken,
}

/// The worker of a mailbox.
pub(super) struct Mailbox {
    pub(super) shared: Arc<Shared>,
    pub(super) queues: Arc<MailboxQueues>,
    pub(super) folders: BTreeMap<String, Folder>,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    news: watch::Receiver<Arc<MailboxQueues>>,
    inbox: mpsc::UnboundedReceiver<Notice>,
    pub(super) last_mail: Option<Instant>,
    failures: u32,
    stopping: Option<Instant>,
    /// The server refused to work on a folder in this session; another session may see the folder right.
    pub(super) is_refused: bool,
    /// When a session was last ended for that.
    renewed: Option<Instant>,
    /// When folders are looked for that are not in the work.
    pub(super) next_orphans: Instant,
}

/// Why a session ended without an error.
enum End {
    /// The connection goes to another mailbox.
    Yielded,
    /// The login changed.
    LoginChanged,
    /// Another session may see a folder that this one can't work on.
    Renewed,
    /// The worker ends, or the mailbox has no queue folder any more.
    Stopped,
}

impl Mailbox {
    /// A worker that follows the configuration.
    pub(super) fn new(shared: Arc<Shared>, mut news: watch::Receiver<Arc<MailboxQueues>>) -> Self {
        let (notices, inbox) = mpsc::unbounded_channel();
        let queues = Arc::clone(&news.borrow_and_update());
        Self {
            shared,
            queues,
            folders: BTreeMap::new(),
            notices,
            news,
            inbox,
            last_mail: None,
            failures: 0,
            stopping: None,
            is_refused: false,
            renewed: None,
            next_orphans: Instant::now(),
        }
    }

    /// Works until the worker ends or the mailbox is gone from the configuration.
    pub(super) async fn run(mut self, mut endpoint: Endpoint) {
        self.configure();
        while !self.is_over() {
            let stop = self.shared.stop.clone();
            let connection = tokio::select! {
                connection = self.shared.connections.acquire() => connection,
                () = stop.cancelled() => return,
            };
            let Some(connection) = connection else { return };
            let ended = self.session(&endpoint, &connection).await;
            drop(connection);
            for folder in self.folders.values_mut() {
                folder.place = None;
            }
            let wait = match ended {
                Ok(End::Stopped) => return,
                Ok(End::LoginChanged) => Duration::ZERO,
                Ok(End::Renewed) => RECONNECT.first,
                Ok(End::Yielded) => self.shared.options.scan_interval,
                Err(error) => {
                    self.failures += 1;
                    let wait = backoff(&error, self.failures, &self.queues);
                    self.report_failure(&error).await;
                    wait
                }
            };
            if !self.pause(wait).await {
                return;
            }
            if endpoint.server != self.queues.server {
                match Endpoint::new(Arc::clone(&self.queues.server)) {
                    Ok(new) => endpoint = new,
                    Err(error) => self.report_failure(&error).await,
                }
            }
        }
    }

    /// Waits without a connection. A new configuration ends the wait. False when the worker ends.
    async fn pause(&mut self, wait: Duration) -> bool {
        let stop = self.shared.stop.clone();
        tokio::select! {
            () = sleep(wait) => true,
            () = stop.cancelled() => false,
            changed = self.news.changed() => {
                if changed.is_ok() {
                    self.configure();
                }
                changed.is_ok()
            }
        }
    }

    /// Whether the worker ends, or the mailbox is gone from the configuration.
    pub(super) fn is_over(&self) -> bool {
        self.shared.stop.is_cancelled() || self.news.has_changed().is_err()
    }

    /// Takes over the newest configuration. True when it needs another session.
    fn configure(&mut self) -> bool {
        let queues = Arc::clone(&self.news.borrow_and_update());
        let is_other_login = !self.queues.has_same_login(&queues);
        self.queues = Arc::clone(&queues);
        if is_other_login {
            self.failures = 0;
        }
        for folder in self.folders.values_mut() {
            folder.configured = false;
        }
        for queue in &queues.folders {
            let folder = self.folders.entry(queue.folder.clone()).or_insert_with(|| Folder::new(queue.clone()));
            folder.configure(queue.clone());
            // The sink may have changed too.
            folder.blocked_until = 0;
            folder.place = None;
        }
        self.next_orphans = Instant::now();
        self.folders.retain(|_, folder| folder.configured || !folder.running.is_empty() || folder.has_moves());
        is_other_login
    }

    /// Sends an Event for a folder's rule, if it is news.
    pub(super) async fn event(&mut self, folder: &str, reason: EventReason, message: String) {
        let Some(state) = self.folders.get_mut(folder) else { return };
        if !state.is_news(reason, &message) {
            return;
        }
        let rule = state.queue.rule.clone();
        let warning = !matches!(reason, EventReason::Replayed | EventReason::AutomaticMailSkipped);
        self.report(Report::Event(RuleEvent { rule, mailbox: self.queues.address.clone(), warning, reason, message }))
            .await;
    }

    pub(super) async fn report(&self, report: Report) {
        // Without a receiver the process ends.
        let _ = self.shared.reports.send(report).await;
    }

    async fn report_failure(&mut self, error: &Error) {
        let reason = match error {
            Error::Unreachable(_) => EventReason::MailboxUnreachable,
            Error::Certificate(_) => EventReason::CertificateRejected,
            Error::Login(_) => EventReason::LoginRejected,
            Error::Refused { .. } | Error::Protocol(_) | Error::Stale(_) => EventReason::MailboxRefused,
            Error::Unsupported(_) | Error::Invalid(_) => EventReason::MailboxUnsupported,
        };
        let message = error.to_string();
        tracing::warn!(mailbox = %self.queues.address, reason = reason.as_str(), error = message, "a scan failed");
        let failure = Some(Failure { reason, message: message.clone() });
        self.report(Report::Scan(ScanReport { mailbox: self.queues.address.clone(), at: clock::now(), failure })).await;
        // A single broken connection is no event.
        if !matches!(error, Error::Unreachable(_) | Error::Stale(_)) || self.failures >= 3 {
            let folders: Vec<String> = self.folders.keys().cloned().collect();
            for folder in folders {
                self.event(&folder, reason, format!("{}: {message}", self.queues.address)).await;
            }
        }
    }

    /// One session, from the login to its end.
    async fn session(&mut self, endpoint: &Endpoint, connection: &Connection) -> Result<End, Error> {
        let limit = self.shared.options.imap_timeout;
        let mut session = Session::open(endpoint, &self.queues.login, &self.queues.password, limit).await?;
        let mut notified: Vec<String> = Vec::new();
        for folder in self.folders.values_mut() {
            folder.next_scan = Instant::now();
        }
        loop {
            self.take_notices().await;
            if self.news.has_changed().unwrap_or(false) && self.configure() {
                session.close().await;
                return Ok(End::LoginChanged);
            }
            if self.is_ending() {
                self.settle(&mut session).await?;
                if self.shared.stop.is_cancelled() {
                    self.report_last(&mut session).await?;
                }
                session.close().await;
                return Ok(End::Stopped);
            }
            self.settle(&mut session).await?;
            let scanned = self.scan(&mut session).await?;
            session.judge()?;
            if scanned {
                self.failures = 0;
                let names: Vec<String> = self.queues.folders.iter().map(|queue| queue.folder.clone()).collect();
                if names != notified {
                    session.notify(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
                    notified = names;
                }
            }
            let started = self.start(&mut session).await?;
            session.judge()?;
            let changed = session.take_changed();
            for name in &changed {
                if let Some(folder) = self.folders.get_mut(name) {
                    folder.changed = true;
                }
            }
            if started || !changed.is_empty() || self.folders.values().any(Folder::has_moves) {
                continue;
            }
            let running = self.folders.values().any(|folder| !folder.running.is_empty());
            if !running && self.should_renew() {
                session.close().await;
                return Ok(End::Renewed);
            }
            if !running && self.shared.connections.should_yield(connection, self.last_mail) {
                session.close().await;
                return Ok(End::Yielded);
            }
            self.wait(&mut session, running).await?;
        }
    }

    /// Whether to open another session for a folder that this one can't work on: at most once in a scan interval, so
    /// that a folder that is always refused holds up no other.
    fn should_renew(&mut self) -> bool {
        let is_early = self.renewed.is_some_and(|at| at.elapsed() < self.shared.options.scan_interval);
        let should = std::mem::take(&mut self.is_refused) && !is_early;
        if should {
            self.renewed = Some(Instant::now());
        }
        should
    }

    /// Whether the worker ends and nothing is left to wait for.
    fn is_ending(&mut self) -> bool {
        if !self.is_over() {
            return false;
        }
        let since = *self.stopping.get_or_insert_with(Instant::now);
        let running = self.folders.values().any(|folder| !folder.running.is_empty());
        !running || since.elapsed() >= self.shared.options.sink_timeout + LAST_DELIVERIES
    }

    /// Waits for anything: the end of a delivery, news from the server, another configuration, or the next scan.
    async fn wait(&mut self, session: &mut Session, running: bool) -> Result<(), Error> {
        if running && let Ok(Some(notice)) = timeout(SOON, self.inbox.recv()).await {
            self.take(notice).await;
            // Others that end now are moved in the same commands.
            while let Ok(Some(notice)) = timeout(TOGETHER, self.inbox.recv()).await {
                self.take(notice).await;
            }
            return Ok(());
        }
        let until = self.next_time();
        if session.selected().is_none()
            && let Some(first) = self.queues.folders.first().map(|queue| queue.folder.clone())
        {
            // A folder that is gone is made again by the next scan.
            if let Err(error) = session.select(&first).await
                && error.ends_session()
            {
                return Err(error);
            }
        }
        session.start_idle().await?;
        let stop = self.shared.stop.clone();
        let is_stopping = self.stopping.is_some();
        let waited = tokio::select! {
            news = session.news(until) => Some(news?),
            notice = self.inbox.recv() => {
                if let Some(notice) = notice {
                    self.take(notice).await;
                }
                None
            }
            _ = self.news.changed(), if !is_stopping => {
                self.news.mark_changed();
                None
            }
            () = stop.cancelled(), if !is_stopping => None,
            () = sleep_until(until) => None,
        };
        if let Some(Idle::Changed(folder)) = waited
            && let Some(folder) = self.folders.get_mut(&folder)
        {
            folder.changed = true;
        }
        session.stop_idle().await
    }

    /// When something is due without news.
    fn next_time(&self) -> Instant {
        let now = Instant::now();
        let seconds = clock::now().0.as_second();
        let of = |folder: &Folder| {
            let report = folder.next_report.unwrap_or(folder.next_scan);
            let mut next = folder.next_scan.min(report);
            if !folder.due.is_empty() && folder.place.is_none() {
                let wait = u64::try_from(folder.blocked_until - seconds).unwrap_or(0).max(1);
                next = next.min(now + Duration::from_secs(wait));
            }
            next
        };
        let next = self.folders.values().map(of).min().unwrap_or(now + self.shared.options.scan_interval);
        next.max(now + Duration::from_millis(5))
    }

    async fn take_notices(&mut self) {
        while let Ok(notice) = self.inbox.try_recv() {
            self.take(notice).await;
        }
    }

    async fn take(&mut self, notice: Notice) {
        match notice {
            // The place itself is in the folder's request.
            Notice::PlaceFree => {}
            Notice::Finished(finished) => self.finished(*finished).await,
        }
    }
}

/// How long to wait after an error.
fn backoff(error: &Error, failures: u32, queues: &MailboxQueues) -> Duration {
    let Backoff { first, longest } = match error {
        Error::Login(_) => LOGIN,
        _ => RECONNECT,
    };
    let wait = first.saturating_mul(1 << (failures.saturating_sub(1)).min(10)).min(longest);
    // Mailboxes of one server do not come back in the same moment.
    let address = queues.address.to_string();
    let spread: u32 = address.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 500;
    wait + wait * spread / 1_000
}
