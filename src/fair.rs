//! Turns between tenants: a tenant with many requests delays only itself. A tenant is a namespace.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How long a tenant counts as active after its last request.
const AROUND: Duration = Duration::from_mins(20);

/// A queue in which tenants take turns. The items of one tenant keep their order. While several tenants are active,
/// each runs at most `most_of_one` items at a time.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    most: usize,
    most_of_one: usize,
    running: usize,
    tenants: BTreeMap<String, Tenant<T>>,
    /// The tenants with waiting items, in the order of their turns.
    turns: VecDeque<String>,
    /// The last two tenants that added something, and when.
    last: [Option<(String, Instant)>; 2],
}

#[derive(Debug)]
struct Tenant<T> {
    waiting: VecDeque<T>,
    running: usize,
    /// Whether it has a place in the ring. One with as much as it may have has none: it gets the last one when something
    /// of it is done, so that whoever came meanwhile is before it.
    has_place: bool,
}

impl<T> FairQueue<T> {
    /// Runs at most `most` items at a time.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        let (most, most_of_one) = (most.max(1), most_of_one.clamp(1, most.max(1)));
        Self { most, most_of_one, running: 0, tenants: BTreeMap::new(), turns: VecDeque::new(), last: [None, None] }
    }

    /// Appends an item to the tenant's queue.
    pub(crate) fn push(&mut self, tenant: &str, item: T) {
        self.note(tenant);
        let share = self.share();
        let new = || Tenant { waiting: VecDeque::new(), running: 0, has_place: false };
        let entry = self.tenants.entry(tenant.to_owned()).or_insert_with(new);
        entry.waiting.push_back(item);
        if !entry.has_place && entry.running < share {
            entry.has_place = true;
            self.turns.push_back(tenant.to_owned());
        }
    }

    /// Takes the next item, if there is room. The caller passes its tenant to [`Self::done`] afterwards.
    pub(crate) fn pop(&mut self) -> Option<(String, T)> {
        if self.running >= self.most {
            return None;
        }
        let share = self.share();
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(tenant) = self.tenants.get_mut(&name) else { continue };
            if tenant.running >= share {
                self.turns.push_back(name);
                continue;
            }
            tenant.has_place = false;
            let Some(item) = tenant.waiting.pop_front() else { continue };
            tenant.running += 1;
            self.running += 1;
            if tenant.waiting.is_empty() {
                tenant.waiting.shrink_to_fit();
            } else if tenant.running < share {
                tenant.has_place = true;
                self.turns.push_back(name.clone());
            }
            return Some((name, item));
        }
        None
    }

    /// An item of the tenant is done. A tenant without other items is removed.
    pub(crate) fn done(&mut self, tenant: &str) {
        self.running = self.running.saturating_sub(1);
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        entry.running = entry.running.saturating_sub(1);
        if !entry.waiting.is_empty() && !entry.has_place {
            entry.has_place = true;
            self.turns.push_back(tenant.to_owned());
        } else if entry.running == 0 && entry.waiting.is_empty() {
            self.tenants.remove(tenant);
        }
    }

    fn note(&mut self, tenant: &str) {
        let now = Instant::now();
        match &mut self.last {
            [Some((last, at)), _] if last == tenant => *at = now,
            [last, before] => *before = last.replace((tenant.to_owned(), now)),
        }
    }

    /// How much one tenant may have: everything, unless another tenant is active.
    fn share(&self) -> usize {
        let has_several = self.tenants.len() > 1 || self.last[1].as_ref().is_some_and(|(_, at)| at.elapsed() < AROUND);
        if has_several { self.most_of_one } else { self.most }
    }
}

/// A semaphore in which tenants take turns.
#[derive(Clone, Debug)]
pub(crate) struct FairSemaphore(Arc<Mutex<FairQueue<oneshot::Sender<FairPermit>>>>);

/// A permit; dropping it frees the room.
#[derive(Debug)]
pub(crate) struct FairPermit {
    semaphore: FairSemaphore,
    tenant: String,
    is_given: bool,
}

impl FairSemaphore {
    /// At most `most` permits at a time, and `most_of_one` for one tenant while others are active.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self(Arc::new(Mutex::new(FairQueue::new(most, most_of_one))))
    }

    /// Waits for a permit; never `None`.
    pub(crate) async fn acquire(&self, tenant: &str) -> Option<FairPermit> {
        let (sender, receiver) = oneshot::channel();
        self.queue().push(tenant, sender);
        self.grant();
        receiver.await.ok()
    }

    /// Hands out free permits. A permit for a caller that no longer waits is freed at once.
    fn grant(&self) {
        loop {
            let Some((tenant, waiting)) = self.queue().pop() else { return };
            let permit = FairPermit { semaphore: self.clone(), tenant, is_given: true };
            if let Err(mut unclaimed) = waiting.send(permit) {
                unclaimed.is_given = false;
                self.queue().done(&unclaimed.tenant);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue<oneshot::Sender<FairPermit>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if self.is_given {
            self.semaphore.queue().done(&self.tenant);
            self.semaphore.grant();
        }
    }
}

tokio::task_local! {
    /// The tenant that the running task works for.
    static TENANT: String;
}

/// Runs a future for a tenant: it waits in the turns of that tenant.
pub(crate) async fn as_tenant<F: Future>(tenant: String, work: F) -> F::Output {
    TENANT.scope(tenant, work).await
}

/// The tenant that the running task works for; the empty name is the operator itself.
pub(crate) fn tenant() -> String {
    TENANT.try_with(Clone::clone).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn taken(queue: &mut FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop().map(|(_, item)| item)).collect()
    }

    #[test]
    fn tenants_have_their_turns_and_none_has_more_than_its_share() {
        let mut queue = FairQueue::new(8, 2);
        for item in 0..500 {
            queue.push("hostile", item);
        }
        queue.push("calm", 1000);
        queue.push("other", 2000);
        assert_eq!(taken(&mut queue), [0, 1000, 2000, 1]);
        queue.push("calm", 1001);
        queue.push("calm", 1002);
        assert_eq!(taken(&mut queue), [1001]);
        queue.done("hostile");
        assert_eq!(taken(&mut queue), [2]);
        queue.done("calm");
        assert_eq!(taken(&mut queue), [1002]);
    }

    #[test]
    fn whoever_comes_while_another_has_its_share_is_next() {
        let mut queue = FairQueue::new(1, 1);
        for item in 0..5 {
            queue.push("hostile", item);
        }
        queue.push("other", 100);
        assert_eq!(taken(&mut queue), [0]);
        queue.done("hostile");
        assert_eq!(taken(&mut queue), [100]);
        queue.push("calm", 1000);
        queue.done("other");
        assert_eq!(taken(&mut queue), [1], "it came before the calm one");
        queue.push("calm", 1001);
        queue.done("hostile");
        assert_eq!(taken(&mut queue), [1000]);
        queue.done("calm");
        assert_eq!(taken(&mut queue), [2]);
        queue.done("hostile");
        assert_eq!(taken(&mut queue), [1001]);
    }

    #[test]
    fn one_that_is_alone_has_all_the_room() {
        let mut queue = FairQueue::new(3, 1);
        for item in 0..5 {
            queue.push("only", item);
        }
        assert_eq!(taken(&mut queue), [0, 1, 2]);
        let mut trickle = FairQueue::new(3, 1);
        for item in 0..3 {
            trickle.push("only", item);
            assert_eq!(taken(&mut trickle), [item], "also when it comes bit by bit");
        }
        queue.push("new", 10);
        assert_eq!(taken(&mut queue), Vec::<u32>::new());
        queue.done("only");
        assert_eq!(taken(&mut queue), [10], "from then on room is shared");
        queue.done("only");
        queue.done("only");
        assert_eq!(taken(&mut queue), [3]);
    }

    #[test]
    fn tenants_and_items_that_come_and_go_leave_nothing() {
        let mut queue = FairQueue::new(2, 1);
        for n in 0..300_000 {
            queue.push(&format!("tenant-{n}"), n);
            let (name, _) = queue.pop().unwrap();
            queue.done(&name);
        }
        assert_eq!((queue.tenants.len(), queue.turns.len(), queue.running), (0, 0, 0));
        assert!(queue.turns.capacity() < 64);
    }

    #[tokio::test]
    async fn room_is_given_in_turn_and_given_back_by_whoever_stops_waiting() {
        let semaphore = FairSemaphore::new(1, 1);
        let held = semaphore.acquire("hostile").await;
        let mut hostile: Vec<_> = (0..3).map(|_| Box::pin(semaphore.acquire("hostile"))).collect();
        let mut calm = Box::pin(semaphore.acquire("calm"));
        for waiting in &mut hostile {
            assert!(waiting.now_or_never().is_none());
        }
        assert!((&mut calm).now_or_never().is_none());
        drop(hostile.remove(0));
        drop(held);
        // The one who was dropped had the first turn; then the tenants take turns.
        let mut first = hostile.remove(0);
        let of_calm = (&mut calm).now_or_never();
        assert!(of_calm.is_some() || (&mut first).now_or_never().is_some());
        drop(of_calm);
        drop((calm, first, hostile));
        assert!(semaphore.acquire("calm").now_or_never().is_some(), "nothing is lost");
    }

    #[tokio::test]
    async fn work_knows_for_whom_it_is() {
        assert_eq!(tenant(), "");
        assert_eq!(as_tenant("a".to_owned(), async { tenant() }).await, "a");
    }
}
