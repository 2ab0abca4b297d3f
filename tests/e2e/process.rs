//! The operator as a process: restarts, steadiness, its end, its rights, what it serves.

use std::time::Duration;

use mailcow_operator::crd::{EmailDomain, EmailMailbox};

use crate::world::{ADA, DOMAIN, LIMIT, World};

/// Versions of all our objects.
async fn versions(world: &World) -> String {
    let columns = "-o=custom-columns=N:.metadata.name,V:.metadata.resourceVersion";
    world.kubectl(&["get", "email", columns, "--no-headers"]).await
}

/// Waits until nothing changed for two seconds.
async fn settled(world: &World) -> String {
    let mut before = versions(world).await;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = versions(world).await;
        if now == before {
            return now;
        }
        before = now;
    }
}

async fn with_ada(name: &str, args: &[&str]) -> World {
    let mut world = World::without_mailcow(name).await;
    world.connect().await;
    world.start_operator(args);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailDomain>("example").await;
    world
}

#[tokio::test]
async fn a_restart_writes_nothing_anywhere() {
    let mut world = with_ada("restart", &[]).await;
    let before = settled(&world).await;
    world.mailcow.clear_log();
    world.operator = None;
    world.start_operator(&[]);
    world.operator.as_ref().unwrap().logged("ready", LIMIT).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.mailcow.reads() > 0, "it has looked");
    assert_eq!(world.mailcow.writes(), 0);
    assert_eq!(versions(&world).await, before, "no status flaps while the operator gets its bearings");
}

#[tokio::test]
async fn what_is_in_sync_stays_untouched_pass_after_pass() {
    let world = with_ada("steady", &["--resync", "1s", "--dns-mode", "recursive"]).await;
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", r#"{"spec":{"dns":{"required":[]}}}"#]).await;
    world.ready::<EmailDomain>("example").await;
    let mailbox = |text: &str| text.lines().find(|line| line.starts_with("ada")).map(ToOwned::to_owned);
    let before = mailbox(&versions(&world).await);
    world.mailcow.clear_log();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(world.mailcow.reads() >= 3, "{:?}", world.mailcow.requests());
    assert_eq!(world.mailcow.writes(), 0);
    assert_eq!(mailbox(&versions(&world).await), before);
}

#[tokio::test]
async fn it_ends_in_order_when_it_is_told_to() {
    for gates in ["DNSPublishing=true", "TaskDelivery=true"] {
        let mut world = with_ada("sigterm", &["--feature-gates", gates]).await;
        let status = world.operator.as_mut().unwrap().stop(Duration::from_secs(10)).await.unwrap();
        assert!(status.success(), "{gates}: {status:?}\n{}", world.logs());
    }
}

#[tokio::test]
async fn it_has_the_rights_that_it_needs_and_no_others() {
    let world = World::without_mailcow("rights").await;
    let kubeconfig = format!("--kubeconfig={}", world.kubeconfig().display());
    for (verb, resource, answer) in [
        ("patch", "emailmailboxes.email.askrobots.com", "yes"),
        ("create", "secrets", "yes"),
        ("create", "emailmailboxes.email.askrobots.com", "no"),
        ("delete", "emailmailboxes.email.askrobots.com", "no"),
        ("update", "emailmailboxes.email.askrobots.com", "no"),
        ("delete", "secrets", "no"),
        ("list", "configmaps", "no"),
        ("list", "namespaces", "yes"),
        ("patch", "namespaces", "no"),
        ("create", "pods", "no"),
        ("list", "nodes", "no"),
    ] {
        let said = world.kubectl(&[&kubeconfig, "auth", "can-i", verb, resource]).await;
        assert!(said.lines().any(|line| line == answer), "{verb} {resource}: {said}");
    }
}

#[tokio::test]
async fn health_and_metrics_are_served() {
    let world = with_ada("metrics", &[]).await;
    let line = world.operator.as_ref().unwrap().logged("serving metrics", LIMIT).await.unwrap();
    let address = line.split("address=").nth(1).unwrap().trim();
    let get = async |path: &str| reqwest::get(format!("http://{address}/{path}")).await.unwrap().text().await.unwrap();
    assert_eq!(get("healthz").await, "ok");
    assert_eq!(get("readyz").await, "ok");
    let metrics = get("metrics").await;
    for expected in [
        r#"mailcow_operator_reconciles_total{kind="EmailMailbox",outcome="in_sync"}"#,
        r#"mailcow_operator_mailcow_requests_total{action="add/mailbox",outcome="ok"} 1"#,
        r#"mailcow_operator_mailcow_configured{server="default"} 1"#,
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
    assert!(!metrics.contains(world.mailcow.api_key()) && !metrics.contains("ada"));
}

#[tokio::test]
async fn a_missing_cluster_or_a_taken_address_is_said_and_ends_it() {
    let mut world = World::without_mailcow("start").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.start_operator(&["--resync", "1s"]);
    world.operator.as_ref().unwrap().logged("ready", LIMIT).await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world.start_operator_listening(&address);
    let said = world.operator.as_ref().unwrap().logged("can't serve metrics and health", LIMIT).await.unwrap();
    assert!(said.contains(&address), "{said}");
}

#[tokio::test]
async fn without_a_command_or_a_named_cluster_nothing_is_started() {
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mailcow-operator"));
        command.args(args).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST").envs(env.iter().copied());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let world = World::without_mailcow("nocommand").await;
    let kubeconfig = world.kubeconfig().display().to_string();
    let (code, said) = run(&[], &[("KUBECONFIG", &kubeconfig)]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("Usage"), "{said}");
    // A kubeconfig in the home directory names no cluster to work on.
    let home = home_with(&world, &kubeconfig);
    let (code, said) = run(&["run", "--listen", "127.0.0.1:0"], &[("HOME", &home)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--kubeconfig"), "{said}");
}

/// A home directory with this kubeconfig where kubectl looks for it.
fn home_with(world: &World, kubeconfig: &str) -> String {
    let home = world.plane.folder().path().join(format!("{}-home", world.namespace));
    std::fs::create_dir_all(home.join(".kube")).unwrap();
    std::fs::copy(kubeconfig, home.join(".kube/config")).unwrap();
    home.display().to_string()
}

#[tokio::test]
async fn a_second_operator_waits_and_says_who_works() {
    let world = with_ada("second", &[]).await;
    let second = world.another_operator(&["--mailcow-secret", "mailcow", "--pod-name", "by-mistake"]);
    let said = second.logged("another instance is the leader", LIMIT).await.unwrap();
    assert!(said.contains("the-pod"), "{said}");
    assert!(second.logs().contains("working on this cluster"), "{}", second.logs());
}

#[tokio::test]
async fn the_api_server_takes_the_whole_chart() {
    let said = World::without_mailcow("chart").await.judge_chart().await;
    assert!(said.contains("deployment.apps/") && said.contains("emaildomains.email.askrobots.com"), "{said}");
    let is_taken = |line: &str| line.ends_with("(server dry run)") || line.starts_with("Warning: resource");
    assert!(said.lines().all(is_taken), "{said}");
}
