//! The identity of a delivery: the same for every try of a message, whoever tries and however often.
//!
//! The sender's `Message-ID` is no part of it: two messages may have the same one, or none.

use super::rule_ref::RuleRef;
use crate::mail::{Address, sha256};

/// The domain of ids that the worker makes. A message that names one came from a task or note of ours.
pub const OWN_DOMAIN: &str = "intake.mailcow-operator.invalid";

/// The identity, as 40 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// The identity of a message for one action of a rule. The folder stands for the action: its name has the kind and
    /// the sink, which occur together at most once in a rule. The action's place in the rule is no part of it, because
    /// actions may be reordered and others added while copies wait. `stable_id` is what the server calls the message
    /// for ever (X-GUID of Dovecot, EMAILID of RFC 8474).
    pub fn of(mailbox: &Address, folder: &str, stable_id: &str, rule: &RuleRef) -> Self {
        let mailbox = mailbox.to_string();
        let fields = [mailbox.as_str(), folder, stable_id, rule.uid.as_str()];
        // With their lengths: no two lists of fields are one text.
        let fields = fields.map(|field| format!("{}:{field}", field.len()));
        let mut hex = sha256(&fields.join(","));
        hex.truncate(40);
        Self(hex)
    }

    /// The 40 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number from the identity, the same for ever: `0.0 <= number < 1.0`.
    pub fn fraction(&self, salt: u32) -> f64 {
        let digits = sha256(&format!("{}{salt}", self.0));
        let number = u32::from_str_radix(&digits[..8], 16).unwrap_or_default();
        f64::from(number) / (f64::from(u32::MAX) + 1.0)
    }

    /// The id of a webhook and of an iCalendar object.
    pub fn global(&self) -> String {
        format!("{}@{OWN_DOMAIN}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::rule::QueueKind;

    fn rule(uid: &str) -> RuleRef {
        RuleRef { uid: uid.into(), namespace: "n".into(), name: "r".into() }
    }

    #[test]
    fn each_part_makes_another_identity() {
        let ada = Address::parse("ada@example.com").unwrap();
        let bob = Address::parse("bob@example.com").unwrap();
        let known = Identity::of(&ada, "f", "g", &rule("u"));
        assert_eq!(known, Identity::of(&ada, "f", "g", &rule("u")));
        assert_eq!(known.as_str().len(), 40);
        for other in [
            Identity::of(&bob, "f", "g", &rule("u")),
            Identity::of(&ada, "f1", "g", &rule("u")),
            Identity::of(&ada, "f", "1g", &rule("u")),
            Identity::of(&ada, "f", "g", &rule("v")),
        ] {
            assert_ne!(known, other);
        }
    }

    #[test]
    fn two_actions_of_a_rule_have_two_identities() {
        let ada = Address::parse("ada@example.com").unwrap();
        let of = |kind: QueueKind, sink: &str| Identity::of(&ada, &kind.folder("n/r", sink), "g", &rule("u"));
        let all = [of(QueueKind::Task, "a"), of(QueueKind::Note, "a"), of(QueueKind::Task, "b")];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
    }

    #[test]
    fn a_fraction_is_below_one_and_differs() {
        let known = Identity::of(&Address::parse("a@b.test").unwrap(), "f", "g", &rule("u"));
        assert!((0.0..1.0).contains(&known.fraction(1)));
        assert!((known.fraction(1) - known.fraction(2)).abs() > f64::EPSILON);
    }
}
