//! Mailcow missing, down, refusing: nothing is lost, nothing loops.

use std::time::Duration;

use mailcow_operator::crd::{EmailDomain, EmailMailbox};
use mailcow_simulator::{Fault, Trouble};

use crate::world::{ADA, DOMAIN, LIMIT, World, many, message, says};

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

/// Changes the names of two mailboxes by hand, and waits until a poll has had both put right.
async fn polled(world: &World) {
    let names = ["ada@example.com", "eve@other.example"];
    world.mailcow.edit(|state| {
        for name in names {
            "by hand".clone_into(&mut state.mailbox_mut(name).unwrap().name);
        }
    });
    ground::wait_until(LIMIT, "both to be put right", async || {
        let shown = world.mailcow.inspect(|state| names.map(|name| state.mailbox(name).unwrap().name.clone()));
        if shown.iter().all(|name| name == "Ada Lovelace") { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
}

#[tokio::test]
async fn one_answer_that_can_t_be_read_stops_the_polling_of_nothing_else() {
    let mut world = World::without_mailcow("odd").await;
    world.connect().await;
    world.start_operator(&["--resync", "6h", "--poll-interval", "1s"]);
    let other = |text: &str| {
        text.replace("{name: example}", "{name: other}")
            .replace("example.com", "other.example")
            .replace("{name: ada}", "{name: eve}")
            .replace("localPart: ada", "localPart: eve")
    };
    world.apply(&format!("{DOMAIN}{ADA}{}{}", other(DOMAIN), other(ADA))).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailMailbox>("eve").await;
    for path in ["get/domain/example.com", "get/dkim/example.com"] {
        let odd = Trouble::Text { status: 200, body: r#"{"domain_name": ["example.com"], "pubkey": 5}"#.to_owned() };
        world.mailcow.fault(Fault::times(10_000, path, odd));
        let said = world.condition::<EmailDomain>("example", ("Ready", "Unknown", "UnexpectedAnswer")).await;
        assert!(message(&said, "Ready").contains(path.rsplit_once('/').unwrap().0), "{said:?}");
        polled(&world).await;
        world.ready::<EmailDomain>("other").await;
        let warned = world.operator.as_ref().unwrap().logged("not polled; everything else", LIMIT).await.unwrap();
        assert!(warned.contains("WARN"), "{warned}");
        world.mailcow.clear_faults();
        world.ready::<EmailDomain>("example").await;
    }
}

#[tokio::test]
async fn an_outage_is_one_warning_with_what_and_since_when() {
    let mut world = World::without_mailcow("outagelog").await;
    world.connect().await;
    world.start_operator(&["--resync", "2s", "--poll-interval", "1s"]);
    world.apply(&crate::world::many(12)).await;
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
    world.mailcow.set_down(true).await.unwrap();
    for n in 0..12 {
        world.condition::<EmailMailbox>(&format!("m{n}"), ("Ready", "Unknown", "MailcowUnreachable")).await;
    }
    let lines = |words: &str| {
        world.logs().lines().filter(|line| line.contains(words)).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let warned = lines("Mailcow does not answer");
    assert!(warned.len() == 1 && warned[0].contains("WARN") && warned[0].contains("since"), "{warned:#?}");
    assert!(warned[0].contains(&world.mailcow.address().to_string()), "{warned:#?}");
    assert!(!lines("Ready changed").iter().any(|line| line.contains("MailcowUnreachable")), "{}", world.logs());
    world.mailcow.set_down(false).await.unwrap();
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
    let again = lines("Mailcow answers again");
    assert!(again.len() == 1 && again[0].contains("trouble_since"), "{again:#?}");
}

/// A page of a proxy, say, while Mailcow is updated.
#[tokio::test]
async fn where_something_else_answers_in_mailcow_s_place_it_is_an_outage_that_ends_for_all_at_once() {
    let mut world = World::without_mailcow("page").await;
    world.connect().await;
    let page = Trouble::Text { status: 200, body: "<html>Back in five minutes</html>".to_owned() };
    world.mailcow.fault(Fault::times(100_000, "get/", page));
    world.start_operator(&["--resync", "6h", "--poll-interval", "1s"]);
    world.apply(&many(12)).await;
    let said = world.condition::<EmailDomain>("example", ("Ready", "Unknown", "UnexpectedAnswer")).await;
    assert!(message(&said, "Ready").contains("is not from Mailcow's API"), "{said:?}");
    let operator = world.operator.as_ref().unwrap();
    operator.logged("Mailcow does not answer", LIMIT).await.unwrap();
    assert_eq!(world.mailcow.writes(), 0, "nothing is sent to what is not Mailcow");
    world.mailcow.clear_faults();
    operator.logged("Mailcow answers again", LIMIT).await.unwrap();
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
}

/// Nobody sits out minutes of back-off because a list can't be read whose things can.
#[tokio::test]
async fn a_list_that_can_t_be_read_keeps_nothing_from_being_ready() {
    let mut world = World::without_mailcow("oddlist").await;
    world.connect().await;
    let options = ["--resync", "6h", "--poll-interval", "1s"];
    world.start_operator(&options);
    world.apply(&many(12)).await;
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
    let odd = Trouble::Text { status: 200, body: r#"[{"username": ["m0@example.com"]}]"#.to_owned() };
    world.mailcow.fault(Fault::times(100_000, "get/mailbox/all", odd));
    // What it remembers is lost.
    world.operator = None;
    world.kubectl(&["patch", "embx", "m3", "--type=merge", "-p", r#"{"spec":{"displayName":"New"}}"#]).await;
    world.start_operator(&options);
    world.operator.as_ref().unwrap().logged("ignoring an unreadable entry of a list", LIMIT).await.unwrap();
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
}
