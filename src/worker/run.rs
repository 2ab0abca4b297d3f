//! Starts the worker and stops it: Lease, watches, the intake, reports, the health server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kube::{Api, Resource};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::metrics::WorkerMetrics;
use super::reports::{Reports, RuleReplay, orphaned};
use super::secrets::{self, Resolved};
use super::work::{Assembled, ImapAddress, MailboxReplay, Objects, Settings, assemble};
use crate::certificates;
use crate::config::IntakeSettings;
use crate::controller::shutdown;
use crate::crd::{DeliveredStatus, EmailForwardingRule, EmailMailbox};
use crate::intake::queue::{Options, Work};
use crate::intake::report::{EventReason, OrphanedFolder, Report};
use crate::kubernetes::app_passwords::AppPasswords;
use crate::kubernetes::served::ServedDefinitions;
use crate::kubernetes::stores::{self, Watched};
use crate::kubernetes::writer::{Part, Writer};
use crate::leader::{Election, Leading, Terms};
use crate::mail::Address;
use crate::mail::rule::QueueKind;
use crate::sinks_file;
use crate::startup::{self, Connection};
use crate::status::Occurrence;
use crate::telemetry::{self, Metrics};

/// What became of a rule's copies, in its status.
const DELIVERED: Part = Part { field: "delivered", manager: "mailcow-operator-intake" };
/// The handled replay request, in the status of a rule or a mailbox.
const REPLAYED: Part = Part { field: "lastHandledReplay", manager: "mailcow-operator-intake-replay" };
/// How long changes are collected before the work is made anew.
const COLLECT: Duration = Duration::from_millis(300);
/// Time between two tries to list the Secrets with app passwords.
const UNREADABLE: Duration = Duration::from_secs(10);
/// How often statuses are written.
const WRITE: Duration = Duration::from_secs(2);
/// The same event of a rule is published at most once in this time.
const REPEAT: Duration = Duration::from_mins(1);
/// Reports that may wait.
const REPORTS: usize = 1024;
/// Why the worker could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As for every process.
    #[error(transparent)]
    Start(#[from] startup::Error),
    /// Another instance may work now.
    #[error("this instance is no longer the leader: {0}; it restarts on standby")]
    NotLeading(String),
    /// The intake ended.
    #[error("the intake stopped")]
    Stopped,
}

/// Runs the worker until SIGTERM or Ctrl-C.
///
/// # Errors
/// When something that is needed at the start is missing.
pub async fn run(mut settings: IntakeSettings) -> Result<(), Error> {
    let servers = servers(&settings)?;
    let namespaces = &mut settings.watch_namespaces;
    let connection =
        startup::connect::<EmailForwardingRule>("worker", settings.kubeconfig.as_deref(), namespaces).await?;
    let Connection { kube, unguarded, permit, last_answer, inaccessible } = connection;
    let (metrics, ready) = (WorkerMetrics::default(), Arc::new(AtomicBool::new(false)));
    let readiness = startup::readiness(&ready, last_answer, settings.lease_duration);
    if let Some(address) = settings.health_listen {
        telemetry::serve_probes(address, readiness.clone())
            .map_err(|error| startup::Error::Listen { address, error })?;
    }
    let text = metrics.clone();
    let mut server = tokio::spawn(telemetry::serve_text(settings.listen, move || text.text(), readiness));
    let sinks = sinks_file::follow(settings.sinks_file.clone()).map_err(startup::Error::Sinks)?;
    let ending = shutdown::listen(inaccessible);
    let leading = metrics.clone();
    let leading: Leading = Arc::new(move |yes| leading.leading(yes));
    let (leader, lease) = (settings.leader(), vec![settings.lease_name.clone()]);
    let election = Election::new(&unguarded, &settings.operator_namespace, &leader, lease, &permit, &leading);
    let mut terms = Terms::default();
    tokio::select! {
        // A standby is ready: it could work at any time.
        won = election.won(&mut terms, || ready.store(true, Ordering::Relaxed)) => won.map_err(Error::NotLeading)?,
        () = shutdown::requested(ending.clone()) => return Ok(()),
        ended = &mut server => return Ok(startup::server_ended(settings.listen, ended)?),
    }
    let definitions = Arc::new(ServedDefinitions::new(kube.clone(), Metrics::default()));
    definitions.read().await;
    let worker = Worker::start(&kube, &settings, servers, sinks, &definitions, metrics);
    let ended = tokio::select! {
        () = worker.work(&settings, &ready, ending.clone()) => {
            if *ending.borrow() { Ok(()) } else { Err(Error::Stopped) }
        }
        () = definitions.follow() => Err(Error::Stopped),
        why = terms.lost() => return Err(Error::NotLeading(why)),
        ended = &mut server => startup::server_ended(settings.listen, ended).map_err(Error::from),
    };
    // Another instance may start at once: no delivery runs any more.
    terms.resign().await;
    ended
}

fn servers(settings: &IntakeSettings) -> Result<Settings, startup::Error> {
    let read = |path: &std::path::PathBuf| -> Result<Vec<u8>, startup::Error> {
        let bad = |why: String| startup::Error::Config(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        certificates::read(&text).map_err(bad)?;
        Ok(text.into_bytes())
    };
    Ok(Settings {
        servers: settings
            .imap
            .iter()
            .map(|imap| (imap.server.clone(), ImapAddress { host: imap.host.clone(), port: imap.port }))
            .collect(),
        tls: settings.imap_tls.into(),
        ca: settings.imap_ca_file.as_ref().map(read).transpose()?.unwrap_or_default(),
        keep_done: settings.keep_done,
        serve: settings.serve.iter().cloned().collect(),
    })
}

/// What the worker has; only handles.
struct Worker {
    rules: Watched<EmailForwardingRule>,
    mailboxes: Watched<EmailMailbox>,
    app_passwords: AppPasswords,
    /// `None` until they were read for the first time.
    sinks: watch::Receiver<Option<Arc<Resolved>>>,
    servers: Settings,
    writer: Writer,
    metrics: WorkerMetrics,
    /// What is to be done, and what was reported.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    made: Arc<Assembled>,
    reports: Reports,
    /// When an event of a rule was last published.
    published: HashMap<(String, EventReason), Instant>,
    /// What was last published of folders that no rule names.
    orphans: HashMap<(Address, String), OrphanedFolder>,
}

impl Worker {
    fn start(
        kube: &kube::Client,
        settings: &IntakeSettings,
        servers: Settings,
        sinks: watch::Receiver<Arc<crate::mail::Sinks>>,
        definitions: &Arc<ServedDefinitions>,
        metrics: WorkerMetrics,
    ) -> Self {
        let secrets = || Api::namespaced(kube.clone(), &settings.operator_namespace);
        let (sender, resolved) = watch::channel(None);
        tokio::spawn(secrets::follow(secrets(), sinks, sender));
        Self {
            rules: stores::watch(stores::in_namespaces(kube, &settings.watch_namespaces)),
            mailboxes: stores::watch(stores::in_namespaces(kube, &settings.watch_namespaces)),
            app_passwords: AppPasswords::follow(secrets(), &settings.app_password_secret),
            sinks: resolved,
            servers,
            writer: Writer::new(kube.clone(), definitions.clone()),
            metrics,
            state: Arc::default(),
        }
    }

    /// Works until the process must stop.
    async fn work(&self, settings: &IntakeSettings, ready: &AtomicBool, ending: watch::Receiver<bool>) {
        self.rules.ready().await;
        self.mailboxes.ready().await;
        while self.app_passwords.ready().await.is_err() {
            tokio::time::sleep(UNREADABLE).await; // the watches log why
        }
        let mut sinks = self.sinks.clone();
        // An error only says that the process ends.
        let _ = sinks.wait_for(Option::is_some).await.map(drop);
        ready.store(true, Ordering::Relaxed);
        tracing::info!("ready");
        let state = self.state.clone();
        self.metrics.compute_figures_with(move || {
            state.lock().unwrap_or_else(PoisonError::into_inner).reports.figures(&crate::clock::now())
        });
        let (work, given) = watch::channel(Arc::new(Work::default()));
        let (reports, mut reported) = mpsc::channel(REPORTS);
        let options =
            Options { connections: settings.connections, scan_interval: settings.scan_interval, ..Options::default() };
        let stop = CancellationToken::new();
        let asked = async {
            shutdown::requested(ending).await;
            stop.cancel();
            std::future::pending::<()>().await;
        };
        // Deliveries that run come to their end.
        tokio::select! {
            () = self.follow(&work) => {}
            () = self.collect(&mut reported) => {}
            () = self.write_statuses() => {}
            () = crate::intake::run(given, reports, options, stop.clone()) => {}
            () = asked => {}
        }
        // The last reports of the intake, which has ended.
        self.collect(&mut reported).await;
        self.write_due().await;
    }

    /// Makes the work anew whenever something changed that it is made from.
    async fn follow(&self, work: &watch::Sender<Arc<Work>>) {
        let rules = self.rules.subscribe(|_| Some(()));
        let mailboxes = self.mailboxes.subscribe(|_| Some(()));
        let entries = self.app_passwords.changes().subscribe().map(|_| ());
        let sinks =
            stream::unfold(
                self.sinks.clone(),
                |mut sinks| async move { sinks.changed().await.ok().map(|()| ((), sinks)) },
            );
        let objects = stream::select(stream::select(rules, mailboxes), stream::select(entries, sinks));
        let mut changes = std::pin::pin!(objects);
        let mut last = None;
        loop {
            let made = Arc::new(self.assemble(&self.resolved()));
            let now = (made.work.mailboxes.len(), made.work.sinks.len());
            if last != Some(now) {
                last = Some(now);
                tracing::info!(mailboxes = now.0, sinks = now.1, "mailboxes with queue folders, and sinks");
            }
            let left = {
                let mut state = self.state();
                state.made = made.clone();
                state.reports.retain(&made, &crate::clock::now())
            };
            // The intake leaves alone what stays the same.
            work.send_replace(Arc::new(made.work.clone()));
            for folder in left {
                let orphan = OrphanedFolder { folder: folder.folder, waiting: folder.waiting, failed: folder.failed };
                self.publish_orphan(&folder.mailbox, &orphan).await;
            }
            if changes.next().await.is_none() {
                return std::future::pending().await;
            }
            tokio::time::sleep(COLLECT).await;
            while futures::FutureExt::now_or_never(changes.next()).flatten().is_some() {}
        }
    }

    fn assemble(&self, resolved: &Resolved) -> Assembled {
        let objects = Objects {
            rules: &self.rules.all().collect::<Vec<_>>(),
            entry: &|uid| self.app_passwords.get(uid),
            sinks: &resolved.sinks,
            usable: &resolved.usable,
            configurations: &resolved.configurations,
            settings: &self.servers,
        };
        assemble(&objects, self.mailboxes.all())
    }

    /// Records reports until there are no more, counts them, and publishes events.
    async fn collect(&self, reported: &mut mpsc::Receiver<Report>) {
        while let Some(report) = reported.recv().await {
            if let Report::Attempt(attempt) = &report {
                self.metrics.attempted(attempt);
            }
            let event = {
                let mut state = self.state();
                state.reports.record(&report);
                state.event(&report, &self.resolved())
            };
            if let Report::Orphaned { mailbox, folders } = &report {
                for orphan in folders {
                    self.publish_orphan(mailbox, orphan).await;
                }
            }
            if let Some((rule, occurrence)) = event {
                self.writer.publish_on(&rule.object_ref(&()), &occurrence.event()).await;
            }
        }
    }

    /// Publishes once that copies lie in a folder that no rule names: on the rule that it was of, or on the mailbox.
    async fn publish_orphan(&self, mailbox: &Address, orphan: &OrphanedFolder) {
        let is_named = |key: &super::work::FolderKey| key.mailbox == *mailbox && key.folder == orphan.folder;
        let is_new = {
            let mut state = self.state();
            let is_named = state.made.rules.iter().flat_map(super::work::RuleQueues::all_folders).any(is_named);
            let key = (mailbox.clone(), orphan.folder.clone());
            !is_named && state.orphans.insert(key, orphan.clone()).as_ref() != Some(orphan)
        };
        let text = mailbox.to_string();
        let is_it = |it: &EmailMailbox| it.status.as_ref().is_some_and(|status| status.address.as_ref() == Some(&text));
        let found = || self.mailboxes.all().find(|mailbox| is_it(mailbox));
        let Some(object) = is_new.then(found).flatten() else { return };
        let is_of = |rule: &EmailForwardingRule| {
            let meta = &rule.metadata;
            let id = format!(
                "{}/{}",
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default()
            );
            meta.namespace == object.metadata.namespace && QueueKind::is_of_rule(&orphan.folder, &id)
        };
        let rule = self.rules.all().find(|rule| is_of(rule));
        let is_worked_on = rule.as_ref().is_some_and(|rule| {
            let state = self.state();
            let of = state.made.rules.iter().find(|it| it.object.metadata.uid == rule.metadata.uid);
            of.is_some_and(|it| it.folders.iter().filter(|key| key.mailbox == *mailbox).count() == 1)
        });
        let message = orphaned(mailbox, orphan, is_worked_on.then_some("rule"));
        let event = Occurrence::Delivery { reason: EventReason::OrphanedCopies, message }.event();
        match rule {
            Some(rule) => self.writer.publish(rule.as_ref(), &event).await,
            None => self.writer.publish(object.as_ref(), &event).await,
        }
    }

    /// Writes the statuses that differ, again and again.
    async fn write_statuses(&self) {
        loop {
            tokio::time::sleep(WRITE).await;
            self.write_due().await;
        }
    }

    /// Writes the statuses that differ now.
    async fn write_due(&self) {
        for (rule, status, replayed) in self.due() {
            let before = self.writer.part(rule.as_ref(), |status| status.delivered.clone());
            let written = self.writer.write_part(rule.as_ref(), DELIVERED, before.as_ref(), status.as_ref()).await;
            log_failure(written, rule.as_ref());
            if let Some(RuleReplay { request, left_out }) = replayed {
                let written = self.writer.write_part(rule.as_ref(), REPLAYED, None, Some(&request)).await;
                if written.is_ok() && !left_out.is_empty() {
                    let message = format!(
                        "the replay did not reach {}, which can't be read now or is paused; what failed there stays in Failed. Set the annotation email.askrobots.com/replay to another value when it can be read",
                        named(&left_out)
                    );
                    let occurrence = Occurrence::Delivery { reason: EventReason::ReplayIncomplete, message };
                    self.writer.publish(rule.as_ref(), &occurrence.event()).await;
                }
                log_failure(written, rule.as_ref());
            }
        }
        for replay in self.replayed_mailboxes() {
            let mailbox = replay.object.as_ref();
            let written = self.writer.write_part(mailbox, REPLAYED, None, Some(&replay.request)).await;
            log_failure(written, mailbox);
        }
    }

    /// The rules with a status that differs, or a replay that is done.
    fn due(&self) -> Vec<(Arc<EmailForwardingRule>, Option<DeliveredStatus>, Option<RuleReplay>)> {
        let resolved = self.resolved();
        let state = self.state();
        let of = |rule: &super::work::RuleQueues| {
            let before = self.writer.part(rule.object.as_ref(), |status| status.delivered.clone());
            let after = state.reports.status(rule, before.as_ref(), &resolved);
            let known = self.writer.part(rule.object.as_ref(), |status| status.last_handled_replay.clone());
            let replayed = state.reports.replayed_rule(rule);
            let replayed = replayed.filter(|replayed| known.as_ref() != Some(&replayed.request));
            (after != before || replayed.is_some()).then(|| (rule.object.clone(), after, replayed))
        };
        state.made.rules.iter().filter_map(of).collect()
    }

    fn replayed_mailboxes(&self) -> Vec<MailboxReplay> {
        let state = self.state();
        let done = state.made.replays.iter().filter(|replay| {
            let known = self.writer.part(replay.object.as_ref(), |status| status.last_handled_replay.clone());
            known.as_ref() != Some(&replay.request) && state.reports.is_mailbox_replayed(replay, &state.made)
        });
        done.cloned().collect()
    }

    /// The sinks as they are now.
    fn resolved(&self) -> Arc<Resolved> {
        self.sinks.borrow().clone().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The event for a report, on its rule. Each message in `Failed` has one; others are published again after a while
    /// only.
    fn event(&mut self, report: &Report, resolved: &Resolved) -> Option<(Arc<EmailForwardingRule>, Occurrence)> {
        let Report::Event(event) = report else { return None };
        let is_of = |rule: &&super::work::RuleQueues| rule.object.metadata.uid.as_ref() == Some(&event.rule.uid);
        let rule = self.made.rules.iter().find(is_of)?;
        let (mut reason, mut message) = (event.reason, event.message.clone());
        let invalid = rule.sinks.iter().find_map(|sink| resolved.invalid.get(sink));
        if let Some(why) = invalid.filter(|_| reason == EventReason::SinkNotFound) {
            // The intake has only sinks that can be used.
            (reason, message) = (EventReason::SinkInvalid, why.clone());
        }
        let now = Instant::now();
        self.published.retain(|_, at| now.duration_since(*at) < REPEAT);
        let key = (event.rule.uid.clone(), reason);
        let is_each_news = matches!(reason, EventReason::DeliveryFailed | EventReason::Replayed);
        if !is_each_news && self.published.contains_key(&key) {
            return None;
        }
        self.published.insert(key, now);
        Some((rule.object.clone(), Occurrence::Delivery { reason, message }))
    }
}

/// The first addresses, and how many more there are.
fn named(addresses: &[Address]) -> String {
    let first: Vec<String> = addresses.iter().take(5).map(ToString::to_string).collect();
    let more = addresses.len() - first.len();
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

fn log_failure(written: Result<(), kube::Error>, object: &impl Resource<DynamicType = ()>) {
    if let Err(error) = written {
        let meta = object.meta();
        tracing::warn!(%error, namespace = meta.namespace, name = meta.name, "a status can't be written; the worker retries");
    }
}
