//! Whether an earlier rule surely takes all mail of a later one. In doubt it does not.

use crate::crd::{OnMatch, Spam};
use crate::mail::rule::{Condition, Rule, Test, Text};

/// Whether no mail that `later` is for comes past `earlier`.
pub(super) fn shadows(earlier: &Rule, later: &Rule) -> bool {
    let (wide, narrow) = (&earlier.when, &later.when);
    earlier.on_match == OnMatch::Stop
        && (wide.spam == Spam::Any || wide.spam == narrow.spam)
        && wide.larger_than.is_none_or(|least| narrow.larger_than.is_some_and(|size| size >= least))
        && wide.smaller_than.is_none_or(|most| narrow.smaller_than.is_some_and(|size| size <= most))
        && wide.all.iter().all(|condition| ensures(later, std::slice::from_ref(condition)))
        && (wide.any.is_empty() || ensures(later, &wide.any))
}

/// Whether all mail of the rule meets one of the conditions.
fn ensures(rule: &Rule, wanted: &[Condition]) -> bool {
    let meets_one = |given: &Condition| wanted.iter().any(|wanted| implies(given, wanted));
    let when = &rule.when;
    when.all.iter().any(meets_one) || (!when.any.is_empty() && when.any.iter().all(meets_one))
}

/// Whether all mail that meets `given` meets `wanted`.
fn implies(given: &Condition, wanted: &Condition) -> bool {
    given.part == wanted.part
        && match (given.not, wanted.not) {
            (false, false) => narrower(&given.test, &wanted.test),
            (true, true) => narrower(&wanted.test, &given.test),
            (false, true) | (true, false) => false,
        }
}

/// Whether each value that meets `narrow` meets `wide`.
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
