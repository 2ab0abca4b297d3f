//! What happens to a message.

use serde_json::json;

use super::flags::Input;
use super::rule_set::{Group, queue_action, without_tag};
use super::show::{Show, Tone, head};
use crate::crd::OnMatch;
use crate::evaluate::{Envelope, Message, Outcome, evaluate};
use crate::mail::Address;
use crate::mail::rule::{Queue, Rule};
use crate::sieve::Compiled;

/// A message on its way to an address.
pub(super) struct Arrival<'a> {
    /// MAIL FROM; empty for a bounce.
    pub(super) from: &'a str,
    /// The recipient: an alias or the mailbox.
    pub(super) to: &'a Address,
    /// The message.
    pub(super) bytes: Vec<u8>,
}

impl Arrival<'_> {
    /// The message with the header that Mailcow's Postfix adds at the top.
    fn stamped(&self) -> Vec<u8> {
        let end = if self.bytes.windows(2).any(|pair| pair == b"\r\n") { "\r\n" } else { "\n" };
        let mut stamped = format!("X-Original-To: {}{end}", self.to).into_bytes();
        stamped.extend(&self.bytes);
        stamped
    }
}

/// What happens to a message.
pub(super) struct Answer {
    /// The address of the mailbox, with the `+tag` of the recipient.
    pub(super) mailbox: String,
    /// In the order they run.
    rules: Vec<Rule>,
    /// What happens.
    pub(super) outcome: Outcome,
    /// Whether Mailcow files it before all rules.
    pub(super) is_chat: bool,
    /// Whether Mailcow marked it as spam.
    is_spam: bool,
    /// Whether it was sent to a `+tag` of the mailbox.
    is_tagged: bool,
}

impl Answer {
    /// Writes it.
    pub(super) fn show(&self, input: &Input, show: &Show) -> Result<(), Vec<String>> {
        if self.is_chat {
            show.warning(
                "the message has a header Chat-Version: Mailcow files it into the folder DeltaChat before any rule",
            );
        }
        if self.outcome.came_back {
            show.warning(
                "the message has a header X-Sieve-Redirected-From with this mailbox: it came back, and Dovecot does not forward it again",
            );
        }
        let Outcome { matched, forwards, queues, trash, inbox, came_back } = &self.outcome;
        let folder =
            |queue: &Queue| json!({"folder": queue.folder, "action": queue_action(queue.kind), "sink": queue.sink});
        let answer = json!({
            "mailbox": self.mailbox,
            "matched": matched,
            "forwards": forwards.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "queues": queues.iter().map(folder).collect::<Vec<_>>(),
            "trash": trash,
            "inbox": inbox,
            "cameBack": came_back,
            "then": self.then(),
        });
        Show::answer(input.output, &answer, || self.text(show))
    }

    fn text(&self, show: &Show) -> String {
        let mut rows = vec![head(&["RULE", "MATCHES"])];
        let last = self.outcome.matched.last();
        let stop = self.rules.iter().position(|rule| Some(&rule.id) == last && rule.on_match == OnMatch::Stop);
        for (i, rule) in self.rules.iter().enumerate() {
            let matches = match (self.outcome.matched.contains(&rule.id), stop) {
                (true, _) => ("yes".to_owned(), Tone::Good),
                (false, Some(stop)) if i > stop => (format!("not reached: {} stops", self.rules[stop].id), Tone::Plain),
                (false, _) => ("no".to_owned(), Tone::Plain),
            };
            rows.push(vec![(rule.id.clone(), Tone::Plain), matches]);
        }
        let Outcome { forwards, queues, trash, inbox, .. } = &self.outcome;
        let mut what: Vec<String> = forwards.iter().map(|to| format!("forwarded to {to}")).collect();
        what.extend(
            queues.iter().map(|q| format!("{} for {}, from the folder {}", queue_action(q.kind), q.sink, q.folder)),
        );
        what.extend(trash.then(|| "a copy in Trash".to_owned()));
        what.push(if *inbox { "a copy in the inbox" } else { "no copy in the inbox" }.to_owned());
        let then = self.then().into_iter().flat_map(|line| ["then: ", line, "\n"]).collect::<String>();
        format!("{}\n{}: {}\n{then}", show.table(&rows), self.mailbox, what.join("; "))
    }

    /// What the rest of Mailcow's chain does with the copy in the inbox (`sieve_after` and `global_sieve_after`).
    pub(super) fn then(&self) -> Vec<&'static str> {
        if !self.outcome.inbox {
            return Vec::new();
        }
        let mut then = vec!["the user's own filters (SOGo, ManageSieve) and postfilters may file the copy elsewhere"];
        if self.is_spam {
            then.push("Mailcow files the copy into Junk, because X-Spam-Flag is YES");
        }
        if self.is_tagged {
            then.push("Mailcow files the copy into a folder named after the tag, if the user chose that");
        }
        then
    }
}

/// Runs the rules of the script on the message.
pub(super) fn tried(group: &Group, compiled: &Compiled, arrival: &Arrival<'_>) -> Answer {
    let rules: Vec<Rule> = group.placed(compiled).into_iter().cloned().collect();
    let owner = &group.owner;
    let is_tagged = without_tag(arrival.to).is_some_and(|plain| plain == owner.address);
    let recipient = if is_tagged || !owner.is_known { arrival.to } else { &owner.address };
    let envelope = Envelope { from: arrival.from.to_owned(), to: recipient.to_string() };
    let message = Message::parse(&arrival.stamped());
    let outcome = evaluate(&rules, &envelope, &message);
    let mailbox = if owner.is_known { &owner.address } else { arrival.to };
    Answer {
        is_chat: message.has("chat-version"),
        is_spam: message.is_spam(),
        is_tagged,
        mailbox: mailbox.to_string(),
        rules,
        outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gets_the_line_of_mailcows_postfix_with_its_own_line_ends() {
        let to = Address::parse("sales@acme.test").unwrap();
        let stamped = |text: &str| Arrival { from: "", to: &to, bytes: text.into() }.stamped();
        assert_eq!(stamped("A: b\r\n\r\n"), b"X-Original-To: sales@acme.test\r\nA: b\r\n\r\n");
        assert_eq!(stamped("A: b\n\n"), b"X-Original-To: sales@acme.test\nA: b\n\n");
    }
}
