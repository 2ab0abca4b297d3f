//! `adoptionPolicy: Force`: it takes what a dead owner left, and nothing from a living one.

use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};

use crate::world::{ADA, DOMAIN, World, message};

const SALES: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {localPart: sales, domainRef: {name: example}, goto: [a@example.com]}
---
";

/// The manifest of another object that wants the same by force.
fn heir(manifest: &str, name: &str) -> String {
    let (from, to) = (format!("{{name: {name}}}\nspec: {{"), "{name: heir}\nspec: {adoptionPolicy: Force, ");
    assert!(manifest.contains(&from));
    manifest.replace(&from, to)
}

#[tokio::test]
async fn force_takes_what_a_dead_owner_left_and_nothing_from_a_living_one() {
    let world = World::new("force").await;
    world.apply(&format!("{DOMAIN}{ADA}{SALES}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("sales").await;
    world.mailcow.clear_log();
    world.apply(&[heir(DOMAIN, "example"), heir(ADA, "ada"), heir(SALES, "sales")].concat()).await;
    let why = ("Ready", "False", "OwnedByAnother");
    world.condition::<EmailDomain>("heir", ("Ready", "False", "Conflict")).await;
    let refused = [
        message(&world.condition::<EmailMailbox>("heir", why).await, "Ready"),
        message(&world.condition::<EmailAlias>("heir", why).await, "Ready"),
    ];
    assert!(refused.iter().all(|said| said.contains("which still exists")), "{refused:?}");
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    // Whoever may change an object may take its finalizer off. What that reaches: Mailcow keeps the thing.
    for (kind, name) in [("embx", "ada"), ("ealias", "sales")] {
        world.kubectl(&["annotate", kind, name, "email.askrobots.com/paused=true"]).await;
        world.kubectl(&["patch", kind, name, "--type=merge", "-p", r#"{"spec":{"deletionPolicy":"Delete"}}"#]).await;
        world.kubectl(&["delete", kind, name, "--wait=false"]).await;
        world.kubectl(&["patch", kind, name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).await;
    }
    world.gone::<EmailMailbox>("ada").await;
    world.gone::<EmailAlias>("sales").await;
    // Whoever waited has it at once.
    world.ready::<EmailMailbox>("heir").await;
    world.ready::<EmailAlias>("heir").await;
    let requests = world.mailcow.requests();
    // The mark of the owner that went is taken off; nothing else is.
    let is_deletion = |path: &str| path.starts_with("delete/") && !path.starts_with("delete/mailbox/tag/");
    assert!(!requests.iter().any(|request| is_deletion(&request.path)), "{requests:?}");
}
