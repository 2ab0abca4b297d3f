//! A release on a control plane, with a Mailcow and DNS of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ground::{ControlPlane, Dns, Folder, Operator, wait_until};
use mailcow_simulator::{Options, Simulator};

/// Far more than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// The release's name, and that of what the chart makes.
pub(crate) const RELEASE: &str = "mailcow-operator";

/// The chart as it is in the repository.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator")
}

/// What a test has.
pub(crate) struct Release {
    pub(crate) plane: ControlPlane,
    /// The operator's namespace.
    pub(crate) namespace: String,
    /// A namespace of somebody who uses it.
    pub(crate) users: String,
    pub(crate) mailcow: Simulator,
    pub(crate) operator: Option<Operator>,
    dns: Dns,
    folder: Folder,
}

impl Release {
    /// Namespaces and servers; nothing is installed.
    pub(crate) async fn prepare() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::start(ground::Options::default()).await.unwrap();
        let namespace = plane.namespace("operator").await.unwrap();
        let users = plane.namespace("users").await.unwrap();
        let mailcow = Simulator::start(Options::default()).await.unwrap();
        let (dns, folder) = (Dns::start().await.unwrap(), Folder::new("install", false).unwrap());
        Self { plane, namespace, users, mailcow, operator: None, dns, folder }
    }

    /// Runs `helm VERB RELEASE CHART` in the operator's namespace, with the values that every release has here.
    pub(crate) async fn helm(&self, verb: &str, chart: &Path, more: &[&str]) -> ground::Result<String> {
        let chart = chart.display().to_string();
        let resolvers = format!("dns.resolvers={{{}}}", self.dns.resolver.address());
        let host = format!("dns.mailHost={}", ground::MAIL_HOST);
        let common = ["-n", &self.namespace, "--set", &resolvers, "--set", &host];
        self.plane.helm(&[&[verb, RELEASE, &chart], &common[..], more].concat()).await
    }

    /// Runs `helm uninstall`.
    pub(crate) async fn uninstall(&self) -> String {
        self.plane.helm(&["uninstall", RELEASE, "-n", &self.namespace]).await.unwrap()
    }

    /// Makes the Secret with the connection, as the notes of the release say.
    pub(crate) async fn connect(&self) {
        self.connect_to(&self.mailcow.url()).await;
    }

    /// The same with another URL of that Mailcow.
    pub(crate) async fn connect_to(&self, url: &str) {
        let (url, key) = (format!("--from-literal=url={url}"), self.mailcow.api_key());
        let key = format!("--from-literal=apiKey={key}");
        let name = format!("{RELEASE}-mailcow");
        self.kubectl(&["-n", &self.namespace, "create", "secret", "generic", &name, &url, &key]).await;
    }

    /// Runs the operator as the Deployment says, in place of the one that ran before.
    pub(crate) async fn run(&mut self) {
        if let Some(before) = &mut self.operator {
            before.stop(LIMIT).await.unwrap();
        }
        let workload = self.plane.workload(&self.namespace, RELEASE, &self.folder).await.unwrap();
        let kubeconfig =
            self.plane.service_account_kubeconfig(&self.namespace, &workload.service_account).await.unwrap();
        let kubeconfig = kubeconfig.display().to_string();
        let authority = self.dns.authority.address().port().to_string();
        let mut env: Vec<(&str, &str)> =
            workload.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // What differs where no pod runs: the way to the API server, and ports.
        env.extend([
            ("KUBECONFIG", &*kubeconfig),
            ("LISTEN", "127.0.0.1:0"),
            ("POD_NAME", "the-pod"),
            ("DNS_AUTHORITATIVE_PORT", &authority),
        ]);
        let port = |arg: &str| {
            if arg.starts_with("--health-listen=") { "--health-listen=127.0.0.1:0" } else { arg }.to_owned()
        };
        let args: Vec<String> = workload.args.iter().map(|arg| port(arg)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.operator = Some(Operator::start(Path::new(env!("CARGO_BIN_EXE_mailcow-operator")), &args, &env).unwrap());
    }

    /// Applies manifests into the users' namespace; they have to be taken.
    pub(crate) async fn apply(&self, manifests: &str) {
        self.plane.apply(manifests, &self.users).await.unwrap();
    }

    /// Waits until an object of the users says Ready for its current generation.
    pub(crate) async fn ready(&self, what: &str) {
        let object = ["-n", &self.users, "get", what, "-o"];
        let path = r#"jsonpath={.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}"#;
        let waited = format!("{what} to be Ready");
        let ready = wait_until(LIMIT, &waited, async || {
            let said = self.kubectl(&[&object[..], &[path]].concat()).await;
            let words: Vec<&str> = said.split(' ').collect();
            if words.len() == 3 && words[0] == words[1] && words[2] == "True" { Ok(()) } else { Err(said) }
        });
        if let Err(error) = ready.await {
            panic!("{error}\n{}", self.operator.as_ref().map(Operator::logs).unwrap_or_default());
        }
    }

    /// Runs kubectl as the admin; it has to succeed.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&self.plane, args, "").await.unwrap()
    }
}

/// Runs kubectl as the admin; gives what it wrote, or its complaint.
pub(crate) async fn kubectl(plane: &ControlPlane, args: &[&str], input: &str) -> Result<String, String> {
    let output = plane.kubectl_with(args, input).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
