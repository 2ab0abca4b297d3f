//! A small MCP client that can also break every rule: over stdio and HTTP, for both protocol versions.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Far more than any call takes.
const LIMIT: Duration = Duration::from_mins(3);

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 2025-11-25: with `initialize`.
    Old,
    /// 2026-07-28: without.
    New,
}

impl Version {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Old, Self::New];

    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "2025-11-25",
            Self::New => "2026-07-28",
        }
    }
}

/// The person at the client.
#[derive(Clone, Debug)]
pub(crate) enum Person {
    /// The client can't ask anybody.
    Absent,
    /// Types this.
    Types(String),
    /// Answers with exactly this.
    Answers(Value),
}

impl Person {
    fn answer(&self) -> Value {
        match self {
            Self::Absent => json!({"action": "cancel"}),
            Self::Types(text) => json!({"action": "accept", "content": {"confirm": text}}),
            Self::Answers(value) => value.clone(),
        }
    }
}

/// Everything that a server sent to any client of a test, for the search for secrets.
pub(crate) type Seen = Arc<Mutex<String>>;

/// A client.
pub(crate) struct Client {
    transport: Transport,
    /// The version it speaks.
    pub(crate) version: Version,
    /// Whoever confirms.
    pub(crate) person: Person,
    /// What the person was asked.
    pub(crate) questions: Vec<Value>,
    /// Whether it has the extension for tasks. Only at 2026-07-28, where each request names what the client can do.
    pub(crate) has_tasks: bool,
    /// What answers must fit, by tool; read at the first answer.
    schemas: Option<Map<String, Value>>,
    id: u64,
    seen: Seen,
}

enum Transport {
    Stdio(Box<Process>),
    Http { http: reqwest::Client, url: String, headers: Vec<(String, String)>, session: Option<String> },
}

struct Process {
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

/// A result, or the error of the protocol.
pub(crate) type Reply = Result<Value, Value>;

impl Client {
    /// Starts the server on its standard input and output.
    pub(crate) async fn stdio(
        kubeconfig: &Path,
        args: &[&str],
        (version, person): (Version, Person),
        seen: &Seen,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mailcow-operator"))
            .arg("mcp")
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut logs, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), seen.clone());
        tokio::spawn(async move {
            while let Ok(Some(line)) = logs.next_line().await {
                kept.lock().unwrap().extend(["log: ", &line, "\n"]);
            }
        });
        let process = Process { input, lines, _child: child };
        Self::begun(Transport::Stdio(Box::new(process)), version, person, seen).await
    }

    /// Connects to a server. `headers` go with each request.
    pub(crate) async fn http(url: &str, token: &str, (version, person): (Version, Person), seen: &Seen) -> Self {
        let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
        let http = reqwest::Client::new();
        let transport = Transport::Http { http, url: url.to_owned(), headers, session: None };
        Self::begun(transport, version, person, seen).await
    }

    async fn begun(transport: Transport, version: Version, person: Person, seen: &Seen) -> Self {
        let mut client = Self {
            transport,
            version,
            person,
            questions: vec![],
            has_tasks: false,
            schemas: None,
            id: 0,
            seen: seen.clone(),
        };
        if version == Version::Old {
            let params = json!({"protocolVersion": version.as_str(), "capabilities": client.capabilities(),
                "clientInfo": {"name": "test", "version": "1"}});
            let result = client.request("initialize", params).await.unwrap();
            assert_eq!(result["protocolVersion"], version.as_str(), "{result}");
            client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        } else {
            let found = client.request("server/discover", json!({})).await.unwrap();
            assert!(found["supportedVersions"].as_array().unwrap().contains(&json!(version.as_str())), "{found}");
        }
        client
    }

    fn capabilities(&self) -> Value {
        let mut can = if matches!(self.person, Person::Absent) { json!({}) } else { json!({"elicitation": {}}) };
        if self.has_tasks {
            can["extensions"] = json!({"io.modelcontextprotocol/tasks": {}});
        }
        can
    }

    /// Calls a tool and answers questions as the person does.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Reply {
        let mut params = json!({"name": tool, "arguments": arguments});
        for _ in 0..3 {
            let result = self.request("tools/call", params.clone()).await?;
            if result["resultType"] != "input_required" {
                return Ok(result);
            }
            let requests = result["inputRequests"].as_object().unwrap();
            self.questions.extend(requests.values().cloned());
            let responses: Map<String, Value> =
                requests.keys().map(|key| (key.clone(), self.person.answer())).collect();
            params["inputResponses"] = Value::Object(responses);
            params["requestState"] = result["requestState"].clone();
        }
        panic!("the server asks again and again");
    }

    /// The structured answer of a tool that must succeed.
    pub(crate) async fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        let result =
            self.call(tool, arguments.clone()).await.unwrap_or_else(|error| panic!("{tool} {arguments}: {error}"));
        assert_ne!(result["isError"], true, "{tool} {arguments}: {result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "the text is the same as the structure");
        let schema = self.output_schema(tool).await;
        let misfit = misfit(&text, &schema, &schema);
        assert_eq!(misfit, None, "{tool} {arguments}: the answer does not fit its schema: {text}");
        text
    }

    /// The schema of a tool's answers.
    async fn output_schema(&mut self, tool: &str) -> Value {
        if self.schemas.is_none() {
            let list = self.request("tools/list", json!({})).await.unwrap();
            let tools = list["tools"].as_array().unwrap().iter();
            let of = |tool: &Value| (tool["name"].as_str().unwrap().to_owned(), tool["outputSchema"].clone());
            self.schemas = Some(tools.map(of).collect());
        }
        self.schemas.as_ref().and_then(|schemas| schemas.get(tool)).unwrap().clone()
    }

    /// The error of a tool that must fail, as a tool's error.
    pub(crate) async fn fails(&mut self, tool: &str, arguments: Value) -> Value {
        let result =
            self.call(tool, arguments.clone()).await.unwrap_or_else(|error| panic!("{tool} {arguments}: {error}"));
        error_of(&result).unwrap_or_else(|| panic!("{tool} {arguments} did not fail: {result}"))
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Reply {
        self.id += 1;
        let mut params = params;
        if self.version == Version::New {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(self.version.as_str());
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "1"});
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.capabilities();
        }
        let message = json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params});
        let reply = tokio::time::timeout(LIMIT, self.exchange(&message)).await.expect("a reply in time");
        match reply.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(reply["result"].clone()),
        }
    }

    /// Sends a message that has no reply.
    pub(crate) async fn send(&mut self, message: &Value) {
        match &mut self.transport {
            Transport::Stdio(process) => process.write(message).await,
            Transport::Http { .. } => drop(self.post(message).await),
        }
    }

    /// The next message of a server on standard output; `None` if none comes within this time.
    pub(crate) async fn next_message(&mut self, within: Duration) -> Option<Value> {
        let Transport::Stdio(process) = &mut self.transport else { unreachable!("over stdio") };
        let line = tokio::time::timeout(within, process.lines.next_line()).await.ok()?;
        let line = line.unwrap().expect("the server runs");
        self.seen.lock().unwrap().extend([&line, "\n"]);
        Some(serde_json::from_str(&line).unwrap())
    }

    async fn exchange(&mut self, message: &Value) -> Value {
        if let Transport::Stdio(process) = &mut self.transport {
            process.write(message).await;
            loop {
                let Transport::Stdio(process) = &mut self.transport else { unreachable!() };
                let line = process.lines.next_line().await.unwrap().expect("the server runs");
                self.seen.lock().unwrap().extend([&line, "\n"]);
                let received: Value = serde_json::from_str(&line).unwrap();
                if let Some(answer) = self.asked(&received) {
                    self.send(&answer).await;
                } else if received["id"] == message["id"] {
                    return received;
                }
            }
        }
        let mut response = self.post(message).await;
        let (status, mut text) = (response.status(), String::new());
        let is_stream =
            response.headers().get("content-type").is_some_and(|t| t.as_bytes().starts_with(b"text/event-stream"));
        while let Some(chunk) = response.chunk().await.unwrap() {
            let chunk = String::from_utf8_lossy(&chunk).into_owned();
            self.seen.lock().unwrap().push_str(&chunk);
            text.push_str(&chunk);
            while is_stream
                && let Some((event, rest)) = text.split_once("\n\n").map(|(e, r)| (e.to_owned(), r.to_owned()))
            {
                text = rest;
                let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
                let Ok(received) = serde_json::from_str::<Value>(&data) else { continue };
                if let Some(answer) = self.asked(&received) {
                    drop(self.post(&answer).await);
                } else if received["id"] == message["id"] {
                    return received;
                }
            }
        }
        serde_json::from_str(&text).unwrap_or_else(|_| json!({"error": {"http": status.as_u16(), "message": text}}))
    }

    /// The answer to a question of the server; `None` if the message is none.
    fn asked(&mut self, received: &Value) -> Option<Value> {
        if received["method"] != "elicitation/create" {
            return None;
        }
        self.questions.push(received.clone());
        Some(json!({"jsonrpc": "2.0", "id": received["id"], "result": self.person.answer()}))
    }

    async fn post(&mut self, message: &Value) -> reqwest::Response {
        let Transport::Http { http, url, headers, session } = &mut self.transport else { unreachable!("over HTTP") };
        let mut request = http
            .post(url.as_str())
            .header("Accept", "application/json, text/event-stream")
            .header("Content-Type", "application/json")
            .body(message.to_string());
        if message["method"] != "initialize" {
            request = request.header("MCP-Protocol-Version", self.version.as_str());
        }
        if self.version == Version::New
            && let Some(method) = message["method"].as_str()
        {
            request = request.header("Mcp-Method", method);
            let name = ["name", "uri", "taskId"].iter().find_map(|key| message["params"][key].as_str());
            if let Some(name) = name.filter(|name| name.bytes().all(|b| (b' '..=b'~').contains(&b))) {
                request = request.header("Mcp-Name", name);
            }
        }
        for (name, value) in headers.iter() {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header("Mcp-Session-Id", session.as_str());
        }
        let response = request.send().await.unwrap();
        if let Some(id) = response.headers().get("mcp-session-id") {
            *session = Some(id.to_str().unwrap().to_owned());
        }
        response
    }

    /// The session over HTTP.
    pub(crate) fn session(&self) -> Option<String> {
        match &self.transport {
            Transport::Http { session, .. } => session.clone(),
            Transport::Stdio(_) => None,
        }
    }

    /// The token over HTTP.
    pub(crate) fn token(&self) -> String {
        let Transport::Http { headers, .. } = &self.transport else { unreachable!("over HTTP") };
        headers[0].1.trim_start_matches("Bearer ").to_owned()
    }

    /// Another header for each further request.
    pub(crate) fn add_header(&mut self, name: &str, value: &str) {
        if let Transport::Http { headers, .. } = &mut self.transport {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
}

impl Process {
    async fn write(&mut self, message: &Value) {
        self.input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }
}

/// Where a value does not fit a schema, as far as our schemas go; `None` if it fits.
fn misfit(value: &Value, schema: &Value, root: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return misfit(value, &root["$defs"][name.strip_prefix("#/$defs/").unwrap()], root);
    }
    let is_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some(other) => panic!("the type {other}"),
        None => true,
    };
    if !is_type || schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        return Some(format!("{value} for {schema}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            return Some(format!("{name} is missing in {value}"));
        }
    }
    let fields = value.as_object().into_iter().flatten();
    let of_fields = fields.filter_map(|(name, field)| misfit(field, schema["properties"].get(name)?, root));
    let items = value.as_array().into_iter().flatten();
    of_fields.chain(items.filter_map(|item| misfit(item, schema.get("items")?, root))).next()
}

/// The error that a result of a tool has.
pub(crate) fn error_of(result: &Value) -> Option<Value> {
    (result["isError"] == true).then(|| serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap())
}
