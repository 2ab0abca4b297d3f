//! What the rules of a mailbox do with a message.

use super::Message;
use super::address::{self, Found};
use super::compare::{ends, fits};
use crate::crd::{OnMatch, Spam};
use crate::mail::Quota;
use crate::mail::rule::{Action, Condition, Part, Queue, Rule, Target, Test, When};

/// Envelope of a message, as Dovecot gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The address of MAIL FROM; empty for a bounce.
    pub from: String,
    /// The address of RCPT TO: the mailbox, with a `+tag` if there was one. An alias shows in the message's topmost
    /// X-Original-To only.
    pub to: String,
}

/// What happens to a message. Scripts after the operator's may do more with mail that stays in the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The rules that match, as `namespace/name`, in the order they run.
    pub matched: Vec<String>,
    /// Forward targets, each once.
    pub forwards: Vec<Target>,
    /// The folders that get a copy for a task or a note, each once.
    pub queues: Vec<Queue>,
    /// Whether a copy goes into the folder Trash.
    pub trash: bool,
    /// Whether a copy stays in the inbox.
    pub inbox: bool,
    /// Whether the mailbox has forwarded the message before and it came back. Dovecot then skips every forward, and no
    /// forward takes the message out of the inbox.
    pub came_back: bool,
}

/// Evaluates the rules of one mailbox, given in any order, for a message.
pub fn evaluate(rules: &[Rule], envelope: &Envelope, message: &Message) -> Outcome {
    let mut order: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
    order.sort_by(|a, b| (a.priority, a.created, &a.id).cmp(&(b.priority, b.created, &b.id)));
    let mail = Mail::new(envelope, message);
    let mut outcome = Outcome { inbox: true, came_back: came_back(envelope, message), ..Outcome::default() };
    for rule in order {
        if !mail.meets(&rule.when) {
            continue;
        }
        outcome.matched.push(rule.id.clone());
        for action in &rule.actions {
            outcome.add(action);
        }
        match rule.on_match {
            OnMatch::Stop => break,
            OnMatch::Continue => {}
        }
    }
    outcome
}

impl Outcome {
    fn add(&mut self, action: &Action) {
        match action {
            Action::Forward { .. } if self.came_back => {}
            Action::Forward { to, keep_copy } => {
                for target in to {
                    add_once(&mut self.forwards, target);
                }
                self.inbox &= keep_copy;
            }
            Action::Queue(queue) => {
                add_once(&mut self.queues, queue);
                self.inbox &= queue.keep_copy;
            }
            Action::Trash => (self.trash, self.inbox) = (true, false),
            Action::Discard => self.inbox = false,
        }
    }
}

/// Whether a field X-Sieve-Redirected-From, which Pigeonhole adds to what it forwards, names the recipient or the mailbox
/// without its tag, letter by letter (Pigeonhole 0.5.19).
fn came_back(envelope: &Envelope, message: &Message) -> bool {
    let (local, domain) = envelope.to.rsplit_once('@').unwrap_or((&envelope.to, ""));
    let mailbox = format!("{}@{domain}", local.split_once('+').map_or(local, |(mailbox, _)| mailbox));
    let is_it = |value: &[u8]| value == envelope.to.as_bytes() || value == mailbox.as_bytes();
    message.raw_lines("x-sieve-redirected-from").any(|value| is_it(&value))
}

fn add_once<T: Clone + PartialEq>(list: &mut Vec<T>, new: &T) {
    if !list.contains(new) {
        list.push(new.clone());
    }
}

/// A message on its way, read once for all rules.
struct Mail<'a> {
    message: &'a Message,
    senders: Vec<Found>,
    from: Found,
    to: Found,
    /// The topmost X-Original-To, which Postfix wrote; a sender's own comes below it.
    original: Option<Vec<u8>>,
}

impl<'a> Mail<'a> {
    fn new(envelope: &Envelope, message: &'a Message) -> Self {
        Self {
            message,
            senders: message.senders(),
            from: address::of_envelope(&envelope.from),
            to: address::of_envelope(&envelope.to),
            original: message.decoded("x-original-to").next(),
        }
    }

    fn meets(&self, when: &When) -> bool {
        let size = self.message.size();
        let holds = |condition: &Condition| self.holds(condition);
        self.is_seen(when.spam)
            && when.larger_than.is_none_or(|least| size > bytes(least))
            && when.smaller_than.is_none_or(|most| size < bytes(most))
            && when.all.iter().all(holds)
            && (when.any.is_empty() || when.any.iter().any(holds))
    }

    fn is_seen(&self, spam: Spam) -> bool {
        match spam {
            Spam::Any => true,
            Spam::Only => self.message.is_spam(),
            Spam::Never => !self.message.is_spam(),
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        let Condition { part, test, not } = condition;
        let holds = match part {
            Part::Sender => self.senders.iter().any(|sender| is_from(test, sender)),
            Part::EnvelopeSender => is_from(test, &self.from),
            Part::Recipient => {
                let is_original = |value: &Vec<u8>| fits(test, value) || is_in_domain(test, value);
                is_from(test, &self.to) || self.original.as_ref().is_some_and(is_original)
            }
            Part::Subject => self.has_value("subject", test),
            Part::Header(name) => self.has_value(name.as_str(), test),
        };
        holds != *not
    }

    /// Whether a value of the header fits. A value that was folded right behind the colon begins with the blanks of the
    /// fold; they may be there or not.
    fn has_value(&self, name: &str, test: &Test) -> bool {
        let fits = |value: &Vec<u8>| {
            let blanks = value.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            (0..=blanks).any(|start| fits(test, &value[start..]))
        };
        self.message.decoded(name).any(|value| fits(&value))
    }
}

fn bytes(size: Quota) -> u64 {
    size.as_bytes()
}

/// Whether the address, or its domain for a test of that, fits.
fn is_from(test: &Test, address: &Found) -> bool {
    let Test::Domain(names) = test else { return fits(test, address.all()) };
    let is_domain = |domain: &[u8]| names.iter().any(|name| domain.eq_ignore_ascii_case(name.as_str().as_bytes()));
    address.domain().is_some_and(is_domain)
}

/// Whether an address ends in an `@` and one of the test's domains.
fn is_in_domain(test: &Test, address: &[u8]) -> bool {
    let Test::Domain(names) = test else { return false };
    names.iter().any(|name| ends(address, format!("@{name}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Address, Sinks};

    const MESSAGE: &str = "X-Original-To: Sales@acme.test\nX-Original-To: forged@acme.test\n\
        From: \"ceo@acme.test\" <Alice@Vendor.test>\nSubject: =?utf-8?q?Gr=C3=BCn?= [42]\nX-Empty:\n\nhello\n";

    fn rules(yaml: &str) -> Vec<Rule> {
        let specs: Vec<serde_json::Value> = serde_yaml::from_str(yaml).unwrap();
        let read = |(i, mut spec): (usize, serde_json::Value)| {
            spec["mailboxRef"] = serde_json::json!({"name": "box"});
            let spec = serde_json::from_value(spec).unwrap();
            let sinks = "[{name: tracker, webhook: {url: 'https://t.test'}, namespaces: ['*']}]";
            let (mailbox, sinks) = (Address::parse("box@acme.test").unwrap(), Sinks::parse(sinks).unwrap());
            crate::desired::rule(&format!("n/r{i}"), 0, &spec, &mailbox, &sinks).unwrap()
        };
        specs.into_iter().enumerate().map(read).collect()
    }

    fn outcome(yaml: &str, message: &str) -> Outcome {
        let envelope = Envelope { from: "bounce@esp.test".into(), to: "box@acme.test".into() };
        evaluate(&rules(yaml), &envelope, &Message::parse(message.as_bytes()))
    }

    fn matches(when: &str) -> bool {
        !outcome(&format!("[{{match: {{{when}}}, actions: [{{ignore: {{}}}}]}}]"), MESSAGE).matched.is_empty()
    }

    #[test]
    fn each_field_has_its_own_place() {
        for (condition, expected) in [
            ("field: Sender, operator: Equals, values: [alice@vendor.test]", true),
            ("field: Sender, operator: Contains, values: [ceo]", false),
            ("field: Sender, operator: Domain, values: [vendor.test]", true),
            ("field: EnvelopeSender, operator: Domain, values: [esp.test]", true),
            ("field: EnvelopeSender, operator: Contains, values: [alice]", false),
            ("field: Recipient, operator: Equals, values: [box@acme.test]", true),
            ("field: Recipient, operator: Equals, values: [sales@acme.test]", true),
            ("field: Recipient, operator: Equals, values: [forged@acme.test]", false),
            ("field: Recipient, operator: Domain, values: [acme.test]", true),
            ("field: Subject, operator: Equals, values: ['grün [42]']", true),
            ("field: Header, header: X-Empty, operator: Equals, values: ['']", true),
            ("field: Header, header: X-Nothing, operator: Equals, values: ['']", false),
            ("field: Header, header: X-Nothing, operator: Glob, values: ['*']", false),
        ] {
            assert_eq!(matches(&format!("all: [{{{condition}}}]")), expected, "{condition}");
            assert_eq!(matches(&format!("all: [{{{condition}, not: true}}]")), !expected, "not {condition}");
        }
    }

    #[test]
    fn spam_and_size_are_guards() {
        assert!(matches("spam: Any") && matches("") && !matches("spam: Only"));
        assert!(matches("smallerThan: 1Ki") && !matches("largerThan: 1Ki"));
        let spam = outcome("[{actions: [{ignore: {}}]}]", &format!("X-Spam-Flag: yes\n{MESSAGE}"));
        assert_eq!(spam.matched, Vec::<String>::new());
    }

    #[test]
    fn a_rule_that_stops_hides_later_ones_and_one_that_is_off_hides_nothing() {
        let stop = "{actions: [{ignore: {}}]}";
        assert_eq!(outcome(&format!("[{stop}, {stop}]"), MESSAGE).matched, ["n/r0"]);
        let off = "{enabled: false, actions: [{ignore: {}}]}";
        let next = "{onMatch: Continue, priority: 1, actions: [{ignore: {}}]}";
        assert_eq!(outcome(&format!("[{off}, {stop}, {next}]"), MESSAGE).matched, ["n/r2", "n/r1"]);
    }

    #[test]
    fn a_header_folded_right_behind_its_colon_has_the_value_that_people_see() {
        let folded = |condition: &str| {
            let yaml = format!("[{{match: {{all: [{{field: Subject, {condition}}}]}}, actions: [{{ignore: {{}}}}]}}]");
            ["Subject:\n invoice 7\n\n", "Subject: \r\n \t invoice\r\n 7\r\n\r\n"]
                .map(|message| !outcome(&yaml, message).matched.is_empty())
        };
        for condition in [
            "operator: Equals, values: [invoice 7]",
            "operator: StartsWith, values: [Invoice]",
            "operator: Glob, values: ['invoice ?']",
            "operator: Regex, values: ['^invoice [0-9]$']",
        ] {
            assert_eq!(folded(condition), [true, true], "{condition}");
        }
        assert_eq!(folded("operator: StartsWith, values: [nvoice]"), [false, false]);
    }

    #[test]
    fn a_forward_does_nothing_with_mail_that_came_back() {
        let moved = "[{actions: [{forward: {to: [a@b.test], keepCopy: false}}]}]";
        let back = |from: &str| outcome(moved, &format!("X-Sieve-Redirected-From: {from}\n{MESSAGE}"));
        for from in ["box@acme.test", "\n box@acme.test"] {
            let Outcome { forwards, inbox, came_back, .. } = back(from);
            assert_eq!((forwards.len(), inbox, came_back), (0, true, true), "{from}");
        }
        for from in ["BOX@acme.test", "<box@acme.test>", "sandbox@acme.test", "box+x@acme.test"] {
            let Outcome { forwards, inbox, came_back, .. } = back(from);
            assert_eq!((forwards.len(), inbox, came_back), (1, false, false), "{from}");
        }
    }

    #[test]
    fn the_inbox_keeps_its_copy_if_no_action_takes_it() {
        let fate = |actions: &str| {
            let Outcome { forwards, trash, inbox, .. } = outcome(&format!("[{{actions: [{actions}]}}]"), MESSAGE);
            (forwards.len(), trash, inbox)
        };
        assert_eq!(fate("{forward: {to: [a@b.test, a@B.test, c@b.test]}}"), (2, false, true));
        assert_eq!(
            fate("{forward: {to: [a@b.test]}}, {forward: {to: [c@b.test], keepCopy: false}}"),
            (2, false, false)
        );
        assert_eq!(fate("{createTask: {sink: tracker}}"), (0, false, true));
        assert_eq!(fate("{createNote: {sink: tracker, keepCopy: false}}"), (0, false, false));
        assert_eq!(fate("{ignore: {}}"), (0, true, false));
        assert_eq!(fate("{ignore: {mode: Discard}}"), (0, false, false));
    }
}
