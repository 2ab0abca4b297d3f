//! `senderAcl` as Mailcow keeps it: what is redundant, what is not there yet, and what it loses by itself.

use std::collections::BTreeSet;

use ground::wait_until;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};

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

const SECOND: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: second}
spec: {domain: second.example, driftPolicy: Report}
---
";

#[tokio::test]
async fn a_right_that_is_no_longer_the_namespaces_goes_whatever_its_mailbox_says() {
    let mut world = World::without_mailcow("rights").await;
    world.connect().await;
    world.start_operator(&["--platform-namespaces", "nobody", "--resync", "3s"]);
    world.mailcow.edit(|state| {
        state.seed_domain("byhand.example");
    });
    let team = alias("team", "goto: [x@away.example]");
    world.apply(&format!("{DOMAIN}{SECOND}{team}")).await;
    world.ready::<EmailDomain>("second").await;
    world.ready::<EmailAlias>("team").await;
    // Of somebody else's nothing is granted, whoever that is.
    world.apply(&mailbox("['*', '@byhand.example', 'x@byhand.example', 'x@away.example', 'team@example.com']")).await;
    let refused = world.condition::<EmailMailbox>("ada", ("Stalled", "True", "SenderNotAllowed")).await;
    let said = message(&refused, "Ready");
    assert!(said.contains("*, @byhand.example, x@away.example, x@byhand.example is not allowed"), "{said}");
    shows(&world, &["team@example.com"]).await;
    let patch = async |patch: &str| world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", patch]).await;
    let pause = async |value: &str| {
        let annotation = format!("email.askrobots.com/paused={value}");
        world.kubectl(&["annotate", "--overwrite", "embx", "ada", &annotation]).await;
    };
    let entries = ["@second.example", "team@example.com", "x@second.example"];
    world.mailcow.edit(|state| {
        state.seed_mailbox("x@second.example");
    });
    world.apply(&mailbox("['@second.example', 'x@second.example', 'team@example.com']")).await;
    world.ready::<EmailMailbox>("ada").await;
    shows(&world, &entries).await;
    // Paused, and no longer listed: what was granted is still known.
    pause("true").await;
    patch(r#"{"spec":{"senderAcl":null,"driftPolicy":"Report"}}"#).await;
    world.condition::<EmailMailbox>("ada", ("Paused", "True", "Paused")).await;
    world.mailcow.edit(|state| state.mailbox_mut("ada@example.com").unwrap().sender_acl.push("@byhand.example".into()));
    shows(&world, &[&entries[..], &["@byhand.example"]].concat()).await;
    world.kubectl(&["delete", "edom", "second"]).await;
    // What a person granted by hand stays.
    shows(&world, &["@byhand.example", "team@example.com"]).await;
    let granted = async || {
        let ada: EmailMailbox = world.api().get("ada").await.unwrap();
        ada.status.unwrap().granted_senders
    };
    let settled = async || match granted().await {
        list if list == ["team@example.com"] => Ok(()),
        list => Err(format!("{list:?}")),
    };
    wait_until(LIMIT, "what is granted", settled).await.unwrap();
    // Named again it is refused, paused or not.
    patch(r#"{"spec":{"senderAcl":["@second.example"]}}"#).await;
    world.condition::<EmailMailbox>("ada", ("Synced", "False", "Paused")).await;
    pause("false").await;
    world.condition::<EmailMailbox>("ada", ("Stalled", "True", "SenderNotAllowed")).await;
    shows(&world, &[]).await;
}
