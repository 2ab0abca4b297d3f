//! Judges that nobody here wrote: the public conformance suite, and the official clients for Python and TypeScript over
//! both transports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::world::{AUDIENCE, World, binary};

/// Far more than a client takes.
const LIMIT: Duration = Duration::from_mins(3);

/// The folder of the judges; `None` if they are not installed.
async fn installed() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/judges/build.sh");
    let output = Command::new(script).arg("--ready").stderr(Stdio::null()).output().await.ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// A client that judges: its name, its program, and the version that it negotiates.
const CLIENTS: [(&str, &[&str], &str); 3] = [
    ("Python mcp", &["venv/bin/python", "client.py"], "2026-07-28"),
    ("TypeScript sdk 1", &["node", "client_v1.mjs"], "2025-11-25"),
    ("TypeScript client 2", &["node", "client_v2.mjs"], "2026-07-28"),
];

/// What the clients do: call each tool, whose answer must fit its schema, ask for a mailbox that is not there, give a wrong
/// quota, read a resource and a prompt, and delete an alias with a person.
async fn judged(folder: &Path, program: &[&str], task: &Value) -> Value {
    let path = |word: &str| if folder.join(word).exists() { folder.join(word) } else { PathBuf::from(word) };
    let mut command = Command::new(path(program[0]));
    command
        .args(program[1..].iter().map(|word| path(word)))
        .arg(task.to_string())
        .current_dir(folder)
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.stdin(Stdio::null()).output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program:?} {task}\n{out}\n{err}");
    serde_json::from_str(out.lines().last().unwrap()).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

/// A domain with DNS records as the operator reports them: one that is correct, and one that is not.
async fn reported_domain(world: &World, namespace: &str) {
    let domain = json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailDomain", "metadata": {"name": "full"},
        "spec": {"domain": "full.test"}});
    world.apply(namespace, &domain.to_string()).await;
    let record = |kind: &str, verdict: &str| {
        json!({"type": kind, "name": "full.test", "verdict": verdict, "required": true, "expected": ["v"], "observed": ["v"],
            "message": "m", "source": "Authoritative"})
    };
    let mut wrong = record("SPF", "Mismatch");
    wrong["hint"] = json!("publish it");
    wrong["warnings"] = json!([{"reason": "Other", "message": "w"}]);
    let condition = json!({"type": "Ready", "status": "False", "reason": "Pending", "message": "m", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"conditions": [condition], "dns": {"records": [record("MX", "Verified"), wrong]}}});
    let args =
        ["-n", namespace, "patch", "edom", "full", "--subresource=status", "--type=merge", "-p", &status.to_string()];
    let patched = world.kubectl(&args).await;
    assert!(patched.contains("patched"), "{patched}");
}

#[tokio::test]
async fn the_official_clients_work_over_both_transports() {
    let Some(folder) = installed().await else {
        println!("skipped: the public MCP clients are not installed (make agents)");
        return;
    };
    let mut world = World::new(&["clients"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    // Resources are listed in the namespaces that are served: the account may not list those of all.
    let url = world.serve(&["--allow-writes", "--namespaces", &namespace]).await;
    let token = world.token(&account, AUDIENCE).await;
    let kubeconfig = world.kubeconfig(&account).await;
    reported_domain(&world, &namespace).await;
    let mut rows = Vec::new();
    for (i, (name, program, newest)) in CLIENTS.into_iter().enumerate() {
        let with_old = [("stdio", false), ("http", false), ("stdio", true), ("http", true)];
        // The first TypeScript client knows no newer version.
        for (transport, old) in with_old.into_iter().filter(|(_, old)| !old || newest != "2025-11-25") {
            let unique = format!("j{i}-{transport}-{old}");
            let alias = json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailAlias", "metadata": {"name": unique},
                "spec": {"localPart": unique, "domainRef": {"name": "d"}, "goto": ["a@b.test"]}});
            world.apply(&namespace, &alias.to_string()).await;
            let task = json!({"transport": transport, "url": url, "token": token, "namespace": namespace, "name": unique,
                "command": binary(), "args": ["mcp", "--allow-writes", "--namespaces", namespace], "kubeconfig": kubeconfig, "old": old});
            let result = judged(&folder, program, &task).await;
            let version = if old { "2025-11-25" } else { newest };
            assert_eq!(result["version"], version, "{name} {transport} {result}");
            assert_eq!((&result["tools"], &result["prompts"]), (&json!(14), &json!(3)), "{name} {transport} {result}");
            let is_true = ["listed", "resource", "prompt"].iter().all(|key| result[*key] == true);
            assert!(is_true && result["created"] == "Created", "{name} {transport} {result}");
            let fit: BTreeSet<&str> = result["fit"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(fit.len(), 14, "every tool was called: {name} {transport} {result}");
            assert_eq!(
                (&result["missing"], &result["wrong"]),
                (&json!("NotFound"), &json!("quota")),
                "{name} {transport} {result}"
            );
            assert!(result["asked"].as_str().unwrap().contains(&unique), "{name} {transport} {result}");
            let aliases = world.kubectl(&["-n", &namespace, "get", "ealias", "-o", "name"]).await;
            assert!(
                !aliases.lines().any(|line| line.ends_with(&format!("/{unique}"))),
                "{name} {transport}: {aliases}"
            );
            rows.push(format!("| {name} | {transport} | {version} |"));
        }
    }
    println!("| client | transport | version |\n|---|---|---|\n{}", rows.join("\n"));
}

#[tokio::test]
async fn the_python_program_on_the_page_works() {
    let Some(folder) = installed().await else {
        println!("skipped: the public MCP clients are not installed (make agents)");
        return;
    };
    let mut world = World::new(&["page"]).await;
    let url = world.serve(&[]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mcp.md")).unwrap();
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let program = program
        .replace("TOKEN", &world.token(&account, AUDIENCE).await)
        .replace("http://localhost:8082/mcp", &url)
        .replace("team-a", &namespace);
    let mut command = Command::new(folder.join("venv/bin/python"));
    command.args(["-c", &program]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.trim(), "{'items': []}", "{}", String::from_utf8_lossy(&output.stderr));
}

/// Adds a token to each request: the suite can send none. Each connection has one request.
async fn with_token(url: &str, token: &str) -> String {
    let (listener, target) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), url.replace("http://", ""));
    let own = format!("http://{}/mcp", listener.local_addr().unwrap());
    let (target, token) = (target.trim_end_matches("/mcp").to_owned(), token.to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(forwarded(stream, target.clone(), token.clone()));
        }
    });
    own
}

async fn forwarded(mut client: TcpStream, target: String, token: String) {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut byte = [0; 1];
        if client.read_exact(&mut byte).await.is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let (first, rest) = text.split_once("\r\n").unwrap();
    let kept: Vec<&str> = rest.split("\r\n").filter(|line| !line.to_lowercase().starts_with("connection:")).collect();
    let head = format!("{first}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{}", kept.join("\r\n"));
    let mut server = TcpStream::connect(&target).await.unwrap();
    server.write_all(head.as_bytes()).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// Scenarios of the conformance suite that are about every server.
const SCENARIOS: [(&str, &[&str]); 3] = [
    (
        "2025-06-18",
        &["server-initialize", "server-session-lifecycle", "ping", "tools-list", "resources-list", "prompts-list"],
    ),
    (
        "2025-11-25",
        &[
            "server-initialize",
            "server-session-lifecycle",
            "ping",
            "tools-list",
            "resources-list",
            "prompts-list",
            "dns-rebinding-protection",
            "server-sse-multiple-streams",
        ],
    ),
    (
        "2026-07-28",
        &[
            "server-stateless",
            "tools-list",
            "resources-list",
            "prompts-list",
            "sep-2164-resource-not-found",
            "dns-rebinding-protection",
            "server-sse-multiple-streams",
            "caching",
            "http-header-validation",
            "input-required-result-unsupported-methods",
        ],
    ),
];

/// Beginnings of the names of the other scenarios for servers, and why they are not about this one.
const NOT_OURS: [(&str, &str); 15] = [
    ("tools-call-", "calls a tool of the suite's own server"),
    ("input-required-result-", "calls a tool or a prompt of the suite's own server"),
    ("elicitation-sep", "calls a tool of the suite's own server"),
    ("json-schema-2020-12", "reads the schema of a tool of the suite's own server"),
    ("http-custom-header-server-validation", "needs a tool with an argument in a header; no tool has one"),
    ("resources-read-", "reads a resource of the suite's own server"),
    ("resources-templates-read", "reads a resource of the suite's own server"),
    ("prompts-get-", "gets a prompt of the suite's own server"),
    ("resources-subscribe", "needs subscriptions; the server has none"),
    ("resources-unsubscribe", "needs subscriptions; the server has none"),
    ("completion-complete", "needs completions; the server has none"),
    ("logging-set-level", "needs logging, which is deprecated; the server has none"),
    ("server-sse-polling", "calls a tool of the suite's own server"),
    ("tasks-", "calls slow tools of the suite's own server; tests/mcp/tasks.rs tests tasks"),
    ("sep-2640-skills-", "needs the extension for skills; the server has none"),
];

/// Checks of `server-stateless` that call diagnostic tools of the suite's own server, and fail as "not testable" without.
const DIAGNOSTIC: [&str; 4] = [
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
];

/// The command of the suite.
fn suite(folder: &Path) -> Command {
    let mut command = Command::new("node");
    command
        .args(["--import", "./conformance.mjs", "node_modules/@modelcontextprotocol/conformance/dist/index.js"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_conformance_suite_passes() {
    let Some(folder) = installed().await else {
        println!("skipped: the conformance suite is not installed (make agents)");
        return;
    };
    let mut world = World::new(&["suite"]).await;
    let local = "http://localhost:*,http://127.0.0.1:*";
    let url = world.serve(&["--allow-writes", "--allowed-origins", local]).await;
    let account = world.agent("agent").await;
    let url = with_token(&url, &world.token(&account, AUDIENCE).await).await;
    let results = world.plane.folder().path().join("conformance");
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (version, scenarios) in SCENARIOS {
        for scenario in scenarios {
            let mut command = suite(&folder);
            command.args(["server", "--url", &url, "--scenario", scenario, "--spec-version", version, "--force", "-o"]);
            let output = tokio::time::timeout(LIMIT, command.arg(&results).output()).await.unwrap().unwrap();
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let checks = out.lines().filter(|line| line.contains("SUCCESS")).count();
            let is_ours = |line: &&str| !DIAGNOSTIC.iter().any(|check| line.contains(check));
            let bad = out.lines().filter(|line| line.contains("FAILURE")).filter(is_ours).count();
            rows.push(format!("| {scenario} | {version} | {checks} checks pass, {bad} fail |"));
            if checks == 0 || bad > 0 {
                failed.push(format!("{scenario} at {version}:\n{out}{err}"));
            }
        }
    }
    println!("| scenario | version | result |\n|---|---|---|\n{}", rows.join("\n"));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The scenarios for servers: of a version, or all, also those of extensions.
async fn listed(folder: &Path, version: Option<&str>) -> Vec<String> {
    let version = version.map(|version| ["--spec-version", version]);
    let output = suite(folder).args(["list", "--server"]).args(version.iter().flatten()).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(' ').next());
    let names: Vec<String> = names.map(ToOwned::to_owned).collect();
    assert!(names.len() > 20, "{text}");
    names
}

#[tokio::test]
async fn every_scenario_of_the_suite_is_run_or_named_with_the_reason() {
    let Some(folder) = installed().await else {
        println!("skipped: the conformance suite is not installed (make agents)");
        return;
    };
    let reason = |name: &str| NOT_OURS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, why)| *why);
    let mut rows = BTreeSet::new();
    for (version, run) in SCENARIOS {
        let listed = listed(&folder, Some(version)).await;
        let missing: Vec<_> = run.iter().filter(|name| !listed.iter().any(|listed| listed == *name)).collect();
        assert!(missing.is_empty(), "{version}: {missing:?}");
        for name in listed.iter().filter(|name| !run.contains(&name.as_str())) {
            let why = reason(name).unwrap_or_else(|| panic!("{name} at {version} is neither run nor named"));
            rows.insert(format!("| {name} | {why} |"));
        }
    }
    let all = listed(&folder, None).await;
    let is_run = |name: &str| SCENARIOS.iter().any(|(_, run)| run.contains(&name));
    for name in all.iter().filter(|name| !is_run(name)) {
        let why = reason(name).unwrap_or_else(|| panic!("{name} is neither run nor named"));
        rows.insert(format!("| {name} | {why} |"));
    }
    let unused: Vec<_> =
        NOT_OURS.iter().filter(|(prefix, _)| !all.iter().any(|name| name.starts_with(prefix))).collect();
    assert!(unused.is_empty(), "no scenario has these names: {unused:?}");
    println!("| scenario that is not run | why |\n|---|---|\n{}", rows.into_iter().collect::<Vec<_>>().join("\n"));
}
