//! Reads the recordings.

use std::path::Path;

use serde_json::Value;

/// One topic: its file's name without the ending, and its lines in order.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

/// One recorded exchange.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) request: Value,
    pub(crate) response: Value,
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
        name: value["name"].as_str().expect("a name").to_owned(),
        request: value["request"].take(),
        response: value["response"].take(),
    }
}
