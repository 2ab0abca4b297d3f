//! `status` on domains that are well, broken, or unknown.

use serde_json::json;

use crate::world::{ADA, DOMAIN, LIMIT, World};

/// A domain whose parts are wrong in several ways.
const BROKEN: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: lost}
spec: {localPart: lost, domainRef: {name: example}, passwordSecretRef: {name: nowhere, key: password}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {localPart: sales, domainRef: {name: example}, gotoMailboxRefs: [{name: ada}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: tasks}
spec: {mailboxRef: {name: ada}, actions: [{createTask: {sink: tracker}}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: stray}
spec: {localPart: stray, domainRef: {name: elsewhere}, goto: [ada@example.com]}
";

#[tokio::test]
async fn what_is_wrong_comes_first_with_what_to_do_and_the_tree_follows() {
    let world = World::new("status").await;
    world.apply(&format!("{DOMAIN}{ADA}{BROKEN}")).await;
    world.ready("edom/example").await;
    world.ready("embx/ada").await;
    world.ready("ealias/sales").await;
    world.until("embx/lost", "Ready", "False").await;
    world.until("efr/tasks", "Ready", "False").await;
    world.until("ealias/stray", "Ready", "False").await;
    world.until("edom/example", "DNSVerified", "False").await;

    // The domain counts its objects a moment after they are ready.
    ground::wait_until(LIMIT, "the count", async || {
        let done = world.email(&["status"]).await.out;
        if done.contains("1 mailbox, 1 alias") { Ok(()) } else { Err(done) }
    })
    .await
    .unwrap();

    let done = world.email(&["status"]).await.succeeded().out;
    let lines: Vec<&str> = done.lines().collect();
    assert!(lines[0].starts_with("example.com: 6 objects, 3 wrong") && lines[0].contains("1 with a warning"), "{done}");
    assert!(lines[2].starts_with("PROBLEM OF"), "{done}");
    for words in [
        "embx/lost",
        "SecretNotFound",
        "efr/tasks",
        "FeatureDisabled",
        "feature gate TaskDelivery is off",
        "DomainNotFound",
    ] {
        assert!(done.contains(words), "{words}: {done}");
    }
    assert!(done.contains("run: kubectl email dns example.com"), "{done}");
    let tree: Vec<&str> = lines.iter().skip_while(|line| !line.starts_with("NAME")).copied().collect();
    assert!(tree[1].starts_with("example.com") && tree[2].contains("MX ✗"), "{done}");
    let rule = tree.iter().position(|line| line.starts_with("│  ├─ rule")).unwrap();
    assert!(tree[rule - 1].starts_with("├─ ada@example.com"), "{done}");
    assert!(done.contains("to ada@example.com"), "{done}");

    let all = world.email(&["status", "example.com", "-o", "json"]).await.succeeded().json();
    let domain = &all["domains"][0];
    assert_eq!(
        (&domain["kind"], &domain["address"], &domain["ready"]),
        (&json!("EmailDomain"), &json!("example.com"), &json!("True"))
    );
    assert_eq!(domain["mailboxes"].as_array().unwrap().len(), 2);
    assert_eq!(domain["mailboxes"][1]["reason"], "SecretNotFound");
    assert_eq!(domain["rules"][0]["address"], "ada@example.com");
    assert!(
        domain["dns"].as_array().unwrap().contains(&json!({"type": "SPF", "verdict": "Missing", "required": true}))
    );
    assert_eq!(all["withoutDomain"], json!([]), "only the domain that was asked for");
    let yaml = world.email(&["status", "example", "-o", "yaml"]).await.succeeded().out;
    assert_eq!(serde_yaml::from_str::<serde_json::Value>(&yaml).unwrap(), all);

    let verbose = world.email(&["status", "-v"]).await.succeeded().out;
    assert!(verbose.contains("CONDITION") && verbose.contains("InboundReady"), "{verbose}");
}

#[tokio::test]
async fn an_operator_that_does_not_run_is_noticed() {
    let world = World::prepare("unseen").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let done = world.email(&["status"]).await.succeeded();
    done.shows(&["2 waiting or unknown", "the operator has not seen it yet", "run: kubectl email check"]);
    assert!(done.out.contains("edom/example and 1 more"), "the same problem is one line: {}", done.out);
}

#[tokio::test]
async fn several_domains_are_a_table_and_labels_select() {
    let world = World::new("several").await;
    let other =
        DOMAIN.replace("name: example", "name: other, labels: {plan: paid}").replace("example.com", "other.example");
    world.apply(&format!("{DOMAIN}{ADA}{other}")).await;
    world.ready("embx/ada").await;
    world.ready("edom/other").await;
    let done = world.email(&["status"]).await.succeeded().out;
    let row = done.lines().find(|line| line.starts_with("example.com ")).unwrap();
    assert!(row.contains("1/1"), "{done}");
    assert!(done.contains("2 domains: 3 objects"), "{done}");
    let done = world.email(&["status", "-l", "plan=paid", "-o", "json"]).await.succeeded().json();
    assert_eq!(done["domains"].as_array().unwrap().len(), 1);
    assert_eq!(done["withoutDomain"], json!([]), "objects of other domains are left out");
    assert_eq!(world.email(&["status", "-l", "plan in"]).await.code, 1);
}

#[tokio::test]
async fn a_watch_shows_changes() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut world = World::prepare("watch").await;
    world.connect().await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let place = world.place();
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let mut child = crate::world::program(&[&["status", "--watch"], &place[..]].concat()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    assert!(first.contains("2 waiting or unknown"), "{first}");
    world.start().await;
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("├─ ada@example.com") && line.contains("Ready") {
                return;
            }
        }
        panic!("it ended");
    };
    tokio::time::timeout(crate::world::LIMIT, ready).await.unwrap();
}
