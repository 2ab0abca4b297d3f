//! No bytes that a stranger publishes make a parser panic, and what is shown of them is bounded.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use mailcow_operator::crd::{DnsRecordKind, DnsSource, DnsSpec, DnsVerdict};
use mailcow_operator::dns::{
    Answer, Caa, Kind, Known, Mx, Need, Outcome, Page, Policy, Row, Srv, Tlsa, Verdict, Wanted, logo, reports, rows,
    version,
};
use mailcow_operator::mail::{DkimKey, DomainName};
use proptest::collection::vec;
use proptest::prelude::*;

const KINDS: [DnsRecordKind; 13] = [
    DnsRecordKind::Mx,
    DnsRecordKind::Spf,
    DnsRecordKind::Dkim,
    DnsRecordKind::Dmarc,
    DnsRecordKind::Autodiscover,
    DnsRecordKind::Autoconfig,
    DnsRecordKind::Srv,
    DnsRecordKind::MtaSts,
    DnsRecordKind::TlsRpt,
    DnsRecordKind::Tlsa,
    DnsRecordKind::Ptr,
    DnsRecordKind::Caa,
    DnsRecordKind::Bimi,
];

fn wanted() -> Wanted {
    let key = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL1l";
    let record = format!("v=DKIM1;k=rsa;p={key}");
    Wanted {
        domain: DomainName::parse("example.test").unwrap(),
        mail_host: DomainName::parse("mail.host.test").unwrap(),
        egress: Vec::new(),
        certificate_authority: "letsencrypt.org".into(),
        dkim: Some(DkimKey { selector: "dkim".into(), key_size: 512, record, public_key: key.into() }),
        spec: DnsSpec { required: KINDS.to_vec(), ..DnsSpec::default() },
    }
}

/// What every question of a kind is answered with.
#[derive(Clone, Debug)]
struct World {
    texts: Vec<Vec<u8>>,
    names: Vec<String>,
    numbers: (u16, u8, u8, u8),
    page: (u16, Vec<u8>),
    data: Vec<u8>,
}

impl World {
    fn answer(&self, kind: Kind) -> Outcome {
        let (port, a, b, c) = self.numbers;
        let names = self.names.iter().cloned();
        match kind {
            Kind::A => Outcome::Addresses(vec![[192, 0, 2, a].into()]),
            Kind::Aaaa | Kind::SecureTlsa => Outcome::NoData,
            Kind::Mx => Outcome::Mx(names.map(|exchange| Mx { preference: port, exchange }).collect()),
            Kind::Txt => Outcome::Txt(self.texts.clone()),
            Kind::Ptr => Outcome::Names(names.collect()),
            Kind::Srv => Outcome::Srv(names.map(|target| Srv { priority: port, weight: port, port, target }).collect()),
            Kind::Caa => {
                let caa = |value: &Vec<u8>| Caa { critical: a > 127, tag: "issue".into(), value: value.clone() };
                Outcome::Caa(self.texts.iter().map(caa).collect())
            }
            Kind::Tlsa => Outcome::Tlsa(vec![Tlsa { usage: a, selector: b, matching: c, data: self.data.clone() }]),
            Kind::Policy => {
                Outcome::Page(Page { status: self.page.0, media_type: "text/plain".into(), body: self.page.1.clone() })
            }
            Kind::Certificate => Outcome::Certificates(vec![self.data.clone(), self.texts.concat()]),
            Kind::SecureMx | Kind::SecureHost => Outcome::Secure(a > 127),
        }
    }

    /// All verdicts.
    fn judge(&self) -> Vec<Verdict> {
        let wanted = wanted();
        rows(&wanted).into_iter().filter_map(|row| self.row(&row)).collect()
    }

    /// One verdict; a row ends after a bounded number of questions.
    fn row(&self, row: &Row<'_>) -> Option<Verdict> {
        let mut known = Known::default();
        loop {
            let Need(questions) = match row.verdict(&known) {
                Ok(verdict) => return verdict,
                Err(need) => need,
            };
            assert!(!questions.is_empty() && known.len() < 5_000, "a row goes on for ever");
            for question in questions {
                let answer = Answer::new(self.answer(question.kind), DnsSource::Authoritative);
                known.learn(question, vec![answer]);
            }
        }
    }
}

/// Bytes, or words of the grammars in any order.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "v=spf1 ",
        "v=DMARC1",
        "v=DKIM1",
        "v=STSv1",
        "v=TLSRPTv1",
        "v=BIMI1",
        ";",
        "=",
        " ",
        ":",
        "/",
        "%{",
        "}",
        "p=",
        "id=",
        "l=https://",
        "rua=mailto:",
        "include:example.test",
        "a",
        "mx",
        "all",
        "redirect=",
        "letsencrypt.org",
        "\"",
        "\\;",
        "issue",
        "accounturi=",
        "\u{e4}",
        "99999999999",
        "reject",
        "sp=none",
    ]);
    prop_oneof![vec(any::<u8>(), 0..300), vec(words, 0..12).prop_map(|words| words.concat().into_bytes()),]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        prop::sample::select(vec!["", ".", "mail.host.test", "mail.host.test.example.test", "a..b"])
            .prop_map(Into::into),
    ]
}

fn world() -> impl Strategy<Value = World> {
    let page = (prop::sample::select(vec![200, 301, 404]), text());
    (vec(text(), 0..4), vec(name(), 1..4), any::<(u16, u8, u8, u8)>(), page, vec(any::<u8>(), 0..200))
        .prop_map(|(texts, names, numbers, page, data)| World { texts, names, numbers, page, data })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_has_a_verdict_whatever_is_published(world in world()) {
        let found = world.judge();
        prop_assert!(found.len() >= 16);
        for verdict in found {
            prop_assert!(!verdict.message.is_empty());
            // First what is wrong, then what to do.
            let needs_hint = matches!(verdict.verdict, DnsVerdict::Missing | DnsVerdict::Mismatch);
            prop_assert!(!needs_hint || verdict.hint.is_some(), "{:#?}", verdict);
            prop_assert!(verdict.observed.len() <= 16 && verdict.observed.iter().all(|value| value.len() < 8_192));
        }
    }

    #[test]
    fn parsers_take_any_bytes(bytes in text()) {
        drop((version(&bytes), reports(&bytes), logo(&bytes)));
        if let Ok(policy) = Policy::parse(&bytes) {
            prop_assert!(policy.max_age <= 31_557_600);
        }
    }

    #[test]
    fn a_policy_reads_as_it_was_written(age in 0u32..31_557_600, host in "[a-z]{1,10}(\\.[a-z]{1,10}){1,3}") {
        let text = format!("version: STSv1\nmode: enforce\nmx: {host}\nmax_age: {age}\n");
        let policy = Policy::parse(text.as_bytes()).unwrap();
        prop_assert!(policy.covers(&host) && policy.max_age == age);
    }
}
