//! Identities that no API server should answer, from one that does: names and groups that smuggle headers, and users that
//! are never impersonated. It also sees what the server sends on.

use std::sync::{Arc, Mutex};

use ground::{Operator, free_port};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{AUDIENCE, LIMIT, World, binary};

/// An API server that says of every token what it was told, and keeps the heads of all other requests.
#[derive(Clone, Default)]
struct Forger {
    user: Arc<Mutex<Value>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Forger {
    async fn start() -> (Self, u16) {
        let forger = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = forger.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let forger = own.clone();
                tokio::spawn(async move { forger.answer(stream).await });
            }
        });
        (forger, port)
    }

    /// One request of one connection.
    async fn answer(&self, mut stream: TcpStream) {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        let (head, length) = loop {
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            read.extend(&buffer[..count]);
            let text = String::from_utf8_lossy(&read).into_owned();
            let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            break (head.to_owned(), head.len() + 4 + length.unwrap_or(0));
        };
        while read.len() < length {
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            read.extend(&buffer[..count]);
        }
        let body = if head.contains("/tokenreviews") {
            let status = json!({"authenticated": true, "audiences": [AUDIENCE], "user": *self.user.lock().unwrap()});
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {}, "status": status})
        } else {
            self.heads.lock().unwrap().push(head);
            json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailMailboxList", "metadata": {}, "items": []})
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes()).await;
    }

    /// The impersonation headers of the requests since the last time.
    fn impersonated(&self) -> Vec<String> {
        let heads = std::mem::take(&mut *self.heads.lock().unwrap());
        let lines = heads.iter().flat_map(|head| head.lines()).map(ToOwned::to_owned);
        lines.filter(|line| line.to_lowercase().starts_with("impersonate-")).collect()
    }
}

/// Users, and groups of theirs, that the server must not act as.
fn never_served() -> Vec<(String, Vec<String>)> {
    let users = [
        "system:admin",
        "system:masters",
        "system:anonymous",
        "system:node:worker-1",
        "system:kube-controller-manager",
        "system:serviceaccount:a",
        "system:serviceaccount::b",
        "system:serviceaccount:a:b:c",
        "system:serviceaccount:a:b\r\nImpersonate-Group: system:masters",
        "ada\r\nImpersonate-Group: system:masters",
        "ada\nImpersonate-Group: system:masters",
        "ada\r\n\r\nGET /api/v1/secrets HTTP/1.1",
        "ada\0",
        "ada\t",
        " ada",
        "ada ",
        "ad\u{e4}",
        "ada\u{202e}",
        "",
    ];
    let groups = [
        "system:masters",
        " system:masters",
        "system:masters ",
        "\tsystem:masters",
        "system:nodes",
        "system:serviceaccounts:kube-system",
        "system:bootstrappers:x",
        "team\r\nImpersonate-User: system:admin",
        "team\nImpersonate-Group: system:masters",
        "team\r\nImpersonate-Uid: 0",
        "team\0",
        "te\u{e4}m",
        "",
    ];
    let mut all: Vec<_> = users.map(|user| (user.to_owned(), vec![])).into();
    all.push(("a".repeat(600), vec![]));
    all.extend(groups.map(|group| ("ada".to_owned(), vec!["team".to_owned(), group.to_owned()])));
    all.push(("ada".to_owned(), (0..300).map(|i| format!("team-{i}")).collect()));
    let of_account = |group: &str| ("system:serviceaccount:a:b".to_owned(), vec![group.to_owned()]);
    all.extend([of_account("system:serviceaccounts:c"), of_account("system:masters")]);
    all
}

/// Calls a tool with a token and further headers.
async fn listed(url: &str, token: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_mailboxes",
        "arguments": {"namespace": "mail"}, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"}, "io.modelcontextprotocol/clientCapabilities": {}}}});
    let mut request = reqwest::Client::new().post(url).bearer_auth(token).body(call.to_string());
    for (name, value) in [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "list_mailboxes"),
    ]
    .iter()
    .chain(headers)
    {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Tries all of them; gives how many.
pub(crate) async fn identities(world: &World) -> usize {
    let (forger, port) = Forger::start().await;
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "x", "user": {"token": "the-servers-own-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]});
    let kubeconfig = world.plane.folder().write("forged.kubeconfig", config.to_string()).unwrap().display().to_string();
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let server =
        Operator::start(binary(), &["mcp", "--listen", &listen], &[("KUBECONFIG", kubeconfig.as_str())]).unwrap();
    server.logged("serving tools for agents", LIMIT).await.unwrap();
    let url = format!("http://{listen}/mcp");
    let mut count = 0;
    // Each has a token of its own: the server keeps a valid one for seconds.
    for (user, groups) in never_served() {
        *forger.user.lock().unwrap() = json!({"username": user, "groups": groups});
        let (status, text) = listed(&url, &format!("token-{count}"), &[]).await;
        assert!([401, 403].contains(&status), "{user:?} {groups:?}: {status} {text}");
        assert_eq!(forger.heads.lock().unwrap().len(), 0, "{user:?} {groups:?} reached the API");
        count += 1;
    }
    // Who is served is exactly who the token is of: no header of the request, no uid and no extra goes along.
    let smuggled = [
        ("impersonate-user", "system:admin"),
        ("impersonate-group", "system:masters"),
        ("impersonate-uid", "0"),
        ("impersonate-extra-scopes", "all"),
    ];
    for (user, groups) in [
        ("ada", &["team", "b, system:masters"][..]),
        ("ada, system:admin", &[]),
        (
            "system:serviceaccount:team-a:agent",
            &["system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"],
        ),
    ] {
        *forger.user.lock().unwrap() =
            json!({"username": user, "uid": "0", "groups": groups, "extra": {"scopes": ["all"]}});
        let token = format!("token-{count}");
        let (status, text) = listed(&url, &token, &smuggled).await;
        assert!(status == 200 && text.contains("items"), "{user} {status} {text}");
        let heads = forger.heads.lock().unwrap().join("\n");
        assert!(heads.contains("the-servers-own-token") && !heads.contains(&token), "{heads}");
        let mut expected = vec![format!("impersonate-user: {user}")];
        let given = |group: &&&str| !group.starts_with("system:");
        expected.extend(groups.iter().filter(given).map(|group| format!("impersonate-group: {group}")));
        assert_eq!(forger.impersonated(), expected, "{user}");
        count += 1;
    }
    assert!(!server.logs().contains("the-servers-own-token"));
    count
}
