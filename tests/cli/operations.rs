//! `reconcile`, `pause`, `resume` and `rotate`, each until the operator has followed.

use crate::world::{ADA, DOMAIN, LIMIT, World};

async fn secret(world: &World, key: &str) -> String {
    world.kubectl(&["get", "secret", "ada-mailbox", "-o", &format!("jsonpath={{{key}}}")]).await
}

#[tokio::test]
async fn a_pause_stops_writes_and_a_resume_makes_up_for_them() {
    let world = World::new("pause").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready("embx/ada").await;
    let done = world.email(&["pause", "embx/ada", "--wait"]).await.succeeded();
    assert_eq!(done.out, "embx/ada paused\nembx/ada is paused\n");
    world.email(&["status"]).await.shows(&["kubectl email resume embx/ada"]);
    let rename = r#"{"spec":{"displayName":"Countess"}}"#;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", rename]).await;
    let done = world.email(&["reconcile", "embx/ada", "--wait"]).await.succeeded();
    assert!(done.out.ends_with("embx/ada is paused\n"), "{done:?}");
    let name = |world: &World| world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().name.clone());
    assert_eq!(name(&world), "");
    let done = world.email(&["resume", "mailbox", "ada", "--wait", "-o", "json"]).await.succeeded().json();
    assert_eq!((&done[0]["name"], &done[0]["ready"], &done[0]["done"]), (&"ada".into(), &"True".into(), &true.into()));
    assert_eq!(name(&world), "Countess");
}

#[tokio::test]
async fn a_reconcile_corrects_what_was_changed_by_hand_if_it_may() {
    let world = World::new("reconcile").await;
    let report = ADA.replace("domainRef", "displayName: Ada, driftPolicy: Report, domainRef");
    world.apply(&format!("{DOMAIN}{report}")).await;
    world.ready("embx/ada").await;
    let rename =
        |name: &str| world.mailcow.edit(|state| state.mailbox_mut("ada@example.com").unwrap().name = name.to_owned());
    let name = || world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().name.clone());
    rename("by hand");
    let done = world.email(&["reconcile", "-l", "team=a", "--wait"]).await;
    assert_eq!((done.code, name().as_str()), (1, "by hand"), "{done:?}");
    done.shows(&["embx/ada reconcile requested", "Drifted"]);
    world.email(&["reconcile", "embx", "--all", "--correct", "--wait"]).await.succeeded();
    assert_eq!(name(), "Ada");
    let done = world.email(&["reconcile", "--all", "--wait"]).await.succeeded();
    done.shows(&["edom/example is ready", "embx/ada is ready"]);
}

#[tokio::test]
async fn a_rotation_sets_a_new_password_once_and_only_where_it_may() {
    let world = World::new("rotate").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready("embx/ada").await;
    let changes = || world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().password_changes);
    let (before, uid, count) =
        (secret(&world, ".data.password").await, secret(&world, ".metadata.uid").await, changes());
    let done = world.email(&["rotate", "embx/ada", "--wait"]).await.succeeded();
    assert!(done.out.starts_with("embx/ada new password requested\n"), "{done:?}");
    assert_ne!(secret(&world, ".metadata.uid").await, uid);
    assert_ne!(secret(&world, ".data.password").await, before);
    assert_eq!(changes(), count + 1);
    assert!(!done.out.contains(&secret(&world, ".data.password").await));

    let own = ADA
        .replace("name: ada,", "name: own,")
        .replace("localPart: ada", "localPart: own, passwordSecretRef: {name: mine, key: password}");
    world.apply(&own).await;
    let done = world.email(&["rotate", "embx/own"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["in your own Secret mine"]);
    let done = world.email(&["rotate", "--all"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["would replace 2 passwords", "--yes"]);
    assert_eq!(world.email(&["rotate", "edom/example"]).await.code, 1);
    world.email(&["pause", "embx/ada", "--wait"]).await.succeeded();
    world.email(&["rotate", "embx/ada"]).await.shows(&["is paused"]);
    assert_eq!(changes(), count + 1);
}

#[tokio::test]
async fn who_waits_for_nobody_learns_so_and_what_is_not_named_is_not_touched() {
    let world = World::prepare("timeout").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let done = world.email(&["reconcile", "edom/example", "--wait", "--timeout", "1s"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["not done within 1 s", "kubectl email check"]);
    for (arguments, why) in [
        (&["pause"][..], "name the objects"),
        (&["pause", "embx"], "name the objects"),
        (&["pause", "embx/ada", "--all"], "not both"),
        (&["pause", "embx/ada", "-A"], "-A is for"),
        (&["pause", "-l", "team=none"], "no object is selected"),
    ] {
        let done = world.email(arguments).await;
        assert_eq!(done.code, 1, "{arguments:?}");
        done.shows(&[why]);
    }
    let paused = world.kubectl(&["get", "email", "-o", "jsonpath={..annotations}"]).await;
    assert!(!paused.contains("paused"), "{paused}");
}

const DELIVERIES: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: bugs}
spec: {mailboxRef: {name: ada}, actions: [{createTask: {sink: tracker}}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: plain}
spec: {mailboxRef: {name: ada}, actions: [{ignore: {}}]}
";

/// What becomes of the deliveries themselves is tested with a worker and a Dovecot in `tests/delivery`.
#[tokio::test]
async fn a_replay_is_asked_of_what_delivers_and_followed_until_the_worker_has_handled_it() {
    let world = World::prepare("replay").await;
    world.apply(&format!("{DOMAIN}{ADA}{DELIVERIES}")).await;
    let asked = async |object: &str| {
        world.kubectl(&["get", object, "-o", r"jsonpath={.metadata.annotations.email\.askrobots\.com/replay}"]).await
    };
    let done = world.email(&["replay", "efr/bugs"]).await.succeeded();
    assert_eq!(done.out, "efr/bugs replay requested\n");
    let first = asked("efr/bugs").await;
    assert!(!first.is_empty());
    // Each is a request of its own.
    world.email(&["replay", "--all"]).await.succeeded();
    assert_ne!(asked("efr/bugs").await, first);
    assert_eq!(asked("efr/plain").await, "", "it delivers nothing");

    let done = world.email(&["replay", "efr/bugs", "--wait", "--timeout", "1s"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["not done within 1 s; is the worker of task delivery running?"]);
    let place = world.place();
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let arguments = [&["replay", "efr/bugs", "--wait"], &place[..]].concat();
    let waiting = crate::world::call(&arguments);
    let before = asked("efr/bugs").await;
    let worker = async {
        let new = ground::wait_until(LIMIT, "a new request", async || {
            let now = asked("efr/bugs").await;
            if now == before { Err(now) } else { Ok(now) }
        });
        let status = format!(r#"{{"status":{{"lastHandledReplay":"{}"}}}}"#, new.await.unwrap());
        world.kubectl(&["patch", "efr", "bugs", "--subresource=status", "--type=merge", "-p", &status]).await;
    };
    let (done, ()) = tokio::join!(waiting, worker);
    assert_eq!(done.succeeded().out, "efr/bugs replay requested\nefr/bugs: failed deliveries are tried again\n");

    for (arguments, why) in [
        (&["replay", "efr/plain"][..], "efr/plain delivers nothing: it has no createTask or createNote"),
        (&["replay", "embx/ada"], "embx/ada delivers nothing: none of its rules"),
        (&["replay", "edom/example"], "only rules and mailboxes have deliveries"),
        (&["replay", "embx", "--all"], "no object with deliveries of tasks or notes is selected"),
        (&["replay"], "name the objects"),
        (&["replay", "efr/bug"], "did you mean bugs"),
    ] {
        let done = world.email(arguments).await;
        assert_eq!(done.code, 1, "{arguments:?}");
        done.shows(&[why]);
    }
    world.email(&["pause", "efr/bugs"]).await.succeeded();
    world.email(&["replay", "efr/bugs"]).await.shows(&["efr/bugs is paused; run: kubectl email resume efr/bugs"]);
    world.email(&["resume", "efr/bugs"]).await.succeeded();
    let off = r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"FeatureDisabled","message":"the gate is off","observedGeneration":1,"lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    world.kubectl(&["patch", "efr", "bugs", "--subresource=status", "--type=merge", "-p", off]).await;
    world.email(&["replay", "efr/bugs"]).await.shows(&["efr/bugs delivers nothing: the gate is off"]);
}
