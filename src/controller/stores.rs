//! What the Kubernetes API holds of our kinds: one watch each, shared by all drivers.
//!
//! kube's own shared streams are not used: one that is handed the name of an object that is gone answers `Pending`
//! without being woken again (kube-runtime 5.0, `ReflectHandle::poll_next`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::merged::{Watch, merged};
use super::patch::Object;
use super::words::Shared;
use crate::config::Settings;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP, PROVISIONED_BY};
use crate::status::Conditioned;

/// So many objects are listed at a time: what is being read takes several times the memory of what is kept of it.
const PAGE: u32 = 100;

/// What became of a kind.
pub(super) type Changes<K> = UnboundedReceiver<Change<K>>;

/// An object that changed.
#[derive(Clone, Debug)]
pub(super) struct Change<K> {
    /// As the store has it.
    pub(super) object: Arc<K>,
    /// Whether it was there when the operator started.
    pub(super) is_old: bool,
}

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

/// The API of a kind wherever the operator looks: one for each namespace that is listed, or one for all of them.
pub(super) fn scoped<K>(kube: &kube::Client, settings: &Settings) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    if settings.watch_namespaces.is_empty() {
        return vec![Api::all(kube.clone())];
    }
    let namespaces: BTreeSet<&String> = settings.watch_namespaces.iter().collect();
    namespaces.into_iter().map(|namespace| Api::namespaced(kube.clone(), namespace)).collect()
}

/// A store that a watch fills for ever, with as many streams of changes as are asked for.
pub(super) struct Followed<K: Resource<DynamicType = ()> + 'static> {
    pub(super) reader: Store<K>,
    pub(super) changes: Vec<Changes<K>>,
    pub(super) listed: watch::Receiver<bool>,
}

/// Starts to follow a kind. A change is handed on only after the store has it.
pub(super) fn follow<K>(apis: Vec<Api<K>>, subscribers: usize) -> Followed<K>
where
    K: Object + 'static,
{
    let events = |api| {
        let mut shared = Shared::default();
        watched(api).modify(move |object| slim(object, &mut shared)).boxed()
    };
    let mut watches: Vec<_> = apis
        .into_iter()
        .map(|api| Watch { namespace: api.namespace().unwrap_or_default().to_owned(), events: events(api) })
        .collect();
    // One watch alone needs no second buffer for its list.
    match (watches.pop(), watches.is_empty()) {
        (Some(only), true) => follow_events(|_| only.events, subscribers),
        (last, _) => {
            let watches = watches.into_iter().chain(last).collect();
            follow_events(|store| merged(watches, store).boxed(), subscribers)
        }
    }
}

/// Starts to follow what is said of namespaces.
pub(super) fn follow_namespaces(kube: &kube::Client, subscribers: usize) -> Followed<PartialObjectMeta<Namespace>> {
    let metadata = Api::<PartialObjectMeta<Namespace>>::all(kube.clone());
    // Selectors go by any label, and a domain may take a name from any annotation.
    let events = watched(metadata).modify(|namespace| namespace.metadata.managed_fields = None).boxed();
    follow_events(|_| events, subscribers)
}

/// A watch that goes on for ever.
fn watched<K>(api: Api<K>) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff()
}

/// What a watch gives.
type Events<K> = BoxStream<'static, Result<watcher::Event<K>, watcher::Error>>;

/// Fills a store with events; those of several watches are told apart by what the store has.
fn follow_events<K>(events: impl FnOnce(Store<K>) -> Events<K>, subscribers: usize) -> Followed<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (reader, writer) = reflector::store();
    let (senders, changes): (Vec<_>, Vec<_>) = (0..subscribers).map(|_| unbounded()).unzip();
    let (all_in, listed) = watch::channel(false);
    tokio::spawn(hand_on(events(reader.clone()).reflect(writer), reader.clone(), senders, all_in));
    Followed { reader, changes, listed }
}

async fn hand_on<K>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    reader: Store<K>,
    senders: Vec<UnboundedSender<Change<K>>>,
    all_in: watch::Sender<bool>,
) where
    K: Resource<DynamicType = ()> + Clone,
{
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let mut is_old = false;
        let changed = match event {
            Ok(watcher::Event::Apply(object)) => vec![Arc::new(object)],
            Ok(watcher::Event::InitDone) => {
                is_old = !all_in.send_replace(true);
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
            let _ = sender.unbounded_send(Change { object: object.clone(), is_old });
        }
    }
}

/// Drops what no driver reads: half of an object is who set which field, and a map takes half a KiB for one entry. Labels
/// are read of mailboxes that domains made only.
fn slim<K: Object>(object: &mut K, shared: &mut Shared) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    meta.labels.take_if(|labels| !labels.contains_key(PROVISIONED_BY));
    let ours = meta.annotations.take().into_iter().flatten().filter(|(key, _)| key.starts_with(GROUP));
    meta.annotations = Some(ours.collect()).filter(|ours: &BTreeMap<_, _>| !ours.is_empty());
    if let Some(status) = object.status_mut() {
        shared.share(status.conditions_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::PAUSED;
    use futures::stream;
    use kube::ResourceExt;

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
        let mut next = async || changes.next().await.map(|change| (change.object.name_any(), change.is_old));
        assert_eq!(next().await, Some(("one".to_owned(), true)));
        assert_eq!(next().await, Some(("two".to_owned(), false)));
        assert!(changes.next().await.is_none() && reader.state().len() == 1);
    }

    #[tokio::test]
    async fn of_several_namespaces_only_the_first_lists_are_old() {
        fn of(namespace: &str, name: &str) -> EmailMailbox {
            let mut mailbox = mailbox(name);
            mailbox.metadata.namespace = Some(namespace.into());
            mailbox
        }
        let list = |namespace: &str, name: &str| {
            [watcher::Event::Init, watcher::Event::InitApply(of(namespace, name)), watcher::Event::InitDone]
        };
        let (gate, opened) = futures::channel::oneshot::channel::<()>();
        let again = stream::once(opened).flat_map(move |_| stream::iter(list("a", "again")));
        let watches = vec![
            Watch { namespace: "a".into(), events: stream::iter(list("a", "one")).chain(again).map(Ok).boxed() },
            Watch { namespace: "b".into(), events: stream::iter(list("b", "two")).map(Ok).boxed() },
        ];
        let mut followed = follow_events(|store| merged(watches, store).boxed(), 1);
        let mut next =
            async || followed.changes[0].next().await.map(|change| (change.object.name_any(), change.is_old));
        let mut first = [next().await, next().await].map(|change| change.unwrap());
        first.sort();
        assert_eq!(first, ["one", "two"].map(|name| (name.to_owned(), true)));
        gate.send(()).unwrap();
        assert_eq!(next().await, Some(("again".to_owned(), false)));
        assert!(next().await.is_none());
    }

    #[test]
    fn labels_of_provisioned_mailboxes_are_kept() {
        let mut mailbox = mailbox("made");
        mailbox.labels_mut().insert("app.kubernetes.io/managed-by".into(), "mailcow-operator".into());
        mailbox.labels_mut().insert(PROVISIONED_BY.into(), "n.d".into());
        slim(&mut mailbox, &mut Shared::default());
        assert_eq!(mailbox.labels().len(), 2);
    }

    #[test]
    fn stores_hold_only_what_drivers_read() {
        let mut mailbox = mailbox("one");
        mailbox
            .managed_fields_mut()
            .push(k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry::default());
        mailbox.annotations_mut().insert("kubectl.kubernetes.io/last-applied-configuration".into(), "{}".into());
        mailbox.annotations_mut().insert(PAUSED.into(), "true".into());
        mailbox.labels_mut().insert("app".into(), "x".into());
        slim(&mut mailbox, &mut Shared::default());
        assert!(mailbox.metadata.managed_fields.is_none() && mailbox.metadata.labels.is_none());
        assert_eq!(mailbox.annotations().keys().collect::<Vec<_>>(), [PAUSED]);
        mailbox.annotations_mut().remove(PAUSED);
        slim(&mut mailbox, &mut Shared::default());
        assert!(mailbox.metadata.annotations.is_none());
    }
}
