//! What the worker remembers of a queue folder between two scans. It only saves work: a new process reads all of it
//! from the folder.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::sinks::{LARGE, PlaceRequest};
use crate::intake::identity::Identity;
use crate::intake::imap::Listed;
use crate::intake::limit::Meter;
use crate::intake::queue::{QueueFolder, Replay};
use crate::intake::report::{EventReason, Failure};
use crate::intake::state::{Known, Rules, Step, Waits};
use crate::mail::Address;

/// Messages of one folder that are planned at a time; the others are planned when these are done.
const MOST_PLANNED: usize = 2_000;

/// A message that can be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Its identity.
    pub(super) identity: Identity,
    /// The number of the try, from 1.
    pub(super) number: u32,
    /// The highest mod-sequence of the list that it was in. Whoever changes it later makes a higher one.
    pub(super) seen: u64,
    /// Its size in bytes.
    pub(super) size: u32,
    /// When it arrived, in seconds since 1970.
    pub(super) arrived: i64,
}

/// A queue folder.
#[derive(Debug)]
pub(super) struct Folder {
    /// Its configuration.
    pub(super) queue: QueueFolder,
    /// Whether it is still configured; if not, only what is on its way is ended.
    pub(super) configured: bool,
    /// Validity of the UIDs below; 0 before the first scan.
    pub(super) uid_validity: u32,
    /// The next UID after the last scan.
    pub(super) uid_next: u32,
    /// Messages that can be tried, by UID.
    pub(super) due: BTreeMap<u32, Due>,
    /// Messages on their way, by identity.
    pub(super) running: BTreeMap<Identity, Due>,
    /// UIDs that were delivered and have to go to `Done`.
    pub(super) delivered: Vec<u32>,
    /// UIDs that have to go to `Failed`.
    pub(super) failed: Vec<u32>,
    /// UIDs that have to go to `Skipped`.
    pub(super) skipped: Vec<u32>,
    /// Identities that were delivered, until the server confirmed their move.
    pub(super) confirmed: BTreeSet<Identity>,
    /// Seconds since 1970 before which a message is not tried.
    pub(super) not_before: BTreeMap<Identity, i64>,
    /// Counts for the limits.
    pub(super) meter: Meter,
    /// Something changed since the last scan.
    pub(super) changed: bool,
    /// When all messages are listed again.
    pub(super) next_scan: Instant,
    /// When a report is due although no scan is.
    pub(super) next_report: Option<Instant>,
    /// When old messages of `Done` are looked for.
    pub(super) next_cleanup: Instant,
    /// Not all messages of the folder were planned.
    pub(super) has_more: bool,
    /// When the oldest message of the last scan arrived, in seconds since 1970.
    pub(super) oldest: Option<i64>,
    /// Why messages wait.
    pub(super) blocked: Option<Failure>,
    /// Nothing is started before this second since 1970.
    pub(super) blocked_until: i64,
    /// The place at the sink that this folder waits for. Only a mailbox with a session has one.
    pub(super) place: Option<PlaceRequest>,
    /// The replay requests that are done.
    pub(super) replayed: Replay,
    /// What was reported already: each once, until it ends.
    reported: BTreeMap<EventReason, String>,
}

impl Folder {
    /// A folder of which nothing is known yet.
    pub(super) fn new(queue: QueueFolder) -> Self {
        let now = Instant::now();
        Self {
            queue,
            configured: true,
            uid_validity: 0,
            uid_next: 0,
            due: BTreeMap::new(),
            running: BTreeMap::new(),
            delivered: Vec::new(),
            failed: Vec::new(),
            skipped: Vec::new(),
            confirmed: BTreeSet::new(),
            not_before: BTreeMap::new(),
            meter: Meter::default(),
            changed: true,
            next_scan: now,
            next_report: None,
            next_cleanup: now,
            has_more: false,
            oldest: None,
            blocked: None,
            blocked_until: 0,
            place: None,
            replayed: Replay::default(),
            reported: BTreeMap::new(),
        }
    }

    /// Takes over a new configuration.
    pub(super) fn configure(&mut self, queue: QueueFolder) {
        self.configured = true;
        if self.queue == queue {
            return;
        }
        if self.queue.rule.uid != queue.rule.uid {
            // Other identities: what was planned is planned anew.
            self.forget_plan();
        }
        self.queue = queue;
        self.blocked_until = 0;
        self.changed = true;
        self.next_scan = Instant::now();
    }

    /// Forgets the plan, not what is on its way.
    pub(super) fn forget_plan(&mut self) {
        self.due.clear();
        self.has_more = false;
        self.uid_next = 0;
        self.next_scan = Instant::now();
        self.changed = true;
    }

    /// Another folder has the same name now: the UIDs mean nothing any more.
    pub(super) fn begin_anew(&mut self, uid_validity: u32) {
        self.forget_plan();
        self.delivered.clear();
        self.failed.clear();
        self.skipped.clear();
        self.uid_validity = uid_validity;
    }

    /// Whether moves are due.
    pub(super) fn has_moves(&self) -> bool {
        !(self.delivered.is_empty() && self.failed.is_empty() && self.skipped.is_empty())
    }

    /// Whether a scan is due.
    pub(super) fn needs_scan(&self, now: Instant) -> bool {
        self.configured && (self.changed || self.next_scan <= now || (self.has_more && self.due.is_empty()))
    }

    /// Plans what to do with a listed message. Returns why it goes to `Failed`, if it does.
    pub(super) fn plan(
        &mut self,
        listed: &Listed,
        seen: u64,
        mailbox: &Address,
        waits: Waits,
        now: i64,
    ) -> Option<u32> {
        let queue = &self.queue;
        let identity = Identity::of(mailbox, &queue.folder, &listed.stable_id, &queue.rule);
        let is_moving = [&self.delivered, &self.failed, &self.skipped].into_iter().any(|all| all.contains(&listed.uid));
        if self.running.contains_key(&identity) || is_moving {
            return None;
        }
        let mut known = Known::read(&listed.flags, listed.arrived);
        known.delivered |= self.confirmed.contains(&identity);
        let rules = Rules { identity: &identity, tries: queue.limits.tries, waits };
        match known.step(&rules, self.not_before.get(&identity).copied(), now) {
            Step::Finish => self.delivered.push(listed.uid),
            Step::Fail => {
                self.failed.push(listed.uid);
                return Some(known.tries);
            }
            Step::Wait(_) => {}
            Step::Try(number) if self.due.len() < MOST_PLANNED => {
                let (size, arrived) = (listed.size, listed.arrived);
                self.due.insert(listed.uid, Due { identity, number, seen, size, arrived });
            }
            Step::Try(_) => self.has_more = true,
        }
        None
    }

    /// Takes out messages to try together: all of one number and one list, at most `most`, and at most `large` large ones.
    pub(super) fn batch(&mut self, most: usize, mut large: usize) -> Vec<(u32, Due)> {
        let mut batch: Vec<(u32, Due)> = Vec::new();
        let confirmed = &self.confirmed;
        let delivered = &mut self.delivered;
        self.due.retain(|uid, due| {
            let is_done = confirmed.contains(&due.identity);
            delivered.extend(is_done.then_some(*uid));
            !is_done
        });
        for (uid, due) in &self.due {
            if batch.len() == most {
                break;
            }
            let is_large = due.size >= LARGE;
            let is_other = batch.first().is_some_and(|(_, first)| (first.number, first.seen) != (due.number, due.seen));
            // Two copies of one message are one task; the second waits until the first is done.
            let is_twin = self.running.contains_key(&due.identity)
                || batch.iter().any(|(_, known)| known.identity == due.identity);
            if is_other || is_twin || (is_large && large == 0) {
                continue;
            }
            large -= usize::from(is_large);
            batch.push((*uid, due.clone()));
        }
        for (uid, _) in &batch {
            self.due.remove(uid);
        }
        batch
    }

    /// Whether something has to be reported: not when the same was reported before and did not end since.
    pub(super) fn is_news(&mut self, reason: EventReason, message: &str) -> bool {
        self.reported.insert(reason, message.to_owned()).is_none_or(|known| known != message)
    }

    /// Something ended; the next time is news again.
    pub(super) fn ended(&mut self, reason: EventReason) {
        self.reported.remove(&reason);
    }

    /// A folder below this one.
    pub(super) fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.queue.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::queue::{Limits, QueueKind};
    use crate::intake::rule_ref::RuleRef;
    use crate::intake::state::{DELIVERED, keyword};

    fn folder() -> Folder {
        Folder::new(QueueFolder {
            folder: "Ops/Tasks/n/r@s".into(),
            kind: QueueKind::Task,
            sink: "s".into(),
            rule: RuleRef { uid: "u".into(), namespace: "n".into(), name: "r".into() },
            title: None,
            labels: vec![],
            automatic: false,
            limits: Limits::default(),
            keep_done: None,
            replay: Replay::default(),
        })
    }

    fn listed(uid: u32, id: &str, flags: &[&str]) -> Listed {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Listed { uid, flags, arrived: 1_000, size: 10, mod_seq: 5, stable_id: id.into() }
    }

    fn plan(folder: &mut Folder, listed: &Listed, now: i64) -> Option<u32> {
        folder.plan(listed, 5, &Address::parse("a@b.test").unwrap(), Waits::default(), now)
    }

    #[test]
    fn each_message_is_planned_by_its_state() {
        let mut folder = folder();
        plan(&mut folder, &listed(1, "a", &[]), 1_000);
        plan(&mut folder, &listed(2, "b", &[&keyword(1)]), 1_000);
        plan(&mut folder, &listed(3, "c", &[&keyword(1)]), 2_000);
        plan(&mut folder, &listed(4, "d", &[DELIVERED]), 1_000);
        assert_eq!(plan(&mut folder, &listed(5, "e", &[&keyword(10)]), 1_000_000), Some(10));
        assert_eq!(folder.due.iter().map(|(uid, due)| (*uid, due.number)).collect::<Vec<_>>(), [(1, 1), (3, 2)]);
        assert_eq!((folder.delivered.as_slice(), folder.failed.as_slice()), ([4].as_slice(), [5].as_slice()));
    }

    #[test]
    fn a_message_that_was_delivered_is_not_sent_again_under_a_new_uid() {
        let mut folder = folder();
        plan(&mut folder, &listed(1, "a", &[]), 1_000);
        let identity = folder.due[&1].identity.clone();
        folder.begin_anew(9);
        folder.confirmed.insert(identity);
        plan(&mut folder, &listed(7, "a", &[]), 1_000);
        assert!(folder.due.is_empty() && folder.delivered == [7]);
    }

    #[test]
    fn a_batch_has_one_number_and_no_message_twice() {
        let mut folder = folder();
        for (uid, id, flags) in [(1, "a", vec![]), (2, "b", vec![keyword(1)]), (3, "a", vec![]), (4, "c", vec![])] {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            plan(&mut folder, &listed(uid, id, &flags), 5_000);
        }
        let uids = |batch: Vec<(u32, Due)>| batch.into_iter().map(|(uid, _)| uid).collect::<Vec<_>>();
        folder.due.insert(9, Due { size: LARGE, identity: folder.due[&4].identity.clone(), ..folder.due[&1].clone() });
        assert_eq!(uids(folder.batch(8, 1)), [1, 4]);
        assert_eq!(uids(folder.batch(8, 1)), [2]);
        assert_eq!(uids(folder.batch(8, 0)), [3]);
        assert_eq!(uids(folder.batch(8, 0)), Vec::<u32>::new());
        assert_eq!(uids(folder.batch(8, 1)), [9]);
    }

    #[test]
    fn a_long_queue_is_planned_in_pieces() {
        let mut folder = folder();
        for uid in 1..=2_500 {
            plan(&mut folder, &listed(uid, &uid.to_string(), &[]), 1_000);
        }
        assert!(folder.due.len() == MOST_PLANNED && folder.has_more);
    }

    #[test]
    fn the_same_is_reported_once() {
        let mut folder = folder();
        assert!(folder.is_news(EventReason::SinkFailing, "a"));
        assert!(!folder.is_news(EventReason::SinkFailing, "a"));
        assert!(folder.is_news(EventReason::SinkFailing, "b"));
        folder.ended(EventReason::SinkFailing);
        assert!(folder.is_news(EventReason::SinkFailing, "b"));
    }
}
