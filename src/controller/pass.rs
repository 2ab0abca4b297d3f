//! What surrounds every pass: who is woken for it, its log lines' object, its count and its time.

use std::future::{Future, Ready};
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::controller::{Action, Error};
use kube::runtime::reflector::{ObjectRef, Store};
use tracing::Instrument;

use super::patch::Object;
use super::servers::Servers;
use super::stores::{Change, Stores};
use super::sync::Failed;
use crate::outcome::Outcome;
use crate::status::Conditioned;
use crate::telemetry::{Key, Metrics, Standing};

/// Counts and times a pass; every line that it logs names its object.
pub(super) async fn counted<K: Object>(
    (metrics, driver): (&Metrics, &'static str),
    object: &K,
    pass: impl Future<Output = Result<(Action, Outcome), Failed>>,
) -> Result<Action, Failed> {
    let key = key(object);
    let span = tracing::info_span!("pass", object.kind = K::KIND, object.namespace = key.0, object.name = key.1);
    let _running = metrics.queue().begun(driver, &key);
    let started = Instant::now();
    let done = pass.instrument(span.clone()).await;
    let outcome = done.as_ref().map_or("error", |(_, outcome)| outcome.label());
    metrics.reconciled(driver, outcome, started.elapsed());
    if let Err(error) = &done {
        span.in_scope(|| tracing::warn!(%error, "the pass is repeated"));
    }
    done.map(|(action, _)| action)
}

/// Notes of objects that they are woken.
pub(super) fn noted<K: Object + 'static>(
    metrics: &Metrics,
    driver: &'static str,
    wakes: impl Stream<Item = ObjectRef<K>> + Send + 'static,
) -> impl Stream<Item = ObjectRef<K>> + Send + 'static {
    let queue = metrics.queue().clone();
    wakes.inspect(move |object| queue.woken(driver, key_of(object.namespace.as_deref(), &object.name)))
}

/// Notes of a driver's own objects that they are woken.
pub(super) fn noted_own<K: Object + 'static>(
    metrics: &Metrics,
    driver: &'static str,
    own: impl Stream<Item = Change<K>> + Send + 'static,
) -> impl Stream<Item = Change<K>> + Send + 'static {
    let queue = metrics.queue().clone();
    own.inspect(move |change| queue.woken(driver, key(change.object.as_ref())))
}

/// Notes of all objects that they are woken.
pub(super) fn noted_all<K: Object + 'static>(
    metrics: &Metrics,
    driver: &'static str,
    (store, wakes): (Store<K>, impl Stream<Item = ()> + Send + 'static),
) -> impl Stream<Item = ()> + Send + 'static {
    let queue = metrics.queue().clone();
    wakes.inspect(move |()| store.state().iter().for_each(|object| queue.woken(driver, key(object.as_ref()))))
}

/// Notes of an object that was woken and is gone that it waits no more.
pub(super) fn ended<Q>(metrics: &Metrics, driver: &'static str, result: Result<(), Error<Failed, Q>>) -> Ready<()> {
    if let Err(Error::ObjectNotFound(gone)) = result {
        metrics.queue().gone(driver, &key_of(gone.namespace.as_deref(), &gone.name));
    }
    std::future::ready(())
}

fn key(object: &impl Resource) -> Key {
    key_of(object.meta().namespace.as_deref(), object.meta().name.as_deref().unwrap_or_default())
}

fn key_of(namespace: Option<&str>, name: &str) -> Key {
    (namespace.unwrap_or_default().to_owned(), name.to_owned())
}

/// How things stand now, for metrics.
pub(super) fn standing(stores: &Stores, servers: &Servers) -> Standing {
    let breakers = servers.reachable().into_iter().map(|(name, server)| (name, server.client().breaker())).collect();
    let mut standing = Standing { breakers, ..Standing::default() };
    count(&mut standing, stores.domains.state());
    for domain in stores.domains.state() {
        standing.count_dns(domain.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default());
    }
    count(&mut standing, stores.mailboxes.state());
    count(&mut standing, stores.aliases.state());
    count(&mut standing, stores.rules.state());
    standing
}

fn count<K: Object>(standing: &mut Standing, objects: Vec<Arc<K>>) {
    standing.of_kind(K::KIND);
    for object in objects {
        let conditions = object.status().map(Conditioned::conditions).unwrap_or_default();
        standing.count(K::KIND, conditions, object.meta().deletion_timestamp.is_some());
    }
}
