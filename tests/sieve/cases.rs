//! Worked cases from a folder named by `RULE_CASES`: rules, a message, and what must become of it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use mailcow_operator::mail::rule::Rule;
use serde_json::{Value, json};

use super::dovecot::{self, Envelope};
use super::world::{compiled, rule};

/// The folder and its cases.
fn cases() -> Option<(PathBuf, Vec<Value>)> {
    let Some(folder) = std::env::var_os("RULE_CASES").map(PathBuf::from) else {
        println!("skipped: RULE_CASES names no folder with cases.json");
        return None;
    };
    let all: Value = serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
    dovecot::is_there().then(|| (folder, all["cases"].as_array().unwrap().clone()))
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

/// An action of a case; for tasks and notes a forward of the same effect stands in, to an address with their name.
fn action(case: &Value) -> Value {
    let keep = case["keepCopy"].as_bool().unwrap_or(true);
    match case["type"].as_str().unwrap_or_default() {
        "forward" => json!({"forward": {"to": case["to"], "keepCopy": keep}}),
        "ignore" => json!({"ignore": {}}),
        name => json!({"forward": {"to": [format!("{name}@stand-in.test")], "keepCopy": keep}}),
    }
}

fn read(case: &Value) -> Result<Rule, String> {
    let matches = &case["match"];
    let actions: Vec<Value> = case["actions"].as_array().unwrap().iter().map(action).collect();
    let spec = json!({
        "priority": case["priority"], "actions": actions, "onMatch": word(&case["onMatch"]),
        "match": {"all": conditions(&matches["all"]), "any": conditions(&matches["any"])},
    });
    rule(case["name"].as_str().unwrap(), spec)
}

fn has_stand_in(case: &Value) -> bool {
    let actions = case["rules"].as_array().unwrap().iter().flat_map(|rule| rule["actions"].as_array().unwrap());
    actions.into_iter().any(|action| !matches!(action["type"].as_str(), Some("forward" | "ignore")))
}

/// What became of a case's message, in the words of the case.
fn outcome(folder: &std::path::Path, case: &Value) -> Value {
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
    let found = dovecot::deliver(&script, &Envelope { from: &from, to: &to }, &message);
    let count = |name: &str| found.forwards.iter().filter(|to| **to == format!("{name}@stand-in.test")).count();
    let (tasks, notes) = (count("createTask"), count("createNote"));
    let forwards: Vec<&String> = found.forwards.iter().filter(|to| !to.ends_with("@stand-in.test")).collect();
    json!({"valid": true, "forwards": forwards, "tasks": tasks, "notes": notes, "inbox": found.inbox})
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

fn judge(title: &str, is_in_scope: impl Fn(&Value) -> bool) {
    let Some((folder, cases)) = cases() else { return };
    let in_scope: Vec<&Value> = cases.iter().filter(|case| is_in_scope(case)).collect();
    let differs = |case: &&&Value| {
        let outcome = outcome(&folder, case);
        let agrees = allowed(case).contains(&outcome);
        if !agrees {
            println!("{} {}: {outcome}, not {}", case["id"], case["title"], case["expect"]);
        }
        !agrees
    };
    let wrong = in_scope.iter().filter(differs).count();
    // Shows although the test passes: only what `println!` writes is held back.
    let _ = writeln!(std::io::stderr(), "\n{title}: {}/{} cases agreed", in_scope.len() - wrong, in_scope.len());
    assert_eq!(wrong, 0);
}

#[test]
fn cases_that_forward_and_ignore_end_as_they_must() {
    judge("forward and ignore", |case| !has_stand_in(case));
}

#[test]
fn conditions_of_the_other_cases_hold_as_they_must() {
    judge("conditions, with forwards as stand-ins", has_stand_in);
}
