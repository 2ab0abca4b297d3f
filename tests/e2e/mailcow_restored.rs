//! Mailcow is not as it was left: restored from an older dump, a mailbox renamed, templates changed.

use ground::wait_until;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};
use mailcow_simulator::{Fault, Trouble};

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

/// The domain was missing when the mailbox was to be made, and was there again before anybody could see that: nothing of the
/// refusal lasts.
#[tokio::test]
async fn what_came_before_its_domain_is_tried_again_at_once() {
    let mut world = World::without_mailcow("early").await;
    world.connect().await;
    world.start_operator(&["--resync", "6h", "--poll-interval", "6h"]);
    world.apply(DOMAIN).await;
    world.ready::<EmailDomain>("example").await;
    let refusal =
        |code: &str| Trouble::Text { status: 200, body: format!(r#"[{{"type":"danger","log":[],"msg":{code}}}]"#) };
    // Recordings 04_mailbox/add_domain_missing and 05_alias/add_domain_missing.
    world.mailcow.fault(Fault::once("add/mailbox", refusal(r#""access_denied""#)));
    world.mailcow.fault(Fault::once("add/alias", refusal(r#"["domain_not_found","example.com"]"#)));
    world.apply(&format!("{ADA}{ALIASES}")).await;
    let ada = world.ready::<EmailMailbox>("ada").await;
    assert!(ada.status.unwrap().refused.is_none());
    for alias in ["sales", "help"] {
        assert!(world.ready::<EmailAlias>(alias).await.status.unwrap().refused.is_none());
    }
    let adds = |route: &str| world.mailcow.requests().iter().filter(|request| request.path == route).count();
    assert_eq!((adds("add/mailbox"), adds("add/alias")), (2, 3), "{:?}", world.mailcow.requests());
}
