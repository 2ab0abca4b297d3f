//! A client that sends exactly what a recording says, from the address it says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

/// The keys of the recordings.
pub(crate) const RW_KEY: &str = "RW0001-RW0002-RW0003-RW0004-RW0005";
pub(crate) const RO_KEY: &str = "RO0001-RO0002-RO0003-RO0004-RO0005";

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The session a `Set-Cookie` opened.
    pub(crate) fn session(&self) -> Option<String> {
        let cookie = self.header("set-cookie")?.split(';').next()?;
        Some(cookie.to_owned())
    }
}

/// Sends a recorded request; `cookie` stands for a session in it.
pub(crate) async fn send(to: SocketAddr, request: &Value, cookie: &str) -> Received {
    let (headers, from) = headers(request, cookie);
    let body = match &request["body"] {
        Value::Null => String::new(),
        Value::String(raw) => raw.clone(),
        json => json.to_string(),
    };
    let method = request["method"].as_str().expect("a method");
    let path = request["path"].as_str().expect("a path");
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: mail.mailcow.test\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.extend([&name, ": ", &value, "\r\n"]);
    }
    if !request["body"].is_null() || method == "POST" {
        text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    text.push_str("\r\n");
    text.push_str(&body);
    exchange(to, from, &text).await
}

/// The headers of a request and the address it comes from.
fn headers(request: &Value, cookie: &str) -> (Vec<(String, String)>, IpAddr) {
    let mut from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut headers = vec![("X-API-Key".to_owned(), RW_KEY.to_owned())];
    if !request["body"].is_null() {
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    }
    let Value::Object(special) = &request["headers"] else { return (headers, from) };
    for (name, value) in special {
        let value = value.as_str().expect("a text");
        if name == "(source address)" {
            from = value.parse().expect("an address");
            continue;
        }
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if value.starts_with("MCSESSID=") {
            headers.push((name.clone(), cookie.to_owned()));
        } else if value != "(absent)" {
            headers.push((name.clone(), value.to_owned()));
        }
    }
    (headers, from)
}

async fn exchange(to: SocketAddr, from: IpAddr, text: &str) -> Received {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from, 0)).expect("a local address");
    let mut stream = socket.connect(to).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("the request is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> Received {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Received { status: status.parse().expect("a number"), headers, body: body.to_owned() }
}
