//! What the intake reports → the statuses of rules. Decides only; the counts are those that the intake read from the
//! mailboxes, so a new process comes to the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::secrets::Resolved;
use super::work::{Assembled, Blocked, FolderKey, MailboxReplay, RuleQueues};
use crate::crd::{DeliveredStatus, DisabledSink};
use crate::intake::queue::Replay;
use crate::intake::report::{AttemptResult, EventReason, FolderReport, OrphanedFolder, Report};
use crate::mail::Address;
use crate::mail::rule::QueueKind;

/// What was reported last of everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    folders: BTreeMap<FolderKey, FolderReport>,
    mailboxes: BTreeMap<Address, MailboxState>,
    /// When a sink last took a message of a rule, by the rule's uid.
    last_times: HashMap<String, Time>,
    /// Replay requests that are done.
    replayed: HashMap<FolderKey, Replay>,
    /// Folders of rules that the intake does not work on: of paused ones, and those that can't be read.
    idle: HashSet<FolderPlace>,
}

/// A folder, whatever rule names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FolderPlace {
    mailbox: Address,
    folder: String,
}

/// What is known of a mailbox with queue folders.
#[derive(Clone, Debug)]
struct MailboxState {
    /// Since when it has queue folders, as far as this process knows.
    since: Time,
    /// Whether nobody can log in, so that the intake does not even try.
    is_unreadable: bool,
    /// When the last scan succeeded.
    scanned: Option<Time>,
    /// Why the last scan failed.
    failure: Option<Blocked>,
    /// Its queue folders that no rule names.
    orphans: Vec<OrphanedFolder>,
}

/// Current figures for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// By sink.
    pub sinks: BTreeMap<String, SinkFigures>,
    /// Mailboxes whose last scan succeeded.
    pub mailboxes_ok: i64,
    /// Mailboxes whose last scan failed, or that nobody can log in to.
    pub mailboxes_failing: i64,
    /// The longest time since the last successful scan of a mailbox in seconds.
    pub scan_age: f64,
    /// Messages in queue folders that no rule names any more.
    pub orphaned: u64,
}

/// Current figures of a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SinkFigures {
    /// Messages that wait.
    pub waiting: u64,
    /// Messages in `Failed`.
    pub failed: u64,
    /// Age of the oldest message that waits in seconds; 0 if none waits.
    pub oldest_waiting: f64,
}

/// A replay of a rule that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleReplay {
    /// The value of the annotation.
    pub(crate) request: String,
    /// Mailboxes that it did not reach, because they can't be read or are paused.
    pub(crate) left_out: Vec<Address>,
}

impl Reports {
    /// Records one report.
    pub(crate) fn record(&mut self, report: &Report) {
        match report {
            Report::Folder(folder) => {
                let key = key(&folder.rule.uid, &folder.mailbox, &folder.folder);
                self.folders.insert(key, folder.clone());
            }
            Report::Scan(scan) => {
                // A mailbox that is not worked on any more is not remembered.
                let Some(known) = self.mailboxes.get_mut(&scan.mailbox) else { return };
                known.failure =
                    scan.failure.as_ref().map(|failure| Blocked::reported(failure.reason, &failure.message));
                if scan.failure.is_none() {
                    known.scanned = Some(scan.at.clone());
                }
            }
            Report::Attempt(attempt) if attempt.result == AttemptResult::Delivered => {
                let last = self.last_times.entry(attempt.rule.uid.clone()).or_insert_with(|| attempt.at.clone());
                if last.0 < attempt.at.0 {
                    last.clone_from(&attempt.at);
                }
            }
            Report::Attempt(_) | Report::Event(_) => {}
            Report::Orphaned { mailbox, folders } => {
                let is_idle = |orphan: &OrphanedFolder| {
                    self.idle.contains(&FolderPlace { mailbox: mailbox.clone(), folder: orphan.folder.clone() })
                };
                if let Some(known) = self.mailboxes.get_mut(mailbox) {
                    known.orphans = folders.iter().filter(|orphan| !is_idle(orphan)).cloned().collect();
                }
            }
            Report::Replayed { rule, mailbox, folder, request, .. } => {
                let done = self.replayed.entry(key(&rule.uid, mailbox, folder)).or_default();
                *done = request.clone().after(std::mem::take(done));
            }
        }
    }

    /// Takes over what is to be done now: forgets the rest. Gives the folders that nobody works on from now on although
    /// copies lie in them; folders of paused rules are not among them.
    pub(crate) fn retain(&mut self, made: &Assembled, now: &Time) -> Vec<FolderReport> {
        let kept: HashSet<&FolderKey> =
            made.rules.iter().flat_map(|rule| rule.folders.iter().chain(&rule.unreadable)).collect();
        let paused: HashSet<&FolderKey> = made.rules.iter().flat_map(|rule| &rule.paused).collect();
        let idle = made.rules.iter().flat_map(|rule| rule.paused.iter().chain(&rule.unreadable));
        let place = |key: &FolderKey| FolderPlace { mailbox: key.mailbox.clone(), folder: key.folder.clone() };
        self.idle = idle.map(place).collect();
        let mut left = Vec::new();
        self.folders.retain(|key, report| {
            let is_kept = kept.contains(key);
            if !is_kept && !paused.contains(key) && report.waiting + report.failed > 0 {
                left.push(report.clone());
            }
            is_kept
        });
        self.replayed.retain(|key, _| kept.contains(key));
        let uids: HashSet<&str> = kept.iter().map(|key| key.rule.as_str()).collect();
        self.last_times.retain(|uid, _| uids.contains(uid.as_str()));
        let unreadable: HashSet<&Address> =
            made.rules.iter().flat_map(|rule| &rule.unreadable).map(|key| &key.mailbox).collect();
        let worked_on: HashSet<&Address> = made.work.mailboxes.iter().map(|mailbox| &mailbox.address).collect();
        self.mailboxes.retain(|mailbox, _| worked_on.contains(mailbox) || unreadable.contains(mailbox));
        for mailbox in worked_on.union(&unreadable) {
            let new = || MailboxState {
                since: now.clone(),
                is_unreadable: false,
                scanned: None,
                failure: None,
                orphans: Vec::new(),
            };
            let known = self.mailboxes.entry((*mailbox).clone()).or_insert_with(new);
            known.is_unreadable = !worked_on.contains(mailbox);
            // A folder that a rule names again is no orphan.
            known.orphans.retain(|orphan| {
                let is_it = |key: &&FolderKey| key.mailbox == **mailbox && key.folder == orphan.folder;
                !made.rules.iter().flat_map(RuleQueues::all_folders).any(|key| is_it(&key))
            });
        }
        left
    }

    /// The status of a rule; `None` while nothing is known. What can't be read now stays as it was.
    pub(crate) fn status(
        &self,
        rule: &RuleQueues,
        before: Option<&DeliveredStatus>,
        sinks: &Resolved,
    ) -> Option<DeliveredStatus> {
        let uid = rule.object.uid().unwrap_or_default();
        let known: Vec<&FolderReport> = rule.all_folders().filter_map(|key| self.folders.get(key)).collect();
        let blocked = self.blocked(rule, &sinks.invalid);
        if known.is_empty() && blocked.is_none() && before.is_none() {
            return None;
        }
        let is_whole = known.len() == rule.folders.len() && rule.blocked.is_none();
        let sum = |of: fn(&FolderReport) -> u64| known.iter().map(|folder| of(folder)).sum::<u64>();
        let or_before =
            |now: u64, before: Option<u64>| if is_whole { now } else { now.max(before.unwrap_or_default()) };
        let last_times = before.and_then(|before| before.last_time.clone()).into_iter();
        let (reason, message) = blocked.map(|blocked| (blocked.reason, blocked.message)).unzip();
        Some(DeliveredStatus {
            total: or_before(sum(|folder| folder.delivered), before.map(|before| before.total)),
            failed: or_before(sum(|folder| folder.failed), before.map(|before| before.failed)),
            waiting: or_before(sum(|folder| folder.waiting), before.map(|before| before.waiting)),
            last_time: last_times.chain(self.last_times.get(&uid).cloned()).max_by_key(|time| time.0),
            reason,
            message,
            disabled_sinks: disabled_sinks(&known, before.filter(|_| !is_whole), sinks),
        })
    }

    /// What a person has to know first.
    fn blocked(&self, rule: &RuleQueues, invalid: &BTreeMap<String, String>) -> Option<Blocked> {
        let of_sink = rule.sinks.iter().find_map(|sink| {
            let message = invalid.get(sink)?;
            Some(Blocked { reason: EventReason::SinkInvalid.as_str().to_owned(), message: message.clone() })
        });
        let of_scan = || rule.folders.iter().find_map(|key| self.mailboxes.get(&key.mailbox)?.failure.clone());
        let of_folder = || {
            let folders = rule.folders.iter().filter_map(|key| self.folders.get(key));
            folders
                .filter_map(|folder| folder.blocked.as_ref())
                .map(|why| Blocked::reported(why.reason, &why.message))
                .next()
        };
        let of_orphan = || self.orphans(rule).map(|message| Blocked::reported(EventReason::OrphanedCopies, &message));
        rule.blocked.clone().or(of_sink).or_else(of_scan).or_else(of_folder).or_else(of_orphan)
    }

    /// What lies in folders of former actions of a rule, and what to do; `None` if nothing does.
    fn orphans(&self, rule: &RuleQueues) -> Option<String> {
        let id = format!("{}/{}", rule.object.namespace().unwrap_or_default(), rule.object.name_any());
        let mut mailboxes: Vec<&Address> = rule.folders.iter().map(|key| &key.mailbox).collect();
        mailboxes.dedup();
        let (mailbox, first) = mailboxes.into_iter().find_map(|mailbox| {
            let orphans = &self.mailboxes.get(mailbox)?.orphans;
            let first = orphans.iter().find(|orphan| QueueKind::is_of_rule(&orphan.folder, &id))?;
            Some((mailbox, first))
        })?;
        let count = rule.folders.iter().filter(|key| key.mailbox == *mailbox).count();
        Some(orphaned(mailbox, first, (count == 1).then_some("rule")))
    }

    /// The replay of a rule, if it is done wherever it can be done now. While no mailbox can be read, it waits.
    pub(crate) fn replayed_rule(&self, rule: &RuleQueues) -> Option<RuleReplay> {
        let request = rule.replay.clone()?;
        let asked = Replay { rule: Some(request.clone()), mailbox: None };
        let is_done = |key: &&FolderKey| self.replayed.get(*key).is_some_and(|done| asked.is_done(done));
        let (done, open): (Vec<&FolderKey>, Vec<&FolderKey>) = rule.folders.iter().partition(is_done);
        let is_failing = |key: &&FolderKey| self.mailboxes.get(&key.mailbox).is_some_and(|it| it.failure.is_some());
        if done.is_empty() || !open.iter().all(is_failing) {
            return None;
        }
        let left_out = open.into_iter().chain(&rule.unreadable).chain(&rule.paused);
        let mut left_out: Vec<Address> = left_out.map(|key| key.mailbox.clone()).collect();
        left_out.sort();
        left_out.dedup();
        Some(RuleReplay { request, left_out })
    }

    /// Whether the replay request of a mailbox is done in all its folders.
    pub(crate) fn is_mailbox_replayed(&self, replay: &MailboxReplay, made: &Assembled) -> bool {
        let asked = Replay { rule: None, mailbox: Some(replay.request.clone()) };
        let folders = made.work.mailboxes.iter().filter(|it| it.address == replay.address).flat_map(|it| &it.folders);
        let mut keys = folders.map(|folder| key(&folder.rule.uid, &replay.address, &folder.folder)).peekable();
        let is_done = |key: FolderKey| self.replayed.get(&key).is_some_and(|done| asked.is_done(done));
        keys.peek().is_some() && keys.all(is_done)
    }

    /// The current figures.
    pub(crate) fn figures(&self, now: &Time) -> Figures {
        let mut figures = Figures::default();
        let age = |at: &Time| now.0.duration_since(at.0).as_secs_f64().max(0.0);
        for folder in self.folders.values() {
            let of_sink = figures.sinks.entry(folder.sink.clone()).or_default();
            of_sink.waiting += folder.waiting;
            of_sink.failed += folder.failed;
            let oldest = folder.oldest_waiting.as_ref().map(age).unwrap_or_default();
            of_sink.oldest_waiting = of_sink.oldest_waiting.max(oldest);
        }
        for mailbox in self.mailboxes.values() {
            let is_failing = mailbox.is_unreadable || mailbox.failure.is_some();
            figures.mailboxes_failing += i64::from(is_failing);
            figures.mailboxes_ok += i64::from(!is_failing && mailbox.scanned.is_some());
            figures.scan_age = figures.scan_age.max(age(mailbox.scanned.as_ref().unwrap_or(&mailbox.since)));
            figures.orphaned += mailbox.orphans.iter().map(|orphan| orphan.waiting + orphan.failed).sum::<u64>();
        }
        figures
    }
}

/// Sinks that answered 410 as they are configured now: as reported, and as known before of folders that can't be read.
fn disabled_sinks(known: &[&FolderReport], before: Option<&DeliveredStatus>, sinks: &Resolved) -> Vec<DisabledSink> {
    let is_disabled =
        |folder: &&&FolderReport| folder.blocked.as_ref().is_some_and(|why| why.reason == EventReason::SinkDisabled);
    let reported = known.iter().filter(is_disabled).filter_map(|folder| {
        let configuration = sinks.configurations.get(&folder.sink)?.clone();
        Some(DisabledSink { name: folder.sink.clone(), configuration })
    });
    let is_read = |sink: &DisabledSink| known.iter().any(|folder| folder.sink == sink.name);
    let before = before.into_iter().flat_map(|before| before.disabled_sinks.clone());
    let before =
        before.filter(|sink| !is_read(sink) && sinks.configurations.get(&sink.name) == Some(&sink.configuration));
    let mut all: Vec<DisabledSink> = reported.chain(before).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup();
    all
}

fn key(rule: &str, mailbox: &Address, folder: &str) -> FolderKey {
    FolderKey { rule: rule.to_owned(), mailbox: mailbox.clone(), folder: folder.to_owned() }
}

/// What lies in a queue folder that no rule names, and what to do. `replayed`: a replay of this kind of object takes it.
pub(crate) fn orphaned(mailbox: &Address, orphan: &OrphanedFolder, replayed: Option<&str>) -> String {
    let OrphanedFolder { folder, waiting, failed } = orphan;
    let what_to_do = match replayed {
        Some(kind) => format!(
            "to deliver them to the present sink, set the annotation email.askrobots.com/replay of the {kind}; otherwise delete the folder with a mail client"
        ),
        None => "move them into a queue folder that a rule names, or delete the folder, with a mail client".to_owned(),
    };
    format!(
        "{mailbox}: {waiting} copies wait in {folder} and {failed} are in its Failed, but no action of a rule names this folder any more, so nobody delivers them; {what_to_do}"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::crd::EmailForwardingRule;
    use crate::intake::queue::{ImapServer, ImapTls, MailboxQueues, Work};
    use crate::intake::report::{AttemptReport, Failure, ScanReport};
    use crate::intake::rule_ref::RuleRef;

    const FOLDER: &str = "Ops/Tasks/n/r@tracker";

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn address(local: &str) -> Address {
        Address::parse(&format!("{local}@e.com")).unwrap()
    }

    fn rule_ref() -> RuleRef {
        RuleRef { uid: "u".into(), namespace: "n".into(), name: "r".into() }
    }

    fn rule(mailboxes: &[&str]) -> RuleQueues {
        let spec = serde_yaml::from_str("mailboxRef: {name: ada}\nactions: []").unwrap();
        let mut object = EmailForwardingRule::new("r", spec);
        object.metadata.uid = Some("u".into());
        object.metadata.namespace = Some("n".into());
        RuleQueues {
            object: Arc::new(object),
            folders: mailboxes.iter().map(|local| key("u", &address(local), FOLDER)).collect(),
            unreadable: Vec::new(),
            paused: Vec::new(),
            sinks: vec!["tracker".into()],
            blocked: None,
            replay: Some("1".into()),
        }
    }

    fn folder(local: &str, delivered: u64, failed: u64, waiting: u64) -> Report {
        Report::Folder(FolderReport {
            mailbox: address(local),
            rule: rule_ref(),
            folder: FOLDER.into(),
            sink: "tracker".into(),
            at: at(100),
            blocked: None,
            waiting,
            oldest_waiting: (waiting > 0).then(|| at(40)),
            failed,
            skipped: 0,
            delivered,
        })
    }

    fn scan(local: &str, failure: Option<&str>) -> Report {
        let failure = failure.map(|message| Failure { reason: EventReason::LoginRejected, message: message.into() });
        Report::Scan(ScanReport { mailbox: address(local), at: at(90), failure })
    }

    /// All that can be read is worked on.
    fn made(rule: RuleQueues) -> Assembled {
        let mailbox = |key: &FolderKey| MailboxQueues {
            address: key.mailbox.clone(),
            server: Arc::new(ImapServer { host: "m".into(), port: 993, tls: ImapTls::Implicit, ca: Vec::new() }),
            login: "u".into(),
            password: "p".into(),
            folders: Vec::new(),
            authserv_id: None,
        };
        let work = Work { mailboxes: rule.folders.iter().map(mailbox).collect(), ..Work::default() };
        Assembled { work, rules: vec![rule], replays: Vec::new() }
    }

    fn collected(reports: &[Report]) -> Reports {
        let mut all = Reports::default();
        all.retain(&made(rule(&["ada", "bob"])), &at(50));
        for report in reports {
            all.record(report);
        }
        all
    }

    #[test]
    fn the_counts_of_all_mailboxes_add_up() {
        let all = collected(&[folder("ada", 3, 1, 0), folder("bob", 4, 0, 2), folder("ada", 5, 1, 0)]);
        let status = all.status(&rule(&["ada", "bob"]), None, &Resolved::default()).unwrap();
        assert_eq!((status.total, status.failed, status.waiting), (9, 1, 2));
        assert_eq!((status.reason, status.last_time), (None, None));
    }

    #[test]
    fn nothing_is_reported_before_something_is_known_and_nothing_falls_while_a_part_is_unknown() {
        let all = collected(&[]);
        assert_eq!(all.status(&rule(&["ada"]), None, &Resolved::default()), None);
        let before = DeliveredStatus { total: 9, ..DeliveredStatus::default() };
        let part = collected(&[folder("ada", 3, 0, 0)]);
        assert_eq!(part.status(&rule(&["ada", "bob"]), Some(&before), &Resolved::default()).unwrap().total, 9);
        assert_eq!(part.status(&rule(&["ada"]), Some(&before), &Resolved::default()).unwrap().total, 3);
    }

    #[test]
    fn what_is_wrong_is_reported_and_goes_when_it_is_right() {
        let mut all = collected(&[folder("ada", 0, 0, 1), scan("ada", Some("refused"))]);
        let reported = |all: &Reports, sinks: &Resolved| {
            let status = all.status(&rule(&["ada"]), None, sinks).unwrap();
            (status.reason.unwrap_or_default(), status.message.unwrap_or_default())
        };
        assert_eq!(reported(&all, &Resolved::default()), ("LoginRejected".into(), "refused".into()));
        let invalid = BTreeMap::from([("tracker".to_owned(), "no Secret".to_owned())]);
        let invalid = Resolved { invalid, ..Resolved::default() };
        assert_eq!(reported(&all, &invalid), ("SinkInvalid".into(), "no Secret".into()));
        all.record(&scan("ada", None));
        assert_eq!(reported(&all, &Resolved::default()), (String::new(), String::new()));
        let Report::Folder(mut held) = folder("ada", 0, 0, 1) else { unreachable!("it is of a folder") };
        held.blocked = Some(Failure { reason: EventReason::SinkFailing, message: "status 500".into() });
        all.record(&Report::Folder(held));
        assert_eq!(reported(&all, &Resolved::default()), ("SinkFailing".into(), "status 500".into()));
        all.record(&folder("ada", 0, 0, 1));
        assert_eq!(reported(&all, &Resolved::default()).0, "");
        let attempt = |result, second| {
            Report::Attempt(AttemptReport {
                mailbox: address("ada"),
                rule: rule_ref(),
                folder: FOLDER.into(),
                sink: "tracker".into(),
                at: at(second),
                result,
                age_seconds: 1.0,
            })
        };
        all.record(&attempt(AttemptResult::Delivered, 120));
        all.record(&attempt(AttemptResult::Retry, 130));
        assert_eq!(all.status(&rule(&["ada"]), None, &Resolved::default()).unwrap().last_time, Some(at(120)));
    }

    #[test]
    fn a_sink_that_answered_410_is_in_the_status_until_it_works() {
        let Report::Folder(mut gone) = folder("ada", 0, 1, 0) else { unreachable!("it is of a folder") };
        gone.blocked = Some(Failure { reason: EventReason::SinkDisabled, message: "410".into() });
        let mut all = collected(&[Report::Folder(gone)]);
        let resolved = |configuration: &str| Resolved {
            configurations: BTreeMap::from([("tracker".to_owned(), configuration.to_owned())]),
            ..Resolved::default()
        };
        let ada = rule(&["ada"]);
        let status = all.status(&ada, None, &resolved("v1")).unwrap();
        let known = vec![DisabledSink { name: "tracker".into(), configuration: "v1".into() }];
        assert_eq!(status.disabled_sinks, known);
        // A new process keeps it while it knows nothing of the folder, and the sink is still the same.
        let new = collected(&[]);
        assert_eq!(new.status(&ada, Some(&status), &resolved("v1")).unwrap().disabled_sinks, known);
        assert_eq!(new.status(&ada, Some(&status), &resolved("v2")).unwrap().disabled_sinks, vec![]);
        all.record(&folder("ada", 1, 1, 0));
        assert_eq!(all.status(&ada, Some(&status), &resolved("v1")).unwrap().disabled_sinks, vec![]);
    }

    fn replayed(local: &str, of_rule: Option<&str>, of_mailbox: Option<&str>) -> Report {
        let text = |value: Option<&str>| value.map(ToOwned::to_owned);
        Report::Replayed {
            rule: rule_ref(),
            mailbox: address(local),
            folder: FOLDER.into(),
            request: Replay { rule: text(of_rule), mailbox: text(of_mailbox) },
            messages: 1,
        }
    }

    #[test]
    fn a_replay_is_done_when_it_is_done_in_every_folder() {
        let mut all = collected(&[replayed("ada", Some("1"), None)]);
        let both = rule(&["ada", "bob"]);
        assert_eq!(all.replayed_rule(&both), None);
        all.record(&replayed("bob", Some("0"), None));
        assert_eq!(all.replayed_rule(&both), None);
        // The mailbox's own request does not undo the rule's.
        all.record(&replayed("ada", None, Some("x mailbox=1")));
        all.record(&replayed("bob", Some("1"), Some("x")));
        assert_eq!(all.replayed_rule(&both), Some(RuleReplay { request: "1".into(), left_out: vec![] }));
    }

    #[test]
    fn a_replay_ends_although_a_mailbox_can_not_be_read() {
        let mut three = rule(&["ada", "bob"]);
        three.unreadable.push(key("u", &address("eve"), FOLDER));
        three.blocked = Some(Blocked { reason: "ImapDisabled".into(), message: "m".into() });
        let mut all = collected(&[]);
        all.retain(&made(three.clone()), &at(50));
        assert_eq!(all.replayed_rule(&three), None, "nothing is done yet");
        all.record(&replayed("ada", Some("1"), None));
        assert_eq!(all.replayed_rule(&three), None, "bob's mailbox may be read in a moment");
        all.record(&scan("bob", Some("refused")));
        let left_out = ["bob", "eve"].map(address).to_vec();
        assert_eq!(all.replayed_rule(&three), Some(RuleReplay { request: "1".into(), left_out }));
        // A new process knows from the annotation and the status alone that it is handled: `RuleQueues::replay`.
        three.replay = None;
        assert_eq!(all.replayed_rule(&three), None);
    }

    #[test]
    fn figures_are_of_now() {
        let all =
            collected(&[folder("ada", 0, 2, 1), folder("bob", 0, 0, 0), scan("ada", None), scan("bob", Some("x"))]);
        let figures = all.figures(&at(100));
        let tracker = SinkFigures { waiting: 1, failed: 2, oldest_waiting: 60.0 };
        assert_eq!(figures.sinks, BTreeMap::from([("tracker".to_owned(), tracker)]));
        let of_mailboxes = (figures.mailboxes_ok, figures.mailboxes_failing, figures.scan_age);
        assert_eq!(of_mailboxes, (1, 1, 50.0), "bob was never scanned");
    }

    #[test]
    fn a_mailbox_that_can_not_be_read_stays_in_the_figures() {
        let mut all = collected(&[folder("ada", 0, 2, 1), scan("ada", None), scan("bob", None)]);
        let mut off = rule(&["bob"]);
        off.unreadable.push(key("u", &address("ada"), FOLDER));
        assert!(all.retain(&made(off.clone()), &at(95)).is_empty());
        let figures = all.figures(&at(1_000));
        assert_eq!((figures.mailboxes_ok, figures.mailboxes_failing), (1, 1));
        assert_eq!(figures.sinks["tracker"], SinkFigures { waiting: 1, failed: 2, oldest_waiting: 960.0 });
        let mut new = Reports::default();
        new.retain(&made(off.clone()), &at(500));
        let figures = new.figures(&at(1_000));
        assert_eq!((figures.mailboxes_failing, figures.scan_age), (1, 500.0), "a new process counts from its start");
        // Somebody pauses it: that is no fault.
        off.paused = std::mem::take(&mut off.unreadable);
        assert!(all.retain(&made(off), &at(1_000)).is_empty(), "what is paused is no orphan");
        let figures = all.figures(&at(1_000));
        assert!(figures.mailboxes_failing == 0 && figures.sinks.is_empty(), "{figures:?}");
    }

    #[test]
    fn a_new_mailbox_is_not_late_from_the_beginning() {
        let mut all = collected(&[scan("ada", None), scan("bob", None)]);
        all.retain(&made(rule(&["ada", "bob", "eve"])), &at(1_000));
        let state = &all.mailboxes[&address("eve")];
        assert_eq!((state.since.clone(), state.scanned.clone()), (at(1_000), None));
    }

    #[test]
    fn copies_that_no_rule_names_are_reported() {
        let orphan = |folder: &str| OrphanedFolder { folder: folder.into(), waiting: 2, failed: 1 };
        let orphans = |folder: &str| Report::Orphaned { mailbox: address("ada"), folders: vec![orphan(folder)] };
        let mut all = collected(&[folder("ada", 0, 0, 0), orphans("Ops/Tasks/n/r@old")]);
        let status = all.status(&rule(&["ada", "bob"]), None, &Resolved::default()).unwrap();
        assert_eq!(status.reason.as_deref(), Some("OrphanedCopies"));
        let message = status.message.unwrap();
        assert!(message.contains("2 copies wait in Ops/Tasks/n/r@old") && message.contains("replay"), "{message}");
        assert_eq!(all.figures(&at(100)).orphaned, 3);
        // Of another rule.
        all.record(&orphans("Ops/Tasks/n/other@old"));
        let status = all.status(&rule(&["ada", "bob"]), None, &Resolved::default()).unwrap();
        assert_eq!((status.reason, all.figures(&at(100)).orphaned), (None, 3));
        // Of a rule that is paused.
        let mut paused = rule(&["ada", "bob"]);
        paused.paused.push(key("v", &address("ada"), "Ops/Tasks/n/other@tracker"));
        all.retain(&made(paused), &at(100));
        all.record(&orphans("Ops/Tasks/n/other@tracker"));
        assert_eq!(all.figures(&at(100)).orphaned, 0);
        // The rule names it again.
        all.record(&orphans(FOLDER));
        all.retain(&made(rule(&["ada", "bob"])), &at(100));
        assert_eq!(all.figures(&at(100)).orphaned, 0);
    }

    #[test]
    fn a_folder_that_goes_with_copies_is_given_back_once() {
        let mut all = collected(&[folder("ada", 3, 0, 2), folder("bob", 3, 0, 0)]);
        let left = all.retain(&Assembled::default(), &at(100));
        assert_eq!(
            left.iter().map(|folder| (&folder.mailbox, folder.waiting)).collect::<Vec<_>>(),
            [(&address("ada"), 2)]
        );
        assert!(all.retain(&Assembled::default(), &at(100)).is_empty());
    }
}
