//! `EmailForwardingRule` and its mailbox → the rule that should be in force.

use super::Invalid;
use super::condition::conditions;
use crate::crd::{self, EmailForwardingRuleSpec, IgnoreMode};
use crate::mail::rule::{Action, Condition, Rule, Target, When};
use crate::mail::{Address, Quota};

/// The rule that should be in force in `mailbox`. `id` is the object's `namespace/name`, `created` the second it was
/// made in.
///
/// # Errors
/// When a value can't be used, no mail could ever meet the conditions, or the mail would go back to the mailbox.
pub fn rule(id: &str, created: i64, spec: &EmailForwardingRuleSpec, mailbox: &Address) -> Result<Rule, Invalid> {
    Ok(Rule {
        id: id.to_owned(),
        priority: spec.priority,
        created,
        enabled: spec.enabled,
        when: when(&spec.matches)?,
        actions: actions(&spec.actions, mailbox)?,
        on_match: spec.on_match,
    })
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
        let why = format!("nothing is larger than {larger} and smaller than {smaller}");
        return Err(Invalid::of("spec.match.smallerThan")(why));
    }
    Ok(When { all, any, spam: spec.spam, larger_than, smaller_than })
}

/// Refuses a condition that says the opposite of an earlier one.
fn contradiction(all: &[Condition]) -> Result<(), Invalid> {
    for (i, one) in all.iter().enumerate() {
        let opposite = Condition { not: !one.not, ..one.clone() };
        if let Some(j) = all.iter().take(i).position(|earlier| *earlier == opposite) {
            let why = format!("it is the opposite of spec.match.all[{j}]; no mail meets both");
            return Err(Invalid::of(format!("spec.match.all[{i}]"))(why));
        }
    }
    Ok(())
}

fn size(field: &'static str, text: Option<&str>) -> Result<Option<Quota>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    let size = Quota::parse(text).ok().filter(|size| *size != Quota::UNLIMITED);
    let why = "is no size: write a whole number of Ki or Mi from 1, such as 10Mi";
    size.map(Some).ok_or_else(|| Invalid::value(field, text, why))
}

fn actions(spec: &[crd::Action], mailbox: &Address) -> Result<Vec<Action>, Invalid> {
    if spec.is_empty() {
        return Err(Invalid::of("spec.actions")("a rule needs at least one action".to_owned()));
    }
    let one = |(i, action): (usize, &crd::Action)| {
        let path = format!("spec.actions[{i}]");
        match (&action.forward, &action.ignore) {
            (Some(spec), None) => forward(&path, spec, mailbox),
            (None, Some(ignore)) if i + 1 == spec.len() => Ok(match ignore.mode {
                IgnoreMode::Trash => Action::Trash,
                IgnoreMode::Discard => Action::Discard,
            }),
            (None, Some(_)) => Err(Invalid::of(path)("ignore can only be the last action".to_owned())),
            (Some(_), Some(_)) | (None, None) => {
                Err(Invalid::of(path)("an action is exactly one of forward and ignore".to_owned()))
            }
        }
    };
    spec.iter().enumerate().map(one).collect()
}

fn forward(path: &str, spec: &crd::Forward, mailbox: &Address) -> Result<Action, Invalid> {
    if spec.to.is_empty() {
        return Err(Invalid::of(format!("{path}.forward.to"))("a forward needs at least one address".to_owned()));
    }
    let one = |(i, text): (usize, &String)| {
        let field = format!("{path}.forward.to[{i}]");
        let target = Target::parse(text).map_err(|error| Invalid::of(field.clone())(error.to_string()))?;
        if target.is_in(mailbox) {
            let why = format!("is the mailbox {mailbox} itself; leave it out, keepCopy: true keeps the mail there");
            return Err(Invalid::value(field, text, why));
        }
        Ok(target)
    };
    let to = spec.to.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    Ok(Action::Forward { to, keep_copy: spec.keep_copy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{OnMatch, Spam};

    fn want(yaml: &str) -> Result<Rule, Invalid> {
        let spec: EmailForwardingRuleSpec = serde_yaml::from_str(yaml).unwrap();
        rule("mail/r", 7, &spec, &Address::parse("ada@example.com").unwrap())
    }

    fn with(part: &str) -> Result<Rule, Invalid> {
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
    fn ignoring_means_trash_unless_it_says_otherwise() {
        assert_eq!(with("actions: [{ignore: {}}]").unwrap().actions, vec![Action::Trash]);
        assert_eq!(with("actions: [{ignore: {mode: Discard}}]").unwrap().actions, vec![Action::Discard]);
    }

    #[test]
    fn actions_are_refused_with_their_place() {
        for (actions, why) in [
            ("[]", "spec.actions: a rule needs"),
            ("[{}]", "spec.actions[0]: an action is exactly one"),
            ("[{ignore: {}}, {forward: {to: [a@b.org]}}]", "spec.actions[0]: ignore can only be the last"),
            ("[{forward: {to: []}}]", "spec.actions[0].forward.to: a forward needs"),
            (
                "[{forward: {to: [a@b.org, 'Al <a@b.org>']}}]",
                "spec.actions[0].forward.to[1]: \"Al <a@b.org>\" is not an",
            ),
            ("[{forward: {to: [a@b]}}]", "at least two labels"),
            ("[{forward: {to: [ADA+x@example.com]}}]", "is the mailbox ada@example.com itself"),
        ] {
            let refusal = refusal(&format!("actions: {actions}"));
            assert!(refusal.contains(why), "{actions}: {refusal}");
        }
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
