//! A rule that was deleted is in no script, whatever happens beside it.

use std::time::Duration;

use kube::ResourceExt;
use mailcow_operator::crd::{EmailDomain, EmailForwardingRule, EmailMailbox};
use mailcow_simulator::{Fault, Trouble};

use crate::rule::{FORWARD, IGNORE, domain_rule, mailbox, rule, scripts, until_mailcow, with_ada, with_text};
use crate::world::{ADA, DOMAIN, World, says};

const BOOKS: &str = "books@other.org";

/// How long the answer about filters takes that a rule is deleted in.
const SLOW: Duration = Duration::from_secs(3);

/// Whether an answer about filters took its time.
fn was_slow(world: &World) -> bool {
    world.mailcow.requests().iter().any(|request| request.path.contains("filters") && request.took >= SLOW)
}

#[tokio::test]
async fn a_rule_deleted_while_its_script_is_made_is_in_no_script() {
    let world = with_ada("quickrule").await;
    world.mailcow.fault(Fault::once("get/filters", Trouble::Slow(SLOW)));
    world.apply(&rule("one", FORWARD)).await;
    let is_seen = |r: &EmailForwardingRule| r.status.as_ref().is_some_and(|s| !s.conditions.is_empty());
    world.until("one", "a first status", is_seen).await;
    tokio::time::sleep(SLOW / 3).await;
    world.kubectl(&["delete", "efr", "one", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("one").await;
    until_mailcow(&world, "the slow answer", was_slow).await;
    // Time for a pass to go wrong in.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scripts(&world), Vec::<String>::new());
    world.apply(&rule("two", IGNORE)).await;
    world.ready::<EmailForwardingRule>("two").await;
    assert_eq!((with_text(&world, BOOKS).len(), scripts(&world).len()), (0, 1));
}

#[tokio::test]
async fn a_rule_deleted_while_the_script_of_others_is_made_is_left_out_of_it() {
    let world = with_ada("quickother").await;
    world.apply(&rule("two", IGNORE)).await;
    world.ready::<EmailForwardingRule>("two").await;
    world.mailcow.fault(Fault::once("get/filters", Trouble::Slow(SLOW)));
    world.apply(&rule("one", FORWARD)).await;
    let is_seen = |r: &EmailForwardingRule| r.status.as_ref().is_some_and(|s| !s.conditions.is_empty());
    world.until("one", "a first status", is_seen).await;
    tokio::time::sleep(SLOW / 3).await;
    world.kubectl(&["delete", "efr", "one", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("one").await;
    until_mailcow(&world, "the slow answer", was_slow).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((with_text(&world, BOOKS).len(), scripts(&world).len()), (0, 1));
}

#[tokio::test]
async fn a_domains_rule_leaves_every_script_although_its_domain_went_first() {
    let world = with_ada("ruleafterdomain").await;
    world.apply(&format!("{}{}{}", mailbox("bob"), domain_rule("all", FORWARD), rule("own", IGNORE))).await;
    let is_in_two = |r: &EmailForwardingRule| {
        r.status.as_ref().is_some_and(|s| s.mailbox_count == Some(2)) && says(r, "Ready", "True")
    };
    world.until("all", "two mailboxes", is_in_two).await;
    world.ready::<EmailForwardingRule>("own").await;
    world.kubectl(&["delete", "edom", "example", "--wait=false"]).await;
    world.gone::<EmailDomain>("example").await;
    world.condition::<EmailForwardingRule>("all", ("ResolvedRefs", "False", "DomainNotFound")).await;
    world.condition::<EmailForwardingRule>("own", ("ResolvedRefs", "False", "DomainNotFound")).await;
    assert_eq!(with_text(&world, BOOKS).len(), 2, "what is retained goes on");
    world.kubectl(&["delete", "efr", "all", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("all").await;
    assert_eq!(with_text(&world, BOOKS), Vec::<String>::new());
    assert_eq!(with_text(&world, "discard;"), ["ada@example.com"], "other rules stay");
}

#[tokio::test]
async fn a_domains_rule_leaves_every_script_although_the_domain_lets_nobody_in_any_more() {
    let mut world = World::everywhere("revokedrule").await;
    world.connect().await;
    world.start_operator(&[]);
    let guest = world.plane.namespace("rule-guest").await.unwrap();
    let shared = DOMAIN.replace("{domain: example.com}", "{domain: example.com, allowedNamespaces: {from: All}}");
    world.apply(&shared).await;
    world.ready::<EmailDomain>("example").await;
    let there = format!("{{name: example, namespace: {}}}", world.namespace);
    let manifests =
        format!("{ADA}{}{}", domain_rule("all", FORWARD), rule("own", IGNORE)).replace("{name: example}", &there);
    world.plane.apply(&manifests, &guest).await.unwrap();
    world.until_in::<EmailForwardingRule>(&guest, "all", ("Ready", "True", "InSync")).await;
    world.until_in::<EmailForwardingRule>(&guest, "own", ("Ready", "True", "InSync")).await;
    assert_eq!(with_text(&world, BOOKS), ["ada@example.com"]);
    let attached = |d: &EmailDomain| {
        d.status.as_ref().and_then(|s| s.attached.as_ref()).is_some_and(|a| (a.mailboxes, a.rules) == (1, 2))
    };
    world.until("example", "the guest's rules counted", attached).await;
    let patch = r#"{"spec":{"allowedNamespaces":{"from":"Same"}}}"#;
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", patch]).await;
    world.until_in::<EmailForwardingRule>(&guest, "all", ("Ready", "False", "NamespaceNotAllowed")).await;
    world.until_in::<EmailForwardingRule>(&guest, "own", ("Ready", "False", "NamespaceNotAllowed")).await;
    world.plane.kubectl(&["-n", &guest, "delete", "efr", "all", "--wait=false"]).await.unwrap();
    let api: kube::Api<EmailForwardingRule> = kube::Api::namespaced(world.kube.clone(), &guest);
    ground::wait_until(crate::world::LIMIT, "the rule to be gone", async || match api.get_opt("all").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:#?}")),
    })
    .await
    .unwrap();
    assert_eq!(with_text(&world, BOOKS), Vec::<String>::new());
}

#[tokio::test]
async fn a_rule_deleted_while_no_operator_ran_leaves_every_script() {
    let mut world = with_ada("ruleoutage").await;
    world.apply(&format!("{}{}", domain_rule("all", FORWARD), rule("own", IGNORE))).await;
    world.ready::<EmailForwardingRule>("all").await;
    world.ready::<EmailForwardingRule>("own").await;
    world.operator = None;
    world.kubectl(&["delete", "efr", "all", "own", "--wait=false"]).await;
    world.kubectl(&["delete", "edom", "example", "--wait=false"]).await;
    world.start_operator(&[]);
    world.gone::<EmailDomain>("example").await;
    world.gone::<EmailForwardingRule>("all").await;
    world.gone::<EmailForwardingRule>("own").await;
    assert_eq!(scripts(&world), Vec::<String>::new());
}

#[tokio::test]
async fn after_a_restart_what_is_in_force_is_known_from_the_statuses() {
    let mut world = with_ada("rulerestart").await;
    world.apply(&format!("{}{}", rule("one", FORWARD), rule("two", IGNORE))).await;
    let one = world.ready::<EmailForwardingRule>("one").await;
    let is_in = |m: &EmailMailbox, hash: Option<&String>| {
        let script = m.status.as_ref().and_then(|s| s.script.as_ref());
        script.is_some_and(|s| s.rules.len() == 2 && s.hash.as_ref() == hash)
    };
    world.ready::<EmailForwardingRule>("two").await;
    let hash = world.ready::<EmailForwardingRule>("one").await.status.unwrap().script_hash;
    let ada = world.until("ada", "its script told", |m: &EmailMailbox| is_in(m, hash.as_ref())).await;
    let rules = ada.status.unwrap().script.unwrap().rules;
    assert_eq!(rules[0].uid, one.uid().unwrap());
    world.operator = None;
    world.mailcow.clear_log();
    world.start_operator(&[]);
    let asked = |world: &World| world.mailcow.requests().iter().any(|request| request.path.contains("filters"));
    until_mailcow(&world, "the script to be looked at", asked).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.mailcow.writes(), 0, "nothing had changed");
    let again = world.ready::<EmailForwardingRule>("one").await;
    assert_eq!(again.status.unwrap().conditions, one.status.unwrap().conditions, "Ready was True all the time");
}

#[tokio::test]
async fn a_script_replaced_as_a_whole_by_hand_is_put_back_or_reported() {
    let world = with_ada("replaced").await;
    world.apply(&rule("one", FORWARD)).await;
    world.ready::<EmailForwardingRule>("one").await;
    let replace = |world: &World| {
        world.mailcow.edit(|state| state.filters.values_mut().for_each(|filter| filter.script = "keep;".to_owned()));
    };
    let ask = |at: &str| format!("email.askrobots.com/reconcile-requested-at={at}");
    replace(&world);
    world.kubectl(&["annotate", "--overwrite", "efr", "one", &ask("1")]).await;
    until_mailcow(&world, "the script to be put back", |world| with_text(world, BOOKS).len() == 1).await;
    world.ready::<EmailForwardingRule>("one").await;
    world.apply(&rule("one", &format!("driftPolicy: Report, {FORWARD}"))).await;
    world.ready::<EmailForwardingRule>("one").await;
    replace(&world);
    world.kubectl(&["annotate", "--overwrite", "efr", "one", &ask("2")]).await;
    world.condition::<EmailForwardingRule>("one", ("Drifted", "True", "Drifted")).await;
    assert_eq!(scripts(&world), ["keep;"]);
    world.apply(&rule("one", &format!("driftPolicy: Report, {}", FORWARD.replace("books@", "desk@")))).await;
    world.ready::<EmailForwardingRule>("one").await;
    assert_eq!(with_text(&world, "desk@other.org"), ["ada@example.com"], "a rule changed");
}

#[tokio::test]
async fn a_domain_counts_its_own_rules_and_those_of_its_mailboxes() {
    let world = with_ada("attachedrules").await;
    let attached = |d: &EmailDomain| d.status.as_ref().and_then(|s| s.attached.as_ref()).map(|a| a.rules);
    world.apply(&format!("{}{}", domain_rule("all", FORWARD), rule("own", IGNORE))).await;
    world.until("example", "two rules", |d: &EmailDomain| attached(d) == Some(2)).await;
    world.kubectl(&["delete", "efr", "all", "--wait=false"]).await;
    world.until("example", "one rule", |d: &EmailDomain| attached(d) == Some(1)).await;
}
