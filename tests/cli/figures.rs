//! How long the commands take and what they need, with a Mailcow that takes its time: `make bench ONLY=cli`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ground::wait_until;
use mailcow_simulator::{CostModel, Options};
use serde_json::Value;

use crate::world::{DOMAIN, Finished, World};

/// Runs a program, and returns its result, how long it took until its first byte and in all, and its memory in KiB.
async fn measured(program: &str, arguments: &[&str], world: &World) -> (Finished, Duration, Duration, u64) {
    let script = "import resource, subprocess, sys\n\
        done = subprocess.run(sys.argv[1:])\n\
        sys.stderr.write('\\nRSS %d\\n' % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
        sys.exit(done.returncode)";
    let mut command = tokio::process::Command::new("python3");
    command.args(["-c", script, program]).args(arguments).stdin(Stdio::null());
    command.env("KUBECONFIG", world.plane.admin_kubeconfig()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = [0];
    let read = tokio::io::AsyncReadExt::read(&mut out, &mut first).await.unwrap();
    let until_first = started.elapsed();
    let mut rest = Vec::from(&first[..read]);
    tokio::io::AsyncReadExt::read_to_end(&mut out, &mut rest).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let took = started.elapsed();
    let done = Finished::of(std::process::Output { stdout: rest, ..output });
    let rss = done.err.rsplit("RSS ").next().unwrap().trim().parse().unwrap();
    (done, until_first, took, rss)
}

/// A request of a client that lists Mailcow without us.
async fn bare(world: &World, path: &str) -> Value {
    let url = format!("{}/api/v1/get/{path}", world.mailcow.url());
    let request = reqwest::Client::new().get(url).header("X-API-Key", world.mailcow.api_key());
    request.send().await.unwrap().json().await.unwrap()
}

/// Everything that the export has, in the fewest requests of Mailcow's API: all domains, all mailboxes, all aliases, and the
/// DKIM key of each domain, of which there is no list.
async fn listing(world: &World) -> Vec<Value> {
    let domains = bare(world, "domain/all").await;
    let mut found = vec![bare(world, "mailbox/all").await, bare(world, "alias/all").await];
    for domain in domains.as_array().unwrap() {
        found.push(bare(world, &format!("dkim/{}", domain["domain_name"].as_str().unwrap())).await);
    }
    found.push(domains);
    found
}

/// Takes out ownership marks, and times of changes.
fn without_marks(value: &mut Value) {
    let is_mark = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("mailcow-operator/"));
    match value {
        Value::Array(items) => {
            items.retain(|item| !is_mark(item));
            items.iter_mut().for_each(without_marks);
        }
        Value::Object(map) => {
            map.retain(|key, value| !is_mark(value) && key != "modified" && key != "private_comment");
            map.values_mut().for_each(without_marks);
            // Where nothing else is, the mark was alone.
            map.retain(|key, value| !(["tags", "custom_attributes"].contains(&key.as_str()) && is_empty(value)));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[tokio::test]
#[ignore = "a benchmark"]
async fn bench_cli_export_apply_and_plan_of_a_thousand_mailboxes() {
    let options = Options { latency: Some(CostModel::measured()), ..Options::default() };
    let mut world = World::with("figures", options, &[]).await;
    world.connect().await;
    world.mailcow.edit(|state| state.seed_bulk(50, 1000));
    let names: Vec<String> = (0..50).map(|number| format!("d{number}.seed.test")).collect();
    let body = serde_json::json!({"domains": names.join(","), "dkim_selector": "dkim", "key_size": "2048"});
    let url = format!("{}/api/v1/add/dkim", world.mailcow.url());
    let request = reqwest::Client::new().post(url).header("X-API-Key", world.mailcow.api_key()).json(&body);
    assert!(request.send().await.unwrap().text().await.unwrap().contains("success"));
    let place = world.place();
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let plugin = env!("CARGO_BIN_EXE_kubectl-email");
    let out = world.folder().join("out").display().to_string();

    world.mailcow.clear_log();
    let before = listing(&world).await;
    let fewest = world.mailcow.reads();
    world.mailcow.clear_log();
    let (done, _, export, rss_of_export) =
        measured(plugin, &[&["export", "--out", &out], &place[..]].concat(), &world).await;
    assert_eq!(done.code, 0, "{done:?}");
    let requests = world.mailcow.reads();
    println!(
        "| CLI: export of 1,000 mailboxes, 1,000 aliases, 50 domains (a bare listing: {fewest} reads) | {export:.1?} | {requests} | 0 | {rss_of_export} KiB | |"
    );
    let started = Instant::now();
    world.kubectl(&["apply", "--server-side", "-f", &out]).await;
    let apply = started.elapsed();
    println!("| kubectl apply of these | {apply:.1?} | | | | |");
    world.mailcow.clear_log();
    let (done, _, plan, rss_of_plan) = measured(plugin, &[&["plan", "-f", &out], &place[..]].concat(), &world).await;
    let reads = world.mailcow.reads();
    println!("| CLI: plan of these: {} | {plan:.1?} | {reads} | 0 | {rss_of_plan} KiB | |", done.out.trim());
    assert_eq!((done.code, world.mailcow.writes()), (0, 0), "{done:?}");
    println!("| export, apply and plan | {:.1?} | | | | |", export + apply + plan);

    // The operator then writes its marks and nothing else.
    world.mailcow.clear_log();
    let started = Instant::now();
    world.start().await;
    let all = 50 + 1000 + 1000;
    wait_until(Duration::from_mins(10), "all objects to be ready", async || {
        let path = "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status} {end}";
        let synced = world.kubectl(&["get", "email", "-o", path]).await.matches("True").count();
        if synced == all { Ok(()) } else { Err(format!("{synced} of {all}")) }
    })
    .await
    .unwrap();
    let (adopted, writes) = (started.elapsed(), world.mailcow.writes());
    println!("| the operator adopts these | {adopted:.1?} | {} | {writes} | | |", world.mailcow.reads());
    let (mut before, mut after) = (before, listing(&world).await);
    before.iter_mut().chain(&mut after).for_each(without_marks);
    assert!(writes > 0 && before == after, "{writes}: something besides marks was written");
    assert!(requests * 10 <= fewest * 12, "{requests} reads, a bare listing {fewest}");
    assert!(rss_of_export <= 40 << 10, "{rss_of_export} KiB");
}

#[tokio::test]
#[ignore = "a benchmark"]
async fn bench_cli_status_of_a_thousand_mailboxes() {
    let plugin = env!("CARGO_BIN_EXE_kubectl-email");
    let world = World::with("status", Options::default(), &[]).await;
    let mailbox = |number: u32| {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: m{number}}}\n\
             spec: {{localPart: m{number}, domainRef: {{name: example}}}}\n---\n"
        )
    };
    let manifests = [DOMAIN.to_owned()].into_iter().chain((0..1000).map(mailbox)).collect::<String>();
    world.apply(&manifests).await;
    let binaries = ground::kubernetes().await.unwrap();
    let kubectl = binaries.join("kubectl").display().to_string();
    let place = world.place();
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let (mut ours, mut theirs, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..11 {
        let (done, first, _, rss) = measured(plugin, &[&["status", "example.com"], &place[..]].concat(), &world).await;
        assert_eq!(done.code, 0, "{done:?}");
        ours.push(first);
        memory = memory.max(rss);
        theirs.push(measured(&kubectl, &[&["get", "email"], &place[..]].concat(), &world).await.1);
    }
    ours.sort();
    theirs.sort();
    let (ours, theirs) = (ours[ours.len() / 2], theirs[theirs.len() / 2]);
    println!(
        "| CLI: first line of status of a domain with 1,000 mailboxes, beside kubectl get email {theirs:.0?} | {ours:.0?} | | | {memory} KiB | |"
    );
    assert!(ours <= theirs, "{ours:?} {theirs:?}");
    assert!(memory <= 40 << 10, "{memory} KiB");
}

/// Problems of all kinds, for screens in documents.
const BROKEN: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: support}
spec: {localPart: support, domainRef: {name: example}, passwordSecretRef: {name: support-password, key: password}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: ada}
spec: {localPart: ada, domainRef: {name: example}, displayName: Ada Lovelace, quota: 10Mi}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {localPart: sales, domainRef: {name: example}, gotoMailboxRefs: [{name: ada}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: tickets}
spec: {mailboxRef: {name: ada}, actions: [{createTask: {sink: tracker}}]}
---
";

#[tokio::test]
#[ignore = "it prints screens"]
async fn screens_of_a_broken_fleet() {
    let world = World::new("mail").await;
    world.dns.zone("example.com", "@ MX 10 mail.host.test.\n@ TXT \"v=spf1 ~all\"\n").unwrap();
    world.apply(&format!("{DOMAIN}{BROKEN}")).await;
    world.ready("embx/ada").await;
    world.mailcow.edit(|state| state.seed_usage("ada@example.com", 42, (10 << 20) - 9000));
    world.email(&["reconcile", "embx/ada", "--wait"]).await;
    world.until("embx/support", "Ready", "False").await;
    world.until("edom/example", "DKIMVerified", "False").await;
    let changed =
        BROKEN.replace("displayName: Ada Lovelace, quota: 10Mi", "displayName: Ada King, quota: 5Mi, state: Inactive");
    std::fs::write(world.folder().join("mail.yaml"), format!("{DOMAIN}{changed}")).unwrap();
    let file = world.folder().join("mail.yaml").display().to_string();
    for arguments in [
        &["status"][..],
        &["dns", "example.com"],
        &["check", "--operator-namespace", &world.namespace],
        &["plan", "-f", &file],
    ] {
        let place = world.place().join(" ");
        let inner = format!(
            "stty cols 120; {} {} {place} 2>/dev/null",
            env!("CARGO_BIN_EXE_kubectl-email"),
            arguments.join(" ")
        );
        let mut command = tokio::process::Command::new("script");
        command
            .args(["-qec", &inner, "/dev/null"])
            .env("SHELL", "/bin/bash")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8");
        let output = command.env("NO_COLOR", "1").stdin(Stdio::null()).output().await.unwrap();
        println!(
            "$ kubectl email {}\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout).replace('\r', "")
        );
    }
}
