//! Starts everything: watches, drivers, the health server; and stops it in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use crate::config::{Served, Settings};
use crate::controller::domain_dns::verification;
use crate::controller::driver::backoff::Backoff;
use crate::controller::driver::context::Context;
use crate::controller::driver::measure;
use crate::controller::driver::named::NamedAddresses;
use crate::controller::driver::rebuilds::Rebuilds;
use crate::controller::driver::requests::Requests;
use crate::controller::mailbox::passwords::Passwords;
use crate::controller::provision::state::Provisions;
use crate::controller::rules::known_links::KnownLinks;
use crate::controller::rules::script_reads::ScriptReads;
use crate::controller::servers::follow_all;
use crate::controller::servers::poll::Poll;
use crate::controller::servers::vanished::VanishedCounts;
use crate::controller::{drivers, shutdown};
use crate::crd::EmailDomain;
use crate::dns::Lookup;
use crate::gates::Gate;
use crate::keyed_lock::KeyedLock;
use crate::kubernetes::app_passwords::AppPasswords;
use crate::kubernetes::secret_versions::SecretVersions;
use crate::kubernetes::served::ServedDefinitions;
use crate::kubernetes::stores::{Stores, scoped};
use crate::kubernetes::writer::Writer;
use crate::leader::permit::Permit;
use crate::leader::{Election, Leading, Terms};
use crate::mail::Sinks;
use crate::publisher::Publisher;
use crate::sinks_file;
use crate::startup::{self, Connection};
use crate::telemetry::{self, Metrics};
use crate::tenancy::Reserved;

/// Why the operator could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As for every process.
    #[error(transparent)]
    Start(#[from] startup::Error),
    /// Another instance may be the leader now.
    #[error("this instance is no longer the leader: {0}; it restarts on standby")]
    NotLeading(String),
    /// No DNS resolver.
    #[error("no DNS resolver: {0}")]
    Resolver(String),
}

/// Runs the controllers until SIGTERM or Ctrl-C; finishes current work first.
///
/// # Errors
/// When something that is needed at the start is missing.
pub async fn run(mut settings: Settings) -> Result<(), Error> {
    let serving = settings.served().map_err(startup::Error::Config)?;
    let namespaces = &mut settings.watch_namespaces;
    let connection = startup::connect::<EmailDomain>("operator", settings.kubeconfig.as_deref(), namespaces).await?;
    let Connection { kube, unguarded, permit, last_answer, inaccessible } = connection;
    let metrics = Metrics::default();
    metrics.gates(&settings.feature_gates);
    tracing::info!(feature_gates = %settings.feature_gates, "starting");
    let ready = Arc::new(AtomicBool::new(false));
    let listen = settings.listen;
    let readiness = startup::readiness(&ready, last_answer, settings.leader.lease_duration);
    if let Some(address) = settings.health_listen {
        telemetry::serve_probes(address, readiness.clone())
            .map_err(|error| startup::Error::Listen { address, error })?;
    }
    let mut server = tokio::spawn(telemetry::serve(listen, metrics.clone(), readiness));
    let cluster = cluster_id(&kube, &settings).await?;
    let lookup =
        Lookup::new(verification::options(&settings.dns)).map_err(|error| Error::Resolver(error.to_string()))?;
    let sinks = sinks_file::follow(settings.sinks_file.clone()).map_err(startup::Error::Sinks)?;
    let ending = shutdown::listen(inaccessible);
    let leading: Leading = {
        let metrics = metrics.clone();
        Arc::new(move |yes| metrics.leading(yes))
    };
    let leases = serving.leases(&settings.leader.lease_name);
    let election = Election::new(&unguarded, &settings.operator_namespace, &settings.leader, leases, &permit, &leading);
    let mut terms = Terms::default();
    // A standby is ready: it could become the leader at any time.
    let is_standby = || ready.store(true, Ordering::Relaxed);
    tokio::select! {
        won = election.won(&mut terms, is_standby) => won.map_err(Error::NotLeading)?,
        () = shutdown::requested(ending.clone()) => {
            terms.resign().await;
            return Ok(());
        }
        ended = &mut server => return Ok(startup::server_ended(listen, ended)?),
    }
    let definitions = Arc::new(ServedDefinitions::new(kube.clone(), metrics.clone()));
    definitions.read().await;
    let (ctx, poll) =
        context(kube, settings, serving, cluster, lookup, metrics, sinks, &permit, ending, &definitions).await;
    tokio::select! {
        () = drivers::run(&ctx) => {
            terms.resign().await;
            Ok(())
        }
        () = announce(&ctx, &ready) => Ok(()),
        () = poll.run() => Ok(()),
        () = definitions.follow() => Ok(()),
        why = terms.lost() => Err(Error::NotLeading(why)),
        ended = &mut server => Ok(startup::server_ended(listen, ended)?),
    }
}

/// The first 8 hex digits of the uid of kube-system, unless configured.
async fn cluster_id(kube: &kube::Client, settings: &Settings) -> Result<String, Error> {
    if let Some(id) = &settings.cluster_id {
        return Ok(id.clone());
    }
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    let system = namespaces.get("kube-system").await.map_err(startup::Error::from)?;
    Ok(system.uid().unwrap_or_default().chars().take(8).collect())
}

/// Whether labels and annotations of namespaces can be read; not with rights in single namespaces only.
async fn may_read_namespaces(kube: &kube::Client, settings: &Settings) -> bool {
    if !settings.watch_namespaces.is_empty() {
        return false;
    }
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    match namespaces.list_metadata(&kube::api::ListParams::default().limit(1)).await {
        Err(kube::Error::Api(error)) if error.is_forbidden() => {
            tracing::warn!(%error, "the operator can't read namespaces: namespace selectors match nothing, and annotations of namespaces are ignored");
            false
        }
        _ => true,
    }
}

/// Starts every watch and creates the shared handles; returns the poll of Mailcow too, which must run beside them.
async fn context(
    kube: kube::Client,
    settings: Settings,
    served: Served,
    cluster: String,
    lookup: Lookup,
    metrics: Metrics,
    sinks: watch::Receiver<Arc<Sinks>>,
    permit: &Permit,
    ending: watch::Receiver<bool>,
    definitions: &Arc<ServedDefinitions>,
) -> (Arc<Context>, Poll) {
    let stores = Stores::watch(&kube, &settings, may_read_namespaces(&kube, &settings).await);
    let mailcow_changes = Publisher::default();
    let servers = follow_all(&kube, &settings, &served, &metrics, permit, &mailcow_changes);
    let poll = Poll::new(servers.clone(), stores.clone(), settings.poll_interval(), metrics.clone());
    let secrets = Api::namespaced(kube.clone(), &settings.operator_namespace);
    let app_passwords = if settings.feature_gates.has(Gate::TaskDelivery) {
        AppPasswords::follow(secrets, &settings.app_password_secret)
    } else {
        AppPasswords::none(secrets)
    };
    let ctx = Context {
        requests: Requests::new(settings.request_interval),
        vanished: VanishedCounts::default(),
        passwords: Passwords::default(),
        senders: NamedAddresses::default(),
        awaited: NamedAddresses::default(),
        writer: Writer::new(kube.clone(), definitions.clone()),
        provisioned: Provisions::default(),
        reserved: Reserved::with(&settings.reserved_names),
        secret_versions: SecretVersions::follow(scoped(&kube, &settings)),
        kube,
        settings,
        cluster,
        served,
        servers,
        mailcow_changes,
        stores,
        lookup,
        metrics,
        backoff: Backoff::default(),
        ending,
        rebuilds: Rebuilds::default(),
        guest_locks: KeyedLock::default(),
        script_locks: KeyedLock::default(),
        app_passwords,
        script_reads: ScriptReads::default(),
        links: KnownLinks::default(),
        sinks,
    };
    let ctx = Arc::new(ctx);
    // The context has the metrics, which must not keep it in turn.
    let counted = Arc::downgrade(&ctx);
    ctx.metrics.count_with(move || counted.upgrade().map(|ctx| measure::counts(&ctx)).unwrap_or_default());
    (ctx, poll)
}

/// Marks the operator as ready once everything is listed.
async fn announce(ctx: &Context, ready: &AtomicBool) {
    ctx.stores.ready().await;
    ready.store(true, Ordering::Relaxed);
    tracing::info!("ready");
    std::future::pending::<()>().await;
}
