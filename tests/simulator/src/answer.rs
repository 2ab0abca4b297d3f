//! The shapes of answers: a list of entries, one object, an empty body, a text of HTML.

use crate::json::{Json, obj};
use crate::json_text;

/// One entry of the answer to a write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) log: Json,
    pub(crate) msg: Json,
}

impl Entry {
    pub(crate) fn to_json(&self) -> Json {
        obj! { "type" => self.kind, "log" => &self.log, "msg" => &self.msg }
    }
}

/// An answer before it is put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) html: bool,
    pub(crate) body: String,
    /// How many objects a read shows.
    pub(crate) rows: usize,
}

/// How many objects were found: those of a list or of a page, or one.
fn rows(found: &Json) -> usize {
    match (found, found.get("data")) {
        (Json::List(list), _) | (_, Json::List(list)) => list.len(),
        (Json::Map(_), _) => 1,
        _ => 0,
    }
}

impl Reply {
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self { status, html: false, body, rows: 0 }
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self { status, html: true, body: body.to_owned(), rows: 0 }
    }

    /// 200 with nothing in it: not authenticated, or PHP broke off.
    pub(crate) fn empty() -> Self {
        Self::json(200, String::new())
    }

    /// One object `{type, msg}`.
    pub(crate) fn note(status: u16, kind: &str, msg: &str) -> Self {
        Self::json(status, json_text::compact(&obj! { "type" => kind, "msg" => msg }))
    }

    pub(crate) fn error(status: u16, msg: &str) -> Self {
        Self::note(status, "error", msg)
    }

    /// The answer to a read; nothing found is `{}`.
    pub(crate) fn read(found: &Json) -> Self {
        let body = if found.truthy() || matches!(found, Json::Int(_) | Json::Bool(_)) {
            json_text::pretty(found)
        } else {
            "{}".to_owned()
        };
        Self { rows: rows(found), ..Self::json(200, body) }
    }

    /// The same for the few routes whose empty list is `[]`.
    pub(crate) fn read_list(found: &Json) -> Self {
        Self { rows: rows(found), ..Self::json(200, json_text::pretty(found)) }
    }

    /// The answer to a write.
    pub(crate) fn entries(entries: &[Entry]) -> Self {
        if entries.is_empty() {
            return Self::note(200, "success", "Task completed");
        }
        let list = Json::List(entries.iter().map(Entry::to_json).collect());
        Self::json(200, json_text::compact(&list))
    }
}
