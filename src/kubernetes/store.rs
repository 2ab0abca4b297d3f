//! What the operator holds of the watched objects. Of mailboxes and aliases there may be hundreds of thousands, so they
//! are packed, and searches go through an index.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use slab::Slab;

use crate::packed::{Packable, Packed};
use crate::shrink::shrink;

/// Objects that a store can hold.
pub(crate) trait Stored: Indexed + Resource<DynamicType = ()> + Clone + Send + Sync + 'static {
    /// How it holds one of them: as it is (`Arc<Self>`), or [`Packed`].
    type Entry: Entry<Self>;
}

/// Objects that are searched by keys.
pub(crate) trait Indexed {
    /// What is counted of objects; most have the same.
    type Tally: Clone + Debug + Eq + Hash + Send + Sync;

    /// The keys by which it is searched; they depend on nothing but the object.
    fn index_keys(&self) -> Vec<IndexKey>;

    /// A hash of what relations between objects depend on.
    fn fingerprint(&self) -> u64 {
        0
    }

    /// What is counted of it.
    fn tally(&self) -> Self::Tally;
}

/// One object, as a store holds it.
pub(crate) trait Entry<K>: Clone + Send + Sync + 'static {
    /// Holds an object.
    fn from_object(object: K) -> Self;
    /// The object.
    fn object(&self) -> Arc<K>;
}

impl<K: Send + Sync + 'static> Entry<K> for Arc<K> {
    fn from_object(object: K) -> Self {
        Self::new(object)
    }

    fn object(&self) -> Self {
        self.clone()
    }
}

/// A key by which objects are searched, such as a domain or an address: a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexKey(pub(crate) u32);

/// Keys of a search.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexKeys(BTreeSet<IndexKey>);

impl From<IndexKey> for IndexKeys {
    fn from(key: IndexKey) -> Self {
        Self(BTreeSet::from([key]))
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

impl<K: Packable + 'static> Entry<K> for Packed<K> {
    fn from_object(object: K) -> Self {
        Self::pack(&object)
    }

    fn object(&self) -> Arc<K> {
        Arc::new(self.unpack())
    }
}

/// The objects of a kind, by namespace and name. Clones share it.
pub(crate) struct Store<K: Stored>(Arc<Shared<K>>);

struct Shared<K: Stored> {
    objects: RwLock<Objects<K>>,
    /// Whether the first list is complete.
    is_listed: AtomicBool,
}

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

    fn held(&self, name: &str) -> Option<K::Entry> {
        self.read(|objects| objects.get(name).cloned())
    }

    /// References to the objects of which `is_in` holds for `namespace/name`.
    pub(crate) fn references_where(&self, is_in: impl Fn(&str) -> bool) -> Vec<ObjectRef<K>> {
        self.read(|objects| objects.slots.keys().filter(|name| is_in(name)).map(|name| reference(name)).collect())
    }

    /// The next object of a walk, which holds only the places of the others. It meets each object that is there all the
    /// time, and after a new list it begins again. Namespaces take turns: the first object of each, then the second of
    /// each.
    pub(crate) fn step(&self, walk: &mut Walk) -> Option<ObjectRef<K>> {
        let held = self.read(|objects| {
            if walk.list != Some(objects.list) {
                *walk = Walk { list: Some(objects.list), rest: objects.in_turns().into_iter() };
            }
            walk.rest.by_ref().find_map(|slot| objects.held.get(slot as usize).cloned())
        })?;
        Some(ObjectRef::from_obj(held.object().as_ref()))
    }

    /// All objects, each unpacked when it is asked for.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<K>> + use<K> {
        let held: Vec<K::Entry> = self.read(|objects| objects.held.iter().map(|(_, held)| held.clone()).collect());
        held.into_iter().map(|held| held.object())
    }

    /// The objects for which `is_it` holds. Unpacks every object: a search by keys is cheaper.
    pub(crate) fn filter(&self, mut is_it: impl FnMut(&K) -> bool) -> Vec<Arc<K>> {
        self.all().filter(|object| is_it(object)).collect()
    }

    /// The objects that have one of these keys and for which `is_it` holds. `is_it` also decides whether an object really
    /// has what the keys stand for: keys are hashes. Each object for which it holds must have one of the keys.
    ///
    /// They are unpacked one by one, so that a search that finds thousands doesn't hold them all.
    pub(crate) fn by_keys<I: Into<IndexKeys>, F: Fn(&K) -> bool>(
        &self,
        keys: I,
        is_it: F,
    ) -> impl Iterator<Item = Arc<K>> + use<K, I, F> {
        let keys = keys.into();
        debug_assert!(self.has_no_other(&keys, &is_it), "a search lacks the keys of an object: {keys:?}");
        self.candidates(&keys).map(|held| held.object()).filter(move |object| is_it(object))
    }

    /// Whether an object has one of these keys, and `is_it` holds for it.
    pub(crate) fn has(&self, keys: impl Into<IndexKeys>, is_it: impl Fn(&K) -> bool) -> bool {
        self.by_keys(keys, is_it).next().is_some()
    }

    fn candidates(&self, keys: &IndexKeys) -> impl Iterator<Item = K::Entry> + use<K> {
        let found: Vec<K::Entry> = self.read(|objects| {
            let slots = objects.with_keys(keys);
            slots.into_iter().filter_map(|slot| objects.held.get(slot as usize).cloned()).collect()
        });
        found.into_iter()
    }

    /// Whether `is_it` holds for no object without these keys. Looks at small stores only: tests fill those.
    fn has_no_other(&self, keys: &IndexKeys, is_it: impl Fn(&K) -> bool) -> bool {
        const SMALL: usize = 64;
        let others: Vec<K::Entry> = self.read(|objects| {
            let found = objects.with_keys(keys);
            let others = objects.held.iter().filter(|(slot, _)| !found.iter().any(|it| *it as usize == *slot));
            let others = others.map(|(_, held)| held.clone());
            if objects.held.len() > SMALL { Vec::new() } else { others.collect() }
        });
        !others.iter().any(|held| is_it(&held.object()))
    }

    /// The objects that have one of these keys.
    #[cfg(test)]
    pub(crate) fn with_keys(&self, keys: impl Into<IndexKeys>) -> Vec<Arc<K>> {
        self.candidates(&keys.into()).map(|held| held.object()).collect()
    }

    /// Number of objects.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.read(|objects| objects.held.len())
    }

    /// Whether the first list is complete.
    pub(crate) fn is_listed(&self) -> bool {
        self.0.is_listed.load(Ordering::Acquire)
    }

    /// A number that differs when what relations between objects depend on differs.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.read(|objects| objects.fingerprint)
    }

    /// What is counted of the objects, each with the number of objects alike.
    pub(crate) fn tallies(&self) -> Vec<(K::Tally, usize)> {
        self.read(|objects| objects.tallies.iter().map(|(tally, number)| (tally.clone(), *number)).collect())
    }

    fn read<T>(&self, read: impl FnOnce(&Objects<K>) -> T) -> T {
        read(&self.0.objects.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Objects<K>) -> T) -> T {
        write(&mut self.0.objects.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A walk over the objects of a store ([`Store::step`]).
#[derive(Clone, Debug, Default)]
pub(crate) struct Walk {
    /// Which list it goes over; `None` before the first step.
    list: Option<u64>,
    /// Where the objects are that it has yet to meet.
    rest: std::vec::IntoIter<u32>,
}

/// Objects with their index.
struct Objects<K: Stored> {
    /// Where each is, by `namespace/name`.
    slots: HashMap<Box<str>, u32>,
    held: Slab<K::Entry>,
    /// Each key of each object, with the object's place.
    index: BTreeSet<(IndexKey, u32)>,
    /// The sum of the fingerprints of all objects.
    fingerprint: u64,
    /// Number of objects, by what is counted of them.
    tallies: HashMap<K::Tally, usize>,
    /// How many lists there were: each puts the objects in other places.
    list: u64,
}

impl<K: Stored> Default for Objects<K> {
    fn default() -> Self {
        let (slots, held, index, tallies) = (HashMap::new(), Slab::new(), BTreeSet::new(), HashMap::new());
        Self { slots, held, index, fingerprint: 0, tallies, list: 0 }
    }
}

impl<K: Stored> Objects<K> {
    fn get(&self, name: &str) -> Option<&K::Entry> {
        self.held.get(*self.slots.get(name)? as usize)
    }

    /// The places of all objects, in turns of the namespaces.
    fn in_turns(&self) -> Vec<u32> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let places = self.slots.iter().map(|(name, slot)| {
            let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
            let next = numbers.len();
            (*slot, *numbers.entry(namespace).or_insert(next))
        });
        let mut places: Vec<(u32, usize)> = places.collect();
        places.sort_unstable();
        let mut turns = vec![0; numbers.len()];
        for (_, number) in &mut places {
            let turn = &mut turns[*number];
            (*number, *turn) = (*turn, *turn + 1);
        }
        places.sort_unstable_by_key(|(slot, turn)| (*turn, *slot));
        places.iter().map(|(slot, _)| *slot).collect()
    }

    /// Places of the objects with one of these keys, each once.
    fn with_keys(&self, keys: &IndexKeys) -> Vec<u32> {
        if keys.0.len() > self.held.len() {
            return self.slots.values().copied().collect();
        }
        let with_key = |key: &IndexKey| self.index.range((*key, 0)..=(*key, u32::MAX)).map(|(_, slot)| *slot);
        let mut slots: Vec<u32> = keys.0.iter().flat_map(with_key).collect();
        if keys.0.len() > 1 {
            slots.sort_unstable();
            slots.dedup();
        }
        slots
    }

    /// Enters an object in the place of what is entered of its version before, if there is one.
    fn insert(&mut self, object: Entered<K>, held: K::Entry, before: Option<Entered<K>>) {
        let Entered { name, keys, fingerprint, tally } = object;
        let slot = if let Some(slot) = self.slots.get(&name) {
            self.held[*slot as usize] = held;
            *slot
        } else {
            let slot = u32::try_from(self.held.insert(held)).unwrap_or_else(|_| unreachable!("4 billion objects"));
            self.slots.insert(name, slot);
            slot
        };
        *self.tallies.entry(tally).or_default() += 1;
        self.fingerprint = self.fingerprint.wrapping_add(fingerprint);
        let Some(before) = before else { return self.index.extend(keys.into_iter().map(|key| (key, slot))) };
        for key in before.keys.difference(&keys) {
            self.index.remove(&(*key, slot));
        }
        self.index.extend(keys.difference(&before.keys).map(|key| (*key, slot)));
        self.fingerprint = self.fingerprint.wrapping_sub(before.fingerprint);
        self.uncount(&before.tally);
    }

    /// Removes an object, of which this is entered.
    fn remove(&mut self, before: Entered<K>) {
        let Some(slot) = self.slots.remove(&before.name) else { return };
        drop(self.held.try_remove(slot as usize));
        for key in before.keys {
            self.index.remove(&(key, slot));
        }
        self.fingerprint = self.fingerprint.wrapping_sub(before.fingerprint);
        self.uncount(&before.tally);
        shrink(&mut self.slots);
        if self.held.is_empty() {
            self.held.shrink_to_fit();
        }
    }

    fn uncount(&mut self, tally: &K::Tally) {
        debug_assert!(self.tallies.contains_key(tally), "{tally:?} was never counted");
        if let Some(number) = self.tallies.get_mut(tally) {
            *number -= 1;
            if *number == 0 {
                self.tallies.remove(tally);
                shrink(&mut self.tallies);
            }
        }
    }
}

/// What a store enters of an object beside itself.
struct Entered<K: Stored> {
    name: Box<str>,
    keys: BTreeSet<IndexKey>,
    fingerprint: u64,
    tally: K::Tally,
}

impl<K: Stored> Entered<K> {
    fn of(object: &K) -> Self {
        let keys = object.index_keys().into_iter().collect();
        Self { name: key(object), keys, fingerprint: object.fingerprint(), tally: object.tally() }
    }
}

/// An empty store, and what fills it.
pub(crate) fn store<K: Stored>() -> (Store<K>, Writer<K>) {
    let store = Store(Arc::new(Shared { objects: RwLock::default(), is_listed: AtomicBool::default() }));
    (store.clone(), Writer { store, list: Objects::default() })
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
        let names: Vec<Box<str>> = store.read(|objects| objects.slots.keys().cloned().collect());
        for name in names {
            let before = self.0.get(&name).map(Entry::object);
            each(before, store.held(&name).map(|held| held.object()));
        }
        let gone = self.0.slots.iter().filter(|(name, _)| store.held(name).is_none());
        gone.for_each(|(_, slot)| each(self.0.held.get(*slot as usize).map(Entry::object), None));
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
            Event::Init => self.list = Objects::default(),
            Event::InitApply(object) => {
                let entered = Entered::of(&object);
                let before = self.list.get(&entered.name).map(|held| Entered::of(held.object().as_ref()));
                self.list.insert(entered, K::Entry::from_object(object), before);
            }
            Event::InitDone => {
                let mut list = std::mem::take(&mut self.list);
                // Made at once, a tree is dense.
                list.index = std::mem::take(&mut list.index).into_iter().collect();
                let before = self.store.write(|objects| {
                    list.list = objects.list + 1;
                    std::mem::replace(objects, list)
                });
                self.store.0.is_listed.store(true, Ordering::Release);
                return Written::Listed(Before(before));
            }
            Event::Apply(object) => {
                let entered = Entered::of(&object);
                let before = self.store.held(&entered.name).map(|held| held.object());
                let (held, entered_before) =
                    (K::Entry::from_object(object.clone()), before.as_deref().map(Entered::of));
                self.store.write(|objects| objects.insert(entered, held, entered_before));
                return Written::Applied { object: Arc::new(object), before };
            }
            Event::Delete(object) => {
                if let Some(before) = self.store.held(&key(&object)) {
                    let before = Entered::of(before.object().as_ref());
                    self.store.write(|objects| objects.remove(before));
                }
                return Written::Deleted(Arc::new(object));
            }
        }
        Written::Nothing
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
pub(crate) mod tests {
    use super::*;
    use crate::crd::{EmailAlias, EmailMailbox};
    use kube::ResourceExt;

    /// A mailbox in namespace `n` and domain `d`.
    pub(crate) fn mailbox(name: &str, local: &str) -> EmailMailbox {
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

    /// The names of objects, sorted.
    pub(crate) fn names(found: impl IntoIterator<Item = Arc<EmailMailbox>>) -> Vec<String> {
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
        assert_eq!(store.references_where(|_| true), [ObjectRef::new("whole").within("n")]);
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
    fn a_walk_meets_each_object_and_begins_again_after_a_list() {
        let (store, mut writer) = store();
        for name in ["a", "b", "c", "d"] {
            writer.apply(Event::Apply(mailbox(name, name)));
        }
        let mut walk = Walk::default();
        let mut next = || store.step(&mut walk).map(|object| object.name);
        assert_eq!(next().as_deref(), Some("a"));
        writer.apply(Event::Delete(mailbox("b", "b")));
        assert_eq!(next().as_deref(), Some("c"));
        for event in list(vec![mailbox("d", "d"), mailbox("c", "c")]) {
            writer.apply(event);
        }
        assert_eq!([next(), next(), next()].map(Option::unwrap_or_default), ["d", "c", ""]);
        writer.apply(Event::Apply(mailbox("e", "e")));
        assert_eq!(next(), None, "what comes later is a change of its own");
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
