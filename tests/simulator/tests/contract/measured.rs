//! Lines of which only sizes were recorded: how many bytes and objects an answer, or several, had.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{self, Received};
use crate::recording::{Line, Topic};

/// Whether a line holds sizes instead of an answer.
pub(crate) fn is_measured(line: &Line) -> bool {
    line.response.get("seconds").is_some()
}

/// What differs in size. A request may stand for many: a range of names in the path, or all pages of a list.
pub(crate) async fn difference(topic: &Topic, line: &Line, to: SocketAddr) -> Option<String> {
    let answers = match (line.request["path"].as_str(), line.request["body"].as_str()) {
        (Some(path), _) if path.contains('{') => names(path, &line.request, to).await,
        (_, Some(_)) => pages(topic, to).await,
        _ => vec![client::send(to, &line.request, "").await],
    };
    let bytes: usize = answers.iter().map(|answer| answer.body.len()).sum();
    let objects: usize = answers.iter().map(objects).sum();
    let wrong = answers.iter().find(|answer| answer.status != 200);
    let wanted = |key: &str| line.response[key].as_u64().and_then(|n| usize::try_from(n).ok());
    if let Some(wrong) = wrong {
        Some(format!("status {}", wrong.status))
    } else if wanted("objects") != Some(objects) {
        Some(format!("{objects} objects instead of {}", line.response["objects"]))
    } else if wanted("bytes") != Some(bytes) {
        Some(format!("{bytes} bytes instead of {}", line.response["bytes"]))
    } else {
        None
    }
}

/// How many objects an answer has: of a list, of a page, or one.
fn objects(answer: &Received) -> usize {
    match serde_json::from_str(&answer.body) {
        Ok(Value::Array(list)) => list.len(),
        Ok(Value::Object(object)) => object.get("data").and_then(Value::as_array).map_or(1, Vec::len),
        _ => 0,
    }
}

/// The answers for `…{0..199}…`.
async fn names(path: &str, request: &Value, to: SocketAddr) -> Vec<Received> {
    let (before, rest) = path.split_once('{').expect("a range");
    let (range, after) = rest.split_once('}').expect("a range");
    let (first, last) = range.split_once("..").expect("a range");
    let (first, last): (u32, u32) = (first.parse().expect("a number"), last.parse().expect("a number"));
    let mut answers = Vec::new();
    for n in first..=last {
        let mut request = request.clone();
        request["path"] = Value::String(format!("{before}{n}{after}"));
        answers.push(client::send(to, &request, "").await);
    }
    answers
}

/// All pages of 200, asked for as the other lines of the topic ask for pages.
async fn pages(topic: &Topic, to: SocketAddr) -> Vec<Received> {
    let page = topic.lines.iter().find(|line| line.name == "search_page_100").expect("a page");
    let mut answers: Vec<Received> = Vec::new();
    loop {
        let mut request = page.request.clone();
        request["body"]["start"] = json!(answers.len() * 200);
        request["body"]["length"] = json!(200);
        let answer = client::send(to, &request, "").await;
        let is_last = objects(&answer) < 200;
        answers.push(answer);
        if is_last {
            return answers;
        }
    }
}
