//! SPF records against the addresses that Mailcow sends from.

use super::super::super::answer::{Answer, Mx, Outcome};
use super::super::super::wanted::tests::wanted;
use super::*;
use crate::crd::DnsSource;

/// The row's verdict when DNS holds these texts, `mail.example.net` with an address of each family, and MX to it.
fn judge_for(wanted: &Wanted, texts: &[(&str, &str)]) -> Verdict {
    let mut known = Known::default();
    loop {
        match verdict(wanted, &known) {
            Ok(verdict) => return verdict,
            Err(Need(questions)) => {
                for question in questions {
                    let outcome = world(&question.name, question.kind, texts);
                    known.learn(question, vec![Answer::new(outcome, DnsSource::Authoritative)]);
                }
            }
        }
    }
}

fn world(name: &str, kind: Kind, texts: &[(&str, &str)]) -> Outcome {
    let found = texts.iter().filter(|(at, _)| *at == name).map(|(_, text)| text.as_bytes().to_vec());
    match (kind, name) {
        (Kind::A, "mail.example.net") => Outcome::Addresses(vec!["192.0.2.1".parse().unwrap()]),
        (Kind::Aaaa, "mail.example.net") => Outcome::Addresses(vec!["2001:db8::1".parse().unwrap()]),
        (Kind::Mx, "example.com") => Outcome::Mx(vec![Mx { preference: 10, exchange: "mail.example.net".into() }]),
        (Kind::Txt, _) if texts.contains(&(name, "SERVFAIL")) => Outcome::Failed("SERVFAIL".into()),
        (Kind::Txt, _) if texts.iter().any(|(at, _)| *at == name) => Outcome::Txt(found.collect()),
        _ => Outcome::NxDomain,
    }
}

fn judge(text: &str) -> Verdict {
    judge_for(&wanted(), &[("example.com", text)])
}

fn reasons(verdict: &Verdict) -> Vec<&str> {
    verdict.warnings.iter().map(|warning| warning.reason.as_str()).collect()
}

#[test]
fn each_record_has_its_verdict() {
    let table = [
        ("v=spf1 mx -all", DnsVerdict::Verified, "192.0.2.1, 2001:db8::1 may send"),
        ("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", DnsVerdict::Verified, "may send"),
        ("hello", DnsVerdict::Missing, "no SPF record"),
        ("v=spf1 ip4:192.0.2.1 -all", DnsVerdict::Mismatch, "2001:db8::1 gets fail: by -all in example.com"),
        ("v=spf1 ip6:2001:db8::1 ~all", DnsVerdict::Mismatch, "192.0.2.1 gets softfail: by ~all in example.com"),
        ("v=spf1 ?all", DnsVerdict::Mismatch, "gets neutral: by ?all"),
        ("v=spf1 ip4:10.0.0.1", DnsVerdict::Mismatch, "gets neutral: no term matches"),
        ("v=spf1 mx ip4:::1 -all", DnsVerdict::Invalid, "the term \"ip4:::1\" is malformed"),
        ("v=spf1 mx -all caf\u{e9}", DnsVerdict::Invalid, "write plain ASCII"),
        ("v=spf1 redirect=a.test redirect=b.test", DnsVerdict::Invalid, "twice"),
        ("v=spf1 include:none.test mx -all", DnsVerdict::Invalid, "include:none.test, but none.test has no SPF record"),
        (
            "v=spf1 mx include:none.test -all",
            DnsVerdict::Invalid,
            "includes none.test, but none.test has no SPF record",
        ),
        ("v=spf1 mx include:example.com -all", DnsVerdict::Invalid, "includes it again"),
        ("v=spf1 a:x.test a:y.test a:z.test mx -all", DnsVerdict::Invalid, "more than 2 lookups find nothing"),
        ("SERVFAIL", DnsVerdict::TempError, "SERVFAIL"),
    ];
    for (text, verdict, message) in table {
        let found = judge(text);
        assert_eq!(found.verdict, verdict, "{text}: {}", found.message);
        assert!(found.message.contains(message), "{text}: {}", found.message);
    }
}

#[test]
fn two_records_are_put_together() {
    let found = judge_for(
        &wanted(),
        &[("example.com", "v=spf1 mx ~all"), ("example.com", "v=spf1 mx include:a.test -all"), ("example.com", "x")],
    );
    assert_eq!((found.verdict, found.observed.len()), (DnsVerdict::Multiple, 2));
    assert_eq!(found.hint.unwrap(), "replace them with one: \"v=spf1 mx include:a.test -all\"");
}

#[test]
fn too_many_lookups_name_what_costs_most() {
    let big = format!("v=spf1{} -all", " a:mail.example.net".repeat(9));
    let texts = [
        ("example.com", "v=spf1 mx include:big.test include:small.test -all"),
        ("big.test", &big),
        ("small.test", "v=spf1 -all"),
    ];
    let found = judge_for(&wanted(), &texts);
    assert_eq!(
        (found.verdict, found.message.as_str()),
        (DnsVerdict::Invalid, "SPF needs 12 lookups, but receivers do at most 10")
    );
    assert_eq!(found.hint.unwrap(), "remove one of the most expensive terms: big.test (10), small.test (1)");
}

#[test]
fn what_is_allowed_but_better_otherwise_is_a_warning() {
    let long = format!("v=spf1 mx{} -all", " ip4:192.0.2.100".repeat(30));
    let many = format!("v=spf1 mx{} -all", " a:mail.example.net".repeat(8));
    for (text, warnings) in [
        ("v=spf1 mx", &["NoAll"][..]),
        ("v=spf1 mx ?all", &["QuestionAll"]),
        ("v=spf1 mx +all", &["PlusAll"]),
        ("v=spf1 mx ~all", &["SoftFail"]),
        ("v=spf1 mx ptr -all", &["PtrUsed"]),
        ("v=spf1 mx -all mx", &["TermsAfterAll"]),
        (&long, &["LongRecord"]),
        (&many, &["ManyLookups"]),
    ] {
        let found = judge(text);
        assert_eq!((found.verdict, reasons(&found).as_slice()), (DnsVerdict::Verified, warnings), "{text}");
    }
}

#[test]
fn a_broken_version_is_recognised() {
    for (text, words) in [
        ("\"v=spf1 mx -all\"", "begins with a quotation mark"),
        (" v=spf1 mx -all", "begins with a blank"),
        ("v=spf1; mx -all", "a ; after v=spf1"),
        ("v=spf1mx -all", "a blank is missing after v=spf1"),
        ("v=spf1\u{a0}mx -all", "a no-break space (U+00A0)"),
        ("spf1 mx -all", "exactly v=spf1"),
    ] {
        let found = judge(text);
        assert_eq!(found.verdict, DnsVerdict::Missing, "{text}");
        assert!(found.message.contains(words), "{text}: {}", found.message);
    }
}

#[test]
fn a_character_from_a_web_page_is_named() {
    let found = judge("v=spf1 mx\u{a0}-all");
    assert_eq!(found.verdict, DnsVerdict::Invalid);
    assert!(found.message.contains("a no-break space (U+00A0) after \"v=spf1 mx\""), "{}", found.message);
}

#[test]
fn a_blank_lost_between_strings_is_named() {
    for (text, verdict) in [
        ("v=spf1 include:a.testinclude:b.test -all", DnsVerdict::Invalid),
        ("v=spf1 ip4:192.0.2.1ip6:2001:db8::1 -all", DnsVerdict::Invalid),
        ("v=spf1 mx include:a.test-all", DnsVerdict::Invalid),
        ("v=spf1 mx-all", DnsVerdict::Invalid),
    ] {
        let found = judge(text);
        assert_eq!(found.verdict, verdict, "{text}: {}", found.message);
        assert!(
            found.hint.as_ref().is_some_and(|hint| hint.contains("a blank is missing between")),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn an_mx_term_of_a_host_without_mx_is_explained() {
    let found = judge("v=spf1 mx:mail.example.net -all");
    assert_eq!(found.verdict, DnsVerdict::Mismatch);
    assert!(
        found.message.ends_with("no MX record; for its own addresses write a:mail.example.net"),
        "{}",
        found.message
    );
    assert_eq!(
        found.hint.unwrap(),
        "publish example.com. IN TXT \"v=spf1 a:mail.example.net mx:mail.example.net -all\""
    );
    let beside = judge("v=spf1 mx:mail.example.net a:mail.example.net -all");
    assert_eq!((beside.verdict, reasons(&beside)), (DnsVerdict::Verified, vec!["MxOfHost"]));
}

#[test]
fn given_addresses_count_in_place_of_the_hosts() {
    let other = Wanted { egress: vec!["198.51.100.1".parse().unwrap()], ..wanted() };
    let found = judge_for(&other, &[("example.com", "v=spf1 mx -all")]);
    assert_eq!(found.message, "198.51.100.1 gets fail: by -all in example.com");
    assert_eq!(found.hint.unwrap(), "publish example.com. IN TXT \"v=spf1 ip4:198.51.100.1 mx -all\"");
}

#[test]
fn a_pass_by_an_include_names_no_fault() {
    let texts = [("example.com", "v=spf1 include:a.test -all"), ("a.test", "v=spf1 a:mail.example.net -all")];
    assert_eq!(judge_for(&wanted(), &texts).verdict, DnsVerdict::Verified);
}
