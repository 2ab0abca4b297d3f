//! Which domains have objects that were not reconciled yet: what the domain counts is about to change.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::index::Key;
use crate::controller::driver::refers::{Refers, domain_of};
use crate::crd::{EmailAlias, EmailDomain, EmailMailbox};
use crate::kubernetes::object::Object;
use crate::kubernetes::stores::Watched;
use crate::status::{self, Conditioned};

/// A search stays valid for this many times of what it took: searches use at most two percent of a
/// core.
const VALID: u32 = 49;
/// And for at least this time.
const SHORT: Duration = Duration::from_millis(100);

/// The domains with mailboxes or aliases that wait for their first reconcile, or for that of a changed spec.
pub(crate) struct Unfinished {
    mailboxes: Watched<EmailMailbox>,
    aliases: Watched<EmailAlias>,
    domains: HashSet<ObjectRef<EmailDomain>>,
    valid_until: Option<Instant>,
}

impl Unfinished {
    /// Nothing is searched yet.
    pub(crate) fn of(mailboxes: Watched<EmailMailbox>, aliases: Watched<EmailAlias>) -> Self {
        Self { mailboxes, aliases, domains: HashSet::new(), valid_until: None }
    }

    /// Whether the domain has any, as of the last search.
    pub(crate) fn has(&mut self, domain: &ObjectRef<EmailDomain>) -> bool {
        let started = Instant::now();
        if self.valid_until.is_none_or(|until| until <= started) {
            let (mailboxes, aliases) = (
                self.mailboxes.by_keys(Key::Unfinished, is_unfinished),
                self.aliases.by_keys(Key::Unfinished, is_unfinished),
            );
            let of_mailboxes = mailboxes.filter_map(|mailbox| domain_of(mailbox.as_ref()));
            self.domains = of_mailboxes.chain(aliases.filter_map(|alias| domain_of(alias.as_ref()))).collect();
            self.valid_until = Some(started + SHORT.max(started.elapsed() * VALID));
        }
        self.domains.contains(domain)
    }
}

/// Whether no reconcile has reported this spec yet. An object that is being deleted may stay so for as long as somebody
/// else keeps it, so it does not count.
pub(crate) fn is_unfinished<K: Object + Refers>(object: &K) -> bool {
    let meta = object.meta();
    let conditions = object.status().map(Conditioned::conditions).unwrap_or_default();
    let is_of_spec = status::ready(conditions).is_some_and(|ready| ready.observed_generation == meta.generation);
    meta.deletion_timestamp.is_none() && !(is_of_spec && status::is_reported(conditions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(generation: i64, ready: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str("{localPart: a, domainRef: {name: d}}").unwrap();
        let mut mailbox = EmailMailbox::new("m", spec);
        mailbox.metadata.generation = Some(generation);
        mailbox.status = Some(serde_yaml::from_str(ready).unwrap());
        mailbox
    }

    #[test]
    fn an_object_is_unfinished_until_a_reconcile_has_reported_its_spec() {
        let ready = |reason: &str, observed: i64| {
            format!(
                "conditions: [{{type: Ready, status: 'False', reason: {reason}, message: '', observedGeneration: {observed}, lastTransitionTime: '2026-01-01T00:00:00Z'}}]"
            )
        };
        let rows = [
            (mailbox(1, "{}"), true),
            (mailbox(1, &ready("Pending", 1)), true),
            (mailbox(1, &ready("InSync", 1)), false),
            (mailbox(1, &ready("DomainNotFound", 1)), false),
            (mailbox(2, &ready("InSync", 1)), true),
        ];
        for (mut mailbox, expected) in rows {
            assert_eq!(is_unfinished(&mailbox), expected, "{:?}", mailbox.status);
            mailbox.metadata.deletion_timestamp = Some(crate::clock::now());
            assert!(!is_unfinished(&mailbox), "a deletion may take any time");
        }
    }
}
