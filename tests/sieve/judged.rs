//! The offline evaluator and Pigeonhole say the same of random rules and random messages.
//!
//! `make test` judges the same few thousand pairs each time; `JUDGED_MESSAGES=10000 cargo test --test sieve -- judged`
//! judges others, as many as it is told.

use std::collections::BTreeSet;

use mailcow_operator::evaluate::{self, Message, evaluate};
use mailcow_operator::mail::rule::Rule;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::dovecot::{self, Envelope};
use super::mails::{Mail, mail, spec, when};
use super::pigeonhole::{Judge, Would};
use super::world::{MAILBOX, compiled, rule};

/// How many messages to judge, and whether they are new ones.
fn wanted(usual: usize) -> (usize, TestRunner) {
    let told = std::env::var_os("JUDGED_MESSAGES").and_then(|text| text.to_str()?.parse().ok());
    let config = Config { failure_persistence: None, ..Config::default() };
    match told {
        Some(count) => (count, TestRunner::new(config)),
        None => (usual, TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))),
    }
}

fn random<S: Strategy>(strategy: &S, runner: &mut TestRunner) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

/// What the evaluator says, in the words of the judge.
fn evaluated(rules: &[Rule], mail: &Mail) -> (Would, BTreeSet<String>) {
    let envelope = evaluate::Envelope { from: mail.from.clone(), to: mail.to.clone() };
    let outcome = evaluate(rules, &envelope, &Message::parse(&mail.message));
    let mut folders: BTreeSet<String> = outcome.queues.into_iter().map(|queue| queue.folder).collect();
    folders.extend(outcome.trash.then(|| "Trash".to_owned()));
    let forwards = outcome.forwards.iter().map(ToString::to_string).collect();
    (Would { forwards, folders, inbox: outcome.inbox }, outcome.matched.into_iter().collect())
}

fn asked(judge: &Judge, rules: &[Rule], mail: &Mail) -> Would {
    let script = compiled(rules).script.unwrap().text;
    judge.ask(&script, &Envelope { from: &mail.from, to: &mail.to }, &mail.message)
}

fn shown(mail: &Mail) -> String {
    format!("{:?} from {:?} to {:?}", mail.message.escape_ascii().to_string(), mail.from, mail.to)
}

/// A rule that leaves a note when it matches and lets later ones see the mail too.
fn noting(i: usize, when: &Value) -> Option<(Value, Rule)> {
    let spec = json!({"match": when, "actions": [{"createNote": {"sink": "tracker"}}], "onMatch": "Continue"});
    rule(&format!("n/r{i}"), spec).ok().map(|rule| (when.clone(), rule))
}

#[test]
fn rules_match_offline_what_they_match_in_pigeonhole() {
    if !dovecot::is_there() {
        return;
    }
    let judge = Judge::new();
    let (count, mut runner) = wanted(150);
    let (mut pairs, mut matched, mut different) = (0, 0, 0);
    for _ in 0..count {
        let mail = random(&mail(), &mut runner);
        let whens = random(&vec(when(), 30), &mut runner);
        let rules: Vec<(Value, Rule)> = whens.iter().enumerate().filter_map(|(i, when)| noting(i, when)).collect();
        let only: Vec<Rule> = rules.iter().map(|(_, rule)| rule.clone()).collect();
        let would = asked(&judge, &only, &mail);
        let (_, found) = evaluated(&only, &mail);
        for (when, rule) in &rules {
            let folder = &rule.queues().next().unwrap().folder;
            let (there, here) = (would.folders.contains(folder), found.contains(&rule.id));
            (pairs, matched) = (pairs + 1, matched + usize::from(there));
            if there != here {
                different += 1;
                println!("Pigeonhole {there}, offline {here}: {when}\n  {}", shown(&mail));
            }
        }
    }
    dovecot::report(&format!(
        "conditions offline and in Pigeonhole: {pairs} pairs, {matched} match, {different} differ"
    ));
    assert!(matched * 10 > pairs && matched * 10 < pairs * 9, "{matched} of {pairs} match: that tests little");
    assert_eq!(different, 0);
}

#[test]
fn what_becomes_of_a_message_is_the_same_offline_and_in_pigeonhole() {
    if !dovecot::is_there() {
        return;
    }
    let judge = Judge::new();
    let (count, mut runner) = wanted(200);
    let mut different = 0;
    for _ in 0..count {
        let mail = random(&mail(), &mut runner);
        let specs = random(&vec(spec(), 1..7), &mut runner);
        let read = |(i, spec): (usize, &Value)| rule(&format!("n/r{i}"), spec.clone()).ok();
        let rules: Vec<Rule> = specs.iter().enumerate().filter_map(read).collect();
        if rules.iter().all(|rule| !rule.enabled) {
            continue;
        }
        let (there, (here, _)) = (asked(&judge, &rules, &mail), evaluated(&rules, &mail));
        if there != here {
            different += 1;
            println!("Pigeonhole {there:?}\noffline {here:?}\n  {}\n  {}", json!(specs), shown(&mail));
        }
    }
    dovecot::report(&format!("outcomes offline and in Pigeonhole: {count} messages, {different} differ"));
    assert_eq!(different, 0);
}

#[test]
fn a_pattern_with_a_run_behind_one_byte_fits_what_it_says() {
    if !dovecot::is_there() {
        return;
    }
    let judge = Judge::new();
    let mail = |subject: &str| Mail {
        from: "a@b.test".to_owned(),
        to: MAILBOX.to_owned(),
        message: format!("Subject: {subject}\n\nx\n").into_bytes(),
    };
    let when = json!({"all": [{"field": "Subject", "operator": "Glob", "values": ["?nvoice*"]}]});
    let rules = [noting(0, &when).unwrap().1];
    assert_eq!(evaluated(&rules, &mail("Invoice 7")).1.len(), 1);
    assert_eq!(evaluated(&rules, &mail("holiday")).1.len(), 0);
    assert_eq!(asked(&judge, &rules, &mail("Invoice 7")).folders.len(), 1);
    assert_eq!(asked(&judge, &rules, &mail("holiday")).folders.len(), 0, "as `:matches` Pigeonhole would find it");
}

#[test]
fn a_bounce_has_the_same_sender_offline_and_at_delivery() {
    if !dovecot::is_there() {
        return;
    }
    let mail = Mail { from: String::new(), to: MAILBOX.to_owned(), message: b"Subject: x\n\nx\n".to_vec() };
    for (operator, value) in [("Equals", ""), ("Glob", "*"), ("Regex", "^$"), ("Contains", "a"), ("Domain", "b.test")] {
        let condition = json!({"field": "EnvelopeSender", "operator": operator, "values": [value]});
        let spec = json!({"match": {"all": [condition]}, "actions": [{"forward": {"to": ["x@dest.test"]}}]});
        let rules = [rule("n/r", spec).unwrap()];
        let script = compiled(&rules).script.unwrap().text;
        let found = dovecot::deliver(&script, &Envelope { from: "", to: MAILBOX }, &mail.message);
        assert_eq!(found.forwards.len(), evaluated(&rules, &mail).1.len(), "{operator} {value:?}");
    }
}

#[test]
fn what_comes_back_is_foretold_as_it_is_delivered() {
    if !dovecot::is_there() {
        return;
    }
    let spec = json!({"actions": [{"forward": {"to": ["x@dest.test"], "keepCopy": false}}]});
    let rules = [rule("n/r", spec).unwrap()];
    let script = compiled(&rules).script.unwrap().text;
    for to in [MAILBOX, "box+news@acme.test"] {
        for from in
            [MAILBOX, "box+news@acme.test", "Box@acme.test", "<box@acme.test>", "sandbox@acme.test", " box@acme.test "]
        {
            let message = format!("X-Sieve-Redirected-From: {from}\nSubject: x\n\nx\n").into_bytes();
            let mail = Mail { from: "a@b.test".to_owned(), to: to.to_owned(), message };
            let found = dovecot::deliver(&script, &Envelope { from: &mail.from, to }, &mail.message);
            let (would, _) = evaluated(&rules, &mail);
            assert_eq!((found.forwards.len(), found.inbox == 1), (would.forwards.len(), would.inbox), "{to} {from}");
        }
    }
}
