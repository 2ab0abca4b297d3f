//! Tools for AI agents, with the Model Context Protocol.
//!
//! ```text
//! client ──stdio──▶ Server ──arguments──▶ read | write | delete ──▶ Caller ──▶ Kubernetes API, with the caller's rights
//! client ──http───▶ bearer token ──TokenReview──▶ Caller (impersonation) ─┘
//! ```
//!
//! The server has no key of Mailcow and never calls it. It reads and writes the four kinds, and no Secret. It only reads
//! unless `--allow-writes` is given; a deletion needs a person. Answers have what others wrote as data.

mod answers;
mod arguments;
mod call;
mod caller;
mod catalog;
mod credentials;
mod delete;
mod guidance;
mod http;
mod loss;
mod managed;
mod plans;
mod prompts;
mod read;
mod resources;
mod rights;
mod schema;
mod scope;
mod server;
mod tasks;
mod text;
mod tool_error;
mod trial;
mod untrusted;
mod write;

use std::time::Duration;

use kube::Config;
use kube::config::KubeConfigOptions;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{RoleServer, ServiceExt};
use tokio_util::sync::CancellationToken;

use crate::config::McpSettings;
use crate::kubernetes::cluster;
use caller::Caller;
use plans::Plans;
use scope::Scope;
use server::{Callers, Server};

/// Time limit of a connection to the Kubernetes API.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest line of a client; bytes.
const LONGEST_LINE: usize = 4 << 20;

/// Why the server can't start or has ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster is unknown.
    #[error("{0}")]
    Cluster(String),
    /// The configuration of the cluster can't be used.
    #[error("the kubeconfig can't be used: {0}")]
    Client(#[source] Box<kube::Error>),
    /// The client does not speak the protocol.
    #[error("the client does not begin as the protocol says; start this program from an MCP client")]
    Protocol,
    /// Something in this process failed.
    #[error("{0}")]
    Failed(String),
}

/// Serves until the client ends the connection, or with `--listen` until the process is told to end.
///
/// # Errors
/// [`Error`].
pub async fn run(settings: McpSettings) -> Result<(), Error> {
    let key: [u8; 32] = rand::random();
    let plans = Plans::new(&key).map_err(|error| Error::Failed(error.to_string()))?;
    let scope = Scope::new(settings.namespaces.clone());
    match settings.listen {
        None => stdio(&settings, plans, scope).await,
        Some(listen) => {
            let client = client(server_config(&settings).await?)?;
            let server = Server::new(Callers::OfRequest, scope, settings.allow_writes, plans);
            let ended = CancellationToken::new();
            tokio::spawn(end(ended.clone()));
            let done = http::serve(listen, server, &settings, client, ended).await;
            done.map_err(|error| Error::Failed(format!("the address {listen} can't be served: {error}")))
        }
    }
}

/// Ends the server when the process is told to end.
async fn end(ended: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    if let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ended.cancel();
    }
}

/// Serves one client on standard input and output, with the rights of the kubeconfig.
async fn stdio(settings: &McpSettings, plans: Plans, scope: Scope) -> Result<(), Error> {
    let client = client(config(settings).await?)?;
    let caller = Caller::new(client, "the user of the kubeconfig");
    let server = Server::new(Callers::One(caller), scope, settings.allow_writes, plans);
    let (input, output) = rmcp::transport::io::stdio_pipes();
    let transport = AsyncRwTransport::<RoleServer, _, _>::new(input, output).with_max_line_length(LONGEST_LINE);
    match server.serve(transport).await {
        Ok(running) => {
            running.waiting().await.map_err(|error| Error::Failed(error.to_string()))?;
            Ok(())
        }
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(_) => Err(Error::Protocol),
    }
}

/// The cluster of the caller, as kubectl finds it.
async fn config(settings: &McpSettings) -> Result<Config, Error> {
    let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    let unknown = |error: kube::config::KubeconfigError| Error::Cluster(format!("no cluster is known: {error}"));
    match settings.kubeconfig.as_deref().filter(|files| !files.is_empty()) {
        None => Config::from_kubeconfig(&options).await.map_err(unknown),
        Some(files) => {
            let merged = cluster::kubeconfig_of(files).map_err(|error| Error::Cluster(error.to_string()))?;
            Config::from_custom_kubeconfig(merged, &options).await.map_err(unknown)
        }
    }
}

/// The cluster of the server: the one that it runs in, unless another is named.
async fn server_config(settings: &McpSettings) -> Result<Config, Error> {
    if settings.kubeconfig.as_deref().is_some_and(|files| !files.is_empty()) {
        return config(settings).await;
    }
    cluster::config(None).await.map_err(|error| Error::Cluster(error.to_string()))
}

fn client(mut config: Config) -> Result<kube::Client, Error> {
    config.connect_timeout = Some(CONNECT);
    credentials::client(config).map_err(|error| Error::Client(Box::new(error)))
}
