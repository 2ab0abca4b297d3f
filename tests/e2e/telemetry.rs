//! What the operator tells of itself: metrics and logs.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use ground::wait_until;
use mailcow_operator::crd::{EmailDomain, EmailForwardingRule, EmailMailbox};
use serde_json::Value;

use crate::world::{ADA, DOMAIN, LIMIT, World};

/// Some of everything: what becomes Ready, what waits, what a person has to mend, what is paused.
pub(crate) const MIXED: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {domainRef: {name: example}, localPart: sales, goto: [ada@example.com]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: lost}
spec: {domainRef: {name: missing}, localPart: lost, goto: [ada@example.com]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: copy}
spec: {mailboxRef: {name: ada}, actions: [{forward: {to: [x@other.org]}}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: big}
spec: {localPart: big, domainRef: {name: example}, quota: 500Gi}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: still, annotations: {email.askrobots.com/paused: 'true'}}
spec: {localPart: still, domainRef: {name: example}}
---
";

/// Where the operator under test serves its metrics.
pub(crate) async fn address(world: &World) -> String {
    let line = world.operator.as_ref().unwrap().logged("serving metrics", LIMIT).await.unwrap();
    line.split("address=").nth(1).unwrap().trim().to_owned()
}

/// The metrics of the operator under test.
async fn metrics(address: &str) -> String {
    reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap()
}

/// Waits until the metrics have these lines.
pub(crate) async fn have(address: &str, lines: &[&str]) -> String {
    wait_until(LIMIT, "the metrics", async || {
        let text = metrics(address).await;
        let missing: Vec<_> = lines.iter().filter(|line| !text.lines().any(|there| there == **line)).collect();
        if missing.is_empty() { Ok(text) } else { Err(format!("{missing:?} in\n{text}")) }
    })
    .await
    .unwrap()
}

/// Runs a program with this text as its input; gives what it said, or nothing when there is no such program.
fn judged(program: &str, args: &[&str], input: &str) -> Option<(bool, String)> {
    let started =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: {program} is missing (on Debian: apt-get install prometheus)");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Some((output.status.success(), said))
}

/// The same in Prometheus' older format, which promtool reads: there a counter's name ends in `_total`.
fn older_format(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let named = |line: &str| {
        let (head, rest) = line.split_at("# TYPE ".len().min(line.len()));
        let name = rest.split(' ').next().unwrap_or_default();
        let is_head = head == "# TYPE " || head == "# HELP ";
        if is_head && counters.contains(name) {
            line.replacen(name, &format!("{name}_total"), 1)
        } else {
            line.to_owned()
        }
    };
    text.lines().filter(|line| *line != "# EOF").map(|line| named(line) + "\n").collect()
}

/// Seconds since Mailcow was last looked at whole.
fn snapshot_age(text: &str) -> Option<f64> {
    let name = "mailcow_operator_snapshot_age_seconds{server=\"default\"} ";
    text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}

#[tokio::test]
async fn metrics_say_how_things_stand_and_promtool_has_nothing_to_say() {
    let mut world = World::without_mailcow("figures").await;
    world.connect().await;
    world.start_operator(&["--resync", "4s", "--poll-interval", "1s"]);
    world.apply(&format!("{DOMAIN}{ADA}{MIXED}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailDomain>("example").await;
    let address = address(&world).await;
    let object =
        |kind: &str, state: &str, n| format!(r#"mailcow_operator_objects{{kind="{kind}",state="{state}"}} {n}"#);
    let stand = [
        object("EmailDomain", "Ready", 1),
        object("EmailMailbox", "Ready", 1),
        object("EmailMailbox", "Stalled", 1),
        object("EmailMailbox", "Paused", 1),
        object("EmailMailbox", "Deleting", 0),
        object("EmailAlias", "Ready", 1),
        object("EmailAlias", "NotReady", 1),
        object("EmailForwardingRule", "Ready", 1),
        r#"mailcow_operator_mailcow_breaker{server="default",state="closed"} 1"#.to_owned(),
        r#"mailcow_operator_queue_depth{kind="EmailMailbox"} 0"#.to_owned(),
        "mailcow_operator_leader 1".to_owned(),
        r#"mailcow_operator_mailcow_up{server="default"} 1"#.to_owned(),
        "mailcow_operator_poll_interval_seconds 1".to_owned(),
    ];
    let text = have(&address, &stand.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in ["reconciles_total", "reconcile_seconds_bucket", "mailcow_request_seconds_bucket", "dns_verdicts_total"]
    {
        assert!(text.contains(&format!("mailcow_operator_{name}{{")), "{name}\n{text}");
    }
    let refused = r#"mailcow_requests_total{action="add/mailbox",outcome="RefusedByMailcow"}"#;
    // It is looked at once a second, or as often as a busy machine lets it.
    assert!(text.contains(refused) && snapshot_age(&text).is_some_and(|age| age < 30.0), "{text}");
    for word in ["ada", "sales", "example.com", &world.namespace] {
        assert!(!text.contains(word), "{word} is in\n{text}");
    }
    if let Some((is_good, said)) = judged("promtool", &["check", "metrics"], &older_format(&text)) {
        assert!(is_good && said.is_empty(), "{said}\n{text}");
    }
}

#[tokio::test]
async fn a_breaker_that_is_open_a_deletion_and_an_old_snapshot_are_seen() {
    let mut world = World::without_mailcow("figuresdown").await;
    world.connect().await;
    world.start_operator(&["--resync", "4s", "--poll-interval", "1s"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    let address = address(&world).await;
    world.mailcow.set_down(true).await.unwrap();
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    let gone = [
        r#"mailcow_operator_objects{kind="EmailMailbox",state="Deleting"} 1"#,
        r#"mailcow_operator_mailcow_breaker{server="default",state="open"} 1"#,
        r#"mailcow_operator_mailcow_up{server="default"} 0"#,
    ];
    have(&address, &gone).await;
    wait_until(LIMIT, "an old snapshot", async || {
        let age = snapshot_age(&metrics(&address).await);
        if age > Some(3.0) { Ok(()) } else { Err(format!("{age:?}")) }
    })
    .await
    .unwrap();
    world.mailcow.set_down(false).await.unwrap();
    have(&address, &[r#"mailcow_operator_objects{kind="EmailMailbox",state="Deleting"} 0"#]).await;
}

#[tokio::test]
async fn every_line_of_a_reconcile_names_its_object() {
    let mut world = World::without_mailcow("logs").await;
    world.connect().await;
    let level = "debug,kube=info,kube_client=info,kube_runtime=warn,hyper=warn,hyper_util=warn,hickory_resolver=warn,hickory_net=warn,rustls=warn,tower=warn,reqwest=warn,h2=warn";
    world.start_operator(&["--resync", "2s", "--log-format", "json", "--log-level", level]);
    world.apply(&format!("{DOMAIN}{ADA}{MIXED}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailForwardingRule>("copy").await;
    world.mailcow.set_down(true).await.unwrap();
    world.condition::<EmailMailbox>("ada", ("Ready", "Unknown", "MailcowUnreachable")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut kinds, mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for line in world.logs().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let message = line["message"].as_str().unwrap().to_owned();
        let Some(span) = line.get("span") else {
            outside.insert(message);
            continue;
        };
        let value = |key: &str| span[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        assert_eq!(value("object.namespace").as_deref(), Some(world.namespace.as_str()), "{line}");
        assert!(value("object.name").is_some(), "{line}");
        kinds.insert(value("object.kind").unwrap());
        inside.insert(message);
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    for message in ["writing to Mailcow", "writing the script to Mailcow", "Ready changed"] {
        assert!(inside.contains(message), "{message} {inside:?}");
    }
    let about_no_object = [
        "serving metrics and health",
        "starting",
        "this instance is the leader",
        "working on this cluster",
        "connection to Mailcow configured",
        "Mailcow answers",
        "ready",
        "Mailcow could not be polled; retrying",
        "Mailcow could not be polled",
        "Mailcow does not answer; the operator retries one request at a time, and the objects are Ready=Unknown",
    ];
    let stray: Vec<_> = outside.iter().filter(|message| !about_no_object.contains(&message.as_str())).collect();
    assert!(stray.is_empty(), "{stray:?}");
}
