//! Deletion: mail is never lost because a manifest went away.

use k8s_openapi::api::core::v1::Secret;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

use crate::world::{ADA, DOMAIN, World, message};

fn has_mailbox(world: &World) -> bool {
    world.mailcow.inspect(|state| state.mailbox("ada@example.com").is_some())
}

#[tokio::test]
async fn everything_pruned_at_once_loses_no_mail() {
    let world = World::new("prune").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.kubectl(&["delete", "edom,embx", "--all", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    world.gone::<EmailDomain>("example").await;
    assert!(has_mailbox(&world) && world.mailcow.inspect(|state| state.domain("example.com").is_some()));
    assert!(world.api::<Secret>().get_opt("ada-mailbox").await.unwrap().is_some());
    // And what was kept is taken up again, with the same password.
    world.mailcow.clear_log();
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let mailbox = world.ready::<EmailMailbox>("ada").await;
    assert_eq!(mailbox.status.unwrap().credentials_secret_name.as_deref(), Some("ada-mailbox"));
}

#[tokio::test]
async fn mail_is_destroyed_only_when_confirmed() {
    let world = World::new("confirm").await;
    let delete = ADA.replace("displayName: Ada Lovelace", "deletionPolicy: Delete");
    world.apply(&format!("{DOMAIN}{delete}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.edit(|state| state.seed_usage("ada@example.com", 3, 4096));
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    let held = world.condition::<EmailMailbox>("ada", ("Stalled", "True", "ConfirmationNeeded")).await;
    assert!(message(&held, "Ready").contains("email.askrobots.com/confirm-delete: ada@example.com"));
    assert!(has_mailbox(&world));
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/confirm-delete=someone@else"]).await;
    world
        .kubectl(&["annotate", "--overwrite", "embx", "ada", "email.askrobots.com/confirm-delete=ada@example.com"])
        .await;
    world.gone::<EmailMailbox>("ada").await;
    assert!(!has_mailbox(&world));
}

#[tokio::test]
async fn a_domain_goes_after_its_mailboxes() {
    let world = World::new("order").await;
    let domain = DOMAIN.replace("{domain: example.com}", "{domain: example.com, deletionPolicy: Delete}");
    let mailbox = ADA.replace("displayName: Ada Lovelace", "deletionPolicy: Delete");
    world.apply(&format!("{domain}{mailbox}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.kubectl(&["delete", "edom", "example", "--wait=false"]).await;
    world.condition::<EmailDomain>("example", ("Ready", "False", "DomainNotEmpty")).await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    world.gone::<EmailDomain>("example").await;
    assert!(!world.mailcow.inspect(|state| state.domain("example.com").is_some()));
}

#[tokio::test]
async fn deactivate_keeps_the_mail_and_shuts_the_door() {
    let world = World::new("off").await;
    let off = ADA.replace("displayName: Ada Lovelace", "deletionPolicy: Deactivate");
    world.apply(&format!("{DOMAIN}{off}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world.gone::<EmailMailbox>("ada").await;
    let active = world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().active);
    assert_eq!(active, 0);
}

#[tokio::test]
async fn an_alias_is_removed_and_a_retained_one_stays() {
    let world = World::new("aliases").await;
    let alias = |name: &str, policy: &str| {
        format!(
            "---\napiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: {name}}}\nspec: {{domainRef: {{name: example}}, localPart: {name}, goto: [a@example.com], deletionPolicy: {policy}}}\n"
        )
    };
    world.apply(&format!("{DOMAIN}{}{}", alias("one", "Delete"), alias("two", "Retain"))).await;
    world.ready::<EmailAlias>("one").await;
    world.ready::<EmailAlias>("two").await;
    world.kubectl(&["delete", "ealias", "--all", "--wait=false"]).await;
    world.gone::<EmailAlias>("one").await;
    world.gone::<EmailAlias>("two").await;
    let left: Vec<String> =
        world.mailcow.inspect(|state| state.aliases.values().map(|alias| alias.address.clone()).collect());
    assert_eq!(left, ["two@example.com"]);
}

#[tokio::test]
async fn paused_writes_nothing_and_lets_retained_things_go() {
    let world = World::new("pause").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/paused=true"]).await;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"quota":"2Gi"}}"#]).await;
    let paused = world.condition::<EmailMailbox>("ada", ("Ready", "False", "Paused")).await;
    assert!(message(&paused, "Ready").contains("quota"));
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/paused-"]).await;
    world.ready::<EmailMailbox>("ada").await;
}

#[tokio::test]
async fn a_deleted_namespace_goes_and_its_mail_stays() {
    let mut world = World::without_mailcow("namespace").await;
    let file = std::env::temp_dir().join(format!("{}.key", world.namespace));
    std::fs::write(&file, world.mailcow.api_key()).unwrap();
    let (url, path) = (world.mailcow.url(), file.display().to_string());
    let connection = ["--mailcow-url", &url, "--mailcow-api-key-file", &path];
    // The namespace has the operator's own Lease, and the right to renew it goes at once.
    world.start_operator_with(&[&connection[..], &["--lease-duration", "10m"]].concat());
    let alias = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: sales}\nspec: {domainRef: {name: example}, localPart: sales, gotoMailboxRefs: [{name: ada}]}";
    let rule = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {name: all}\nspec: {mailboxRef: {name: ada}, actions: [{forward: {to: [x@other.org]}}]}";
    world.apply(&format!("{DOMAIN}{ADA}{alias}\n---\n{rule}")).await;
    world.ready::<EmailAlias>("sales").await;
    world.ready::<EmailForwardingRule>("all").await;
    let namespace = world.namespace.clone();
    // It answers "deleted" before it waits for that.
    let said = world.kubectl(&["delete", "namespace", &namespace, "--timeout=2m"]).await;
    assert!(said.contains("deleted") && !said.contains("timed out"), "{said}\n{}", world.logs());
    assert!(has_mailbox(&world) && world.mailcow.inspect(|state| state.domain("example.com").is_some()));
    // A mailbox has a row of its own among the aliases.
    let aliases: Vec<String> =
        world.mailcow.inspect(|state| state.aliases.values().map(|alias| alias.address.clone()).collect());
    assert_eq!(aliases, ["ada@example.com"], "aliases are removed by default");
    assert!(world.mailcow.inspect(|state| state.filters.is_empty()), "and rules too");
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn a_rule_that_outlives_its_mailbox_still_takes_its_script_away() {
    let world = World::new("outlived").await;
    let rule = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {name: all}\nspec: {mailboxRef: {name: ada}, actions: [{forward: {to: [x@other.org]}}]}";
    world.apply(&format!("{DOMAIN}{ADA}{rule}")).await;
    world.ready::<EmailForwardingRule>("all").await;
    world.kubectl(&["delete", "embx", "ada"]).await;
    world.condition::<EmailForwardingRule>("all", ("Ready", "False", "MailboxNotFound")).await;
    assert!(has_mailbox(&world) && world.mailcow.inspect(|state| !state.filters.is_empty()));
    world.kubectl(&["delete", "efr", "all", "--wait=false"]).await;
    world.gone::<EmailForwardingRule>("all").await;
    assert!(world.mailcow.inspect(|state| state.filters.is_empty()));
}
