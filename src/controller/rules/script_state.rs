//! What is known of the scripts of mailboxes: found out by their driver, reported by the rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::channel::mpsc::UnboundedReceiver;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::crd::{EmailForwardingRule, EmailMailbox, RECONCILE_REQUESTED_AT};
use crate::kubernetes::object::{annotation, is_paused};
use crate::mail::Address;
use crate::outcome::{Outcome, Why};
use crate::publisher::Publisher;
use crate::sieve::Compiled;

/// What of a rule its scripts depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    generation: Option<i64>,
    requested_at: Option<String>,
    is_paused: bool,
    is_going: bool,
}

impl Version {
    pub(crate) fn of(rule: &EmailForwardingRule) -> Self {
        Self {
            generation: rule.metadata.generation,
            requested_at: annotation(rule, RECONCILE_REQUESTED_AT).map(ToOwned::to_owned),
            is_paused: is_paused(rule),
            is_going: rule.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// The rules of a mailbox by uid, as a script was made from them.
pub(crate) type Versions = BTreeMap<String, Version>;

/// What became of the script of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScriptState {
    /// Whose it is.
    pub(crate) address: Address,
    /// The rules it was made from.
    pub(crate) rules: Versions,
    /// What they compile to.
    pub(crate) compiled: Compiled,
    /// Rules that were left out, by `namespace/name`.
    pub(crate) refused: BTreeMap<String, Why>,
    /// Where the whole script stands.
    pub(crate) outcome: Outcome,
    /// Whether one of the rules forwards to a mailbox of the namespace, so that it matters to rules of others.
    pub(crate) is_linked: bool,
}

impl ScriptState {
    /// Whether it was made from the rule as it is now.
    pub(crate) fn is_of(&self, rule: &EmailForwardingRule) -> bool {
        rule.uid().is_some_and(|uid| self.rules.get(&uid) == Some(&Version::of(rule)))
    }
}

/// The state, and when and where it was last read.
#[derive(Debug)]
struct Known {
    state: Arc<ScriptState>,
    read: Option<(Instant, usize)>,
}

/// Scripts by the namespace and name of the mailbox object.
#[derive(Debug, Default)]
pub(crate) struct ScriptStates {
    known: Mutex<HashMap<(String, String), Known>>,
    changes: Publisher<ObjectRef<EmailForwardingRule>>,
}

impl ScriptStates {
    /// The rules whose scripts have changed, from now on.
    pub(crate) fn subscribe(&self) -> UnboundedReceiver<ObjectRef<EmailForwardingRule>> {
        self.changes.subscribe()
    }

    /// What is known of the script of a mailbox object.
    pub(crate) fn of(&self, mailbox: &EmailMailbox) -> Option<Arc<ScriptState>> {
        self.lock().get(&key(mailbox)).map(|known| known.state.clone())
    }

    /// When it was last read, from this server.
    pub(crate) fn read_at(&self, mailbox: &EmailMailbox, server: usize) -> Option<Instant> {
        self.lock().get(&key(mailbox))?.read.filter(|(_, from)| *from == server).map(|(at, _)| at)
    }

    /// Keeps the state; gives whether it is new. `read`: the server that it was read from now.
    pub(crate) fn enter(&self, mailbox: &EmailMailbox, state: ScriptState, read: Option<usize>) -> bool {
        let mut all = self.lock();
        let known = all.remove(&key(mailbox));
        let is_new = known.as_ref().is_none_or(|known| *known.state != state);
        let read = read.map(|server| (Instant::now(), server)).or_else(|| known.and_then(|known| known.read));
        all.insert(key(mailbox), Known { state: Arc::new(state), read });
        is_new
    }

    /// Has the script read again at the next reconcile: something was changed on Mailcow.
    pub(crate) fn doubt(&self, mailbox: &ObjectRef<EmailMailbox>) {
        let key = (mailbox.namespace.clone().unwrap_or_default(), mailbox.name.clone());
        if let Some(known) = self.lock().get_mut(&key) {
            known.read = None;
        }
    }

    /// Forgets a mailbox that went.
    pub(crate) fn forget(&self, mailbox: &EmailMailbox) {
        self.lock().remove(&key(mailbox));
    }

    /// Triggers rules whose scripts have changed.
    pub(crate) fn trigger(&self, rules: &[Arc<EmailForwardingRule>]) {
        for rule in rules {
            self.changes.publish(&ObjectRef::from_obj(rule.as_ref()));
        }
    }

    /// The mailboxes of a namespace with rules that matter to rules of others.
    pub(crate) fn linked(&self, namespace: &str) -> Vec<ObjectRef<EmailMailbox>> {
        let all = self.lock();
        let linked = all.iter().filter(|((of, _), known)| of == namespace && known.state.is_linked);
        linked.map(|((namespace, name), _)| ObjectRef::new(name).within(namespace)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(mailbox: &EmailMailbox) -> (String, String) {
    let meta = mailbox.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox() -> EmailMailbox {
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap());
        mailbox.metadata.namespace = Some("n".into());
        mailbox
    }

    fn state(is_linked: bool) -> ScriptState {
        ScriptState {
            address: Address::parse("a@e.com").unwrap(),
            rules: BTreeMap::new(),
            compiled: Compiled::default(),
            refused: BTreeMap::new(),
            outcome: Outcome::InSync,
            is_linked,
        }
    }

    #[test]
    fn only_what_is_new_is_told_and_the_read_is_remembered() {
        let scripts = ScriptStates::default();
        assert!(scripts.enter(&mailbox(), state(false), Some(1)));
        assert!(!scripts.enter(&mailbox(), state(false), None));
        assert!(scripts.read_at(&mailbox(), 1).is_some() && scripts.read_at(&mailbox(), 2).is_none());
        scripts.doubt(&ObjectRef::from_obj(&mailbox()));
        assert!(scripts.read_at(&mailbox(), 1).is_none());
        assert!(scripts.linked("n").is_empty());
        assert!(scripts.enter(&mailbox(), state(true), None));
        assert_eq!(scripts.linked("n").len(), 1);
        scripts.forget(&mailbox());
        assert!(scripts.of(&mailbox()).is_none());
    }

    #[test]
    fn a_script_is_of_the_rule_as_it_was() {
        let spec = serde_yaml::from_str("mailboxRef: {name: m}\nactions: [{ignore: {}}]").unwrap();
        let mut rule = EmailForwardingRule::new("r", spec);
        rule.metadata.uid = Some("u".into());
        rule.metadata.generation = Some(1);
        let made = ScriptState { rules: [("u".to_owned(), Version::of(&rule))].into(), ..state(false) };
        assert!(made.is_of(&rule));
        rule.metadata.generation = Some(2);
        assert!(!made.is_of(&rule));
    }
}
