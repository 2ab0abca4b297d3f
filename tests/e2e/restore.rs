//! Backup, restore and move with kubectl: what people do to objects, and what has to survive it.

use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

use crate::world::{ADA, DOMAIN, World};

const ALIAS: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {domainRef: {name: example}, localPart: sales, gotoMailboxRefs: [{name: ada}]}
---
";
const RULE: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: copy}
spec: {mailboxRef: {name: ada}, actions: [{forward: {to: [ada@other.example]}}]}
---
";
const KINDS: &str = "edom,embx,ealias,efr";

async fn all_ready(world: &World) {
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("sales").await;
    world.ready::<EmailForwardingRule>("copy").await;
}

async fn all_gone(world: &World) {
    world.gone::<EmailForwardingRule>("copy").await;
    world.gone::<EmailAlias>("sales").await;
    world.gone::<EmailMailbox>("ada").await;
    world.gone::<EmailDomain>("example").await;
}

async fn delete_all(world: &World) {
    world.kubectl(&["delete", KINDS, "--all", "--wait=false"]).await;
    all_gone(world).await;
}

/// `kubectl apply -f backup.yaml`, as a person does it: not server-side, and with all that the file holds.
async fn restore(world: &World, backup: &str) {
    let output = world.plane.kubectl_with(&["-n", &world.namespace, "apply", "-f", "-"], backup).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What kubectl writes into a file, statuses, uids, finalizers and all.
async fn backup(world: &World) -> String {
    world.kubectl(&["get", KINDS, "-o", "yaml"]).await
}

#[tokio::test]
async fn what_was_restored_from_a_backup_can_be_deleted() {
    let world = World::new("restore").await;
    world.apply(&format!("{DOMAIN}{ADA}{ALIAS}{RULE}")).await;
    all_ready(&world).await;
    let backup = backup(&world).await;
    assert!(backup.contains("email.askrobots.com/") && backup.contains("resourceVersion"), "a whole backup: {backup}");
    delete_all(&world).await;
    // kubectl's field manager owns our finalizer from here on.
    restore(&world, &backup).await;
    all_ready(&world).await;
    delete_all(&world).await;
}

#[tokio::test]
async fn what_was_replaced_by_force_can_be_deleted() {
    let world = World::new("replace").await;
    world.apply(&format!("{DOMAIN}{ADA}{ALIAS}{RULE}")).await;
    all_ready(&world).await;
    let backup = backup(&world).await;
    let namespace = world.namespace.clone();
    let replace = ["-n", &namespace, "replace", "--force", "--grace-period=0", "--timeout=30s", "-f", "-"];
    let output = world.plane.kubectl_with(&replace, &backup).await.unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), world.logs());
    all_ready(&world).await;
    delete_all(&world).await;
}

#[tokio::test]
async fn finalizers_of_others_stay_and_ours_goes() {
    let world = World::new("finalizers").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    let add = r#"[{"op":"add","path":"/metadata/finalizers/0","value":"example.com/backup"}]"#;
    world.kubectl(&["patch", "embx", "ada", "--type=json", "-p", add]).await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    let is_theirs_alone = |mailbox: &EmailMailbox| {
        mailbox.metadata.finalizers.iter().flatten().map(String::as_str).eq(["example.com/backup"])
    };
    world.until("ada", "only the other finalizer is left", is_theirs_alone).await;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).await;
    world.gone::<EmailMailbox>("ada").await;
}

#[tokio::test]
async fn force_orphan_lets_a_restored_object_go_when_mailcow_is_down() {
    let world = World::new("orphan").await;
    let delete = ADA.replace("displayName: Ada Lovelace", "deletionPolicy: Delete");
    world.apply(&format!("{DOMAIN}{delete}")).await;
    world.ready::<EmailMailbox>("ada").await;
    let backup = world.kubectl(&["get", "embx", "ada", "-o", "yaml"]).await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    restore(&world, &backup).await;
    world.ready::<EmailMailbox>("ada").await;
    world.connect_with("https://127.0.0.1:1", "none").await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.condition::<EmailMailbox>("ada", ("Ready", "Unknown", "MailcowUnreachable")).await;
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/force-orphan=true"]).await;
    world.gone::<EmailMailbox>("ada").await;
}
