//! What every driver holds: handles only.

use std::time::Duration;

use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use tokio::sync::watch;

use super::backoff::Backoff;
use super::events::Events;
use super::latest::Latest;
use super::servers::Servers;
use super::stores::Stores;
use crate::config::Settings;
use crate::crd::{PAUSED, RECONCILE_REQUESTED_AT};
use crate::dns::Lookup;
use crate::gates::Gate;
use crate::mail::Mark;
use crate::outcome::{Outcome, Reason};
use crate::status::Pass;
use crate::telemetry::Metrics;

/// How long something that has to come first is waited for when no watch tells.
pub(super) const WAIT: Duration = Duration::from_secs(30);

/// Handles that drivers share.
pub(super) struct Context {
    pub(super) kube: kube::Client,
    pub(super) settings: Settings,
    /// Names this cluster in marks.
    pub(super) cluster: String,
    pub(super) servers: Servers,
    pub(super) stores: Stores,
    pub(super) lookup: Lookup,
    pub(super) metrics: Metrics,
    pub(super) backoff: Backoff,
    /// Turns true when the process is told to end.
    pub(super) ending: watch::Receiver<bool>,
    pub(super) latest: Latest,
    pub(super) events: Events,
    /// Which passwords Mailcow has.
    pub(super) passwords: super::passwords::Passwords,
    /// One turn at a time for the script of a mailbox.
    pub(super) turns: crate::turns::Turns,
    /// What is known of scripts.
    pub(super) scripts: super::scripts::Scripts,
    /// Rules that would send mail round.
    pub(super) rings: super::ruleset::Rings,
    /// What is known of the mailboxes that domains make by themselves.
    pub(super) provisions: super::provisions::Provisions,
    /// Local parts that they never get.
    pub(super) reserved: crate::tenancy::Reserved,
    /// The installation's sinks.
    pub(super) sinks: watch::Receiver<std::sync::Arc<crate::mail::Sinks>>,
}

impl Context {
    /// Host name of the mail server of this name.
    pub(super) fn mail_host(&self, server: &str) -> Option<String> {
        self.servers.mail_host(server, self.settings.dns.mail_host.as_deref())
    }

    /// Whether a part of the operator is on.
    pub(super) fn has(&self, gate: Gate) -> bool {
        self.settings.feature_gates.has(gate)
    }

    /// The mark of an object.
    pub(super) fn mark(&self, object: &impl Resource<DynamicType = ()>) -> Mark {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().unwrap_or_default();
        Mark::new(&self.cluster, namespace, name, meta.uid.as_deref().unwrap_or_default())
    }

    /// Whether the owner that a mark names is among the objects of a store.
    pub(super) fn lives<K>(&self, store: &Store<K>, mark: &Mark) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        store.find(|object| self.mark(object).same_owner(mark)).is_some()
    }

    /// How long until the object is looked at again.
    pub(super) fn next(&self, object: &impl Resource<DynamicType = ()>, outcome: &Outcome) -> Duration {
        self.next_of(&key(object), outcome)
    }

    /// When the object is looked at again, where its kind has its turns ([`super::wake::in_turn`]).
    pub(super) fn again(&self, object: &impl Resource<DynamicType = ()>, outcome: &Outcome) -> Action {
        let next = self.next(object, outcome);
        match outcome {
            Outcome::InSync | Outcome::Stalled(_) => Action::await_change(),
            Outcome::Waiting(_) | Outcome::Unknown(_) => Action::requeue(next),
        }
    }

    /// How long until what has this key is looked at again.
    pub(super) fn next_of(&self, key: &str, outcome: &Outcome) -> Duration {
        match outcome {
            Outcome::Unknown(_) => self.backoff.failed(key, rand::random()),
            // A change of the connection wakes every object.
            Outcome::Waiting(why) if why.reason == Reason::MailcowNotConfigured => self.resync(),
            // Watches wake nearly all that waits, so thousands that wait must not be what keeps the operator busy.
            Outcome::Waiting(_) => jittered(WAIT).max(self.backoff.failed(key, rand::random())),
            Outcome::InSync | Outcome::Stalled(_) => {
                self.backoff.succeeded(key);
                self.resync()
            }
        }
    }

    /// The time to the next pass over an object that is in sync.
    pub(super) fn resync(&self) -> Duration {
        jittered(self.settings.resync)
    }
}

/// What a pass over an object says of itself.
pub(super) fn pass(object: &impl Resource<DynamicType = ()>) -> Pass {
    Pass {
        generation: object.meta().generation,
        requested_at: annotation(object, RECONCILE_REQUESTED_AT).map(ToOwned::to_owned),
        paused: is_paused(object),
        now: crate::clock::now(),
    }
}

/// 0.9 to 1.1 times as long.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.9 + rand::random::<f64>() / 5.0)
}

/// `namespace/name` with the kind.
pub(super) fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}/{}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}

/// The value of an annotation.
pub(super) fn annotation<'a>(object: &'a impl Resource<DynamicType = ()>, name: &str) -> Option<&'a str> {
    object.meta().annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whether nothing may be written for the object.
pub(super) fn is_paused(object: &impl Resource<DynamicType = ()>) -> bool {
    annotation(object, PAUSED) == Some("true")
}
