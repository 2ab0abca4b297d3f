//! The content of a Lease, and how long it is valid. Decides without I/O and without a clock.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;

/// The longest time between two checks of a standby.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// The times that follow from a lease's duration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Time between two checks of a standby.
    pub(crate) look: Duration,
    /// Between two renewals.
    pub(crate) renew: Duration,
    /// How long one renewal may take, so that there is time for another when it hangs.
    pub(crate) attempt: Duration,
    /// How long a confirmed renewal is valid.
    pub(crate) good: Duration,
    /// How long a record must stay unchanged before another instance takes the Lease.
    patience: Duration,
}

impl Times {
    /// Of a lease of this duration.
    pub(crate) fn of(duration: Duration) -> Self {
        let look = (duration / 10).min(LONGEST_LOOK);
        let (renew, attempt) = (duration / 5, duration / 6);
        Self { look, renew, attempt, good: duration * 2 / 3, patience: duration.saturating_sub(look) }
    }
}

/// The last record of another holder, and since when this process has known it.
#[derive(Debug, Default)]
pub(crate) struct Record(Option<(LeaseSpec, Instant)>);

impl Record {
    /// The holder at `now`; nobody if the Lease is free. A deleted Lease is not free at once, because its holder may
    /// not know yet. Of two durations the longer one applies.
    pub(crate) fn holder(
        &mut self,
        said: Option<&LeaseSpec>,
        me: &str,
        duration: Duration,
        now: Instant,
    ) -> Option<String> {
        if let Some(spec) = said {
            let by = spec.holder_identity.as_deref().unwrap_or_default();
            if by.is_empty() || by == me {
                self.0 = None;
            } else if self.0.as_ref().is_none_or(|(before, _)| before != spec) {
                self.0 = Some((spec.clone(), now));
            }
        }
        let (spec, since) = self.0.as_ref()?;
        let theirs = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let patience = Times::of(duration.max(Duration::from_secs(theirs))).patience;
        spec.holder_identity.clone().filter(|_| now.duration_since(*since) < patience)
    }
}

/// The Lease with this holder, renewed `now`.
pub(crate) fn written(before: Lease, name: &str, holder: Option<&str>, duration: Duration, now: MicroTime) -> Lease {
    let spec = before.spec.unwrap_or_default();
    let is_new = holder.is_some() && holder != spec.holder_identity.as_deref();
    let spec = LeaseSpec {
        holder_identity: holder.map(ToOwned::to_owned),
        lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
        acquire_time: if is_new { Some(now.clone()) } else { spec.acquire_time },
        renew_time: Some(now),
        lease_transitions: Some(spec.lease_transitions.unwrap_or_default().saturating_add(i32::from(is_new))),
        ..spec
    };
    Lease { metadata: ObjectMeta { name: Some(name.to_owned()), ..before.metadata }, spec: Some(spec) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const LONG: Duration = Duration::from_secs(15);

    fn held_by(name: &str, second: i64) -> LeaseSpec {
        let time = k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
        written(Lease::default(), "l", Some(name), LONG, MicroTime(time)).spec.unwrap()
    }

    /// What a process "me" makes of these records, each seen so many seconds after the first.
    fn seen(records: &[(u64, Option<LeaseSpec>)]) -> Vec<Option<String>> {
        let (mut record, start) = (Record::default(), Instant::now());
        let mut look = |(after, said): &(u64, Option<LeaseSpec>)| {
            record.holder(said.as_ref(), "me", LONG, start + Duration::from_secs(*after))
        };
        records.iter().map(&mut look).collect()
    }

    #[test]
    fn a_leader_has_stopped_before_another_starts() {
        for seconds in 5..=600 {
            let times = Times::of(Duration::from_secs(seconds));
            assert!(times.good + times.look < times.patience, "{seconds}");
            let two_attempts = times.attempt * 2 + times.look;
            assert!(times.renew + two_attempts <= times.good, "one renewal may hang: {seconds}");
            assert!(times.patience + times.look <= Duration::from_secs(seconds), "{seconds}");
        }
    }

    #[test]
    fn what_is_free_or_ours_is_taken_at_once() {
        let free = LeaseSpec { holder_identity: None, ..held_by("x", 1) };
        let empty = LeaseSpec { holder_identity: Some(String::new()), ..held_by("x", 1) };
        for said in [None, Some(LeaseSpec::default()), Some(free), Some(empty), Some(held_by("me", 1))] {
            assert_eq!(seen(&[(0, said.clone())]), [None], "{said:?}");
        }
    }

    #[test]
    fn another_is_respected_as_long_as_its_record_moves_whatever_time_it_says() {
        let old = Some(held_by("other", 1));
        let other = || Some("other".to_owned());
        assert_eq!(seen(&[(0, old.clone()), (13, old.clone()), (14, old.clone())]), [other(), other(), None]);
        let moved = Some(held_by("other", 2));
        assert_eq!(seen(&[(0, old), (13, moved.clone()), (26, moved.clone()), (27, moved)]).last(), Some(&None));
    }

    #[test]
    fn a_longer_lease_and_a_deleted_one_are_waited_for() {
        let long = LeaseSpec { lease_duration_seconds: Some(60), ..held_by("other", 1) };
        let said = seen(&[(0, Some(long)), (20, None), (58, None), (59, None)]);
        assert_eq!(said.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false]);
    }

    #[test]
    fn only_a_new_holder_counts_as_a_transition() {
        let lease = |before: Lease, by| written(before, "l", by, LONG, clock::precisely());
        let first = lease(Lease::default(), Some("a"));
        let renewed = lease(first.clone(), Some("a"));
        let released = lease(renewed.clone(), None);
        let second = lease(released.clone(), Some("b"));
        let transitions = |lease: &Lease| lease.spec.as_ref().unwrap().lease_transitions;
        assert_eq!([&first, &renewed, &released, &second].map(transitions), [Some(1), Some(1), Some(1), Some(2)]);
        assert_eq!(renewed.spec.unwrap().acquire_time, first.spec.unwrap().acquire_time);
    }
}
