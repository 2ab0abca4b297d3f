//! What is gone from Mailcow with its mail: made again loudly, or not at all where much is gone at once.

use k8s_openapi::api::core::v1::Secret;
use mailcow_operator::crd::{
    CORRECT, EmailAlias, EmailDomain, EmailMailbox, RECONCILE_REQUESTED_AT, RECREATE_VANISHED,
};

use crate::world::{ADA, DOMAIN, World, many, message, says};

#[tokio::test]
async fn a_mailbox_that_is_gone_with_its_mail_is_made_again_and_said_to_be_empty() {
    let mut world = World::without_mailcow("gone").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let before = world.ready::<EmailMailbox>("ada").await.status.unwrap();
    assert!(before.recreated.is_none());
    world.mailcow.edit(|state| state.mailboxes.clear());
    let is_recreated = |ada: &EmailMailbox| ada.status.as_ref().is_some_and(|status| status.recreated.is_some());
    world.until("ada", "status.recreated", is_recreated).await;
    let ada = world.ready::<EmailMailbox>("ada").await.status.unwrap();
    assert_eq!(ada.password_version, before.password_version, "it has the password that its Secret has");
    let told = world.event("Recreated", "ada").await;
    assert!(told.starts_with("Warning") && told.contains("vanished from Mailcow with its mail"), "{told}");
    assert!(told.contains("created a new, empty one"), "{told}");
    let all = world.events().await;
    assert!(!all.contains("ownership mark") && !all.contains("by hand"), "{all}");
}

#[tokio::test]
async fn a_domain_that_is_gone_is_made_again_with_what_was_in_it_and_said_so() {
    let mut world = World::without_mailcow("domaingone").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.edit(|state| {
        state.mailboxes.clear();
        state.domains.clear();
    });
    let told = world.event("Recreated", "example").await;
    assert!(told.starts_with("Warning") && told.contains("example.com vanished"), "{told}");
    world.event("Recreated", "ada").await;
    assert!(world.ready::<EmailDomain>("example").await.status.unwrap().recreated.is_some());
    assert!(world.ready::<EmailMailbox>("ada").await.status.unwrap().recreated.is_some());
}

#[tokio::test]
async fn many_that_are_gone_at_once_are_not_made_again_until_a_person_says_so() {
    let mut world = World::without_mailcow("vanished").await;
    world.connect().await;
    world.start_operator(&["--resync", "1h", "--poll-interval", "1s"]);
    let sales = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: sales}\nspec: {domainRef: {name: example}, localPart: sales, gotoMailboxRefs: [{name: m0}]}";
    world.apply(&many(12)).await;
    world.apply(sales).await;
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
    world.ready::<EmailAlias>("sales").await;
    world.mailcow.clear_log();
    world.mailcow.edit(|state| {
        state.mailboxes.clear();
        state.aliases.clear();
        state.domains.clear();
    });
    for n in 0..12 {
        world.condition::<EmailMailbox>(&format!("m{n}"), ("Stalled", "True", "VanishedFromMailcow")).await;
    }
    let domain = world.condition::<EmailDomain>("example", ("Ready", "False", "VanishedFromMailcow")).await;
    assert!(message(&domain, "Ready").contains("Secret mailcow"), "{domain:?}");
    world.condition::<EmailAlias>("sales", ("Stalled", "True", "VanishedFromMailcow")).await;
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    let told = world.event("VanishedFromMailcow", "mailcow").await;
    assert!(told.starts_with("Warning") && told.contains("14 of 14 domains, mailboxes and aliases"), "{told}");
    let lines = world.logs().lines().filter(|line| line.contains("vanished from the Mailcow server")).count();
    assert_eq!(lines, 1, "{}", world.logs());
    // A wrong consent changes nothing.
    world.kubectl(&["annotate", "secret", "mailcow", &format!("{RECREATE_VANISHED}=yes")]).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    let consent = told.split(&format!("{RECREATE_VANISHED}=")).nth(1).unwrap().trim().to_owned();
    world.kubectl(&["annotate", "--overwrite", "secret", "mailcow", &format!("{RECREATE_VANISHED}={consent}")]).await;
    for n in 0..12 {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
    }
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailAlias>("sales").await;
    world.event("Recreated", "m11").await;
}

#[tokio::test]
async fn an_adopted_mailbox_that_is_made_again_gets_a_password_of_its_own() {
    let mut world = World::without_mailcow("adoptedgone").await;
    world.mailcow.edit(|state| {
        state.seed_domain("example.com");
        state.seed_mailbox("ada@example.com");
    });
    world.start_operator(&["--resync", "1s"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.condition::<EmailMailbox>("ada", ("Synced", "False", "MailcowNotConfigured")).await;
    world.connect().await;
    world.ready::<EmailMailbox>("ada").await;
    let password = async || -> Option<Vec<u8>> {
        let secret: Secret = world.api().get("ada-mailbox").await.unwrap();
        secret.data.unwrap().remove("password").map(|password| password.0)
    };
    assert_eq!(password().await, None, "its owner knows the password");
    world.mailcow.edit(|state| state.mailboxes.clear());
    world.event("Recreated", "ada").await;
    world.ready::<EmailMailbox>("ada").await;
    let generated = String::from_utf8(password().await.unwrap()).unwrap();
    let add = world.mailcow.requests().into_iter().find(|request| request.path == "add/mailbox").unwrap();
    assert!(add.body.contains(&serde_json::Value::from(generated.clone()).to_string()), "it is the one in the Secret");
    assert!(!world.everything().await.contains(&generated) && !world.logs().contains(&generated));
}

#[tokio::test]
async fn a_request_under_report_looks_and_only_one_that_says_so_writes() {
    let mut world = World::without_mailcow("lookonly").await;
    world.connect().await;
    world.start_operator(&["--resync", "1h", "--poll-interval", "1h"]);
    let ada = ADA.replace("displayName: Ada Lovelace", "displayName: Ada, driftPolicy: Report");
    world.apply(&format!("{DOMAIN}{ada}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.edit(|state| "by hand".clone_into(&mut state.mailbox_mut("ada@example.com").unwrap().name));
    world.mailcow.clear_log();
    let ask = async |value: &str| {
        world.kubectl(&["annotate", "--overwrite", "embx", "ada", &format!("{RECONCILE_REQUESTED_AT}={value}")]).await;
        let echoed = |ada: &EmailMailbox| {
            ada.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some(value)
        };
        world.until("ada", "the request is echoed", echoed).await
    };
    let looked = ask("1").await;
    assert!(says(&looked, "Drifted", "True") && message(&looked, "Drifted").contains(CORRECT), "{looked:?}");
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    ask("correct-1").await;
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().name.clone()), "Ada");
    let told = world.event("DriftCorrected", "ada").await;
    assert!(told.contains("displayName"), "{told}");
    // Gone under Report: it is said, and made again only when asked.
    world.mailcow.edit(|state| state.mailboxes.clear());
    world.mailcow.clear_log();
    let gone = ask("2").await;
    assert!(message(&gone, "Drifted").contains("vanished from Mailcow with its mail"), "{gone:?}");
    assert!(gone.status.unwrap().quota.is_none(), "what is gone holds nothing");
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    ask("correct-2").await;
    assert!(world.ready::<EmailMailbox>("ada").await.status.unwrap().recreated.is_some());
}

#[tokio::test]
async fn a_mailbox_that_only_differs_does_not_hold_up_its_aliases() {
    let world = World::new("differs").await;
    world.apply(&format!("{}{ADA}", DOMAIN.replace("example.com}", "example.com, limits: {mailboxQuota: 2Gi}}"))).await;
    world.ready::<EmailMailbox>("ada").await;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"quota":"5Gi"}}"#]).await;
    world.condition::<EmailMailbox>("ada", ("Stalled", "True", "RefusedByMailcow")).await;
    let sales = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: sales}\nspec: {domainRef: {name: example}, localPart: sales, gotoMailboxRefs: [{name: ada}]}\n---\n";
    let rule = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {name: copy}\nspec: {mailboxRef: {name: ada}, actions: [{forward: {to: [x@other.org]}}]}\n";
    world.apply(&format!("{sales}{rule}")).await;
    world.ready::<EmailAlias>("sales").await;
    world.ready::<mailcow_operator::crd::EmailForwardingRule>("copy").await;
}

#[tokio::test]
async fn an_event_names_what_was_lost_and_normal_is_what_went_well() {
    let mut world = World::without_mailcow("lost").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    let ada = ADA.replace("displayName: Ada Lovelace", "deletionPolicy: Delete");
    let sales = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: sales}\nspec: {domainRef: {name: example}, localPart: sales, goto: [x@other.org]}\n---\n";
    let domain = DOMAIN.replace("{domain: example.com}", "{domain: example.com, deletionPolicy: Delete}");
    world.apply(&ada).await;
    assert!(world.event("DomainNotFound", "ada").await.starts_with("Warning"));
    world.apply(&format!("{domain}{sales}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("sales").await;
    assert!(world.event("InSync", "ada").await.starts_with("Normal"));
    world.mailcow.edit(|state| state.aliases.clear());
    let told = world.event("MadeAgain", "sales").await;
    assert!(told.starts_with("Normal") && told.contains("sales@example.com vanished"), "{told}");
    world.mailcow.edit(|state| state.dkim.clear());
    let told = world.event("DkimKeyLost", "example").await;
    assert!(told.starts_with("Warning") && told.contains("status.dkim"), "{told}");
    world.mailcow.edit(|state| state.seed_usage("ada@example.com", 3, 4096));
    for (kind, name, thing) in [("embx", "ada", "ada@example.com"), ("edom", "example", "example.com")] {
        world.kubectl(&["annotate", kind, name, &format!("email.askrobots.com/confirm-delete={thing}")]).await;
    }
    world.kubectl(&["delete", "embx", "ada"]).await;
    let told = world.event("Deleted", "ada").await;
    assert!(told.starts_with("Warning") && told.contains("with 3 messages"), "{told}");
    world.kubectl(&["delete", "edom", "example"]).await;
    let told = world.event("Deleted", "example").await;
    assert!(told.starts_with("Warning") && told.contains("with 1 alias"), "{told}");
}
