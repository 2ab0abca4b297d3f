//! One request, taken apart.

use std::net::IpAddr;

use crate::php;

/// A request to the API.
pub(crate) struct Call {
    pub(crate) method: String,
    /// The path behind `/api/v1/`: action, category, object and more. Empty pieces are gone.
    pub(crate) path: Vec<String>,
    /// Whether the path lies under `/api/v1`.
    pub(crate) is_api: bool,
    pub(crate) query: String,
    pub(crate) key: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) content_type: String,
    pub(crate) fetch_dest: Option<String>,
    pub(crate) from: IpAddr,
    pub(crate) body: String,
}

impl Call {
    /// Takes a request apart.
    pub(crate) fn new(parts: &hyper::http::request::Parts, body: String, from: IpAddr) -> Self {
        let header = |name: &str| parts.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let pieces: Vec<&str> = parts.uri.path().split('/').filter(|piece| !piece.is_empty()).collect();
        let is_api = pieces.starts_with(&["api", "v1"]);
        let cookie = header("cookie").and_then(|cookies| session_of(&cookies));
        Self {
            method: parts.method.as_str().to_owned(),
            path: pieces.iter().skip(2).map(|piece| php::percent_decode(piece)).collect(),
            is_api,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            key: header("x-api-key"),
            cookie,
            content_type: header("content-type").unwrap_or_default(),
            fetch_dest: header("sec-fetch-dest"),
            from,
            body,
        }
    }

    /// A piece of the path, `""` when there is none.
    pub(crate) fn piece(&self, n: usize) -> &str {
        self.path.get(n).map_or("", String::as_str)
    }

    /// `get`, `add`, `edit`, `delete` or `search`.
    pub(crate) fn action(&self) -> &str {
        self.piece(0)
    }

    /// The path behind `/api/v1/` in one piece.
    pub(crate) fn route(&self) -> String {
        self.path.join("/")
    }

    /// Whether the body is to be read as JSON: Mailcow looks for exactly this text.
    pub(crate) fn is_json(&self) -> bool {
        self.content_type.contains("application/json")
    }

    /// A value of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        field(&self.query, name)
    }

    /// A field of a form.
    pub(crate) fn form_field(&self, name: &str) -> Option<String> {
        self.content_type.contains("application/x-www-form-urlencoded").then(|| field(&self.body, name)).flatten()
    }
}

fn field(form: &str, name: &str) -> Option<String> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
    Some(php::percent_decode(&value.replace('+', " ")))
}

fn session_of(cookies: &str) -> Option<String> {
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, _)| *name == "MCSESSID").map(|(_, value)| value.to_owned())
}
