//! Judges that nobody here wrote: the public conformance suite, and the official clients for Python and TypeScript over
//! both transports.

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

/// What the clients do: create a mailbox, list it, ask for one that is not there, and delete an alias with a person.
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

#[tokio::test]
async fn the_official_clients_work_over_both_transports() {
    let Some(folder) = installed().await else {
        println!("skipped: the public MCP clients are not installed (make agents)");
        return;
    };
    let mut world = World::new(&["clients"]).await;
    let url = world.serve(&["--allow-writes"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let token = world.token(&account, AUDIENCE).await;
    let kubeconfig = world.kubeconfig(&account).await;
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
                "command": binary(), "args": ["mcp", "--allow-writes"], "kubeconfig": kubeconfig, "old": old});
            let result = judged(&folder, program, &task).await;
            let version = if old { "2025-11-25" } else { newest };
            assert_eq!(result["version"], version, "{name} {transport} {result}");
            assert_eq!((&result["tools"], &result["prompts"]), (&json!(14), &json!(3)), "{name} {transport} {result}");
            assert_eq!(
                (&result["created"], &result["listed"]),
                (&json!("Created"), &json!(true)),
                "{name} {transport} {result}"
            );
            assert_eq!(
                (&result["missing"], &result["wrong"]),
                (&json!("NotFound"), &json!("quota")),
                "{name} {transport} {result}"
            );
            assert!(result["asked"].as_str().unwrap().contains(&unique), "{name} {transport} {result}");
            let aliases = world.kubectl(&["-n", &namespace, "get", "ealias", "-o", "name"]).await;
            assert!(!aliases.contains(&unique), "{name} {transport}: {aliases}");
            rows.push(format!("| {name} | {transport} | {version} |"));
        }
    }
    println!("| client | transport | version |\n|---|---|---|\n{}", rows.join("\n"));
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
const SCENARIOS: [(&str, &[&str]); 2] = [
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
const NOT_OURS: [(&str, &str); 12] = [
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
];

/// Scenarios of extensions and options that the server does not declare.
const EXTENSIONS: [&str; 3] = ["tasks-", "sep-2640-skills-", "server-sse-polling"];

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

#[tokio::test]
async fn every_scenario_of_the_suite_is_run_or_named_with_the_reason() {
    let Some(folder) = installed().await else {
        println!("skipped: the conformance suite is not installed (make agents)");
        return;
    };
    for (version, run) in SCENARIOS {
        let output = suite(&folder).args(["list", "--server", "--spec-version", version]).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let listed: Vec<&str> =
            text.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(' ').next()).collect();
        assert!(listed.len() > 20, "{text}");
        let missing: Vec<&&str> = run.iter().filter(|name| !listed.contains(*name)).collect();
        assert!(missing.is_empty(), "{version}: {missing:?}");
        let is_named = |name: &str| {
            NOT_OURS.iter().map(|(prefix, _)| *prefix).chain(EXTENSIONS).any(|prefix| name.starts_with(prefix))
        };
        let unknown: Vec<&&str> = listed.iter().filter(|name| !run.contains(*name) && !is_named(name)).collect();
        assert!(unknown.is_empty(), "{version}: {unknown:?}");
    }
}
