//! How long a read call takes beside `kubectl get --raw`, and what a hundred sessions cost. `make bench ONLY=mcp`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Person, Version};
use crate::world::{AUDIENCE, World};

const CALLS: usize = 60;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
#[ignore = "a benchmark"]
async fn bench_mcp() {
    let mut world = World::new(&["bench"]).await;
    let url = world.serve(&[]).await;
    let account = world.agent("agent").await;
    let token = world.token(&account, AUDIENCE).await;
    let namespace = world.namespaces[0].clone();
    let mailbox = json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailMailbox", "metadata": {"name": "m"},
        "spec": {"localPart": "m", "domainRef": {"name": "d"}}});
    world.apply(&namespace, &mailbox.to_string()).await;
    let path = format!("/apis/email.askrobots.com/v1alpha1/namespaces/{namespace}/emailmailboxes/m");
    let kubeconfig = world.kubeconfig(&account).await.display().to_string();
    let mut client = Client::http(&url, &token, (Version::New, Person::Absent), &world.seen).await;
    let (mut calls, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let begin = Instant::now();
        client.ok("explain", json!({"kind": "EmailMailbox", "namespace": namespace, "name": "m"})).await;
        calls.push(begin.elapsed());
        let begin = Instant::now();
        let text = world.kubectl(&["--kubeconfig", &kubeconfig, "get", "--raw", &path]).await;
        raw.push(begin.elapsed());
        assert!(text.contains("localPart"), "{text}");
    }
    let (call, raw) = (median(calls), median(raw));
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::http(&url, &token, (Version::Old, Person::Absent), &world.seen).await;
        client.ok("list_mailboxes", json!({"namespace": namespace})).await;
        clients.push(client);
    }
    let mib = world.server().rss_kib().unwrap() / 1024;
    println!("| MCP: explain, beside kubectl get --raw {raw:.1?} | {call:.1?} | | | {mib} MiB with 100 sessions | |");
    assert!(call.as_secs_f64() <= 1.5 * raw.as_secs_f64(), "{call:?} {raw:?}");
    assert!(mib <= 64, "{mib} MiB");
}
