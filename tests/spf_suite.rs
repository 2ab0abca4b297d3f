//! The RFC 7208 test suite over real DNS packets. The folder that holds `rfc7208-tests.yml` is named by `SPF_SUITE`.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use futures::future::join_all;
use mailcow_operator::dns::spf::{Sender, SpfResult};
use mailcow_operator::dns::{Lookup, Mode, Options, check_host};
use nameserver::rdata::{A, AAAA, CNAME, MX, PTR, TXT};
use nameserver::{Fault, RData, Record, RecordType, Server, name};
use serde::Deserialize;
use serde_yaml::Value;

#[derive(Deserialize)]
struct Section {
    description: String,
    tests: BTreeMap<String, Case>,
    #[serde(default)]
    zonedata: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
struct Case {
    helo: String,
    host: String,
    mailfrom: String,
    result: Value,
    explanation: Option<String>,
}

/// The text of a YAML string as bytes: the suite writes bytes as `\x80`.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

fn txt(value: &Value) -> RData {
    let strings = match value {
        Value::Sequence(all) => all.iter().filter_map(Value::as_str).map(bytes).collect::<Vec<_>>(),
        other => bytes(other.as_str().unwrap_or_default()).chunks(255).map(<[u8]>::to_vec).collect(),
    };
    let strings = if strings.is_empty() { vec![Vec::new()] } else { strings };
    RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
}

fn data(kind: &str, value: &Value) -> Option<RData> {
    let text = value.as_str().unwrap_or_default();
    Some(match kind {
        "A" => RData::A(A(text.parse().ok()?)),
        "AAAA" => RData::AAAA(AAAA(text.parse().ok()?)),
        "MX" => RData::MX(MX::new(u16::try_from(value[0].as_u64()?).ok()?, name(value[1].as_str()?))),
        "PTR" => RData::PTR(PTR(name(text))),
        "CNAME" => RData::CNAME(CNAME(name(text))),
        "TXT" => txt(value),
        _ => return None,
    })
}

/// The records at one name and whether the other types time out. Without TXT, those of type SPF count as TXT.
fn records(entries: &[Value]) -> (Vec<RData>, bool) {
    let timeout = entries.iter().any(|entry| entry.as_str() == Some("TIMEOUT"));
    let pairs = entries.iter().filter_map(Value::as_mapping).flatten();
    let pairs = pairs.filter_map(|(kind, value)| Some((kind.as_str()?, value))).collect::<Vec<_>>();
    let copies = !pairs.iter().any(|(kind, _)| *kind == "TXT");
    let found = pairs
        .iter()
        .filter(|(_, value)| value.as_str() != Some("NONE"))
        .filter_map(|(kind, value)| data(if *kind == "SPF" && copies { "TXT" } else { kind }, value));
    (found.collect(), timeout)
}

async fn serve(section: &Section) -> Server {
    let server = Server::start_recursive("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut all = Vec::new();
    for (at, entries) in &section.zonedata {
        let (found, timeout) = records(entries);
        let kinds = [RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::PTR, RecordType::TXT];
        for kind in kinds.into_iter().filter(|kind| timeout && !found.iter().any(|data| data.record_type() == *kind)) {
            server.fault(at, Some(kind), Fault::Silent);
        }
        all.extend(found.into_iter().map(|data| Record::from_rdata(name(at), 60, data)));
    }
    server.set_records(".", all);
    server
}

fn word(result: SpfResult) -> String {
    format!("{result:?}").to_lowercase()
}

/// `None` when the case agrees, else what differs.
async fn disagreement(lookup: &Lookup, case: &Case) -> Option<String> {
    let sender = Sender { ip: case.host.parse().unwrap(), mail_from: case.mailfrom.clone(), helo: case.helo.clone() };
    let found = check_host(lookup, &sender).await;
    let allowed = match &case.result {
        Value::Sequence(all) => all.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        one => vec![one.as_str().unwrap_or_default().to_owned()],
    };
    if !allowed.contains(&word(found.result)) {
        return Some(format!("{} instead of {allowed:?}: {:?}", word(found.result), found.problem));
    }
    let explanation = found.explanation.as_deref().unwrap_or("DEFAULT");
    let wanted = case.explanation.as_deref()?;
    (explanation != wanted).then(|| format!("explanation {explanation:?} instead of {wanted:?}"))
}

#[tokio::test]
async fn every_case_of_the_suite_agrees() {
    #[expect(clippy::disallowed_methods, reason = "the suite is no part of this repository")]
    let Ok(folder) = std::env::var("SPF_SUITE") else {
        println!("skipped: SPF_SUITE is not set");
        return;
    };
    let text = std::fs::read_to_string(format!("{folder}/rfc7208-tests.yml")).unwrap();
    let (mut total, mut failures) = (0, Vec::new());
    for document in serde_yaml::Deserializer::from_str(&text) {
        let section = Section::deserialize(document).unwrap();
        let server = serve(&section).await;
        let options = Options {
            resolvers: vec![server.address()],
            mode: Mode::Recursive,
            timeout: Duration::from_millis(300),
            tries: 1,
            ..Options::default()
        };
        let lookup = Lookup::new(options).unwrap();
        let outcomes = join_all(section.tests.values().map(|case| disagreement(&lookup, case))).await;
        total += outcomes.len();
        for (case, outcome) in section.tests.keys().zip(outcomes) {
            failures.extend(outcome.map(|what| format!("{} / {case}: {what}", section.description)));
        }
    }
    // Shows although the test passes: only what `println!` writes is held back.
    let _ = writeln!(std::io::stderr(), "\nRFC 7208 suite: {} of {total} cases agree", total - failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(total > 200, "the suite has only {total} cases");
}
