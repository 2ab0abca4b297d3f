//! The record, the host and the policy.

use super::super::answer::{Mx, Page};
use super::super::tests::{Facts, at};
use super::super::wanted::tests::wanted;
use super::*;

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mail.example.net\nmax_age: 604800\n";

fn page(status: u16, media_type: &str, body: &str) -> Outcome {
    Outcome::Page(Page { status, media_type: media_type.into(), body: body.as_bytes().to_vec() })
}

fn facts(policy: Outcome) -> Facts {
    let mx = Outcome::Mx(vec![Mx { preference: 10, exchange: "mail.example.net".into() }]);
    Facts::default()
        .host("mail.example.net", &["192.0.2.1"])
        .cname("mta-sts.example.com", &["mail.example.net"], &["192.0.2.1"])
        .with(at("example.com", Kind::Mx), mx)
        .with(at("mta-sts.example.com", Kind::Policy), policy)
}

fn host(policy: Outcome) -> Verdict {
    facts(policy).judge(|known| mta_sts_host(&wanted(), known))
}

fn record(texts: &[&str]) -> Verdict {
    Facts::default().texts("_mta-sts.example.com", texts).judge(|known| mta_sts_record(&wanted(), known))
}

#[test]
fn each_record_has_its_verdict() {
    let long = format!("v=STSv1; id={}", "a".repeat(33));
    for (texts, verdict) in [
        (&["v=STSv1; id=20260101T000000;"][..], DnsVerdict::Verified),
        (&["v=STSv1;id=1", "foreign"], DnsVerdict::Verified),
        (&["foreign"], DnsVerdict::Missing),
        (&["v=STSv1; id=1", "v=STSv1; id=2"], DnsVerdict::Multiple),
        (&["v=STSv1"], DnsVerdict::Invalid),
        (&["v=STSv1; id="], DnsVerdict::Invalid),
        (&["v=STSv1; id=a-b"], DnsVerdict::Invalid),
        (&["v=stsv1; id=1"], DnsVerdict::Invalid),
        (&["V=STSv1; id=1"], DnsVerdict::Invalid),
        (&[" v=STSv1; id=1"], DnsVerdict::Invalid),
        (&["v = STSv1; id=1"], DnsVerdict::Invalid),
        (&["v=STSv1; ID=1"], DnsVerdict::Invalid),
        (&["v=STSv1; id=1; id=2"], DnsVerdict::Verified),
        (&["v=STSv1;\u{a0}id=1"], DnsVerdict::Invalid),
        // "records that do not begin with "v=STSv1;" MUST be discarded" (RFC 8461, section 3.1)
        (&["v=STSv1; id=1", "V=STSv1; id=2"], DnsVerdict::Verified),
        (&["v=STSv1; id=1", "v=STSv1 ; id=2"], DnsVerdict::Verified),
        (&["v=STSv1 ; id=1"], DnsVerdict::Verified),
        (&["v=STSv1; a=b; id=1;"], DnsVerdict::Verified),
        (&[&long], DnsVerdict::Invalid),
    ] {
        assert_eq!(record(texts).verdict, verdict, "{texts:?}");
    }
}

#[test]
fn a_record_at_the_policys_host_is_recognised() {
    let facts = Facts::default().texts("mta-sts.example.com", &["v=STSv1; id=1"]);
    let found = facts.judge(|known| mta_sts_record(&wanted(), known));
    assert!(found.hint.unwrap().contains("move it to _mta-sts.example.com"));
}

#[test]
fn a_served_policy_that_covers_the_mail_servers_is_right() {
    let found = host(page(200, "text/plain", POLICY));
    assert_eq!((found.verdict, found.warnings.len()), (DnsVerdict::Verified, 0), "{found:#?}");
}

#[test]
fn each_failure_of_the_policy_has_its_verdict() {
    for (policy, verdict, words) in [
        (page(301, "text/html", ""), DnsVerdict::Invalid, "redirects"),
        (page(404, "text/html", ""), DnsVerdict::Missing, "answers 404"),
        (page(200, "text/plain", "hello"), DnsVerdict::Invalid, "malformed"),
        (page(200, "text/plain", &POLICY.replace("net", "org")), DnsVerdict::Mismatch, "must not deliver"),
        (Outcome::Untrusted("expired".into()), DnsVerdict::Invalid, "expired"),
        (Outcome::Failed("timed out".into()), DnsVerdict::TempError, "timed out"),
    ] {
        let found = host(policy);
        assert_eq!(found.verdict, verdict, "{}", found.message);
        assert!(found.message.contains(words), "{}", found.message);
    }
}

#[test]
fn weak_policies_are_warned_about() {
    let weak = POLICY.replace("enforce", "testing").replace("604800", "60");
    let found = host(page(200, "application/octet-stream", &weak));
    let reasons = found.warnings.iter().map(|warning| warning.reason.as_str()).collect::<Vec<_>>();
    assert_eq!(
        (found.verdict, reasons),
        (DnsVerdict::Verified, vec!["PolicyMediaType", "StsNotEnforced", "ShortMaxAge"])
    );
}

#[test]
fn without_the_host_nothing_is_fetched() {
    let facts = Facts::default().host("mail.example.net", &["192.0.2.1"]);
    assert_eq!(facts.judge(|known| mta_sts_host(&wanted(), known)).verdict, DnsVerdict::Missing);
}
