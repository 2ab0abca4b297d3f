//! Lines of which only sizes were recorded: how many bytes and objects an answer, or several, had, and how
//! long they took.

use std::net::SocketAddr;

use mailcow_simulator::{CostModel, Simulator};
use serde_json::{Value, json};

use crate::client::{self, Received};
use crate::recording::{Line, Topic};

/// Whether a line holds sizes instead of an answer.
pub(crate) fn is_measured(line: &Line) -> bool {
    line.response.get("seconds").is_some()
}

/// How far the costs that were put together from all measurements may be from a single one.
const FACTOR: f64 = 1.35;

/// What differs in size or in cost. A request may stand for many: a range of names in the path, or all pages
/// of a list.
pub(crate) async fn difference(topic: &Topic, line: &Line, simulator: &Simulator) -> Option<String> {
    let to = simulator.address();
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
        cost_difference(line, &answers, simulator)
    }
}

/// Whether the cost model is far from what was measured.
fn cost_difference(line: &Line, answers: &[Received], simulator: &Simulator) -> Option<String> {
    let seconds = line.response["seconds"].as_array().and_then(|all| all.first());
    let measured = line.response["median_seconds"].as_f64().or_else(|| seconds?.as_f64())?;
    let path = line.request["path"].as_str().expect("a path").split('?').next().unwrap_or_default();
    let pieces: Vec<String> = path.split('/').skip(3).map(|piece| piece.replace("{0..199}", "7")).collect();
    let cost = CostModel::measured();
    let of_one = |answer: &Received| simulator.inspect(|state| cost.read(state, &pieces, objects(answer)));
    let ours: f64 = answers.iter().map(|answer| of_one(answer).as_secs_f64()).sum();
    let is_near = (measured / FACTOR..=measured * FACTOR).contains(&ours);
    (!is_near).then(|| format!("costs {ours:.3} s instead of {measured:.3} s"))
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
