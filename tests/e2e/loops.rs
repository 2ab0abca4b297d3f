//! Forwarding loops: through aliases, catch-alls and rules, of one namespace and of several.

use kube::Api;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

use crate::rule::{domain_rule, mailbox, rule, scripts, with_ada, with_text};
use crate::world::{DOMAIN, World, message, says};

/// An alias of the domain.
fn alias(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: {name}}}\nspec: {{domainRef: {{name: example}}, {spec}}}\n"
    )
}

fn to(name: &str, goto: &str) -> String {
    alias(name, &format!("localPart: {name}, goto: [{goto}]"))
}

/// The aliases on Mailcow that are none of a mailbox itself, sorted.
fn aliases(world: &World) -> Vec<String> {
    let all = world.mailcow.inspect(|state| state.aliases.clone());
    let mut found: Vec<String> = all.values().filter(|a| a.address != a.goto).map(|a| a.address.clone()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn aliases_that_lead_to_each_other_are_not_all_made() {
    let world = with_ada("aliasloop").await;
    world.apply(&to("one", "two@example.com")).await;
    world.ready::<EmailAlias>("one").await;
    world.apply(&to("two", "three@example.com, ada@example.com")).await;
    world.ready::<EmailAlias>("two").await;
    world.apply(&to("three", "ONE+x@example.com")).await;
    let refused = world.condition::<EmailAlias>("three", ("Ready", "False", "Conflict")).await;
    assert!(says(&refused, "Stalled", "True"), "{refused:#?}");
    let said = message(&refused, "Ready");
    assert!(said.contains("one") && said.contains("three@example.com → one@example.com → two@example.com"), "{said}");
    assert_eq!(aliases(&world), ["one@example.com", "two@example.com"]);
    world.apply(&to("two", "ada@example.com")).await;
    world.ready::<EmailAlias>("three").await;
    // Now it is the elder that would close it; it stays as it was.
    world.apply(&to("two", "three@example.com")).await;
    world.condition::<EmailAlias>("two", ("Ready", "False", "Conflict")).await;
    world.ready::<EmailAlias>("three").await;
    let goto = world
        .mailcow
        .inspect(|state| state.aliases.values().find(|a| a.address == "two@example.com").map(|a| a.goto.clone()));
    assert_eq!(goto.as_deref(), Some("ada@example.com"));
    world.kubectl(&["delete", "ealias", "three", "--wait=false"]).await;
    world.gone::<EmailAlias>("three").await;
    world.ready::<EmailAlias>("two").await;
}

#[tokio::test]
async fn a_catch_all_loop_is_found_where_mailcow_has_nobody_of_that_name() {
    let world = with_ada("catchloop").await;
    let other = DOMAIN.replace("name: example", "name: other").replace("example.com", "other.org");
    world.apply(&other).await;
    world.ready::<EmailDomain>("other").await;
    world.apply(&alias("here", "catchAll: true, goto: [info@other.org]")).await;
    world.ready::<EmailAlias>("here").await;
    let there = alias("there", "catchAll: true, goto: [info@example.com]").replace("name: example}", "name: other}");
    world.apply(&there).await;
    world.condition::<EmailAlias>("there", ("Ready", "False", "Conflict")).await;
    world.apply(&mailbox("info")).await;
    world.ready::<EmailMailbox>("info").await;
    world.ready::<EmailAlias>("there").await;
}

#[tokio::test]
async fn a_rule_whose_mail_comes_back_through_an_alias_is_left_out_until_it_does_not() {
    let world = with_ada("rulealias").await;
    world.apply(&format!("{}{}", mailbox("bob"), to("sales", "ada@example.com, bob@example.com"))).await;
    world.ready::<EmailMailbox>("bob").await;
    world.ready::<EmailAlias>("sales").await;
    world.apply(&rule("move", "actions: [{forward: {to: [sales@example.com], keepCopy: false}}]")).await;
    let refused = world.condition::<EmailForwardingRule>("move", ("Accepted", "False", "Conflict")).await;
    let said = message(&refused, "Accepted");
    assert!(said.contains("ada@example.com → sales@example.com → ada@example.com"), "{said}");
    assert_eq!(scripts(&world), Vec::<String>::new());
    world.apply(&to("sales", "bob@example.com")).await;
    world.ready::<EmailForwardingRule>("move").await;
    assert_eq!(with_text(&world, "sales@example.com"), ["ada@example.com"]);
    world.apply(&to("sales", "ada@example.com")).await;
    world.condition::<EmailForwardingRule>("move", ("Accepted", "False", "Conflict")).await;
    assert_eq!(scripts(&world), Vec::<String>::new(), "the alias stands, the rule goes");
    world.ready::<EmailAlias>("sales").await;
}

#[tokio::test]
async fn a_domains_rule_leaves_the_mailbox_alone_that_its_alias_leads_to() {
    let world = with_ada("archivealias").await;
    world.apply(&format!("{}{}", mailbox("archive"), to("all", "archive@example.com"))).await;
    world.ready::<EmailMailbox>("archive").await;
    world.ready::<EmailAlias>("all").await;
    world
        .apply(&domain_rule(
            "copy",
            "match: {spam: Any}, onMatch: Continue, actions: [{forward: {to: [all@example.com]}}]",
        ))
        .await;
    world.ready::<EmailForwardingRule>("copy").await;
    assert_eq!(with_text(&world, "all@example.com"), ["ada@example.com"]);
}

#[tokio::test]
async fn a_loop_through_another_namespace_names_nothing_of_it() {
    let mut world = World::everywhere("loopguests").await;
    world.connect().await;
    world.start_operator(&[]);
    let guest = world.plane.namespace("loop-guest").await.unwrap();
    let other = DOMAIN.replace("name: example", "name: other").replace("example.com", "other.org");
    world.plane.apply(&other, &guest).await.unwrap();
    world.apply(&format!("{DOMAIN}{}", mailbox("ada"))).await;
    world.ready::<EmailMailbox>("ada").await;
    world.until_in::<EmailDomain>(&guest, "other", ("Synced", "True", "InSync")).await;
    let list = |name: &str, to: &str| {
        alias(name, &format!("localPart: {name}, goto: [{to}]")).replace("name: example}", "name: other}")
    };
    let hidden = [list("list", "hidden@other.org"), list("hidden", "ada@example.com")].concat();
    world.plane.apply(&hidden, &guest).await.unwrap();
    world.until_in::<EmailAlias>(&guest, "hidden", ("Ready", "True", "InSync")).await;
    world.until_in::<EmailAlias>(&guest, "list", ("Ready", "True", "InSync")).await;
    world.apply(&rule("move", "actions: [{forward: {to: [list@other.org], keepCopy: false}}]")).await;
    let refused = world.condition::<EmailForwardingRule>("move", ("Accepted", "False", "Conflict")).await;
    let said = message(&refused, "Accepted");
    assert!(said.contains("list@other.org → an address of another namespace → ada@example.com"), "{said}");
    assert!(!said.contains(&guest) && !said.contains("hidden"), "{said}");
    let api: Api<EmailAlias> = Api::namespaced(world.kube.clone(), &guest);
    api.delete("hidden", &kube::api::DeleteParams::default()).await.unwrap();
    world.ready::<EmailForwardingRule>("move").await;
}
