//! Everything that runs: a control plane, a Mailcow, DNS servers, and the operator with the rights of its chart.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ground::{ControlPlane, Dns, InstalledChart, Operator, Options};
use mailcow_simulator::Simulator;
use serde::Deserialize;
use serde_yaml::Value;

use crate::error::{Error, Result};
use crate::voice::{Voice, seconds};

/// Namespace of the operator, and name of its release.
pub(crate) const RELEASE: &str = "mailcow-operator";
/// Namespace of those who use it.
pub(crate) const NAMESPACE: &str = "mail";
/// The mail domain of the examples.
pub(crate) const DOMAIN: &str = "example.com";
/// The Secret with the connection, as the chart names it.
pub(crate) const CONNECTION: &str = "mailcow-operator-mailcow";
/// How many lines of the operator's log an error shows.
const TAIL: usize = 20;

/// What runs. Fields are dropped in this order: whoever calls ends before whoever is called.
pub(crate) struct Stage {
    operator: Operator,
    /// The simulated Mailcow.
    pub(crate) mailcow: Simulator,
    /// A resolver and the zones' own server.
    pub(crate) dns: Dns,
    plane: ControlPlane,
}

impl Stage {
    /// Starts everything, and says so.
    pub(crate) async fn build(voice: &Voice) -> Result<Self> {
        voice.chapter("Starting a Kubernetes control plane, a simulated Mailcow and DNS servers")?;
        let begun = Instant::now();
        let plane = ControlPlane::start(Options::default()).await?;
        voice.show(&format!(
            "Kubernetes   etcd, kube-apiserver and kube-controller-manager: ready after {}",
            seconds(begun.elapsed())
        ))?;
        let mailcow = Simulator::start(mailcow_simulator::Options::default()).await?;
        voice.show(&format!("Mailcow      {} (answers like recordings of a real one)", mailcow.url()))?;
        let dns = Dns::start().await?;
        dns.zone(DOMAIN, "")?;
        voice.show(&format!("DNS          {DOMAIN} exists, without mail records"))?;

        voice.chapter("Installing the operator from its Helm chart")?;
        let (operator, chart) = install(&plane, &mailcow, &dns).await?;
        voice.show(&format!("CRDs         {}", chart.crds.join(" ")))?;
        voice
            .show(&format!("Rights       ServiceAccount {RELEASE}/{}, RBAC of the chart", chart.service_accounts[0]))?;
        voice.show(&format!("Connection   Secret {RELEASE}/{CONNECTION}"))?;
        voice
            .show(&format!("Operator     process {}, with the arguments of the chart's Deployment", operator.pid()))?;
        Ok(Self { operator, mailcow, dns, plane })
    }

    /// Runs kubectl as an administrator and gives what it wrote.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        kubectl(&self.plane, args, "").await
    }

    /// The operator's resident memory in MiB.
    pub(crate) fn operator_mib(&self) -> Result<f64> {
        let kib = u32::try_from(self.operator.rss_kib()?).unwrap_or(u32::MAX);
        Ok(f64::from(kib) / 1024.0)
    }

    /// An error when the operator has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.operator.exit_status()? {
            None => Ok(()),
            Some(status) => Err(Error::Ended { status: status.to_string(), log: self.log_tail() }),
        }
    }

    /// The last lines of the operator's log.
    pub(crate) fn log_tail(&self) -> String {
        let logs = self.operator.logs();
        let lines: Vec<&str> = logs.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        self.plane.admin_kubeconfig()
    }

    /// Ends the operator in order, and the rest at once.
    pub(crate) async fn end(mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.operator.stop(Duration::from_secs(20)).await?;
        drop(self);
        Ok(begun.elapsed())
    }
}

/// Installs the chart, makes the Secret with the connection, and starts the operator as the Deployment would.
async fn install(plane: &ControlPlane, mailcow: &Simulator, dns: &Dns) -> Result<(Operator, InstalledChart)> {
    for namespace in [RELEASE, NAMESPACE] {
        kubectl(plane, &["create", "namespace", namespace], "").await?;
    }
    let chart = plane.install_chart(&root().join("charts/mailcow-operator"), &[], RELEASE).await?;
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {CONNECTION}}}\nstringData: {{url: {:?}, apiKey: {:?}}}\n",
        mailcow.url(),
        mailcow.api_key()
    );
    plane.apply(&secret, RELEASE).await?;
    let kubeconfig = plane.service_account_kubeconfig(RELEASE, &chart.service_accounts[0]).await?;
    let mut args = deployment_args(&chart.rendered)?;
    // What the Deployment mounts: the file with the sinks.
    let sinks = plane.folder().write("sinks.yaml", config_file(&chart.rendered, "sinks.yaml")?)?;
    for arg in args.iter_mut().filter(|arg| arg.starts_with("--sinks-file=")) {
        *arg = format!("--sinks-file={}", sinks.display());
    }
    args.extend(dns.operator_args());
    // Not the ports of a pod: something else may have them on this machine.
    args.retain(|arg| !arg.starts_with("--health-listen="));
    args.extend(["--listen=127.0.0.1:0", "--health-listen=127.0.0.1:0"].map(ToOwned::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let env = [
        ("KUBECONFIG", &*kubeconfig.to_string_lossy()),
        ("POD_NAMESPACE", RELEASE),
        ("POD_NAME", "the-pod"),
        ("NO_COLOR", "1"),
    ];
    Ok((Operator::start(&program()?, &args, &env)?, chart))
}

/// The arguments of the chart's container.
fn deployment_args(rendered: &str) -> Result<Vec<String>> {
    let deployment =
        found(rendered, "the chart's Deployment", |document| document["kind"].as_str() == Some("Deployment"))?;
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_sequence();
    Ok(args.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

/// A file in one of the chart's `ConfigMap`s.
fn config_file(rendered: &str, key: &str) -> Result<String> {
    let map = found(rendered, "the chart's ConfigMap", |document| document["data"][key].is_string())?;
    Ok(map["data"][key].as_str().unwrap_or_default().to_owned())
}

/// The first document of that kind.
fn found(rendered: &str, what: &'static str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
    let unreadable = |why: String| Error::Unreadable { what, why };
    for document in serde_yaml::Deserializer::from_str(rendered) {
        let document = Value::deserialize(document).map_err(|error| unreadable(error.to_string()))?;
        if is_it(&document) {
            return Ok(document);
        }
    }
    Err(unreadable("there is none".to_owned()))
}

/// The operator's program, which the build puts beside this one.
fn program() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("mailcow-operator");
    if path.is_file() { Ok(path) } else { Err(Error::NotBuilt { path: path.display().to_string() }) }
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

async fn kubectl(plane: &ControlPlane, args: &[&str], input: &str) -> Result<String> {
    let output = plane.kubectl_with(args, input).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Kubectl { args: args.join(" "), words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_deployment() {
        let rendered = "---\nkind: Secret\n---\nkind: Deployment\nspec: {template: {spec: {containers: \
                        [{args: [run, --resync=10m]}]}}}\n";
        assert_eq!(deployment_args(rendered).unwrap(), ["run", "--resync=10m"]);
        assert!(deployment_args("kind: Secret").is_err());
    }

    #[test]
    fn a_mounted_file_is_that_of_the_config_map() {
        let rendered = "---\nkind: Secret\n---\nkind: ConfigMap\ndata: {sinks.yaml: '[]'}\n";
        assert_eq!(config_file(rendered, "sinks.yaml").unwrap(), "[]");
        assert!(config_file(rendered, "other").is_err());
    }
}
