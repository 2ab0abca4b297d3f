//! One driver: which objects it looks at, woken by what, how many at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};

use super::context::Context;
use super::patch::Object;
use super::poll::census;
use super::stores::Changes;
use super::sync::{Failed, after_failure};
use super::wake::{self, when_changed};
use crate::outcome::Outcome;

/// Passes of one kind at a time.
const CONCURRENCY: u16 = 8;

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

/// Runs a driver: woken by changes of its own objects, by `wakes`, and for all of them by a change of the connection.
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
    let kind = driver.kind;
    let pass = move |object: Arc<K>, ctx: Arc<Context>| measured(object, ctx, (kind, reconcile));
    let running = Controller::for_shared_stream(when_changed(own, driver.matters), store.clone())
        .with_config(config)
        .reconcile_on(select_all(driver.wakes))
        .reconcile_all_on(ctx.servers.changes())
        .graceful_shutdown_on(super::run::ended(ctx.ending.clone()))
        .run(pass, |object, error, ctx| after_failure(object.as_ref(), error, &ctx), ctx.clone())
        .for_each(|_| std::future::ready(()));
    Box::pin(running)
}

/// Counts and times a pass, once everything that it leans on is there.
async fn measured<K, F>(
    object: Arc<K>,
    ctx: Arc<Context>,
    (kind, reconcile): (&'static str, Reconcile<K, F>),
) -> Result<Action, Failed>
where
    K: Object,
    F: Future<Output = Result<(Action, Outcome), Failed>>,
{
    // What is not listed yet must not be taken for missing.
    ctx.stores.ready().await;
    ctx.servers.known().await;
    for (name, inventory) in ctx.servers.reachable() {
        inventory.prepare(|| census(&ctx.stores, &name));
    }
    let started = Instant::now();
    let done = reconcile(object, ctx.clone()).await;
    let outcome = done.as_ref().map_or("error", |(_, outcome)| outcome.label());
    ctx.metrics.reconciled(kind, outcome, started.elapsed());
    done.map(|(action, _)| action)
}
