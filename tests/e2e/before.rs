//! Everything works before Mailcow does: no Mailcow, then one, then one that is down, then one that is back.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

use crate::world::{ADA, DOMAIN, Email, World, many};

/// Mailboxes of the run.
const COUNT: usize = 20;

/// An alias and a rule for each mailbox, and a mailbox that is on Mailcow already.
fn manifests() -> String {
    let beside = |n| {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: a{n}}}\n\
             spec: {{localPart: a{n}, domainRef: {{name: example}}, gotoMailboxRefs: [{{name: m{n}}}]}}\n---\n\
             apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {{name: r{n}}}\n\
             spec: {{mailboxRef: {{name: m{n}}}, actions: [{{forward: {{to: [m{n}@elsewhere.example]}}}}]}}\n---\n"
        )
    };
    let beside: String = (0..COUNT).map(beside).collect();
    // The other way round than it has to be made.
    format!("{beside}{}", many(COUNT))
}

async fn all<K: Email>(world: &World, names: &str, expected: (&str, &str, &str)) {
    for n in 0..COUNT {
        world.condition::<K>(&format!("{names}{n}"), expected).await;
    }
}

async fn everything(world: &World, expected: (&str, &str, &str)) {
    world.condition::<EmailDomain>("example", expected).await;
    all::<EmailMailbox>(world, "m", expected).await;
    all::<EmailAlias>(world, "a", expected).await;
    all::<EmailForwardingRule>(world, "r", expected).await;
}

/// Gives the connection, with a mail host that was not known before.
async fn connect(world: &World) {
    let (url, key) = (world.mailcow.url(), world.mailcow.api_key().to_owned());
    world
        .apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow}}\n\
             stringData: {{url: {url:?}, apiKey: {key:?}, mailHost: mx.later.example}}"
        ))
        .await;
}

/// The version of every object: a write of the API changes it.
async fn versions(world: &World) -> BTreeMap<String, String> {
    let text = world
        .kubectl(&[
            "get",
            "email,secrets",
            "-o",
            "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}",
        ])
        .await;
    let pair = |line: &str| line.split_once(' ').map(|(name, version)| (name.to_owned(), version.to_owned()));
    text.lines().filter_map(pair).collect()
}

#[tokio::test]
async fn no_mailcow_then_one_then_down_then_back() {
    let mut world = World::without_mailcow("before").await;
    world.start_operator(&["--poll-interval", "1h"]);
    world.apply(&manifests()).await;
    let waits = ("Synced", "False", "MailcowNotConfigured");
    world.condition::<EmailDomain>("example", waits).await;
    all::<EmailMailbox>(&world, "m", waits).await;
    all::<EmailAlias>(&world, "a", waits).await;
    for n in 0..COUNT {
        let secret: Secret = world.api().get(&format!("m{n}-mailbox")).await.unwrap();
        assert!(secret.data.unwrap().contains_key("password"));
    }
    let count = u32::try_from(COUNT).unwrap();
    let is_counted = |domain: &EmailDomain| {
        let attached = domain.status.as_ref().and_then(|status| status.attached.as_ref());
        attached.is_some_and(|there| (there.mailboxes, there.aliases, there.rules) == (count, count, count))
    };
    world.until("example", "all are counted", is_counted).await;
    let still = versions(&world).await;
    // A domain; a mailbox, its Secret, an alias and a rule of each number; beside them at least what is not ours.
    assert!(still.len() > 4 * COUNT, "{still:?}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(versions(&world).await, still, "nothing loops");

    connect(&world).await;
    everything(&world, ("Ready", "True", "InSync")).await;
    let (reads, writes) = (world.mailcow.reads(), world.mailcow.writes());
    println!(
        "Mailcow appears: {reads} reads, {writes} writes for 1 domain and {COUNT} each of mailboxes, aliases, rules"
    );
    // A domain takes its DKIM key beside itself, a mailbox its mark. More would be one in vain.
    assert!(writes <= 2 + 4 * COUNT, "{writes} writes: {:#?}", world.mailcow.requests());
    let secret: Secret = world.api().get("m0-mailbox").await.unwrap();
    let host = String::from_utf8(secret.data.unwrap()["imapHost"].0.clone()).unwrap();
    assert_eq!(host, "mx.later.example", "the host is filled in when it is known");

    world.mailcow.set_down(true).await.unwrap();
    world.mailcow.clear_log();
    let ask = ["annotate", "--overwrite", "edom,embx,ealias,efr", "--all"];
    world.kubectl(&[ask.as_slice(), &["email.askrobots.com/reconcile-requested-at=1"]].concat()).await;
    world.condition::<EmailDomain>("example", ("Synced", "Unknown", "MailcowUnreachable")).await;
    all::<EmailMailbox>(&world, "m", ("Synced", "Unknown", "MailcowUnreachable")).await;
    world.mailcow.set_down(false).await.unwrap();
    everything(&world, ("Ready", "True", "InSync")).await;
    println!("down and back: {} reads, {} writes", world.mailcow.reads(), world.mailcow.writes());
    assert_eq!(world.mailcow.writes(), 0, "{:#?}", world.mailcow.requests());
    assert_eq!(world.mailcow.inspect(|state| state.mailbox("m0@example.com").unwrap().password_changes), 1);
}

#[tokio::test]
async fn a_mailbox_that_turns_out_to_be_there_keeps_its_owners_password() {
    let mut world = World::without_mailcow("was-there").await;
    world.mailcow.edit(|state| {
        state.seed_domain("example.com");
        state.seed_mailbox("ada@example.com");
    });
    world.start_operator(&[]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.condition::<EmailMailbox>("ada", ("Synced", "False", "MailcowNotConfigured")).await;
    let changes = || world.mailcow.inspect(|state| state.mailbox("ada@example.com").unwrap().password_changes);
    let before = changes();
    connect(&world).await;
    world.ready::<EmailMailbox>("ada").await;
    let secret: Secret = world.api().get("ada-mailbox").await.unwrap();
    let data = secret.data.unwrap();
    assert!(!data.contains_key("password") && data["imapHost"].0 == b"mx.later.example", "{:?}", data.keys());
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/reconcile-requested-at=1"]).await;
    world
        .until("ada", "the request is echoed", |mailbox: &EmailMailbox| {
            mailbox.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some("1"))
        })
        .await;
    assert_eq!(changes(), before);
}
