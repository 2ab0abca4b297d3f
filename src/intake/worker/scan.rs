//! What a mailbox's worker does on its connection: scan, start deliveries, and move what is done.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;
use tokio::time::Instant;

use super::folder::Folder;
use super::mailbox::Mailbox;
use super::start::disabled;
use crate::clock;
use crate::intake::imap::{Error, Listed, Selected, Session};
use crate::intake::queue::Replay;
use crate::intake::report::{EventReason, Failure, FolderReport, OrphanedFolder, Report, ScanReport};
use crate::intake::state::{DELIVERED, keywords};
use crate::mail::rule::QueueKind;

/// Messages that are listed at a time.
const PAGE: u32 = 500;
/// Folders that are not in the work are looked for at every tenth scan, and after each change of the work.
const ORPHANS: u32 = 10;
/// How soon after a change a report follows.
const REPORT_SOON: Duration = Duration::from_secs(2);
/// Time between two looks for old messages in `Done`.
const CLEANUP: Duration = Duration::from_hours(6);

fn seconds() -> i64 {
    clock::now().0.as_second()
}

impl Mailbox {
    /// Scans the folders that are due. True when all were scanned.
    pub(super) async fn scan(&mut self, session: &mut Session) -> Result<bool, Error> {
        let now = Instant::now();
        let is_full = self.folders.values().any(|folder| folder.configured && folder.next_scan <= now);
        if is_full {
            // All together: then there is one time at which the mailbox was scanned.
            for folder in self.folders.values_mut() {
                folder.next_scan = now;
            }
        }
        let due: Vec<String> =
            self.folders.iter().filter(|(_, f)| f.needs_scan(now)).map(|(name, _)| name.clone()).collect();
        for name in &due {
            let scanned = self.scan_folder(session, name).await;
            self.judge(name, scanned).await?;
        }
        let reports: Vec<String> = self
            .folders
            .iter()
            .filter(|(_, f)| f.next_report.is_some_and(|at| at <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &reports {
            let reported = self.report_folder(session, name).await;
            self.judge(name, reported).await?;
        }
        if is_full && self.next_orphans <= now {
            self.next_orphans = now + self.shared.options.scan_interval * ORPHANS;
            self.report_orphans(session).await?;
        }
        if is_full {
            let mailbox = self.queues.address.clone();
            self.report(Report::Scan(ScanReport { mailbox, at: clock::now(), failure: None })).await;
            for folder in self.folders.values_mut() {
                for reason in
                    [EventReason::MailboxUnreachable, EventReason::LoginRejected, EventReason::CertificateRejected]
                {
                    folder.ended(reason);
                }
            }
        }
        Ok(is_full)
    }

    /// An error of one folder is an event and holds up no other; the next scan tries again.
    async fn judge(&mut self, name: &str, result: Result<(), Error>) -> Result<(), Error> {
        let error = match result {
            Ok(()) => return Ok(()),
            Err(error) if error.ends_session() => return Err(error),
            Err(error) => error,
        };
        let interval = self.shared.options.scan_interval;
        self.is_refused = true;
        if let Some(folder) = self.folders.get_mut(name) {
            folder.forget_plan();
            folder.changed = false;
            folder.delivered.clear();
            folder.failed.clear();
            folder.skipped.clear();
            folder.next_scan = Instant::now() + interval;
        }
        tracing::warn!(mailbox = %self.queues.address, folder = name, %error, "a folder can't be worked on");
        self.event(name, EventReason::MailboxRefused, format!("{}, folder {name}: {error}", self.queues.address)).await;
        Ok(())
    }

    async fn scan_folder(&mut self, session: &mut Session, name: &str) -> Result<(), Error> {
        self.replay(session, name).await?;
        let selected = selected(session, name).await?;
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        folder.changed = false;
        if folder.uid_validity != selected.uid_validity {
            folder.begin_anew(selected.uid_validity);
            folder.changed = false;
        }
        let is_full =
            folder.next_scan <= Instant::now() || folder.uid_next == 0 || folder.has_more || selected.uid_next == 0;
        let first = folder.uid_next;
        if is_full {
            folder.due.clear();
            folder.has_more = false;
            folder.oldest = None;
        }
        let mut at = 1;
        while at <= selected.messages && !self.folders.get(name).is_some_and(|folder| folder.has_more) {
            let page = if is_full {
                session.list(at, selected.messages.min(at + PAGE - 1)).await?
            } else {
                session.list_from(first).await?
            };
            self.plan(name, &page).await;
            if !is_full {
                break;
            }
            at += PAGE;
        }
        let interval = self.shared.options.scan_interval;
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        if folder.uid_next != 0 && folder.uid_next != selected.uid_next {
            self.last_mail = Some(Instant::now());
        }
        folder.uid_next = selected.uid_next;
        folder.ended(EventReason::MailboxRefused);
        if is_full {
            folder.next_scan = Instant::now() + interval;
            if !folder.has_more {
                forget_old(folder);
            }
            self.report_folder(session, name).await?;
            self.clean(session, name).await?;
        }
        Ok(())
    }

    /// Plans a page of messages; those that were tried often enough are reported and go to `Failed`.
    async fn plan(&mut self, name: &str, page: &[Listed]) {
        let now = seconds();
        let waits = self.shared.options.waits;
        let seen = page.iter().map(|listed| listed.mod_seq).max().unwrap_or_default();
        for listed in page {
            let Some(folder) = self.folders.get_mut(name) else { return };
            folder.oldest = Some(folder.oldest.map_or(listed.arrived, |oldest| oldest.min(listed.arrived)));
            if let Some(tries) = folder.plan(listed, seen, &self.queues.address, waits, now) {
                let message = format!(
                    "{}: a message that arrived at {} went to {name}/Failed after {tries} tries; the last one did not end",
                    self.queues.address,
                    Timestamp::from_second(listed.arrived).unwrap_or_default()
                );
                self.event(name, EventReason::DeliveryFailed, message).await;
            }
        }
    }

    /// Moves what is delivered, failed or skipped. A mark comes first, so that a move that fails does not send again.
    pub(super) async fn settle(&mut self, session: &mut Session) -> Result<(), Error> {
        let names: Vec<String> =
            self.folders.iter().filter(|(_, f)| f.has_moves()).map(|(name, _)| name.clone()).collect();
        for name in &names {
            let settled = self.settle_folder(session, name).await;
            self.judge(name, settled).await?;
        }
        self.folders.retain(|_, folder| folder.configured || !folder.running.is_empty() || folder.has_moves());
        Ok(())
    }

    async fn settle_folder(&mut self, session: &mut Session, name: &str) -> Result<(), Error> {
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        if session.selected() != Some((name, folder.uid_validity)) {
            let selected = selected(session, name).await?;
            if folder.uid_validity != selected.uid_validity {
                folder.begin_anew(selected.uid_validity);
                return Ok(());
            }
        }
        let (done, failed, skipped) = (folder.below("Done"), folder.below("Failed"), folder.below("Skipped"));
        folder.next_report = Some(Instant::now() + REPORT_SOON);
        let moves = [
            (std::mem::take(&mut folder.delivered), done, Some(DELIVERED)),
            (std::mem::take(&mut folder.failed), failed, None),
            (std::mem::take(&mut folder.skipped), skipped, None),
        ];
        for (uids, to, mark) in moves {
            if uids.is_empty() {
                continue;
            }
            if let Some(mark) = mark {
                session.add_keyword(&uids, mark).await?;
            }
            match session.move_to(&uids, &to).await {
                // One message that is gone makes the server refuse all of them.
                Err(Error::Refused { .. }) => move_existing(session, name, &uids, &to).await?,
                other => drop(other?),
            }
        }
        if session.selected().is_none()
            && let Some(folder) = self.folders.get_mut(name)
        {
            // An untagged NO came: what was moved is not certain.
            folder.forget_plan();
        }
        Ok(())
    }

    /// Reports the counts of a folder and of those below it.
    async fn report_folder(&mut self, session: &mut Session, name: &str) -> Result<(), Error> {
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        folder.next_report = None;
        let below = [folder.below("Done"), folder.below("Failed"), folder.below("Skipped")];
        let waiting = session.counts(name).await?.unwrap_or_default().messages;
        let mut counts = Vec::new();
        for folder in &below {
            counts.push(session.counts(folder).await?.unwrap_or_default());
        }
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        let outlet = self.shared.outlets.get(&folder.queue.sink);
        // Whether the sink is disabled is known without a message that waits for it.
        match outlet.and_then(|outlet| outlet.disabled()) {
            Some(why) => {
                let message = disabled(&folder.queue.sink, &why, name);
                folder.blocked = Some(Failure { reason: EventReason::SinkDisabled, message });
            }
            None => folder.blocked = folder.blocked.take().filter(|known| known.reason != EventReason::SinkDisabled),
        }
        let planned = folder.due.values().chain(folder.running.values()).map(|due| due.arrived).min();
        let oldest = if waiting == 0 { None } else { planned.into_iter().chain(folder.oldest).min() };
        let report = FolderReport {
            mailbox: self.queues.address.clone(),
            rule: folder.queue.rule.clone(),
            folder: name.to_owned(),
            sink: folder.queue.sink.clone(),
            at: clock::now(),
            waiting: u64::from(waiting),
            oldest_waiting: oldest.and_then(|at| Timestamp::from_second(at).ok()).map(Time),
            delivered: u64::from(counts[0].uid_next.saturating_sub(1)),
            failed: u64::from(counts[1].messages),
            skipped: u64::from(counts[2].messages),
            blocked: folder.blocked.clone(),
        };
        self.report(Report::Folder(report)).await;
        Ok(())
    }

    /// Reports the folders whose messages were moved since the last report, before the session ends.
    pub(super) async fn report_last(&mut self, session: &mut Session) -> Result<(), Error> {
        let is_left = |(name, folder): (&String, &Folder)| folder.next_report.map(|_| name.clone());
        let left: Vec<String> = self.folders.iter().filter_map(is_left).collect();
        for name in &left {
            self.report_folder(session, name).await?;
        }
        Ok(())
    }

    /// Queue folders of the mailbox that are not in the work.
    async fn orphans(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for kind in QueueKind::ALL {
            match session.folders_below(kind.above()).await {
                Err(error) if !error.ends_session() => {
                    tracing::warn!(mailbox = %self.queues.address, %error, "the folders can't be listed");
                }
                listed => names.extend(listed?),
            }
        }
        names.retain(|name| QueueKind::is_queue(name) && !self.folders.contains_key(name));
        Ok(names)
    }

    /// Reports messages in queue folders that are not in the work.
    async fn report_orphans(&mut self, session: &mut Session) -> Result<(), Error> {
        let mut folders = Vec::new();
        for folder in self.orphans(session).await? {
            let waiting = match session.counts(&folder).await {
                // A name that is not ours may have characters that a queue folder's has not.
                Err(Error::Invalid(_)) | Ok(None) => continue,
                counts => counts?.unwrap_or_default(),
            };
            let failed = session.counts(&format!("{folder}/Failed")).await?.unwrap_or_default();
            let (waiting, failed) = (u64::from(waiting.messages), u64::from(failed.messages));
            if waiting + failed > 0 {
                folders.push(OrphanedFolder { folder, waiting, failed });
            }
        }
        self.report(Report::Orphaned { mailbox: self.queues.address.clone(), folders }).await;
        Ok(())
    }

    /// Deletes old messages of `Done`.
    async fn clean(&mut self, session: &mut Session, name: &str) -> Result<(), Error> {
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        let Some(keep) = folder.queue.keep_done.filter(|_| folder.next_cleanup <= Instant::now()) else {
            return Ok(());
        };
        folder.next_cleanup = Instant::now() + CLEANUP;
        let done = folder.below("Done");
        match session.select(&done).await {
            Err(Error::Refused { no_folder: true, .. }) => return Ok(()),
            other => other?,
        };
        let before = seconds().saturating_sub(i64::try_from(keep.as_secs()).unwrap_or(i64::MAX));
        let day = Timestamp::from_second(before).unwrap_or_default().to_zoned(TimeZone::UTC).strftime("%-d-%b-%Y");
        let old = session.search(Some(&day.to_string())).await?;
        for some in old.chunks(1_000) {
            session.delete(some).await?;
        }
        if !old.is_empty() {
            tracing::info!(mailbox = %self.queues.address, folder = done, messages = old.len(), "old messages were deleted");
        }
        Ok(())
    }

    /// Moves what is in `Failed` back into the queue, when that was asked for. When the rule has one folder only, what
    /// lies in folders of its former actions comes along.
    async fn replay(&mut self, session: &mut Session, name: &str) -> Result<(), Error> {
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        let request = folder.queue.replay.clone();
        if request.is_done(&folder.replayed) {
            return Ok(());
        }
        let (failed, rule) = (folder.below("Failed"), folder.queue.rule.clone());
        let mut messages = requeue(session, &failed, name).await?;
        let is_only = self.queues.folders.iter().filter(|queue| queue.rule == rule).count() == 1;
        if is_only {
            let id = format!("{}/{}", rule.namespace, rule.name);
            for former in self.orphans(session).await? {
                if QueueKind::is_of_rule(&former, &id) {
                    finish_delivered(session, &former).await?;
                    messages += requeue(session, &former, name).await?;
                    messages += requeue(session, &format!("{former}/Failed"), name).await?;
                    self.next_orphans = Instant::now();
                }
            }
        }
        let Some(folder) = self.folders.get_mut(name) else { return Ok(()) };
        if let Some(outlet) = self.shared.outlets.get(&folder.queue.sink) {
            outlet.enable();
        }
        folder.blocked_until = 0;
        let before = std::mem::take(&mut folder.replayed);
        folder.replayed = Replay::after(request.clone(), before);
        folder.not_before.clear();
        folder.forget_plan();
        folder.ended(EventReason::Replayed);
        folder.ended(EventReason::DeliveryFailed);
        if messages > 0 {
            let message = format!("{}: {messages} messages are tried again, in {name}", self.queues.address);
            self.event(name, EventReason::Replayed, message).await;
        }
        let (mailbox, folder) = (self.queues.address.clone(), name.to_owned());
        self.report(Report::Replayed { rule, mailbox, folder, request, messages }).await;
        Ok(())
    }
}

/// Moves what was delivered before the worker ended, and is still in its queue folder.
async fn finish_delivered(session: &mut Session, queue: &str) -> Result<(), Error> {
    match session.select(queue).await {
        Err(Error::Refused { no_folder: true, .. }) => return Ok(()),
        other => other?,
    };
    let delivered = session.search_keyword(DELIVERED).await?;
    if !delivered.is_empty() {
        session.move_to(&delivered, &format!("{queue}/Done")).await?;
    }
    Ok(())
}

/// Moves all messages of a folder into a queue folder, as new ones. Gives how many.
async fn requeue(session: &mut Session, from: &str, queue: &str) -> Result<u64, Error> {
    let uids = match session.select(from).await {
        Err(Error::Refused { no_folder: true, .. }) => return Ok(0),
        Err(error) => return Err(error),
        Ok(_) => session.search(None).await?,
    };
    for some in uids.chunks(500) {
        // Without its keywords a message is new. They go first: a message of the queue without them is tried.
        session.remove_keywords(some, &keywords()).await?;
        session.move_to(some, queue).await?;
    }
    Ok(uids.len() as u64)
}

/// Moves those of the messages that are still there.
async fn move_existing(session: &mut Session, name: &str, uids: &[u32], to: &str) -> Result<(), Error> {
    selected(session, name).await?;
    let existing = session.existing(uids).await?;
    if !existing.is_empty() {
        session.move_to(&existing, to).await?;
    }
    Ok(())
}

/// Selects a folder, and makes it when it is not there.
async fn selected(session: &mut Session, name: &str) -> Result<Selected, Error> {
    match session.select(name).await {
        Err(Error::Refused { no_folder: true, .. }) => {
            session.create(name).await?;
            session.select(name).await
        }
        other => other,
    }
}

/// Forgets what is known of messages that are not in the folder any more.
fn forget_old(folder: &mut Folder) {
    let now = seconds();
    folder.not_before.retain(|_, until| *until > now);
    if folder.running.is_empty() && folder.delivered.is_empty() {
        folder.confirmed.clear();
    }
}
