//! One driver: which objects it looks at, woken by what, how many at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::Semaphore;

use super::context::Context;
use super::pass;
use super::patch::Object;
use super::poll::census;
use super::stores::Changes;
use super::sync::{Failed, after_failure};
use super::wake;
use crate::outcome::Outcome;

/// Passes of one kind at a time.
const CONCURRENCY: u16 = 8;
/// At the start so many objects of a kind wait for their passes in kube's queue, which keeps the room that it once took;
/// the others wait outside.
const QUEUE: usize = 500;

/// What a driver is, beside its passes.
pub(super) struct Driver<K: Object> {
    /// For metrics.
    pub(super) kind: &'static str,
    /// What of its own objects it acts on.
    pub(super) matters: fn(&K) -> u64,
    /// Objects to look at, beside its own that change.
    pub(super) wakes: Vec<Wakes<K>>,
    /// How long it waits for more of the same before it looks.
    pub(super) debounce: Duration,
}

impl<K: Object> Driver<K> {
    pub(super) fn new(wakes: Vec<Wakes<K>>) -> Self {
        Self { kind: K::KIND, matters: wake::own, wakes, debounce: Duration::ZERO }
    }
}

/// A stream of objects to look at.
pub(super) type Wakes<K> = BoxStream<'static, ObjectRef<K>>;
/// One pass over an object.
pub(super) type Reconcile<K, F> = fn(Arc<K>, Arc<Context>) -> F;
/// A driver that runs until the process is told to end.
pub(super) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a driver: woken by changes of its own objects, by `wakes`, and for all of them by a change of a connection from
/// now on.
pub(super) fn drive<K, F>(
    (own, store): (Changes<K>, &Store<K>),
    ctx: &Arc<Context>,
    driver: Driver<K>,
    reconcile: Reconcile<K, F>,
) -> Running
where
    K: Object + 'static,
    F: Future<Output = Result<(Action, Outcome), Failed>> + Send + 'static,
{
    let config = controller::Config::default().concurrency(CONCURRENCY).debounce(driver.debounce);
    let (kind, metrics) = (driver.kind, ctx.metrics.clone());
    let room = Arc::new(Semaphore::new(QUEUE));
    let own = pass::noted_own(&metrics, kind, wake::changed(own, driver.matters));
    let own = wake::as_there_is_room(own, room.clone()).map(|change| change.object);
    let pass = move |object: Arc<K>, ctx: Arc<Context>| measured(object, (ctx, room.clone()), (kind, reconcile));
    let running = Controller::for_shared_stream(own, store.clone())
        .with_config(config)
        .reconcile_on(pass::noted(&metrics, kind, select_all(driver.wakes)))
        .reconcile_all_on(pass::noted_all(&metrics, kind, (store.clone(), ctx.servers.changes())))
        .graceful_shutdown_on(super::run::ended(ctx.ending.clone()))
        .run(pass, |object, _, ctx| after_failure(object.as_ref(), &ctx), ctx.clone())
        .for_each(move |result| pass::ended(&metrics, kind, result.map(|_| ())));
    Box::pin(running)
}

/// Counts and times a pass, once everything that it leans on is listed.
async fn measured<K, F>(
    object: Arc<K>,
    (ctx, room): (Arc<Context>, Arc<Semaphore>),
    (kind, reconcile): (&'static str, Reconcile<K, F>),
) -> Result<Action, Failed>
where
    K: Object,
    F: Future<Output = Result<(Action, Outcome), Failed>>,
{
    // What is not listed yet must not be taken for missing.
    ctx.stores.ready().await;
    for (name, inventory) in ctx.servers.reachable() {
        inventory.prepare(|| census(&ctx.stores, &name));
    }
    let done = pass::counted((&ctx.metrics, kind), object.as_ref(), reconcile(object.clone(), ctx.clone())).await;
    if room.available_permits() < QUEUE {
        room.add_permits(1);
    }
    done
}
