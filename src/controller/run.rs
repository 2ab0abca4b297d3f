//! Starts everything: watches, drivers, the health server; and stops it in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use crate::config::Settings;
use crate::controller::domain_dns::verification;
use crate::controller::driver::addresses::Addresses;
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
use crate::kubernetes::access;
use crate::kubernetes::app_passwords::AppPasswords;
use crate::kubernetes::client::{self, LastAnswer};
use crate::kubernetes::cluster;
use crate::kubernetes::served::ServedDefinitions;
use crate::kubernetes::stores::Stores;
use crate::kubernetes::writer::Writer;
use crate::leader::permit::Permit;
use crate::leader::{Candidate, Leading};
use crate::mail::Sinks;
use crate::publisher::Publisher;
use crate::sinks_file;
use crate::telemetry::{self, Metrics, Readiness};
use crate::tenancy::Reserved;

/// After this time without an answer of the Kubernetes API the operator is not ready; or after the duration of the
/// Lease, if that is longer, because the Lease is renewed several times in it.
const SILENCE: Duration = Duration::from_mins(1);

/// Why the operator could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the Kubernetes API.
    #[error("no connection to the Kubernetes API: {0}")]
    Kubernetes(#[source] Box<kube::Error>),
    /// The cluster is unknown.
    #[error("{0}")]
    Config(String),
    /// The CRDs do not exist.
    #[error("the CRDs of email.askrobots.com are not installed, or the operator may not list them: {0}")]
    NoCrds(#[source] Box<kube::Error>),
    /// The address for metrics and health can't be used.
    #[error("can't serve metrics and health on {address}: {error}")]
    Listen {
        /// As configured.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The sinks file is invalid.
    #[error("the sinks file is invalid: {0}")]
    Sinks(String),
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
    let config =
        cluster::config(settings.kubeconfig.as_deref()).await.map_err(|error| Error::Config(error.to_string()))?;
    tracing::info!(cluster = %config.cluster_url, "working on this cluster");
    let no_kube = |error| Error::Kubernetes(Box::new(error));
    let (permit, last_answer) = (Permit::always(), LastAnswer::default());
    let unguarded = client::client(config.clone(), Permit::always(), last_answer.clone()).map_err(no_kube)?;
    let kube = client::client(config, permit.clone(), last_answer.clone()).map_err(no_kube)?;
    let inaccessible = access::check::<EmailDomain>(&kube, &mut settings.watch_namespaces)
        .await
        .map_err(|error| Error::NoCrds(Box::new(error)))?;
    let metrics = Metrics::default();
    metrics.gates(&settings.feature_gates);
    tracing::info!(feature_gates = %settings.feature_gates, "starting");
    let ready = Arc::new(AtomicBool::new(false));
    let listen = settings.listen;
    let readiness = readiness(&ready, last_answer, &settings);
    if let Some(address) = settings.health_listen {
        telemetry::serve_probes(address, readiness.clone()).map_err(|error| Error::Listen { address, error })?;
    }
    let mut server = tokio::spawn(telemetry::serve(listen, metrics.clone(), readiness));
    let cluster = cluster_id(&kube, &settings).await?;
    let lookup =
        Lookup::new(verification::options(&settings.dns)).map_err(|error| Error::Resolver(error.to_string()))?;
    let sinks = sinks_file::follow(settings.sinks_file.clone()).map_err(Error::Sinks)?;
    let ending = shutdown::listen(inaccessible);
    let leading: Leading = {
        let metrics = metrics.clone();
        Arc::new(move |yes| metrics.leading(yes))
    };
    let mut term = tokio::select! {
        term = Candidate::new(unguarded, &settings.operator_namespace, &settings.leader, permit.clone(), leading).elected(|| {
            // A standby is ready: it could become the leader at any time.
            ready.store(true, Ordering::Relaxed);
        }) => term,
        () = shutdown::requested(ending.clone()) => return Ok(()),
        ended = &mut server => return unserved(listen, ended),
    };
    let definitions = Arc::new(ServedDefinitions::new(kube.clone(), metrics.clone()));
    definitions.read().await;
    let (ctx, poll) = context(kube, settings, cluster, lookup, metrics, sinks, &permit, ending, &definitions).await;
    tokio::select! {
        () = drivers::run(&ctx) => {
            term.resign().await;
            Ok(())
        }
        () = announce(&ctx, &ready) => Ok(()),
        () = poll.run() => Ok(()),
        () = definitions.follow() => Ok(()),
        why = term.lost() => Err(Error::NotLeading(why)),
        ended = &mut server => unserved(listen, ended),
    }
}

/// Whether the operator is ready: it has started, and Kubernetes answers.
fn readiness(ready: &Arc<AtomicBool>, last_answer: LastAnswer, settings: &Settings) -> Readiness {
    let (ready, longest) = (ready.clone(), SILENCE.max(settings.leader.lease_duration));
    Arc::new(move || {
        let silence = last_answer.elapsed();
        if silence > longest {
            return Err(format!("the Kubernetes API has not answered for {} s; see the log", silence.as_secs()));
        }
        if !ready.load(Ordering::Relaxed) {
            return Err("waiting for the Kubernetes API; see the log".to_owned());
        }
        Ok(())
    })
}

/// The end of the server for metrics and health.
fn unserved(
    address: std::net::SocketAddr,
    ended: Result<std::io::Result<()>, tokio::task::JoinError>,
) -> Result<(), Error> {
    match ended {
        Ok(Err(error)) => Err(Error::Listen { address, error }),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
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
    let servers = follow_all(&kube, &settings, &metrics, permit, &mailcow_changes);
    let poll = Poll::new(servers.clone(), stores.clone(), settings.poll_interval(), metrics.clone());
    let counted = (stores.clone(), servers.clone());
    metrics.count_with(move || measure::counts(&counted.0, &counted.1));
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
        kube,
        settings,
        cluster,
        servers,
        mailcow_changes,
        addresses: Addresses::follow(&stores),
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
    (Arc::new(ctx), poll)
}

/// Marks the operator as ready once everything is listed.
async fn announce(ctx: &Context, ready: &AtomicBool) {
    ctx.stores.ready().await;
    ready.store(true, Ordering::Relaxed);
    tracing::info!("ready");
    std::future::pending::<()>().await;
}
