//! `senderAcl` as Mailcow keeps it: what is redundant, what is not there yet, and what it loses by itself.

use std::collections::BTreeSet;

use ground::wait_until;
use mailcow_operator::crd::{EmailAlias, EmailMailbox};

use crate::world::{DOMAIN, LIMIT, World, message};

fn mailbox(senders: &str) -> String {
    format!(
        "---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {{name: ada}}
spec: {{localPart: ada, domainRef: {{name: example}}, senderAcl: {senders}}}
"
    )
}

fn alias(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {{name: {name}}}
spec: {{localPart: {name}, domainRef: {{name: example}}, {spec}}}
"
    )
}

fn senders(world: &World) -> BTreeSet<String> {
    world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().sender_acl.iter().cloned().collect())
}

/// Waits for less time than what waits is asked for again by itself.
async fn shows(world: &World, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|&entry| entry.to_owned()).collect();
    let settled = async || if senders(world) == expected { Ok(()) } else { Err(format!("{:?}", senders(world))) };
    wait_until(LIMIT, "the senders", settled).await.unwrap();
}

#[tokio::test]
async fn what_is_redundant_or_not_there_yet_holds_nothing_up() {
    let world = World::new("senders").await;
    let all = "['ada@example.com', 'own@example.com', 'late@example.com', 'help@example.com']";
    let help = alias("help", "goto: [x@away.example]");
    let own = alias("own", "goto: [ada@example.com], senderAllowed: true");
    world.apply(&format!("{DOMAIN}{help}{own}")).await;
    world.ready::<EmailAlias>("help").await;
    world.ready::<EmailAlias>("own").await;
    world.apply(&mailbox(all)).await;
    let waiting = world.condition::<EmailMailbox>("ada", ("Ready", "False", "SenderNotFound")).await;
    let said = message(&waiting, "Ready");
    assert!(said.contains("late@example.com") && !said.contains("own@example.com"), "{said}");
    shows(&world, &["help@example.com"]).await;
    world.apply(&alias("late", "goto: [y@away.example]")).await;
    world.ready::<EmailMailbox>("ada").await;
    shows(&world, &["help@example.com", "late@example.com"]).await;
    // Redundant by a later change, and needed again.
    world.apply(&alias("late", "goto: [ada@example.com], senderAllowed: true")).await;
    shows(&world, &["help@example.com"]).await;
    world.ready::<EmailMailbox>("ada").await;
    world.apply(&alias("late", "goto: [y@away.example], senderAllowed: true")).await;
    shows(&world, &["help@example.com", "late@example.com"]).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.clear_log();
    world.apply(&mailbox("['*', 'help@example.com']")).await;
    shows(&world, &["*"]).await;
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(world.mailcow.writes(), 1, "what is kept as it is asked for is not written again");
}

#[tokio::test]
async fn what_mailcow_loses_or_keeps_by_itself_is_put_right() {
    let world = World::new("lost").await;
    let blocked = alias("blocked", "goto: [ada@example.com], senderAllowed: false");
    world.apply(&format!("{DOMAIN}{}{blocked}", mailbox("[blocked@example.com]"))).await;
    world.ready::<EmailMailbox>("ada").await;
    shows(&world, &["blocked@example.com"]).await;
    // Mailcow takes the entry away with any edit of the alias (recording 17_sender_acl/get_after_blocked_comment).
    world.apply(&alias("blocked", "goto: [ada@example.com], senderAllowed: false, publicComment: new")).await;
    let edited = async || {
        let comment = |state: &mailcow_simulator::State| {
            let alias = state.alias("blocked@example.com").unwrap();
            alias.public_comment.clone().unwrap_or_default()
        };
        if world.mailcow.inspect(comment) == "new" { Ok(()) } else { Err("not edited") }
    };
    wait_until(LIMIT, "the comment", edited).await.unwrap();
    shows(&world, &["blocked@example.com"]).await;
    // And keeps an entry that is no address any more (recording 17_sender_acl/get_set_empty_with_stuck).
    world
        .mailcow
        .edit(|state| state.mailbox_mut("ada@example.com").unwrap().sender_acl.push("gone@example.com".into()));
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"senderAcl":[]}}"#]).await;
    shows(&world, &[]).await;
    world.ready::<EmailMailbox>("ada").await;
}
