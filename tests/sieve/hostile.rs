//! Values that try to leave their string: they match themselves and nothing else, or are refused.

use mailcow_operator::mail::rule::Rule;
use serde_json::{Value, json};

use super::dovecot::{self, Envelope};
use super::world::{MAILBOX, rule, script};

const HOSTILE: [&str; 16] = [
    "\"",
    "\\",
    "\\\"",
    "\\\\\"; discard; #",
    "\"]{ discard; }",
    "\"; discard; #",
    "*/ discard; /*",
    "# discard;",
    "text:",
    "${1}",
    "${hex:22}",
    "${unicode:0022}",
    "%00%0a",
    "*",
    "?[a]\\*",
    "ü\u{2028}€😀",
];

fn condition(operator: &str, value: &str) -> Value {
    json!({"field": "Subject", "operator": operator, "values": [value]})
}

fn when(condition: &Value) -> Result<Rule, String> {
    rule("n/r", json!({"match": {"all": [condition]}, "actions": [{"forward": {"to": ["x@dest.test"]}}]}))
}

fn matches(script: &str, subject: &str) -> bool {
    let message = format!("From: a@b.test\nSubject: {subject}\nMIME-Version: 1.0\n\nbody\n");
    let delivered = dovecot::deliver(script, &Envelope { from: "a@b.test", to: MAILBOX }, message.as_bytes());
    assert_eq!(delivered.inbox, 1, "{script}");
    !delivered.forwards.is_empty()
}

#[test]
fn a_value_matches_itself_and_nothing_else() {
    if !dovecot::is_there() {
        return;
    }
    for value in HOSTILE {
        for operator in ["Equals", "Contains", "StartsWith", "EndsWith"] {
            let script = script(&[when(&condition(operator, value)).unwrap()]);
            assert!(matches(&script, value), "{operator} {value:?}");
            assert!(!matches(&script, "harmless"), "{operator} {value:?}");
        }
    }
}

#[test]
fn a_string_of_998_bytes_is_taken_whole() {
    if !dovecot::is_there() {
        return;
    }
    for longest in ["\\".repeat(998), "\"".repeat(998), "a".repeat(998)] {
        let script = script(&[when(&condition("Equals", &longest)).unwrap()]);
        dovecot::compile(&script).unwrap();
        assert!(matches(&script, &longest));
        assert!(!matches(&script, &longest[1..]));
    }
}

#[test]
fn what_no_string_may_hold_is_refused_in_every_place() {
    for bad in ["a\rb", "a\nb", "a\r\nb", "\0", "a\u{1b}b", "a\u{85}b", &"x".repeat(999)] {
        for operator in ["Equals", "Contains", "StartsWith", "EndsWith", "Glob", "Regex"] {
            assert!(when(&condition(operator, bad)).is_err(), "{operator} {bad:?}");
        }
        let at = format!("{bad}@b.test");
        let domain = json!({"field": "Sender", "operator": "Domain", "values": [format!("{bad}.test")]});
        let address = json!({"field": "Sender", "operator": "Equals", "values": [at]});
        let header = json!({"field": "Header", "header": bad, "operator": "Exists"});
        for place in [domain, address, header] {
            assert!(when(&place).is_err(), "{place}");
        }
        for to in [at, format!("\"{bad}\"@b.test"), format!("a@{bad}.test"), format!("a@b.test{bad}")] {
            assert!(rule("n/r", json!({"actions": [{"forward": {"to": [to]}}]})).is_err(), "{to:?}");
        }
    }
}

#[test]
fn header_names_and_targets_stay_inside_their_strings() {
    if !dovecot::is_there() {
        return;
    }
    for name in ["X\"]{discard;}", "X\\", "#", "*/", "${1}", "%"] {
        let header = json!({"field": "Header", "header": name, "operator": "Contains", "values": ["x"]});
        let script = script(&[when(&header).unwrap()]);
        assert_eq!(dovecot::compile(&script), Ok(()), "{name}");
        assert!(!matches(&script, "x"), "{name}");
    }
    for to in [r#""a\"; discard; #"@dest.test"#, r#""a\\"@dest.test"#, "a#${1}@dest.test", r#""a b@c"@dest.test"#] {
        let script = script(&[rule("n/r", json!({"actions": [{"forward": {"to": [to]}}]})).unwrap()]);
        let delivered = dovecot::deliver(&script, &Envelope { from: "a@b.test", to: MAILBOX }, b"Subject: x\n\nx\n");
        assert_eq!((delivered.forwards, delivered.inbox), (vec![to.to_owned()], 1));
    }
}

#[test]
fn a_hostile_name_of_a_rule_is_harmless() {
    let mut rule = when(&condition("Equals", "x")).unwrap();
    rule.id = "n/r\"; */\r\ndiscard;\n\0".to_owned();
    assert!(script(&[rule]).contains("\n# rule n/r\"; */discard;\n"));
}

#[test]
fn a_lone_surrogate_never_becomes_a_text() {
    for bad in [r#""\ud800""#, r#""a\udfffb""#] {
        assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
        let yaml = format!("match: {{all: [{{field: Subject, operator: Equals, values: [{bad}]}}]}}");
        assert!(serde_yaml::from_str::<Value>(&yaml).is_err(), "{bad}");
    }
}

#[test]
fn a_task_takes_no_text_into_the_script() {
    let action = |title: &str| json!({"createTask": {"sink": "tracker", "title": title, "labels": ["\"; discard; #"]}});
    let text = |title: &str| script(&[rule("n/r", json!({"actions": [action(title)]})).unwrap()]);
    assert_eq!(text("\"; discard; # ${1}".replace(['{', '}'], "").as_str()), text("plain"));
    for bad in ["a\r\nb", "\0", "{body}", "${1}"] {
        assert!(rule("n/r", json!({"actions": [action(bad)]})).is_err(), "{bad:?}");
    }
    let dotted = rule("n/a.b", json!({"actions": [action("x")]})).unwrap();
    assert!(script(&[dotted]).contains("\"Ops/Tasks/n/a_b@tracker\""));
}
