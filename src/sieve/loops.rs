//! Rules that send mail in a ring: two mailboxes that forward to each other, or more than two.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;

use crate::mail::Address;
use crate::mail::rule::Target;

/// Where a rule sends mail from and to.
#[derive(Clone, Debug)]
pub struct Sends {
    /// The rule's `namespace/name`.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The mailboxes it is in force in.
    pub from: Vec<Address>,
    /// Where it forwards to.
    pub to: Vec<Target>,
}

/// A rule that would close a ring, and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The rule, by its `namespace/name`.
    pub rule: String,
    /// The other rules of the ring.
    pub others: Vec<String>,
    /// The mailboxes, as mail would pass them; the last sends to the first.
    pub mailboxes: Vec<Address>,
}

impl fmt::Display for Ring {
    /// What is wrong with the rule, and the way that mail would take.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way: Vec<String> = self.mailboxes.iter().chain(self.mailboxes.first()).map(ToString::to_string).collect();
        let others = if self.others.is_empty() { String::new() } else { format!(" with {}", self.others.join(", ")) };
        write!(f, "spec.actions: mail would go round{others}: {}", way.join(" → "))
    }
}

/// The rules that have to be left out so that mail goes round nowhere: of each ring the youngest. A rule does not send
/// to the mailbox that it is in.
pub fn rings(rules: &[Sends]) -> Vec<Ring> {
    let mailboxes: BTreeSet<&Address> = rules.iter().flat_map(|rule| &rule.from).collect();
    let mut order: Vec<&Sends> = rules.iter().collect();
    order.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let mut ways = Ways::new();
    let mut found = Vec::new();
    for rule in order {
        let into: Vec<&Address> =
            mailboxes.iter().copied().filter(|mailbox| rule.to.iter().any(|to| to.is_in(mailbox))).collect();
        let mut with = ways.clone();
        for from in &rule.from {
            let others = into.iter().filter(|to| **to != from).map(|to| (*to, rule.id.as_str()));
            with.entry(from).or_default().extend(others);
        }
        let from: HashSet<&Address> = rule.from.iter().collect();
        match into.iter().find_map(|start| way_back(start, &from, &with)) {
            Some((mailboxes, mut others)) => {
                others.retain(|other| *other != rule.id);
                found.push(Ring { rule: rule.id.clone(), others, mailboxes });
            }
            None => ways = with,
        }
    }
    found
}

/// Where mail of a mailbox is sent to, and by which rule.
type Ways<'a> = HashMap<&'a Address, Vec<(&'a Address, &'a str)>>;

/// The shortest way from a mailbox to another one of those that send to it, and the rules that make it.
fn way_back(start: &Address, goals: &HashSet<&Address>, ways: &Ways<'_>) -> Option<(Vec<Address>, Vec<String>)> {
    let mut came: HashMap<&Address, (&Address, &str)> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(here) = queue.pop_front() {
        if here != start && goals.contains(here) {
            let back = std::iter::successors(Some(here), |at| came.get(at).map(|(from, _)| *from));
            let mut way: Vec<Address> = back.cloned().collect();
            way.reverse();
            let rules = way.iter().filter_map(|at| came.get(at)).map(|(_, rule)| (*rule).to_owned()).collect();
            return Some((way, rules));
        }
        for &(next, rule) in ways.get(here).into_iter().flatten() {
            if next != start && !came.contains_key(next) {
                came.insert(next, (here, rule));
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(local: &str) -> Address {
        Address::parse(&format!("{local}@e.com")).unwrap()
    }

    /// A rule; the earlier in the list, the elder. Mailboxes by their local parts.
    fn found(rules: &[(&[&str], &[&str])]) -> Vec<(String, Vec<String>)> {
        let sends: Vec<Sends> = rules
            .iter()
            .enumerate()
            .map(|(i, (from, to))| Sends {
                id: format!("n/{i}"),
                created: i64::try_from(i).unwrap(),
                from: from.iter().map(|local| at(local)).collect(),
                to: to.iter().map(|local| Target::parse(&format!("{local}@e.com")).unwrap()).collect(),
            })
            .collect();
        let local = |address: &Address| address.local().to_owned();
        rings(&sends).into_iter().map(|ring| (ring.rule, ring.mailboxes.iter().map(local).collect())).collect()
    }

    fn ring(rule: &str, mailboxes: &[&str]) -> Vec<(String, Vec<String>)> {
        vec![(rule.to_owned(), mailboxes.iter().map(|&local| local.to_owned()).collect())]
    }

    #[test]
    fn of_two_that_send_to_each_other_the_younger_is_left_out() {
        assert_eq!(found(&[(&["a"], &["B+x"]), (&["b"], &["c"]), (&["b"], &["a"])]), ring("n/2", &["a", "b"]));
    }

    #[test]
    fn one_way_is_no_ring() {
        assert_eq!(found(&[(&["a"], &["b"]), (&["b"], &["c"]), (&["a"], &["c"])]), []);
    }

    #[test]
    fn a_ring_of_many_is_found_and_opened_at_its_youngest_rule() {
        let rules: [(&[&str], &[&str]); 4] = [(&["a"], &["b"]), (&["b"], &["c"]), (&["d"], &["a"]), (&["c"], &["d"])];
        assert_eq!(found(&rules), ring("n/3", &["d", "a", "b", "c"]));
        assert_eq!(found(&rules[..3]), []);
    }

    #[test]
    fn the_other_rules_of_a_ring_are_named() {
        let sends = |id: &str, created, from: &str, to: &str| Sends {
            id: id.to_owned(),
            created,
            from: vec![at(from)],
            to: vec![Target::parse(&format!("{to}@e.com")).unwrap()],
        };
        let ring = rings(&[sends("n/c", 3, "c", "a"), sends("n/a", 1, "a", "b"), sends("n/b", 2, "b", "c")]).remove(0);
        assert_eq!((ring.rule.as_str(), ring.others), ("n/c", vec!["n/a".to_owned(), "n/b".to_owned()]));
    }

    #[test]
    fn a_domains_rule_to_one_of_its_mailboxes_is_no_ring_and_to_two_is_one() {
        assert_eq!(found(&[(&["a", "b", "c"], &["a"])]), []);
        assert_eq!(found(&[(&["a", "b", "c"], &["a", "b"])]).len(), 1);
        assert_eq!(found(&[(&["a", "b", "c"], &["a"]), (&["a"], &["c"])]), ring("n/1", &["c", "a"]));
    }

    #[test]
    fn what_is_left_out_closes_no_further_ring() {
        assert_eq!(found(&[(&["a"], &["b"]), (&["b"], &["a"]), (&["b"], &["c"]), (&["c"], &["b"])]).len(), 2);
    }
}
