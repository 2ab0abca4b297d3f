//! Mailcow missing, down, refusing: nothing is lost, nothing loops.

use std::time::Duration;

use mailcow_operator::crd::{EmailDomain, EmailMailbox};
use mailcow_simulator::{Fault, Trouble};

use crate::world::{ADA, DOMAIN, World, many, message, says};

#[tokio::test]
async fn everything_is_pushed_when_mailcow_appears() {
    let mut world = World::without_mailcow("later").await;
    world.start_operator(&[]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let waiting = world.condition::<EmailDomain>("example", ("Synced", "False", "MailcowNotConfigured")).await;
    assert!(message(&waiting, "Synced").contains("the Secret mailcow"), "{waiting:?}");
    world.condition::<EmailMailbox>("ada", ("Synced", "False", "MailcowNotConfigured")).await;
    world.connect().await;
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailMailbox>("ada").await;
}

#[tokio::test]
async fn an_unreachable_mailcow_deletes_nothing_and_drops_no_finalizer() {
    let world = World::new("down").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.set_down(true).await.unwrap();
    world
        .kubectl(&[
            "patch",
            "embx",
            "ada",
            "--type=merge",
            "-p",
            r#"{"spec":{"quota":"2Gi","deletionPolicy":"Delete"}}"#,
        ])
        .await;
    let down = world.condition::<EmailMailbox>("ada", ("Synced", "Unknown", "MailcowUnreachable")).await;
    assert!(message(&down, "Synced").contains(&world.mailcow.address().to_string()), "{down:?}");
    assert_eq!(down.status.unwrap().quota.unwrap().limit, "1Gi", "the last known state is kept");
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let held = world.api::<EmailMailbox>().get("ada").await.unwrap();
    assert!(held.metadata.finalizers.is_some_and(|f| f.contains(&"email.askrobots.com/mailcow".to_owned())));
    world.mailcow.set_down(false).await.unwrap();
    world.gone::<EmailMailbox>("ada").await;
}

#[tokio::test]
async fn a_forced_orphan_goes_and_says_what_stays() {
    let world = World::new("orphan").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.set_down(true).await.unwrap();
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/force-orphan=true"]).await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    assert!(world.mailcow.inspect(|state| state.mailbox("ada@example.com").is_some()));
    assert!(world.kubectl(&["get", "events"]).await.contains("Orphaned"));
}

#[tokio::test]
async fn a_rejected_key_is_tried_once_and_again_when_it_changes() {
    let mut world = World::without_mailcow("key").await;
    world.connect_with(&world.mailcow.url(), "WRONG1-WRONG2").await;
    world.start_operator(&[]);
    world.apply(&many(20)).await;
    let rejected = world.condition::<EmailDomain>("example", ("Synced", "Unknown", "KeyOrSourceRejected")).await;
    assert!(message(&rejected, "Synced").contains("authentication failed"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = world.mailcow.requests();
    assert_eq!(asked.len(), 1, "Mailcow bans after ten: {asked:?}");
    world.connect_with(&world.mailcow.url(), "WRONG3-WRONG4").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.mailcow.requests().len(), 2, "each key is tried once: {:?}", world.mailcow.requests());
    assert!(!world.everything().await.contains("WRONG") && !world.logs().contains("WRONG"));
    world.connect().await;
    world.ready::<EmailMailbox>("m19").await;
}

#[tokio::test]
async fn a_read_only_key_says_so() {
    let mut world = World::without_mailcow("readonly").await;
    world.connect_with(&world.mailcow.url(), world.mailcow.read_only_key()).await;
    world.start_operator(&[]);
    world.apply(DOMAIN).await;
    let refused = world.condition::<EmailDomain>("example", ("Ready", "Unknown", "KeyReadOnly")).await;
    assert!(message(&refused, "Ready").contains("read-write key"));
}

#[tokio::test]
async fn a_bad_url_says_what_is_wrong_with_it() {
    let mut world = World::without_mailcow("url").await;
    world.connect_with("mail.example.com", "KEY").await;
    world.start_operator(&[]);
    world.apply(DOMAIN).await;
    let stalled = world.condition::<EmailDomain>("example", ("Stalled", "True", "UnexpectedAnswer")).await;
    assert!(message(&stalled, "Ready").contains("mail.example.com"), "{stalled:?}");
}

#[tokio::test]
async fn a_write_with_an_unknown_outcome_is_looked_up_and_not_repeated() {
    let world = World::new("unknown").await;
    world.mailcow.fault(Fault::once("add/domain", Trouble::Empty { done: true }));
    world.mailcow.fault(Fault::once("add/mailbox", Trouble::Reset));
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    let adds = |route: &str| world.mailcow.requests().iter().filter(|request| request.path == route).count();
    assert_eq!((adds("add/domain"), adds("add/mailbox")), (1, 1));
}

#[tokio::test]
async fn server_errors_and_deadlocks_pass_by_themselves() {
    let world = World::new("passing").await;
    world.mailcow.fault(Fault::times(2, "get/domain", Trouble::ServerError));
    world.apply(DOMAIN).await;
    world.ready::<EmailDomain>("example").await;
    world.mailcow.fault(Fault::times(2, "edit/domain", Trouble::Deadlock));
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", r#"{"spec":{"limits":{"mailboxes":42}}}"#]).await;
    world.ready::<EmailDomain>("example").await;
}

#[tokio::test]
async fn a_domain_that_is_not_there_yet_is_waited_for() {
    let world = World::new("nodomain").await;
    world.apply(ADA).await;
    let waiting = world.condition::<EmailMailbox>("ada", ("Ready", "False", "DomainNotFound")).await;
    assert!(says(&waiting, "Reconciling", "True"));
    world.apply(DOMAIN).await;
    world.ready::<EmailMailbox>("ada").await;
}
