//! Worked cases from a folder named by `RULE_CASES`: rules, a message, and what must become of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mailcow_operator::mail::rule::Rule;
use serde_json::{Value, json};

use super::dovecot::Envelope;
use super::lmtp::{self, Chain, Server};
use super::world::{compiled, rule};

/// The folder and its cases.
fn cases() -> Option<(PathBuf, Vec<Value>)> {
    let Some(folder) = std::env::var_os("RULE_CASES").map(PathBuf::from) else {
        println!("skipped: RULE_CASES names no folder with cases.json");
        return None;
    };
    let all: Value = serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
    lmtp::is_there().then(|| (folder, all["cases"].as_array().unwrap().clone()))
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

/// What became of a case's message, in the words of the case.
fn outcome(folder: &Path, case: &Value, server: &mut Server) -> Value {
    let rules: Result<Vec<Rule>, String> = case["rules"].as_array().unwrap().iter().map(read).collect();
    let rules = match rules {
        Ok(rules) => rules,
        Err(why) => {
            println!("{} is refused: {why}", case["id"]);
            return json!({"valid": false});
        }
    };
    if case["message"].is_null() {
        return json!({"valid": true});
    }
    let script = compiled(&rules).script.unwrap().text;
    assert_eq!(mailcow_simulator::check_sieve(&script), Ok(()), "{script}");
    let text = |name: &str| case["envelope"][name].as_str().unwrap().to_owned();
    let message = fs::read(folder.join(case["message"].as_str().unwrap())).unwrap();
    let (from, to) = (text("mailFrom"), text("rcptTo"));
    let chain = Chain { before: Some(&script), ..Chain::default() };
    let found = server.deliver(chain, &Envelope { from: &from, to: &to }, &message);
    let below = |above: &str| -> usize {
        found.folders.iter().filter(|(name, _)| name.starts_with(above)).map(|(_, count)| count).sum()
    };
    let (tasks, notes, inbox) = (below("Ops/Tasks/"), below("Ops/Notes/"), below("INBOX"));
    json!({"valid": true, "forwards": found.forwards, "tasks": tasks, "notes": notes, "inbox": inbox})
}

/// What a case allows, without what a mailbox does not show.
fn allowed(case: &Value) -> Vec<Value> {
    let both = [&case["expect"], &case["expectAlso"]];
    let seen = both.into_iter().filter(|expect| expect.is_object()).cloned();
    seen.map(|mut expect| {
        expect.as_object_mut().unwrap().remove("matched");
        expect
    })
    .collect()
}

#[test]
fn every_case_ends_as_it_must() {
    let Some((folder, cases)) = cases() else { return };
    let mut server = Server::start();
    let mut differs = |case: &&Value| {
        let outcome = outcome(&folder, case, &mut server);
        let agrees = allowed(case).contains(&outcome);
        if !agrees {
            println!("{} {}: {outcome}, not {}", case["id"], case["title"], case["expect"]);
        }
        !agrees
    };
    let wrong = cases.iter().filter(|case| differs(case)).count();
    // Shows although the test passes: only what `println!` writes is held back.
    let _ = writeln!(std::io::stderr(), "\nworked cases of rules: {}/{} agreed", cases.len() - wrong, cases.len());
    assert_eq!(wrong, 0);
}
