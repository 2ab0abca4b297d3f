//! `Ready` tells the truth: what the server shows, not what was asked of it.

use std::time::Duration;

use ground::wait_until;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use mailcow_simulator::{Fault, Trouble};

use crate::world::{ADA, DOMAIN, LIMIT, World, many, message};

/// The name that Mailcow shows for Ada.
fn shown_name(world: &World) -> String {
    world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().name.clone())
}

#[tokio::test]
async fn a_field_that_is_taken_and_not_applied_stalls_and_stops_the_writing() {
    let mut world = World::without_mailcow("notapplied").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    let yes = r#"[{"type":"success","log":[],"msg":["mailbox_modified","ada@example.com"]}]"#.to_owned();
    world.mailcow.fault(Fault::times(100, "edit/mailbox", Trouble::Text { status: 200, body: yes }));
    world.mailcow.clear_log();
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"displayName":"New"}}"#]).await;
    let stalled = world.condition::<EmailMailbox>("ada", ("Stalled", "True", "FieldNotApplied")).await;
    assert!(message(&stalled, "Ready").contains("displayName"), "{stalled:?}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.mailcow.writes(), 1, "{:?}", world.mailcow.requests());
    world.mailcow.clear_faults();
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"displayName":"Newer"}}"#]).await;
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(shown_name(&world), "Newer");
}

#[tokio::test]
async fn a_change_by_hand_is_corrected_at_the_next_resync() {
    let mut world = World::without_mailcow("drift").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.edit(|state| state.mailbox_mut("ada@example.com").unwrap().name = "by hand".to_owned());
    wait_until(LIMIT, "the name to be corrected", async || match shown_name(&world).as_str() {
        "Ada Lovelace" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_refused_write_is_sent_again_only_when_something_changed() {
    let mut world = World::without_mailcow("refusedonce").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    world.apply(&DOMAIN.replace("{domain: example.com}", "{domain: example.com, limits: {mailboxes: 1}}")).await;
    world.apply(ADA).await;
    world.ready::<EmailMailbox>("ada").await;
    let adds = |world: &World, path: &str| world.mailcow.requests().iter().filter(|r| r.path == path).count();
    // An alias that is called as a mailbox is never sent, and one mailbox too many is refused.
    let alias = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: same}\nspec: {domainRef: {name: example}, localPart: ada, goto: [x@other.org]}\n---\n";
    let bob = ADA.replace("{name: ada}", "{name: bob}").replace("localPart: ada", "localPart: bob");
    world.apply(&format!("{alias}{bob}")).await;
    world.condition::<EmailAlias>("same", ("Stalled", "True", "Conflict")).await;
    let refused = world.condition::<EmailMailbox>("bob", ("Stalled", "True", "RefusedByMailcow")).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(adds(&world, "add/alias") == 0 && adds(&world, "add/mailbox") <= 3, "{:?}", world.mailcow.requests());
    let (aliases, mailboxes) = (adds(&world, "add/alias"), adds(&world, "add/mailbox"));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((adds(&world, "add/alias"), adds(&world, "add/mailbox")), (aliases, mailboxes));
    let again: EmailMailbox = world.api().get("bob").await.unwrap();
    assert_eq!(message(&again, "Ready"), message(&refused, "Ready"), "it goes on saying why");
    // A restart remembers it.
    world.operator = None;
    world.start_operator(&["--resync", "1s"]);
    world.operator.as_ref().unwrap().logged("ready", LIMIT).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((adds(&world, "add/alias"), adds(&world, "add/mailbox")), (aliases, mailboxes));
    // With more room it is sent again.
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", r#"{"spec":{"limits":{"mailboxes":2}}}"#]).await;
    world.ready::<EmailMailbox>("bob").await;
    let bob: EmailMailbox = world.api().get("bob").await.unwrap();
    assert!(bob.status.unwrap().refused.is_none());
}

#[tokio::test]
async fn the_examples_become_ready() {
    let world = World::new("examples").await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    assert!(files.len() >= 4);
    for file in files {
        world.apply(&std::fs::read_to_string(file).unwrap()).await;
    }
    world.ready::<EmailDomain>("example-com").await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailMailbox>("support").await;
    world.ready::<EmailAlias>("sales").await;
    world.ready::<EmailAlias>("catch-all").await;
    world.ready::<EmailForwardingRule>("invoices").await;
    world.ready::<EmailForwardingRule>("newsletter").await;
}

#[tokio::test]
async fn the_key_may_come_from_a_file_that_changes() {
    let mut world = World::without_mailcow("keyfile").await;
    let file = std::env::temp_dir().join(format!("{}.key", world.namespace));
    std::fs::write(&file, "WRONG1-WRONG2\n").unwrap();
    let (url, path) = (world.mailcow.url(), file.display().to_string());
    world.start_operator_with(&["--mailcow-url", &url, "--mailcow-api-key-file", &path]);
    world.apply(DOMAIN).await;
    world.condition::<EmailDomain>("example", ("Synced", "Unknown", "KeyOrSourceRejected")).await;
    std::fs::write(&file, format!("{}\n", world.mailcow.api_key())).unwrap();
    world.ready::<EmailDomain>("example").await;
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn what_belongs_to_another_is_not_shown() {
    let world = World::new("foreign").await;
    let sales = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: sales}\nspec: {domainRef: {name: example}, localPart: sales, goto: [secret@other.org]}";
    world.apply(&format!("{DOMAIN}{ADA}{sales}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("sales").await;
    world.mailcow.edit(|state| state.seed_usage("ada@example.com", 3, 4096));
    world.apply(&ADA.replace("{name: ada}", "{name: second}")).await;
    world.apply(&sales.replace("{name: sales}", "{name: second}").replace("secret@", "mine@")).await;
    let mailbox = world.condition::<EmailMailbox>("second", ("Ready", "False", "OwnedByAnother")).await;
    let alias = world.condition::<EmailAlias>("second", ("Ready", "False", "OwnedByAnother")).await;
    let (mailbox, alias) = (mailbox.status.unwrap(), alias.status.unwrap());
    assert!(mailbox.quota.is_none() && mailbox.messages.is_none() && mailbox.credentials_secret_name.is_none());
    assert!(alias.goto.is_empty() && alias.alias_id.is_none());
}

#[tokio::test]
async fn a_poll_triggers_what_was_changed_on_mailcow_long_before_the_resync() {
    let mut world = World::without_mailcow("poll").await;
    world.connect().await;
    world.start_operator(&["--resync", "1h", "--poll-interval", "1s"]);
    world.apply(&many(12)).await;
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
    world.mailcow.edit(|state| {
        state.mailbox_mut("m7@example.com").unwrap().name = "by hand".to_owned();
        state.domain_mut("example.com").unwrap().description = "by hand".to_owned();
        state.domain_mut("example.com").unwrap().active = 0;
    });
    world.mailcow.clear_log();
    let corrected = wait_until(LIMIT, "both to be corrected", async || {
        let shown = |state: &mailcow_simulator::State| {
            (state.mailbox("m7@example.com").unwrap().name.clone(), state.domain("example.com").unwrap().active)
        };
        let (name, active) = world.mailcow.inspect(shown);
        if name == "Number 7" && active == 1 { Ok(()) } else { Err(format!("{name}, active {active}")) }
    });
    corrected.await.unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
    assert_eq!(world.mailcow.writes(), 2, "{:?}", world.mailcow.requests());
}

#[tokio::test]
async fn an_empty_list_is_not_taken_for_all_gone() {
    let mut world = World::without_mailcow("emptylist").await;
    world.connect().await;
    world.start_operator(&["--resync", "1h", "--poll-interval", "1s"]);
    world.apply(&many(12)).await;
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
    world.mailcow.clear_log();
    let nothing = Trouble::Text { status: 200, body: "{}".to_owned() };
    world.mailcow.fault(Fault::once("get/mailbox/all", nothing));
    let asked = |request: &mailcow_simulator::Request| request.path.starts_with("get/mailbox/m");
    wait_until(LIMIT, "each mailbox to be asked for", async || {
        let count = world.mailcow.requests().iter().filter(|request| asked(request)).count();
        if count >= 12 { Ok(()) } else { Err(format!("{count} so far")) }
    })
    .await
    .unwrap();
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
}
