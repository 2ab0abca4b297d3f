//! Our kinds in the Kubernetes API: one watch each, shared by all drivers.
//!
//! kube's own shared streams are not used: with the name of a deleted object they answer `Pending`
//! without being triggered again (kube-runtime 5.0, `ReflectHandle::poll_next`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
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
use crate::kubernetes::monotonic::{Events, monotonic};
use crate::kubernetes::object::Object;
use crate::kubernetes::store::{Before, Store, Stored, Writer, Written, store};
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

/// What happened to an object.
#[derive(Debug)]
pub(crate) enum Change<K> {
    /// It existed when the operator started, or when the subscription began.
    Listed(Arc<K>),
    /// It was created or changed.
    Applied {
        /// The version in the store.
        object: Arc<K>,
        /// The version before; `None` if it was created.
        before: Option<Arc<K>>,
    },
    /// It was deleted; the last version.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The object, if it was deleted.
    pub(crate) fn deleted(&self) -> Option<&Arc<K>> {
        match self {
            Self::Deleted(object) => Some(object),
            Self::Listed(_) | Self::Applied { .. } => None,
        }
    }

    /// The object, if its `what` changed, or it is there for the first time, or it was deleted.
    pub(crate) fn changed(&self, what: impl Fn(&K) -> u64) -> Option<&Arc<K>> {
        match self {
            Self::Applied { object, before: Some(before) } => (what(before) != what(object)).then_some(object),
            Self::Listed(object) | Self::Applied { object, before: None } | Self::Deleted(object) => Some(object),
        }
    }

    /// The same for triggers of other objects. Objects that existed at the start trigger none: each has its first
    /// reconcile when everything is listed.
    pub(crate) fn changed_since_start(&self, what: impl Fn(&K) -> u64) -> Option<&Arc<K>> {
        match self {
            Self::Listed(_) => None,
            Self::Applied { .. } | Self::Deleted(_) => self.changed(what),
        }
    }
}

/// The store of a kind, with subscriptions. Clones share it.
pub(crate) struct Watched<K: Stored> {
    store: Store<K>,
    changes: Publisher<Change<K>>,
    /// Whether the first list is complete.
    listed: watch::Receiver<bool>,
    /// Whether the subscribers have it.
    published: watch::Receiver<bool>,
}

impl<K: Stored> Clone for Watched<K> {
    fn clone(&self) -> Self {
        let (listed, published) = (self.listed.clone(), self.published.clone());
        Self { store: self.store.clone(), changes: self.changes.clone(), listed, published }
    }
}

impl<K: Stored> std::ops::Deref for Watched<K> {
    type Target = Store<K>;

    fn deref(&self) -> &Store<K> {
        &self.store
    }
}

impl<K: Stored> Watched<K> {
    /// The store alone.
    pub(crate) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// What `select` takes of all current objects, and then of every change. It runs at each change, before anything is
    /// queued: what a subscriber does not need must not take memory until it has time for it.
    pub(crate) fn subscribe<S: Send + 'static>(
        &self,
        select: impl Fn(&Change<K>) -> Option<S> + Send + 'static,
    ) -> UnboundedReceiver<S> {
        let current = || {
            let is_listed = *self.listed.borrow();
            is_listed.then(|| self.store.all().map(Change::Listed)).into_iter().flatten()
        };
        self.changes.subscribe_to(current, select)
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
    let events = |api: Api<K>, store: &Store<K>| {
        let mut interner = Interner::default();
        let events = watched(api.clone()).modify(move |object| slim(object, &mut interner)).boxed();
        monotonic(events, api.namespace().map(ToOwned::to_owned), store.clone(), api)
    };
    watch_events(|store| match <[Api<K>; 1]>::try_from(apis) {
        // One watch alone needs no second buffer for its list.
        Ok([only]) => events(only, &store),
        Err(several) => {
            let watch = |api: Api<K>| {
                let namespace = api.namespace().unwrap_or_default().to_owned();
                Watch { namespace, events: events(api, &store) }
            };
            merged(several.into_iter().map(watch).collect(), store.clone()).boxed()
        }
    })
}

/// Starts to watch labels and annotations of namespaces.
fn watch_namespaces(kube: &kube::Client) -> Watched<PartialObjectMeta<Namespace>> {
    let metadata = Api::<PartialObjectMeta<Namespace>>::all(kube.clone());
    // Selectors can use any label, and a domain can take a name from any annotation.
    let events = watched(metadata.clone()).modify(|namespace| namespace.metadata.managed_fields = None).boxed();
    watch_events(|store| monotonic(events, None, store, metadata))
}

/// A watch that never ends. It lists in pages: a streamed list (`sendInitialEvents`) took no less processor time of the
/// API server (Kubernetes 1.36, 6,000 mailboxes, three times each: 0.69 to 0.77 s, pages 0.52 to 0.79 s), and a page needs
/// little memory.
fn watched<K>(api: Api<K>) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff()
}

/// Fills a store with events.
fn watch_events<K: Stored>(events: impl FnOnce(Store<K>) -> Events<K>) -> Watched<K> {
    let (store, writer) = store();
    let changes = Publisher::default();
    let (all_in, listed) = watch::channel(false);
    let (all_published, published) = watch::channel(false);
    tokio::spawn(fill(events(store.clone()), writer, changes.clone(), all_in, all_published));
    Watched { store, changes, listed, published }
}

/// Writes each event to the store, and then publishes what changed.
async fn fill<K: Stored>(
    mut events: Events<K>,
    mut writer: Writer<K>,
    changes: Publisher<Change<K>>,
    all_in: watch::Sender<bool>,
    all_published: watch::Sender<bool>,
) {
    let store = writer.store();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch ended; restarting it");
                continue;
            }
        };
        match writer.apply(event) {
            Written::Nothing => {}
            Written::Applied { object, before } => changes.publish(&Change::Applied { object, before }),
            Written::Deleted(object) => changes.publish(&Change::Deleted(object)),
            Written::Listed(before) => {
                publish_list(&store, before, &changes, &all_in);
                all_published.send_replace(true);
            }
        }
    }
}

/// Publishes a complete list: existing objects, and objects that vanished since the last one.
fn publish_list<K: Stored>(
    store: &Store<K>,
    before: Before<K>,
    changes: &Publisher<Change<K>>,
    all_in: &watch::Sender<bool>,
) {
    let is_first = !*all_in.borrow();
    // Before it is published: a subscriber in between gets the list from the store, so no object is missed.
    all_in.send_replace(true);
    before.differences(store, |before, now| match (before, now) {
        (_, Some(object)) if is_first => changes.publish(&Change::Listed(object)),
        (before, Some(object)) => changes.publish(&Change::Applied { object, before }),
        (Some(object), None) => changes.publish(&Change::Deleted(object)),
        (None, None) => {}
    });
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
    // Those of others are not kept. An empty list says that there are some, for whoever adds ours.
    let finalizers = meta.finalizers.take().filter(|all| !all.is_empty());
    meta.finalizers = finalizers.map(|all| all.into_iter().filter(|one| one == FINALIZER).take(1).collect());
    let annotations = meta.annotations.take().into_iter().flatten();
    let ours = annotations.filter(|(key, _)| ANNOTATIONS.contains(&key.as_str()));
    let ours: BTreeMap<_, _> = ours.map(|(key, value)| (key, cut(&value, LONGEST_ANNOTATION))).collect();
    meta.annotations = Some(ours).filter(|ours| !ours.is_empty());
    if let Some(status) = object.status_mut() {
        interner.intern(status.conditions_mut());
    }
}

#[cfg(test)]
impl<K: Stored> Watched<K> {
    /// A store with these objects, and nothing that fills it further.
    pub(crate) fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let (store, mut writer) = store();
        objects.into_iter().for_each(|object| drop(writer.apply(watcher::Event::Apply(object))));
        let (listed, published) = (watch::channel(true).1, watch::channel(true).1);
        Self { store, changes: Publisher::default(), listed, published }
    }

    /// Publishes a change without a write to the store.
    pub(crate) fn publish(&self, change: &Change<K>) {
        self.changes.publish(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::PAUSED;
    use futures::{FutureExt, stream};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use kube::ResourceExt;

    fn mailbox(name: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new(name, spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox
    }

    fn shown(change: &Change<EmailMailbox>) -> String {
        let (sign, object) = match change {
            Change::Listed(object) => ('=', object),
            Change::Applied { object, before } => (if before.is_some() { '~' } else { '+' }, object),
            Change::Deleted(object) => ('-', object),
        };
        format!("{sign}{}", object.name_any())
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
        let changes = watched.subscribe(|change| Some(shown(change)));
        gate.send(()).unwrap();
        drop(watched);
        changes.collect().await
    }

    fn list(names: &[&str]) -> Vec<watcher::Event<EmailMailbox>> {
        let objects = names.iter().map(|name| watcher::Event::InitApply(mailbox(name)));
        std::iter::once(watcher::Event::Init).chain(objects).chain([watcher::Event::InitDone]).collect()
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_is_there_and_then_each_change_and_deletion() {
        let later = vec![watcher::Event::Apply(mailbox("two")), watcher::Event::Delete(mailbox("one"))];
        assert_eq!(received(list(&["one"]), later).await, ["=one", "+two", "-one"]);
        let later = ["one", "two", "two"].map(|name| watcher::Event::Apply(mailbox(name))).to_vec();
        assert_eq!(received(list(&["one"]), later).await, ["=one", "~one", "+two", "~two"], "each with what it was");
    }

    #[tokio::test]
    async fn what_a_later_list_lacks_was_deleted() {
        let mut changes = received(list(&["one", "two"]), list(&["two", "three"])).await;
        changes[..2].sort();
        changes[2..4].sort();
        assert_eq!(changes, ["=one", "=two", "+three", "~two", "-one"]);
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
        let mut changes = followed.subscribe(|change| Some(shown(change)));
        let mut next = async || changes.next().await.unwrap_or_default();
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
        large.metadata.finalizers = Some(vec![text(0)]);
        slim(&mut large, &mut Interner::default());
        assert_eq!(large.metadata.finalizers, Some(Vec::new()), "there are others");
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

    /// An object as the API server sends it, when it is in sync.
    fn in_sync<K: Object>(kind: &str, n: usize, spec: &serde_json::Value, status: &serde_json::Value) -> K {
        let managed = serde_json::json!({
            "manager": "mailcow-operator", "operation": "Apply", "apiVersion": "email.askrobots.com/v1alpha1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": {"f:status": {"f:address": {}, "f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:reason": {}}}}},
        });
        let condition = |kind: &str| {
            let (reason, message) = match kind {
                "ResolvedRefs" => (kind, "everything that the spec names exists"),
                _ => ("InSync", "Mailcow matches the spec"),
            };
            serde_json::json!({
                "type": kind, "status": "True", "reason": reason, "message": message,
                "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let conditions = ["Ready", "Synced", "ResolvedRefs"].map(condition);
        let policy = |value: &str| serde_json::json!({"value": value, "from": "Kind"});
        let mut status = status.clone();
        let common = serde_json::json!({
            "observedGeneration": 1, "syncedGeneration": 1, "server": "default",
            "policies": {"deletion": policy("Retain"), "adoption": policy("IfUnowned"), "drift": policy("Correct")},
            "conditions": conditions,
        });
        status.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        let object = serde_json::json!({
            "apiVersion": "email.askrobots.com/v1alpha1", "kind": kind, "spec": spec, "status": status,
            "metadata": {
                "name": format!("person-{n:04}"), "namespace": "team-blue", "generation": 1,
                "uid": format!("1b4e28ba-2fa1-11d2-883f-0016d3cc{n:04}"), "resourceVersion": format!("91{n:04}"),
                "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": [crate::crd::FINALIZER],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
                "managedFields": [managed.clone(), managed],
            },
        });
        serde_json::from_str(&object.to_string()).unwrap()
    }

    /// The heap of a store, in bytes for each object, and the objects themselves in it.
    fn heap_per_object<K: Object + 'static>(object: impl Fn(usize) -> K) -> i64 {
        // As many as a map of 2,048 places takes.
        const OBJECTS: usize = 1792;
        let mut kept = None;
        let measured = allocation_counter::measure(|| {
            let (store, mut writer) = store();
            let mut interner = Interner::default();
            writer.apply(watcher::Event::Init);
            for n in 0..OBJECTS {
                let mut object = object(n);
                slim(&mut object, &mut interner);
                writer.apply(watcher::Event::InitApply(object));
            }
            writer.apply(watcher::Event::InitDone);
            kept = Some((store, writer, interner));
        });
        assert_eq!(kept.unwrap().0.len(), OBJECTS);
        measured.bytes_current / i64::try_from(OBJECTS).unwrap()
    }

    /// The same while they wait for the list of another namespace.
    fn heap_per_waiting_object<K: Object + 'static>(object: fn(usize) -> K) -> i64 {
        const OBJECTS: usize = 1000;
        let mut kept = None;
        let measured = allocation_counter::measure(|| {
            let (store, writer) = store();
            let mut interner = Interner::default();
            let objects = (0..OBJECTS).map(move |n| {
                let mut object = object(n);
                slim(&mut object, &mut interner);
                watcher::Event::InitApply(object)
            });
            let list = std::iter::once(watcher::Event::Init).chain(objects).chain([watcher::Event::InitDone]);
            let watches = [("team-blue", stream::iter(list.map(Ok)).boxed()), ("team-red", stream::pending().boxed())];
            let watches = watches.map(|(namespace, events)| Watch { namespace: namespace.to_owned(), events });
            let mut all = Box::pin(merged(watches.into(), store));
            assert!(all.next().now_or_never().is_none());
            kept = Some((all, writer));
        });
        drop(kept);
        measured.bytes_current / i64::try_from(OBJECTS).unwrap()
    }

    fn mailbox_in_sync(n: usize) -> EmailMailbox {
        let address = format!("person-{n:04}@blue.example.com");
        in_sync(
            "EmailMailbox",
            n,
            &serde_json::json!({"localPart": format!("person-{n:04}"), "domainRef": {"name": "blue"}, "displayName": "A Person"}),
            &serde_json::json!({
                "address": address, "syncedDomainGeneration": 1, "messages": 0,
                "quota": {"limit": "1Gi", "used": "0", "percent": 0},
                "credentialsSecretName": format!("person-{n:04}-mailbox"),
                "passwordVersion": format!("1b4e28ba-2fa1-11d2-883f-0016d3cc{n:04}/91{n:04}/0123456789abcdef"),
            }),
        )
    }

    fn alias_in_sync(n: usize) -> EmailAlias {
        let (address, to) = (format!("alias-{n:04}@blue.example.com"), format!("person-{n:04}@blue.example.com"));
        in_sync(
            "EmailAlias",
            n,
            &serde_json::json!({
                "localPart": format!("alias-{n:04}"), "domainRef": {"name": "blue"},
                "gotoMailboxRefs": [{"name": format!("person-{n:04}")}],
            }),
            &serde_json::json!({"address": address, "aliasId": n, "goto": [to], "gotoSummary": to}),
        )
    }

    #[test]
    fn a_stored_object_in_sync_takes_little_heap() {
        let (mailbox, alias) = (heap_per_object(mailbox_in_sync), heap_per_object(alias_in_sync));
        assert!(mailbox <= 340 && alias <= 385, "bytes of heap: {mailbox} for a mailbox, {alias} for an alias");
    }

    #[test]
    fn an_object_that_waits_for_the_lists_of_other_namespaces_takes_no_more() {
        let (mailbox, alias) = (heap_per_waiting_object(mailbox_in_sync), heap_per_waiting_object(alias_in_sync));
        assert!(mailbox <= 340 && alias <= 385, "bytes of heap: {mailbox} for a mailbox, {alias} for an alias");
        assert!(mailbox > 100 && alias > 100, "nothing is kept");
    }
}
