//! What the intake reports → the statuses of rules. Decides only; the counts are those that the intake read from the
//! mailboxes, so a new process comes to the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::work::{Assembled, Blocked, RuleQueues};
use crate::crd::DeliveredStatus;
use crate::intake::report::{AttemptResult, EventReason, FolderReport, Report};
use crate::mail::Address;

/// A folder: the rule's uid, the mailbox, and the index of the action.
type Folder = (String, Address, usize);

/// What was reported last of everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    folders: BTreeMap<Folder, FolderReport>,
    scans: BTreeMap<Address, Scan>,
    /// When a sink last took a message of a rule.
    last_times: HashMap<String, Time>,
    /// Replay requests that are done.
    replayed: HashMap<Folder, String>,
}

/// The scans of a mailbox.
#[derive(Clone, Debug, Default)]
struct Scan {
    /// When the last one succeeded.
    succeeded: Option<Time>,
    /// Why the last one failed.
    failure: Option<Blocked>,
}

/// Current figures for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Messages that wait, by sink.
    pub waiting: BTreeMap<String, u64>,
    /// Messages in `Failed`, by sink.
    pub failed: BTreeMap<String, u64>,
    /// Age of the oldest message that waits in seconds, by sink.
    pub oldest: BTreeMap<String, f64>,
    /// Mailboxes whose last scan succeeded, and others.
    pub mailboxes: (i64, i64),
    /// The longest time since the last successful scan of a mailbox in seconds.
    pub scan_age: f64,
}

impl Reports {
    /// Notes one report.
    pub(crate) fn note(&mut self, report: &Report) {
        match report {
            Report::Folder(folder) => {
                let place = (folder.rule.uid.clone(), folder.mailbox.clone(), folder.action);
                self.folders.insert(place, folder.clone());
            }
            Report::Scan(scan) => {
                let known = self.scans.entry(scan.mailbox.clone()).or_default();
                known.failure =
                    scan.failure.as_ref().map(|failure| Blocked::reported(failure.reason, &failure.message));
                if scan.failure.is_none() {
                    known.succeeded = Some(scan.at.clone());
                }
            }
            Report::Attempt(attempt) if attempt.result == AttemptResult::Delivered => {
                let last = self.last_times.entry(attempt.rule.uid.clone()).or_insert_with(|| attempt.at.clone());
                if last.0 < attempt.at.0 {
                    last.clone_from(&attempt.at);
                }
            }
            Report::Attempt(_) | Report::Event(_) => {}
            Report::Replayed { rule, mailbox, action, request, .. } => {
                self.replayed.insert((rule.uid.clone(), mailbox.clone(), *action), request.clone());
            }
        }
    }

    /// Forgets rules and mailboxes that are not worked on any more.
    pub(crate) fn retain(&mut self, made: &Assembled) {
        let folders: HashSet<Folder> = made
            .rules
            .iter()
            .flat_map(|rule| {
                let uid = rule.object.uid().unwrap_or_default();
                rule.folders.iter().map(move |(mailbox, action)| (uid.clone(), mailbox.clone(), *action))
            })
            .collect();
        self.folders.retain(|folder, _| folders.contains(folder));
        self.replayed.retain(|folder, _| folders.contains(folder));
        let uids: HashSet<&str> = folders.iter().map(|(uid, ..)| uid.as_str()).collect();
        self.last_times.retain(|uid, _| uids.contains(uid.as_str()));
        let mailboxes: HashSet<&Address> = made.work.mailboxes.iter().map(|mailbox| &mailbox.address).collect();
        self.scans.retain(|mailbox, _| mailboxes.contains(mailbox));
    }

    /// The status of a rule; `None` while nothing is known. What can't be read now stays as it was.
    pub(crate) fn status(
        &self,
        rule: &RuleQueues,
        before: Option<&DeliveredStatus>,
        invalid: &BTreeMap<String, String>,
    ) -> Option<DeliveredStatus> {
        let uid = rule.object.uid().unwrap_or_default();
        let place = |(mailbox, action): &(Address, usize)| (uid.clone(), mailbox.clone(), *action);
        let known: Vec<&FolderReport> =
            rule.folders.iter().filter_map(|folder| self.folders.get(&place(folder))).collect();
        let blocked = self.blocked(rule, invalid);
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
        })
    }

    /// What a person has to know first.
    fn blocked(&self, rule: &RuleQueues, invalid: &BTreeMap<String, String>) -> Option<Blocked> {
        let of_sink = rule.sinks.iter().find_map(|sink| {
            let message = invalid.get(sink)?;
            Some(Blocked { reason: EventReason::SinkInvalid.as_str().to_owned(), message: message.clone() })
        });
        let of_scan = || {
            let mailboxes = rule.folders.iter().map(|(mailbox, _)| mailbox);
            mailboxes.filter_map(|mailbox| self.scans.get(mailbox)).find_map(|scan| scan.failure.clone())
        };
        let uid = rule.object.uid().unwrap_or_default();
        let of_folder = || {
            let folders = rule
                .folders
                .iter()
                .filter_map(|(mailbox, action)| self.folders.get(&(uid.clone(), mailbox.clone(), *action)));
            folders
                .filter_map(|folder| folder.blocked.as_ref())
                .map(|why| Blocked::reported(why.reason, &why.message))
                .next()
        };
        rule.blocked.clone().or(of_sink).or_else(of_scan).or_else(of_folder)
    }

    /// The replay request of a rule, if it is done in all its folders.
    pub(crate) fn replayed_rule<'a>(&self, rule: &'a RuleQueues) -> Option<&'a str> {
        let asked = rule.replay.as_deref()?;
        let uid = rule.object.uid().unwrap_or_default();
        let is_done = |(mailbox, action): &(Address, usize)| {
            let done = self.replayed.get(&(uid.clone(), mailbox.clone(), *action));
            done.is_some_and(|done| done.starts_with(&format!("rule={asked} mailbox=")))
        };
        (!rule.folders.is_empty() && rule.blocked.is_none() && rule.folders.iter().all(is_done)).then_some(asked)
    }

    /// Whether the replay request of a mailbox is done in all its folders.
    pub(crate) fn is_mailbox_replayed(&self, mailbox: &Address, asked: &str, made: &Assembled) -> bool {
        let folders = made.work.mailboxes.iter().filter(|it| it.address == *mailbox).flat_map(|it| &it.folders);
        let mut places = folders.map(|folder| (folder.rule.uid.clone(), mailbox.clone(), folder.action)).peekable();
        let is_done =
            |place: Folder| self.replayed.get(&place).is_some_and(|done| done.ends_with(&format!(" mailbox={asked}")));
        places.peek().is_some() && places.all(is_done)
    }

    /// The current figures of a process that `started` then.
    pub(crate) fn figures(&self, mailboxes: &[Address], now: &Time, started: &Time) -> Figures {
        let mut figures = Figures::default();
        let age = |at: &Time| now.0.duration_since(at.0).as_secs_f64().max(0.0);
        for folder in self.folders.values() {
            *figures.waiting.entry(folder.sink.clone()).or_default() += folder.waiting;
            *figures.failed.entry(folder.sink.clone()).or_default() += folder.failed;
            let oldest = figures.oldest.entry(folder.sink.clone()).or_default();
            *oldest = folder.oldest_waiting.as_ref().map(age).unwrap_or_default().max(*oldest);
        }
        for mailbox in mailboxes {
            let scan = self.scans.get(mailbox);
            let is_good = scan.is_some_and(|scan| scan.failure.is_none());
            figures.mailboxes.0 += i64::from(is_good);
            figures.mailboxes.1 += i64::from(scan.is_some() && !is_good);
            let succeeded = scan.and_then(|scan| scan.succeeded.as_ref());
            figures.scan_age = figures.scan_age.max(age(succeeded.unwrap_or(started)));
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::crd::EmailForwardingRule;
    use crate::intake::queue::RuleRef;
    use crate::intake::report::{AttemptReport, Failure, ScanReport};

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
        RuleQueues {
            object: Arc::new(object),
            folders: mailboxes.iter().map(|local| (address(local), 0)).collect(),
            sinks: vec!["tracker".into()],
            blocked: None,
            replay: Some("1".into()),
        }
    }

    fn folder(local: &str, delivered: u64, failed: u64, waiting: u64) -> Report {
        Report::Folder(FolderReport {
            mailbox: address(local),
            rule: rule_ref(),
            action: 0,
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

    fn collected(reports: &[Report]) -> Reports {
        let mut all = Reports::default();
        for report in reports {
            all.note(report);
        }
        all
    }

    #[test]
    fn the_counts_of_all_mailboxes_add_up() {
        let all = collected(&[folder("ada", 3, 1, 0), folder("bob", 4, 0, 2), folder("ada", 5, 1, 0)]);
        let status = all.status(&rule(&["ada", "bob"]), None, &BTreeMap::new()).unwrap();
        assert_eq!((status.total, status.failed, status.waiting), (9, 1, 2));
        assert_eq!((status.reason, status.last_time), (None, None));
    }

    #[test]
    fn nothing_is_said_before_something_is_known_and_nothing_falls_while_a_part_is_unknown() {
        let all = collected(&[]);
        assert_eq!(all.status(&rule(&["ada"]), None, &BTreeMap::new()), None);
        let before = DeliveredStatus { total: 9, ..DeliveredStatus::default() };
        let part = collected(&[folder("ada", 3, 0, 0)]);
        assert_eq!(part.status(&rule(&["ada", "bob"]), Some(&before), &BTreeMap::new()).unwrap().total, 9);
        assert_eq!(part.status(&rule(&["ada"]), Some(&before), &BTreeMap::new()).unwrap().total, 3);
    }

    #[test]
    fn what_is_wrong_is_said_and_goes_when_it_is_right() {
        let mut all = collected(&[folder("ada", 0, 0, 1), scan("ada", Some("refused"))]);
        let said = |all: &Reports, invalid: &BTreeMap<String, String>| {
            let status = all.status(&rule(&["ada"]), None, invalid).unwrap();
            (status.reason.unwrap_or_default(), status.message.unwrap_or_default())
        };
        assert_eq!(said(&all, &BTreeMap::new()), ("LoginRejected".into(), "refused".into()));
        let invalid = BTreeMap::from([("tracker".to_owned(), "no Secret".to_owned())]);
        assert_eq!(said(&all, &invalid), ("SinkInvalid".into(), "no Secret".into()));
        all.note(&scan("ada", None));
        assert_eq!(said(&all, &BTreeMap::new()), (String::new(), String::new()));
        let Report::Folder(mut held) = folder("ada", 0, 0, 1) else { unreachable!("it is of a folder") };
        held.blocked = Some(Failure { reason: EventReason::SinkFailing, message: "status 500".into() });
        all.note(&Report::Folder(held));
        assert_eq!(said(&all, &BTreeMap::new()), ("SinkFailing".into(), "status 500".into()));
        all.note(&folder("ada", 0, 0, 1));
        assert_eq!(said(&all, &BTreeMap::new()).0, "");
        let attempt = |result, second| {
            Report::Attempt(AttemptReport {
                mailbox: address("ada"),
                rule: rule_ref(),
                action: 0,
                sink: "tracker".into(),
                at: at(second),
                result,
                age_seconds: 1.0,
            })
        };
        all.note(&attempt(AttemptResult::Delivered, 120));
        all.note(&attempt(AttemptResult::Retry, 130));
        assert_eq!(all.status(&rule(&["ada"]), None, &BTreeMap::new()).unwrap().last_time, Some(at(120)));
    }

    #[test]
    fn a_replay_is_done_when_it_is_done_in_every_folder() {
        let replayed = |local: &str, request: &str| Report::Replayed {
            rule: rule_ref(),
            mailbox: address(local),
            action: 0,
            request: request.into(),
            messages: 1,
        };
        let mut all = collected(&[replayed("ada", "rule=1 mailbox=")]);
        let both = rule(&["ada", "bob"]);
        assert_eq!(all.replayed_rule(&both), None);
        all.note(&replayed("bob", "rule=0 mailbox="));
        assert_eq!(all.replayed_rule(&both), None);
        all.note(&replayed("bob", "rule=1 mailbox=x"));
        assert_eq!(all.replayed_rule(&both), Some("1"));
    }

    #[test]
    fn figures_are_of_now() {
        let all =
            collected(&[folder("ada", 0, 2, 1), folder("bob", 0, 0, 0), scan("ada", None), scan("bob", Some("x"))]);
        let figures = all.figures(&["ada", "bob"].map(address), &at(100), &at(50));
        assert_eq!(figures.waiting, BTreeMap::from([("tracker".to_owned(), 1)]));
        assert_eq!(figures.failed, BTreeMap::from([("tracker".to_owned(), 2)]));
        assert_eq!(figures.oldest, BTreeMap::from([("tracker".to_owned(), 60.0)]));
        assert_eq!((figures.mailboxes, figures.scan_age), ((1, 1), 50.0), "bob was never scanned");
        let age = all.figures(&[address("ada")], &at(100), &at(50)).scan_age;
        assert!((age - 10.0).abs() < 0.1, "{age}");
    }
}
