//! Our kinds in the Kubernetes API: one watch each, shared by all drivers.
//!
//! kube's own shared streams are not used: with the name of a deleted object they answer `Pending`
//! without being triggered again (kube-runtime 5.0, `ReflectHandle::poll_next`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::config::Settings;
use crate::crd::{
    ANNOTATIONS, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, FINALIZER, MANAGED_BY, PROVISIONED_BY,
};
use crate::kubernetes::intern::Interner;
use crate::kubernetes::merged::{Watch, merged};
use crate::kubernetes::object::Object;
use crate::mail::cut;
use crate::publisher::Publisher;
use crate::status::Conditioned;

/// Number of objects in a page of a list: objects being read need several times the memory of stored ones.
const PAGE: u32 = 100;
/// The labels that drivers read, of automatic mailboxes.
const LABELS: [&str; 2] = [PROVISIONED_BY, MANAGED_BY];
/// The longest value of an annotation, in bytes: longer than any address. Of a longer one the beginning and a hash are
/// kept, because statuses repeat some of them.
const LONGEST_ANNOTATION: usize = 512;

/// The changes of a kind, for one subscriber.
pub(crate) type Changes<K> = UnboundedReceiver<Change<K>>;

/// What happened to an object.
#[derive(Debug)]
pub(crate) enum Change<K> {
    /// It existed when the operator started, or when the subscription began.
    Listed(Arc<K>),
    /// It was created or changed; the store has this version.
    Applied(Arc<K>),
    /// It was deleted; the last version.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The object.
    pub(crate) fn object(&self) -> &Arc<K> {
        match self {
            Self::Listed(object) | Self::Applied(object) | Self::Deleted(object) => object,
        }
    }
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Listed(object) => Self::Listed(object.clone()),
            Self::Applied(object) => Self::Applied(object.clone()),
            Self::Deleted(object) => Self::Deleted(object.clone()),
        }
    }
}

/// The store of a kind, with subscriptions. Clones share it.
pub(crate) struct Watched<K: Resource<DynamicType = ()> + 'static> {
    store: Store<K>,
    changes: Publisher<Change<K>>,
    /// Whether the first list is complete.
    listed: watch::Receiver<bool>,
    /// Whether the subscribers have it.
    published: watch::Receiver<bool>,
}

impl<K: Resource<DynamicType = ()> + 'static> Clone for Watched<K> {
    fn clone(&self) -> Self {
        let (listed, published) = (self.listed.clone(), self.published.clone());
        Self { store: self.store.clone(), changes: self.changes.clone(), listed, published }
    }
}

impl<K: Resource<DynamicType = ()> + 'static> std::ops::Deref for Watched<K> {
    type Target = Store<K>;

    fn deref(&self) -> &Store<K> {
        &self.store
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Watched<K> {
    /// The store alone.
    pub(crate) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// All current objects, and then every change.
    pub(crate) fn subscribe(&self) -> Changes<K> {
        self.changes.subscribe_after(|| {
            let is_listed = *self.listed.borrow();
            let there = if is_listed { self.store.state() } else { Vec::new() };
            there.into_iter().map(Change::Listed).collect()
        })
    }

    /// Waits until the first list is complete and the subscribers have it. (`Store::wait_until_ready` wakes only the
    /// last of several waiters.)
    pub(crate) async fn ready(&self) {
        // An error only says that the watch has ended with the process.
        let _ = self.published.clone().wait_for(|published| *published).await;
    }
}

/// The four kinds, and namespaces.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) domains: Watched<EmailDomain>,
    pub(crate) mailboxes: Watched<EmailMailbox>,
    pub(crate) aliases: Watched<EmailAlias>,
    pub(crate) rules: Watched<EmailForwardingRule>,
    /// Labels and annotations of namespaces; `None` if the operator may not read them.
    pub(crate) namespaces: Option<Watched<PartialObjectMeta<Namespace>>>,
}

impl Stores {
    /// Starts to watch everything; `may_read_namespaces` says whether namespaces can be watched too.
    pub(crate) fn watch(kube: &kube::Client, settings: &Settings, may_read_namespaces: bool) -> Self {
        Self {
            domains: watch(scoped(kube, settings)),
            mailboxes: watch(scoped(kube, settings)),
            aliases: watch(scoped(kube, settings)),
            rules: watch(scoped(kube, settings)),
            namespaces: may_read_namespaces.then(|| watch_namespaces(kube)),
        }
    }

    /// Waits until every first list is in.
    pub(crate) async fn ready(&self) {
        self.domains.ready().await;
        self.mailboxes.ready().await;
        self.aliases.ready().await;
        self.rules.ready().await;
        if let Some(namespaces) = &self.namespaces {
            namespaces.ready().await;
        }
    }

    /// Labels and annotations of a namespace, if they are readable.
    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.namespaces.as_ref()?.get(&ObjectRef::new(name))
    }
}

/// The API of a kind for all watched namespaces: one for each listed namespace, or one for all.
pub(crate) fn scoped<K>(kube: &kube::Client, settings: &Settings) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    in_namespaces(kube, &settings.watch_namespaces)
}

/// The API of a kind for the listed namespaces: one for each, or one for all where none is listed.
pub(crate) fn in_namespaces<K>(kube: &kube::Client, listed: &[String]) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    if listed.is_empty() {
        return vec![Api::all(kube.clone())];
    }
    let namespaces: BTreeSet<&String> = listed.iter().collect();
    namespaces.into_iter().map(|namespace| Api::namespaced(kube.clone(), namespace)).collect()
}

/// Starts to watch a kind in these namespaces.
pub(crate) fn watch<K: Object + 'static>(apis: Vec<Api<K>>) -> Watched<K> {
    let events = |api| {
        let mut interner = Interner::default();
        watched(api).modify(move |object| slim(object, &mut interner)).boxed()
    };
    let mut watches: Vec<_> = apis
        .into_iter()
        .map(|api| Watch { namespace: api.namespace().unwrap_or_default().to_owned(), events: events(api) })
        .collect();
    // One watch alone needs no second buffer for its list.
    match (watches.pop(), watches.is_empty()) {
        (Some(only), true) => watch_events(|_| only.events),
        (last, _) => {
            let watches = watches.into_iter().chain(last).collect();
            watch_events(|store| merged(watches, store).boxed())
        }
    }
}

/// Starts to watch labels and annotations of namespaces.
fn watch_namespaces(kube: &kube::Client) -> Watched<PartialObjectMeta<Namespace>> {
    let metadata = Api::<PartialObjectMeta<Namespace>>::all(kube.clone());
    // Selectors can use any label, and a domain can take a name from any annotation.
    let events = watched(metadata).modify(|namespace| namespace.metadata.managed_fields = None).boxed();
    watch_events(|_| events)
}

/// A watch that never ends.
fn watched<K>(api: Api<K>) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff()
}

/// What a watch gives.
type Events<K> = BoxStream<'static, Result<watcher::Event<K>, watcher::Error>>;

/// Fills a store with events.
fn watch_events<K>(events: impl FnOnce(Store<K>) -> Events<K>) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changes = Publisher::default();
    let (all_in, listed) = watch::channel(false);
    let (all_published, published) = watch::channel(false);
    tokio::spawn(fill(events(store.clone()), writer, changes.clone(), all_in, all_published));
    Watched { store, changes, listed, published }
}

/// Writes each event to the store, and then publishes what changed.
async fn fill<K>(
    mut events: Events<K>,
    mut writer: Writer<K>,
    changes: Publisher<Change<K>>,
    all_in: watch::Sender<bool>,
    all_published: watch::Sender<bool>,
) where
    K: Resource<DynamicType = ()> + Clone,
{
    let store = writer.as_reader();
    let mut before = Vec::new();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch ended; restarting it");
                continue;
            }
        };
        if matches!(event, watcher::Event::InitDone) {
            before = store.state();
        }
        writer.apply_watcher_event(&event);
        match event {
            watcher::Event::Apply(object) => {
                let stored = store.get(&ObjectRef::from_obj(&object)).unwrap_or_else(|| Arc::new(object));
                changes.publish(&Change::Applied(stored));
            }
            watcher::Event::Delete(object) => changes.publish(&Change::Deleted(Arc::new(object))),
            watcher::Event::InitDone => {
                publish_list(&store, std::mem::take(&mut before), &changes, &all_in);
                all_published.send_replace(true);
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => {}
        }
    }
}

/// Publishes a complete list: existing objects, and objects that vanished since the last one.
fn publish_list<K>(store: &Store<K>, before: Vec<Arc<K>>, changes: &Publisher<Change<K>>, all_in: &watch::Sender<bool>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_first = !*all_in.borrow();
    // Before it is published: a subscriber in between gets the list from the store, so no object is missed.
    all_in.send_replace(true);
    for object in store.state() {
        changes.publish(&if is_first { Change::Listed(object) } else { Change::Applied(object) });
    }
    for object in before {
        if store.get(&ObjectRef::from_obj(object.as_ref())).is_none() {
            changes.publish(&Change::Deleted(object));
        }
    }
}

/// Drops what no driver reads: managed fields are half of an object, and a map needs half a KiB for one entry. Labels
/// are needed only of automatic mailboxes. Whoever may write an object may fill the rest of its metadata with a MiB.
fn slim<K: Object>(object: &mut K, interner: &mut Interner) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    meta.owner_references = None;
    meta.generate_name = None;
    let labels = meta.labels.take().into_iter().flatten();
    let labels: BTreeMap<_, _> = labels.filter(|(key, _)| LABELS.contains(&key.as_str())).collect();
    meta.labels = Some(labels).filter(|labels| labels.contains_key(PROVISIONED_BY));
    let finalizers = meta.finalizers.take().into_iter().flatten();
    let ours: Vec<String> = finalizers.filter(|finalizer| finalizer == FINALIZER).take(1).collect();
    meta.finalizers = Some(ours).filter(|ours| !ours.is_empty());
    let annotations = meta.annotations.take().into_iter().flatten();
    let ours = annotations.filter(|(key, _)| ANNOTATIONS.contains(&key.as_str()));
    let ours: BTreeMap<_, _> = ours.map(|(key, value)| (key, cut(&value, LONGEST_ANNOTATION))).collect();
    meta.annotations = Some(ours).filter(|ours| !ours.is_empty());
    if let Some(status) = object.status_mut() {
        interner.intern(status.conditions_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::PAUSED;
    use futures::stream;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use kube::ResourceExt;

    fn mailbox(name: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new(name, spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox
    }

    fn shown(change: &Change<EmailMailbox>) -> String {
        let name = change.object().name_any();
        match change {
            Change::Listed(_) => format!("={name}"),
            Change::Applied(_) => format!("+{name}"),
            Change::Deleted(_) => format!("-{name}"),
        }
    }

    /// What a subscriber gets of these events, and of those that come after it has subscribed.
    async fn received(
        first: Vec<watcher::Event<EmailMailbox>>,
        then: Vec<watcher::Event<EmailMailbox>>,
    ) -> Vec<String> {
        let (gate, opened) = futures::channel::oneshot::channel::<()>();
        let later = stream::once(opened).flat_map(move |_| stream::iter(then.clone()).map(Ok));
        let watched = watch_events(|_| stream::iter(first).map(Ok).chain(later).boxed());
        watched.ready().await;
        let changes = watched.subscribe();
        gate.send(()).unwrap();
        drop(watched);
        changes.map(|change| shown(&change)).collect().await
    }

    fn list(names: &[&str]) -> Vec<watcher::Event<EmailMailbox>> {
        let objects = names.iter().map(|name| watcher::Event::InitApply(mailbox(name)));
        std::iter::once(watcher::Event::Init).chain(objects).chain([watcher::Event::InitDone]).collect()
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_is_there_and_then_each_change_and_deletion() {
        let later = vec![watcher::Event::Apply(mailbox("two")), watcher::Event::Delete(mailbox("one"))];
        assert_eq!(received(list(&["one"]), later).await, ["=one", "+two", "-one"]);
    }

    #[tokio::test]
    async fn what_a_later_list_lacks_was_deleted() {
        let mut changes = received(list(&["one", "two"]), list(&["two", "three"])).await;
        changes[..2].sort();
        changes[2..4].sort();
        assert_eq!(changes, ["=one", "=two", "+three", "+two", "-one"]);
    }

    #[tokio::test]
    async fn of_several_namespaces_only_the_first_lists_are_there_from_the_start() {
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
        let followed = watch_events(|store| merged(watches, store).boxed());
        followed.ready().await;
        let mut changes = followed.subscribe();
        let mut next = async || changes.next().await.map(|change| shown(&change)).unwrap_or_default();
        let mut first = [next().await, next().await];
        first.sort();
        assert_eq!(first, ["=one", "=two"]);
        gate.send(()).unwrap();
        let mut then = [next().await, next().await];
        then.sort();
        assert_eq!(then, ["+again", "-one"]);
    }

    #[test]
    fn labels_of_provisioned_mailboxes_are_kept() {
        let mut mailbox = mailbox("made");
        mailbox.labels_mut().insert("app.kubernetes.io/managed-by".into(), "mailcow-operator".into());
        mailbox.labels_mut().insert(PROVISIONED_BY.into(), "n.d".into());
        slim(&mut mailbox, &mut Interner::default());
        assert_eq!(mailbox.labels().len(), 2);
    }

    #[test]
    fn what_anybody_may_fill_with_a_mebibyte_is_not_held() {
        let text = |n: usize| format!("{n}{}", "x".repeat(1 << 20));
        let mut large = mailbox("large");
        large.labels_mut().insert(PROVISIONED_BY.into(), "n.d".into());
        for n in 0..9 {
            large.labels_mut().insert(text(n), "x".into());
            large.finalizers_mut().extend([text(n), FINALIZER.to_owned()]);
            large.annotations_mut().insert(format!("{PAUSED}{n}"), text(n));
            large.owner_references_mut().push(OwnerReference { name: text(n), ..OwnerReference::default() });
        }
        large.metadata.generate_name = Some(text(0));
        for annotation in ANNOTATIONS {
            large.annotations_mut().insert(annotation.to_owned(), text(1));
        }
        slim(&mut large, &mut Interner::default());
        let left = serde_json::to_string(&large.metadata).unwrap();
        assert!(left.len() < ANNOTATIONS.len() * (LONGEST_ANNOTATION + 60) + 400, "{}", left.len());
        assert_eq!(large.finalizers(), [FINALIZER]);
        let mut other = mailbox("other");
        other.annotations_mut().insert(PAUSED.to_owned(), format!("{}!", text(1)));
        slim(&mut other, &mut Interner::default());
        assert_ne!(large.annotations()[PAUSED], other.annotations()[PAUSED], "what differs stays apart");
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
        slim(&mut mailbox, &mut Interner::default());
        assert!(mailbox.metadata.managed_fields.is_none() && mailbox.metadata.labels.is_none());
        assert_eq!(mailbox.annotations().keys().collect::<Vec<_>>(), [PAUSED]);
        mailbox.annotations_mut().remove(PAUSED);
        slim(&mut mailbox, &mut Interner::default());
        assert!(mailbox.metadata.annotations.is_none());
    }
}
