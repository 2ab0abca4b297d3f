//! What surrounds every reconcile: its trigger, the object in its log lines, its count and its time.

use std::future::Future;
use std::time::Instant;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tracing::Instrument;

use crate::controller::driver::action::Action;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Failed;
use crate::controller::driver::on_server::{OnServer, is_served};
use crate::crd::{EmailDomain, EmailMailbox};
use crate::kubernetes::object::Object;
use crate::kubernetes::store::{Store, Stored};
use crate::outcome::Outcome;
use crate::telemetry::{Counts, Key, Metrics, ObjectState};

/// Counts and times a reconcile; each of its log lines names its object.
pub(crate) async fn counted<K: Object>(
    metrics: &Metrics,
    driver: &'static str,
    object: &K,
    reconcile: impl Future<Output = Result<(Action, Outcome), Failed>>,
) -> Result<(Action, Outcome), Failed> {
    let key = key(object);
    let span = tracing::info_span!("reconcile", object.kind = K::KIND, object.namespace = key.0, object.name = key.1);
    let _running = metrics.queue().started(driver, &key);
    let started = Instant::now();
    let done = reconcile.instrument(span.clone()).await;
    let outcome = done.as_ref().map_or("error", |(_, outcome)| outcome.label());
    metrics.reconciled(driver, outcome, started.elapsed());
    if let Err(error) = &done {
        // An unreachable API is reported once, by the renewal of the Lease.
        span.in_scope(|| {
            if error.is_answer() {
                tracing::warn!(%error, "the reconcile is retried");
            } else {
                tracing::debug!(%error, "the reconcile is retried");
            }
        });
    }
    done
}

/// Counts objects as triggered.
pub(crate) fn counted_triggers<K: Object + 'static>(
    metrics: &Metrics,
    driver: &'static str,
    triggers: impl Stream<Item = ObjectRef<K>> + Send + 'static,
) -> impl Stream<Item = ObjectRef<K>> + Send + 'static {
    let queue = metrics.queue().clone();
    triggers.inspect(move |object| queue.triggered(driver, key_of(object.namespace.as_deref(), &object.name)))
}

/// Counts a triggered object as done that this instance does not serve.
pub(crate) fn left_out(metrics: &Metrics, driver: &'static str, object: &impl Resource) {
    metrics.queue().deleted(driver, &key(object));
}

fn key(object: &impl Resource) -> Key {
    key_of(object.meta().namespace.as_deref(), object.meta().name.as_deref().unwrap_or_default())
}

fn key_of(namespace: Option<&str>, name: &str) -> Key {
    (namespace.unwrap_or_default().to_owned(), name.to_owned())
}

/// The current counts of what this instance serves, for metrics.
pub(crate) fn counts(ctx: &Context) -> Counts {
    let reachable = ctx.servers.reachable().into_iter();
    let breakers = reachable.map(|(name, server)| (name, server.client().breaker())).collect();
    let mut counts = Counts { breakers, ..Counts::default() };
    let now = crate::clock::now();
    count(&mut counts, ctx, &ctx.stores.domains, |counts, domains, number| {
        counts.count_recreated(EmailDomain::KIND, domains, number, &now);
        counts.count_dns(domains, number);
    });
    count(&mut counts, ctx, &ctx.stores.mailboxes, |counts, mailboxes, number| {
        counts.count_recreated(EmailMailbox::KIND, mailboxes, number, &now);
        counts.count_quota(mailboxes, number);
    });
    count(&mut counts, ctx, &ctx.stores.aliases, |_, _, _| {});
    count(&mut counts, ctx, &ctx.stores.rules, |_, _, _| {});
    counts
}

/// Counts the objects of a store that this instance serves, and what is particular to their kind.
fn count<K>(counts: &mut Counts, ctx: &Context, store: &Store<K>, particular: impl Fn(&mut Counts, &ObjectState, i64))
where
    K: OnServer + Stored<Tally = ObjectState> + 'static,
{
    counts.of_kind(K::KIND);
    let mut add = |object: &ObjectState, number: usize| {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        counts.count(K::KIND, object, number);
        particular(counts, object, number);
    };
    if ctx.served.is_everything() {
        store.tallies().iter().for_each(|(object, number)| add(object, *number));
    } else {
        store.all().filter(|object| is_served(ctx, object.as_ref())).for_each(|object| add(&object.tally(), 1));
    }
}
