//! Mailboxes and their passwords.

use k8s_openapi::api::core::v1::Secret;
use mailcow_operator::crd::EmailMailbox;

use crate::world::{ADA, DOMAIN, LIMIT, World, message};

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}

/// The password that was last sent to Mailcow.
fn last_password(world: &World) -> Option<String> {
    let sent = world.mailcow.requests().into_iter().rev().find(|request| request.body.contains("password2"))?;
    let body: serde_json::Value = serde_json::from_str(&sent.body).unwrap();
    let attr = if body["attr"].is_object() { &body["attr"] } else { &body };
    Some(attr["password"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_mailbox_comes_with_a_secret_that_opens_it() {
    let world = World::new("mailbox").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let mailbox = world.ready::<EmailMailbox>("ada").await;
    let status = mailbox.status.unwrap();
    assert_eq!(status.address.as_deref(), Some("ada@example.com"));
    assert_eq!(status.quota.unwrap().limit, "1Gi");
    assert_eq!(status.credentials_secret_name.as_deref(), Some("ada-mailbox"));
    let secret = world.api::<Secret>().get("ada-mailbox").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/basic-auth"));
    assert_eq!((text(&secret, "username"), text(&secret, "imapPort")), ("ada@example.com".into(), "993".into()));
    assert_eq!(Some(text(&secret, "password")), last_password(&world));
    assert!(secret.metadata.owner_references.is_none(), "under Retain the Secret stays as the mailbox does");
    let password = text(&secret, "password");
    assert!(!world.everything().await.contains(&password) && !world.logs().contains(&password));
}

#[tokio::test]
async fn a_secret_that_was_changed_while_its_object_was_away_is_set() {
    let world = World::new("away").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    world.kubectl(&["patch", "secret", "ada-mailbox", "-p", r#"{"stringData":{"password":"new-Password-17"}}"#]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.apply(ADA).await;
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(last_password(&world).as_deref(), Some("new-Password-17"));
}

#[tokio::test]
async fn a_changed_secret_is_set_once() {
    let world = World::new("rotate").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.clear_log();
    world.kubectl(&["patch", "secret", "ada-mailbox", "-p", r#"{"stringData":{"password":"new-Password-17"}}"#]).await;
    ground::wait_until(LIMIT, "the new password", async || match last_password(&world).as_deref() {
        Some("new-Password-17") => Ok(()),
        other => Err(format!("{:?}", other.is_some())),
    })
    .await
    .unwrap();
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/reconcile-requested-at=1"]).await;
    world
        .until("ada", "the request is echoed", |m: &EmailMailbox| {
            m.status.as_ref().is_some_and(|s| s.last_handled_reconcile_at.as_deref() == Some("1"))
        })
        .await;
    assert_eq!(world.mailcow.writes(), 1, "{:?}", world.mailcow.requests());
}

#[tokio::test]
async fn a_secret_that_only_got_a_label_is_no_new_password() {
    let mut world = World::new("label").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let version = |mailbox: &EmailMailbox| mailbox.status.as_ref().and_then(|status| status.password_version.clone());
    let before = version(&world.ready::<EmailMailbox>("ada").await);
    world.mailcow.clear_log();
    world.kubectl(&["label", "secret", "ada-mailbox", "x=1"]).await;
    let noted = world.until("ada", "the Secret's new version", |mailbox| version(mailbox) != before).await;
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    world.operator = None;
    world.start_operator(&[]);
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/reconcile-requested-at=1"]).await;
    let echoed = |mailbox: &EmailMailbox| mailbox.status.as_ref().and_then(|s| s.last_handled_reconcile_at.clone());
    world.until("ada", "the request is echoed", |mailbox| echoed(mailbox).as_deref() == Some("1")).await;
    world.kubectl(&["label", "secret", "ada-mailbox", "y=1"]).await;
    world.until("ada", "the Secret's newest version", |mailbox| version(mailbox) != version(&noted)).await;
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
}

#[tokio::test]
async fn a_label_that_came_while_nobody_looked_is_no_new_password_and_a_change_is() {
    let mut world = World::new("labeldown").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let version = |mailbox: &EmailMailbox| mailbox.status.as_ref().and_then(|status| status.password_version.clone());
    let before = version(&world.ready::<EmailMailbox>("ada").await);
    world.operator = None;
    world.mailcow.clear_log();
    world.kubectl(&["label", "secret", "ada-mailbox", "x=1"]).await;
    world.start_operator(&[]);
    let noted = world.until("ada", "the Secret's new version", |mailbox| version(mailbox) != before).await;
    assert_eq!(world.mailcow.writes(), 0, "a person's own password stays: {:?}", world.mailcow.requests());
    world.operator = None;
    world.kubectl(&["patch", "secret", "ada-mailbox", "-p", r#"{"stringData":{"password":"new-Password-17"}}"#]).await;
    world.start_operator(&[]);
    world.until("ada", "the new password", |mailbox| version(mailbox) != version(&noted)).await;
    assert_eq!(last_password(&world).as_deref(), Some("new-Password-17"));
}

#[tokio::test]
async fn a_given_secret_may_come_later() {
    let world = World::new("late").await;
    let given = ADA.replace("displayName: Ada Lovelace", "passwordSecretRef: {name: mine, key: pw}");
    world.apply(&format!("{DOMAIN}{given}")).await;
    let waiting = world.condition::<EmailMailbox>("ada", ("ResolvedRefs", "False", "SecretNotFound")).await;
    assert!(message(&waiting, "Ready").contains("mine"));
    world.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {other: x}").await;
    let waiting = world.condition::<EmailMailbox>("ada", ("Ready", "False", "SecretKeyInvalid")).await;
    assert!(message(&waiting, "Ready").contains("pw"));
    world.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {pw: correct-Horse-9}").await;
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(last_password(&world).as_deref(), Some("correct-Horse-9"));
}

#[tokio::test]
async fn a_refused_password_is_said_without_the_password() {
    let world = World::new("weak").await;
    let given = ADA.replace("displayName: Ada Lovelace", "passwordSecretRef: {name: mine}");
    world.apply(&format!("{DOMAIN}{given}")).await;
    world.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {password: z-9}").await;
    let stalled = world.condition::<EmailMailbox>("ada", ("Stalled", "True", "PasswordRejected")).await;
    assert!(message(&stalled, "Ready").contains("password policy"));
    // The hyphen keeps it apart from DKIM keys, which are base64 (RFC 4648, section 4) and may hold any three letters.
    let said = format!("{}{}", world.everything().await, world.logs());
    let leaks: Vec<&str> = said.lines().filter(|line| line.contains("z-9")).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    world.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {password: better-Horse-9}").await;
    world.ready::<EmailMailbox>("ada").await;
}

#[tokio::test]
async fn a_mailbox_that_is_taken_over_keeps_its_password() {
    let world = World::new("keep").await;
    world.mailcow.edit(|state| {
        state.seed_domain("example.com");
        state.seed_mailbox("ada@example.com");
    });
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(last_password(&world), None);
    assert!(world.api::<Secret>().get_opt("ada-mailbox").await.unwrap().is_none());
}

#[tokio::test]
async fn a_password_that_an_identity_provider_checks_is_not_said_to_be_set() {
    let mut world = World::without_mailcow("elsewhere").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    world.mailcow.edit(|state| {
        state.seed_domain("example.com");
        for (name, source) in [("ada", "ldap"), ("bob", "generic-oidc"), ("cyd", "keycloak")] {
            state.seed_mailbox(&format!("{name}@example.com"));
            state.mailbox_mut(&format!("{name}@example.com")).unwrap().authsource = source.to_owned();
        }
    });
    world.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {password: better-Horse-9}").await;
    let of = |name: &str, more: &str| {
        ADA.replace("{name: ada}", &format!("{{name: {name}}}"))
            .replace("localPart: ada", &format!("localPart: {name}"))
            .replace("displayName: Ada Lovelace", more)
    };
    let (given, forced) = (of("ada", "passwordSecretRef: {name: mine}"), of("bob", "forcePasswordChange: true"));
    world.apply(&format!("{DOMAIN}{given}{forced}{}", of("cyd", "displayName: Cyd"))).await;
    let ada = world.condition::<EmailMailbox>("ada", ("Stalled", "True", "PasswordManagedElsewhere")).await;
    assert!(message(&ada, "Ready").contains("spec.passwordSecretRef"), "{ada:?}");
    assert!(ada.status.unwrap().password_version.is_none());
    let bob = world.condition::<EmailMailbox>("bob", ("Ready", "False", "PasswordManagedElsewhere")).await;
    assert!(message(&bob, "Ready").contains("spec.forcePasswordChange"), "{bob:?}");
    world.ready::<EmailMailbox>("cyd").await;
    assert_eq!(world.mailcow.inspect(|state| state.mailbox("cyd@example.com").unwrap().name.clone()), "Cyd");
    assert_eq!(last_password(&world), None);
    for name in ["bob", "cyd"] {
        assert!(world.api::<Secret>().get_opt(&format!("{name}-mailbox")).await.unwrap().is_none(), "no Secret for it");
    }
    // Mailcow checks it again: it is set.
    world.mailcow.edit(|state| state.mailbox_mut("ada@example.com").unwrap().authsource = "mailcow".to_owned());
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(last_password(&world).as_deref(), Some("better-Horse-9"));
}

#[tokio::test]
async fn a_foreign_secret_of_the_generated_name_is_not_taken() {
    let world = World::new("foreign").await;
    world
        .apply("apiVersion: v1\nkind: Secret\nmetadata: {name: ada-mailbox}\nstringData: {password: theirs-Pass-1}")
        .await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.condition::<EmailMailbox>("ada", ("Stalled", "True", "SecretNotOurs")).await;
    assert_eq!(last_password(&world), None);
}

#[tokio::test]
async fn every_field_is_changed_where_it_differs() {
    let world = World::new("fields").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    let spec = r#"{"spec":{"quota":"2Gi","state":"LoginDisabled","displayName":"A & <b> c","rateLimit":{"messages":5,"per":"Minute"}}}"#;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", spec]).await;
    let mailbox = world.ready::<EmailMailbox>("ada").await;
    assert_eq!(mailbox.status.unwrap().quota.unwrap().limit, "2Gi");
    world
        .kubectl(&[
            "patch",
            "embx",
            "ada",
            "--type=merge",
            "-p",
            r#"{"spec":{"rateLimit":{"messages":0,"per":"Minute"}}}"#,
        ])
        .await;
    world.ready::<EmailMailbox>("ada").await;
}
