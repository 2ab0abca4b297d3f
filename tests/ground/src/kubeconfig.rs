//! Kubeconfigs: how the test, the controller-manager and the operator find and trust the API server.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::{Error, Result};

/// Where an API server is and how it is known.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Its port on the loopback address.
    pub(crate) port: u16,
    /// Its certificate as PEM.
    pub(crate) certificate: Vec<u8>,
}

/// A kubeconfig, complete in itself, for the holder of `token`.
pub(crate) fn render(server: &Server, token: &str, namespace: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ground", "cluster": {
            "server": format!("https://127.0.0.1:{}", server.port),
            "certificate-authority-data": STANDARD.encode(&server.certificate),
        }}],
        "users": [{"name": "ground", "user": {"token": token}}],
        "contexts": [{"name": "ground", "context": {"cluster": "ground", "user": "ground", "namespace": namespace}}],
        "current-context": "ground",
    });
    format!("{config:#}\n")
}

/// A client for the kubeconfig in a file. It belongs to the runtime it was made on, so each test makes its own.
///
/// # Errors
/// When the file cannot be read or used.
pub async fn client(path: &Path) -> Result<kube::Client> {
    // A second installation is refused, and the first one is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let what = format!("use the kubeconfig {}", path.display());
    let kubeconfig = Kubeconfig::read_from(path).map_err(Error::kubernetes(&what))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(Error::kubernetes(&what))?;
    kube::Client::try_from(config).map_err(Error::kubernetes(&what))
}
