//! Domains: created, changed, read back, left alone.

use mailcow_operator::crd::EmailDomain;

use crate::world::{DOMAIN, World, message, says};

#[tokio::test]
async fn a_domain_is_made_and_read_back() {
    let world = World::new("domain").await;
    world
        .apply(
            "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example}
spec:
  domain: Example.COM
  description: Example Inc.
  limits: {mailboxes: 3, aliases: 7, mailboxQuota: 2Gi, totalQuota: 6Gi}
  mailboxDefaults: {quota: 512Mi}
  rateLimit: {messages: 100, per: Hour}",
        )
        .await;
    let domain = world.ready::<EmailDomain>("example").await;
    let status = domain.status.unwrap();
    assert_eq!(status.domain.as_deref(), Some("example.com"));
    assert!(status.dkim.as_ref().unwrap().record.starts_with("v=DKIM1;"));
    assert_eq!(status.dkim.unwrap().key_size, 2048);
    world.mailcow.inspect(|state| {
        let text = format!("{:?}", state.domain("example.com").unwrap());
        assert!(text.contains("Example Inc."), "{text}");
    });
    assert_eq!(world.mailcow.writes(), 1, "one add does it all: {:?}", world.mailcow.requests());
}

#[tokio::test]
async fn a_changed_field_is_one_edit_and_an_unchanged_restart_none() {
    let mut world = World::new("edit").await;
    world.apply(DOMAIN).await;
    world.ready::<EmailDomain>("example").await;
    world.mailcow.clear_log();
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", r#"{"spec":{"limits":{"mailboxes":42}}}"#]).await;
    world.ready::<EmailDomain>("example").await;
    assert_eq!(world.mailcow.writes(), 1, "{:?}", world.mailcow.requests());
    world.mailcow.clear_log();
    world.operator = None;
    world.start_operator(&[]);
    world.operator.as_ref().unwrap().logged("ready", crate::world::LIMIT).await.unwrap();
    // A later change shows that the first pass after the restart is over.
    world.kubectl(&["annotate", "edom", "example", "email.askrobots.com/reconcile-requested-at=1"]).await;
    world
        .until("example", "the request is echoed", |d: &EmailDomain| {
            d.status.as_ref().is_some_and(|s| s.last_handled_reconcile_at.as_deref() == Some("1"))
        })
        .await;
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
}

#[tokio::test]
async fn a_domain_made_by_hand_is_taken_over_without_losing_what_is_not_managed() {
    let world = World::new("adopt").await;
    world.mailcow.edit(|state| {
        state.seed_domain("example.com");
    });
    world.apply(DOMAIN).await;
    let domain = world.ready::<EmailDomain>("example").await;
    assert!(domain.metadata.finalizers.unwrap().contains(&"email.askrobots.com/mailcow".to_owned()));
}

#[tokio::test]
async fn a_domain_by_hand_is_left_alone_when_the_policy_says_never() {
    let world = World::new("never").await;
    world.mailcow.edit(|state| {
        state.seed_domain("example.com");
    });
    world.apply(&DOMAIN.replace("{domain: example.com}", "{domain: example.com, adoptionPolicy: Never}")).await;
    let domain = world.condition::<EmailDomain>("example", ("Stalled", "True", "NotAdopted")).await;
    assert!(says(&domain, "Ready", "False") && message(&domain, "Ready").contains("IfUnowned"));
    assert_eq!(world.mailcow.writes(), 0);
}

#[tokio::test]
async fn the_second_object_for_a_domain_learns_that_it_has_an_owner() {
    let world = World::new("twice").await;
    world.apply(DOMAIN).await;
    world.ready::<EmailDomain>("example").await;
    world.mailcow.clear_log();
    world.apply(&DOMAIN.replace("{name: example}", "{name: second}")).await;
    let second = world.condition::<EmailDomain>("second", ("Ready", "False", "Conflict")).await;
    let told = second.status.unwrap();
    assert!(told.usage.is_none() && told.dkim.is_none(), "another owner's domain is not shown");
    assert_eq!(world.mailcow.writes(), 0);
    world.kubectl(&["delete", "edom", "second", "--wait=false"]).await;
    world.gone::<EmailDomain>("second").await;
    assert!(world.mailcow.inspect(|state| state.domain("example.com").is_some()));
}

#[tokio::test]
async fn what_mailcow_refuses_is_told_in_its_words() {
    let world = World::new("limits").await;
    world.apply(DOMAIN).await;
    world.ready::<EmailDomain>("example").await;
    world.mailcow.edit(|state| {
        state.seed_mailbox("a@example.com");
        state.seed_mailbox("b@example.com");
    });
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", r#"{"spec":{"limits":{"mailboxes":1}}}"#]).await;
    let domain = world.condition::<EmailDomain>("example", ("Stalled", "True", "RefusedByMailcow")).await;
    assert!(message(&domain, "Ready").contains("limits.mailboxes is below the 2 existing mailboxes"), "{domain:?}");
}

#[tokio::test]
async fn another_dkim_key_than_asked_for_is_told_and_kept() {
    let world = World::new("dkim").await;
    world.apply(DOMAIN).await;
    let key = world.ready::<EmailDomain>("example").await.status.unwrap().dkim.unwrap();
    let other = r#"{"spec":{"dkim":{"selector":"s2"}}}"#;
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", other]).await;
    let told = world.condition::<EmailDomain>("example", ("Stalled", "True", "DkimKeyDiffers")).await;
    assert!(message(&told, "Ready").contains("selector dkim"), "{told:?}");
    assert_eq!(told.status.unwrap().dkim.unwrap(), key);
    world.apply(crate::world::ADA).await;
    world.ready::<mailcow_operator::crd::EmailMailbox>("ada").await;
}
