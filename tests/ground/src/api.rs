//! What a test asks of its control plane: a namespace, kubectl, a kubeconfig with somebody's rights.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::kubeconfig::Server;
use crate::{ControlPlane, Error, Result, kubeconfig, wait_until};

/// Longer than any test run.
const TOKEN_SECONDS: i64 = 7 * 24 * 3600;

impl ControlPlane {
    /// A new namespace, `prefix` with some letters behind it.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{:08x}", rand::random::<u32>());
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(self.admin().await?)
            .create(&PostParams::default(), &namespace)
            .await
            .map_err(Error::kubernetes(format!("create the namespace {name}")))?;
        Ok(name)
    }

    /// Runs kubectl as the admin; a failure of kubectl itself is in the output's status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_with(args, "").await
    }

    /// As [`kubectl`](Self::kubectl), with a text on its standard input, as for `apply -f -`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn kubectl_with(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut child = Command::new(self.binaries().join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.admin_kubeconfig())
            .arg("--cache-dir")
            .arg(self.discovery_cache())
            .args(args)
            .env("GOGC", "400") // memory is cheaper here than time
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::system("start kubectl"))?;
        let stdin = child.stdin.take();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input.as_bytes()).await; // kubectl may have ended before it read all
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        output.map_err(Error::system("wait for kubectl"))
    }

    /// A kubeconfig file with a token of a service account, which may still be in the making; tools using it have that
    /// account's rights and no others, and start in its namespace.
    ///
    /// # Errors
    /// When there is no such account within ten seconds.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.service_account_token(namespace, name).await?;
        let text = kubeconfig::render(self.server(), &token, namespace);
        self.folder().write(&format!("{namespace}.{name}.kubeconfig"), text)
    }

    /// As [`service_account_kubeconfig`](Self::service_account_kubeconfig), but by way of a proxy on this machine, which
    /// shows `certificate` (or one of that authority; PEM).
    ///
    /// # Errors
    /// As that.
    pub async fn service_account_kubeconfig_by_way_of(
        &self,
        (port, certificate): (u16, &str),
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf> {
        let token = self.service_account_token(namespace, name).await?;
        let server = Server { port, certificate: certificate.as_bytes().to_vec() };
        let text = kubeconfig::render(&server, &token, namespace);
        self.folder().write(&format!("{namespace}.{name}.{port}.kubeconfig"), text)
    }

    /// Where the API server is, `https://127.0.0.1:port`, and its certificate as PEM.
    pub fn api_server(&self) -> (String, &[u8]) {
        let server = self.server();
        (format!("https://127.0.0.1:{}", server.port), &server.certificate)
    }

    async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let what = format!("a token of the ServiceAccount {namespace}/{name}");
        wait_until(Duration::from_secs(10), &what, async || {
            let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
            let status = answer.map_err(|error| error.to_string())?.status;
            status.map(|status| status.token).ok_or_else(|| "an answer without a token".to_owned())
        })
        .await
    }
}

/// An error with the command's words when it failed.
pub(crate) fn succeeded(command: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Command { command: command.to_owned(), output })
}
