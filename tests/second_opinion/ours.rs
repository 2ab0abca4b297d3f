//! What the operator says of a record.

use mailcow_operator::crd::{DnsSource, DnsSpec, DnsVerdict};
use mailcow_operator::dns::spf::{Sender, evaluate};
use mailcow_operator::dns::{
    Answer, Kind, Known, Mx, Need, Outcome, Policy, Question, Verdict, Wanted, dkim, dmarc, logo, reports, version,
};
use mailcow_operator::mail::{DkimKey, DomainName};
use serde_json::{Value, json};

use crate::cases::KEY;

/// The judges beside pyspf, and the family of records that each is asked about.
pub(crate) const JUDGES: [(&str, &str); 8] = [
    ("checkdmarc dmarc", "dmarc"),
    ("checkdmarc mta-sts", "mta-sts"),
    ("checkdmarc policy", "policy"),
    ("checkdmarc tls-rpt", "tls-rpt"),
    ("checkdmarc bimi", "bimi"),
    ("dkimpy dkim", "dkim"),
    ("postfix mta-sts", "mta-sts"),
    ("postfix policy", "policy"),
];

/// Who sends, for SPF.
pub(crate) const CLIENT: &str = "192.0.2.1";

fn wanted() -> Wanted {
    let record = format!("v=DKIM1;k=rsa;p={KEY}");
    Wanted {
        domain: DomainName::parse("example.test").unwrap(),
        mail_host: DomainName::parse("mail.host.test").unwrap(),
        egress: Vec::new(),
        certificate_authority: "letsencrypt.org".into(),
        dkim: Some(DkimKey { selector: "dkim".into(), key_size: 2048, record, public_key: KEY.into() }),
        spec: DnsSpec::default(),
    }
}

/// Calls a row until it has what it needs.
fn drive<T>(decide: impl Fn(&Known) -> Result<T, Need>, answer: impl Fn(&Question) -> Outcome) -> T {
    let mut known = Known::default();
    loop {
        match decide(&known) {
            Ok(value) => return value,
            Err(Need(questions)) => {
                for question in questions {
                    let found = Answer::new(answer(&question), DnsSource::Authoritative);
                    known.learn(question, vec![found]);
                }
            }
        }
    }
}

/// A row's verdict when one name has one text.
fn row(decide: fn(&Wanted, &Known) -> Result<Verdict, Need>, name: &str, text: &str) -> Verdict {
    drive(
        |known| decide(&wanted(), known),
        |question| {
            let is_it = question.name == name && question.kind == Kind::Txt;
            if is_it { Outcome::Txt(vec![text.as_bytes().to_vec()]) } else { Outcome::NxDomain }
        },
    )
}

/// `valid` or `invalid`.
pub(crate) fn validity(family: &str, text: &str) -> String {
    let bytes = text.as_bytes();
    let is_valid = match family {
        "dmarc" => row(dmarc, "_dmarc.example.test", text).verdict == DnsVerdict::Verified,
        // Another key is a well-formed one.
        "dkim" => {
            let found = row(dkim, "dkim._domainkey.example.test", text).verdict;
            matches!(found, DnsVerdict::Verified | DnsVerdict::Mismatch)
        }
        "mta-sts" => version(bytes).is_ok(),
        "policy" => Policy::parse(bytes).is_ok(),
        "tls-rpt" => reports(bytes).is_ok(),
        _ => logo(bytes).is_ok(),
    };
    if is_valid { "valid" } else { "invalid" }.to_owned()
}

/// The other names of the world in which SPF records are evaluated: name, type, value.
const ZONE: [(&str, &str, &str); 12] = [
    ("example.test", "A", "192.0.2.1"),
    ("example.test", "MX", "mail.host.test"),
    ("mail.host.test", "A", "192.0.2.1"),
    ("mail.host.test", "AAAA", "2001:db8::1"),
    ("pass.test", "TXT", "v=spf1 ip4:192.0.2.0/24 -all"),
    ("fail.test", "TXT", "v=spf1 -all"),
    ("soft.test", "TXT", "v=spf1 ~all"),
    ("broken.test", "TXT", "v=spf1 ip4:1.2.3 -all"),
    ("loop.test", "TXT", "v=spf1 include:loop.test -all"),
    ("other.test", "A", "198.51.100.7"),
    ("1.2.0.192.in-addr.arpa", "PTR", "mail.host.test"),
    ("192.0.2.1.exists.test", "A", "127.0.0.2"),
];

fn records(spf: &str) -> Vec<(&str, &str, &str)> {
    let own = spf.split('\n').map(|text| ("example.test", "TXT", text));
    ZONE.iter().copied().chain(own).collect()
}

/// The same zone as the judge wants it; the lines of the text are the domain's TXT records.
pub(crate) fn zone_for_judge(spf: &str) -> Value {
    let mut zone = json!({});
    for (name, kind, value) in records(spf) {
        let value = if kind == "MX" { json!([10, value]) } else { json!(value) };
        let entry = zone.as_object_mut().unwrap().entry(name).or_insert_with(|| json!({}));
        let list = entry.as_object_mut().unwrap().entry(kind).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(value);
    }
    zone
}

/// The result of `check_host()`.
pub(crate) fn spf(text: &str) -> String {
    let sender = Sender {
        ip: CLIENT.parse().unwrap(),
        mail_from: "postmaster@example.test".into(),
        helo: "mail.host.test".into(),
    };
    let all = records(text);
    let found = drive(
        |known| evaluate(&sender, known),
        |question| {
            let kind = match question.kind {
                Kind::A => "A",
                Kind::Aaaa => "AAAA",
                Kind::Mx => "MX",
                Kind::Ptr => "PTR",
                _ => "TXT",
            };
            let here = all.iter().filter(|(name, ..)| *name == question.name);
            let values: Vec<&str> = here.clone().filter(|(_, found, _)| *found == kind).map(|(.., v)| *v).collect();
            let owned = values.iter().map(|value| (*value).to_owned());
            match kind {
                _ if values.is_empty() => {
                    if here.count() > 0 {
                        Outcome::NoData
                    } else {
                        Outcome::NxDomain
                    }
                }
                "A" | "AAAA" => Outcome::Addresses(values.iter().map(|ip| ip.parse().unwrap()).collect()),
                "MX" => Outcome::Mx(owned.map(|exchange| Mx { preference: 10, exchange }).collect()),
                "PTR" => Outcome::Names(owned.collect()),
                _ => Outcome::Txt(owned.map(String::into_bytes).collect()),
            }
        },
    );
    format!("{:?}", found.result).to_lowercase()
}
