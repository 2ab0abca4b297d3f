//! `EmailForwardingRule`, its mailbox and the installation's sinks → the rule that should be active.

use super::action::{actions, problems};
use super::condition::{condition, conditions};
use super::{Invalid, Unusable};
use crate::crd::{self, EmailForwardingRuleSpec, EmailMailboxSpec, OnMatch};
use crate::gates::{Gate, Gates};
use crate::mail::rule::{Condition, Rule, When};
use crate::mail::{Address, Quota, Sinks};

/// The rule that should be in force in `mailbox`. `id` is the object's `namespace/name`, `created` the second it was
/// made in.
///
/// # Errors
/// When a value can't be used, no mail could ever meet the conditions, the mail would go back to the mailbox, or a sink
/// is not there for the rule.
pub fn rule(
    id: &str,
    created: i64,
    spec: &EmailForwardingRuleSpec,
    mailbox: &Address,
    sinks: &Sinks,
) -> Result<Rule, Unusable> {
    let when = when(&spec.matches)?;
    let actions = actions(id, spec, mailbox, sinks)?;
    // A domain's rule does nothing in the mailbox that it forwards to.
    let does_something = !actions.is_empty() || spec.on_match == OnMatch::Stop;
    Ok(Rule {
        id: id.to_owned(),
        priority: spec.priority,
        created,
        enabled: spec.enabled && does_something,
        when,
        actions,
        on_match: spec.on_match,
    })
}

/// Whether a rule applies to a mailbox, if both are in `namespace`.
pub fn applies(rule: &EmailForwardingRuleSpec, namespace: &str, name: &str, mailbox: &EmailMailboxSpec) -> bool {
    rule.mailbox_ref.as_ref().is_some_and(|named| named.name == name)
        || rule.domain_ref.as_ref().is_some_and(|domain| mailbox.domain_ref.is_same(domain, namespace))
}

/// Everything that is wrong with a rule, for people who write it: [`rule`] stops at the first problem. Empty if and only
/// if that succeeds.
pub fn rule_problems(id: &str, spec: &EmailForwardingRuleSpec, mailbox: &Address, sinks: &Sinks) -> Vec<Unusable> {
    let Err(first) = rule(id, 0, spec, mailbox, sinks) else { return Vec::new() };
    let lists = [("spec.match.all", &spec.matches.all), ("spec.match.any", &spec.matches.any)];
    let conditions = lists.into_iter().flat_map(|(path, list)| {
        list.iter().enumerate().filter_map(move |(i, one)| condition(&format!("{path}[{i}]"), one).err())
    });
    let mut all: Vec<Unusable> = conditions.map(Unusable::Invalid).collect();
    all.extend(problems(id, spec, mailbox, sinks));
    if !all.contains(&first) {
        all.insert(0, first);
    }
    all
}

/// Whether the installation has the features that a rule needs.
///
/// # Errors
/// With the feature gate that is off.
pub fn is_enabled(spec: &EmailForwardingRuleSpec, gates: &Gates) -> Result<(), Invalid> {
    if !gates.has(Gate::ForwardingRules) {
        let why = "the feature gate ForwardingRules is off in this installation; set featureGates.ForwardingRules: true in the chart";
        return Err(Invalid::of("spec")(why.to_owned()));
    }
    let to_sink = spec.actions.iter().position(|action| action.create_task.is_some() || action.create_note.is_some());
    match to_sink.filter(|_| !gates.has(Gate::TaskDelivery)) {
        None => Ok(()),
        Some(n) => {
            let why = "the feature gate TaskDelivery is off in this installation; remove the action, or set featureGates.TaskDelivery: true in the chart";
            Err(Invalid::of(format!("spec.actions[{n}]"))(why.to_owned()))
        }
    }
}

fn when(spec: &crd::Match) -> Result<When, Invalid> {
    let all = conditions("spec.match.all", &spec.all)?;
    let any = conditions("spec.match.any", &spec.any)?;
    contradiction(&all)?;
    let larger_than = size("spec.match.largerThan", spec.larger_than.as_deref())?;
    let smaller_than = size("spec.match.smallerThan", spec.smaller_than.as_deref())?;
    if let (Some(larger), Some(smaller)) = (larger_than, smaller_than)
        && larger >= smaller
    {
        let why = format!("no message is larger than {larger} and smaller than {smaller}");
        return Err(Invalid::of("spec.match.smallerThan")(why));
    }
    Ok(When { all, any, spam: spec.spam, larger_than, smaller_than })
}

/// Refuses a condition that is the opposite of an earlier one.
fn contradiction(all: &[Condition]) -> Result<(), Invalid> {
    for (i, one) in all.iter().enumerate() {
        let opposite = Condition { not: !one.not, ..one.clone() };
        if let Some(j) = all.iter().take(i).position(|earlier| *earlier == opposite) {
            let why = format!("it is the opposite of spec.match.all[{j}]; no message matches both");
            return Err(Invalid::of(format!("spec.match.all[{i}]"))(why));
        }
    }
    Ok(())
}

fn size(field: &'static str, text: Option<&str>) -> Result<Option<Quota>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    let size = Quota::parse(text).ok().filter(|size| *size != Quota::UNLIMITED);
    let why = "is not a size: write a whole number of Ki or Mi from 1, such as 10Mi";
    size.map(Some).ok_or_else(|| Invalid::value(field, text, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::Spam;
    use crate::mail::rule::{Action, Target};

    fn want(yaml: &str) -> Result<Rule, Unusable> {
        let spec: EmailForwardingRuleSpec = serde_yaml::from_str(yaml).unwrap();
        rule("mail/r", 7, &spec, &Address::parse("ada@example.com").unwrap(), &Sinks::default())
    }

    fn with(part: &str) -> Result<Rule, Unusable> {
        want(&format!("mailboxRef: {{name: ada}}\n{part}"))
    }

    fn refusal(part: &str) -> String {
        with(part).unwrap_err().to_string()
    }

    #[test]
    fn the_least_that_can_be_written_is_a_rule_for_all_mail_but_spam() {
        let rule = with("actions: [{forward: {to: [Bob@Bücher.example]}}]").unwrap();
        let to = vec![Target::parse("Bob@xn--bcher-kva.example").unwrap()];
        assert_eq!(rule.actions, vec![Action::Forward { to, keep_copy: true }]);
        assert_eq!((rule.id.as_str(), rule.created, rule.priority, rule.enabled), ("mail/r", 7, 100, true));
        assert_eq!((rule.when.spam, rule.on_match), (Spam::Never, OnMatch::Stop));
    }

    #[test]
    fn sizes_that_no_mail_has_are_refused() {
        let sizes = |sizes: &str| with(&format!("match: {{{sizes}}}\nactions: [{{ignore: {{}}}}]"));
        let rule = sizes("largerThan: 1Mi, smallerThan: 2Mi").unwrap();
        assert_eq!((rule.when.larger_than, rule.when.smaller_than), (Some(Quota::mib(1)), Some(Quota::mib(2))));
        for bad in [
            "largerThan: 2Mi, smallerThan: 1Mi",
            "largerThan: 1Mi, smallerThan: 1Mi",
            "largerThan: '0'",
            "smallerThan: 1M",
        ] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_condition_and_its_opposite_are_refused() {
        let condition = "field: Subject, operator: Contains, values: [x]";
        let refusal = refusal(&format!(
            "match: {{all: [{{{condition}}}, {{{condition}, not: true}}]}}\nactions: [{{ignore: {{}}}}]"
        ));
        assert!(refusal.starts_with("spec.match.all[1]: it is the opposite of spec.match.all[0]"), "{refusal}");
    }
}
