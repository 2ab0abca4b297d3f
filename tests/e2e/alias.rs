//! Aliases: addresses, mailboxes by reference, the id that comes back.

use mailcow_operator::crd::EmailAlias;

use crate::world::{ADA, DOMAIN, World, message};

const SALES: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {domainRef: {name: example}, localPart: Sales, gotoMailboxRefs: [{name: ada}]}
";

#[tokio::test]
async fn an_alias_waits_for_its_mailbox_and_gets_its_id_back() {
    let world = World::new("alias").await;
    world.apply(&format!("{DOMAIN}---{SALES}")).await;
    let waiting = world.condition::<EmailAlias>("sales", ("Ready", "False", "MailboxNotFound")).await;
    assert!(message(&waiting, "Ready").contains("ada"));
    world.apply(ADA).await;
    let status = world.ready::<EmailAlias>("sales").await.status.unwrap();
    assert_eq!(status.address.as_deref(), Some("sales@example.com"));
    assert_eq!(status.goto, ["ada@example.com"]);
    assert!(status.alias_id.is_some_and(|id| id > 0));
}

#[tokio::test]
async fn a_catch_all_with_outside_addresses_is_ready_and_warns() {
    let world = World::new("catchall").await;
    let catch_all =
        SALES.replace("localPart: Sales, gotoMailboxRefs: [{name: ada}]", "catchAll: true, goto: [x@other.org]");
    world.apply(&format!("{DOMAIN}---{catch_all}")).await;
    let alias = world.ready::<EmailAlias>("sales").await;
    assert!(message(&alias, "Ready").contains("SPF"));
    assert_eq!(alias.status.unwrap().address.as_deref(), Some("@example.com"));
}

#[tokio::test]
async fn a_changed_goto_is_one_edit() {
    let world = World::new("goto").await;
    let plain = SALES.replace("gotoMailboxRefs: [{name: ada}]", "goto: [a@example.com]");
    world.apply(&format!("{DOMAIN}---{plain}")).await;
    world.ready::<EmailAlias>("sales").await;
    world.mailcow.clear_log();
    world.apply(&plain.replace("[a@example.com]", "[b@example.com, a@example.com]")).await;
    let alias = world.ready::<EmailAlias>("sales").await;
    assert_eq!(alias.status.unwrap().goto, ["a@example.com", "b@example.com"]);
    assert_eq!(world.mailcow.writes(), 1);
}
