//! Reads the recordings.

use std::path::Path;

use serde_json::Value;

/// One topic: its file's name without the ending, and its lines in order.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

/// One line of a recording.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) request: Value,
    pub(crate) response: Value,
}

/// What a line is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A request and its answer.
    Exchange,
    /// A change by other ways than the API: an SQL statement, or a change around the server in words. It has
    /// no answer.
    Change,
    /// What stood in the database: the statement and its rows.
    Look { sql: String, rows: Vec<Value> },
}

/// All topics of a folder by name.
pub(crate) fn read_all(folder: &Path) -> Vec<Topic> {
    let mut topics: Vec<Topic> = std::fs::read_dir(folder)
        .expect("the folder of recordings can be read")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .map(|path| read(&path))
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics
}

fn read(path: &Path) -> Topic {
    let text = std::fs::read_to_string(path).expect("a recording can be read");
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    Topic { name, lines: text.lines().filter(|line| !line.is_empty()).map(parse).collect() }
}

fn parse(line: &str) -> Line {
    let mut value: Value = serde_json::from_str(line).expect("a line of JSON");
    Line {
        name: text(&value, "name"),
        kind: kind(&value),
        request: value["request"].take(),
        response: value["response"].take(),
    }
}

fn kind(line: &Value) -> Kind {
    match (line.get("rows"), line.get("request")) {
        (Some(rows), _) => {
            let rows = rows.as_array().expect("a list of rows").clone();
            Kind::Look { sql: text(line, "sql"), rows }
        }
        (None, Some(_)) => Kind::Exchange,
        (None, None) => Kind::Change,
    }
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_default().to_owned()
}
