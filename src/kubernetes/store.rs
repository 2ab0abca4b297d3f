//! What the operator holds of the watched objects. Of mailboxes and aliases there may be hundreds of thousands, so they
//! are packed, and searches look at index keys before they unpack anything.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::shrink::shrink;

/// Objects that a store can hold.
pub(crate) trait Stored: Resource<DynamicType = ()> + Clone + Send + Sync + 'static {
    /// How it holds one of them: as it is (`Arc<Self>`), or [`Packed`].
    type Entry: Entry<Self>;
}

/// One object, as a store holds it.
pub(crate) trait Entry<K>: Clone + Send + Sync + 'static {
    /// Holds an object.
    fn from_object(object: K) -> Self;
    /// The object.
    fn object(&self) -> Arc<K>;
    /// Whether it may have one of the keys; in doubt it may.
    fn may_have(&self, keys: &IndexKeys) -> bool;
    /// A hash of what relations between objects depend on.
    fn fingerprint(&self) -> u64;
}

/// Objects that are not packed have no index.
impl<K: Send + Sync + 'static> Entry<K> for Arc<K> {
    fn from_object(object: K) -> Self {
        Self::new(object)
    }

    fn object(&self) -> Self {
        self.clone()
    }

    fn may_have(&self, _: &IndexKeys) -> bool {
        true
    }

    fn fingerprint(&self) -> u64 {
        0
    }
}

/// A key by which objects are searched, such as a domain or an address: a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IndexKey(pub(crate) u32);

/// Keys of a search.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexKeys(HashSet<IndexKey>);

impl From<IndexKey> for IndexKeys {
    fn from(key: IndexKey) -> Self {
        Self(HashSet::from([key]))
    }
}

impl Extend<IndexKey> for IndexKeys {
    fn extend<I: IntoIterator<Item = IndexKey>>(&mut self, keys: I) {
        self.0.extend(keys);
    }
}

impl FromIterator<IndexKey> for IndexKeys {
    fn from_iter<I: IntoIterator<Item = IndexKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

/// Objects that are packed.
pub(crate) trait Packable: Serialize + DeserializeOwned + PartialEq {
    /// A typical object as JSON, always the same. What an object has in common with it takes hardly any memory.
    fn typical() -> &'static [u8];

    /// The keys by which it is searched.
    fn index_keys(&self) -> Vec<IndexKey>;
    /// A hash of what relations between objects depend on.
    fn fingerprint(&self) -> u64;
}

/// A packed object: its fingerprint, its index keys, and its compressed JSON.
pub(crate) struct Packed<K>(Arc<[u8]>, PhantomData<fn() -> K>);

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

/// Bytes of the fingerprint.
const FINGERPRINT: usize = size_of::<u64>();
/// Bytes of an index key.
const KEY: usize = size_of::<u32>();

impl<K> Packed<K> {
    fn keys(&self) -> impl Iterator<Item = IndexKey> {
        let count = usize::from(self.0[FINGERPRINT]);
        let keys = self.0[FINGERPRINT + 1..].chunks_exact(KEY).take(count);
        keys.filter_map(|key| Some(IndexKey(u32::from_le_bytes(key.try_into().ok()?))))
    }
}

impl<K: Packable + 'static> Entry<K> for Packed<K> {
    fn from_object(object: K) -> Self {
        let mut bytes = object.fingerprint().to_le_bytes().to_vec();
        let mut keys = object.index_keys();
        keys.sort_unstable_by_key(|key| key.0);
        keys.dedup();
        // An object with more keys than can be counted is found by each search.
        let count = u8::try_from(keys.len()).unwrap_or_default();
        bytes.push(count);
        bytes.extend(keys.iter().take(usize::from(count)).flat_map(|key| key.0.to_le_bytes()));
        let json = readable(serde_json::to_vec(&object));
        bytes.extend(lz4_flex::block::compress_prepend_size_with_dict(&json, K::typical()));
        let packed = Self(bytes.into(), PhantomData);
        debug_assert!(
            *packed.object() == object,
            "an object is not what was packed: {}",
            String::from_utf8_lossy(&json)
        );
        packed
    }

    fn object(&self) -> Arc<K> {
        let start = FINGERPRINT + 1 + usize::from(self.0[FINGERPRINT]) * KEY;
        let json = lz4_flex::block::decompress_size_prepended_with_dict(&self.0[start..], K::typical());
        Arc::new(readable(serde_json::from_slice(&readable(json))))
    }

    fn may_have(&self, keys: &IndexKeys) -> bool {
        self.0[FINGERPRINT] == 0 || self.keys().any(|key| keys.0.contains(&key))
    }

    fn fingerprint(&self) -> u64 {
        self.0.first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default()
    }
}

/// What the operator itself wrote to memory.
fn readable<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| unreachable!("an object in memory can't be read: {error}"))
}

/// The objects of a kind, by namespace and name. Clones share it.
pub(crate) struct Store<K: Stored>(Arc<Shared<K>>);

struct Shared<K: Stored> {
    objects: RwLock<Objects<K>>,
    /// Whether the first list is complete.
    is_listed: AtomicBool,
    /// The sum of the fingerprints of all objects.
    fingerprint: AtomicU64,
}

/// Objects by `namespace/name`.
type Objects<K> = HashMap<Box<str>, <K as Stored>::Entry>;

impl<K: Stored> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Stored> Store<K> {
    /// The object, if it exists.
    pub(crate) fn get(&self, reference: &ObjectRef<K>) -> Option<Arc<K>> {
        self.held(&key_of(reference.namespace.as_deref(), &reference.name)).map(|held| held.object())
    }

    fn held(&self, key: &str) -> Option<K::Entry> {
        self.read(|objects| objects.get(key).cloned())
    }

    /// References to all objects.
    pub(crate) fn references(&self) -> Vec<ObjectRef<K>> {
        self.read(|objects| objects.keys().map(|key| reference(key)).collect())
    }

    /// All objects, each unpacked when it is asked for.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<K>> + use<K> {
        let held: Vec<K::Entry> = self.read(|objects| objects.values().cloned().collect());
        held.into_iter().map(|held| held.object())
    }

    /// The objects for which `is_it` holds. Unpacks every object: a search by keys is cheaper.
    pub(crate) fn filter(&self, mut is_it: impl FnMut(&K) -> bool) -> Vec<Arc<K>> {
        self.all().filter(|object| is_it(object)).collect()
    }

    /// The objects that have one of these keys and for which `is_it` holds. `is_it` also decides whether an object really
    /// has what the keys stand for: keys are hashes.
    /// They are unpacked one by one, so that a search that finds thousands doesn't hold them all.
    pub(crate) fn by_keys<I: Into<IndexKeys>, F: Fn(&K) -> bool>(
        &self,
        keys: I,
        is_it: F,
    ) -> impl Iterator<Item = Arc<K>> + use<K, I, F> {
        self.candidates(&keys.into()).map(|held| held.object()).filter(move |object| is_it(object))
    }

    /// Whether an object has one of these keys, and `is_it` holds for it.
    pub(crate) fn has(&self, keys: impl Into<IndexKeys>, mut is_it: impl FnMut(&K) -> bool) -> bool {
        self.candidates(&keys.into()).any(|held| is_it(&held.object()))
    }

    fn candidates(&self, keys: &IndexKeys) -> impl Iterator<Item = K::Entry> + use<K> {
        let found: Vec<K::Entry> =
            self.read(|objects| objects.values().filter(|held| held.may_have(keys)).cloned().collect());
        found.into_iter()
    }

    /// Number of objects.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.read(HashMap::len)
    }

    /// Whether the first list is complete.
    pub(crate) fn is_listed(&self) -> bool {
        self.0.is_listed.load(Ordering::Acquire)
    }

    /// A number that differs when what relations between objects depend on differs, for packed objects.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.0.fingerprint.load(Ordering::Acquire)
    }

    fn read<T>(&self, read: impl FnOnce(&Objects<K>) -> T) -> T {
        read(&self.0.objects.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Objects<K>) -> T) -> T {
        write(&mut self.0.objects.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An empty store, and what fills it.
pub(crate) fn store<K: Stored>() -> (Store<K>, Writer<K>) {
    let shared =
        Shared { objects: RwLock::default(), is_listed: AtomicBool::default(), fingerprint: AtomicU64::default() };
    let store = Store(Arc::new(shared));
    (store.clone(), Writer { store, list: HashMap::new() })
}

/// Fills a store with the events of a watch.
pub(crate) struct Writer<K: Stored> {
    store: Store<K>,
    /// The list in progress.
    list: Objects<K>,
}

/// What an event changed in a store.
pub(crate) enum Written<K: Stored> {
    /// Nothing yet.
    Nothing,
    /// An object was created or changed.
    Applied {
        /// The new version.
        object: Arc<K>,
        /// The version before; `None` if it was created.
        before: Option<Arc<K>>,
    },
    /// An object was deleted.
    Deleted(Arc<K>),
    /// A list is complete; what was there before.
    Listed(Before<K>),
}

/// What a store held before a list.
pub(crate) struct Before<K: Stored>(Objects<K>);

impl<K: Stored> Before<K> {
    /// Each object of the list with the version before, and then the objects that the list lacks.
    pub(crate) fn differences(self, store: &Store<K>, mut each: impl FnMut(Option<Arc<K>>, Option<Arc<K>>)) {
        let keys: Vec<Box<str>> = store.read(|objects| objects.keys().cloned().collect());
        for key in keys {
            let before = self.0.get(&key).map(Entry::object);
            each(before, store.held(&key).map(|held| held.object()));
        }
        let is_gone = |(key, _): &(Box<str>, K::Entry)| store.held(key).is_none();
        self.0.into_iter().filter(is_gone).for_each(|(_, held)| each(Some(held.object()), None));
    }
}

impl<K: Stored> Writer<K> {
    /// The store.
    pub(crate) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Writes an event to the store. A list replaces everything once it is complete.
    pub(crate) fn apply(&mut self, event: Event<K>) -> Written<K> {
        match event {
            Event::Init => self.list = HashMap::new(),
            Event::InitApply(object) => drop(self.list.insert(key(&object), K::Entry::from_object(object))),
            Event::InitDone => {
                let list = std::mem::take(&mut self.list);
                let sum = list.values().fold(0_u64, |sum, held| sum.wrapping_add(held.fingerprint()));
                let before = self.store.write(|objects| std::mem::replace(objects, list));
                self.store.0.fingerprint.store(sum, Ordering::Release);
                self.store.0.is_listed.store(true, Ordering::Release);
                return Written::Listed(Before(before));
            }
            Event::Apply(object) => {
                let (key, held) = (key(&object), K::Entry::from_object(object.clone()));
                let sum = held.fingerprint();
                let before = self.store.write(|objects| objects.insert(key, held));
                self.count(sum, before.as_ref());
                return Written::Applied { object: Arc::new(object), before: before.map(|held| held.object()) };
            }
            Event::Delete(object) => {
                let before = self.store.write(|objects| {
                    let before = objects.remove(&key(&object));
                    shrink(objects);
                    before
                });
                self.count(0, before.as_ref());
                return Written::Deleted(Arc::new(object));
            }
        }
        Written::Nothing
    }

    /// Keeps the sum of the fingerprints.
    fn count(&self, added: u64, removed: Option<&K::Entry>) {
        let change = added.wrapping_sub(removed.map(Entry::fingerprint).unwrap_or_default());
        self.store.0.fingerprint.fetch_add(change, Ordering::AcqRel);
    }
}

fn key<K: Resource>(object: &K) -> Box<str> {
    let meta = object.meta();
    key_of(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn key_of(namespace: Option<&str>, name: &str) -> Box<str> {
    format!("{}/{name}", namespace.unwrap_or_default()).into()
}

fn reference<K: Resource<DynamicType = ()>>(key: &str) -> ObjectRef<K> {
    match key.split_once('/') {
        Some(("", name)) => ObjectRef::new(name),
        Some((namespace, name)) => ObjectRef::new(name).within(namespace),
        None => ObjectRef::new(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{EmailAlias, EmailMailbox};
    use kube::ResourceExt;

    fn mailbox(name: &str, local: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str(&format!("{{localPart: {local}, domainRef: {{name: d}}}}")).unwrap();
        let mut mailbox = EmailMailbox::new(name, spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox.metadata.uid = Some(format!("uid of {name}"));
        mailbox
    }

    fn list(objects: Vec<EmailMailbox>) -> Vec<Event<EmailMailbox>> {
        let objects = objects.into_iter().map(Event::InitApply);
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
    }

    fn names(found: impl IntoIterator<Item = Arc<EmailMailbox>>) -> Vec<String> {
        let mut names: Vec<_> = found.into_iter().map(|object| object.name_any()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_object_comes_out_as_it_went_in() {
        let (store, mut writer) = store();
        let mut whole = mailbox("whole", "ada+news");
        whole.spec.sender_acl = Some(vec!["Team@example.com".into()]);
        whole.status = serde_yaml::from_str("{address: ada+news@example.com, messages: 7}").unwrap();
        assert!(store.get(&ObjectRef::from_obj(&whole)).is_none() && !store.is_listed());
        writer.apply(Event::Apply(whole.clone()));
        assert_eq!(*store.get(&ObjectRef::from_obj(&whole)).unwrap(), whole);
        assert_eq!(store.references(), [ObjectRef::new("whole").within("n")]);
        writer.apply(Event::Delete(whole.clone()));
        assert!(store.get(&ObjectRef::from_obj(&whole)).is_none() && store.len() == 0);
    }

    #[test]
    fn a_change_has_the_version_before() {
        let (_, mut writer) = store();
        let created = writer.apply(Event::Apply(mailbox("m", "a")));
        assert!(matches!(created, Written::Applied { before: None, .. }));
        let Written::Applied { object, before } = writer.apply(Event::Apply(mailbox("m", "b"))) else {
            panic!("not applied");
        };
        assert_eq!((object.spec.local_part.as_str(), before.unwrap().spec.local_part.as_str()), ("b", "a"));
    }

    #[test]
    fn a_list_replaces_everything_once_it_is_complete() {
        let (store, mut writer) = store();
        writer.apply(Event::Apply(mailbox("old", "a")));
        writer.apply(Event::Apply(mailbox("same", "b")));
        let mut events = list(vec![mailbox("same", "c"), mailbox("new", "d")]);
        let done = events.pop().unwrap();
        for event in events {
            assert!(matches!(writer.apply(event), Written::Nothing));
        }
        assert_eq!((names(store.all()), store.is_listed()), (vec!["old".to_owned(), "same".to_owned()], false));
        let Written::Listed(before) = writer.apply(done) else { panic!("not listed") };
        assert!(store.is_listed());
        let mut seen = Vec::new();
        before.differences(&store, |before, now| {
            let shown = |object: Option<Arc<EmailMailbox>>| {
                object.map(|object| format!("{} {}", object.name_any(), object.spec.local_part))
            };
            seen.push((shown(before), shown(now)));
        });
        seen.sort();
        let text = |text: &str| Some(text.to_owned());
        let same = (text("same b"), text("same c"));
        assert_eq!(seen, [(None, text("new d")), (text("old a"), None), same]);
    }

    #[test]
    fn the_fingerprint_is_that_of_the_objects_whatever_happened_before() {
        let alias = |name: &str, generation: i64| {
            let spec = serde_yaml::from_str("{localPart: a, domainRef: {name: d}, goto: [x@e.com]}").unwrap();
            let mut alias = EmailAlias::new(name, spec);
            alias.metadata.generation = Some(generation);
            alias
        };
        let (store, mut writer) = store();
        assert_eq!(store.fingerprint(), 0);
        writer.apply(Event::Apply(alias("one", 1)));
        let one = store.fingerprint();
        writer.apply(Event::Apply(alias("one", 2)));
        assert_ne!(store.fingerprint(), one);
        writer.apply(Event::Apply(alias("two", 1)));
        writer.apply(Event::Apply(alias("one", 1)));
        writer.apply(Event::Delete(alias("two", 1)));
        assert_eq!(store.fingerprint(), one);
        for event in [Event::Init, Event::InitApply(alias("one", 1)), Event::InitDone] {
            writer.apply(event);
        }
        assert_eq!(store.fingerprint(), one);
    }
}
