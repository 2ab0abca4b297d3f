//! `rules test` for objects instead of files: for callers that have read them from a cluster.

use serde_json::Value;

use super::manifests::{Manifests, Owner};
use super::rule_set::{Group, RuleSet, Verdict, queue_action, sinks};
use super::trial::{Arrival, tried};
use crate::evaluate::Outcome;
use crate::mail::Address;
use crate::mail::rule::Queue;
use crate::sieve;

/// What happens to a message.
pub(crate) struct Tested {
    /// The address of the mailbox.
    pub(crate) mailbox: String,
    /// What happens.
    pub(crate) outcome: Outcome,
    /// Whether Mailcow files it before all rules (a header `Chat-Version`).
    pub(crate) is_chat: bool,
    /// What the rest of Mailcow's chain does with the copy in the inbox.
    pub(crate) then: Vec<&'static str>,
    /// Invalid rules, which are left out, each with the reason.
    pub(crate) left_out: Vec<String>,
}

impl Tested {
    /// The tasks and notes, each with its action and sink.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.outcome.queues.iter().map(|queue: &Queue| (queue_action(queue.kind), queue.sink.as_str()))
    }
}

/// Tests the rules of one mailbox with a message. `objects` are all objects that matter: its rules, itself and its domain,
/// with `apiVersion` and kind. Every sink that a rule names counts as an allowed webhook.
///
/// # Errors
/// When an object can't be read.
pub(crate) fn test_rules(
    objects: &[Value],
    mailbox: &Address,
    from: &str,
    to: &Address,
    message: &str,
) -> Result<Tested, String> {
    let mut manifests = Manifests::default();
    for object in objects {
        manifests.take(object, "default", true)?;
    }
    let sinks = sinks(None, &manifests)?;
    let mut rule_set = RuleSet::of(&manifests, Some(mailbox), &sinks, None);
    let is_it = |group: &Group| group.owner.is_known && group.owner.address == *mailbox;
    let label = rule_set.groups.iter().find(|(_, group)| is_it(group)).map(|(label, _)| label.clone());
    let group = label.and_then(|label| rule_set.groups.remove(&label));
    let group = group.unwrap_or_else(|| Group::new(Owner::of(mailbox.clone())));
    let compiled = sieve::compile(&group.owner.mark(), &group.owner.address, &group.rules);
    let refused = compiled.refused.iter().map(|(id, why)| format!("{id}: {why}"));
    let left_out = rule_set.verdicts.iter().flat_map(Verdict::problems).chain(refused).collect();
    let answer = tried(&group, &compiled, &Arrival { from, to, bytes: message.as_bytes().to_vec() });
    let then = answer.then();
    Ok(Tested { mailbox: answer.mailbox, outcome: answer.outcome, is_chat: answer.is_chat, then, left_out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": "mail", "uid": name}, "spec": spec})
    }

    fn tested(rules: &[Value], message: &str) -> Tested {
        let mut objects = vec![
            object("EmailDomain", "acme", &json!({"domain": "acme.test"})),
            object("EmailMailbox", "box", &json!({"localPart": "box", "domainRef": {"name": "acme"}})),
        ];
        objects.extend(rules.iter().enumerate().map(|(i, spec)| object("EmailForwardingRule", &format!("r{i}"), spec)));
        let mailbox = Address::parse("box@acme.test").unwrap();
        test_rules(&objects, &mailbox, "a@vendor.test", &mailbox, message).unwrap()
    }

    #[test]
    fn rules_of_objects_are_tested_as_those_of_files() {
        let rule = json!({"mailboxRef": {"name": "box"}, "match": {"all": [
            {"field": "Subject", "operator": "Contains", "values": ["invoice"]}]},
            "actions": [{"forward": {"to": ["books@other.test"], "keepCopy": false}}]});
        let tested = tested(&[rule], "Subject: invoice 7\n\nhello\n");
        assert_eq!(tested.outcome.matched, ["mail/r0"]);
        assert_eq!(tested.outcome.forwards.iter().map(ToString::to_string).collect::<Vec<_>>(), ["books@other.test"]);
        assert!(!tested.outcome.inbox && tested.left_out.is_empty());
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_left_out_and_named() {
        let bad = json!({"mailboxRef": {"name": "box"}, "actions": [{"ignore": {"mode": "Shred"}}]});
        let tested = tested(&[bad, json!({"mailboxRef": {"name": "box"}, "actions": [{"ignore": {}}]})], "A: b\n\n");
        assert_eq!(tested.outcome.matched, ["mail/r1"]);
        assert!(tested.left_out[0].starts_with("mail/r0: spec.actions[0].ignore.mode"), "{:?}", tested.left_out);
    }

    #[test]
    fn without_rules_the_message_stays_in_the_inbox() {
        let tested = tested(&[], "Subject: x\n\n");
        assert!(tested.outcome.inbox && tested.outcome.matched.is_empty() && tested.mailbox == "box@acme.test");
    }
}
