//! When a domain is checked again, and when a changed verdict takes effect.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::verdict::{Reach, Verdict, warning};
use crate::crd::{DnsPropagation, DnsReach, DnsRecordKind, DnsRecordStatus, DnsSource, DnsVerdict};

/// Bad checks in a row before a verified record counts as bad.
pub(super) const BAD_CHECKS: u32 = 3;
/// The least time from the first of them to the last.
pub(super) const BAD_FOR: SignedDuration = SignedDuration::from_mins(30);
/// Without an answer for this long, the last verdict is no longer valid.
const UNANSWERED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// How often a correct record is checked.
const VERIFIED_EVERY: SignedDuration = SignedDuration::from_hours(6);

/// How long to wait, by the age of the problem: 30 s, 1, 2, 5 and 10 minutes, then 10 minutes for a day, an hour until
/// the third day, and 6 hours after that.
const STEPS: [(SignedDuration, SignedDuration); 6] = [
    (SignedDuration::from_secs(29), SignedDuration::from_secs(30)),
    (SignedDuration::from_secs(80), SignedDuration::from_mins(1)),
    (SignedDuration::from_secs(200), SignedDuration::from_mins(2)),
    (SignedDuration::from_secs(480), SignedDuration::from_mins(5)),
    (SignedDuration::from_hours(24), SignedDuration::from_mins(10)),
    (SignedDuration::from_hours(72), SignedDuration::from_hours(1)),
];

/// When a domain with these records is checked again: the most urgent record decides. `jitter` from -1 to 1 moves it by
/// up to a tenth of the wait. A record that was never checked is due now.
pub fn next_check(records: &[DnsRecordStatus], now: Timestamp, jitter: f64) -> Timestamp {
    let wait = records.iter().map(|record| wait(record.failing_since.as_ref(), now)).min();
    moved(wait.unwrap_or(SignedDuration::ZERO), now, jitter)
}

/// When something that fails since then is checked again.
pub(super) fn next_after(failing_since: Option<&Time>, now: Timestamp, jitter: f64) -> Timestamp {
    moved(wait(failing_since, now), now, jitter)
}

fn moved(wait: SignedDuration, now: Timestamp, jitter: f64) -> Timestamp {
    let moved = SignedDuration::try_from_secs_f64(wait.as_secs_f64() * (1.0 + jitter.clamp(-1.0, 1.0) / 10.0));
    now.checked_add(moved.unwrap_or(wait)).unwrap_or(now)
}

fn wait(failing_since: Option<&Time>, now: Timestamp) -> SignedDuration {
    let Some(since) = failing_since else { return VERIFIED_EVERY };
    let age = now.duration_since(since.0);
    STEPS.iter().find(|(until, _)| age <= *until).map_or(VERIFIED_EVERY, |(_, wait)| *wait)
}

/// The status after a check.
///
/// A good verdict counts at once, as does any verdict on a record whose expected value changed. A bad one after a good
/// one counts from the third check in a row, at least 30 minutes after the first; one without an answer changes nothing
/// for 24 hours. `next_check` is left for [`settle_all`].
pub fn settle(before: Option<&DnsRecordStatus>, verdict: Verdict, now: Timestamp) -> DnsRecordStatus {
    let unanswered_now = verdict.verdict == DnsVerdict::TempError;
    let same = before.filter(|before| before.name == verdict.name);
    let same = same.filter(|before| unanswered_now || before.expected == verdict.expected);
    match same {
        Some(before) if verdict.verdict == DnsVerdict::TempError => unanswered(before, verdict, now),
        Some(before) if before.verdict == DnsVerdict::Verified && verdict.verdict != DnsVerdict::Verified => {
            suspicious(before, verdict, now)
        }
        _ => accepted(same, verdict, now),
    }
}

/// The new verdict takes effect.
fn accepted(before: Option<&DnsRecordStatus>, verdict: Verdict, now: Timestamp) -> DnsRecordStatus {
    let good = verdict.verdict == DnsVerdict::Verified;
    let since = before.and_then(|before| before.failing_since.clone()).unwrap_or(Time(now));
    let answered = verdict.verdict != DnsVerdict::TempError;
    let last_answered = if answered { None } else { before.and_then(answered_at) };
    let propagation = verdict.propagation.map(|reach| propagation(reach, before, now));
    DnsRecordStatus {
        kind: verdict.kind,
        name: verdict.name,
        verdict: verdict.verdict,
        required: before.is_some_and(|before| before.required),
        expected: verdict.expected,
        observed: verdict.observed,
        warnings: verdict.warnings,
        message: verdict.message,
        hint: verdict.hint,
        source: verdict.source,
        propagation,
        dnssec: verdict.dnssec,
        failures: 0,
        failing_since: (!good).then_some(since),
        last_answered,
        last_checked: Some(Time(now)),
        next_check: None,
    }
}

/// When a check last got an answer.
fn answered_at(record: &DnsRecordStatus) -> Option<Time> {
    let last = record.last_checked.clone().filter(|_| record.verdict != DnsVerdict::TempError);
    record.last_answered.clone().or(last)
}

/// The expiry time in a cache stays the same between two checks that differ only by rounded seconds.
fn propagation(reach: Reach, before: Option<&DnsRecordStatus>, now: Timestamp) -> DnsPropagation {
    let (state, seconds, servers) = match reach {
        Reach::Everywhere => (DnsReach::Everywhere, None, Vec::new()),
        Reach::Pending { seconds } => (DnsReach::Pending, Some(seconds), Vec::new()),
        Reach::Disagree { servers } => (DnsReach::Disagree, None, servers),
    };
    let known = before.and_then(|before| before.propagation.as_ref()?.until.clone());
    let until = seconds.and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds.into())).ok());
    let until = until.map(|until| {
        let close = |known: &Time| until.duration_since(known.0).abs() <= SignedDuration::from_secs(5);
        known.filter(close).unwrap_or(Time(until))
    });
    DnsPropagation { state, until, servers }
}

/// The verdict before stays, with a warning.
fn kept(before: &DnsRecordStatus, reason: &str, message: String, now: Timestamp) -> DnsRecordStatus {
    let mut kept = before.clone();
    kept.warnings.retain(|warning| warning.reason != "CheckFailing" && warning.reason != "Failing");
    kept.warnings.push(warning(reason, message));
    kept.failing_since = Some(before.failing_since.clone().unwrap_or(Time(now)));
    kept.last_checked = Some(Time(now));
    kept.next_check = None;
    kept
}

/// No answer: the verdict before stays for a day.
fn unanswered(before: &DnsRecordStatus, verdict: Verdict, now: Timestamp) -> DnsRecordStatus {
    let last = answered_at(before);
    let fresh = last.as_ref().is_some_and(|last| now.duration_since(last.0) < UNANSWERED_FOR);
    if !fresh || before.verdict == DnsVerdict::TempError {
        return accepted(Some(before), verdict, now);
    }
    let mut kept = kept(before, "CheckFailing", verdict.message, now);
    kept.last_answered = last;
    kept
}

/// Bad after good takes effect only when it lasts. The answer of a resolver counts only if resolvers are always asked.
fn suspicious(before: &DnsRecordStatus, verdict: Verdict, now: Timestamp) -> DnsRecordStatus {
    let trusted = verdict.source == DnsSource::Authoritative || before.source == DnsSource::Recursive;
    let failures = before.failures + u32::from(trusted);
    let starts = trusted && before.failures == 0;
    let since = before.failing_since.as_ref().filter(|_| !starts).map_or(now, |since| since.0);
    if failures >= BAD_CHECKS && now.duration_since(since) >= BAD_FOR {
        return accepted(Some(before), verdict, now);
    }
    let mut kept = kept(before, "Failing", verdict.message, now);
    kept.failures = failures;
    kept.failing_since = Some(Time(since));
    kept.observed = verdict.observed;
    kept.last_answered = None;
    kept.propagation = verdict.propagation.map(|reach| propagation(reach, Some(before), now));
    kept
}

/// All records after a check of the domain, sorted by type and name, with the time of the next check.
pub fn settle_all(
    before: &[DnsRecordStatus],
    verdicts: Vec<Verdict>,
    required: &[DnsRecordKind],
    now: Timestamp,
    jitter: f64,
) -> Vec<DnsRecordStatus> {
    let settled = verdicts.into_iter().map(|verdict| {
        let is_it = |record: &&DnsRecordStatus| record.kind == verdict.kind && record.name == verdict.name;
        let old = before.iter().find(is_it);
        let mut record = settle(old, verdict, now);
        record.required = required.contains(&record.kind);
        record
    });
    let mut records = settled.collect::<Vec<_>>();
    records.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let next = next_check(&records, now, jitter);
    for record in &mut records {
        record.next_check = Some(Time(next));
    }
    records
}

#[cfg(test)]
mod tests;
