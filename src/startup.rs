//! What every process that works on a cluster starts with: its connection, and whether it is ready.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::kubernetes::access::{self, Inaccessible};
use crate::kubernetes::client::{self, LastAnswer};
use crate::kubernetes::cluster;
use crate::kubernetes::object::Object;
use crate::leader::permit::Permit;
use crate::telemetry::Readiness;

/// After this time without an answer of the Kubernetes API the process is not ready; or after the duration of the Lease,
/// if that is longer, because the Lease is renewed several times in it.
const SILENCE: Duration = Duration::from_mins(1);

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the Kubernetes API.
    #[error("no connection to the Kubernetes API: {0}")]
    Kubernetes(#[source] Box<kube::Error>),
    /// The cluster is unknown, or an option can't be used.
    #[error("{0}")]
    Config(String),
    /// The CRDs do not exist.
    #[error("the CRDs of email.askrobots.com are not installed, or the {program} may not list them: {error}")]
    NoCrds {
        /// What the process is called in messages.
        program: &'static str,
        /// What the API answered.
        #[source]
        error: Box<kube::Error>,
    },
    /// The address for metrics and health can't be used.
    #[error("can't serve metrics and health on {address}: {error}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The sinks file is invalid.
    #[error("the sinks file is invalid: {0}")]
    Sinks(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Box::new(error))
    }
}

/// A connection to the cluster.
pub(crate) struct Connection<K> {
    /// Sends writes only while `permit` holds.
    pub(crate) kube: kube::Client,
    /// Sends every write: for the Lease.
    pub(crate) unguarded: kube::Client,
    /// The leader's permit to write.
    pub(crate) permit: Permit,
    /// When the API last answered.
    pub(crate) last_answer: LastAnswer,
    /// Namespaces that can't be read.
    pub(crate) inaccessible: Inaccessible<K>,
}

/// Connects to the cluster of the kubeconfig, or to the one that this process runs in, and checks that objects of the
/// kind can be listed in the namespaces. `program` is what the process is called in messages.
///
/// # Errors
/// [`Error`].
pub(crate) async fn connect<K: Object>(
    program: &'static str,
    kubeconfig: Option<&OsStr>,
    namespaces: &mut Vec<String>,
) -> Result<Connection<K>, Error> {
    let config = cluster::config(kubeconfig).await.map_err(|error| Error::Config(error.to_string()))?;
    tracing::info!(cluster = %config.cluster_url, "working on this cluster");
    let (permit, last_answer) = (Permit::always(), LastAnswer::default());
    let unguarded = client::client(config.clone(), Permit::always(), last_answer.clone())?;
    let kube = client::client(config, permit.clone(), last_answer.clone())?;
    let inaccessible = access::check::<K>(&kube, namespaces)
        .await
        .map_err(|error| Error::NoCrds { program, error: Box::new(error) })?;
    Ok(Connection { kube, unguarded, permit, last_answer, inaccessible })
}

/// Whether the process is ready: it has started, and Kubernetes answers.
pub(crate) fn readiness(ready: &Arc<AtomicBool>, last_answer: LastAnswer, lease_duration: Duration) -> Readiness {
    let (ready, longest) = (ready.clone(), SILENCE.max(lease_duration));
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
///
/// # Errors
/// [`Error::Listen`].
pub(crate) fn server_ended(
    address: SocketAddr,
    ended: Result<std::io::Result<()>, tokio::task::JoinError>,
) -> Result<(), Error> {
    match ended {
        Ok(Err(error)) => Err(Error::Listen { address, error }),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}
