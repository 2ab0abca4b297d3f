//! Which object a driver reconciles next. Namespaces take turns. While several namespaces have due objects, each gets
//! at most two reconciles at a time; one object never has two. Within a namespace, objects that changed themselves come
//! before the others. Due objects wait here, because kube's queue knows neither namespaces nor priorities.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::task::AtomicWaker;
use futures::{Stream, StreamExt, stream};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;

use crate::fair::FairQueue;
use crate::shrink::shrink;

/// Objects of one namespace that are reconciled at a time.
const OF_ONE: usize = 2;

/// While objects of both priorities wait, one of so many is of the low one, so that it is never starved.
const LOW_ONE_OF: u32 = 4;

/// An object by namespace and name.
type Name = Arc<(String, String)>;

/// How urgent a reconcile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Something else changed, or time passed: many objects may be due at once.
    Low,
    /// The object itself changed, or did not get done what it has to do.
    Normal,
}

/// An object that is due. Two are equal if they name the same object.
#[derive(Clone, Debug)]
pub(crate) struct Due<K: Resource<DynamicType = ()>> {
    pub(crate) object: ObjectRef<K>,
    pub(crate) priority: Priority,
}

impl<K: Resource<DynamicType = ()>> PartialEq for Due<K> {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<K: Resource<DynamicType = ()>> Eq for Due<K> {}

impl<K: Resource<DynamicType = ()>> Hash for Due<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.object.hash(state);
    }
}

/// What is due and what runs. Clones share the state.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct State {
    /// Has one entry for each waiting object of a namespace.
    turns: FairQueue<()>,
    /// The waiting objects of each namespace.
    lines: HashMap<String, Lines>,
    /// Objects that wait.
    waiting: HashMap<Name, Priority>,
    /// Objects that are being reconciled, and the priority with which they are due again.
    running: HashMap<Name, Option<Priority>>,
}

/// The waiting objects of a namespace, in their order. One whose priority rose is in both lines, and is passed over in the
/// low one.
#[derive(Debug, Default)]
struct Lines {
    normal: VecDeque<Name>,
    low: VecDeque<Name>,
    /// Number of objects that wait.
    waiting: usize,
    /// How many came before those of the low priority since the last one of them.
    ahead: u32,
}

impl Slots {
    /// For at most `most` objects at a time.
    pub(crate) fn new(most: u16) -> Self {
        let turns = FairQueue::new(usize::from(most), OF_ONE);
        let state = State { turns, lines: HashMap::new(), waiting: HashMap::new(), running: HashMap::new() };
        Self(Arc::new(Shared { state: Mutex::new(state), waker: AtomicWaker::new() }))
    }

    /// Starts due objects while there is room. The caller reports each of them to [`Self::done`].
    pub(crate) fn in_turn<K>(
        &self,
        due: impl Stream<Item = Due<K>> + Send + 'static,
    ) -> BoxStream<'static, ObjectRef<K>>
    where
        K: Resource<DynamicType = ()> + 'static,
    {
        let slots = self.clone();
        let mut due = due.boxed();
        stream::poll_fn(move |context| slots.poll(context, &mut due)).boxed()
    }

    fn poll<K>(
        &self,
        context: &mut Context<'_>,
        due: &mut (impl Stream<Item = Due<K>> + Unpin),
    ) -> Poll<Option<ObjectRef<K>>>
    where
        K: Resource<DynamicType = ()> + 'static,
    {
        self.0.waker.register(context.waker());
        while let Poll::Ready(next) = due.poll_next_unpin(context) {
            let Some(Due { object, priority }) = next else { return Poll::Ready(None) };
            self.state().push(Arc::new((object.namespace.unwrap_or_default(), object.name)), priority);
        }
        let Some(next) = self.state().pop() else { return Poll::Pending };
        Poll::Ready(Some(ObjectRef::new(&next.1).within(&next.0)))
    }

    /// The reconcile of the object ended.
    pub(crate) fn done(&self, namespace: &str, name: &str) {
        self.state().done(&Arc::new((namespace.to_owned(), name.to_owned())));
        self.0.waker.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, name: Name, priority: Priority) {
        if let Some(again) = self.running.get_mut(&name) {
            *again = (*again).max(Some(priority));
            return;
        }
        let before = self.waiting.get(&name).copied();
        if before >= Some(priority) {
            return;
        }
        self.waiting.insert(name.clone(), priority);
        let lines = self.lines.entry(name.0.clone()).or_default();
        if before.is_none() {
            lines.waiting += 1;
            self.turns.push(&name.0, ());
        }
        lines.of(priority).push_back(name);
    }

    fn pop(&mut self) -> Option<Name> {
        let (namespace, ()) = self.turns.pop()?;
        let lines = self.lines.get_mut(&namespace)?;
        let name = lines.pop(&self.waiting)?;
        lines.waiting -= 1;
        if lines.waiting == 0 {
            self.lines.remove(&namespace);
            shrink(&mut self.lines);
        }
        self.waiting.remove(&name);
        shrink(&mut self.waiting);
        self.running.insert(name.clone(), None);
        Some(name)
    }

    fn done(&mut self, name: &Name) {
        if let Some(again) = self.running.remove(name) {
            shrink(&mut self.running);
            self.turns.done(&name.0);
            if let Some(priority) = again {
                self.push(name.clone(), priority);
            }
        }
    }
}

impl Lines {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<Name> {
        match priority {
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }

    /// Takes the next object; of the low priority while no other waits, and in one of [`LOW_ONE_OF`] turns.
    fn pop(&mut self, waiting: &HashMap<Name, Priority>) -> Option<Name> {
        let (normal, low) = (Priority::Normal, Priority::Low);
        let order = if self.ahead + 1 < LOW_ONE_OF { [normal, low] } else { [low, normal] };
        let next = order.into_iter().find_map(|priority| Some((priority, self.pop_of(priority, waiting)?)));
        let (priority, name) = next?;
        self.ahead = if priority == low { 0 } else { self.ahead + 1 };
        Some(name)
    }

    /// Takes the next object that waits with this priority.
    fn pop_of(&mut self, priority: Priority, waiting: &HashMap<Name, Priority>) -> Option<Name> {
        let line = self.of(priority);
        std::iter::from_fn(|| line.pop_front()).find(|name| waiting.get(name) == Some(&priority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailAlias;

    fn object(namespace: &str, name: &str) -> Due<EmailAlias> {
        Due { object: ObjectRef::new(name).within(namespace), priority: Priority::Normal }
    }

    fn low(namespace: &str, name: &str) -> Due<EmailAlias> {
        Due { priority: Priority::Low, ..object(namespace, name) }
    }

    fn next(slots: &Slots, due: &mut (impl Stream<Item = Due<EmailAlias>> + Unpin)) -> Vec<String> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let next = || match slots.poll(&mut context, due) {
            Poll::Ready(Some(object)) => Some(format!("{}/{}", object.namespace.unwrap(), object.name)),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn three_hundred_thousand_names_leave_nothing() {
        let (sender, mut due) = futures::channel::mpsc::unbounded();
        let slots = Slots::new(8);
        for round in 0..30 {
            for n in 0..10_000 {
                let (namespace, name) = (format!("n{}", n % 100), format!("{round}-{n}"));
                sender.unbounded_send(low(&namespace, &name)).unwrap();
                if n % 3 == 0 {
                    sender.unbounded_send(object(&namespace, &name)).unwrap();
                }
            }
            loop {
                let taken = next(&slots, &mut due);
                if taken.is_empty() {
                    break;
                }
                for taken in taken {
                    let (namespace, name) = taken.split_once('/').unwrap();
                    slots.done(namespace, name);
                }
            }
        }
        let state = slots.state();
        assert!(state.waiting.is_empty() && state.waiting.capacity() < 2048, "{}", state.waiting.capacity());
        assert!(state.running.is_empty() && state.running.capacity() < 2048, "{}", state.running.capacity());
        assert!(state.lines.is_empty(), "{:?}", state.lines);
    }

    #[test]
    fn two_of_a_namespace_run_and_none_twice_at_once() {
        let (sender, mut due) = futures::channel::mpsc::unbounded();
        let slots = Slots::new(8);
        for name in ["a", "b", "c", "a", "d"] {
            sender.unbounded_send(object("hostile", name)).unwrap();
        }
        sender.unbounded_send(object("calm", "x")).unwrap();
        assert_eq!(next(&slots, &mut due), ["hostile/a", "calm/x", "hostile/b"]);
        // Due again while it runs, it has its turn behind those that wait.
        sender.unbounded_send(object("hostile", "a")).unwrap();
        assert_eq!(next(&slots, &mut due), Vec::<String>::new());
        slots.done("hostile", "a");
        assert_eq!(next(&slots, &mut due), ["hostile/c"]);
        for name in ["b", "c"] {
            slots.done("hostile", name);
        }
        assert_eq!(next(&slots, &mut due), ["hostile/d", "hostile/a"]);
        for (namespace, name) in [("hostile", "d"), ("hostile", "a"), ("calm", "x"), ("calm", "never was")] {
            slots.done(namespace, name);
        }
        let state = slots.state();
        assert!(state.waiting.is_empty() && state.running.is_empty());
    }

    /// Takes one after the other, each done at once.
    fn one_by_one(slots: &Slots, due: &mut (impl Stream<Item = Due<EmailAlias>> + Unpin)) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let taken = next(slots, due);
            let Some(taken) = taken.first() else { return all };
            let (namespace, name) = taken.split_once('/').unwrap();
            slots.done(namespace, name);
            all.push(name.to_owned());
        }
    }

    #[test]
    fn what_changed_itself_comes_before_a_thousand_others_of_its_namespace_and_starves_none() {
        let (sender, mut due) = futures::channel::mpsc::unbounded();
        let slots = Slots::new(1);
        let send = |due: Due<EmailAlias>| sender.unbounded_send(due).unwrap();
        (0..1000).for_each(|n| send(low("a", &n.to_string())));
        send(object("a", "new"));
        let order = one_by_one(&slots, &mut due);
        assert_eq!((order.len(), order[0].as_str(), order[1].as_str()), (1001, "new", "0"));

        (0..6).for_each(|n| send(low("a", &format!("low{n}"))));
        (0..6).for_each(|n| send(object("a", &format!("own{n}"))));
        let order = one_by_one(&slots, &mut due);
        assert_eq!(
            order,
            ["own0", "own1", "own2", "low0", "own3", "own4", "own5", "low1", "low2", "low3", "low4", "low5"]
        );
    }

    #[test]
    fn an_object_whose_priority_rises_moves_forward_and_runs_once() {
        let (sender, mut due) = futures::channel::mpsc::unbounded();
        let slots = Slots::new(1);
        let send = |due: Due<EmailAlias>| sender.unbounded_send(due).unwrap();
        for due in [low("a", "x"), low("a", "y"), low("a", "z"), object("a", "z"), low("a", "z")] {
            send(due);
        }
        assert_eq!(one_by_one(&slots, &mut due), ["z", "x", "y"]);

        // Due again while it runs, it comes with the higher of both.
        send(low("a", "x"));
        assert_eq!(next(&slots, &mut due), ["a/x"]);
        for due in [low("a", "y"), object("a", "x"), low("a", "x")] {
            send(due);
        }
        assert_eq!(next(&slots, &mut due), Vec::<String>::new());
        slots.done("a", "x");
        assert_eq!(one_by_one(&slots, &mut due), ["x", "y"]);
        let state = slots.state();
        assert!(state.waiting.is_empty() && state.running.is_empty() && state.lines.is_empty());
    }
}
