//! Starts everything: watches, drivers, the health server; and ends it in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::connection::follow_all;
use super::context::Context;
use super::leader::{Candidate, Term};
use super::permit::{self, Permit};
use super::places::{self, Closed};
use super::poll::Poll;
use super::sinks;
use super::stores::{Stores, follow, follow_namespaces, scoped};
use super::verification;
use super::wiring::{Handles, Told, all};
use crate::config::Settings;
use crate::crd::{EmailDomain, EmailForwardingRule};
use crate::dns::Lookup;
use crate::gates::Gate;
use crate::mail::Sinks;
use crate::telemetry::{self, Metrics};
use crate::tenancy::Reserved;
use crate::turns::Turns;

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
    /// The file with the sinks can't be used.
    #[error("the file with the sinks can't be used: {0}")]
    Sinks(String),
    /// Another instance may lead by now.
    #[error("this instance leads no longer: {0}; it starts again as a standby")]
    NotLeading(String),
    /// DNS can't be asked.
    #[error("no DNS resolver: {0}")]
    Resolver(String),
}

/// Runs the controllers until SIGTERM or Ctrl-C; what is in hand is finished first.
///
/// # Errors
/// When something that is needed at the start is missing.
pub async fn run(mut settings: Settings) -> Result<(), Error> {
    let config = kube::Config::infer().await.map_err(|error| Error::Config(Box::new(error)))?;
    let no_kube = |error| Error::Kubernetes(Box::new(error));
    let unguarded = kube::Client::try_from(config.clone()).map_err(no_kube)?;
    let permit = Permit::always();
    let kube = permit::client(config, permit.clone()).map_err(no_kube)?;
    let closed = places::check(&kube, &mut settings).await?;
    let metrics = Metrics::default();
    metrics.gates(&settings.feature_gates);
    tracing::info!(feature_gates = %settings.feature_gates, "starting");
    let ready = Arc::new(AtomicBool::new(false));
    let listen = settings.listen;
    let mut server = tokio::spawn(telemetry::serve(listen, metrics.clone(), ready.clone()));
    let cluster = cluster_id(&kube, &settings).await?;
    let lookup =
        Lookup::new(verification::options(&settings.dns)).map_err(|error| Error::Resolver(error.to_string()))?;
    let sinks = sinks::follow(settings.sinks_file.clone()).map_err(Error::Sinks)?;
    let ending = ending(closed);
    let mut term = tokio::select! {
        term = elected(unguarded, &settings, (&permit, &metrics), &ready) => term,
        () = ended(ending.clone()) => return Ok(()),
        ended = &mut server => return unserved(listen, ended),
    };
    let drivers = drivers(kube, settings, (cluster, lookup, metrics, sinks), ready, (permit, ending));
    tokio::select! {
        () = drivers => {
            term.resign().await;
            Ok(())
        }
        why = term.lost() => Err(Error::NotLeading(why)),
        ended = &mut server => unserved(listen, ended),
    }
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

/// Waits until this instance may work. One that waits its turn is ready: it could take over at any time.
async fn elected(
    kube: kube::Client,
    settings: &Settings,
    (permit, metrics): (&Permit, &Metrics),
    ready: &AtomicBool,
) -> Term {
    if !settings.leader.leader_election {
        return Term::unasked(metrics);
    }
    let candidate = Candidate::new(kube, settings, (permit.clone(), metrics.clone()));
    candidate.elected(|| ready.store(true, Ordering::Relaxed)).await
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

/// Whether labels and annotations of namespaces can be read: with rights in single namespaces only they can't.
async fn may_read_namespaces(kube: &kube::Client, settings: &Settings) -> bool {
    if !settings.watch_namespaces.is_empty() {
        return false;
    }
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    match namespaces.list_metadata(&kube::api::ListParams::default().limit(1)).await {
        Err(kube::Error::Api(error)) if error.is_forbidden() => {
            tracing::warn!(%error, "namespaces can't be read: selectors of namespaces match none, and their annotations don't count");
            false
        }
        _ => true,
    }
}

/// Turns true at SIGTERM or Ctrl-C, or when a new start is needed.
fn ending(closed: Closed) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let terminated = async {
            match signal(SignalKind::terminate()) {
                Ok(mut terminate) => terminate.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminated => tracing::info!("told to end: what is in hand is finished first"),
            _ = tokio::signal::ctrl_c() => tracing::info!("told to end: what is in hand is finished first"),
            () = closed.opens() => {}
        }
        sender.send_replace(true);
    });
    receiver
}

/// Waits until the process is told to end.
pub(super) async fn ended(mut ending: watch::Receiver<bool>) {
    // Without its sender nobody can tell any more.
    if ending.wait_for(|ending| *ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn drivers(
    kube: kube::Client,
    settings: Settings,
    (cluster, lookup, metrics, sinks): (String, Lookup, Metrics, watch::Receiver<Arc<Sinks>>),
    ready: Arc<AtomicBool>,
    (permit, ending): (Permit, watch::Receiver<bool>),
) {
    let (scripts, script_results) = super::scripts::Scripts::new();
    let (provisions, provision_results) = super::provisions::Provisions::new();
    let (stores, mut handles) = follow_kinds(&kube, &settings, (script_results, provision_results)).await;
    let servers = follow_all(&kube, &settings, (&metrics, &permit));
    let (poll, heard) = Poll::new(servers.clone(), stores.clone(), (settings.poll_interval(), metrics.clone()));
    let looked_at = (stores.clone(), servers.clone());
    metrics.look_with(move || super::pass::standing(&looked_at.0, &looked_at.1));
    handles.heard = heard;
    let ctx = Arc::new(Context {
        passwords: super::passwords::Passwords::default(),
        events: super::events::Events::new(kube.clone()),
        provisions,
        reserved: Reserved::with(&settings.reserved_names),
        kube,
        settings,
        cluster,
        servers,
        stores: stores.clone(),
        lookup,
        metrics,
        backoff: super::backoff::Backoff::default(),
        latest: super::latest::Latest::default(),
        ending,
        turns: Turns::default(),
        scripts,
        rings: super::ruleset::Rings::default(),
        sinks,
    });
    let running = all(handles, &ctx);
    let announce = async {
        stores.ready().await;
        ready.store(true, Ordering::Relaxed);
        tracing::info!("ready");
        std::future::pending::<()>().await;
    };
    tokio::select! { () = running => {}, () = announce => {}, () = poll.run() => {} }
}

/// Starts to follow all that is watched in Kubernetes.
async fn follow_kinds(
    kube: &kube::Client,
    settings: &Settings,
    (scripts, provisions): (Told<EmailForwardingRule>, Told<EmailDomain>),
) -> (Stores, Handles) {
    let provisioning = usize::from(settings.feature_gates.has(Gate::AutoProvisioning));
    let domains = follow(scoped(kube, settings), 6 + provisioning);
    let mailboxes = follow(scoped(kube, settings), 5 + provisioning);
    let aliases = follow(scoped(kube, settings), 2 + provisioning);
    let rules = follow(scoped(kube, settings), 2);
    let namespaces = may_read_namespaces(kube, settings).await.then(|| follow_namespaces(kube, 5 + provisioning));
    let mut listed = vec![domains.listed, mailboxes.listed, aliases.listed, rules.listed];
    listed.extend(namespaces.as_ref().map(|namespaces| namespaces.listed.clone()));
    let stores = Stores {
        domains: domains.reader,
        mailboxes: mailboxes.reader,
        aliases: aliases.reader,
        rules: rules.reader,
        namespaces: namespaces.as_ref().map(|namespaces| namespaces.reader.clone()),
        listed,
    };
    let handles = Handles {
        domains: domains.changes,
        mailboxes: mailboxes.changes,
        aliases: aliases.changes,
        rules: rules.changes,
        namespaces: namespaces.map(|namespaces| namespaces.changes).unwrap_or_default(),
        scripts,
        provisions: Some(provisions),
        heard: Vec::new(),
    };
    (stores, handles)
}
