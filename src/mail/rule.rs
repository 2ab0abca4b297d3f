//! Rules in canonical form: parsed and checked, ready to compile.

mod pattern;
mod queue;
mod target;
mod text;

pub use pattern::{InvalidPattern, Pattern};
pub use queue::{Queue, QueueKind};
pub use target::{InvalidTarget, Target};
pub use text::{Glob, HeaderName, InvalidText, LONGEST_TEXT, Text};

use super::{DomainName, Quota};
use crate::crd::{OnMatch, Spam};

/// A rule for the mail of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The object's `namespace/name`.
    pub id: String,
    /// A lower number runs first.
    pub priority: u32,
    /// Creation time of the object, in seconds since 1970; of two equal priorities the older runs first.
    pub created: i64,
    /// Whether it is active.
    pub enabled: bool,
    /// Which mail it applies to.
    pub when: When,
    /// What happens, in order; empty only for a domain's rule in the mailbox that it forwards to.
    pub actions: Vec<Action>,
    /// Whether later rules see the mail too.
    pub on_match: OnMatch,
}

impl Rule {
    /// Every forward target, each once, with whether the mailbox keeps its copy, in the order of the actions. Of two
    /// forwards to one target the one without a copy counts.
    pub fn forwards(&self) -> Vec<(&Target, bool)> {
        let mut found: Vec<(&Target, bool)> = Vec::new();
        for action in &self.actions {
            let Action::Forward { to, keep_copy } = action else { continue };
            for target in to {
                match found.iter_mut().find(|(known, _)| *known == target) {
                    Some((_, kept)) => *kept &= keep_copy,
                    None => found.push((target, *keep_copy)),
                }
            }
        }
        found
    }

    /// Leaves out forwards: their mail is in the mailbox already, and stays there. A rule without any action left is
    /// disabled.
    pub fn leave_out(&mut self, is_left_out: impl Fn(&Target) -> bool) {
        for action in &mut self.actions {
            let Action::Forward { to, keep_copy } = action else { continue };
            let before = to.len();
            to.retain(|to| !is_left_out(to));
            *keep_copy |= to.len() < before;
        }
        self.actions.retain(|action| !matches!(action, Action::Forward { to, .. } if to.is_empty()));
        self.enabled &= !self.actions.is_empty() || self.on_match == OnMatch::Stop;
    }

    /// Every folder that gets a copy, in the order of the actions.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.actions.iter().filter_map(|action| match action {
            Action::Queue(queue) => Some(queue),
            Action::Forward { .. } | Action::Trash | Action::Discard => None,
        })
    }
}

/// Which mail a rule applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// All must match.
    pub all: Vec<Condition>,
    /// One must match, if there are any.
    pub any: Vec<Condition>,
    /// How it treats spam.
    pub spam: Spam,
    /// Only mail larger than this, in whole KiB.
    pub larger_than: Option<Quota>,
    /// Only mail smaller than this, in whole KiB.
    pub smaller_than: Option<Quota>,
}

/// A condition on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The part of the message to compare.
    pub part: Part,
    /// The comparison and its values.
    pub test: Test,
    /// Whether the result is inverted.
    pub not: bool,
}

/// The part of a message that a condition compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The addresses of the From header.
    Sender,
    /// The address of MAIL FROM; empty for bounces.
    EnvelopeSender,
    /// The address of RCPT TO, or of the alias that the mail was sent to.
    Recipient,
    /// The decoded subject.
    Subject,
    /// Another header, decoded.
    Header(HeaderName),
}

/// A comparison; it is enough if one of several values matches. The case of ASCII letters does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The header exists.
    Exists,
    /// The whole value is equal; only here the empty text is useful.
    Equals(Vec<Text>),
    /// The value contains the text.
    Contains(Vec<Text>),
    /// The value begins with the text.
    StartsWith(Vec<Text>),
    /// The value ends with the text.
    EndsWith(Vec<Text>),
    /// The domain of an address.
    Domain(Vec<DomainName>),
    /// A pattern for the whole value.
    Glob(Vec<Glob>),
    /// An expression that matches some part of the value.
    Regex(Vec<Pattern>),
}

/// What happens to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is forwarded.
    Forward {
        /// The targets; never empty.
        to: Vec<Target>,
        /// Whether this action keeps the copy in the mailbox.
        keep_copy: bool,
    },
    /// A copy waits in a folder until it has become a task or a note.
    Queue(Queue),
    /// It goes into the folder Trash.
    Trash,
    /// It is lost.
    Discard,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_a_rule_stays_in_the_mailbox() {
        let mut rule = Rule {
            id: "n/r".into(),
            priority: 1,
            created: 0,
            enabled: true,
            when: When { all: vec![], any: vec![], spam: Spam::Any, larger_than: None, smaller_than: None },
            actions: vec![Action::Forward {
                to: ["a@e.com", "b@e.com"].map(|to| Target::parse(to).unwrap()).to_vec(),
                keep_copy: false,
            }],
            on_match: OnMatch::Continue,
        };
        let is = |text: &'static str| move |to: &Target| to.to_string() == text;
        rule.leave_out(is("c@e.com"));
        assert!(matches!(&rule.actions[..], [Action::Forward { to, keep_copy: false }] if to.len() == 2));
        rule.leave_out(is("a@e.com"));
        assert!(
            rule.enabled && matches!(&rule.actions[..], [Action::Forward { to, keep_copy: true }] if to.len() == 1)
        );
        rule.leave_out(is("b@e.com"));
        assert!(!rule.enabled && rule.actions.is_empty());
    }

    #[test]
    fn a_target_named_twice_is_one_forward_that_keeps_no_copy_if_one_of_them_keeps_none() {
        let to = |text| vec![Target::parse(text).unwrap()];
        let rule = Rule {
            id: "n/r".into(),
            priority: 1,
            created: 0,
            enabled: true,
            when: When { all: vec![], any: vec![], spam: Spam::Any, larger_than: None, smaller_than: None },
            actions: vec![
                Action::Forward { to: to("a@e.com"), keep_copy: true },
                Action::Forward { to: to("a@E.com"), keep_copy: false },
                Action::Forward { to: to("A@e.com"), keep_copy: true },
            ],
            on_match: OnMatch::Stop,
        };
        let shown: Vec<_> = rule.forwards().into_iter().map(|(to, kept)| (to.to_string(), kept)).collect();
        assert_eq!(shown, [("a@e.com".into(), false), ("A@e.com".into(), true)]);
    }
}
