//! `reconcile`, `pause`, `resume` and `rotate`, each until the operator has followed.

use crate::world::{ADA, DOMAIN, World};

async fn secret(world: &World, key: &str) -> String {
    world.kubectl(&["get", "secret", "ada-mailbox", "-o", &format!("jsonpath={{{key}}}")]).await
}

#[tokio::test]
async fn a_pause_stops_writes_and_a_resume_makes_up_for_them() {
    let world = World::new("pause").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready("embx/ada").await;
    let said = world.email(&["pause", "embx/ada", "--wait"]).await.fine();
    assert_eq!(said.out, "embx/ada paused\nembx/ada is paused\n");
    world.email(&["status"]).await.says(&["kubectl email resume embx/ada"]);
    let rename = r#"{"spec":{"displayName":"Countess"}}"#;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", rename]).await;
    let said = world.email(&["reconcile", "embx/ada", "--wait"]).await.fine();
    assert!(said.out.ends_with("embx/ada is paused\n"), "{said:?}");
    let name = |world: &World| world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().name.clone());
    assert_eq!(name(&world), "");
    let said = world.email(&["resume", "mailbox", "ada", "--wait", "-o", "json"]).await.fine().json();
    assert_eq!((&said[0]["name"], &said[0]["ready"], &said[0]["done"]), (&"ada".into(), &"True".into(), &true.into()));
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
    let said = world.email(&["reconcile", "-l", "team=a", "--wait"]).await;
    assert_eq!((said.code, name().as_str()), (1, "by hand"), "{said:?}");
    said.says(&["embx/ada reconcile requested", "Drifted"]);
    world.email(&["reconcile", "embx", "--all", "--correct", "--wait"]).await.fine();
    assert_eq!(name(), "Ada");
    let said = world.email(&["reconcile", "--all", "--wait"]).await.fine();
    said.says(&["edom/example is ready", "embx/ada is ready"]);
}

#[tokio::test]
async fn a_rotation_sets_a_new_password_once_and_only_where_it_may() {
    let world = World::new("rotate").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready("embx/ada").await;
    let changes = || world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().password_changes);
    let (before, uid, count) =
        (secret(&world, ".data.password").await, secret(&world, ".metadata.uid").await, changes());
    let said = world.email(&["rotate", "embx/ada", "--wait"]).await.fine();
    assert!(said.out.starts_with("embx/ada new password requested\n"), "{said:?}");
    assert_ne!(secret(&world, ".metadata.uid").await, uid);
    assert_ne!(secret(&world, ".data.password").await, before);
    assert_eq!(changes(), count + 1);
    assert!(!said.out.contains(&secret(&world, ".data.password").await));

    let own = ADA
        .replace("name: ada,", "name: own,")
        .replace("localPart: ada", "localPart: own, passwordSecretRef: {name: mine, key: password}");
    world.apply(&own).await;
    let said = world.email(&["rotate", "embx/own"]).await;
    assert_eq!(said.code, 1);
    said.says(&["in your own Secret mine"]);
    let said = world.email(&["rotate", "--all"]).await;
    assert_eq!(said.code, 1);
    said.says(&["would replace 2 passwords", "--yes"]);
    assert_eq!(world.email(&["rotate", "edom/example"]).await.code, 1);
    world.email(&["pause", "embx/ada", "--wait"]).await.fine();
    world.email(&["rotate", "embx/ada"]).await.says(&["is paused"]);
    assert_eq!(changes(), count + 1);
}

#[tokio::test]
async fn who_waits_for_nobody_is_told_so_and_what_is_not_named_is_not_touched() {
    let world = World::prepare("timeout").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let said = world.email(&["reconcile", "edom/example", "--wait", "--timeout", "1s"]).await;
    assert_eq!(said.code, 1);
    said.says(&["not done within 1 s", "kubectl email check"]);
    for (arguments, why) in [
        (&["pause"][..], "name the objects"),
        (&["pause", "embx"], "name the objects"),
        (&["pause", "embx/ada", "--all"], "not both"),
        (&["pause", "embx/ada", "-A"], "-A is for"),
        (&["pause", "-l", "team=none"], "no object is selected"),
    ] {
        let said = world.email(arguments).await;
        assert_eq!(said.code, 1, "{arguments:?}");
        said.says(&[why]);
    }
    let paused = world.kubectl(&["get", "email", "-o", "jsonpath={..annotations}"]).await;
    assert!(!paused.contains("paused"), "{paused}");
}
