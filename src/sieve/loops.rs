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
