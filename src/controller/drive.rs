//! What runs a driver: its queue, and what is counted of its passes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, select_all};
use futures::{StreamExt, stream};
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::{Semaphore, watch};

use super::connection::{self, Server};
use super::context::Context;
use super::patch::Object;
use super::poll::census;
use super::stores::Changes;
use super::sync::{Failed, after_failure};
use super::wake::{self, when_changed};
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
    pub(super) wakes: Vec<Wakes<K>>,
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

/// Runs a driver: woken by changes of its own objects, by `wakes`, and for all of them by a change of the connection.
pub(super) fn drive<K, F>(
    (own, store): (Changes<K>, &Store<K>),
    (ctx, server): (&Arc<Context>, &watch::Receiver<Server>),
    driver: Driver<K>,
    reconcile: Reconcile<K, F>,
) -> Running
where
    K: Object + 'static,
    F: Future<Output = Result<(Action, Outcome), Failed>> + Send + 'static,
{
    let mut server = server.clone();
    let known = async move {
        // The first passes wait for it.
        connection::known(&server).await;
        server.mark_unchanged();
        server
    };
    let connection_changed = stream::once(known).flat_map(|server| {
        stream::unfold(server, |mut server| async { server.changed().await.ok().map(|()| ((), server)) })
    });
    let config = controller::Config::default().concurrency(CONCURRENCY).debounce(driver.debounce);
    let kind = driver.kind;
    let room = Arc::new(Semaphore::new(QUEUE));
    let own = when_changed(wake::as_there_is_room(own, room.clone()), driver.matters);
    let pass = move |object: Arc<K>, ctx: Arc<Context>| measured(object, (ctx, room.clone()), (kind, reconcile));
    let running = Controller::for_shared_stream(own, store.clone())
        .with_config(config)
        .reconcile_on(select_all(driver.wakes))
        .reconcile_all_on(connection_changed)
        .graceful_shutdown_on(super::run::ended(ctx.ending.clone()))
        .run(pass, |object, error, ctx| after_failure(object.as_ref(), error, &ctx), ctx.clone())
        .for_each(|_| std::future::ready(()));
    Box::pin(running)
}

/// Counts and times a pass, once everything that it leans on is there.
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
    connection::known(&ctx.server).await;
    if let Ok(inventory) = &*ctx.server.borrow() {
        inventory.prepare(|| census(&ctx.stores));
    }
    ctx.metrics.begun(kind);
    let started = Instant::now();
    let done = reconcile(object, ctx.clone()).await;
    let outcome = done.as_ref().map_or("error", |(_, outcome)| outcome.label());
    ctx.metrics.reconciled(kind, outcome, started.elapsed());
    if room.available_permits() < QUEUE {
        room.add_permits(1);
    }
    done.map(|(action, _)| action)
}
