//! Objects that come and go leave nothing behind: no connection, and no memory that grows with what there was.

use std::time::Duration;

use ground::wait_until;
use kube::api::ListParams;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};

use crate::world::{DOMAIN, LIMIT, World, says};

/// Objects in each round.
const OBJECTS: usize = 20;
const ROUNDS: usize = 4;

/// Mailboxes with a Secret of its own each, none of them named as one of another round.
fn of_round(round: usize) -> String {
    let one = |n: usize| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s{round}-{n}}}\nstringData: {{password: 'Pass-{round}-{n}-word'}}\n---\napiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: m{round}-{n}}}\nspec: {{localPart: m{round}-{n}, domainRef: {{name: example}}, deletionPolicy: Delete, passwordSecretRef: {{name: s{round}-{n}}}}}\n---\n"
        )
    };
    (0..OBJECTS).map(one).collect()
}

/// The process' open sockets.
fn sockets(world: &World) -> usize {
    let folder = format!("/proc/{}/fd", world.operator.as_ref().unwrap().pid());
    let files = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    files
        .filter(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
        .count()
}

async fn until_ready(world: &World, count: usize) {
    wait_until(Duration::from_mins(2), &format!("{count} to be ready"), async || {
        let all = world.api::<EmailMailbox>().list(&ListParams::default()).await.unwrap();
        let ready = all.items.iter().filter(|mailbox| says(*mailbox, "Ready", "True")).count();
        if ready == count && all.items.len() == count { Ok(()) } else { Err(format!("{ready} of {}", all.items.len())) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
}

#[tokio::test]
async fn objects_made_and_deleted_in_rounds_leave_no_connection_and_no_memory_behind() {
    let mut world = World::without_mailcow("churn").await;
    world.connect().await;
    world.start_operator(&["--resync", "6h"]);
    let limits = "{domain: example.com, limits: {mailboxes: 100, totalQuota: 100Gi}}";
    world.apply(&DOMAIN.replace("{domain: example.com}", limits)).await;
    world.ready::<EmailDomain>("example").await;
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        world.apply(&of_round(round)).await;
        until_ready(&world, OBJECTS).await;
        world.kubectl(&["delete", "embx", "--all", "--wait=false"]).await;
        until_ready(&world, 0).await;
        let secrets: Vec<String> = (0..OBJECTS).map(|n| format!("s{round}-{n}")).collect();
        let args: Vec<&str> = ["delete", "secret"].into_iter().chain(secrets.iter().map(String::as_str)).collect();
        world.kubectl(&args).await;
        let rss = world.operator.as_ref().unwrap().rss_kib().unwrap();
        seen.push((sockets(&world), rss));
    }
    let (first, last) = (seen[1], seen[ROUNDS - 1]);
    // Connections of pools come and go, more of them while the machine is busy; a leak would be one for each object, and two
    // rounds lie between.
    assert!(last.0 < first.0 + OBJECTS, "sockets and KiB after each round: {seen:?}");
    assert!(last.1 <= first.1 + 6 * 1024, "sockets and KiB after each round: {seen:?}");
    // A Secret that is named now is still followed.
    world.apply(&of_round(0)).await;
    until_ready(&world, OBJECTS).await;
    let version = |mailbox: &EmailMailbox| mailbox.status.as_ref().and_then(|status| status.password_version.clone());
    let before = version(&world.ready::<EmailMailbox>("m0-0").await);
    let changed = "{\"stringData\": {\"password\": \"Another-1-word\"}}";
    world.kubectl(&["patch", "secret", "s0-0", "--type=merge", "-p", changed]).await;
    wait_until(LIMIT, "the new password to be set", async || {
        let now = version(&world.api::<EmailMailbox>().get("m0-0").await.unwrap());
        if now == before { Err(format!("{now:?}")) } else { Ok(()) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
}

/// Objects whose metadata somebody filled.
const LARGE: u64 = 40;

/// An alias with much in its labels and annotations, which nothing but the API server limits.
fn large(n: u64) -> serde_json::Value {
    let mut labels: serde_json::Map<String, serde_json::Value> =
        (0..1500).map(|n| (format!("{}.example/l{n}", "x".repeat(230)), serde_json::json!("x".repeat(60)))).collect();
    labels.insert("email.askrobots.com/provisioned-by".to_owned(), serde_json::json!("n.d"));
    let annotations = serde_json::json!({
        "email.askrobots.com/x": "y".repeat(60_000), "email.askrobots.com/reconcile-requested-at": "z".repeat(180_000),
    });
    serde_json::json!({
        "apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailAlias",
        "metadata": {"name": format!("large{n}"), "labels": labels, "annotations": annotations},
        "spec": {"localPart": format!("large{n}"), "domainRef": {"name": "example"}, "goto": ["x@away.example"]},
    })
}

#[tokio::test]
async fn metadata_that_nobody_reads_costs_no_memory() {
    let mut world = World::new("large").await;
    world.apply(DOMAIN).await;
    world.ready::<EmailDomain>("example").await;
    let create = async |n: u64| {
        let object: EmailAlias = serde_json::from_value(large(n)).unwrap();
        world.api::<EmailAlias>().create(&kube::api::PostParams::default(), &object).await.unwrap();
    };
    create(LARGE).await;
    world.ready::<EmailAlias>(&format!("large{LARGE}")).await;
    let rss = || world.operator.as_ref().unwrap().rss_kib().unwrap();
    let before = rss();
    for n in 0..LARGE {
        create(n).await;
    }
    for n in 0..LARGE {
        let alias = world.ready::<EmailAlias>(&format!("large{n}")).await;
        let handled = alias.status.unwrap().last_handled_reconcile_at.unwrap();
        assert!(handled.starts_with("zzz") && handled.len() <= 512, "{}", handled.len());
    }
    let grown = rss().saturating_sub(before) / 1024;
    assert!(grown < LARGE / 2, "{grown} MiB for {LARGE} objects with 0.7 MiB of metadata each");
    // A new process reads them in lists.
    world.operator = None;
    world.start_operator(&[]);
    let touched = r#"{"spec":{"active":false}}"#;
    world.kubectl(&["patch", "ealias", "large0", "--type=merge", "-p", touched]).await;
    wait_until(LIMIT, "the new process to see it", async || {
        let alias = world.api::<EmailAlias>().get("large0").await.unwrap();
        let seen = alias.status.as_ref().and_then(|status| status.observed_generation);
        if seen == alias.metadata.generation { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
    let peak = peak_kib(&world) / 1024;
    assert!(peak < 100, "{peak} MiB to list {LARGE} objects with 0.7 MiB of metadata each");
}

/// The largest resident size that the process had (`proc_pid_status(5)`).
fn peak_kib(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.operator.as_ref().unwrap().pid())).unwrap();
    let value = |line: &str| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok();
    status.lines().find_map(value).unwrap()
}
