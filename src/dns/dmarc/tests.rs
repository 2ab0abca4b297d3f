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
        ("V=DMARC1; p=none", DnsVerdict::Verified, "receivers apply p=none"),
        ("v=dmarc1; p=none", DnsVerdict::Invalid, "exactly v=DMARC1;"),
        (" v=DMARC1; p=none", DnsVerdict::Invalid, "begins with a blank"),
        ("p=none; v=DMARC1", DnsVerdict::Invalid, "exactly v=DMARC1;"),
        ("\"v=DMARC1; p=none\"", DnsVerdict::Invalid, "quotation mark"),
        ("v=DMARC1 p=reject", DnsVerdict::Invalid, "a ; is missing after v=DMARC1"),
        ("v=DMARC1\u{a0}; p=reject", DnsVerdict::Invalid, "a no-break space (U+00A0)"),
        ("v=DMARC1;\u{a0}p=reject", DnsVerdict::Invalid, "a no-break space (U+00A0)"),
        ("v=DMARC1; p=reject; fo:1", DnsVerdict::Invalid, "receivers ignore this and apply p=reject"),
        (
            "v=DMARC1; p=maybe",
            DnsVerdict::Invalid,
            "p=maybe is not one of none, quarantine, reject; receivers don't apply DMARC",
        ),
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

fn below(texts: &[(&str, &str)]) -> Verdict {
    let domain = crate::mail::DomainName::parse("mail.example.com").unwrap();
    let texts = [texts, &[("mail.example.com", "x")]].concat();
    judge_for(&Wanted { domain, ..wanted() }, &texts)
}

/// RFC 9989, sections 4.8 and 4.10.1; RFC 7489, section 6.3.
#[test]
fn a_malformed_record_above_the_domain_is_not_absent() {
    let rua = "rua=mailto:a@example.com";
    for (text, verdict, words, warnings) in [
        (
            format!("v=DMARC1; p=reject; fo:1; {rua}"),
            DnsVerdict::Verified,
            "apply reject",
            &["InheritedFrom", "MalformedRecord"][..],
        ),
        (
            format!("v=DMARC1; p=none; sp=quarantine; adkim=x; {rua}"),
            DnsVerdict::Verified,
            "apply quarantine",
            &["InheritedFrom", "MalformedRecord"],
        ),
        (
            format!("v=DMARC1; p=rejct; {rua}"),
            DnsVerdict::Verified,
            "apply none",
            &["InheritedFrom", "MalformedRecord", "NotEnforced"],
        ),
        (
            "v=DMARC1; p=rejct".to_owned(),
            DnsVerdict::Invalid,
            "the record at _dmarc.example.com is malformed: p=rejct",
            &[],
        ),
        (
            "v=DMARC1 p=reject".to_owned(),
            DnsVerdict::Invalid,
            "receivers ignore the record at _dmarc.example.com: a ; is missing",
            &[],
        ),
        ("v=dmarc1; p=reject".to_owned(), DnsVerdict::Invalid, "must begin with exactly v=DMARC1;", &[]),
    ] {
        let found = below(&[(AT, &text)]);
        assert_eq!((found.verdict, reasons(&found).as_slice()), (verdict, warnings), "{text}: {}", found.message);
        assert!(found.message.contains(words), "{text}: {}", found.message);
    }
    let two = below(&[(AT, "v=DMARC1; p=none"), (AT, "v=DMARC1; p=reject")]);
    assert_eq!(two.verdict, DnsVerdict::Invalid);
    assert!(two.message.contains("all 2 records at _dmarc.example.com"), "{}", two.message);
    assert!(two.hint.unwrap().contains("_dmarc.mail.example.com. IN TXT \"v=DMARC1; p=quarantine\""));
}

#[test]
fn a_wildcards_texts_are_not_taken_for_a_record() {
    let spf = "v=spf1 -all";
    let found = judge(&[(AT, spf), ("*.example.com", spf)]);
    assert_eq!(found.verdict, DnsVerdict::Missing);
    assert!(found.message.contains("the wildcard record *.example.com"), "{}", found.message);
    let inherited = below(&[
        ("_dmarc.mail.example.com", spf),
        ("*.mail.example.com", spf),
        (AT, "v=DMARC1; p=reject; rua=mailto:a@example.com"),
    ]);
    assert_eq!((inherited.verdict, reasons(&inherited)), (DnsVerdict::Verified, vec!["InheritedFrom"]));
    // Every name below the domain has the wildcard's record, so it is not "at" the doubled name.
    let doubled =
        judge(&[("_dmarc.example.com.example.com", "v=DMARC1"), ("*.example.com", "v=DMARC1"), (AT, "other")]);
    assert_eq!((doubled.verdict, doubled.hint), (DnsVerdict::Missing, None));
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
        assert_eq!(found.hint.unwrap(), format!("the record is at {place}: move it to _dmarc.example.com"));
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
        (DnsVerdict::Mismatch, "the policy is quarantine, but spec.dns.dmarc requires reject")
    );
    assert_eq!(
        demand(None, &["b@example.com"]).message,
        "rua= does not have mailto:b@example.com, which spec.dns.dmarc requires"
    );
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
fn a_backslash_from_a_zone_file_is_named() {
    let found = judge(&[(AT, "v=DMARC1\\; p=reject")]);
    assert_eq!(found.verdict, DnsVerdict::Invalid);
    assert!(found.message.contains("backslash"), "{}", found.message);
    let later = judge(&[(AT, "v=DMARC1; p=reject\\; sp=none")]);
    assert!(later.hint.unwrap().contains("without the backslash"));
}
