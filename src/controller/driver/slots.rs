//! Which object a driver reconciles next. Namespaces take turns. While several namespaces have due objects, each gets
//! at most two reconciles at a time; one object never has two. Due objects wait here, because kube's queue does not
//! know namespaces.

use std::collections::{HashMap, HashSet};
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

/// An object by namespace and name.
type Name = Arc<(String, String)>;

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
    queue: FairQueue<Name>,
    /// Objects that wait in the queue.
    waiting: HashSet<Name>,
    /// Objects that are being reconciled, and whether they are due again.
    running: HashMap<Name, bool>,
}

impl Slots {
    /// For at most `most` objects at a time.
    pub(crate) fn new(most: u16) -> Self {
        let queue = FairQueue::new(usize::from(most), OF_ONE);
        let state = State { queue, waiting: HashSet::new(), running: HashMap::new() };
        Self(Arc::new(Shared { state: Mutex::new(state), waker: AtomicWaker::new() }))
    }

    /// Starts due objects while there is room. The caller reports each of them to [`Self::done`].
    pub(crate) fn in_turn<K>(
        &self,
        due: impl Stream<Item = ObjectRef<K>> + Send + 'static,
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
        due: &mut (impl Stream<Item = ObjectRef<K>> + Unpin),
    ) -> Poll<Option<ObjectRef<K>>>
    where
        K: Resource<DynamicType = ()> + 'static,
    {
        self.0.waker.register(context.waker());
        while let Poll::Ready(next) = due.poll_next_unpin(context) {
            let Some(object) = next else { return Poll::Ready(None) };
            self.state().push(Arc::new((object.namespace.unwrap_or_default(), object.name)));
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
    fn push(&mut self, name: Name) {
        if let Some(again) = self.running.get_mut(&name) {
            *again = true;
        } else if self.waiting.insert(name.clone()) {
            self.queue.push(&name.0.clone(), name);
        }
    }

    fn pop(&mut self) -> Option<Name> {
        let (_, name) = self.queue.pop()?;
        self.waiting.remove(&name);
        shrink(&mut self.waiting);
        self.running.insert(name.clone(), false);
        Some(name)
    }

    fn done(&mut self, name: &Name) {
        if let Some(again) = self.running.remove(name) {
            shrink(&mut self.running);
            self.queue.done(&name.0);
            if again {
                self.push(name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailAlias;

    fn object(namespace: &str, name: &str) -> ObjectRef<EmailAlias> {
        ObjectRef::new(name).within(namespace)
    }

    fn next(slots: &Slots, due: &mut (impl Stream<Item = ObjectRef<EmailAlias>> + Unpin)) -> Vec<String> {
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
                sender.unbounded_send(object(&format!("n{}", n % 100), &format!("{round}-{n}"))).unwrap();
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
}
