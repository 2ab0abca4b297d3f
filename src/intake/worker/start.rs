//! Starting deliveries, and what comes of them.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::delivery::{Finished, Notice, Parcel, send};
use super::folder::Due;
use super::mailbox::Mailbox;
use super::sinks::{Change, LARGE, Outlet, PlaceRequest};
use crate::clock;
use crate::intake::answer::Verdict;
use crate::intake::breaker::Admission;
use crate::intake::imap::{Error, Header, Session};
use crate::intake::limit::{Allowance, Origin};
use crate::intake::mime;
use crate::intake::report::{AttemptReport, AttemptResult, EventReason, Failure, Report};
use crate::intake::state::{Rules, keyword};

/// Messages that are claimed together.
const BATCH: usize = 16;
/// The largest message that is fetched whole, in bytes; of others only the beginning is.
const MOST_FETCHED: u32 = 36 * 1024 * 1024;
/// How much of a larger one is fetched, in bytes.
const BEGINNING: u32 = 256 * 1024;

fn seconds() -> i64 {
    clock::now().0.as_second()
}

/// What may start now.
enum Room {
    /// Places at the sink; one message for each.
    Places(Arc<Outlet>, Vec<OwnedSemaphorePermit>),
    /// Nothing.
    None,
}

/// What was started.
#[derive(Clone, Copy, Debug, Default)]
struct Started {
    /// Something was done, so that more may be possible now.
    something: bool,
    /// Messages that are on their way.
    sent: usize,
}

impl Mailbox {
    /// Starts what can be started. True when something was.
    pub(super) async fn start(&mut self, session: &mut Session) -> Result<bool, Error> {
        for folder in self.folders.values_mut().filter(|folder| folder.due.is_empty()) {
            folder.place = None;
        }
        if self.is_over() {
            return Ok(false);
        }
        let names: Vec<String> = self
            .folders
            .iter()
            .filter(|(_, f)| f.configured && !f.due.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        let mut started = false;
        for name in &names {
            match self.start_folder(session, name).await {
                Ok(some) => started |= some,
                Err(error) if error.ends_session() => return Err(error),
                Err(error) => {
                    let interval = self.shared.options.scan_interval;
                    if let Some(folder) = self.folders.get_mut(name) {
                        folder.forget_plan();
                        folder.changed = false;
                        folder.next_scan = Instant::now() + interval;
                    }
                    let message = format!("{}, folder {name}: {error}", self.queues.address);
                    self.event(name, EventReason::MailboxRefused, message).await;
                }
            }
        }
        Ok(started)
    }

    async fn start_folder(&mut self, session: &mut Session, name: &str) -> Result<bool, Error> {
        let Room::Places(outlet, places) = self.room(name).await else { return Ok(false) };
        let sent = self.send_batch(session, name, &outlet, places).await;
        if !matches!(sent, Ok(Started { sent: 1.., .. })) {
            outlet.cancelled();
        }
        sent.map(|started| started.something)
    }

    /// Claims a batch, fetches it and sends it.
    async fn send_batch(
        &mut self,
        session: &mut Session,
        name: &str,
        outlet: &Arc<Outlet>,
        mut places: Vec<OwnedSemaphorePermit>,
    ) -> Result<Started, Error> {
        let Some(folder) = self.folders.get_mut(name) else { return Ok(Started::default()) };
        let batch = folder.batch(places.len(), outlet.large.available_permits());
        if batch.is_empty() {
            return Ok(Started::default());
        }
        let mut started = Started { something: true, sent: 0 };
        if session.selected() != Some((name, folder.uid_validity)) {
            let selected = session.select(name).await?;
            if folder.uid_validity != selected.uid_validity {
                folder.begin_anew(selected.uid_validity);
                return Ok(started);
            }
        }
        let wanted = self.wanted(session, name, batch).await?;
        let claimed = claim(session, wanted).await?;
        let mut rest = claimed.as_slice();
        while !rest.is_empty() {
            let (some, after) = rest.split_at(together(rest));
            rest = after;
            let is_cut = some.iter().any(|(_, due)| due.size > MOST_FETCHED);
            let uids: Vec<u32> = some.iter().map(|(uid, _)| *uid).collect();
            let mut bodies = session.bodies(&uids, is_cut.then_some(BEGINNING)).await?;
            for (uid, due) in some {
                // What has no body is gone.
                let Some(raw) = bodies.remove(uid) else { continue };
                let Some(place) = places.pop() else { break };
                let Some(folder) = self.folders.get_mut(name) else { break };
                let large = if due.size >= LARGE { Arc::clone(&outlet.large).try_acquire_owned().ok() } else { None };
                let parcel = Parcel {
                    mailbox: self.queues.address.clone(),
                    authserv_id: self.queues.authserv_id.clone(),
                    queue: folder.queue.clone(),
                    uid_validity: folder.uid_validity,
                    uid: *uid,
                    due: due.clone(),
                    raw,
                    is_cut,
                };
                folder.running.insert(due.identity.clone(), due.clone());
                self.last_mail = Some(Instant::now());
                let places = [place].into_iter().chain(large).collect();
                send(parcel, Arc::clone(outlet), places, self.notices.clone(), &self.shared.deliveries);
                started.sent += 1;
            }
        }
        Ok(started)
    }

    /// Places at the folder's sink, or why there are none.
    async fn room(&mut self, name: &str) -> Room {
        let now = seconds();
        let notices = self.notices.clone();
        let Some(folder) = self.folders.get_mut(name) else { return Room::None };
        if folder.blocked_until > now {
            return Room::None;
        }
        let Some(outlet) = self.shared.outlets.get(&folder.queue.sink) else {
            let message = format!("there is no sink {:?}; its messages wait in {name}", folder.queue.sink);
            return self.block(name, EventReason::SinkNotFound, message, now + 60).await;
        };
        if let Err(why) = &outlet.door {
            let message = format!("the sink {:?} can't be used: {why}; its messages wait in {name}", folder.queue.sink);
            return self.block(name, EventReason::SinkInvalid, message, now + 60).await;
        }
        let mut places: Vec<OwnedSemaphorePermit> = Vec::new();
        if let Some(request) = &mut folder.place {
            let Some(place) = request.take() else { return Room::None };
            places.push(place);
            folder.place = None;
        }
        let wanted = BATCH.min(folder.due.len());
        while places.len() < wanted
            && let Ok(place) = Arc::clone(&outlet.room).try_acquire_owned()
        {
            places.push(place);
        }
        if places.is_empty() {
            // Without a receiver the mailbox is not worked on any more.
            folder.place = Some(PlaceRequest::new(&outlet, move || drop(notices.send(Notice::PlaceFree))));
            return Room::None;
        }
        match outlet.admit(now) {
            Admission::Go => {
                if let Some(why) = outlet.failing() {
                    // One message to see whether it works again.
                    places.truncate(1);
                    folder.blocked = Some(failing(&folder.queue.sink, &why, name));
                } else {
                    folder.blocked = None;
                    for reason in [EventReason::SinkNotFound, EventReason::SinkInvalid, EventReason::SinkFailing] {
                        folder.ended(reason);
                    }
                }
                Room::Places(outlet, places)
            }
            Admission::Wait(until) => {
                folder.blocked_until = until;
                folder.blocked = outlet.failing().map(|why| failing(&folder.queue.sink, &why, name));
                Room::None
            }
            Admission::Never => {
                let why = outlet.failing().unwrap_or_default();
                let message = disabled(&folder.queue.sink, &why, name);
                self.block(name, EventReason::SinkDisabled, message, now + 60).await
            }
        }
    }

    async fn block(&mut self, name: &str, reason: EventReason, message: String, until: i64) -> Room {
        if let Some(folder) = self.folders.get_mut(name) {
            folder.blocked_until = until;
            let is_new = folder.blocked.as_ref().is_none_or(|known| known.reason != reason);
            folder.blocked = Some(Failure { reason, message: message.clone() });
            if is_new {
                folder.next_report = Some(Instant::now());
            }
        }
        self.event(name, reason, message).await;
        Room::None
    }

    /// Of a batch, what makes a task now. Automatic mail goes to `Skipped`; what is over a limit waits.
    async fn wanted(
        &mut self,
        session: &mut Session,
        name: &str,
        batch: Vec<(u32, Due)>,
    ) -> Result<Vec<(u32, Due)>, Error> {
        let uids: Vec<u32> = batch.iter().map(|(uid, _)| *uid).collect();
        let headers = session.headers(&uids).await?;
        let now = seconds();
        let mut wanted = Vec::new();
        let mut events = Vec::new();
        let Some(folder) = self.folders.get_mut(name) else { return Ok(wanted) };
        for (uid, due) in batch {
            // What has no header is gone.
            let Some(header) = headers.iter().find(|header| header.uid == uid) else { continue };
            let origin = origin(header);
            let automatic = origin.automatic().filter(|_| !folder.queue.automatic);
            let why = if origin.is_own() { Some("it comes from one of our own tasks") } else { automatic };
            if let Some(why) = why {
                folder.skipped.push(uid);
                let message = format!(
                    "a message went to {name}/Skipped: {why}; allow automatic mail in the rule to deliver such mail"
                );
                events.push((EventReason::AutomaticMailSkipped, message));
                continue;
            }
            let allowance = if due.number == 1 {
                folder.meter.take(&folder.queue.limits, &origin.sender, now)
            } else {
                Allowance::Now
            };
            let (until, of, most) = match allowance {
                Allowance::Now => {
                    wanted.push((uid, due));
                    continue;
                }
                Allowance::RuleLimit(until) => (until, "the rule", folder.queue.limits.per_hour),
                Allowance::SenderLimit(until) => (until, "one sender", folder.queue.limits.per_sender_and_hour),
            };
            folder.not_before.insert(due.identity, until);
            let message = format!("more than {most} messages of {of} in an hour; the others wait in {name}");
            events.push((EventReason::RateLimited, message));
        }
        for (reason, message) in events {
            self.event(name, reason, message).await;
        }
        Ok(wanted)
    }

    /// A try is over.
    pub(super) async fn finished(&mut self, finished: Finished) {
        let Finished { folder: name, uid_validity, uid, due, title, verdict, change } = finished;
        let now = seconds();
        let Some(folder) = self.folders.get_mut(&name) else { return };
        folder.running.remove(&due.identity);
        let is_same = folder.uid_validity == uid_validity;
        if !is_same {
            folder.changed = true;
        }
        let rules =
            Rules { identity: &due.identity, tries: folder.queue.limits.tries, waits: self.shared.options.waits };
        let sink = folder.queue.sink.clone();
        let (result, why) = match verdict {
            Verdict::Delivered => {
                folder.confirmed.insert(due.identity.clone());
                folder.not_before.remove(&due.identity);
                if is_same {
                    folder.delivered.push(uid);
                }
                (AttemptResult::Delivered, String::new())
            }
            Verdict::Temporary { why, retry_after } if due.number < folder.queue.limits.tries => {
                let wait = rules.wait(due.number).max(retry_after.unwrap_or(0));
                folder.not_before.insert(due.identity.clone(), now + wait);
                (AttemptResult::Retry, why)
            }
            Verdict::Temporary { why, .. } | Verdict::Permanent(why) | Verdict::Gone(why) => {
                if is_same {
                    folder.failed.push(uid);
                }
                (AttemptResult::Failed, why)
            }
        };
        let report = AttemptReport {
            mailbox: self.queues.address.clone(),
            rule: folder.queue.rule.clone(),
            folder: folder.queue.folder.clone(),
            sink: sink.clone(),
            at: clock::now(),
            result,
            #[expect(clippy::cast_precision_loss, reason = "seconds of a message's age are far below 2^52")]
            age_seconds: (now - due.arrived).max(0) as f64,
        };
        self.report(Report::Attempt(report)).await;
        self.report_attempt(&name, &sink, result, due.number, &title, &why).await;
        match change {
            Change::None => {}
            Change::Failing(why) => {
                let failure = failing(&sink, &why, &name);
                self.event(&name, failure.reason, failure.message).await;
            }
            Change::Disabled(why) => self.event(&name, EventReason::SinkDisabled, disabled(&sink, &why, &name)).await,
        }
    }

    async fn report_attempt(
        &mut self,
        name: &str,
        sink: &str,
        result: AttemptResult,
        number: u32,
        title: &str,
        why: &str,
    ) {
        match result {
            AttemptResult::Delivered => {}
            AttemptResult::Retry => {
                tracing::info!(mailbox = %self.queues.address, folder = name, sink, number, why, "a delivery is tried again later");
            }
            AttemptResult::Failed => {
                let title: String = title.chars().take(80).collect();
                let message = format!(
                    "{}: {title:?} went to {name}/Failed after {number} tries: the sink {sink:?} did not take it, {why}",
                    self.queues.address
                );
                self.event(name, EventReason::DeliveryFailed, message).await;
            }
        }
    }
}

/// How many of the next messages are fetched with one command: small ones together, a large one alone.
fn together(messages: &[(u32, Due)]) -> usize {
    let mut sum = 0_u32;
    let fits = |(_, due): &&(u32, Due)| {
        sum = sum.saturating_add(due.size);
        sum <= LARGE
    };
    messages.iter().take_while(fits).count().max(1)
}

/// Claims messages; those that another worker has are left out.
async fn claim(session: &mut Session, wanted: Vec<(u32, Due)>) -> Result<Vec<(u32, Due)>, Error> {
    let Some(number) = wanted.first().map(|(_, due)| due.number) else { return Ok(Vec::new()) };
    let uids: Vec<u32> = wanted.iter().map(|(uid, _)| *uid).collect();
    let seen = wanted.iter().map(|(_, due)| due.seen).min().unwrap_or_default();
    let claimed = session.claim(&uids, &keyword(number), seen).await?;
    Ok(wanted.into_iter().filter(|(uid, _)| claimed.contains(uid)).collect())
}

fn origin(header: &Header) -> Origin {
    let mail = mime::read_header(&header.bytes);
    let ids: Vec<&str> = ["message-id", "in-reply-to", "references"].iter().map(|name| mail.header(name)).collect();
    Origin {
        sender: mail.sender().to_owned(),
        auto_submitted: mail.header("auto-submitted").to_owned(),
        return_path: mail
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("return-path"))
            .map(|(_, path)| path.clone()),
        ids: ids.join(" "),
    }
}

fn failing(sink: &str, why: &str, folder: &str) -> Failure {
    let message = format!("the sink {sink:?} is failing: {why}; its messages wait in {folder}");
    Failure { reason: EventReason::SinkFailing, message }
}

pub(super) fn disabled(sink: &str, why: &str, folder: &str) -> String {
    format!(
        "the sink {sink:?} is gone: {why}; nothing is sent to it until its configuration changes or a replay is asked for, and messages wait in {folder}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_read_from_a_header() {
        let bytes = b"Return-Path: <>\r\nFrom: Ada <ada@example.com>\r\nAuto-Submitted: no\r\nReferences: <a@b>\r\n <c@d>\r\n\r\n";
        let origin = origin(&Header { uid: 1, bytes: bytes.to_vec() });
        assert_eq!((origin.sender.as_str(), origin.return_path.as_deref()), ("ada@example.com", Some("<>")));
        assert!(origin.automatic().is_some() && origin.ids.contains("<c@d>"));
    }
}
