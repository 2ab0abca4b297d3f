//! Rules of two mailboxes that send mail back and forth.

use crate::mail::Address;
use crate::mail::rule::Rule;

/// Two rules that forward to each other's mailbox, by their `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loop {
    /// The rule of the mailbox that was given first.
    pub one: String,
    /// The rule of the other mailbox.
    pub other: String,
}

/// Finds the pairs of enabled rules that forward to each other's mailbox; each pair once.
pub fn loops(mailboxes: &[(Address, Vec<Rule>)]) -> Vec<Loop> {
    let mut found = Vec::new();
    for (i, (one, rules)) in mailboxes.iter().enumerate() {
        for (other, theirs) in &mailboxes[i + 1..] {
            let there: Vec<&Rule> = rules.iter().filter(|rule| goes_to(rule, other)).collect();
            let back: Vec<&Rule> = theirs.iter().filter(|rule| goes_to(rule, one)).collect();
            let pair = |a: &&Rule, b: &&Rule| Loop { one: a.id.clone(), other: b.id.clone() };
            found.extend(there.iter().flat_map(|a| back.iter().map(move |b| pair(a, b))));
        }
    }
    found
}

fn goes_to(rule: &Rule, mailbox: &Address) -> bool {
    rule.enabled && rule.forwards().iter().any(|(to, _)| to.is_in(mailbox))
}

#[cfg(test)]
mod tests {
    use super::super::compile::tests::rule;
    use super::*;

    fn to(id: &str, target: &str) -> Rule {
        rule(id, &format!("{{actions: [{{forward: {{to: [{target}]}}}}]}}"))
    }

    fn found(a: Vec<Rule>, b: Vec<Rule>) -> Vec<Loop> {
        loops(&[(Address::parse("a@e.com").unwrap(), a), (Address::parse("b@e.com").unwrap(), b)])
    }

    #[test]
    fn two_mailboxes_that_forward_to_each_other_are_a_loop() {
        let pair = Loop { one: "n/a".into(), other: "n/b".into() };
        assert_eq!(found(vec![to("n/a", "B+x@E.com")], vec![to("n/x", "c@e.com"), to("n/b", "a@e.com")]), [pair]);
    }

    #[test]
    fn one_way_is_no_loop_and_neither_is_a_rule_that_is_off() {
        assert_eq!(found(vec![to("n/a", "b@e.com")], vec![to("n/b", "c@e.com")]), []);
        let mut off = to("n/b", "a@e.com");
        off.enabled = false;
        assert_eq!(found(vec![to("n/a", "b@e.com")], vec![off]), []);
    }
}
