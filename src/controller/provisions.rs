//! What is known of the mailboxes that domains make by themselves: brought by their driver, told by the domains.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::crd::{EmailDomain, ProvisionedStatus, RefusedNamespace};
use crate::tenancy::Step;

/// How long a step counts as taken though the store does not show it: far longer than a watch takes.
const LAG: Duration = Duration::from_secs(10);
/// How long until a step is tried again that the Kubernetes API refused.
const REFUSED: Duration = Duration::from_mins(1);

/// A step that was taken.
#[derive(Debug)]
struct Taken {
    step: Step,
    since: Instant,
    /// Why it came to nothing.
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
    /// What is to be told, and of which generation of the domain.
    said: Option<(Option<i64>, ProvisionedStatus)>,
    /// Steps that were taken lately, by namespace.
    taken: HashMap<String, Taken>,
}

/// Domains by their uid.
#[derive(Debug)]
pub(super) struct Provisions {
    known: Mutex<HashMap<String, Known>>,
    wake: UnboundedSender<ObjectRef<EmailDomain>>,
}

impl Provisions {
    /// Nothing known, and the domains that have something new to tell.
    pub(super) fn new() -> (Self, UnboundedReceiver<ObjectRef<EmailDomain>>) {
        let (wake, news) = unbounded();
        (Self { known: Mutex::default(), wake }, news)
    }

    fn with<T>(&self, domain: &EmailDomain, what: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        what(known.entry(domain.uid().unwrap_or_default()).or_default())
    }

    /// Those of the steps that were not taken a moment ago: the store may not show it yet. What is no longer asked for is
    /// forgotten.
    pub(super) fn open(&self, domain: &EmailDomain, steps: Vec<Step>) -> Vec<Step> {
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

    /// Keeps that a step was taken, or refused.
    pub(super) fn took(&self, domain: &EmailDomain, step: Step, refused: Option<RefusedNamespace>) {
        let taken = Taken { step, since: Instant::now(), refused };
        self.with(domain, |known| known.taken.insert(taken.step.mailbox().namespace.clone(), taken));
    }

    /// How many mailboxes were made that the store may not show yet, and what was refused.
    pub(super) fn taken(&self, domain: &EmailDomain) -> (usize, Vec<RefusedNamespace>) {
        self.with(domain, |known| {
            let is_made = |taken: &&Taken| taken.refused.is_none() && matches!(taken.step, Step::Create(_));
            let refused = known.taken.values().filter_map(|taken| taken.refused.clone());
            (known.taken.values().filter(is_made).count(), refused.collect())
        })
    }

    /// Keeps what is to be told, and wakes the domain if it is new.
    pub(super) fn say(&self, domain: &EmailDomain, said: ProvisionedStatus) {
        let said = Some((domain.metadata.generation, said));
        let is_new = self.with(domain, |known| {
            let is_new = known.said != said;
            known.said = said;
            is_new
        });
        if is_new {
            // Nobody listens any more when the process ends.
            let _ = self.wake.unbounded_send(ObjectRef::from_obj(domain));
        }
    }

    /// What is to be told of the domain; `None` while nothing is known of its present spec.
    pub(super) fn said(&self, domain: &EmailDomain) -> Option<ProvisionedStatus> {
        let of_present = |said: &(Option<i64>, ProvisionedStatus)| said.0 == domain.metadata.generation;
        self.with(domain, |known| known.said.clone().filter(of_present)).map(|(_, said)| said)
    }

    /// Forgets a domain that makes none.
    pub(super) fn forget(&self, domain: &EmailDomain) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&domain.uid().unwrap_or_default());
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
        let (provisions, _news) = Provisions::new();
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
    fn what_was_refused_waits_and_is_told() {
        let (provisions, _news) = Provisions::new();
        let (step, reason) = (Step::Create(mailbox("a")), RefusedReason::NotCreated);
        let refused = RefusedNamespace { namespace: "a".into(), reason, message: "no".into() };
        provisions.took(&domain(), step.clone(), Some(refused.clone()));
        assert!(provisions.open(&domain(), vec![step]).is_empty());
        assert_eq!(provisions.taken(&domain()), (0, vec![refused]));
        provisions.open(&domain(), vec![]);
        assert_eq!(provisions.taken(&domain()), (0, vec![]));
    }

    #[test]
    fn only_news_wake_the_domain() {
        let (provisions, mut news) = Provisions::new();
        assert_eq!(provisions.said(&domain()), None);
        let said = ProvisionedStatus { entitled: 1, ..ProvisionedStatus::default() };
        provisions.say(&domain(), said.clone());
        provisions.say(&domain(), said.clone());
        assert_eq!(provisions.said(&domain()), Some(said));
        assert!(news.try_recv().is_ok() && news.try_recv().is_err());
        let mut changed = domain();
        changed.metadata.generation = Some(2);
        assert_eq!(provisions.said(&changed), None);
        provisions.forget(&domain());
        assert_eq!(provisions.said(&domain()), None);
    }
}
