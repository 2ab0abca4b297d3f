//! The server itself: what it offers, how it lists, what it says when something is missing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Person, Version};
use crate::world::{AUDIENCE, LIMIT, RESOURCES, World, binary};

const WRITERS: [&str; 6] =
    ["create_domain", "create_mailbox", "set_mailbox_state", "add_alias", "create_forwarding_rule", "apply_delete"];

async fn names(client: &mut Client) -> Vec<String> {
    let list = client.request("tools/list", json!({})).await.unwrap();
    list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn it_only_reads_unless_writes_are_allowed_and_says_so() {
    let world = World::new(&["readonly"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    for version in Version::BOTH {
        let mut client = world.stdio(&account, &[], version, Person::Absent).await;
        let names = names(&mut client).await;
        assert_eq!(names.len(), 8, "{names:?}");
        for tool in WRITERS {
            assert!(!names.iter().any(|name| name == tool), "{tool}");
            let error = client.fails(tool, json!({"namespace": namespace})).await;
            assert_eq!(error["error"], "NotOffered", "{tool} {error}");
            assert!(error["message"].as_str().unwrap().contains("--allow-writes"), "{error}");
        }
        assert_eq!(world.objects(&namespace).await, json!([]));
        let mut client = world.stdio(&account, &["--allow-writes"], version, Person::Absent).await;
        assert_eq!(self::names(&mut client).await.len(), 14);
    }
}

#[tokio::test]
async fn tools_without_rights_are_hidden_and_say_why_when_called() {
    let world = World::new(&["hidden", "other"]).await;
    let (namespace, other) = (world.namespaces[0].clone(), world.namespaces[1].clone());
    let account = world.account("reader").await;
    world.grant(&account, &namespace, &["get", "list"], &["emailmailboxes"]).await;
    let served = format!("--namespaces={namespace},{other}");
    let mut client = world.stdio(&account, &["--allow-writes", &served], Version::New, Person::Absent).await;
    assert_eq!(names(&mut client).await, ["list_mailboxes", "explain", "plan_delete"]);
    let error = client.fails("create_mailbox", json!({"namespace": namespace, "domain": "d", "localPart": "x"})).await;
    assert_eq!(error["error"], "Forbidden");
    let text = error.to_string();
    assert!(text.contains("create the EmailMailbox") && text.contains("administrator"), "{text}");
    // A namespace of several that may not be read is left out; one that is named is not.
    assert_eq!(client.ok("list_mailboxes", json!({})).await["items"], json!([]));
    assert_eq!(client.fails("list_mailboxes", json!({"namespace": other})).await["error"], "Forbidden");
    assert_eq!(client.fails("list_domains", json!({})).await["error"], "Forbidden");
    let error = client.fails("list_mailboxes", json!({"namespace": "kube-system"})).await;
    assert_eq!((&error["error"], &error["problems"][0]["field"]), (&json!("InvalidArgument"), &json!("namespace")));
    assert!(error["problems"][0]["rule"].as_str().unwrap().contains(&namespace), "{error}");
}

/// Mailboxes for a test of lists.
async fn fill(world: &World, namespace: &str, count: usize) {
    let group = "email.askrobots.com/v1alpha1";
    let one = |i: usize| {
        json!({"apiVersion": group, "kind": "EmailMailbox", "metadata": {"name": format!("m{i:03}")},
            "spec": {"localPart": format!("m{i}"), "domainRef": {"name": if i.is_multiple_of(2) { "even" } else { "odd" }}}})
        .to_string()
    };
    world.apply(namespace, &(0..count).map(one).collect::<Vec<_>>().join("\n---\n")).await;
}

#[tokio::test]
async fn long_lists_come_in_pages_over_all_namespaces() {
    let world = World::new(&["first", "second"]).await;
    let account = world.agent("agent").await;
    for namespace in &world.namespaces {
        fill(&world, namespace, 25).await;
    }
    let served = format!("--namespaces={}", world.namespaces.join(","));
    let mut client = world.stdio(&account, &[&served], Version::New, Person::Absent).await;
    for (arguments, expected) in
        [(json!({"limit": 7}), 50), (json!({"limit": 7, "domain": "even"}), 26), (json!({"limit": 100}), 50)]
    {
        let (mut found, mut arguments, mut pages) = (Vec::new(), arguments, 0);
        loop {
            let page = client.ok("list_mailboxes", arguments.clone()).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= usize::try_from(arguments["limit"].as_u64().unwrap()).unwrap());
            found.extend(items.iter().map(|item| format!("{}/{}", item["namespace"], item["name"])));
            pages += 1;
            match page.get("nextCursor") {
                Some(cursor) => arguments["cursor"] = cursor.clone(),
                None => break,
            }
        }
        assert_eq!(found.len(), expected, "{arguments} in {pages} pages");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), expected, "none twice");
    }
    for cursor in ["x", "", "bm90IGpzb24", "eyJwbGFjZSI6Imt1YmUtc3lzdGVtIiwidG9rZW4iOm51bGx9"] {
        let error = client.fails("list_mailboxes", json!({"cursor": cursor})).await;
        assert_eq!(error["problems"][0]["field"], "cursor", "{cursor} {error}");
    }
}

#[tokio::test]
async fn rules_of_a_domain_are_also_those_of_its_mailboxes() {
    let world = World::new(&["rules"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    fill(&world, &namespace, 4).await;
    let rule = |name: &str, to: Value| {
        let mut spec = json!({"actions": [{"ignore": {}}]});
        spec.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailForwardingRule", "metadata": {"name": name}, "spec": spec})
            .to_string()
    };
    let rules = [
        rule("a-of-even", json!({"domainRef": {"name": "even"}})),
        rule("b-of-m0", json!({"mailboxRef": {"name": "m000"}})),
        rule("c-of-m1", json!({"mailboxRef": {"name": "m001"}})),
        rule("d-of-m2", json!({"mailboxRef": {"name": "m002"}})),
        rule("e-of-none", json!({"mailboxRef": {"name": "gone"}})),
        rule("f-of-odd", json!({"domainRef": {"name": "odd"}})),
    ];
    world.apply(&namespace, &rules.join("\n---\n")).await;
    let mut client = world.stdio(&account, &[], Version::New, Person::Absent).await;
    for limit in [1, 2, 50] {
        let mut arguments = json!({"namespace": namespace, "domain": "even", "limit": limit});
        let mut found = Vec::new();
        loop {
            let page = client.ok("list_forwarding_rules", arguments.clone()).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit, "{page}");
            found.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            match page.get("nextCursor") {
                Some(cursor) => arguments["cursor"] = cursor.clone(),
                None => break,
            }
        }
        assert_eq!(found, ["a-of-even", "b-of-m0", "d-of-m2"], "{limit}");
    }
    let all = client.ok("list_forwarding_rules", json!({"namespace": namespace})).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 6);
    // Who may not read the mailboxes does not get a list that lacks their rules.
    let reader = world.account("reader").await;
    world.grant(&reader, &namespace, &["get", "list"], &["emailforwardingrules"]).await;
    let mut client = world.stdio(&reader, &[], Version::New, Person::Absent).await;
    let error = client.fails("list_forwarding_rules", json!({"namespace": namespace, "domain": "even"})).await;
    assert!(error["error"] == "Forbidden" && error.to_string().contains("EmailMailbox"), "{error}");
    let all = client.ok("list_forwarding_rules", json!({"namespace": namespace})).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn objects_are_resources_and_common_work_has_prompts() {
    let world = World::new(&["resources"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    fill(&world, &namespace, 3).await;
    let served = format!("--namespaces={namespace}");
    for version in Version::BOTH {
        let mut client = world.stdio(&account, &[&served], version, Person::Absent).await;
        let (mut uris, mut params) = (Vec::new(), json!({}));
        loop {
            let page = client.request("resources/list", params).await.unwrap();
            uris.extend(page["resources"].as_array().unwrap().iter().map(|r| r["uri"].as_str().unwrap().to_owned()));
            match page.get("nextCursor") {
                Some(cursor) => params = json!({"cursor": cursor}),
                None => break,
            }
        }
        assert_eq!(uris.len(), 3, "{uris:?}");
        let read = client.request("resources/read", json!({"uri": uris[0]})).await.unwrap();
        let text: Value = serde_json::from_str(read["contents"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&text["kind"], &text["name"], &text["ready"]),
            (&json!("EmailMailbox"), &json!("m000"), &json!(false))
        );
        let missing =
            client.request("resources/read", json!({"uri": format!("email://{namespace}/EmailMailbox/none")})).await;
        assert_eq!(missing.unwrap_err()["code"], if version == Version::New { -32602 } else { -32002 });
        let foreign = client.request("resources/read", json!({"uri": "email://kube-system/Secret/x"})).await;
        assert!(foreign.is_err());
        let templates = client.request("resources/templates/list", json!({})).await.unwrap();
        assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "email://{namespace}/{kind}/{name}");
        let prompts = client.request("prompts/list", json!({})).await.unwrap();
        assert_eq!(prompts["prompts"].as_array().unwrap().len(), 3);
        let prompt = json!({"name": "why_not_ready", "arguments": {"kind": "EmailMailbox", "namespace": namespace, "name": "m000"}});
        let prompt = client.request("prompts/get", prompt).await.unwrap();
        assert!(prompt["messages"][0]["content"]["text"].as_str().unwrap().contains("m000"));
        assert!(client.request("prompts/get", json!({"name": "other"})).await.is_err());
        assert_eq!(client.request("tools/call", json!({"name": "delete_mailbox"})).await.unwrap_err()["code"], -32602);
        assert_eq!(client.request("no/such/method", json!({})).await.unwrap_err()["code"], -32601);
    }
}

#[tokio::test]
async fn an_object_that_waits_says_what_for() {
    let world = World::new(&["waits"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let mut client = world.stdio(&account, &["--allow-writes"], Version::Old, Person::Absent).await;
    let begin = Instant::now();
    let arguments = json!({"namespace": namespace, "domain": "none", "localPart": "x", "waitSeconds": 1});
    let answer = client.ok("create_mailbox", arguments).await;
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!((&answer["change"], &answer["ready"]), (&json!("Created"), &json!(false)));
    assert_eq!(answer["waitsFor"]["reason"], "Pending");
    assert!(answer["waitsFor"]["whatToDo"].as_str().unwrap().contains("the operator runs"), "{answer}");
    // As the operator reports it.
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "DomainNotFound",
        "message": "no EmailDomain none", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    world
        .kubectl(&[
            "-n",
            &namespace,
            "patch",
            "embx",
            "x",
            "--subresource=status",
            "--type=merge",
            "-p",
            &status.to_string(),
        ])
        .await;
    let explained = client.ok("explain", json!({"kind": "EmailMailbox", "namespace": namespace, "name": "x"})).await;
    assert!(explained["conditions"][0]["whatToDo"].as_str().unwrap().contains("create it"), "{explained}");
    // What the schema refuses names the field.
    let arguments =
        json!({"namespace": namespace, "domain": "none", "localPart": "a/b", "name": "slash", "waitSeconds": 0});
    let error = client.fails("create_mailbox", arguments).await;
    assert_eq!((&error["error"], &error["problems"][0]["field"]), (&json!("Refused"), &json!("localPart")));
    assert!(error["problems"][0]["rule"].as_str().unwrap().contains("slash"), "{error}");
}

#[tokio::test]
async fn a_state_that_another_tool_applies_is_left_to_it() {
    let world = World::new(&["applied"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let manifest = json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailMailbox", "metadata": {"name": "m"},
        "spec": {"localPart": "m", "domainRef": {"name": "d"}, "state": "Active"}});
    let args = ["-n", &namespace, "apply", "--server-side", "--field-manager=flux", "-f", "-"];
    world.plane.kubectl_with(&args, &manifest.to_string()).await.unwrap();
    let mut client = world.stdio(&account, &["--allow-writes"], Version::New, Person::Absent).await;
    let error =
        client.fails("set_mailbox_state", json!({"namespace": namespace, "name": "m", "state": "Inactive"})).await;
    assert!(error["error"] == "Conflict" && error["message"].as_str().unwrap().contains("flux"), "{error}");
    let found = world.kubectl(&["-n", &namespace, "get", "embx", "m", "-o", "jsonpath={.spec.state}"]).await;
    assert_eq!(found, "Active");
}

/// A kubeconfig for a server that accepts connections and never answers, or for none.
fn unreachable(world: &World, port: u16, name: &str) -> std::path::PathBuf {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "x", "user": {"token": "a-token-of-the-kubeconfig"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]});
    world.plane.folder().write(name, config.to_string()).unwrap()
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_reported_in_five_seconds() {
    let world = World::new(&["unreachable"]).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = ground::free_port().unwrap();
    for port in [silent.local_addr().unwrap().port(), closed] {
        let kubeconfig = unreachable(&world, port, &format!("unreachable.{port}"));
        let mut client =
            Client::stdio(&kubeconfig, &["--allow-writes"], (Version::New, Person::Absent), &world.seen).await;
        for (tool, arguments) in [
            ("list_domains", json!({})),
            ("create_mailbox", json!({"namespace": "a", "domain": "d", "localPart": "x"})),
            ("explain", json!({"kind": "EmailDomain", "namespace": "a", "name": "b"})),
            ("set_mailbox_state", json!({"namespace": "a", "name": "b", "state": "Inactive"})),
        ] {
            let begin = Instant::now();
            let error = client.fails(tool, arguments).await;
            assert_eq!(error["error"], "Unreachable", "{tool} {error}");
            // The limit is 4 s; a loaded machine may add to it.
            assert!(begin.elapsed() < Duration::from_secs(8), "{tool} took {:?}", begin.elapsed());
        }
        // Lists of tools need no cluster.
        assert_eq!(names(&mut client).await.len(), 14);
    }
    assert!(!world.seen.lock().unwrap().contains("a-token-of-the-kubeconfig"));
}

#[tokio::test]
async fn over_http_an_api_that_cannot_be_reached_is_reported_too() {
    let world = World::new(&["unanswered"]).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = unreachable(&world, silent.local_addr().unwrap().port(), "unanswered").display().to_string();
    let listen = format!("127.0.0.1:{}", ground::free_port().unwrap());
    let server =
        ground::Operator::start(binary(), &["mcp", "--listen", &listen], &[("KUBECONFIG", kubeconfig.as_str())]);
    let server = server.unwrap();
    server.logged("serving tools for agents", LIMIT).await.unwrap();
    let begin = Instant::now();
    let request = reqwest::Client::new().post(format!("http://{listen}/mcp")).bearer_auth("token").body("{}");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.text().await.unwrap().contains("the Kubernetes API gives no answer"));
    // The limit is 4 s; a loaded machine may add to it.
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert!(!server.logs().contains("a-token-of-the-kubeconfig"));
}

/// A kubeconfig of an account whose token comes from a program.
async fn with_program(world: &World, account: &str, name: &str, script: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(world.kubeconfig(account).await).unwrap();
    let mut config: Value = serde_yaml::from_str(&text).unwrap();
    let token = config["users"][0]["user"]["token"].as_str().unwrap().to_owned();
    let script = script.replace("TOKEN", &token);
    config["users"][0]["user"] = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh",
        "args": ["-c", script], "interactiveMode": "IfAvailable"}});
    world.plane.folder().write(name, config.to_string()).unwrap()
}

#[tokio::test]
async fn a_program_for_credentials_neither_reads_the_protocol_nor_holds_it_up() {
    let world = World::new(&["program"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let greedy = r#"cat >/dev/null; echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": "TOKEN"}}'"#;
    let kubeconfig = with_program(&world, &account, "greedy", greedy).await;
    let mut client = Client::stdio(&kubeconfig, &[], (Version::New, Person::Absent), &world.seen).await;
    client.ok("list_mailboxes", json!({"namespace": namespace})).await;
    for (name, script, why) in [
        ("hanging", "exec sleep 60", "no answer within 4 s"),
        ("failing", "echo secret-of-the-program; echo secret-of-the-program >&2; exit 1", "gives no credentials"),
    ] {
        let kubeconfig = with_program(&world, &account, name, script).await;
        let mut client = Client::stdio(&kubeconfig, &[], (Version::New, Person::Absent), &world.seen).await;
        let begin = Instant::now();
        let error = client.fails("list_mailboxes", json!({"namespace": namespace})).await;
        assert!(error["error"] == "Unreachable" && error.to_string().contains(why), "{name} {error}");
        assert!(begin.elapsed() < Duration::from_secs(8), "{name} took {:?}", begin.elapsed());
        assert_eq!(names(&mut client).await.len(), 8, "{name}");
    }
    assert!(!world.seen.lock().unwrap().contains("secret-of-the-program"));
}

#[tokio::test]
async fn without_a_cluster_the_program_says_what_is_missing() {
    for (kubeconfig, listen) in [("/nowhere/at/all", None), ("/nowhere/at/all", Some("127.0.0.1:0"))] {
        let mut command = tokio::process::Command::new(binary());
        command.arg("mcp").args(listen.iter().flat_map(|listen| ["--listen", listen])).env("KUBECONFIG", kubeconfig);
        let output =
            tokio::time::timeout(LIMIT, command.stdin(std::process::Stdio::null()).output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("/nowhere/at/all"), "{text}");
        assert!(output.stdout.is_empty(), "standard output belongs to the protocol");
    }
}

#[tokio::test]
async fn a_cancelled_wait_ends_and_the_object_stays() {
    let world = World::new(&["cancel"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let mut client = world.stdio(&account, &["--allow-writes"], Version::Old, Person::Absent).await;
    let arguments = json!({"namespace": namespace, "domain": "none", "localPart": "x", "waitSeconds": 120});
    let call = json!({"jsonrpc": "2.0", "id": 9_000, "method": "tools/call",
        "params": {"name": "create_mailbox", "arguments": arguments, "_meta": {"progressToken": "p"}}});
    client.send(&call).await;
    // The server reports progress while it waits.
    for _ in 0..2 {
        let message = client.next_message(LIMIT).await.unwrap();
        assert_eq!(message["method"], "notifications/progress", "{message}");
    }
    assert_eq!(world.objects(&namespace).await.as_array().unwrap().len(), 1);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9_000}});
    client.send(&cancel).await;
    // Then it waits no more: for several times the interval of progress nothing comes.
    let quiet = Duration::from_secs(5);
    let begin = Instant::now();
    while let Some(message) = client.next_message(quiet).await {
        assert!(begin.elapsed() < Duration::from_mins(1), "it still waits: {message}");
    }
    // The server answers others meanwhile, and a repeated call finds the object.
    let arguments = json!({"namespace": namespace, "domain": "none", "localPart": "x", "waitSeconds": 0});
    assert_eq!(client.ok("create_mailbox", arguments).await["change"], "Unchanged");
}

#[tokio::test]
async fn the_server_may_impersonate_and_review_tokens_and_nothing_else() {
    let world = World::new(&["least"]).await;
    let kubeconfig = world.server_kubeconfig().await.display().to_string();
    let may = async |args: &[&str]| {
        let all = [&["--kubeconfig", &kubeconfig, "auth", "can-i"], args].concat();
        world.kubectl(&all).await.trim().starts_with("yes")
    };
    assert!(may(&["create", "tokenreviews.authentication.k8s.io"]).await);
    assert!(may(&["impersonate", "serviceaccounts", "-n", &world.namespaces[0]]).await);
    for args in [
        &["impersonate", "serviceaccounts", "-n", "kube-system"][..],
        &["impersonate", "users"],
        &["impersonate", "groups"],
        &["impersonate", "groups/system:masters"],
        &["get", "secrets", "-n", &world.namespaces[0]],
        &["list", "secrets", "--all-namespaces"],
        &["create", "serviceaccounts/token", "-n", &world.namespaces[0]],
        &["create", "pods", "-n", &world.namespaces[0]],
    ] {
        assert!(!may(args).await, "{args:?}");
    }
    for resource in RESOURCES {
        for verb in ["get", "list", "watch", "create", "patch", "update", "delete"] {
            let resource = format!("{resource}.email.askrobots.com");
            assert!(!may(&[verb, &resource, "-n", &world.namespaces[0]]).await, "{verb} {resource}");
        }
    }
}

#[tokio::test]
async fn a_hundred_sessions_are_served_and_a_session_is_its_callers() {
    let mut world = World::new(&["sessions"]).await;
    let url = world.serve(&[]).await;
    let (one, two) = (world.agent("one").await, world.agent("two").await);
    let (token, other) = (world.token(&one, AUDIENCE).await, world.token(&two, AUDIENCE).await);
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::http(&url, &token, (Version::Old, Person::Absent), &world.seen).await);
    }
    let namespace = world.namespaces[0].clone();
    for client in &mut clients {
        client.ok("list_domains", json!({"namespace": namespace})).await;
    }
    let mut ids: Vec<_> = clients.iter().map(|client| client.session().unwrap()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    let kib = world.server().rss_kib().unwrap();
    println!("memory with 100 sessions: {kib} KiB");
    // Another caller does not reach them.
    let http = reqwest::Client::new();
    for (method, token, status) in
        [("POST", &other, 404), ("GET", &other, 404), ("DELETE", &other, 404), ("POST", &token, 200)]
    {
        let request = http
            .request(method.parse().unwrap(), &url)
            .bearer_auth(token)
            .header("Mcp-Session-Id", &ids[0])
            .header("MCP-Protocol-Version", "2025-11-25")
            .header("Accept", "application/json, text/event-stream")
            .header("Content-Type", "application/json")
            .body(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string());
        assert_eq!(request.send().await.unwrap().status(), status, "{method}");
    }
}

/// The kubeconfig that the commands of the page make.
async fn restricted(world: &World, page: &str) -> std::path::PathBuf {
    let (namespace, path) = (&world.namespaces[0], world.plane.folder().path().join("agent.kubeconfig"));
    let block = page.split("kubectl config view --minify --flatten > agent.kubeconfig\n").nth(1).unwrap();
    let view = world.kubectl(&["config", "view", "--minify", "--flatten"]).await;
    std::fs::write(&path, view).unwrap();
    let file = path.display().to_string();
    for line in block.split("```").next().unwrap().lines() {
        let (line, token) = match line.split_once(" \"$(kubectl ") {
            Some((line, asked)) => {
                let asked = asked.trim_end_matches(")\"").replace("team-a", namespace);
                let token = world.kubectl(&asked.split(' ').collect::<Vec<_>>()).await;
                (line, Some(token.trim().to_owned()))
            }
            None => (line, None),
        };
        let line = line.replace("team-a", namespace).replace("agent.kubeconfig", &file);
        let mut args: Vec<&str> = line.split(' ').skip(1).collect();
        args.extend(token.as_deref());
        let said = world.kubectl(&args).await;
        assert!(!said.contains("error"), "{line}: {said}");
    }
    path
}

#[tokio::test]
async fn the_page_has_the_example_and_the_api_server_takes_it() {
    let world = World::new(&["example"]).await;
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (page, example) = (read("docs/mcp.md"), read("examples/mcp/agent.yaml"));
    let (_, manifests) = example.split_once('\n').unwrap();
    assert!(page.contains(manifests), "docs/mcp.md differs from examples/mcp/agent.yaml");
    let namespace = &world.namespaces[0];
    world.apply(namespace, &manifests.replace("team-a", namespace)).await;
    let kubeconfig = restricted(&world, &page).await;
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let admin: Value = serde_yaml::from_str(&std::fs::read_to_string(world.plane.admin_kubeconfig()).unwrap()).unwrap();
    assert!(!text.contains(admin["users"][0]["user"]["token"].as_str().unwrap()), "only the agent's token is in it");
    let option = format!("--kubeconfig={}", kubeconfig.display());
    let args = ["--allow-writes", option.as_str()];
    let mut client = Client::stdio(std::path::Path::new(""), &args, (Version::New, Person::Absent), &world.seen).await;
    client.ok("list_domains", json!({"namespace": namespace})).await;
    let mailbox = json!({"namespace": namespace, "domain": "d", "localPart": "x", "waitSeconds": 0});
    assert_eq!(client.ok("create_mailbox", mailbox).await["change"], "Created");
    let domain = json!({"namespace": namespace, "domain": "example.test", "waitSeconds": 0});
    assert_eq!(client.fails("create_domain", domain).await["error"], "Forbidden");
    // Every tool is on the page.
    let mut tools = names(&mut client).await;
    tools.retain(|tool| !page.contains(&format!("`{tool}`")));
    assert_eq!(tools, Vec::<String>::new());
}

/// The arguments with which the page starts the program: in settings of clients and in their commands.
fn started_by(page: &str) -> Vec<Vec<String>> {
    fn collect(value: &Value, found: &mut Vec<Vec<String>>) {
        match value {
            Value::Object(map) if map.contains_key("command") => {
                assert_eq!(map["command"], "mailcow-operator");
                let args = map["args"].as_array().unwrap().iter();
                found.push(args.map(|arg| arg.as_str().unwrap().to_owned()).collect());
            }
            Value::Object(map) => map.values().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for block in page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let value: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        let urls = value.to_string().matches("\"url\":\"http://localhost:8082/mcp\"").count();
        let before = found.len();
        collect(&value, &mut found);
        assert!(urls + found.len() > before, "it starts nothing and names no server: {block}");
    }
    for line in page.lines().filter(|line| line.contains(" mcp add ") && !line.contains("http://")) {
        let (_, args) = line.split_once("mailcow-operator ").unwrap();
        found.push(args.split(' ').map(ToOwned::to_owned).collect());
    }
    found
}

#[tokio::test]
async fn the_settings_on_the_page_start_the_server() {
    let world = World::new(&["settings"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mcp.md")).unwrap();
    let all = started_by(&page);
    assert!(all.len() >= 5, "{all:?}");
    for args in all {
        assert_eq!(args[0], "mcp", "{args:?}");
        let args: Vec<&str> =
            args[1..].iter().map(|arg| if arg == "mail" { namespace.as_str() } else { arg.as_str() }).collect();
        let mut client = world.stdio(&account, &args, Version::Old, Person::Absent).await;
        assert_eq!(names(&mut client).await.len(), 8, "{args:?}");
    }
}
