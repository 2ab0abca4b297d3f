//! Watches of several namespaces as one: a store forgets everything else when a list ends, so the list of one namespace
//! must not reach it unchanged.

use std::collections::HashSet;
use std::sync::Arc;

use futures::stream::{self, select_all};
use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};

use crate::kubernetes::store::{Store, Stored};

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
    select_all(all.collect::<Vec<_>>()).flat_map(move |(place, event)| {
        let events = match event {
            Ok(event) => merge.step(place, event, &store).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(events)
    })
}

/// Turns the events of several namespaces into those of one watch: a first list, once all namespaces are listed, and
/// then changes.
struct Merge<K> {
    places: Vec<Place<K>>,
    /// Whether the first list was given.
    whole: bool,
}

/// What is known of one namespace.
struct Place<K> {
    namespace: String,
    /// The list in progress; before the first list was published, all known objects.
    objects: Vec<K>,
    /// Whether its first list is complete.
    listed: bool,
}

impl<K: Stored> Merge<K> {
    fn new(namespaces: impl Iterator<Item = String>) -> Self {
        let place = |namespace| Place { namespace, objects: Vec::new(), listed: false };
        Self { places: namespaces.map(place).collect(), whole: false }
    }

    /// What an event of one namespace means for the whole. `held` has everything that was published before.
    fn step(&mut self, place: usize, event: Event<K>, held: &Store<K>) -> Vec<Event<K>> {
        let whole = self.whole;
        let Some(place) = self.places.get_mut(place) else { return Vec::new() };
        match event {
            Event::Init => place.objects.clear(),
            Event::InitApply(object) => place.objects.push(object),
            Event::InitDone if whole => return place.relisted(held),
            Event::Apply(_) | Event::Delete(_) if whole => return vec![event],
            Event::InitDone => place.listed = true,
            Event::Apply(object) => {
                place.forget(&object);
                place.objects.push(object);
            }
            Event::Delete(object) => place.forget(&object),
        }
        self.first_list()
    }

    /// The first list, once it is complete.
    fn first_list(&mut self) -> Vec<Event<K>> {
        if self.whole || !self.places.iter().all(|place| place.listed) {
            return Vec::new();
        }
        self.whole = true;
        let objects = self.places.iter_mut().flat_map(|place| std::mem::take(&mut place.objects));
        let objects = objects.map(Event::InitApply);
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
    }
}

impl<K: Stored> Place<K> {
    fn forget(&mut self, object: &K) {
        self.objects.retain(|known| known.name_any() != object.name_any());
    }

    /// A later list as changes of this namespace alone.
    fn relisted(&mut self, held: &Store<K>) -> Vec<Event<K>> {
        let listed = std::mem::take(&mut self.objects);
        let names: HashSet<String> = listed.iter().map(K::name_any).collect();
        let is_gone =
            |object: &K| object.namespace().as_ref() == Some(&self.namespace) && !names.contains(&object.name_any());
        let gone = held.filter(is_gone).into_iter().map(|object: Arc<K>| Event::Delete((*object).clone()));
        gone.chain(listed.into_iter().map(Event::Apply)).collect()
    }
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
            let events = self.merge.step(place, event, &self.store);
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
        assert_eq!(both.list(1, &[]), ["init", "=a/two", "=a/three", "done"]);
    }

    #[test]
    fn a_list_that_starts_anew_before_the_first_is_whole_counts_alone() {
        let mut both = Both::new();
        both.list(0, &["one"]);
        both.list(0, &["two"]);
        assert_eq!(both.list(1, &["one"]), ["init", "=a/two", "=b/one", "done"]);
    }

    #[test]
    fn a_later_list_changes_its_own_namespace_alone() {
        let mut both = Both::new();
        both.list(0, &["one", "same"]);
        both.list(1, &["one", "two"]);
        assert_eq!(both.list(0, &["same", "new"]), ["-a/one", "+a/same", "+a/new"]);
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
