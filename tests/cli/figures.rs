//! How long the commands take and what they need, with a Mailcow that takes its time: `cargo test --test cli -- --ignored
//! --nocapture figures`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use mailcow_simulator::{CostModel, Options};

use crate::world::{DOMAIN, Said, World};

/// Runs a program, and returns what it said, how long it took until its first byte and in all, and its memory in KiB.
async fn measured(program: &str, arguments: &[&str], world: &World) -> (Said, Duration, Duration, u64) {
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
    let said = Said::of(std::process::Output { stdout: rest, ..output });
    let rss = said.err.rsplit("RSS ").next().unwrap().trim().parse().unwrap();
    (said, until_first, took, rss)
}

#[tokio::test]
#[ignore = "it takes minutes, and measures"]
async fn figures_of_an_export_of_a_thousand_mailboxes_and_of_a_status() {
    let options = Options { latency: Some(CostModel::measured()), ..Options::default() };
    let world = World::with("figures", options, &[]).await;
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
    let email = async |arguments: &[&str]| measured(plugin, &[arguments, &place[..]].concat(), &world).await;

    world.mailcow.clear_log();
    let (said, _, export, rss) = email(&["export", "--out", &out]).await;
    assert_eq!(said.code, 0, "{said:?}");
    println!(
        "| export of 1,000 mailboxes, 1,000 aliases, 50 domains | {export:.1?} | {} requests | {rss} KiB |",
        world.mailcow.reads()
    );
    let started = Instant::now();
    world.kubectl(&["apply", "--server-side", "-f", &out]).await;
    let apply = started.elapsed();
    println!("| kubectl apply of these | {apply:.1?} |");
    let (said, _, plan, rss) = email(&["plan", "-f", &out]).await;
    println!("| plan of these | {plan:.1?} | {rss} KiB | {} |", said.out.trim());
    println!("| export, apply and plan | {:.1?} |", export + apply + plan);

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
    for _ in 0..3 {
        let (said, first, took, rss) =
            measured(plugin, &[&["status", "example.com"], &place[..]].concat(), &world).await;
        assert_eq!(said.code, 0, "{said:?}");
        println!("| status of a domain with 1,000 mailboxes | first line {first:.0?}, in all {took:.0?} | {rss} KiB |");
        let (_, first, took, rss) = measured(&kubectl, &[&["get", "email"], &place[..]].concat(), &world).await;
        println!("| kubectl get email of the same | first line {first:.0?}, in all {took:.0?} | {rss} KiB |");
    }
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
