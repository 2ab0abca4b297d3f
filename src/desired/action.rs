//! Actions of a rule: parsed targets, sinks and folders, or an error with its field.

use super::{Invalid, Unusable};
use crate::crd::{self, EmailForwardingRuleSpec, IgnoreMode, ToSink};
use crate::mail::rule::{Action, Queue, QueueKind, Target, Text};
use crate::mail::{Address, NoSink, SinkKind, Sinks};

/// Names allowed in braces in a title.
const PLACEHOLDERS: [&str; 3] = ["subject", "sender", "recipient"];

/// The context of the actions.
struct Place<'a> {
    /// The rule's `namespace/name`.
    id: &'a str,
    mailbox: &'a Address,
    /// Whether the rule is for all mailboxes of a domain, and this is only one of them.
    is_of_domain: bool,
    sinks: &'a Sinks,
}

/// The actions of the rule `id`, in order.
pub(super) fn actions(
    id: &str,
    spec: &EmailForwardingRuleSpec,
    mailbox: &Address,
    sinks: &Sinks,
) -> Result<Vec<Action>, Unusable> {
    if spec.actions.is_empty() {
        return Err(Invalid::of("spec.actions")("a rule needs at least one action".to_owned()).into());
    }
    let place = Place { id, mailbox, is_of_domain: spec.domain_ref.is_some(), sinks };
    let mut actions: Vec<Action> = Vec::new();
    for (i, action) in spec.actions.iter().enumerate() {
        let path = format!("spec.actions[{i}]");
        let is_last = i + 1 == spec.actions.len();
        let Some(read) = place.action(&path, action, is_last)? else { continue };
        if let Action::Queue(queue) = &read
            && actions.iter().any(|known| matches!(known, Action::Queue(known) if known.folder == queue.folder))
        {
            let why =
                format!("an earlier action of the same kind already names the sink {:?}; leave one out", queue.sink);
            return Err(Invalid::of(path)(why).into());
        }
        actions.push(read);
    }
    Ok(actions)
}

/// Everything that is wrong with the actions, each seen alone.
pub(super) fn problems(id: &str, spec: &EmailForwardingRuleSpec, mailbox: &Address, sinks: &Sinks) -> Vec<Unusable> {
    let place = Place { id, mailbox, is_of_domain: spec.domain_ref.is_some(), sinks };
    let all = spec.actions.iter().enumerate();
    let wrong = all.filter_map(|(i, action)| {
        place.action(&format!("spec.actions[{i}]"), action, i + 1 == spec.actions.len()).err()
    });
    wrong.collect()
}

impl Place<'_> {
    /// One action; `None` if it has nothing to do.
    fn action(&self, path: &str, spec: &crd::Action, is_last: bool) -> Result<Option<Action>, Unusable> {
        let refuse = |why: &str| Err(Invalid::of(path.to_owned())(why.to_owned()).into());
        match (&spec.forward, &spec.create_task, &spec.create_note, &spec.ignore) {
            (Some(forward), None, None, None) => Ok(self.forward(&format!("{path}.forward"), forward)?),
            (None, Some(task), None, None) => self.to_sink(&format!("{path}.createTask"), QueueKind::Task, task),
            (None, None, Some(note), None) => self.to_sink(&format!("{path}.createNote"), QueueKind::Note, note),
            (None, None, None, Some(ignore)) if is_last => Ok(Some(match ignore.mode {
                IgnoreMode::Trash => Action::Trash,
                IgnoreMode::Discard => Action::Discard,
            })),
            (None, None, None, Some(_)) => refuse("ignore can only be the last action"),
            _ => refuse("give exactly one of forward, createTask, createNote and ignore"),
        }
    }

    fn forward(&self, path: &str, spec: &crd::Forward) -> Result<Option<Action>, Invalid> {
        if spec.to.is_empty() {
            return Err(Invalid::of(format!("{path}.to"))("a forward needs at least one address".to_owned()));
        }
        let mut to = Vec::new();
        for (i, text) in spec.to.iter().enumerate() {
            let field = format!("{path}.to[{i}]");
            let target = Target::parse(text).map_err(|error| Invalid::of(field.clone())(error.to_string()))?;
            match (target.is_in(self.mailbox), self.is_of_domain) {
                (false, _) => to.push(target),
                // The action is for the other mailboxes: the mail is here already, and stays.
                (true, true) => {}
                (true, false) => {
                    let mailbox = self.mailbox;
                    let why = format!(
                        "is the mailbox {mailbox} itself; remove it, because keepCopy: true keeps the mail there"
                    );
                    return Err(Invalid::value(field, text, why));
                }
            }
        }
        let keep_copy = spec.keep_copy || to.len() < spec.to.len();
        Ok((!to.is_empty()).then_some(Action::Forward { to, keep_copy }))
    }

    fn to_sink(&self, path: &str, kind: QueueKind, spec: &ToSink) -> Result<Option<Action>, Unusable> {
        let title = spec.title.as_deref().map(|title| check_title(path, title)).transpose()?;
        for (i, label) in spec.labels.iter().enumerate() {
            let field = || format!("{path}.labels[{i}]");
            Text::parse(label).map_err(|error| Invalid::value(field(), label, error))?;
        }
        let (field, name) = (format!("{path}.sink"), spec.sink.clone());
        let namespace = self.id.split_once('/').map_or("", |(namespace, _)| namespace);
        let sink = self.sinks.find(&name, namespace).map_err(|why| match why {
            NoSink::Unknown => Unusable::SinkNotFound {
                field: field.clone(),
                sink: name.clone(),
                known: self.sinks.names_for(namespace).into_iter().map(ToOwned::to_owned).collect(),
            },
            NoSink::NotAllowed => {
                Unusable::SinkNotAllowed { field: field.clone(), sink: name.clone(), namespace: namespace.to_owned() }
            }
        })?;
        match &sink.kind {
            SinkKind::Webhook(_) | SinkKind::Caldav(_) => Ok(Some(Action::Queue(Queue {
                kind,
                folder: kind.folder(self.id, &name),
                sink: name,
                title,
                automatic: spec.automatic_mail,
                labels: spec.labels.clone(),
                keep_copy: spec.keep_copy,
            }))),
            SinkKind::Email { address } if !address.is_in(self.mailbox) => {
                Ok(Some(Action::Forward { to: vec![address.clone()], keep_copy: spec.keep_copy }))
            }
            SinkKind::Email { .. } if self.is_of_domain => Ok(None),
            SinkKind::Email { .. } => {
                Err(Invalid::value(field, &name, format!("sends to the mailbox {} itself", self.mailbox)).into())
            }
        }
    }
}

/// A title with known names in braces only.
fn check_title(path: &str, title: &str) -> Result<String, Invalid> {
    let field = || format!("{path}.title");
    Text::parse(title).map_err(|error| Invalid::value(field(), title, error))?;
    let plain = PLACEHOLDERS.iter().fold(title.to_owned(), |rest, name| rest.replace(&format!("{{{name}}}"), " "));
    if plain.contains(['{', '}']) {
        return Err(Invalid::value(
            field(),
            title,
            "has braces around another word than subject, sender and recipient",
        ));
    }
    Ok(title.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINKS: &str = "
- {name: tracker, webhook: {url: https://t.example}, namespaces: [mail]}
- {name: board, email: {address: in@board.example}, namespaces: ['*']}
- {name: self, email: {address: ada@example.com}, namespaces: ['*']}
- {name: theirs, webhook: {url: https://t.example}, namespaces: [other]}
";

    fn read(whose: &str, part: &str) -> Result<Vec<Action>, Unusable> {
        let spec: EmailForwardingRuleSpec =
            serde_yaml::from_str(&format!("{whose}: {{name: x}}\nactions: {part}")).unwrap();
        let ada = Address::parse("ada@example.com").unwrap();
        actions("mail/r", &spec, &ada, &Sinks::parse(SINKS).unwrap())
    }

    fn with(part: &str) -> Result<Vec<Action>, Unusable> {
        read("mailboxRef", part)
    }

    fn forward(to: &str, keep_copy: bool) -> Action {
        Action::Forward { to: vec![Target::parse(to).unwrap()], keep_copy }
    }

    #[test]
    fn ignoring_means_trash_unless_it_says_otherwise() {
        assert_eq!(with("[{ignore: {}}]").unwrap(), [Action::Trash]);
        assert_eq!(with("[{ignore: {mode: Discard}}]").unwrap(), [Action::Discard]);
    }

    #[test]
    fn a_task_for_a_webhook_waits_in_a_folder_of_its_own() {
        let actions = with("[{createTask: {sink: tracker, title: 'Mail: {subject}', labels: [a]}}]").unwrap();
        let queue = Queue {
            kind: QueueKind::Task,
            folder: "Ops/Tasks/mail/r@tracker".into(),
            sink: "tracker".into(),
            title: Some("Mail: {subject}".into()),
            automatic: false,
            labels: vec!["a".into()],
            keep_copy: true,
        };
        assert_eq!(actions, [Action::Queue(queue)]);
    }

    #[test]
    fn a_task_for_a_sink_that_takes_email_is_a_forward() {
        assert_eq!(with("[{createTask: {sink: board}}]").unwrap(), [forward("in@board.example", true)]);
        assert_eq!(
            with("[{createNote: {sink: board, keepCopy: false}}]").unwrap(),
            [forward("in@board.example", false)]
        );
    }

    #[test]
    fn a_sink_that_is_not_there_for_the_rule_is_named() {
        let error = with("[{createTask: {sink: nothing}}]").unwrap_err();
        assert!(matches!(&error, Unusable::SinkNotFound { field, .. } if field == "spec.actions[0].createTask.sink"));
        let error = with("[{ignore: {}}]").and(with("[{createNote: {sink: theirs}}]")).unwrap_err();
        assert_eq!(error.reason(), crate::outcome::Reason::SinkNotAllowed);
        assert!(error.to_string().contains("namespace mail"), "{error}");
    }

    #[test]
    fn a_domains_rule_leaves_the_mailbox_alone_that_it_forwards_to() {
        let here = |part| read("domainRef", part).unwrap();
        assert_eq!(here("[{forward: {to: [ada@example.com], keepCopy: false}}]"), []);
        assert_eq!(here("[{createTask: {sink: self}}]"), []);
        let both = "[{forward: {to: [ada@example.com, b@c.org], keepCopy: false}}]";
        assert_eq!(here(both), [forward("b@c.org", true)]);
    }

    #[test]
    fn actions_are_refused_with_their_place() {
        for (actions, why) in [
            ("[]", "spec.actions: a rule needs"),
            ("[{}]", "spec.actions[0]: give exactly one"),
            ("[{ignore: {}, createTask: {sink: board}}]", "spec.actions[0]: give exactly one"),
            ("[{ignore: {}}, {forward: {to: [a@b.org]}}]", "spec.actions[0]: ignore can only be the last"),
            ("[{forward: {to: []}}]", "spec.actions[0].forward.to: a forward needs"),
            (
                "[{forward: {to: [a@b.org, 'Al <a@b.org>']}}]",
                "spec.actions[0].forward.to[1]: \"Al <a@b.org>\" is not an",
            ),
            ("[{forward: {to: [a@b]}}]", "at least two labels"),
            ("[{forward: {to: [ADA+x@example.com]}}]", "is the mailbox ada@example.com itself"),
            ("[{createTask: {sink: self}}]", "sends to the mailbox ada@example.com itself"),
            ("[{createTask: {sink: tracker, title: '{body}'}}]", "spec.actions[0].createTask.title: \"{body}\" has"),
            ("[{createTask: {sink: tracker, title: \"a\\nb\"}}]", "spec.actions[0].createTask.title"),
            ("[{createNote: {sink: tracker, labels: [a, \"b\\0\"]}}]", "spec.actions[0].createNote.labels[1]"),
            ("[{createNote: {sink: tracker}}, {createNote: {sink: tracker}}]", "spec.actions[1]: an earlier action"),
        ] {
            let refusal = with(actions).unwrap_err().to_string();
            assert!(refusal.contains(why), "{actions}: {refusal}");
        }
    }
}
