//! Counts of objects. What is counted of an object is small and mostly shared, so that a store counts along and a scrape
//! looks at no object, where one instance serves everything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::crd::StatusCondition;
use crate::outcome::Reason;

/// States of an object; each object has one.
pub const STATES: [&str; 5] = ["Ready", "NotReady", "Stalled", "Paused", "Deleting"];

/// How long a recreated entry is counted, in hours.
const DAY: i64 = 24;

/// Values of `DNSVerified`.
const VERIFIED: [&str; 3] = ["True", "False", "Unknown"];

/// The current counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Number of objects, by kind and state.
    pub objects: BTreeMap<(&'static str, &'static str), i64>,
    /// Number of domains, by `DNSVerified`.
    pub domains: BTreeMap<&'static str, i64>,
    /// Number of mailboxes that are nearly full.
    pub nearly_full: i64,
    /// Number of objects whose entries vanished with their mail and were recreated within a day, by kind.
    pub recreated: BTreeMap<&'static str, i64>,
    /// Number of objects whose entries vanished together with many others and are not recreated, by kind.
    pub vanished: BTreeMap<&'static str, i64>,
    /// State of the breaker, by server.
    pub breakers: BTreeMap<String, &'static str>,
}

/// What is counted of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectState {
    /// One of [`STATES`].
    state: &'static str,
    is_vanished: bool,
    is_nearly_full: bool,
    /// The value of `DNSVerified`.
    verified: &'static str,
    /// The hour since 1970 in which its entry was recreated. An exact time would tell each object from all others.
    recreated: Option<i64>,
}

impl ObjectState {
    /// Of an object with these conditions, whose entry was `recreated` at some time, or never.
    pub fn of(conditions: &[StatusCondition], is_deleting: bool, recreated: Option<&Time>) -> Self {
        let is_vanished =
            |c: &StatusCondition| c.type_ == "Stalled" && c.reason == Reason::VanishedFromMailcow.as_str();
        let is_nearly_full = |c: &StatusCondition| c.type_ == "QuotaNearlyFull" && c.status == "True";
        let said = conditions.iter().find(|c| c.type_ == "DNSVerified").map(|c| c.status.as_str());
        Self {
            state: state(conditions, is_deleting),
            is_vanished: conditions.iter().any(is_vanished),
            is_nearly_full: conditions.iter().any(is_nearly_full),
            verified: VERIFIED.into_iter().find(|word| said == Some(word)).unwrap_or("Unknown"),
            recreated: recreated.map(hour),
        }
    }
}

impl Counts {
    /// Counts this many objects alike.
    pub fn count(&mut self, kind: &'static str, object: &ObjectState, number: i64) {
        *self.objects.entry((kind, object.state)).or_default() += number;
        *self.vanished.entry(kind).or_default() += if object.is_vanished { number } else { 0 };
    }

    /// Counts objects whose entries were recreated at some time, or never.
    pub fn count_recreated(&mut self, kind: &'static str, object: &ObjectState, number: i64, now: &Time) {
        let is_new = object.recreated.is_some_and(|at| hour(now) - at < DAY);
        *self.recreated.entry(kind).or_default() += if is_new { number } else { 0 };
    }

    /// Counts mailboxes that are nearly full.
    pub fn count_quota(&mut self, mailbox: &ObjectState, number: i64) {
        self.nearly_full += if mailbox.is_nearly_full { number } else { 0 };
    }

    /// Counts domains by their DNS conditions.
    pub fn count_dns(&mut self, domain: &ObjectState, number: i64) {
        *self.domains.entry(domain.verified).or_default() += number;
    }

    /// Adds a kind with zero objects in each state, and domains with zero of each value.
    pub fn of_kind(&mut self, kind: &'static str) {
        self.vanished.entry(kind).or_default();
        for state in STATES {
            self.objects.entry((kind, state)).or_default();
        }
        for said in VERIFIED {
            self.domains.entry(said).or_default();
        }
    }
}

/// The hour since 1970.
fn hour(time: &Time) -> i64 {
    time.0.as_second().div_euclid(3600)
}

/// The state of an object, from its conditions.
fn state(conditions: &[StatusCondition], is_deleting: bool) -> &'static str {
    let is = |kind: &str| conditions.iter().any(|c| c.type_ == kind && c.status == "True");
    match () {
        () if is_deleting => "Deleting",
        () if is("Paused") => "Paused",
        () if is("Stalled") => "Stalled",
        () if is("Ready") => "Ready",
        () => "NotReady",
    }
}

/// Makes the counts; none until it knows how.
#[derive(Clone, Default)]
pub(super) struct Watcher(Arc<RwLock<Option<Look>>>);

/// How to make the counts.
type Look = Box<dyn Fn() -> Counts + Send + Sync>;

impl Watcher {
    /// Sets how to make the counts.
    pub(super) fn set(&self, look: impl Fn() -> Counts + Send + Sync + 'static) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(look));
    }

    /// The current counts.
    pub(super) fn look(&self) -> Counts {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|look| look()).unwrap_or_default()
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::crd::ConditionText;

    fn conditions(said: &[(&str, &str)]) -> Vec<StatusCondition> {
        let text = |kind: &str, status: &str| ConditionText {
            message: String::new(),
            reason: "Any".into(),
            status: status.into(),
            type_: kind.into(),
        };
        let condition = |(kind, status): &(&str, &str)| StatusCondition {
            last_transition_time: clock::now(),
            observed_generation: None,
            text: Arc::new(text(kind, status)),
        };
        said.iter().map(condition).collect()
    }

    #[test]
    fn every_object_has_one_state() {
        let stalled = conditions(&[("Ready", "False"), ("Stalled", "True")]);
        assert_eq!(state(&[], false), "NotReady");
        assert_eq!(state(&conditions(&[("Ready", "True")]), false), "Ready");
        assert_eq!(state(&conditions(&[("Ready", "Unknown")]), false), "NotReady");
        assert_eq!(state(&stalled, false), "Stalled");
        assert_eq!(state(&conditions(&[("Ready", "True"), ("Paused", "True")]), false), "Paused");
        assert_eq!(state(&stalled, true), "Deleting");
    }

    #[test]
    fn a_kind_without_objects_is_counted_too() {
        let mut counts = Counts::default();
        counts.of_kind("EmailAlias");
        counts.count("EmailAlias", &ObjectState::of(&[], false, None), 1);
        let numbers: Vec<i64> = counts.objects.values().copied().collect();
        assert_eq!((counts.objects.len(), numbers.iter().sum::<i64>()), (5, 1));
        counts.count_dns(&ObjectState::of(&conditions(&[("DNSVerified", "False")]), false, None), 2);
        counts.count_dns(&ObjectState::of(&[], false, None), 1);
        assert_eq!(counts.domains, BTreeMap::from([("True", 0), ("False", 2), ("Unknown", 1)]));
    }

    #[test]
    fn what_was_recreated_is_counted_for_a_day() {
        let at = Time("2026-01-01T12:10:00.5Z".parse().unwrap());
        let counted = |now: &str| {
            let mut counts = Counts::default();
            let now = Time(now.parse().unwrap());
            for recreated in [Some(&at), None] {
                counts.count_recreated("EmailMailbox", &ObjectState::of(&[], false, recreated), 3, &now);
            }
            counts.recreated["EmailMailbox"]
        };
        assert_eq!((counted("2026-01-02T11:59:59Z"), counted("2026-01-02T12:00:00Z")), (3, 0), "by the hour");
    }
}
