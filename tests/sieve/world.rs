//! Rules and scripts as the tests write them.

use mailcow_operator::crd::EmailForwardingRuleSpec;
use mailcow_operator::desired;
use mailcow_operator::mail::rule::Rule;
use mailcow_operator::mail::{Address, Mark, Sinks};
use mailcow_operator::sieve::{Compiled, compile};
use serde_json::{Value, json};

/// The mailbox that all rules are for.
pub(crate) const MAILBOX: &str = "box@acme.test";

/// The sinks that all rules may use.
fn sinks() -> Sinks {
    Sinks::parse(
        "
- {name: tracker, webhook: {url: 'https://tracker.test/hook'}, namespaces: ['*']}
- {name: board, email: {address: in@board.test}, namespaces: ['*']}
",
    )
    .unwrap()
}

/// A rule from its spec without the mailbox.
pub(crate) fn rule(id: &str, mut spec: Value) -> Result<Rule, String> {
    spec["mailboxRef"] = json!({"name": "box"});
    let spec: EmailForwardingRuleSpec = serde_json::from_value(spec).map_err(|error| error.to_string())?;
    desired::rule(id, 0, &spec, &Address::parse(MAILBOX).unwrap(), &sinks()).map_err(|error| error.to_string())
}

/// Rules from YAML; their names are `n/r0`, `n/r1`, …
pub(crate) fn rules(yaml: &str) -> Vec<Rule> {
    let specs: Vec<Value> = serde_yaml::from_str(yaml).unwrap();
    specs.into_iter().enumerate().map(|(i, spec)| rule(&format!("n/r{i}"), spec).unwrap()).collect()
}

/// All of them compiled.
pub(crate) fn compiled(rules: &[Rule]) -> Compiled {
    let mark = Mark::new("c0ffee00", "mail", "box", "7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d11");
    compile(&mark, &Address::parse(MAILBOX).unwrap(), rules)
}

/// The script's text; every rule fits. Mailcow's check takes it, or the test fails.
pub(crate) fn script(rules: &[Rule]) -> String {
    let compiled = compiled(rules);
    assert_eq!(compiled.refused, vec![]);
    let text = compiled.script.unwrap().text;
    assert_eq!(mailcow_simulator::check_sieve(&text), Ok(()), "{text}");
    text
}
