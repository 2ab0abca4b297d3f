//! Forwarding rules: all rules of a mailbox in one script, in Mailcow's one prefilter slot.

use mailcow_operator::crd::{EmailForwardingRule, EmailMailbox};

use crate::world::{ADA, DOMAIN, World, message, says};

/// A rule for Ada's mail.
fn rule(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {{name: {name}}}\nspec: {{mailboxRef: {{name: ada}}, {spec}}}\n"
    )
}

const FORWARD: &str = "priority: 10, match: {all: [{field: Subject, operator: Contains, values: [invoice]}]}, actions: [{forward: {to: [books@other.org]}}]";
const IGNORE: &str = "priority: 20, match: {all: [{field: Sender, operator: Domain, values: [spam.test]}]}, actions: [{ignore: {mode: Discard}}]";

/// The active prefilters of Ada's mailbox.
fn scripts(world: &World) -> Vec<String> {
    let filters = world.mailcow.inspect(|state| state.filters.clone());
    filters.values().filter(|filter| filter.active).map(|filter| filter.script.clone()).collect()
}

async fn with_ada(name: &str) -> World {
    let world = World::new(name).await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world
}

#[tokio::test]
async fn rules_become_one_script_in_order() {
    let world = with_ada("rules").await;
    world.apply(&format!("{}{}", rule("later", IGNORE), rule("first", FORWARD))).await;
    let at = |r: &EmailForwardingRule, position| r.status.as_ref().is_some_and(|s| s.position == Some(position));
    let later = world.until("later", "position 2", |r| at(r, 2) && says(r, "Ready", "True")).await.status.unwrap();
    let is_same = |r: &EmailForwardingRule| r.status.as_ref().is_some_and(|s| s.script_hash == later.script_hash);
    let first = world.until("first", "the same script", |r| at(r, 1) && is_same(r)).await.status.unwrap();
    assert_eq!((first.position, &first.mailboxes), (Some(1), &vec!["ada@example.com".to_owned()]));
    let [script] = scripts(&world).try_into().unwrap();
    assert!(script.starts_with("# mailcow-operator/testing/"), "{script}");
    let (forward, discard) = (script.find("books@other.org").unwrap(), script.find("discard;").unwrap());
    assert!(forward < discard, "{script}");
    assert!(later.script_hash.is_some());
}

#[tokio::test]
async fn the_last_rule_takes_the_script_with_it() {
    let world = with_ada("lastrule").await;
    world.apply(&format!("{}{}", rule("one", FORWARD), rule("two", IGNORE))).await;
    world.ready::<EmailForwardingRule>("one").await;
    world.ready::<EmailForwardingRule>("two").await;
    world.kubectl(&["delete", "efr", "one", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("one").await;
    let [script] = scripts(&world).try_into().unwrap();
    assert!(!script.contains("books@other.org"), "{script}");
    let first = |r: &EmailForwardingRule| r.status.as_ref().is_some_and(|s| s.position == Some(1));
    world.until("two", "position 1", first).await;
    world.kubectl(&["delete", "efr", "two", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("two").await;
    assert_eq!(scripts(&world), Vec::<String>::new());
}

#[tokio::test]
async fn one_bad_rule_never_takes_the_others_down() {
    let world = with_ada("badrule").await;
    let bad = r"match: {all: [{field: Subject, operator: Regex, values: ['\d+']}]}, actions: [{ignore: {}}]";
    world.apply(&format!("{}{}", rule("good", FORWARD), rule("bad", bad))).await;
    world.ready::<EmailForwardingRule>("good").await;
    let refused = world.condition::<EmailForwardingRule>("bad", ("Accepted", "False", "InvalidSpec")).await;
    assert!(says(&refused, "Ready", "False") && says(&refused, "Stalled", "True"));
    assert!(message(&refused, "Accepted").contains("values[0]"), "{refused:#?}");
    assert_eq!(scripts(&world).len(), 1);
    world
        .apply(&rule(
            "bad",
            "match: {all: [{field: Subject, operator: Regex, values: ['[[:digit:]]+']}]}, actions: [{ignore: {}}]",
        ))
        .await;
    world.ready::<EmailForwardingRule>("bad").await;
}

#[tokio::test]
async fn a_persons_active_filter_is_not_replaced() {
    let world = with_ada("slot").await;
    let body = r#"{"username":"ada@example.com","filter_type":"prefilter","script_data":"keep;","script_desc":"vacation","active":1}"#;
    let request = reqwest::Client::new()
        .post(format!("{}/api/v1/add/filter", world.mailcow.url()))
        .header("X-API-Key", world.mailcow.api_key())
        .header("Content-Type", "application/json")
        .body(body);
    assert!(request.send().await.unwrap().text().await.unwrap().contains("mailbox_modified"));
    world.apply(&rule("one", FORWARD)).await;
    let taken = world.condition::<EmailForwardingRule>("one", ("Programmed", "False", "FilterSlotTaken")).await;
    assert!(message(&taken, "Programmed").contains("vacation"));
    assert_eq!(scripts(&world), ["keep;"]);
}

#[tokio::test]
async fn a_rule_waits_for_its_mailbox_and_a_disabled_one_is_left_out() {
    let world = World::new("waitrule").await;
    world.apply(&rule("one", FORWARD)).await;
    world.condition::<EmailForwardingRule>("one", ("ResolvedRefs", "False", "MailboxNotFound")).await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailForwardingRule>("one").await;
    world.apply(&rule("one", &format!("enabled: false, {FORWARD}"))).await;
    world.condition::<EmailForwardingRule>("one", ("Programmed", "False", "Disabled")).await;
    assert_eq!(scripts(&world), Vec::<String>::new());
}

#[tokio::test]
async fn mail_does_not_go_round_between_two_mailboxes() {
    let world = with_ada("round").await;
    let bob = ADA.replace("name: ada}", "name: bob}").replace("localPart: ada", "localPart: bob");
    world.apply(&bob).await;
    world.ready::<EmailMailbox>("bob").await;
    world.apply(&rule("there", "actions: [{forward: {to: [bob@example.com]}}]")).await;
    world.ready::<EmailForwardingRule>("there").await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let back = rule("back", "actions: [{forward: {to: [ada@example.com]}}]")
        .replace("{name: ada}, actions", "{name: bob}, actions");
    world.apply(&back).await;
    let refused = world.condition::<EmailForwardingRule>("back", ("Accepted", "False", "Conflict")).await;
    assert!(message(&refused, "Accepted").contains("there"), "{refused:#?}");
    world.kubectl(&["delete", "efr", "there", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("there").await;
    world.ready::<EmailForwardingRule>("back").await;
}
