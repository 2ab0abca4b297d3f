//! The alerts of the chart: each is explained, each fires on its own trouble, and all speak of metrics that exist.

#![expect(clippy::unwrap_used, reason = "a file that can't be read is a failed test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mailcow_operator::gates::Gates;
use mailcow_operator::intake::report::{AttemptReport, AttemptResult};
use mailcow_operator::intake::rule_ref::RuleRef;
use mailcow_operator::mail::Address;
use mailcow_operator::telemetry::{Counts, Metrics};
use mailcow_operator::worker::{Figures, SinkFigures, WorkerMetrics};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

const RULES: &str = "charts/mailcow-operator/files/alerts.yaml";
const CASES: &str = "tests/alerts/rules_test.yaml";

fn alerts() -> Vec<Value> {
    let rules: Value = serde_yaml::from_str(&read(RULES)).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn names() -> BTreeSet<String> {
    alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect()
}

/// Runs promtool on files of the repository; says so where there is none.
fn promtool(args: &[&str]) {
    match Command::new("promtool").args(args).current_dir(root()).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        }
        Err(error) => eprintln!("skipped, promtool: {error} (on Debian: apt-get install prometheus)"),
    }
}

#[test]
fn every_alert_has_its_section_and_every_section_its_alert() {
    let page = read("docs/alerts.md");
    let sections: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).map(ToOwned::to_owned).collect();
    assert!(sections.len() > 10);
    assert_eq!(sections, names());
    for section in page.split("\n## ").skip(1) {
        assert!(section.contains("```console\n") && section.lines().count() > 6, "what to do is missing: {section}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_to_read_on() {
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description"] {
            assert!(alert["annotations"][text].as_str().is_some_and(|text| text.len() > 20), "{name}: {text}");
        }
        let page = format!("{}/blob/main/docs/alerts.md#{}", env!("CARGO_PKG_REPOSITORY"), name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], page);
        assert!(alert["for"].is_string(), "{name} fires at once");
    }
}

/// Metrics of which each was seen once.
fn everything() -> Metrics {
    let metrics = Metrics::default();
    metrics.configured("default", true);
    metrics.gates(&Gates::default());
    metrics.mailcow_version("default", "2026-07");
    metrics.crd_lacks("EmailAlias", 0);
    metrics.reconciled("EmailAlias", "in_sync", Duration::ZERO);
    metrics.asked_mailcow("default", "get/alias", "ok", Duration::ZERO);
    metrics.dns_verdict("MX", "Verified");
    metrics.queue().triggered("EmailAlias", ("n".to_owned(), "a".to_owned()));
    metrics.count_with(|| {
        let mut counts = Counts { breakers: [("default".to_owned(), "closed")].into(), ..Counts::default() };
        counts.of_kind("EmailAlias");
        counts.recreated.insert("EmailMailbox", 0);
        counts
    });
    metrics
}

/// Metrics of the worker of task delivery of which each was seen once.
fn everything_of_the_worker() -> WorkerMetrics {
    let metrics = WorkerMetrics::default();
    metrics.attempted(&AttemptReport {
        mailbox: Address::parse("ada@example.com").unwrap(),
        rule: RuleRef { uid: "u".to_owned(), namespace: "n".to_owned(), name: "r".to_owned() },
        folder: "Ops/Tasks/n/r@tracker".to_owned(),
        sink: "tracker".to_owned(),
        at: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        result: AttemptResult::Delivered,
        age_seconds: 1.0,
    });
    metrics.compute_figures_with(|| {
        let of_sink = SinkFigures { waiting: 1, failed: 1, oldest_waiting: 1.0 };
        Figures { sinks: [("tracker".to_owned(), of_sink)].into(), ..Figures::default() }
    });
    metrics
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_exist() {
    let text = everything().text().unwrap() + &everything_of_the_worker().text().unwrap();
    let named = |line: &str| line.strip_prefix("# TYPE ")?.split(' ').next().map(ToOwned::to_owned);
    let known: BTreeSet<String> = text.lines().filter_map(named).collect();
    for path in [RULES, "charts/mailcow-operator/files/dashboard.json", CASES] {
        let text = read(path);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let used: Vec<&str> =
            text.split(|c| !is_name(c)).filter(|word| word.starts_with("mailcow_operator_")).collect();
        assert!(used.len() > 10, "{path}");
        for name in used {
            let base =
                ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(known.contains(base), "{path} asks for {name}");
        }
    }
}

#[test]
fn promtool_takes_the_rules_and_each_fires_on_its_own_trouble() {
    let cases: Value = serde_yaml::from_str(&read(CASES)).unwrap();
    let cases: BTreeSet<String> =
        cases["tests"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap().to_owned()).collect();
    let missing: Vec<_> = names().difference(&cases).cloned().collect();
    assert!(missing.is_empty() && cases.len() == names().len() + 1, "{missing:?}");
    assert!(Path::new(&root().join(RULES)).exists());
    promtool(&["check", "rules", RULES]);
    promtool(&["test", "rules", CASES]);
}
