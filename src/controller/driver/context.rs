//! What every driver has: only handles.

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::watch;

use crate::config::{Served, Settings};
use crate::controller::driver::action::Action;
use crate::controller::driver::backoff::{Backoff, jittered};
use crate::controller::driver::named::NamedAddresses;
use crate::controller::driver::rebuilds::{self, Rebuilds};
use crate::controller::driver::requests::Requests;
use crate::controller::mailbox::passwords::Passwords;
use crate::controller::provision::state::Provisions;
use crate::controller::rules::known_links::KnownLinks;
use crate::controller::rules::script_reads::ScriptReads;
use crate::controller::servers::Servers;
use crate::controller::servers::vanished::VanishedCounts;
use crate::crd::{EmailAlias, EmailMailbox};
use crate::dns::Lookup;
use crate::gates::Gate;
use crate::inventory::Moved;
use crate::keyed_lock::KeyedLock;
use crate::kubernetes::app_passwords::AppPasswords;
use crate::kubernetes::object::{Object, key};
use crate::kubernetes::secret_versions::SecretVersions;
use crate::kubernetes::store::Store;
use crate::kubernetes::stores::Stores;
use crate::kubernetes::writer::Writer;
use crate::mail::{Mark, Sinks};
use crate::outcome::{Outcome, Reason};
use crate::publisher::Publisher;
use crate::telemetry::Metrics;
use crate::tenancy::Reserved;

/// How long an object waits for another one when no watch reports it.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// Handles that drivers share.
pub(crate) struct Context {
    pub(crate) kube: kube::Client,
    pub(crate) settings: Settings,
    /// Name of this cluster in marks.
    pub(crate) cluster: String,
    /// Which servers this instance serves.
    pub(crate) served: Served,
    pub(crate) servers: Servers,
    pub(crate) stores: Stores,
    /// Which objects want which address.
    pub(crate) lookup: Lookup,
    pub(crate) metrics: Metrics,
    pub(crate) backoff: Backoff,
    /// Becomes true when the process must stop.
    pub(crate) ending: watch::Receiver<bool>,
    /// Writes statuses, finalizers and events.
    pub(crate) writer: Writer,
    /// Changes on Mailcow that came from outside, or from a write to another entry.
    pub(crate) mailcow_changes: Publisher<Arc<Moved>>,
    /// Entries that vanished from servers.
    pub(crate) vanished: VanishedCounts,
    /// Which passwords Mailcow has.
    pub(crate) passwords: Passwords,
    /// Mailboxes by the addresses that they are to send as.
    pub(crate) senders: NamedAddresses<EmailMailbox>,
    /// Aliases by the mailboxes that they wait for.
    pub(crate) awaited: NamedAddresses<EmailAlias>,
    /// One task at a time for the script of a mailbox.
    pub(crate) script_locks: KeyedLock,
    /// Serializes reconciles of one namespace in a domain that limits it.
    pub(crate) guest_locks: KeyedLock,
    /// The reconcile requests that were handled lately.
    pub(crate) requests: Requests,
    /// The objects with a recent write that blocked other writes.
    pub(crate) rebuilds: Rebuilds,
    /// The versions of the Secrets with passwords.
    pub(crate) secret_versions: SecretVersions,
    /// The app passwords of task delivery.
    pub(crate) app_passwords: AppPasswords,
    /// When scripts were last read.
    pub(crate) script_reads: ScriptReads,
    /// Forwarding loops between rules.
    pub(crate) links: KnownLinks,
    /// State of automatic mailboxes.
    pub(crate) provisioned: Provisions,
    /// Local parts that automatic mailboxes never get.
    pub(crate) reserved: Reserved,
    /// The installation's sinks.
    pub(crate) sinks: watch::Receiver<Arc<Sinks>>,
}

impl Context {
    /// Host name of the mail server of this name.
    pub(crate) fn mail_host(&self, server: &str) -> Option<String> {
        self.servers.mail_host(server, self.settings.dns.mail_host.as_deref())
    }

    /// Whether a feature gate is on.
    pub(crate) fn has(&self, gate: Gate) -> bool {
        self.settings.feature_gates.has(gate)
    }

    /// The mark of an object.
    pub(crate) fn mark(&self, object: &impl Resource<DynamicType = ()>) -> Mark {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().unwrap_or_default();
        Mark::new(&self.cluster, namespace, name, meta.uid.as_deref().unwrap_or_default())
    }

    /// The owner in a mark, if it is an object of a store: its kind and name if `object` is in the same namespace,
    /// otherwise only that it exists.
    pub(crate) fn living_owner<K: Object + 'static>(
        &self,
        store: &Store<K>,
        mark: &Mark,
        object: &impl Resource,
    ) -> Option<String> {
        let is_owner = |owner: &Arc<K>| self.mark(owner.as_ref()).same_owner(mark);
        let owner = match mark.object() {
            Some((_, namespace, name)) => store.get(&ObjectRef::new(name).within(namespace)).filter(is_owner),
            // The mark was cut.
            None => store.all().find(is_owner),
        }?;
        let is_near = owner.meta().namespace == object.meta().namespace;
        let name = owner.meta().name.as_deref().filter(|_| is_near);
        Some(name.map_or("another object".to_owned(), |name| format!("the {} {name}", K::KIND)))
    }

    /// Time until the next reconcile of the object.
    pub(crate) fn next(&self, object: &impl Resource<DynamicType = ()>, outcome: &Outcome) -> Duration {
        self.next_of(&key(object), outcome)
    }

    /// Time until the next reconcile, for kinds that are reconciled in turn
    /// ([`crate::controller::triggers::changes::in_turn`]).
    pub(crate) fn again(&self, object: &impl Resource<DynamicType = ()>, outcome: &Outcome) -> Action {
        let next = self.next(object, outcome);
        match outcome {
            Outcome::Stalled(why) if why.reason == Reason::RefusedByKubernetes => Action::requeue(next),
            Outcome::InSync | Outcome::Stalled(_) => Action::await_change(),
            Outcome::Waiting(_) | Outcome::Unknown(_) => Action::requeue(next),
        }
    }

    /// Time until the next reconcile of the object with this key.
    pub(crate) fn next_of(&self, key: &str, outcome: &Outcome) -> Duration {
        match outcome {
            Outcome::Unknown(_) => self.backoff.failed(key, rand::random()),
            // No watch reports a change of a quota or a policy.
            Outcome::Stalled(why) if why.reason == Reason::RefusedByKubernetes => {
                self.backoff.failed(key, rand::random())
            }
            // A change of the connection triggers every object.
            Outcome::Waiting(why) if why.reason == Reason::MailcowNotConfigured => self.resync(),
            Outcome::Waiting(why) if why.reason == Reason::WrittenLately => rebuilds::INTERVAL,
            // Watches trigger nearly all waiting objects, so retries of thousands must not keep the operator busy.
            Outcome::Waiting(_) => jittered(WAIT).max(self.backoff.failed(key, rand::random())),
            Outcome::InSync | Outcome::Stalled(_) => {
                self.backoff.succeeded(key);
                self.resync()
            }
        }
    }

    /// The time to the next reconcile of an object that is in sync.
    pub(crate) fn resync(&self) -> Duration {
        jittered(self.settings.resync)
    }
}
