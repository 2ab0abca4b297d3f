//! A real control plane: etcd, kube-apiserver and kube-controller-manager as processes of this one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::component::Component;
use crate::flags::{self, Ports};
use crate::kubeconfig::{self, Server};
use crate::{Folder, Result, binaries, keys, wait_until};

/// Far more than a start takes, for machines with other things to do.
const READY: Duration = Duration::from_mins(10);

/// How a control plane is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Leave the folder with data, keys and logs behind.
    pub keep_folder: bool,
    /// Further flags for kube-apiserver, such as an audit log.
    pub api_server_flags: Vec<String>,
}

/// The process ids of the servers; `None` for one that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids {
    /// etcd.
    pub etcd: Option<u32>,
    /// kube-apiserver.
    pub api_server: Option<u32>,
    /// kube-controller-manager.
    pub controller_manager: Option<u32>,
}

/// A running control plane; dropped, its servers are killed and its folder is removed.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields are dropped in this order: whoever calls ends before whoever is called, the folder last.
    controller_manager: Component,
    api_server: Component,
    etcd: Component,
    kubeconfig: PathBuf,
    binaries: PathBuf,
    server: Server,
    etcd_port: u16,
    folder: Folder,
}

impl ControlPlane {
    /// Starts one and waits until it is ready, about three seconds once its programs are built.
    ///
    /// # Errors
    /// When the programs cannot be built, or with the end of a server's log when that one fails.
    pub async fn start(options: Options) -> Result<Self> {
        let binaries = binaries::kubernetes().await?;
        let folder = Folder::new("control-plane", options.keep_folder)?;
        let ports = Ports::choose()?;
        let token = keys::token();
        folder.write(flags::SIGNING_KEY, keys::signing_key()?)?;
        folder.write(flags::TOKENS, format!("{token},admin,admin,\"system:masters\"\n"))?;

        let component = |name, flags| Component::new(name, &binaries, folder.path(), flags);
        let kubeconfig = folder.path().join("admin.kubeconfig");
        let mut api_flags = flags::api_server(folder.path(), ports);
        api_flags.extend(options.api_server_flags);
        let etcd = component("etcd", flags::etcd(folder.path(), ports));
        let api_server = component("kube-apiserver", api_flags);
        let controllers = flags::controller_manager(folder.path(), &kubeconfig);
        let controller_manager = component("kube-controller-manager", controllers);

        etcd.start()?;
        api_server.start()?; // it waits for etcd by itself
        let certificate = certificate(&folder, &[&etcd, &api_server]).await?;
        let server = Server { port: ports.api, certificate };
        folder.write("admin.kubeconfig", kubeconfig::render(&server, &token, "default"))?;
        let plane =
            Self { controller_manager, api_server, etcd, kubeconfig, binaries, server, etcd_port: ports.etcd, folder };
        plane.ready().await?;
        plane.controller_manager.start()?;
        Ok(plane)
    }

    /// The one control plane of this process, started by whoever comes first; it ends with the process. Tests keep
    /// out of each other's way by [`namespace`](Self::namespace).
    ///
    /// # Errors
    /// As [`start`](Self::start); the next caller tries again.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(Options::default())).await
    }

    /// A client for the cluster's admin. It lives on the caller's runtime: make one per test.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn admin(&self) -> Result<kube::Client> {
        kubeconfig::client(&self.kubeconfig).await
    }

    /// The admin's kubeconfig file.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder with data, keys, kubeconfigs and one log file per server.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where etcd answers, for whoever wants to see what is really stored.
    pub fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    /// The process ids of the servers.
    pub fn pids(&self) -> Pids {
        Pids {
            etcd: self.etcd.pid(),
            api_server: self.api_server.pid(),
            controller_manager: self.controller_manager.pid(),
        }
    }

    /// Waits until the API server says that it is ready to serve.
    ///
    /// # Errors
    /// With the end of the log of a server that ended, or a timeout.
    pub async fn ready(&self) -> Result<()> {
        let client = self.admin().await?;
        let answer = wait_until(READY, "the API server to become ready", async || {
            if let Err(ended) = self.etcd.check().and(self.api_server.check()) {
                return Ok(Err(ended)); // no more attempts
            }
            let question = http_get("/readyz").map_err(|error| error.to_string())?;
            client.request_text(question).await.map(|_| Ok(())).map_err(|error| error.to_string())
        });
        answer.await?
    }

    /// Kills the API server as by `kill -9`.
    pub fn kill_apiserver(&self) {
        self.api_server.kill();
    }

    /// Kills the API server if it runs, starts it on the same port and waits until it is ready.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub async fn restart_apiserver(&self) -> Result<()> {
        self.api_server.kill();
        self.api_server.start()?;
        self.ready().await
    }

    /// Kills etcd as by `kill -9`.
    pub fn kill_etcd(&self) {
        self.etcd.kill();
    }

    /// Kills etcd if it runs, starts it with the same data and waits until the API server is ready.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub async fn restart_etcd(&self) -> Result<()> {
        self.etcd.kill();
        self.etcd.start()?;
        self.ready().await
    }

    /// Where kubectl keeps what kinds there are, for hours: its own place would be another control plane's that once had
    /// the same port.
    pub(crate) fn discovery_cache(&self) -> PathBuf {
        self.folder.path().join("discovery")
    }

    /// Where the cached programs are.
    pub(crate) fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// How the API server is reached.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

/// A request without a body.
fn http_get(path: &str) -> Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::get(path).body(Vec::new())
}

/// The certificate the API server makes for itself soon after its start.
async fn certificate(folder: &Folder, needed: &[&Component]) -> Result<Vec<u8>> {
    let file = folder.path().join(flags::CERTIFICATES).join("apiserver.crt");
    let found = wait_until(READY, "the API server's certificate", async || {
        if let Err(ended) = needed.iter().try_for_each(|component| component.check()) {
            return Ok(Err(ended)); // no more attempts
        }
        let pem = std::fs::read(&file).map_err(|error| error.to_string())?;
        if pem.trim_ascii_end().ends_with(b"-----END CERTIFICATE-----") {
            Ok(Ok(pem))
        } else {
            Err("half of it".to_owned())
        }
    });
    found.await?
}
