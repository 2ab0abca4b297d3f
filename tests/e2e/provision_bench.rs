//! Figures, not tests: a thousand namespaces that begin to pay at once, and stop to.

#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use mailcow_operator::crd::{EmailDomain, EmailMailbox, MailboxState};
use mailcow_simulator::{CostModel, Options, Simulator};
use serde_json::json;

use crate::world::{World, says};

const COUNT: usize = 1000;

/// Does something for every namespace, 16 at a time.
async fn each(world: &World, act: impl AsyncFn(Api<Namespace>, String)) {
    let all = (0..COUNT).map(|n| act(Api::all(world.kube.clone()), format!("customer-{n}")));
    stream::iter(all).buffer_unordered(16).for_each(|()| std::future::ready(())).await;
}

async fn label(world: &World, plan: &str) {
    each(world, async |api, name| {
        let patch = json!({"metadata": {"labels": {"plan": plan}}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    })
    .await;
}

/// Writes that the API server took or refused, by what was written.
async fn writes(world: &World) -> Vec<(String, u64)> {
    let text = world.kubectl(&["get", "--raw", "/metrics"]).await;
    let mut found: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let (verb, resource) = (label("verb").unwrap_or_default(), label("resource").unwrap_or_default());
        let of_operator = ["emaildomains", "emailmailboxes", "secrets", "events"].contains(&resource);
        if of_operator && ["APPLY", "PATCH", "POST", "PUT", "DELETE"].contains(&verb) {
            let part = label("subresource").filter(|part| !part.is_empty());
            let key = part.map_or_else(|| resource.to_owned(), |part| format!("{resource}/{part}"));
            let count: f64 = line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = count as u64;
            *found.entry(key).or_default() += count;
        }
    }
    found.into_iter().collect()
}

async fn all_are(world: &World, state: MailboxState) -> Duration {
    let started = Instant::now();
    let api: Api<EmailMailbox> = Api::all(world.kube.clone());
    let mut made = None;
    loop {
        let list = api.list(&ListParams::default()).await.unwrap().items;
        if list.len() == COUNT && made.is_none() {
            made = Some(started.elapsed());
        }
        let done = list.iter().filter(|mailbox| mailbox.spec.state == state && says(*mailbox, "Ready", "True")).count();
        if done == COUNT {
            println!("|   all objects there | {:.1} s | | | |", made.unwrap_or_default().as_secs_f64());
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_mins(20), "{done}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn measured(world: &World, what: &str, (plan, state): (&str, MailboxState)) {
    let before = writes(world).await;
    world.mailcow.clear_log();
    let started = Instant::now();
    label(world, plan).await;
    let labelled = started.elapsed();
    all_are(world, state).await;
    let took = started.elapsed();
    let rss = world.operator.as_ref().unwrap().rss_kib().unwrap() / 1024;
    let (reads, written) = (world.mailcow.reads(), world.mailcow.writes());
    // What is said of the domain comes a moment later.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = writes(world).await;
    let of = |all: &[(String, u64)], key: &str| all.iter().find(|(k, _)| k == key).map_or(0, |(_, n)| *n);
    let by_kind: Vec<String> = after.iter().map(|(key, n)| format!("{key} {}", n - of(&before, key))).collect();
    let sum: u64 = after.iter().map(|(key, n)| n - of(&before, key)).sum();
    println!("| {what} | {:.1} s | {reads} | {written} | {rss} MiB |", took.as_secs_f64());
    println!("|   of which labelling | {:.1} s | | | |", labelled.as_secs_f64());
    println!("API writes: {sum} ({})", by_kind.join(", "));
}

async fn a_thousand(cost: Option<CostModel>) {
    let mut world = World::everywhere("provision-bench").await;
    world.mailcow = Simulator::start(Options { latency: cost, ..Options::default() }).await.unwrap();
    world.connect().await;
    let options = ["--resync", "1h", "--dns-mode", "recursive", "--feature-gates", "AutoProvisioning=true"];
    world.start_operator(&options);
    world
        .apply(&format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {{name: shared}}\n\
             spec: {{domain: shared.example, limits: {{mailboxes: {COUNT}, mailboxQuota: 1Gi, totalQuota: {COUNT}Gi}}, \
             autoProvision: {{namespaceSelector: {{matchLabels: {{plan: paid}}}}}}}}\n"
        ))
        .await;
    each(&world, async |api, name| {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        api.create(&PostParams::default(), &namespace).await.unwrap();
    })
    .await;
    world.ready::<EmailDomain>("shared").await;
    println!("\n| what | time | reads | writes | RSS |\n|---|---|---|---|---|");
    measured(&world, "1,000 namespaces entitled at once, all Ready", ("paid", MailboxState::Active)).await;
    measured(&world, "all revoked at once, all logins off", ("free", MailboxState::LoginDisabled)).await;
    let off = world.mailcow.inspect(|state| state.mailboxes_of("shared.example").filter(|m| m.active == 2).count());
    assert_eq!(off, COUNT);
    measured(&world, "all entitled again", ("paid", MailboxState::Active)).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_a_thousand_namespaces_begin_to_pay() {
    a_thousand(None).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_a_thousand_namespaces_begin_to_pay_at_the_real_server_s_pace() {
    a_thousand(Some(CostModel::measured())).await;
}
