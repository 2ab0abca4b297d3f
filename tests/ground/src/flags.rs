//! The command lines of the three servers.

use std::path::Path;

use crate::Result;
use crate::ports::free_port;

/// The ports one control plane listens on, all on the loopback address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// etcd, for the API server.
    pub(crate) etcd: u16,
    /// etcd, for other members, of which there are none.
    pub(crate) etcd_peers: u16,
    /// The API server.
    pub(crate) api: u16,
}

impl Ports {
    /// Three ports nobody listens on.
    pub(crate) fn choose() -> Result<Self> {
        Ok(Self { etcd: free_port()?, etcd_peers: free_port()?, api: free_port()? })
    }
}

/// The file in a control plane's folder with the key of service account tokens.
pub(crate) const SIGNING_KEY: &str = "service-accounts.pem";
/// The file with the admin's token.
pub(crate) const TOKENS: &str = "tokens.csv";
/// The folder with the API server's certificate, which it makes itself.
pub(crate) const CERTIFICATES: &str = "certificates";

/// The controllers that have something to do in a cluster without nodes and pods.
const CONTROLLERS: [&str; 11] = [
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller", // says what does not compile
    "deployment-controller",
    "replicaset-controller",
    "cronjob-controller",
    "job-controller",
    "endpointslice-controller",
];

pub(crate) fn etcd(folder: &Path, ports: Ports) -> Vec<String> {
    let (clients, peers) = (url(ports.etcd), url(ports.etcd_peers));
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
    ]
}

pub(crate) fn api_server(folder: &Path, ports: Ports) -> Vec<String> {
    let key = folder.join(SIGNING_KEY);
    vec![
        format!("--etcd-servers={}", url(ports.etcd)),
        format!("--secure-port={}", ports.api),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", folder.join(CERTIFICATES).display()),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--token-auth-file={}", folder.join(TOKENS).display()),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
    ]
}

pub(crate) fn controller_manager(folder: &Path, kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--service-account-private-key-file={}", folder.join(SIGNING_KEY).display()),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=1000".to_owned(), // else its own brake makes its start last five seconds
        "--kube-api-burst=1000".to_owned(),
        format!("--controllers={}", CONTROLLERS.join(",")),
    ]
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
