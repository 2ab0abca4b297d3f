//! Mailcow is not as it was left: restored from an older dump, a mailbox renamed, templates changed.

use ground::wait_until;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};

use crate::world::{ADA, DOMAIN, LIMIT, World, message};

const ALIASES: &str = "
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {domainRef: {name: example}, localPart: sales, gotoMailboxRefs: [{name: ada}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: help}
spec: {domainRef: {name: example}, localPart: help, goto: [ada@example.com]}
";

async fn reconcile(world: &World, what: &[&str]) {
    for object in what {
        world.kubectl(&["annotate", "--overwrite", object, "email.askrobots.com/reconcile-requested-at=now"]).await;
    }
}

#[tokio::test]
async fn after_a_restore_domains_come_before_mailboxes_and_those_before_aliases() {
    let world = World::new("restored").await;
    world.apply(&format!("{DOMAIN}---{ADA}{ALIASES}")).await;
    world.ready::<EmailAlias>("sales").await;
    world.ready::<EmailAlias>("help").await;
    world.mailcow.edit(|state| {
        state.aliases.clear();
        state.mailboxes.clear();
        state.domains.clear();
    });
    world.mailcow.clear_log();
    // The worst order to hear of it.
    reconcile(&world, &["ealias/sales", "ealias/help", "embx/ada", "edom/example"]).await;
    let all_there = async || {
        let there = world.mailcow.inspect(|state| {
            let aliases = ["sales", "help"].map(|name| state.alias(&format!("{name}@example.com")).is_some());
            state.mailbox("ada@example.com").is_some() && aliases == [true; 2]
        });
        if there { Ok(()) } else { Err(format!("{:?}", world.mailcow.requests())) }
    };
    wait_until(LIMIT, "all of it", all_there).await.unwrap();
    world.ready::<EmailAlias>("sales").await;
    world.ready::<EmailAlias>("help").await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailDomain>("example").await;
    let writes: Vec<String> = world.mailcow.requests().iter().map(|request| request.path.clone()).collect();
    let at = |route: &str| writes.iter().rposition(|path| path.contains(route)).unwrap();
    assert!(at("add/domain") < at("add/mailbox") && at("add/mailbox") < at("add/alias"), "{writes:?}");
}

#[tokio::test]
async fn a_renamed_mailbox_is_told_as_such_and_no_empty_one_takes_its_place() {
    let world = World::new("renamed").await;
    world.apply(&format!("{DOMAIN}---{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    // As Mailcow does it (recording 24_rename_mailbox).
    world.mailcow.edit(|state| {
        let mut mailbox = state.mailboxes.remove("ADA@EXAMPLE.COM").unwrap();
        mailbox.username = "lovelace@example.com".to_owned();
        mailbox.local_part = "lovelace".to_owned();
        state.mailboxes.insert("LOVELACE@EXAMPLE.COM".to_owned(), mailbox);
        let id = state.seed_alias("ada@example.com", "lovelace@example.com");
        let note = "Mailbox was renamed from ada@example.com to lovelace@example.com";
        state.aliases.get_mut(&id).unwrap().private_comment = Some(note.to_owned());
    });
    world.mailcow.clear_log();
    reconcile(&world, &["embx/ada"]).await;
    let told = world.condition::<EmailMailbox>("ada", ("Ready", "False", "MailboxRenamed")).await;
    assert!(message(&told, "Ready").contains("lovelace@example.com"), "{}", message(&told, "Ready"));
    assert_eq!(world.mailcow.writes(), 0);
}
