//! Random rules: whatever is accepted compiles, and every string comes out of the script as it went in.

use mailcow_operator::mail::rule::{Pattern, Rule};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::dovecot;
use super::world::{compiled, rule};

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Texts that are rich in what scripts trip over.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"[a-c"\\ *?#${}%/:;,ü€\[\]]{1,12}"#,
        "\\PC{0,20}",
        Just("text:".to_owned()),
        Just("\\\"; discard; #".to_owned()),
    ]
}

/// Expressions, many of them malformed.
fn expression() -> impl Strategy<Value = String> {
    let parts = [
        "a",
        "b",
        ".",
        "*",
        "+",
        "?",
        "(",
        ")",
        "(a|b)",
        "[a-c]",
        "[^]x]",
        "[[:digit:]]",
        "{2}",
        "{1,3}",
        "{0,}",
        "^",
        "$",
        "|",
        r"\.",
        r"\[",
        r"\\",
        r"\/",
        "}",
        "{",
        "]",
        "ü",
        "(ü)",
        " ",
        "\"",
        r"\d",
        "[-a]",
        "[a-]",
        "#",
        ",",
        "[[.a.]]",
    ];
    vec(select(parts.to_vec()), 1..9).prop_map(|parts| parts.concat())
}

fn condition() -> impl Strategy<Value = Value> {
    let field = select(vec!["Sender", "EnvelopeSender", "Recipient", "Subject", "Header"]);
    let plain = select(vec!["Equals", "Contains", "StartsWith", "EndsWith", "Glob"]);
    let name = r"[!-9;-~]{1,20}";
    let test = prop_oneof![
        4 => (plain, vec(text(), 1..4)).prop_map(|(operator, values)| (operator, values)),
        2 => vec(expression(), 1..3).prop_map(|values| ("Regex", values)),
        1 => vec("[a-z]{1,8}[.](test|example|bücher)", 1..4).prop_map(|values| ("Domain", values)),
        1 => Just(("Exists", vec![])),
    ];
    (field, test, name, any::<bool>()).prop_map(|(field, (operator, values), name, not)| {
        let mut condition = json!({"field": field, "operator": operator, "values": values, "not": not});
        if field == "Header" {
            condition["header"] = json!(name);
        }
        condition
    })
}

fn action() -> impl Strategy<Value = Value> {
    let to = prop_oneof![r"[a-z!#$%&'*+/=?^_`{|}~-]{1,10}@[a-z]{1,8}[.]test", r#""[ -!#-\[\]-~]{1,9}"@b[.]test"#];
    let forward =
        (vec(to, 1..4), any::<bool>()).prop_map(|(to, keep)| json!({"forward": {"to": to, "keepCopy": keep}}));
    let task = (select(vec!["createTask", "createNote"]), select(vec!["tracker", "board"]), any::<bool>())
        .prop_map(|(kind, sink, keep)| json!({kind: {"sink": sink, "keepCopy": keep}}));
    prop_oneof![4 => forward, 2 => task, 1 => Just(json!({"ignore": {}})), 1 => Just(json!({"ignore": {"mode": "Discard"}}))]
}

fn spec() -> impl Strategy<Value = Value> {
    let spam = select(vec!["Any", "Only", "Never"]);
    let size = prop_oneof![3 => Just(None), 1 => (1..9_999_999_u32).prop_map(|n| Some(format!("{n}Mi")))];
    let guards = (spam, size.clone(), size);
    (vec(condition(), 0..3), vec(condition(), 0..3), guards, vec(action(), 1..3), select(vec!["Stop", "Continue"]))
        .prop_map(|(all, any, (spam, larger, smaller), actions, next)| {
            let matches = json!({"all": all, "any": any, "spam": spam, "largerThan": larger, "smallerThan": smaller});
            json!({"match": matches, "actions": actions, "onMatch": next})
        })
}

/// Those of the specs that are taken.
fn taken(specs: Vec<Value>) -> Vec<Rule> {
    specs.into_iter().enumerate().filter_map(|(i, spec)| rule(&format!("n/r{i}"), spec).ok()).collect()
}

/// The strings of a script, as a reader of RFC 5228 finds them.
fn strings(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = script.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' => while chars.next().is_some_and(|c| c != '\n') {},
            '"' => found.push(string(&mut chars)),
            _ => {}
        }
    }
    found
}

/// The string whose first quote is read.
fn string(chars: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    loop {
        match chars.next().unwrap() {
            '"' => return text,
            '\\' => text.push(chars.next().unwrap()),
            c => text.push(c),
        }
    }
}

proptest! {
    #![proptest_config(settings(32))]

    #[test]
    fn scripts_of_random_rules_are_taken_by_dovecot_and_mailcow(specs in vec(spec(), 1..80)) {
        let rules = taken(specs);
        if !rules.is_empty() && dovecot::is_there() {
            let compiled = compiled(&rules);
            let text = compiled.script.unwrap().text;
            prop_assert!(text.len() <= 65_535);
            prop_assert_eq!(mailcow_simulator::check_sieve(&text), Ok(()));
            prop_assert_eq!(dovecot::compile(&text), Ok(()), "{}", text);
            prop_assert_eq!(compiled.placed.len() + compiled.refused.len(), rules.len());
        }
    }

    #[test]
    fn each_rule_alone_is_taken_too(specs in vec(spec(), 1..8)) {
        for rule in taken(specs) {
            let text = compiled(&[rule]).script.unwrap().text;
            prop_assert_eq!(mailcow_simulator::check_sieve(&text), Ok(()));
            if dovecot::is_there() {
                prop_assert_eq!(dovecot::compile(&text), Ok(()), "{}", text);
            }
        }
    }

    #[test]
    fn accepted_expressions_compile_in_the_c_library(expressions in vec(expression(), 200)) {
        let taken: Vec<Value> = expressions.iter().filter(|text| Pattern::parse(text).is_ok()).map(|text| json!(text)).collect();
        if !taken.is_empty() && dovecot::is_there() {
            let spec = json!({
                "match": {"all": [{"field": "Subject", "operator": "Regex", "values": taken}]},
                "actions": [{"ignore": {}}],
            });
            let text = compiled(&[rule("n/r", spec).unwrap()]).script.unwrap().text;
            prop_assert_eq!(dovecot::compile(&text), Ok(()), "{}", text);
        }
    }
}

proptest! {
    #![proptest_config(settings(500))]

    #[test]
    fn strings_come_out_of_the_script_as_they_went_in(values in vec(text(), 1..5), name in "[!-9;-~]{1,30}") {
        let condition = json!({"field": "Header", "header": name, "operator": "Contains", "values": values});
        let spec = json!({"match": {"all": [condition], "spam": "Any"}, "actions": [{"ignore": {"mode": "Discard"}}]});
        if let Ok(rule) = rule("n/r", spec) {
            let mut expected = vec![name.to_ascii_lowercase()];
            for value in values {
                if !expected[1..].contains(&value) {
                    expected.push(value);
                }
            }
            prop_assert_eq!(strings(&compiled(&[rule]).script.unwrap().text), expected);
        }
    }
}
