//! One request, taken apart.

use std::net::IpAddr;

use crate::php;

/// A request to the API.
pub(crate) struct Call {
    pub(crate) method: String,
    /// What `/api/v1/` is followed by: action, category, object and more.
    pub(crate) path: Vec<String>,
    /// What nginx makes of the path before PHP sees it.
    pub(crate) place: Place,
    pub(crate) query: String,
    pub(crate) key: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) content_type: String,
    pub(crate) fetch_dest: Option<String>,
    pub(crate) from: IpAddr,
    pub(crate) body: String,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The API.
    Api,
    /// Some other place, where nothing is.
    Elsewhere,
    /// Nowhere: nginx cannot read it.
    Unreadable,
}

impl Call {
    /// Takes a request apart.
    pub(crate) fn new(parts: &hyper::http::request::Parts, body: String, from: IpAddr) -> Self {
        let header = |name: &str| parts.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let cookie = header("cookie").and_then(|cookies| session_of(&cookies));
        let query = parts.uri.query().unwrap_or_default();
        let (place, route) = place(parts.uri.path());
        Self {
            method: parts.method.as_str().to_owned(),
            path: pieces(&route, query),
            place,
            query: query.to_owned(),
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

/// Reads a path as nginx does: it is decoded, then empty and dot segments are resolved. The text behind
/// `/api/v1/` is handed to PHP as the parameter `query`, without being encoded again.
fn place(path: &str) -> (Place, Vec<u8>) {
    const API: &[u8] = b"/api/v1/";
    match php::strictly_percent_decoded(path).and_then(|decoded| resolved(&decoded)) {
        None => (Place::Unreadable, Vec::new()),
        Some(path) => match path.strip_prefix(API) {
            Some(route) => (Place::Api, route.to_vec()),
            None => (Place::Elsewhere, Vec::new()),
        },
    }
}

/// A path without empty and dot segments; `None` when it leads above the root.
fn resolved(path: &[u8]) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').skip(1).collect();
    for segment in &segments {
        match *segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()?),
            segment => kept.push(segment),
        }
    }
    let is_folder = segments.last().is_none_or(|last| matches!(*last, b"" | b"." | b".."));
    let mut resolved = [b"/".as_slice(), &kept.join(&b'/')].concat();
    if is_folder && !kept.is_empty() {
        resolved.push(b'/');
    }
    Some(resolved)
}

/// The pieces of the route as PHP sees them: it decodes the parameter once more, an `&` in it begins the
/// next one, and a later parameter of the same name wins.
fn pieces(route: &[u8], query: &str) -> Vec<String> {
    let parameters = [b"query=", route, b"&", query.as_bytes()].concat();
    let value = fields(&parameters).rfind(|(name, _)| *name == b"query").map_or(b"".as_slice(), |(_, value)| value);
    let mut pieces: Vec<String> = php::form_decoded(value).split('/').map(str::to_owned).collect();
    while pieces.last().is_some_and(String::is_empty) {
        pieces.pop();
    }
    pieces
}

/// The parameters of a form, not decoded.
fn fields(form: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
    form.split(|byte| *byte == b'&').filter_map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=')?;
        Some((&pair[..end], &pair[end + 1..]))
    })
}

fn field(form: &str, name: &str) -> Option<String> {
    let value = fields(form.as_bytes()).rfind(|(key, _)| *key == name.as_bytes())?.1;
    Some(php::form_decoded(value))
}

fn session_of(cookies: &str) -> Option<String> {
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, _)| *name == "MCSESSID").map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(path: &str, query: &str, wanted: &[&str]) {
        let (place, route) = place(path);
        assert_eq!((place, pieces(&route, query)), (Place::Api, wanted.iter().map(|p| (*p).to_owned()).collect()));
    }

    #[test]
    fn a_path_is_decoded_twice() {
        reads("/api/v1/get/mailbox/a%252Bb%2540x.test", "", &["get", "mailbox", "a+b@x.test"]);
        reads("/api/v1/get/mailbox/a%2Bb%40x.test", "", &["get", "mailbox", "a b@x.test"]);
        reads("/api/v1/get/mailbox/a%26b%40x.test", "", &["get", "mailbox", "a"]);
        reads("/api/v1/get/mailbox/a%2525b", "", &["get", "mailbox", "a%b"]);
        reads("/api/v1/get/mailbox/a%25252Fb", "", &["get", "mailbox", "a%2Fb"]);
        reads("/api/v1/get/mailbox/a%252Fb", "", &["get", "mailbox", "a", "b"]);
    }

    #[test]
    fn segments_are_resolved_and_the_last_query_wins() {
        reads("/api/v1//get/./domain/x/../y.test/", "", &["get", "domain", "y.test"]);
        reads("/api/v1/get/mailbox/all", "query=domain/all", &["domain", "all"]);
    }

    #[test]
    fn what_nginx_cannot_read_is_told_apart() {
        assert_eq!(place("/api/v1/get/mailbox/a%b@x.test").0, Place::Unreadable);
        assert_eq!(place("/../x").0, Place::Unreadable);
        assert_eq!(place("/api/v1").0, Place::Elsewhere);
    }
}
