//! The part of the domain's owner: reads what the status asks for, publishes it, asks for another look.

use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::follow::{LIMIT, PAUSE, condition};
use crate::stage::{DOMAIN, NAMESPACE, Stage};
use crate::voice::{Voice, seconds, table};

/// The domain's object in the examples.
const OBJECT: &str = "example-com";
/// How much of a value is shown.
const SHOWN: usize = 90;

/// One entry of `status.dns.records`.
#[derive(Clone, Debug, Deserialize)]
struct Record {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    verdict: String,
    message: String,
    #[serde(default)]
    expected: Vec<String>,
}

impl Record {
    /// What the record's owner puts into the zone.
    fn zone_line(&self) -> String {
        let record_type = if self.kind == "MX" { "MX" } else { "TXT" };
        let value = self.expected.first().map(String::as_str).unwrap_or_default();
        format!("{}. {record_type} {value}", self.name)
    }
}

/// Shows what is missing, publishes what is asked for, and shows the verdicts after it.
pub(crate) async fn publish(stage: &mut Stage, voice: &Voice) -> Result<()> {
    voice.chapter("DNS: the domain's status now")?;
    let missing = until(stage, "the DNS records were not checked", |_, records| !records.is_empty()).await?;
    voice.show(&verdicts(&missing))?;
    voice.say("\nThe records to publish (status.dns.records[].expected):")?;
    let lines: Vec<String> = missing.iter().map(Record::zone_line).collect();
    voice.show(&lines.iter().map(|line| shortened(line)).collect::<Vec<_>>().join("\n"))?;

    voice.chapter(&format!("Publishing these records in the zone {DOMAIN}, and requesting a check"))?;
    stage.dns.zone(DOMAIN, &lines.join("\n"))?;
    let annotation = "email.askrobots.com/reconcile-requested-at=published";
    stage.kubectl(&["-n", NAMESPACE, "annotate", "edom", OBJECT, annotation]).await?;
    voice.show(&format!("kubectl annotate edom {OBJECT} {annotation}"))?;
    let begun = Instant::now();
    let are_verified = |domain: &Value, _: &[Record]| {
        let is_handled = domain["status"]["lastHandledReconcileAt"] == "published";
        is_handled && condition(domain, "DNSVerified").is_some_and(|condition| condition["status"] == "True")
    };
    let verified = until(stage, "the DNS records did not become Verified", are_verified).await?;
    voice.show(&format!("verified after {}", seconds(begun.elapsed())))?;
    voice.show(&verdicts(&verified))?;
    Ok(())
}

/// Waits until something is true of the domain, and gives its records.
async fn until(
    stage: &mut Stage,
    what: &'static str,
    holds: impl Fn(&Value, &[Record]) -> bool,
) -> Result<Vec<Record>> {
    let begun = Instant::now();
    loop {
        stage.check()?;
        let text = stage.kubectl(&["-n", NAMESPACE, "get", "edom", OBJECT, "-o", "json"]).await?;
        let (domain, records) = read(&text)?;
        if holds(&domain, &records) {
            return Ok(records);
        }
        if begun.elapsed() > LIMIT {
            let log = stage.log_tail();
            return Err(Error::Late { what, seconds: LIMIT.as_secs(), state: verdicts(&records), log });
        }
        sleep(PAUSE).await;
    }
}

fn read(text: &str) -> Result<(Value, Vec<Record>)> {
    let unreadable = |error: serde_json::Error| Error::Unreadable { what: "the EmailDomain", why: error.to_string() };
    let domain: Value = serde_json::from_str(text).map_err(unreadable)?;
    let records = match &domain["status"]["dns"]["records"] {
        Value::Null => Vec::new(),
        records => Vec::deserialize(records).map_err(unreadable)?,
    };
    Ok((domain, records))
}

fn verdicts(records: &[Record]) -> String {
    let row =
        |record: &Record| [record.kind.clone(), record.name.clone(), record.verdict.clone(), record.message.clone()];
    table(&records.iter().map(row).collect::<Vec<_>>())
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= SHOWN {
        return line.to_owned();
    }
    let start: String = line.chars().take(SHOWN).collect();
    format!("{start}… ({} characters)", line.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = r#"{"status": {"dns": {"records": [
        {"type": "MX", "name": "a.test", "verdict": "Missing", "message": "no MX", "expected": ["10 m.test."]},
        {"type": "SPF", "name": "a.test", "verdict": "Missing", "message": "none", "expected": ["\"v=spf1 mx -all\""]}
    ]}}}"#;

    #[test]
    fn the_status_becomes_lines_of_a_zone() {
        let (_, records) = read(DOMAIN).unwrap();
        let lines: Vec<String> = records.iter().map(Record::zone_line).collect();
        assert_eq!(lines, ["a.test. MX 10 m.test.", "a.test. TXT \"v=spf1 mx -all\""]);
    }

    #[test]
    fn a_domain_without_records_was_not_looked_up() {
        assert!(read(r#"{"status": {}}"#).unwrap().1.is_empty());
    }

    #[test]
    fn long_lines_are_cut_for_people() {
        assert_eq!(shortened("short"), "short");
        assert!(shortened(&"é".repeat(200)).ends_with("… (200 characters)"));
    }
}
