//! The state of automatic mailboxes: set by their driver, reported by the domains.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc::UnboundedReceiver;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::crd::{EmailDomain, ProvisionedStatus, RefusedNamespace};
use crate::publisher::Publisher;
use crate::shrink::shrink;
use crate::tenancy::Step;

/// How long a step counts as done while the store doesn't show it; a watch is much faster.
const LAG: Duration = Duration::from_secs(10);
/// Time until a step is retried that the Kubernetes API refused.
const REFUSED: Duration = Duration::from_mins(1);

/// A step that was done.
#[derive(Debug)]
struct Taken {
    step: Step,
    since: Instant,
    /// Why the API refused it.
    refused: Option<RefusedNamespace>,
}

impl Taken {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < if self.refused.is_some() { REFUSED } else { LAG }
    }
}

/// What is known of one domain.
#[derive(Debug, Default)]
struct Known {
    /// The status to report, with the generation of the domain.
    reported: Option<(Option<i64>, ProvisionedStatus)>,
    /// Recent steps, by namespace.
    taken: HashMap<String, Taken>,
}

/// Domains by their uid.
#[derive(Debug, Default)]
pub(crate) struct Provisions {
    known: Mutex<HashMap<String, Known>>,
    changes: Publisher<ObjectRef<EmailDomain>>,
}

impl Provisions {
    /// The domains with a new status, from now on.
    pub(crate) fn subscribe(&self) -> UnboundedReceiver<ObjectRef<EmailDomain>> {
        self.changes.subscribe()
    }

    fn with<T>(&self, domain: &EmailDomain, what: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        what(known.entry(domain.uid().unwrap_or_default()).or_default())
    }

    /// The steps that were not done recently; the store may not show those yet. Forgets steps that are no longer
    /// needed.
    pub(crate) fn open(&self, domain: &EmailDomain, steps: Vec<Step>) -> Vec<Step> {
        self.with(domain, |known| {
            let asked: HashMap<&str, &Step> =
                steps.iter().map(|step| (step.mailbox().namespace.as_str(), step)).collect();
            known
                .taken
                .retain(|namespace, taken| taken.is_fresh() && asked.get(namespace.as_str()) == Some(&&taken.step));
            let is_open = |step: &Step| !known.taken.contains_key(&step.mailbox().namespace);
            steps.into_iter().filter(is_open).collect()
        })
    }

    /// Stores that a step was done or refused.
    pub(crate) fn took(&self, domain: &EmailDomain, step: Step, refused: Option<RefusedNamespace>) {
        let taken = Taken { step, since: Instant::now(), refused };
        self.with(domain, |known| known.taken.insert(taken.step.mailbox().namespace.clone(), taken));
    }

    /// Number of created mailboxes that the store may not show yet, and the refusals.
    pub(crate) fn taken(&self, domain: &EmailDomain) -> (usize, Vec<RefusedNamespace>) {
        self.with(domain, |known| {
            let is_made = |taken: &&Taken| taken.refused.is_none() && matches!(taken.step, Step::Create(_));
            let refused = known.taken.values().filter_map(|taken| taken.refused.clone());
            (known.taken.values().filter(is_made).count(), refused.collect())
        })
    }

    /// Stores the status, and triggers the domain if it is new.
    pub(crate) fn report(&self, domain: &EmailDomain, said: ProvisionedStatus) {
        let said = Some((domain.metadata.generation, said));
        let is_new = self.with(domain, |known| {
            let is_new = known.reported != said;
            known.reported = said;
            is_new
        });
        if is_new {
            self.changes.publish(&ObjectRef::from_obj(domain));
        }
    }

    /// The status to report for the domain; `None` while its current spec was not handled.
    pub(crate) fn reported(&self, domain: &EmailDomain) -> Option<ProvisionedStatus> {
        let of_present = |said: &(Option<i64>, ProvisionedStatus)| said.0 == domain.metadata.generation;
        self.with(domain, |known| known.reported.clone().filter(of_present)).map(|(_, said)| said)
    }

    /// Forgets a domain that creates no mailboxes.
    pub(crate) fn forget(&self, domain: &EmailDomain) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&domain.uid().unwrap_or_default());
        shrink(&mut *known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{EmailMailbox, RefusedReason};
    use crate::tenancy::Provisioned;

    fn domain() -> EmailDomain {
        let mut domain = EmailDomain::new("d", serde_yaml::from_str("domain: e.com").unwrap());
        domain.metadata.uid = Some("u".into());
        domain
    }

    fn mailbox(namespace: &str) -> Provisioned {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new("m", spec);
        mailbox.metadata.namespace = Some(namespace.into());
        Provisioned::from(&mailbox)
    }

    #[test]
    fn a_step_is_not_taken_twice_until_it_was_seen_to_be_done() {
        let provisions = Provisions::default();
        let steps = || vec![Step::Create(mailbox("a")), Step::Create(mailbox("b"))];
        assert_eq!(provisions.open(&domain(), steps()), steps());
        provisions.took(&domain(), Step::Create(mailbox("a")), None);
        assert_eq!(provisions.open(&domain(), steps()), [Step::Create(mailbox("b"))]);
        assert_eq!(provisions.taken(&domain()), (1, vec![]));
        // Another step for the same namespace is another matter.
        let off = vec![Step::Deactivate(mailbox("a"))];
        assert_eq!(provisions.open(&domain(), off.clone()), off);
        // Seen to be done, it may be needed again.
        provisions.took(&domain(), Step::Create(mailbox("a")), None);
        assert!(provisions.open(&domain(), vec![]).is_empty());
        assert_eq!(provisions.open(&domain(), steps()), steps());
    }

    #[test]
    fn what_was_refused_waits_and_is_reported() {
        let provisions = Provisions::default();
        let (step, reason) = (Step::Create(mailbox("a")), RefusedReason::NotCreated);
        let refused = RefusedNamespace { namespace: "a".into(), reason, message: "no".into() };
        provisions.took(&domain(), step.clone(), Some(refused.clone()));
        assert!(provisions.open(&domain(), vec![step]).is_empty());
        assert_eq!(provisions.taken(&domain()), (0, vec![refused]));
        provisions.open(&domain(), vec![]);
        assert_eq!(provisions.taken(&domain()), (0, vec![]));
    }

    #[test]
    fn only_what_is_new_triggers_the_domain() {
        let provisions = Provisions::default();
        let mut news = provisions.subscribe();
        assert_eq!(provisions.reported(&domain()), None);
        let said = ProvisionedStatus { entitled: 1, ..ProvisionedStatus::default() };
        provisions.report(&domain(), said.clone());
        provisions.report(&domain(), said.clone());
        assert_eq!(provisions.reported(&domain()), Some(said));
        assert!(news.try_recv().is_ok() && news.try_recv().is_err());
        let mut changed = domain();
        changed.metadata.generation = Some(2);
        assert_eq!(provisions.reported(&changed), None);
        provisions.forget(&domain());
        assert_eq!(provisions.reported(&domain()), None);
    }
}
