//! Replays a topic from a fresh server.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use mailcow_simulator::{CostModel, Options, Simulator};
use serde_json::{Value, json};

use crate::client::{self, RO_KEY, RW_KEY, Received};
use crate::compare;
use crate::exceptions;
use crate::recording::{Kind, Line, Topic};
use crate::{database, measured, setup, setup_races, setup_second};

/// What became of one line.
pub(crate) enum Outcome {
    /// A line that changes something and has no answer.
    Changed,
    Agreed,
    /// Not comparable, with the reason.
    LeftOut(String),
    /// What differs.
    Differs(String),
}

/// Replays all lines of a topic in order.
pub(crate) async fn replay(topic: &Topic) -> Vec<Outcome> {
    // Only races need the time in which a password is hashed.
    let races = ["09_quirks", "13_orphan_race"].contains(&topic.name.as_str());
    let options = Options {
        api_key: RW_KEY.to_owned(),
        read_only_key: RO_KEY.to_owned(),
        latency: races.then(|| CostModel::hash_only(Duration::from_millis(400))),
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.expect("a simulator");
    setup::start(topic, &simulator);
    setup_second::start(topic, &simulator);
    let mut session = None;
    let mut outcomes = Vec::new();
    for line in &topic.lines {
        setup::before(topic, line, &simulator);
        setup_second::before(topic, line, &simulator);
        setup_races::before(&topic.name, line, &simulator);
        outcomes.push(replay_line(topic, line, &simulator, &mut session).await);
    }
    outcomes
}

async fn replay_line(topic: &Topic, line: &Line, simulator: &Simulator, session: &mut Option<String>) -> Outcome {
    let left_out = exceptions::LEFT_OUT.iter().find(|(of, name, _)| *of == topic.name && line.name.starts_with(name));
    match (&line.kind, left_out) {
        (Kind::Exchange, _) => {}
        (Kind::Change, _) => return Outcome::Changed,
        (Kind::Look { .. }, Some((_, _, reason))) => return Outcome::LeftOut((*reason).to_owned()),
        (Kind::Look { sql, rows }, None) => return judge(database::difference(sql, rows, simulator)),
    }
    let to = simulator.address();
    if line.response.get("parallel").is_some() {
        return parallel(topic, line, to).await;
    }
    if line.request["parallel"].is_array() {
        return race(topic, line, to).await;
    }
    if !line.request["method"].is_string() {
        return Outcome::LeftOut("no request was recorded, only what it led to".to_owned());
    }
    if measured::is_measured(line) {
        return judge(measured::difference(topic, line, simulator).await);
    }
    let cookie = session_for(line, to, session).await;
    let received = client::send(to, &line.request, &cookie).await;
    if let Some((_, _, reason)) = left_out {
        return Outcome::LeftOut((*reason).to_owned());
    }
    judge(compare::difference(&topic.name, &line.name, &line.response, &received))
}

fn judge(difference: Option<String>) -> Outcome {
    difference.map_or(Outcome::Agreed, Outcome::Differs)
}

/// The session a line's cookie stands for: one for the whole topic, but for a line that needs another.
async fn session_for(line: &Line, to: SocketAddr, session: &mut Option<String>) -> String {
    if line.request["headers"].get("Cookie").is_none() {
        return String::new();
    }
    let read_only = line.name.starts_with("ro_cookie");
    if let (Some(known), false) = (session.as_ref(), read_only) {
        return known.clone();
    }
    let key = if read_only { RO_KEY } else { RW_KEY };
    let request = json!({
        "method": "GET", "path": "/api/v1/get/status/version", "body": null, "headers": { "X-API-Key": key }
    });
    let opened = client::send(to, &request, "").await.session().expect("a session");
    if !read_only {
        *session = Some(opened.clone());
    }
    opened
}

/// Requests that ran at the same time. Each answer must be one that was recorded for the same request,
/// or one that [`setup_races::allowed`] knows as another end of that race.
async fn parallel(topic: &Topic, line: &Line, to: SocketAddr) -> Outcome {
    let recorded = line.response["parallel"].as_array().expect("a list");
    let received = join_all(recorded.iter().map(|one| client::send(to, &one["request"], ""))).await;
    for (one, got) in recorded.iter().zip(&received) {
        let ours = without_log(got);
        let same_request = recorded.iter().filter(|other| other["request"] == one["request"]);
        let known = same_request.map(|other| &other["body"]);
        let agrees = |wanted: &Value| compare::value_difference(&topic.name, &line.name, "", &ours, wanted).is_none();
        if !known.into_iter().any(agrees) && !setup_races::allowed(&line.name, &ours) {
            return Outcome::Differs(format!("{ours} is no recorded end of this race"));
        }
    }
    Outcome::Agreed
}

/// The body with the log fields left out, as races are recorded.
fn without_log(received: &Received) -> Value {
    if received.body.is_empty() {
        return json!("(empty body)");
    }
    compare::without_log(serde_json::from_str(&received.body).unwrap_or_default())
}

/// A deletion of a domain gets in between the checks and the writes of `add/mailbox`.
async fn race(topic: &Topic, line: &Line, to: SocketAddr) -> Outcome {
    let add = json!({ "method": "POST", "path": "/api/v1/add/mailbox", "body": {
        "password": "secret12", "password2": "secret12", "local_part": "x", "domain": "orph5.test", "quota": 1
    }});
    let delete = json!({ "method": "POST", "path": "/api/v1/delete/domain", "body": ["orph5.test"] });
    let later = async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        client::send(to, &delete, "").await
    };
    let (added, deleted) = tokio::join!(client::send(to, &add, ""), later);
    let ends = [("add/mailbox", added), ("delete/domain", deleted)];
    let differs = ends.iter().find_map(|(path, got)| {
        compare::value_difference(&topic.name, &line.name, path, &without_log(got), &line.response[path])
    });
    judge(differs)
}
