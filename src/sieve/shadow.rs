//! Whether an earlier rule certainly takes all mail of a later one. In doubt it does not.

use crate::crd::{OnMatch, Spam};
use crate::mail::rule::{Condition, Rule, Test, Text};

/// Whether no mail of `later` gets past `earlier`.
pub(super) fn shadows(earlier: &Rule, later: &Rule) -> bool {
    let (wide, narrow) = (&earlier.when, &later.when);
    earlier.on_match == OnMatch::Stop
        && (wide.spam == Spam::Any || wide.spam == narrow.spam)
        && wide.larger_than.is_none_or(|least| narrow.larger_than.is_some_and(|size| size >= least))
        && wide.smaller_than.is_none_or(|most| narrow.smaller_than.is_some_and(|size| size <= most))
        && wide.all.iter().all(|condition| ensures(later, std::slice::from_ref(condition)))
        && (wide.any.is_empty() || ensures(later, &wide.any))
}

/// Whether all mail of the rule matches one of the conditions.
fn ensures(rule: &Rule, wanted: &[Condition]) -> bool {
    let meets_one = |given: &Condition| wanted.iter().any(|wanted| implies(given, wanted));
    let when = &rule.when;
    when.all.iter().any(meets_one) || (!when.any.is_empty() && when.any.iter().all(meets_one))
}

/// Whether all mail that matches `given` matches `wanted`.
fn implies(given: &Condition, wanted: &Condition) -> bool {
    given.part == wanted.part
        && match (given.not, wanted.not) {
            (false, false) => narrower(&given.test, &wanted.test),
            (true, true) => narrower(&wanted.test, &given.test),
            (false, true) | (true, false) => false,
        }
}

/// Whether each value that matches `narrow` matches `wide`.
fn narrower(narrow: &Test, wide: &Test) -> bool {
    use Test::{Contains, Domain, EndsWith, Equals, Exists, Glob, Regex, StartsWith};
    match (narrow, wide) {
        (_, Exists) => true,
        (Equals(some), Equals(all)) => each(some, all, |a, b| a == b),
        (Equals(some) | StartsWith(some), StartsWith(all)) => each(some, all, |a, b| a.starts_with(b)),
        (Equals(some) | EndsWith(some), EndsWith(all)) => each(some, all, |a, b| a.ends_with(b)),
        (Equals(some) | StartsWith(some) | EndsWith(some) | Contains(some), Contains(all)) => {
            each(some, all, |a, b| a.contains(b))
        }
        (Domain(some), Domain(all)) => some.iter().all(|name| all.contains(name)),
        (Glob(some), Glob(all)) => some.iter().all(|glob| all.contains(glob)),
        (Regex(some), Regex(all)) => some.iter().all(|pattern| all.contains(pattern)),
        _ => false,
    }
}

/// Whether each of `some` fits one of `all`, letters in any case.
fn each(some: &[Text], all: &[Text], fits: fn(&str, &str) -> bool) -> bool {
    let lower = |text: &Text| text.as_str().to_ascii_lowercase();
    some.iter().all(|a| all.iter().any(|b| fits(&lower(a), &lower(b))))
}

#[cfg(test)]
mod tests {
    use super::super::compile::tests::rule;
    use super::*;

    const STOP: &str = "actions: [{ignore: {}}]";

    fn is_shadowed(earlier: &str, later: &str) -> bool {
        shadows(
            &rule("n/a", &format!("{{match: {earlier}, {STOP}}}")),
            &rule("n/b", &format!("{{match: {later}, {STOP}}}")),
        )
    }

    fn all(conditions: &str) -> String {
        format!("{{all: [{conditions}]}}")
    }

    const INVOICE: &str = "{field: Subject, operator: Contains, values: [Invoice]}";
    const VENDOR: &str = "{field: Sender, operator: Domain, values: [vendor.com]}";

    #[test]
    fn a_rule_for_all_mail_takes_everything_that_it_sees() {
        assert!(is_shadowed("{spam: Any}", "{spam: Only}"));
        assert!(is_shadowed("{}", &all(INVOICE)));
        assert!(!is_shadowed("{}", "{spam: Any}"));
        assert!(!is_shadowed("{spam: Only}", "{}"));
    }

    #[test]
    fn a_rule_that_continues_takes_nothing() {
        let earlier = rule("n/a", "{actions: [{ignore: {}}], onMatch: Continue}");
        assert!(!shadows(&earlier, &rule("n/b", "{actions: [{ignore: {}}]}")));
    }

    #[test]
    fn fewer_conditions_take_what_more_conditions_are_for() {
        assert!(is_shadowed(&all(INVOICE), &all(&format!("{VENDOR}, {INVOICE}"))));
        assert!(!is_shadowed(&all(&format!("{VENDOR}, {INVOICE}")), &all(INVOICE)));
        assert!(!is_shadowed(&all(INVOICE), &all(VENDOR)));
    }

    #[test]
    fn one_of_any_is_weaker_than_one_of_fewer() {
        let any = |conditions: &str| format!("{{any: [{conditions}]}}");
        let both = any(&format!("{VENDOR}, {INVOICE}"));
        assert!(is_shadowed(&both, &any(VENDOR)) && is_shadowed(&both, &all(INVOICE)));
        assert!(!is_shadowed(&any(VENDOR), &both));
    }

    #[test]
    fn a_wider_size_takes_a_narrower_one() {
        assert!(is_shadowed("{largerThan: 1Mi}", "{largerThan: 2Mi, smallerThan: 3Mi}"));
        assert!(is_shadowed("{smallerThan: 3Mi}", "{smallerThan: 3Mi}"));
        assert!(!is_shadowed("{largerThan: 2Mi}", "{largerThan: 1Mi}"));
        assert!(!is_shadowed("{smallerThan: 1Mi}", "{}"));
    }

    #[test]
    fn weaker_comparisons_are_seen() {
        let subject = |how: &str| all(&format!("{{field: Subject, operator: {how}}}"));
        for (earlier, later, shadowed) in [
            ("Contains, values: [voice]", "Equals, values: [INVOICE]", true),
            ("Contains, values: [voice]", "StartsWith, values: [invoice, voices]", true),
            ("Contains, values: [invoice]", "Contains, values: [voice]", false),
            ("StartsWith, values: [in]", "StartsWith, values: [Invoice]", true),
            ("StartsWith, values: [in]", "Contains, values: [invoice]", false),
            ("EndsWith, values: [e]", "Equals, values: [invoice, x]", false),
            ("EndsWith, values: [e]", "EndsWith, values: [invoice]", true),
            ("Exists", "Regex, values: [x]", true),
            ("Regex, values: [x, y]", "Regex, values: [y]", true),
            ("Glob, values: ['*']", "Glob, values: ['x*']", false),
            ("Equals, values: [a], not: true", "Equals, values: [A, b], not: true", true),
            ("Equals, values: [a, b], not: true", "Equals, values: [a], not: true", false),
            ("Equals, values: [a], not: true", "Equals, values: [b]", false),
        ] {
            assert_eq!(is_shadowed(&subject(earlier), &subject(later)), shadowed, "{earlier} / {later}");
        }
    }
}
