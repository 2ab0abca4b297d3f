//! Starts everything: watches, drivers, the health server; and ends it in order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::NamespaceResourceScope;
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, ReflectHandle, Store};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::watch;

use super::connection::{Server, Source};
use super::context::Context;
use super::patch::Object;
use super::stores::{Stores, Turns, follow};
use super::sync::{Failed, after_failure};
use super::wake::{self, belongs_to, domain_of, needs, when_changed};
use super::{alias, domain, mailbox, secret_watch, verification};
use crate::config::Settings;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::dns::Lookup;
use crate::outcome::Outcome;
use crate::telemetry::{self, Metrics};

/// Passes of one kind at a time.
const CONCURRENCY: u16 = 8;
/// How long a domain waits for more to be attached before it counts again.
const DOMAIN_DEBOUNCE: Duration = Duration::from_millis(300);

/// Why the operator could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to the Kubernetes API.
    #[error("no connection to the Kubernetes API: {0}")]
    Kubernetes(#[source] Box<kube::Error>),
    /// The kubeconfig or the in-cluster configuration can't be used.
    #[error("no Kubernetes configuration: {0}")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The CRDs are not there.
    #[error("the CRDs of email.askrobots.com are not installed, or may not be listed: {0}")]
    NoCrds(#[source] Box<kube::Error>),
    /// The address for metrics and health can't be used.
    #[error("can't serve metrics and health on {address}: {error}")]
    Listen {
        /// As configured.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// DNS can't be asked.
    #[error("no DNS resolver: {0}")]
    Resolver(String),
}

/// Runs the controllers until SIGTERM or Ctrl-C; what is in hand is finished first.
///
/// # Errors
/// When something that is needed at the start is missing.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let config = kube::Config::infer().await.map_err(|error| Error::Config(Box::new(error)))?;
    let kube = kube::Client::try_from(config).map_err(|error| Error::Kubernetes(Box::new(error)))?;
    check_crds(&kube, &settings).await?;
    let metrics = Metrics::default();
    let ready = Arc::new(AtomicBool::new(false));
    let listen = settings.listen;
    let server = tokio::spawn(telemetry::serve(listen, metrics.clone(), ready.clone()));
    let cluster = cluster_id(&kube, &settings).await?;
    let lookup =
        Lookup::new(verification::options(&settings.dns)).map_err(|error| Error::Resolver(error.to_string()))?;
    let drivers = drivers(kube, settings, (cluster, lookup, metrics), ready);
    tokio::select! {
        () = drivers => Ok(()),
        ended = server => match ended {
            Ok(Err(error)) => Err(Error::Listen { address: listen, error }),
            Ok(Ok(())) | Err(_) => Ok(()),
        },
    }
}

/// One cheap list that fails with a clear reason where watches would only try again.
async fn check_crds(kube: &kube::Client, settings: &Settings) -> Result<(), Error> {
    let domains: Api<EmailDomain> = scoped(kube, settings);
    let one = kube::api::ListParams::default().limit(1);
    domains.list(&one).await.map(|_| ()).map_err(|error| Error::NoCrds(Box::new(error)))
}

/// The first 8 hex digits of the uid of kube-system, unless configured.
async fn cluster_id(kube: &kube::Client, settings: &Settings) -> Result<String, Error> {
    if let Some(id) = &settings.cluster_id {
        return Ok(id.clone());
    }
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    let system = namespaces.get("kube-system").await.map_err(|error| Error::Kubernetes(Box::new(error)))?;
    Ok(system.uid().unwrap_or_default().chars().take(8).collect())
}

fn scoped<K>(kube: &kube::Client, settings: &Settings) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match &settings.watch_namespace {
        Some(namespace) => Api::namespaced(kube.clone(), namespace),
        None => Api::all(kube.clone()),
    }
}

/// Subscriptions to the four kinds, one for each driver that is woken by it.
struct Handles {
    domains: Vec<ReflectHandle<EmailDomain>>,
    mailboxes: Vec<ReflectHandle<EmailMailbox>>,
    aliases: Vec<ReflectHandle<EmailAlias>>,
    rules: Vec<ReflectHandle<EmailForwardingRule>>,
}

async fn drivers(
    kube: kube::Client,
    settings: Settings,
    (cluster, lookup, metrics): (String, Lookup, Metrics),
    ready: Arc<AtomicBool>,
) {
    let (domains, domain_handles) = follow(scoped(&kube, &settings), 3);
    let (mailboxes, mailbox_handles) = follow(scoped(&kube, &settings), 4);
    let (aliases, alias_handles) = follow(scoped(&kube, &settings), 2);
    let (rules, rule_handles) = follow(scoped(&kube, &settings), 0);
    let handles =
        Handles { domains: domain_handles, mailboxes: mailbox_handles, aliases: alias_handles, rules: rule_handles };
    let (source, server) = Source::new(metrics.clone());
    tokio::spawn(source.follow(settings.clone(), kube.clone()));
    let stores = Stores { domains, mailboxes, aliases, rules };
    let reporter = Reporter { controller: "mailcow-operator".to_owned(), instance: None };
    let ctx = Arc::new(Context {
        recorder: Recorder::new(kube.clone(), reporter),
        kube,
        settings,
        cluster,
        server: server.clone(),
        stores: stores.clone(),
        lookup,
        metrics,
        backoff: super::backoff::Backoff::default(),
        latest: super::latest::Latest::default(),
        turns: Turns::default(),
    });
    let running = all(handles, &ctx, &server);
    let announce = async {
        stores.ready().await;
        ready.store(true, Ordering::Relaxed);
        tracing::info!("ready");
        std::future::pending::<()>().await;
    };
    tokio::select! { () = running => {}, () = announce => {} }
}

/// A stream of objects to look at.
type Wakes<K> = BoxStream<'static, ObjectRef<K>>;
/// A driver that runs until the process is told to end.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

async fn all(mut handles: Handles, ctx: &Arc<Context>, server: &watch::Receiver<Server>) {
    let mut drivers: Vec<Running> = Vec::new();
    if let Some(own) = handles.domains.pop() {
        let wakes = domain_wakes(&mut handles);
        drivers.push(drive(own, ctx, (server, wakes, DOMAIN_DEBOUNCE), domain::reconcile));
    }
    if let Some(own) = handles.mailboxes.pop() {
        let wakes = mailbox_wakes(&mut handles, ctx);
        drivers.push(drive(own, ctx, (server, wakes, Duration::ZERO), mailbox::reconcile));
    }
    if let Some(own) = handles.aliases.pop() {
        let wakes = alias_wakes(&mut handles, ctx);
        drivers.push(drive(own, ctx, (server, wakes, Duration::ZERO), alias::reconcile));
    }
    futures::future::join_all(drivers).await;
}

/// Domains count what is attached to them.
fn domain_wakes(handles: &mut Handles) -> Vec<Wakes<EmailDomain>> {
    let conditions_of_mailbox = |m: &EmailMailbox| conditions_hash(m.status.as_ref().map(|s| s.conditions.as_slice()));
    let conditions_of_alias = |a: &EmailAlias| conditions_hash(a.status.as_ref().map(|s| s.conditions.as_slice()));
    let mailboxes = handles.mailboxes.pop().map(|handle| {
        let changed = when_changed(handle, conditions_of_mailbox);
        changed.filter_map(|m| std::future::ready(domain_of(m.as_ref()))).boxed()
    });
    let aliases = handles.aliases.pop().map(|handle| {
        let changed = when_changed(handle, conditions_of_alias);
        changed.filter_map(|a| std::future::ready(domain_of(a.as_ref()))).boxed()
    });
    mailboxes.into_iter().chain(aliases).collect()
}

fn conditions_hash(conditions: Option<&[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]>) -> u64 {
    wake::ready_for_domain(conditions.unwrap_or_default())
}

/// Mailboxes wait for their domain and take its defaults, and for the Secrets with their passwords.
fn mailbox_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailMailbox>> {
    let mailboxes = ctx.stores.mailboxes.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching(when_changed(handle, wake::domain_for_others), mailboxes, |mailbox, domain| {
            belongs_to(mailbox, domain.namespace().as_deref(), &domain.name_any())
        })
    });
    let given = handles
        .mailboxes
        .pop()
        .map(|handle| secret_watch::given(ctx.kube.clone(), handle, ctx.stores.mailboxes.clone()));
    let generated = secret_watch::generated(scoped(&ctx.kube, &ctx.settings), ctx.stores.mailboxes.clone());
    domains.into_iter().chain(given).chain([generated]).collect()
}

/// Aliases wait for their domain and for the mailboxes they go to.
fn alias_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailAlias>> {
    let aliases = ctx.stores.aliases.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching(when_changed(handle, wake::domain_for_others), aliases.clone(), |alias, domain| {
            belongs_to(alias, domain.namespace().as_deref(), &domain.name_any())
        })
    });
    let mailboxes = handles.mailboxes.pop().map(|handle| {
        all_matching(when_changed(handle, wake::mailbox_for_others), aliases, |alias, mailbox| {
            needs(alias, mailbox.namespace().as_deref(), &mailbox.name_any())
        })
    });
    domains.into_iter().chain(mailboxes).collect()
}

/// For each event of another kind, those objects of ours that it matters to.
fn all_matching<K, O>(
    events: impl Stream<Item = Arc<O>> + Send + 'static,
    store: Store<K>,
    matters: fn(&K, &O) -> bool,
) -> Wakes<K>
where
    K: Object + 'static,
    O: Send + Sync + 'static,
{
    let found = move |other: Arc<O>| {
        let objects = store.state_filter(|object| matters(object, &other));
        futures::stream::iter(
            objects.into_iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect::<Vec<_>>(),
        )
    };
    events.flat_map(found).boxed()
}

/// Runs the driver of a kind: woken by its own changes, by `wakes`, and all by a change of the connection.
fn drive<K, F>(
    own: ReflectHandle<K>,
    ctx: &Arc<Context>,
    (server, wakes, debounce): (&watch::Receiver<Server>, Vec<Wakes<K>>, Duration),
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
) -> Running
where
    K: Object + 'static,
    F: Future<Output = Result<(Action, Outcome), Failed>> + Send + 'static,
{
    let reader = own.reader();
    let mut server = server.clone();
    server.mark_unchanged();
    let connection_changed =
        futures::stream::unfold(server, |mut server| async { server.changed().await.ok().map(|()| ((), server)) });
    let config = controller::Config::default().concurrency(CONCURRENCY).debounce(debounce);
    let pass = move |object: Arc<K>, ctx: Arc<Context>| measured(object, ctx, reconcile);
    let running = Controller::for_shared_stream(when_changed(own, wake::own), reader)
        .with_config(config)
        .reconcile_on(select_all(wakes))
        .reconcile_all_on(connection_changed)
        .shutdown_on_signal()
        .run(pass, |object, error, ctx| after_failure(object, error, ctx), ctx.clone())
        .for_each(|_| std::future::ready(()));
    Box::pin(running)
}

/// Counts and times a pass.
async fn measured<K, F>(
    object: Arc<K>,
    ctx: Arc<Context>,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
) -> Result<Action, Failed>
where
    K: Object,
    F: Future<Output = Result<(Action, Outcome), Failed>>,
{
    let started = Instant::now();
    let done = reconcile(object, ctx.clone()).await;
    let outcome = done.as_ref().map_or("error", |(_, outcome)| outcome.label());
    let kind = static_kind(&K::kind(&()));
    ctx.metrics.reconciled(kind, outcome, started.elapsed());
    done.map(|(action, _)| action)
}

/// A closed set of label values.
fn static_kind(kind: &str) -> &'static str {
    match kind {
        "EmailDomain" => "EmailDomain",
        "EmailMailbox" => "EmailMailbox",
        "EmailAlias" => "EmailAlias",
        _ => "EmailForwardingRule",
    }
}
