//! What the Kubernetes API holds of our kinds: one watch each, shared by all drivers.
//!
//! kube's own shared streams are not used: one that is handed the name of an object that is gone answers `Pending`
//! without being woken again (kube-runtime 5.0, `ReflectHandle::poll_next`).

use std::fmt::Debug;
use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::config::Settings;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

/// Objects that changed, each as the store has it.
pub(super) type Changes<K> = UnboundedReceiver<Arc<K>>;

/// Readers of the four kinds.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) domains: Store<EmailDomain>,
    pub(super) mailboxes: Store<EmailMailbox>,
    pub(super) aliases: Store<EmailAlias>,
    pub(super) rules: Store<EmailForwardingRule>,
    /// What is said of namespaces; `None` where the operator may not read them.
    pub(super) namespaces: Option<Store<PartialObjectMeta<Namespace>>>,
    /// Of each kind, whether the first list is in.
    pub(super) listed: Vec<watch::Receiver<bool>>,
}

impl Stores {
    /// Waits until every first list is in. (`Store::wait_until_ready` wakes only the last of several that wait.)
    pub(super) async fn ready(&self) {
        for listed in &self.listed {
            // An error only says that the watch has ended with the process.
            let _ = listed.clone().wait_for(|listed| *listed).await;
        }
    }

    /// Labels and annotations of a namespace, where they may be read.
    pub(super) fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.namespaces.as_ref()?.get(&ObjectRef::new(name))
    }
}

/// The API of a kind where the operator looks.
pub(super) fn scoped<K>(kube: &kube::Client, settings: &Settings) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match &settings.watch_namespace {
        Some(namespace) => Api::namespaced(kube.clone(), namespace),
        None => Api::all(kube.clone()),
    }
}

/// A store that a watch fills for ever, with as many streams of changes as are asked for.
pub(super) struct Followed<K: Resource<DynamicType = ()> + 'static> {
    pub(super) reader: Store<K>,
    pub(super) changes: Vec<Changes<K>>,
    pub(super) listed: watch::Receiver<bool>,
}

/// Starts to follow a kind. A change is handed on only after the store has it.
pub(super) fn follow<K>(api: Api<K>, subscribers: usize) -> Followed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    follow_events(watcher(api, watcher::Config::default()), subscribers)
}

/// Starts to follow what is said of namespaces.
pub(super) fn follow_namespaces(kube: &kube::Client, subscribers: usize) -> Followed<PartialObjectMeta<Namespace>> {
    let metadata = Api::<PartialObjectMeta<Namespace>>::all(kube.clone());
    follow_events(watcher(metadata, watcher::Config::default()), subscribers)
}

fn follow_events<K>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    subscribers: usize,
) -> Followed<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (reader, writer) = reflector::store();
    let (senders, changes): (Vec<_>, Vec<_>) = (0..subscribers).map(|_| unbounded()).unzip();
    let (all_in, listed) = watch::channel(false);
    let events = events.default_backoff().modify(slim).reflect(writer);
    tokio::spawn(hand_on(events, reader.clone(), senders, all_in));
    Followed { reader, changes, listed }
}

async fn hand_on<K>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    reader: Store<K>,
    senders: Vec<UnboundedSender<Arc<K>>>,
    all_in: watch::Sender<bool>,
) where
    K: Resource<DynamicType = ()> + Clone,
{
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let changed = match event {
            Ok(watcher::Event::Apply(object)) => vec![Arc::new(object)],
            Ok(watcher::Event::InitDone) => {
                all_in.send_replace(true);
                reader.state()
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Delete(_)) => Vec::new(),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch broke off; it starts again");
                Vec::new()
            }
        };
        for (object, sender) in changed.iter().flat_map(|object| senders.iter().map(move |sender| (object, sender))) {
            // Whoever has stopped listening is at its end.
            let _ = sender.unbounded_send(object.clone());
        }
    }
}

/// Drops what no driver reads: half of an object is who set which field.
fn slim(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(name: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new(name, spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox
    }

    #[tokio::test]
    async fn the_first_list_is_handed_on_when_it_is_whole_and_then_each_change() {
        let (reader, writer) = reflector::store();
        let (sender, mut changes) = unbounded();
        let (all_in, listed) = watch::channel(false);
        let events = [
            watcher::Event::Init,
            watcher::Event::InitApply(mailbox("one")),
            watcher::Event::InitDone,
            watcher::Event::Apply(mailbox("two")),
            watcher::Event::Delete(mailbox("one")),
        ];
        let events = futures::stream::iter(events.map(Ok)).reflect(writer);
        hand_on(events, reader.clone(), vec![sender], all_in).await;
        assert!(*listed.borrow());
        assert_eq!(changes.next().await.unwrap().name_any(), "one");
        assert_eq!(changes.next().await.unwrap().name_any(), "two");
        assert!(changes.next().await.is_none() && reader.state().len() == 1);
    }

    #[test]
    fn stores_hold_only_what_drivers_read() {
        let mut mailbox = mailbox("one");
        mailbox
            .managed_fields_mut()
            .push(k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry::default());
        mailbox.annotations_mut().insert("kubectl.kubernetes.io/last-applied-configuration".into(), "{}".into());
        mailbox.annotations_mut().insert("kept".into(), "x".into());
        slim(&mut mailbox);
        assert!(mailbox.managed_fields().is_empty() && mailbox.annotations().len() == 1);
    }
}
