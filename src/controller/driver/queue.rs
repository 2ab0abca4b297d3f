//! One driver: which objects it reconciles, on which triggers, how many at a time, and in which order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::{BoxStream, select, select_all};
use futures::{Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::controller::driver::action::Action;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{Failed, after_failure};
use crate::controller::driver::on_server::{OnServer, is_served};
use crate::controller::driver::slots::{Due, Priority, Slots};
use crate::controller::driver::{forget, measure};
use crate::controller::servers::poll::counts_by_domain;
use crate::controller::shutdown;
use crate::controller::triggers::changes;
use crate::controller::triggers::room::Room;
use crate::crd::RECONCILE_REQUESTED_AT;
use crate::fair;
use crate::kubernetes::object::Object;
use crate::kubernetes::stores::Watched;
use crate::outcome::Outcome;

/// Number of parallel reconciles of one kind.
const CONCURRENCY: u16 = 8;
/// Where all objects are due, or have their turn, this many of a kind enter the queue, and a few more each second while it
/// is stuck; the others wait outside, where they need no memory. The alert on a long queue must notice when there is never
/// room.
const QUEUE: usize = 500;
/// How far requests of the normal priority are dated back: longer than one is in kube's queue.
const DATED_BACK: Duration = Duration::from_secs(1);

/// A driver, without its reconcile function.
pub(crate) struct Driver<K: Object> {
    /// Its name in metrics.
    pub(crate) name: &'static str,
    /// Number of parallel reconciles.
    pub(crate) concurrency: u16,
    /// Hash of the parts of its own objects that it acts on.
    pub(crate) matters: fn(&K) -> u64,
    /// Further triggers, in addition to changes of its own objects.
    pub(crate) triggers: Vec<Triggers<K>>,
    /// When all objects are due, in addition to changes of a connection.
    pub(crate) all_due: BoxStream<'static, ()>,
    /// Every object is reconciled once in this time, whatever changes; without, only when its reconcile asks for it.
    pub(crate) in_turn: Option<Duration>,
}

impl<K: Object> Driver<K> {
    pub(crate) fn new(triggers: Vec<Triggers<K>>) -> Self {
        let (name, matters) = (K::KIND, changes::own);
        Self { name, concurrency: CONCURRENCY, matters, triggers, all_due: stream::empty().boxed(), in_turn: None }
    }
}

/// A stream of objects that are due.
pub(crate) type Triggers<K> = BoxStream<'static, ObjectRef<K>>;
/// One reconcile of an object.
pub(crate) type Reconcile<K, F> = fn(Arc<K>, Arc<Context>) -> F;
/// A driver that runs until the process must stop.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An object that is reconciled again at some time.
type Requeue<K> = UnboundedSender<ScheduleRequest<Due<K>>>;

/// Runs a driver. Triggers are changes of its own objects, `triggers`, and what affects all objects: changes of a
/// connection, `all_due`, and the turn of each. Due objects wait for the turn of their namespace, and those that changed
/// themselves come first in it ([`Slots`]).
pub(crate) fn drive<K, F>(
    watched: &Watched<K>,
    ctx: &Arc<Context>,
    driver: Driver<K>,
    reconcile: Reconcile<K, F>,
) -> Running
where
    K: OnServer + 'static,
    F: Future<Output = Result<(Action, Outcome), Failed>> + Send + 'static,
{
    let (kind, metrics) = (driver.name, ctx.metrics.clone());
    let (ending, slots, store) = (ctx.clone(), Slots::new(driver.concurrency), watched.store());
    let room = Room::new(QUEUE);
    let own = changes::own_of(watched, driver.matters).boxed();
    let all_due = select(ctx.servers.changes(), driver.all_due);
    let all = changes::all_of(watched, all_due, room.clone()).boxed();
    let turns = driver.in_turn.map(|time| changes::in_turn(watched.store(), time, room.clone()).boxed());
    let others = select_all(driver.triggers.into_iter().chain([all]).chain(turns));
    let [own, others] = [own, others.boxed()].map(|triggers| measure::counted_triggers(&metrics, kind, triggers));
    let now = select(prioritized(own, Priority::Normal), prioritized(others, Priority::Low));
    let (requeue, later) = unbounded();
    let due = select(now, later).take_until(shutdown::requested(ctx.ending.clone()));
    let queue = slots.in_turn(scheduler(due));
    let ctx = ctx.clone();
    let run = move |due: ObjectRef<K>| {
        let (ctx, store, requeue) = (ctx.clone(), store.clone(), requeue.clone());
        room.leave(&due);
        async move {
            // Objects that are not listed yet must not count as missing.
            ctx.stores.ready().await;
            let Some(object) = store.get(&due) else { return (due, Found::Gone) };
            let tenant = object.namespace().unwrap_or_default();
            let work = measured(object, ctx, kind, reconcile, requeue);
            // Each runs on its own task, which ends with the driver.
            match AbortOnDropHandle::new(tokio::spawn(fair::as_tenant(tenant, work))).await {
                Ok(()) => (due, Found::Reconciled),
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only the end of the driver cancels it.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    };
    // One more than can run at a time, so that the queue is always asked: triggers go on while all slots are taken.
    let running =
        queue.map(run).buffer_unordered(usize::from(driver.concurrency) + 1).for_each(move |(object, found)| {
            let (namespace, name) = (object.namespace.as_deref().unwrap_or_default(), object.name.as_str());
            slots.done(namespace, name);
            if found == Found::Gone {
                forget::forget_deleted(&ending, K::KIND, namespace, name);
                metrics.queue().deleted(kind, &(namespace.to_owned(), name.to_owned()));
            }
            std::future::ready(())
        });
    Box::pin(running)
}

/// Whether a due object existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Reconciled,
    Gone,
}

/// What is due now, with this priority. Of two requests for one object kube's queue keeps the earlier one, so that those of
/// the normal priority are dated back.
fn prioritized<K: Object + 'static>(
    triggers: impl Stream<Item = ObjectRef<K>> + Send + 'static,
    priority: Priority,
) -> impl Stream<Item = ScheduleRequest<Due<K>>> + Send + 'static {
    triggers.map(move |object| {
        let now = Instant::now();
        let run_at = match priority {
            Priority::Normal => now.checked_sub(DATED_BACK).unwrap_or(now),
            Priority::Low => now,
        };
        ScheduleRequest { message: Due { object, priority }, run_at }
    })
}

/// Counts and times a reconcile, and schedules the next one. An object that another instance serves is left to it.
async fn measured<K, F>(
    object: Arc<K>,
    ctx: Arc<Context>,
    kind: &'static str,
    reconcile: Reconcile<K, F>,
    requeue: Requeue<K>,
) where
    K: OnServer,
    F: Future<Output = Result<(Action, Outcome), Failed>>,
{
    if !is_served(&ctx, object.as_ref()) {
        measure::left_out(&ctx.metrics, kind, object.as_ref());
        return;
    }
    for (name, inventory) in ctx.servers.reachable() {
        inventory.prepare(|| counts_by_domain(&ctx.stores, &name));
    }
    let (next, priority) = match ctx.requests.may_be_handled(kind, object.as_ref(), RECONCILE_REQUESTED_AT) {
        Ok(()) => {
            let work = reconcile(object.clone(), ctx.clone());
            match measure::counted(&ctx.metrics, kind, object.as_ref(), work).await {
                // What waits has something to do, such as a write that follows another one too soon.
                Ok((next, Outcome::Waiting(_))) => (next, Priority::Normal),
                Ok((next, _)) => (next, Priority::Low),
                Err(_) => (after_failure(object.as_ref(), &ctx), Priority::Normal),
            }
        }
        Err(wait) => (Action::requeue(wait), Priority::Normal),
    };
    if let Action::Requeue(after) = next {
        let run_at = Instant::now().checked_add(after).unwrap_or_else(|| Instant::now() + ctx.settings.resync);
        // This fails only after the driver has ended.
        let due = Due { object: ObjectRef::from_obj(object.as_ref()), priority };
        let _ = requeue.unbounded_send(ScheduleRequest { message: due, run_at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::drivers::DNS_CONCURRENCY;
    use crate::crd::EmailAlias;

    #[tokio::test]
    async fn a_change_comes_first_also_when_something_else_made_its_object_due_a_moment_before_or_after() {
        let (low, normal) = (Priority::Low, Priority::Normal);
        for order in [[low, normal], [normal, low], [normal, normal]] {
            let requests = stream::iter(order).flat_map(|priority| {
                let object = ObjectRef::<EmailAlias>::new("a").within("n");
                prioritized(stream::iter([object]), priority)
            });
            let mut due = Box::pin(scheduler(requests.chain(stream::pending())));
            assert_eq!(due.next().await.unwrap().priority, normal, "{order:?}");
            let again = tokio::time::timeout(Duration::from_millis(20), due.next()).await;
            assert!(again.is_err(), "{order:?}: it is due once");
        }
    }

    #[test]
    fn the_alert_notices_a_queue_that_never_has_room() {
        let alerts = include_str!("../../../charts/mailcow-operator/files/alerts.yaml");
        let (_, threshold) = alerts.split_once("mailcow_operator_queue_depth[15m]) > ").unwrap();
        let threshold: usize = threshold.split_whitespace().next().unwrap().parse().unwrap();
        // Those that are being reconciled don't wait.
        assert!(threshold + usize::from(CONCURRENCY.max(DNS_CONCURRENCY)) < QUEUE, "{threshold}");
    }
}
