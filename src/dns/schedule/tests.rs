//! Checks in a row, and what stands in the status after each.

use super::*;

fn verdict(found: DnsVerdict) -> Verdict {
    Verdict {
        kind: DnsRecordKind::Mx,
        name: "example.com".into(),
        verdict: found,
        expected: vec!["10 mail.example.net.".into()],
        observed: Vec::new(),
        warnings: Vec::new(),
        message: format!("{found:?}"),
        hint: None,
        source: DnsSource::Authoritative,
        propagation: None,
        dnssec: None,
    }
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

/// The status after these checks, each at its minute.
fn after(checks: &[(i64, DnsVerdict)]) -> DnsRecordStatus {
    let settled = checks.iter().fold(None, |before: Option<DnsRecordStatus>, (minute, found)| {
        Some(settle(before.as_ref(), verdict(*found), at(*minute)))
    });
    settled.unwrap()
}

use DnsVerdict::{Mismatch, Missing, TempError, Verified};

#[test]
fn the_first_verdict_counts_at_once_and_good_after_bad_too() {
    assert_eq!(after(&[(0, Missing)]).verdict, Missing);
    let good = after(&[(0, Missing), (1, Verified)]);
    assert_eq!((good.verdict, good.failing_since, good.failures), (Verified, None, 0));
}

#[test]
fn bad_after_good_needs_three_checks_over_half_an_hour() {
    let two = after(&[(0, Verified), (60, Missing), (95, Missing)]);
    assert_eq!((two.verdict, two.failures), (Verified, 2));
    let soon = after(&[(0, Verified), (60, Missing), (61, Missing), (62, Missing), (89, Missing)]);
    assert_eq!((soon.verdict, soon.failures, soon.warnings.len()), (Verified, 4, 1));
    let lasting = after(&[(0, Verified), (60, Missing), (75, Mismatch), (90, Missing)]);
    assert_eq!((lasting.verdict, lasting.failing_since), (Missing, Some(Time(at(60)))));
}

#[test]
fn one_good_check_in_between_starts_again() {
    let status = after(&[(0, Verified), (60, Missing), (75, Missing), (80, Verified), (90, Missing), (91, Missing)]);
    assert_eq!((status.verdict, status.failures), (Verified, 2));
}

#[test]
fn no_answer_keeps_the_verdict_for_a_day_and_says_so() {
    let kept = after(&[(0, Verified), (60, TempError), (90, TempError), (120, TempError)]);
    assert_eq!((kept.verdict, kept.failures), (Verified, 0));
    assert_eq!(kept.warnings.iter().map(|w| w.reason.as_str()).collect::<Vec<_>>(), ["CheckFailing"]);
    assert_eq!(after(&[(0, Verified), (60, TempError), (24 * 60, TempError)]).verdict, TempError);
    assert_eq!(after(&[(0, Mismatch), (60, TempError)]).verdict, Mismatch);
    assert_eq!(after(&[(0, TempError)]).verdict, TempError);
}

#[test]
fn no_answer_neither_counts_nor_starts_again() {
    let status = after(&[(0, Verified), (60, Missing), (70, TempError), (80, Missing), (90, Missing)]);
    assert_eq!(status.verdict, Missing);
}

#[test]
fn silence_before_does_not_make_bad_last_longer() {
    let status = after(&[(0, Verified), (10, TempError), (60, Missing), (61, Missing), (62, Missing)]);
    assert_eq!((status.verdict, status.failing_since), (Verified, Some(Time(at(60)))));
}

#[test]
fn what_a_resolver_says_in_place_of_the_servers_does_not_count() {
    let mut recursive = verdict(Missing);
    recursive.source = DnsSource::Recursive;
    let good = after(&[(0, Verified)]);
    let mut status = good.clone();
    for minute in [60, 75, 90, 105] {
        status = settle(Some(&status), recursive.clone(), at(minute));
    }
    assert_eq!(status.verdict, Verified);
    let mut always = DnsRecordStatus { source: DnsSource::Recursive, ..good };
    for minute in [60, 75, 90] {
        always = settle(Some(&always), recursive.clone(), at(minute));
    }
    assert_eq!(always.verdict, Missing);
}

#[test]
fn another_expected_value_makes_the_verdict_count_at_once() {
    let mut changed = verdict(Mismatch);
    changed.expected = vec!["10 other.example.net.".into()];
    let status = settle(Some(&after(&[(0, Verified)])), changed, at(60));
    assert_eq!((status.verdict, status.failing_since), (Mismatch, Some(Time(at(60)))));
}

#[test]
fn the_waits_grow_and_never_end() {
    let mut status = after(&[(0, Missing)]);
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let next = next_check(std::slice::from_ref(&status), now, 0.0);
        waits.push(next.duration_since(now).as_secs());
        now = next;
        status = settle(Some(&status), verdict(Missing), now);
    }
    assert_eq!(waits, [30, 60, 120, 300, 600, 600]);
    for (hours, wait) in [(23, 600), (25, 3600), (71, 3600), (73, 6 * 3600), (10_000, 6 * 3600)] {
        let now = at(hours * 60);
        assert_eq!(next_check(std::slice::from_ref(&status), now, 0.0).duration_since(now).as_secs(), wait, "{hours}");
    }
}

#[test]
fn jitter_moves_a_check_by_a_tenth_at_most() {
    let status = [after(&[(0, Verified)])];
    let wait = |jitter| next_check(&status, at(0), jitter).duration_since(at(0)).as_secs();
    assert_eq!((wait(-1.0), wait(0.0), wait(1.0), wait(9.0)), (19_440, 21_600, 23_760, 23_760));
    assert_eq!(next_check(&[], at(0), 0.5), at(0));
}

#[test]
fn the_most_urgent_record_sets_the_time_for_all() {
    let mut dmarc = verdict(Missing);
    dmarc.kind = DnsRecordKind::Dmarc;
    let records = settle_all(&[], vec![dmarc, verdict(Verified)], &[DnsRecordKind::Mx], at(0), 0.0);
    let shown = records.iter().map(|r| (r.kind, r.required, r.next_check.as_ref().map(|t| t.0)));
    let next = Some(Timestamp::from_second(1_800_000_030).unwrap());
    assert_eq!(shown.collect::<Vec<_>>(), [(DnsRecordKind::Mx, true, next), (DnsRecordKind::Dmarc, false, next)]);
}

#[test]
fn waits_grow_too_while_only_a_resolver_answers() {
    let mut recursive = verdict(Missing);
    recursive.source = DnsSource::Recursive;
    let mut status = after(&[(0, Verified)]);
    for minute in [60, 61, 70] {
        status = settle(Some(&status), recursive.clone(), at(minute));
    }
    assert_eq!(next_check(&[status], at(70), 0.0).duration_since(at(70)).as_mins(), 10);
}

#[test]
fn an_unchanged_check_changes_only_its_times() {
    let seen = |seconds| Verdict { propagation: Some(Reach::Pending { seconds }), ..verdict(Verified) };
    let first = settle(None, seen(3600), at(0));
    let mut second = settle(Some(&first), seen(1801), at(30));
    assert_eq!(second.last_checked, Some(Time(at(30))));
    second.last_checked.clone_from(&first.last_checked);
    assert_eq!(second, first);
    let later = settle(Some(&first), seen(3600), at(30));
    assert_eq!(later.propagation.unwrap().until, Some(Time(at(90))), "a cache that was filled anew holds it longer");
}

#[test]
fn the_time_of_the_last_answer_is_kept_while_there_is_none() {
    let failing = after(&[(0, Verified), (10, TempError), (20, TempError)]);
    assert_eq!((failing.last_answered, failing.last_checked), (Some(Time(at(0))), Some(Time(at(20)))));
    assert_eq!(after(&[(0, Verified), (10, TempError), (20, Verified)]).last_answered, None);
}

#[test]
fn records_of_one_row_are_settled_by_their_names() {
    let named = |name: &str, found| Verdict { name: name.into(), kind: DnsRecordKind::Srv, ..verdict(found) };
    let both = vec![named("_imaps", Verified), named("_autodiscover", Missing)];
    let first = settle_all(&[], both.clone(), &[DnsRecordKind::Srv], at(0), 0.0);
    assert_eq!(first.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["_autodiscover", "_imaps"]);
    let bad = vec![named("_imaps", Missing), named("_autodiscover", Missing)];
    let second = settle_all(&first, bad, &[DnsRecordKind::Srv], at(1), 0.0);
    assert_eq!(second.iter().map(|r| r.verdict).collect::<Vec<_>>(), [Missing, Verified]);
}
