//! Forwarding rules: all rules of a mailbox in one script, in Mailcow's one prefilter slot.

use mailcow_operator::crd::{EmailForwardingRule, EmailMailbox};

use crate::world::{ADA, DOMAIN, World, message, says};

/// A rule for Ada's mail.
pub(crate) fn rule(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {{name: {name}}}\nspec: {{mailboxRef: {{name: ada}}, {spec}}}\n"
    )
}

pub(crate) const FORWARD: &str = "priority: 10, match: {all: [{field: Subject, operator: Contains, values: [invoice]}]}, actions: [{forward: {to: [books@other.org]}}]";
pub(crate) const IGNORE: &str = "priority: 20, match: {all: [{field: Sender, operator: Domain, values: [spam.test]}]}, actions: [{ignore: {mode: Discard}}]";

/// The active prefilters of Ada's mailbox.
pub(crate) fn scripts(world: &World) -> Vec<String> {
    let filters = world.mailcow.inspect(|state| state.filters.clone());
    filters.values().filter(|filter| filter.active).map(|filter| filter.script.clone()).collect()
}

pub(crate) async fn with_ada(name: &str) -> World {
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
    add_filter(&world, "ada@example.com").await;
    world.apply(&rule("one", FORWARD)).await;
    let taken = world.condition::<EmailForwardingRule>("one", ("Programmed", "False", "FilterSlotTaken")).await;
    assert!(message(&taken, "Programmed").contains("vacation"));
    assert_eq!(scripts(&world), ["keep;"]);
    world.kubectl(&["delete", "efr", "one", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("one").await;
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

/// A rule for the mail of the whole domain.
pub(crate) fn domain_rule(name: &str, spec: &str) -> String {
    rule(name, spec).replace("mailboxRef: {name: ada}", "domainRef: {name: example}")
}

pub(crate) fn mailbox(name: &str) -> String {
    ADA.replace("name: ada}", &format!("name: {name}}}")).replace("localPart: ada", &format!("localPart: {name}"))
}

/// The mailboxes whose active prefilter holds the text, sorted.
pub(crate) fn with_text(world: &World, text: &str) -> Vec<String> {
    let filters = world.mailcow.inspect(|state| state.filters.clone());
    let mut found: Vec<String> =
        filters.values().filter(|f| f.active && f.script.contains(text)).map(|f| f.username.clone()).collect();
    found.sort();
    found
}

pub(crate) async fn add_filter(world: &World, mailbox: &str) {
    let body = format!(
        r#"{{"username":"{mailbox}","filter_type":"prefilter","script_data":"keep;","script_desc":"vacation","active":1}}"#
    );
    let request = reqwest::Client::new()
        .post(format!("{}/api/v1/add/filter", world.mailcow.url()))
        .header("X-API-Key", world.mailcow.api_key())
        .header("Content-Type", "application/json")
        .body(body);
    assert!(request.send().await.unwrap().text().await.unwrap().contains("mailbox_modified"));
}

/// Waits until something is true of Mailcow.
pub(crate) async fn until_mailcow(world: &World, what: &str, is_so: impl Fn(&World) -> bool) {
    let found =
        ground::wait_until(crate::world::LIMIT, what, async || if is_so(world) { Ok(()) } else { Err("not yet") });
    if let Err(error) = found.await {
        panic!("{error}\n{}", world.logs());
    }
}

#[tokio::test]
async fn a_domains_rule_is_in_force_in_every_mailbox_those_that_come_later_too() {
    let world = with_ada("domainrule").await;
    world.apply(&format!("{}{}", mailbox("bob"), domain_rule("all", FORWARD))).await;
    let has = |r: &EmailForwardingRule, n| r.status.as_ref().is_some_and(|s| s.mailbox_count == Some(n));
    world.until("all", "two mailboxes", |r| has(r, 2) && says(r, "Ready", "True")).await;
    assert_eq!(with_text(&world, "books@other.org"), ["ada@example.com", "bob@example.com"]);
    world.apply(&format!("{}{}", mailbox("eve"), rule("own", IGNORE))).await;
    let all = world.until("all", "three mailboxes", |r| has(r, 3) && says(r, "Ready", "True")).await.status.unwrap();
    assert_eq!(all.mailboxes, ["ada@example.com", "bob@example.com", "eve@example.com"]);
    world.ready::<EmailForwardingRule>("own").await;
    assert_eq!(with_text(&world, "books@other.org").len(), 3);
    assert_eq!(with_text(&world, "discard;"), ["ada@example.com"]);
    world.kubectl(&["delete", "embx", "eve", "--wait=false"]).await;
    world.gone::<EmailMailbox>("eve").await;
    assert_eq!(with_text(&world, "books@other.org").len(), 2, "a mailbox that is let go keeps no rule of the domain");
    world.until("all", "two mailboxes again", |r| has(r, 2)).await;
    world.kubectl(&["delete", "efr", "all", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("all").await;
    assert_eq!(with_text(&world, "books@other.org"), Vec::<String>::new());
    assert_eq!(with_text(&world, "discard;"), ["ada@example.com"]);
}

#[tokio::test]
async fn a_domains_rule_waits_for_the_domain_and_is_ready_without_mailboxes() {
    let world = World::new("emptydomain").await;
    world.apply(&domain_rule("all", FORWARD)).await;
    world.condition::<EmailForwardingRule>("all", ("ResolvedRefs", "False", "DomainNotFound")).await;
    world.apply(DOMAIN).await;
    let empty = world.condition::<EmailForwardingRule>("all", ("Programmed", "False", "NoMailbox")).await;
    assert!(says(&empty, "Ready", "True"));
}

#[tokio::test]
async fn the_script_goes_with_the_last_rule_although_the_mailbox_object_went_first() {
    let world = with_ada("orphanrule").await;
    world.apply(&rule("one", FORWARD)).await;
    world.ready::<EmailForwardingRule>("one").await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    world.condition::<EmailForwardingRule>("one", ("ResolvedRefs", "False", "MailboxNotFound")).await;
    assert_eq!(scripts(&world).len(), 1, "what is retained goes on");
    world.kubectl(&["delete", "efr", "one", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("one").await;
    assert_eq!(scripts(&world), Vec::<String>::new());
}

#[tokio::test]
async fn with_consent_a_persons_filter_is_displaced_and_comes_back() {
    let world = with_ada("consent").await;
    add_filter(&world, "ada@example.com").await;
    world.apply(&rule("one", &format!("adoptionPolicy: Force, {FORWARD}"))).await;
    world.ready::<EmailForwardingRule>("one").await;
    assert_eq!(with_text(&world, "books@other.org"), ["ada@example.com"]);
    world.kubectl(&["delete", "efr", "one", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("one").await;
    assert_eq!(scripts(&world), ["keep;"]);
}

#[tokio::test]
async fn a_change_by_hand_is_put_back_or_reported() {
    let world = with_ada("drift").await;
    world.apply(&rule("one", &format!("driftPolicy: Report, {FORWARD}"))).await;
    world.ready::<EmailForwardingRule>("one").await;
    let edit =
        |world: &World| world.mailcow.edit(|state| state.filters.values_mut().for_each(|f| f.script.push_str("# x\n")));
    edit(&world);
    let ask = |at: &str| format!("email.askrobots.com/reconcile-requested-at={at}");
    world.kubectl(&["annotate", "efr", "one", &ask("1")]).await;
    let drifted = world.condition::<EmailForwardingRule>("one", ("Drifted", "True", "Drifted")).await;
    assert!(says(&drifted, "Ready", "False"));
    assert!(scripts(&world)[0].ends_with("# x\n"));
    world.apply(&rule("one", FORWARD)).await;
    world.ready::<EmailForwardingRule>("one").await;
    assert!(!scripts(&world)[0].ends_with("# x\n"));
    edit(&world);
    world.kubectl(&["annotate", "--overwrite", "efr", "one", &ask("2")]).await;
    until_mailcow(&world, "the script to be put back", |world| !scripts(world)[0].ends_with("# x\n")).await;
}

#[tokio::test]
async fn a_script_that_never_was_on_mailcow_did_not_drift() {
    let world = World::new("nodrift").await;
    world.mailcow.set_down(true).await.unwrap();
    world.apply(&format!("{DOMAIN}{ADA}{}", rule("one", &format!("driftPolicy: Report, {FORWARD}")))).await;
    world.condition::<EmailForwardingRule>("one", ("Ready", "Unknown", "MailcowUnreachable")).await;
    world.mailcow.set_down(false).await.unwrap();
    world.ready::<EmailForwardingRule>("one").await;
    assert_eq!(scripts(&world).len(), 1);
}

#[tokio::test]
async fn a_sink_is_named_by_rules_that_may_use_it_and_a_missing_one_heals_itself() {
    let mut world = World::without_mailcow("sinks").await;
    world.connect().await;
    let file = std::env::temp_dir().join(format!("{}-sinks.yaml", world.namespace));
    let tracker = "{name: tracker, webhook: {url: 'https://t.example'}, namespaces: ['*']}";
    let theirs = "{name: theirs, webhook: {url: 'https://t.example'}, namespaces: [other]}";
    std::fs::write(&file, format!("[{tracker}, {theirs}]")).unwrap();
    world.start_operator(&["--sinks-file", &file.display().to_string(), "--feature-gates", "TaskDelivery=true"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let task =
        |name: &str, sink: &str| rule(name, &format!("onMatch: Continue, actions: [{{createTask: {{sink: {sink}}}}}]"));
    world.apply(&[task("good", "tracker"), task("new", "board"), task("bad", "theirs")].concat()).await;
    world.ready::<EmailForwardingRule>("good").await;
    let missing = world.condition::<EmailForwardingRule>("new", ("ResolvedRefs", "False", "SinkNotFound")).await;
    assert!(message(&missing, "Ready").contains("spec.actions[0].createTask.sink"), "{missing:#?}");
    assert!(says(&missing, "Accepted", "True"));
    world.condition::<EmailForwardingRule>("bad", ("ResolvedRefs", "False", "SinkNotAllowed")).await;
    let folder = format!("fileinto :copy :create \"Ops/Tasks/{}/good@tracker\";", world.namespace);
    assert_eq!(with_text(&world, &folder), ["ada@example.com"]);
    let board = "{name: board, email: {address: in@board.example}, namespaces: ['*']}";
    std::fs::write(&file, format!("[{tracker}, {theirs}, {board}]")).unwrap();
    world.ready::<EmailForwardingRule>("new").await;
    assert_eq!(with_text(&world, "redirect :copy \"in@board.example\";"), ["ada@example.com"]);
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn a_ring_of_three_mailboxes_is_opened_at_its_youngest_rule() {
    let world = with_ada("ring").await;
    world.apply(&format!("{}{}", mailbox("bob"), mailbox("eve"))).await;
    world.ready::<EmailMailbox>("bob").await;
    world.ready::<EmailMailbox>("eve").await;
    let sends = |name: &str, from: &str, to: &str| {
        rule(name, &format!("actions: [{{forward: {{to: [{to}@example.com]}}}}]"))
            .replace("{name: ada}, actions", &format!("{{name: {from}}}, actions"))
    };
    // Of equal age the name decides.
    world.apply(&[sends("r1", "ada", "bob"), sends("r2", "bob", "eve")].concat()).await;
    world.ready::<EmailForwardingRule>("r1").await;
    world.ready::<EmailForwardingRule>("r2").await;
    world.apply(&sends("r3", "eve", "ada")).await;
    let refused = world.condition::<EmailForwardingRule>("r3", ("Accepted", "False", "Conflict")).await;
    assert!(message(&refused, "Accepted").contains("r1") && message(&refused, "Accepted").contains("bob@example.com"));
    world.ready::<EmailForwardingRule>("r1").await;
    world.kubectl(&["delete", "efr", "r1", "--wait=false"]).await;
    world.ready::<EmailForwardingRule>("r3").await;
}

#[tokio::test]
async fn a_paused_rule_is_neither_written_nor_taken_out() {
    let world = with_ada("pausedrule").await;
    world.apply(&rule("one", FORWARD)).await;
    world.ready::<EmailForwardingRule>("one").await;
    world.kubectl(&["annotate", "efr", "one", "email.askrobots.com/paused=true"]).await;
    world.condition::<EmailForwardingRule>("one", ("Paused", "True", "Paused")).await;
    world.apply(&rule("two", IGNORE)).await;
    world.ready::<EmailForwardingRule>("two").await;
    assert_eq!(with_text(&world, "books@other.org"), ["ada@example.com"], "what it was stays");
    world.apply(&rule("one", &FORWARD.replace("books@", "desk@"))).await;
    world.condition::<EmailForwardingRule>("one", ("Programmed", "False", "Paused")).await;
    assert_eq!(with_text(&world, "books@other.org"), ["ada@example.com"]);
    world.kubectl(&["annotate", "efr", "one", "email.askrobots.com/paused-"]).await;
    world.ready::<EmailForwardingRule>("one").await;
    assert_eq!(with_text(&world, "desk@other.org"), ["ada@example.com"]);
}

#[tokio::test]
async fn a_rule_and_a_mailbox_go_although_a_person_has_taken_the_slot_meanwhile() {
    let world = with_ada("slotlater").await;
    world.apply(&format!("{}{}{}", rule("one", FORWARD), rule("two", IGNORE), domain_rule("all", FORWARD))).await;
    for name in ["one", "two", "all"] {
        world.ready::<EmailForwardingRule>(name).await;
    }
    add_filter(&world, "ada@example.com").await;
    world.kubectl(&["delete", "efr", "one", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("one").await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    world.kubectl(&["delete", "efr", "two", "all", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("two").await;
    world.gone::<EmailForwardingRule>("all").await;
    assert_eq!(world.mailcow.inspect(|state| state.filters.len()), 1, "only the person's is left");
    assert_eq!(scripts(&world), ["keep;"]);
}
