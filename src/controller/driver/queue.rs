//! One driver: which objects it reconciles, triggered by what, how many at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Semaphore;

use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{Failed, after_failure};
use crate::controller::driver::{forget, measure};
use crate::controller::servers::poll::counts_by_domain;
use crate::controller::shutdown;
use crate::controller::triggers::changes;
use crate::kubernetes::object::Object;
use crate::kubernetes::stores::Watched;
use crate::outcome::Outcome;

/// Number of parallel reconciles of one kind.
const CONCURRENCY: u16 = 8;
/// At the start, at most this many objects of a kind are in kube's queue, which never shrinks; the others wait outside.
const QUEUE: usize = 500;

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
}

impl<K: Object> Driver<K> {
    pub(crate) fn new(triggers: Vec<Triggers<K>>) -> Self {
        Self { name: K::KIND, concurrency: CONCURRENCY, matters: changes::own, triggers }
    }
}

/// A stream of objects that are due.
pub(crate) type Triggers<K> = BoxStream<'static, ObjectRef<K>>;
/// One reconcile of an object.
pub(crate) type Reconcile<K, F> = fn(Arc<K>, Arc<Context>) -> F;
/// A driver that runs until the process must stop.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a driver. Triggers are changes of its own objects, `triggers`, and for all objects a change of a connection.
pub(crate) fn drive<K, F>(
    watched: &Watched<K>,
    ctx: &Arc<Context>,
    driver: Driver<K>,
    reconcile: Reconcile<K, F>,
) -> Running
where
    K: Object + 'static,
    F: Future<Output = Result<(Action, Outcome), Failed>> + Send + 'static,
{
    let config = controller::Config::default().concurrency(driver.concurrency);
    let (kind, metrics) = (driver.name, ctx.metrics.clone());
    let ending = ctx.clone();
    let store = watched.store();
    let room = Arc::new(Semaphore::new(QUEUE));
    let own = measure::counted_own(&metrics, kind, changes::changed(watched.subscribe(), driver.matters));
    let own = changes::paced_at_start(own, room.clone()).map(|change| change.object().clone());
    let measured_reconcile =
        move |object: Arc<K>, ctx: Arc<Context>| measured(object, ctx, room.clone(), kind, reconcile);
    let running = Controller::for_shared_stream(own, store.clone())
        .with_config(config)
        .reconcile_on(measure::counted_triggers(&metrics, kind, select_all(driver.triggers)))
        .reconcile_all_on(measure::counted_all(&metrics, kind, store, ctx.servers.changes()))
        .graceful_shutdown_on(shutdown::requested(ctx.ending.clone()))
        .run(measured_reconcile, |object, _, ctx| after_failure(object.as_ref(), &ctx), ctx.clone())
        .for_each(move |result| {
            forget::if_gone(&ending, &result);
            measure::ended(&metrics, kind, result.map(|_| ()))
        });
    Box::pin(running)
}

/// Counts and times a reconcile, after everything it needs is listed.
async fn measured<K, F>(
    object: Arc<K>,
    ctx: Arc<Context>,
    room: Arc<Semaphore>,
    kind: &'static str,
    reconcile: Reconcile<K, F>,
) -> Result<Action, Failed>
where
    K: Object,
    F: Future<Output = Result<(Action, Outcome), Failed>>,
{
    // Objects that are not listed yet must not count as missing.
    ctx.stores.ready().await;
    for (name, inventory) in ctx.servers.reachable() {
        inventory.prepare(|| counts_by_domain(&ctx.stores, &name));
    }
    let done = measure::counted(&ctx.metrics, kind, object.as_ref(), reconcile(object.clone(), ctx.clone())).await;
    if room.available_permits() < QUEUE {
        room.add_permits(1);
    }
    done
}
