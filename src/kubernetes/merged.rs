//! Watches of several namespaces as one: a store forgets everything else when a list ends, so the list of one namespace
//! must not reach it unchanged.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, select_all};
use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};

use crate::kubernetes::store::{Entry, Store, Stored};

/// A watch of one namespace, and its events.
pub(crate) struct Watch<S> {
    pub(crate) namespace: String,
    pub(crate) events: S,
}

/// What a watch gives.
type Given<K> = Result<Event<K>, watcher::Error>;

/// Follows all the watches; the output is written to `store` before more is read.
pub(crate) fn merged<K, S>(watches: Vec<Watch<S>>, store: Store<K>) -> impl Stream<Item = Given<K>> + Send
where
    K: Stored,
    S: Stream<Item = Given<K>> + Send + Unpin + 'static,
{
    let mut merge = Merge::new(watches.iter().map(|watch| watch.namespace.clone()));
    let all = watches.into_iter().enumerate().map(|(place, watch)| watch.events.map(move |event| (place, event)));
    select_all(all.collect::<Vec<_>>()).flat_map(move |(place, event)| match event {
        Ok(event) => stream::iter(merge.step(place, event, &store)).map(Ok).left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    })
}

/// What one event becomes; objects are unpacked when they are asked for.
type Events<K> = Box<dyn Iterator<Item = Event<K>> + Send>;

/// Turns the events of several namespaces into those of one watch: a first list, once all namespaces are listed, and
/// then changes.
struct Merge<K: Stored> {
    places: Vec<Place<K>>,
    /// Whether the first list was given.
    whole: bool,
}

/// What is known of one namespace.
struct Place<K: Stored> {
    namespace: String,
    /// The list in progress, by name; before the first list was published, all known objects.
    objects: BTreeMap<String, K::Entry>,
    /// Before the first list was published: whether its list is complete.
    listed: bool,
}

impl<K: Stored> Merge<K> {
    fn new(namespaces: impl Iterator<Item = String>) -> Self {
        let place = |namespace| Place { namespace, objects: BTreeMap::new(), listed: false };
        Self { places: namespaces.map(place).collect(), whole: false }
    }

    /// What an event of one namespace means for the whole. `held` has everything that was published before.
    fn step(&mut self, place: usize, event: Event<K>, held: &Store<K>) -> Events<K> {
        let whole = self.whole;
        let Some(place) = self.places.get_mut(place) else { return Box::new(std::iter::empty()) };
        match event {
            Event::Init => {
                place.objects.clear();
                place.listed = false;
            }
            Event::InitDone if whole => return place.relisted(held),
            Event::Apply(_) | Event::Delete(_) if whole => return Box::new(std::iter::once(event)),
            Event::InitDone => place.listed = true,
            Event::InitApply(object) | Event::Apply(object) => {
                place.objects.insert(object.name_any(), K::Entry::from_object(object));
            }
            Event::Delete(object) => drop(place.objects.remove(&object.name_any())),
        }
        self.first_list()
    }

    /// The first list, once it is complete.
    fn first_list(&mut self) -> Events<K> {
        if self.whole || !self.places.iter().all(|place| place.listed) {
            return Box::new(std::iter::empty());
        }
        self.whole = true;
        let all: Vec<_> = self.places.iter_mut().map(|place| std::mem::take(&mut place.objects)).collect();
        let objects = all.into_iter().flat_map(BTreeMap::into_values).map(|object| Event::InitApply(unpacked(&object)));
        Box::new(std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]))
    }
}

impl<K: Stored> Place<K> {
    /// A later list as changes of this namespace alone.
    fn relisted(&mut self, held: &Store<K>) -> Events<K> {
        let listed = std::mem::take(&mut self.objects);
        let is_gone = |object: &K| {
            object.namespace().as_ref() == Some(&self.namespace) && !listed.contains_key(&object.name_any())
        };
        let gone = held.filter(is_gone).into_iter().map(|object| Event::Delete(Arc::unwrap_or_clone(object)));
        Box::new(gone.chain(listed.into_values().map(|object| Event::Apply(unpacked(&object)))))
    }
}

fn unpacked<K: Stored>(entry: &K::Entry) -> K {
    Arc::unwrap_or_clone(entry.object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailAlias;
    use crate::kubernetes::store::{Writer, store};

    fn alias(namespace: &str, name: &str) -> EmailAlias {
        let spec = serde_yaml::from_str("{localPart: x, domainRef: {name: d}, goto: [a@b.example]}").unwrap();
        let mut alias = EmailAlias::new(name, spec);
        alias.metadata.namespace = Some(namespace.into());
        alias
    }

    fn names(events: &[Event<EmailAlias>]) -> Vec<String> {
        let shown = |event: &Event<EmailAlias>| match event {
            Event::Init => "init".to_owned(),
            Event::InitDone => "done".to_owned(),
            Event::InitApply(o) => format!("={}/{}", o.namespace().unwrap(), o.name_any()),
            Event::Apply(o) => format!("+{}/{}", o.namespace().unwrap(), o.name_any()),
            Event::Delete(o) => format!("-{}/{}", o.namespace().unwrap(), o.name_any()),
        };
        events.iter().map(shown).collect()
    }

    /// A merge of the namespaces `a` and `b`, and the store behind it.
    struct Both {
        merge: Merge<EmailAlias>,
        store: Store<EmailAlias>,
        writer: Writer<EmailAlias>,
    }

    impl Both {
        fn new() -> Self {
            let (store, writer) = store();
            Self { merge: Merge::new(["a".to_owned(), "b".to_owned()].into_iter()), store, writer }
        }

        fn step(&mut self, place: usize, event: Event<EmailAlias>) -> Vec<String> {
            let events: Vec<_> = self.merge.step(place, event, &self.store).collect();
            let names = names(&events);
            for event in events {
                self.writer.apply(event);
            }
            names
        }

        fn list(&mut self, place: usize, objects: &[&str]) -> Vec<String> {
            let mut said = self.step(place, Event::Init);
            for name in objects {
                said.extend(self.step(place, Event::InitApply(alias(["a", "b"][place], name))));
            }
            said.extend(self.step(place, Event::InitDone));
            said
        }

        fn stored(&self) -> Vec<String> {
            let mut all: Vec<_> = self.store.all().map(|o| names(&[Event::InitApply((*o).clone())])).collect();
            all.sort();
            all.concat()
        }
    }

    #[test]
    fn the_first_list_waits_for_every_namespace() {
        let mut both = Both::new();
        assert!(both.list(0, &["one"]).is_empty());
        assert!(both.step(1, Event::Init).is_empty());
        assert!(both.step(1, Event::InitApply(alias("b", "two"))).is_empty());
        assert_eq!(both.step(1, Event::InitDone), ["init", "=a/one", "=b/two", "done"]);
        assert_eq!(both.stored(), ["=a/one", "=b/two"]);
    }

    #[test]
    fn what_happens_while_others_are_awaited_is_in_the_first_list() {
        let mut both = Both::new();
        both.list(0, &["one", "two"]);
        assert!(both.step(0, Event::Delete(alias("a", "one"))).is_empty());
        assert!(both.step(0, Event::Apply(alias("a", "two"))).is_empty());
        assert!(both.step(0, Event::Apply(alias("a", "three"))).is_empty());
        assert_eq!(both.list(1, &[]), ["init", "=a/three", "=a/two", "done"]);
    }

    #[test]
    fn a_list_that_starts_anew_before_the_first_is_whole_counts_alone() {
        let mut both = Both::new();
        both.list(0, &["one"]);
        both.list(0, &["two"]);
        assert_eq!(both.list(1, &["one"]), ["init", "=a/two", "=b/one", "done"]);
    }

    #[test]
    fn the_first_list_waits_for_a_namespace_that_is_listed_again() {
        let mut both = Both::new();
        both.list(0, &["one", "two"]);
        both.step(0, Event::Init);
        both.step(0, Event::InitApply(alias("a", "one")));
        assert!(both.list(1, &["other"]).is_empty(), "half of a list is none");
        assert!(both.step(0, Event::InitApply(alias("a", "two"))).is_empty());
        assert_eq!(both.step(0, Event::InitDone), ["init", "=a/one", "=a/two", "=b/other", "done"]);
    }

    #[test]
    fn a_later_list_changes_its_own_namespace_alone() {
        let mut both = Both::new();
        both.list(0, &["one", "same"]);
        both.list(1, &["one", "two"]);
        assert_eq!(both.list(0, &["same", "new"]), ["-a/one", "+a/new", "+a/same"]);
        assert_eq!(both.stored(), ["=a/new", "=a/same", "=b/one", "=b/two"]);
        assert_eq!(both.list(1, &[]).len(), 2);
        assert_eq!(both.stored(), ["=a/new", "=a/same"]);
    }

    #[test]
    fn a_later_list_that_breaks_off_changes_nothing() {
        let mut both = Both::new();
        both.list(0, &["one"]);
        both.list(1, &[]);
        assert!(both.step(0, Event::Init).is_empty());
        assert!(both.step(0, Event::InitApply(alias("a", "two"))).is_empty());
        assert_eq!(both.list(0, &["one"]), ["+a/one"]);
        assert_eq!(both.stored(), ["=a/one"]);
    }

    #[test]
    fn changes_go_straight_through() {
        let mut both = Both::new();
        both.list(0, &[]);
        both.list(1, &[]);
        assert_eq!(both.step(1, Event::Apply(alias("b", "one"))), ["+b/one"]);
        assert_eq!(both.step(1, Event::Delete(alias("b", "one"))), ["-b/one"]);
        assert!(both.stored().is_empty());
    }

    #[tokio::test]
    async fn a_later_list_in_the_stream_sees_what_came_before_it() {
        let (store, mut writer) = store();
        let list = |namespace: &str, names: &[&str]| {
            let objects = names.iter().map(|name| Event::InitApply(alias(namespace, name)));
            std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).map(Ok).collect::<Vec<_>>()
        };
        let watch = |namespace: &str, events: Vec<Given<EmailAlias>>| Watch {
            namespace: namespace.to_owned(),
            events: stream::iter(events),
        };
        let broken = Err(watcher::Error::NoResourceVersion);
        let a = list("a", &["one"]).into_iter().chain([broken]).chain(list("a", &["two"])).collect();
        let watches = vec![watch("a", a), watch("b", list("b", &["one"]))];
        let mut given = Box::pin(merged(watches, store.clone()));
        let mut errors = 0;
        while let Some(event) = given.next().await {
            match event {
                Ok(event) => drop(writer.apply(event)),
                Err(_) => errors += 1,
            }
        }
        assert_eq!(errors, 1, "errors are handed on");
        let mut left: Vec<_> = store.all().map(|o| format!("{}/{}", o.namespace().unwrap(), o.name_any())).collect();
        left.sort();
        assert_eq!(left, ["a/two", "b/one"]);
    }
}
