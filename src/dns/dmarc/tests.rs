//! DMARC records against what is wanted.

use super::super::answer::Answer;
use super::super::wanted::tests::wanted;
use super::*;
use crate::crd::{DnsSource, DnsSpec};

/// The row's verdict when DNS holds these texts and nothing else.
fn judge_for(wanted: &Wanted, texts: &[(&str, &str)]) -> Verdict {
    let mut known = Known::default();
    loop {
        match dmarc(wanted, &known) {
            Ok(verdict) => return verdict,
            Err(Need(questions)) => {
                for question in questions {
                    let found = texts.iter().filter(|(name, _)| *name == question.name);
                    let found = found.map(|(_, text)| text.as_bytes().to_vec()).collect::<Vec<_>>();
                    let outcome = match found.first().map(Vec::as_slice) {
                        None => Outcome::NxDomain,
                        Some(b"SERVFAIL") => Outcome::Failed("SERVFAIL".into()),
                        Some(_) => Outcome::Txt(found),
                    };
                    known.learn(question, vec![Answer::new(outcome, DnsSource::Authoritative)]);
                }
            }
        }
    }
}

fn judge(texts: &[(&str, &str)]) -> Verdict {
    judge_for(&wanted(), texts)
}

fn reasons(verdict: &Verdict) -> Vec<&str> {
    verdict.warnings.iter().map(|warning| warning.reason.as_str()).collect()
}

const AT: &str = "_dmarc.example.com";

#[test]
fn each_record_has_its_verdict() {
    let table = [
        ("v=DMARC1; p=reject; rua=mailto:a@example.com", DnsVerdict::Verified, "receivers apply p=reject"),
        ("google-site-verification=x", DnsVerdict::Missing, "no DMARC record"),
        ("v=spf1 -all", DnsVerdict::Invalid, "SPF record"),
        ("V=DMARC1; p=none", DnsVerdict::Invalid, "exactly v=DMARC1"),
        (" v=DMARC1; p=none", DnsVerdict::Invalid, "begins with a blank"),
        ("p=none; v=DMARC1", DnsVerdict::Invalid, "exactly v=DMARC1"),
        ("\"v=DMARC1; p=none\"", DnsVerdict::Invalid, "quotation marks"),
        ("v=DMARC1; p=maybe", DnsVerdict::Invalid, "p=maybe is not one of"),
        ("SERVFAIL", DnsVerdict::TempError, "SERVFAIL"),
    ];
    for (text, verdict, message) in table {
        let found = judge(&[(AT, text)]);
        assert_eq!(found.verdict, verdict, "{text}: {}", found.message);
        assert!(found.message.contains(message), "{text}: {}", found.message);
    }
}

#[test]
fn two_records_are_multiple_and_a_foreign_text_is_not() {
    let record = (AT, "v=DMARC1; p=reject; rua=mailto:a@example.com");
    assert_eq!(judge(&[record, (AT, "v=DMARC1; p=none")]).verdict, DnsVerdict::Multiple);
    let found = judge(&[(AT, "hello"), record]);
    assert_eq!((found.verdict, found.observed.len()), (DnsVerdict::Verified, 1));
}

#[test]
fn a_record_above_the_domain_counts_with_its_sp() {
    let found = judge_for(
        &Wanted { domain: crate::mail::DomainName::parse("mail.example.com").unwrap(), ..wanted() },
        &[(AT, "v=DMARC1; p=none; sp=reject; rua=mailto:a@example.com"), ("mail.example.com", "x")],
    );
    assert_eq!(found.verdict, DnsVerdict::Verified);
    assert_eq!(found.message, "receivers apply reject from _dmarc.example.com");
    assert_eq!(reasons(&found), ["InheritedFrom"]);
}

#[test]
fn a_failed_step_of_the_walk_is_temporary() {
    assert_eq!(judge(&[("_dmarc.com", "SERVFAIL")]).verdict, DnsVerdict::TempError);
}

#[test]
fn a_record_in_the_wrong_place_is_found() {
    for place in ["example.com", "_dmarc.example.com.example.com"] {
        let found = judge(&[(place, "v=DMARC1; p=none")]);
        assert_eq!(found.verdict, DnsVerdict::Missing);
        assert_eq!(found.hint.unwrap(), format!("the record stands at {place}: move it to _dmarc.example.com"));
    }
}

#[test]
fn demanded_policy_and_reports_have_to_be_there() {
    let demand = |policy, report_to: &[&str]| {
        let report_to = report_to.iter().map(|address| (*address).to_owned()).collect();
        let spec = DnsSpec { dmarc: Some(DmarcSpec { policy, report_to }), ..DnsSpec::default() };
        judge_for(&Wanted { spec, ..wanted() }, &[(AT, "v=DMARC1; p=quarantine; rua=mailto:A@example.com")])
    };
    assert_eq!(demand(Some(DmarcPolicy::Quarantine), &["a@example.com"]).verdict, DnsVerdict::Verified);
    let stricter = demand(Some(DmarcPolicy::Reject), &[]);
    assert_eq!(
        (stricter.verdict, stricter.message.as_str()),
        (DnsVerdict::Mismatch, "the policy is quarantine, not reject")
    );
    assert_eq!(demand(None, &["b@example.com"]).message, "rua= leaves out mailto:b@example.com");
}

#[test]
fn reports_to_another_organization_need_its_consent() {
    let record = (AT, "v=DMARC1; p=reject; rua=mailto:a@reports.test,mailto:b@sub.example.com");
    let found = judge(&[record]);
    assert_eq!(reasons(&found), ["ReportsNotAuthorised"]);
    assert!(found.warnings[0].message.ends_with("example.com._report._dmarc.reports.test. IN TXT \"v=DMARC1\""));
    assert!(judge(&[record, ("example.com._report._dmarc.reports.test", "v=DMARC1")]).warnings.is_empty());
}

#[test]
fn receivers_that_go_by_the_suffix_list_may_find_another_record() {
    let mut below = wanted();
    below.domain = crate::mail::DomainName::parse("a.b.example.com").unwrap();
    let middle = ("_dmarc.b.example.com", "v=DMARC1; p=reject; psd=n; rua=mailto:a@example.com");
    let found = judge_for(&below, &[middle]);
    assert_eq!((found.verdict, reasons(&found)), (DnsVerdict::Verified, vec!["SuffixListDiffers", "InheritedFrom"]));
    assert!(found.warnings[0].message.contains("find no record"), "{}", found.warnings[0].message);
    let both = [middle, ("_dmarc.example.com", "v=DMARC1; p=none")];
    assert!(judge_for(&below, &both).warnings[0].message.contains("find the record of example.com"));
    let top = judge_for(&below, &[("_dmarc.example.com", "v=DMARC1; p=reject; rua=mailto:a@example.com")]);
    assert_eq!(reasons(&top), ["InheritedFrom"]);
}

#[test]
fn a_backslash_from_a_zone_file_is_told() {
    let found = judge(&[(AT, "v=DMARC1\\; p=reject")]);
    assert_eq!(found.verdict, DnsVerdict::Invalid);
    assert!(found.message.contains("backslash"), "{}", found.message);
    let later = judge(&[(AT, "v=DMARC1; p=reject\\; sp=none")]);
    assert!(later.hint.unwrap().contains("without the backslash"));
}
