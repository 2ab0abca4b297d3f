//! Worked cases from a folder named by `RULE_CASES`: rules, a message, and what must become of it.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use mailcow_operator::evaluate::{self, Message, evaluate};
use mailcow_operator::mail::rule::{QueueKind, Rule};
use serde_json::{Value, json};

use super::dovecot::{self, Envelope};
use super::lmtp::{self, Chain, Server};
use super::world::{compiled, rule};

/// The folder and its cases.
fn cases() -> Option<(PathBuf, Vec<Value>)> {
    let Some(folder) = std::env::var_os("RULE_CASES").map(PathBuf::from) else {
        println!("skipped: RULE_CASES names no folder with cases.json");
        return None;
    };
    let all: Value = serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
    Some((folder, all["cases"].as_array().unwrap().clone()))
}

/// A word of the cases as the spec writes it.
fn word(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(text.chars().skip(1)).collect()
}

fn conditions(list: &Value) -> Value {
    let one = |case: &Value| {
        let mut spec = json!({
            "field": word(&case["field"]), "operator": word(&case["op"]), "not": case["not"].as_bool().unwrap_or(false),
        });
        let values = if case["values"].is_array() { case["values"].clone() } else { json!([case["value"]]) };
        if spec["operator"] != "Exists" {
            spec["values"] = values;
        }
        if let Some(header) = case["header"].as_str() {
            spec["header"] = json!(header);
        }
        spec
    };
    list.as_array().map_or(json!([]), |list| list.iter().map(one).collect())
}

/// An action of a case.
fn action(case: &Value) -> Value {
    let keep = case["keepCopy"].as_bool().unwrap_or(true);
    match case["type"].as_str().unwrap_or_default() {
        "forward" => json!({"forward": {"to": case["to"], "keepCopy": keep}}),
        "ignore" => json!({"ignore": {}}),
        name => json!({name: {"sink": "tracker", "keepCopy": keep}}),
    }
}

fn read(case: &Value) -> Result<Rule, String> {
    let matches = &case["match"];
    let actions: Vec<Value> = case["actions"].as_array().unwrap().iter().map(action).collect();
    let spec = json!({
        "priority": case["priority"], "actions": actions, "onMatch": word(&case["onMatch"]),
        "match": {"all": conditions(&matches["all"]), "any": conditions(&matches["any"])},
    });
    rule(&format!("n/{}", case["name"].as_str().unwrap()), spec)
}

/// A message of a case with its rules.
struct Trial {
    rules: Vec<Rule>,
    from: String,
    to: String,
    message: Vec<u8>,
}

impl Trial {
    /// The trial, or what is to be said of the rules alone.
    fn of(folder: &Path, case: &Value) -> Result<Self, Value> {
        let rules: Result<Vec<Rule>, String> = case["rules"].as_array().unwrap().iter().map(read).collect();
        let rules = rules.map_err(|why| {
            println!("{} is refused: {why}", case["id"]);
            json!({"valid": false})
        })?;
        let message = case["message"].as_str().ok_or_else(|| json!({"valid": true}))?;
        let text = |name: &str| case["envelope"][name].as_str().unwrap().to_owned();
        let message = fs::read(folder.join(message)).unwrap();
        Ok(Self { rules, from: text("mailFrom"), to: text("rcptTo"), message })
    }

    /// What became of the message, in the words of the case.
    fn delivered(&self, server: &mut Server) -> Value {
        let script = compiled(&self.rules).script.unwrap().text;
        assert_eq!(mailcow_simulator::check_sieve(&script), Ok(()), "{script}");
        let chain = Chain { before: Some(&script), ..Chain::default() };
        let found = server.deliver(chain, &Envelope { from: &self.from, to: &self.to }, &self.message);
        let below = |above: &str| -> usize {
            found.folders.iter().filter(|(name, _)| name.starts_with(above)).map(|(_, count)| count).sum()
        };
        let (tasks, notes, inbox) = (below("Ops/Tasks/"), below("Ops/Notes/"), below("INBOX"));
        json!({"valid": true, "forwards": found.forwards, "tasks": tasks, "notes": notes, "inbox": inbox})
    }

    /// What would become of it, with the rules that match.
    fn evaluated(&self) -> Value {
        let envelope = evaluate::Envelope { from: self.from.clone(), to: self.to.clone() };
        let found = evaluate(&self.rules, &envelope, &Message::parse(&self.message));
        let mut forwards: Vec<String> = found.forwards.iter().map(ToString::to_string).collect();
        forwards.sort();
        let of = |kind: QueueKind| found.queues.iter().filter(|queue| queue.kind == kind).count();
        let matched: Vec<&str> = found.matched.iter().filter_map(|id| id.strip_prefix("n/")).collect();
        json!({
            "valid": true, "matched": matched, "forwards": forwards, "tasks": of(QueueKind::Task),
            "notes": of(QueueKind::Note), "inbox": usize::from(found.inbox),
        })
    }
}

/// What a case allows.
fn allowed(case: &Value) -> Vec<&Value> {
    [&case["expect"], &case["expectAlso"]].into_iter().filter(|expect| expect.is_object()).collect()
}

/// Holds every case to what `found` says of its trial.
fn judge(title: &str, found: impl Fn(Result<Trial, Value>) -> Value, is_seen: impl Fn(&str) -> bool) {
    let Some((folder, cases)) = cases() else { return };
    let differs = |case: &&Value| {
        let outcome = found(Trial::of(&folder, case));
        let fits = |expect: &&Value| {
            let mut expect = (*expect).clone();
            expect.as_object_mut().unwrap().retain(|name, _| is_seen(name));
            expect == outcome
        };
        let agrees = allowed(case).iter().any(fits);
        if !agrees {
            println!("{} {}: {outcome}, not {}", case["id"], case["title"], case["expect"]);
        }
        !agrees
    };
    let wrong = cases.iter().filter(|case| differs(case)).count();
    dovecot::report(&format!("{title}: {}/{} agreed", cases.len() - wrong, cases.len()));
    assert_eq!(wrong, 0);
}

#[test]
fn every_case_ends_as_it_must() {
    if lmtp::is_there() {
        let server = RefCell::new(Server::start());
        let delivered = |trial: Result<Trial, Value>| match trial {
            Ok(trial) => trial.delivered(&mut server.borrow_mut()),
            Err(verdict) => verdict,
        };
        judge("worked cases of rules", delivered, |name| name != "matched");
    }
}

#[test]
fn every_case_is_foretold_offline() {
    let evaluated = |trial: Result<Trial, Value>| trial.map_or_else(|verdict| verdict, |trial| trial.evaluated());
    judge("worked cases of rules, offline", evaluated, |_| true);
}
