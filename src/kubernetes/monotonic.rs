//! Keeps a watch from going back in time. An API server that lags behind may answer with an old list and then repeat old
//! events; an operator that acts on them undoes newer changes, also on behalf of objects that no longer exist.
//!
//! Versions of objects of one resource can be compared as numbers (KEP-5504, stable in Kubernetes 1.35; etcd gave such
//! numbers before).

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::kubernetes::store::{Store, Stored};

/// Time between two tries to ask the API server.
const RETRY: Duration = Duration::from_secs(1);
/// For so long an API server whose data are older may be one that lags behind; after that its data count, as after a
/// restore of etcd.
const LAG: Duration = Duration::from_secs(30);
/// Number of objects in a page of a list.
const PAGE: u32 = 500;

/// The events of a watch.
pub(crate) type Events<K> = BoxStream<'static, Result<Event<K>, watcher::Error>>;

/// What the API server answers now, whatever an earlier list had.
pub(crate) trait Server: Send + 'static {
    /// The version of its data.
    fn version(&self) -> impl Future<Output = Result<u64, kube::Error>> + Send;
    /// The uids of all objects that the watch is about, and the version of the data that they are from.
    fn uids(&self) -> impl Future<Output = Result<(u64, HashSet<String>), kube::Error>> + Send;
}

impl<K> Server for Api<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    async fn version(&self) -> Result<u64, kube::Error> {
        let list = self.list_metadata(&ListParams::default().limit(1)).await?;
        Ok(number(list.metadata.resource_version.as_deref()))
    }

    async fn uids(&self) -> Result<(u64, HashSet<String>), kube::Error> {
        let (mut uids, mut page) = (HashSet::new(), ListParams::default().limit(PAGE));
        loop {
            let list = self.list_metadata(&page).await?;
            uids.extend(list.items.into_iter().filter_map(|object| object.metadata.uid));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = ListParams::default().limit(PAGE).continue_token(&token),
                None => return Ok((number(list.metadata.resource_version.as_deref()), uids)),
            }
        }
    }
}

/// The events of a watch of `namespace`, or of all namespaces, without those that are older than earlier ones. `store`
/// has what was output before.
pub(crate) fn monotonic<K: Stored>(
    events: Events<K>,
    namespace: Option<String>,
    store: Store<K>,
    server: impl Server + Sync,
) -> Events<K> {
    guarded(events, Guard { newest: 0, listed: None, newest_listed: 0, namespace, store, server, lag: LAG })
}

fn guarded<K: Stored, S: Server + Sync>(events: Events<K>, guard: Guard<K, S>) -> Events<K> {
    let next = |(mut events, mut guard): (Events<K>, Guard<K, S>)| async move {
        let passed = match events.next().await? {
            Ok(event) => guard.pass(event).await.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Some((stream::iter(passed), (events, guard)))
    };
    stream::unfold((events, guard), next).flatten().boxed()
}

struct Guard<K: Stored, S> {
    /// The version of the newest event.
    newest: u64,
    /// In a later list: the objects in it, by uid.
    listed: Option<HashSet<String>>,
    /// The newest version in the list.
    newest_listed: u64,
    namespace: Option<String>,
    store: Store<K>,
    server: S,
    lag: Duration,
}

impl<K: Stored, S: Server + Sync> Guard<K, S> {
    async fn pass(&mut self, event: Event<K>) -> Vec<Event<K>> {
        match event {
            Event::Init => {
                self.newest_listed = 0;
                self.listed = self.is_comparable().await.then(HashSet::new);
                vec![Event::Init]
            }
            Event::InitApply(object) => self.item(object).map(Event::InitApply).into_iter().collect(),
            Event::InitDone => {
                let kept = self.missing().await.into_iter().map(Event::InitApply);
                self.newest = self.newest.max(self.newest_listed);
                kept.chain([Event::InitDone]).collect()
            }
            Event::Apply(ref object) | Event::Delete(ref object) => {
                self.is_news(object).then_some(event).into_iter().collect()
            }
        }
    }

    /// Whether a new list can be compared with what is known.
    async fn is_comparable(&mut self) -> bool {
        // Where several namespaces are watched, the store is filled when all are listed. Until then a list counts as it
        // is, with the events after it.
        if !self.store.is_listed() {
            self.newest = 0;
        }
        if self.newest == 0 {
            return false;
        }
        let version = || async { self.server.version().await.map(|version| (version, ())) };
        if self.current(version).await.is_none() {
            tracing::warn!(
                kind = %K::kind(&()),
                "the API server's data is older than what it sent before, as after a restore of etcd; the operator continues with it"
            );
            self.newest = 0;
        }
        self.newest > 0
    }

    /// An answer from data that are not older than what is known; `None` if there is none for too long. Two questions may
    /// be answered by two API servers, of which one lags behind.
    async fn current<T, F>(&self, ask: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<(u64, T), kube::Error>>,
    {
        let since = Instant::now();
        loop {
            let (version, answer) = answered(&ask).await;
            if version >= self.newest {
                return Some(answer);
            }
            if since.elapsed() >= self.lag {
                return None;
            }
            tokio::time::sleep(RETRY.min(self.lag)).await;
        }
    }

    /// An object of a list as it must be known; `None` if it was deleted since.
    fn item(&mut self, object: K) -> Option<K> {
        let version = version(&object);
        self.newest_listed = self.newest_listed.max(version);
        let Some(listed) = &mut self.listed else { return Some(object) };
        let known = self.store.get(&ObjectRef::from_obj(&object));
        let current = match known {
            Some(known) if self::version(known.as_ref()) > version => (*known).clone(),
            None if version <= self.newest => return None,
            Some(_) | None => object,
        };
        listed.extend(current.uid());
        Some(current)
    }

    /// The known objects that a list lacks although they exist.
    async fn missing(&mut self) -> Vec<K> {
        let Some(listed) = self.listed.take() else { return Vec::new() };
        let is_missing = |object: &K| {
            let is_watched = self.namespace.is_none() || object.meta().namespace == self.namespace;
            is_watched && !object.meta().uid.as_ref().is_some_and(|uid| listed.contains(uid))
        };
        let missing = self.store.filter(is_missing);
        if missing.is_empty() {
            return Vec::new();
        }
        let uids = self.current(|| self.server.uids()).await;
        // Older data don't say that something newer was deleted.
        let exists = |object: &&Arc<K>| {
            let Some(uids) = &uids else { return true };
            object.meta().uid.as_ref().is_some_and(|uid| uids.contains(uid))
        };
        missing.iter().filter(exists).map(|object| (**object).clone()).collect()
    }

    /// Whether the object of a change is newer than all before.
    fn is_news(&mut self, object: &K) -> bool {
        let version = version(object);
        // Without a version nothing can be compared.
        let is_news = version == 0 || version > self.newest;
        self.newest = self.newest.max(version);
        is_news
    }
}

/// The answer of the API server, however long it takes.
async fn answered<T, F: Future<Output = Result<T, kube::Error>>>(ask: impl Fn() -> F) -> T {
    let mut was_reported = false;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if was_reported => tracing::debug!(%error, "the watch still waits"),
            Err(error) => {
                was_reported = true;
                tracing::warn!(%error, "a watch waits, because the API server doesn't say what its data is; the operator retries");
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn version(object: &impl Resource) -> u64 {
    number(object.meta().resource_version.as_deref())
}

fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailAlias;
    use crate::kubernetes::store::store;
    use std::sync::atomic::{AtomicU64, Ordering};

    const SHORT: Duration = Duration::from_millis(50);

    fn alias(name: &str, version: u64) -> EmailAlias {
        let spec = serde_yaml::from_str("{domainRef: {name: d}, localPart: a, goto: [b@c.example]}").unwrap();
        let mut alias = EmailAlias::new(name, spec);
        alias.metadata.namespace = Some("n".into());
        alias.metadata.uid = Some(format!("uid of {name}"));
        alias.metadata.resource_version = Some(version.to_string());
        alias
    }

    /// An API server with data of this version and these objects.
    struct At {
        version: u64,
        objects: &'static [&'static str],
        /// So many answers about the version, and about the objects, are old: of version 1, without objects.
        old: [AtomicU64; 2],
    }

    fn at(version: u64, objects: &'static [&'static str]) -> At {
        At { version, objects, old: [0, 0].map(AtomicU64::new) }
    }

    fn is_old(answers: &AtomicU64) -> bool {
        answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    impl Server for At {
        async fn version(&self) -> Result<u64, kube::Error> {
            Ok(if is_old(&self.old[0]) { 1 } else { self.version })
        }

        async fn uids(&self) -> Result<(u64, HashSet<String>), kube::Error> {
            let uids = self.objects.iter().map(|name| format!("uid of {name}")).collect();
            Ok(if is_old(&self.old[1]) { (1, HashSet::new()) } else { (self.version, uids) })
        }
    }

    fn list(objects: &[(&str, u64)]) -> Vec<Event<EmailAlias>> {
        let objects = objects.iter().map(|(name, version)| Event::InitApply(alias(name, *version)));
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
    }

    /// The objects in the store after each of these events, as `name@version`.
    async fn stored(server: At, events: Vec<Event<EmailAlias>>) -> Vec<String> {
        let (store, mut writer) = store();
        let guard = Guard {
            newest: 0,
            listed: None,
            newest_listed: 0,
            namespace: None,
            store: store.clone(),
            server,
            lag: SHORT,
        };
        let mut events = guarded(stream::iter(events).map(Ok).boxed(), guard);
        while let Some(event) = events.next().await {
            writer.apply(event.unwrap());
        }
        let mut all: Vec<String> =
            store.all().map(|object| format!("{}@{}", object.name_any(), version(object.as_ref()))).collect();
        all.sort();
        all
    }

    fn with(
        events: Vec<Event<EmailAlias>>,
        more: impl IntoIterator<Item = Event<EmailAlias>>,
    ) -> Vec<Event<EmailAlias>> {
        events.into_iter().chain(more).collect()
    }

    #[tokio::test]
    async fn a_fresh_list_and_its_events_are_taken_as_they_are() {
        let first = with(list(&[("a", 1), ("b", 2)]), [Event::Apply(alias("a", 3)), Event::Delete(alias("b", 4))]);
        assert_eq!(stored(at(4, &["a"]), first.clone()).await, ["a@3"]);
        // It was disconnected: a changed, c was created, and then a was deleted.
        let later = with(list(&[("c", 6)]), [Event::Apply(alias("c", 8))]);
        assert_eq!(stored(at(7, &["c"]), with(first, later)).await, ["c@8"]);
    }

    #[tokio::test]
    async fn an_old_list_and_repeated_events_change_nothing() {
        let first = with(
            list(&[("a", 1), ("gone", 2)]),
            [Event::Apply(alias("a", 3)), Event::Apply(alias("new", 4)), Event::Delete(alias("gone", 5))],
        );
        // An old list has the old a, a deleted object, and lacks a newer one; then everything since is repeated.
        let old = list(&[("a", 1), ("gone", 2)]);
        assert_eq!(stored(at(5, &["a", "new"]), with(first.clone(), old.clone())).await, ["a@3", "new@4"]);
        let repeated = [Event::Apply(alias("a", 3)), Event::Apply(alias("new", 4)), Event::Delete(alias("gone", 5))];
        let repeated = with(with(first.clone(), old), repeated);
        assert_eq!(stored(at(5, &["a", "new"]), repeated.clone()).await, ["a@3", "new@4"]);
        let news = with(repeated, [Event::Apply(alias("a", 6)), Event::Delete(alias("new", 7))]);
        assert_eq!(stored(at(7, &["a"]), news).await, ["a@6"], "what comes later counts");
        let empty = with(first.clone(), list(&[]));
        assert_eq!(stored(at(5, &["a", "new"]), empty).await, ["a@3", "new@4"], "an empty old list");
        let old = |answers: [u64; 2]| At { old: answers.map(AtomicU64::new), ..at(5, &["a", "new"]) };
        for answers in [[1, 0], [0, 1], [1, 1], [0, 1000]] {
            let listed = with(first.clone(), list(&[("a", 1)]));
            assert_eq!(stored(old(answers), listed).await, ["a@3", "new@4"], "{answers:?} answers are old too");
        }
    }

    #[tokio::test]
    async fn before_all_namespaces_are_listed_an_old_list_counts_with_the_events_after_it() {
        // Nothing is written to the store: the list of another namespace is awaited.
        let (store, _writer) = store();
        let guard = Guard {
            newest: 0,
            listed: None,
            newest_listed: 0,
            namespace: None,
            store,
            server: at(3, &["a"]),
            lag: SHORT,
        };
        let first = with(list(&[("a", 1)]), [Event::Apply(alias("a", 3))]);
        let events = with(first, with(list(&[("a", 1)]), [Event::Apply(alias("a", 2)), Event::Apply(alias("a", 3))]));
        let passed = guarded(stream::iter(events.clone()).map(Ok).boxed(), guard).count().await;
        assert_eq!(passed, events.len());
    }

    #[tokio::test]
    async fn after_a_restore_of_etcd_its_data_count() {
        let first = with(list(&[("a", 10), ("b", 11)]), [Event::Apply(alias("a", 12))]);
        let restored = with(list(&[("a", 5)]), [Event::Apply(alias("a", 6))]);
        assert_eq!(stored(at(5, &["a"]), with(first, restored)).await, ["a@6"]);
    }

    #[tokio::test]
    async fn an_object_created_again_under_its_name_is_another() {
        let mut again = alias("a", 5);
        again.metadata.uid = Some("another".into());
        let first = with(list(&[("a", 1)]), [Event::Apply(alias("a", 2))]);
        let later = with(first, [Event::Init, Event::InitApply(again), Event::InitDone]);
        assert_eq!(stored(at(5, &[]), later).await, ["a@5"]);
    }
}
