//! What of a Helm chart matters where no pod runs: its CRDs, RBAC and admission policies, so that the operator, started
//! as a plain process, has exactly the rights the chart gives it.

use std::path::Path;

use serde::Deserialize;
use serde_yaml::Value;
use tokio::process::Command;

use crate::api::succeeded;
use crate::{ControlPlane, Error, Result, binaries};

/// The kinds that are applied; the rest needs pods.
const KINDS: [&str; 8] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Those of them that live in a namespace.
const NAMESPACED: [&str; 3] = ["ServiceAccount", "Role", "RoleBinding"];

/// What was installed of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledChart {
    /// Names of its CRDs, all established.
    pub crds: Vec<String>,
    /// Names of its service accounts, all in the namespace it was installed into.
    pub service_accounts: Vec<String>,
    /// All documents as Helm rendered them, also those that were not applied.
    pub rendered: String,
}

impl ControlPlane {
    /// Renders a chart with `values` (as of `--set`) and applies its CRDs, service accounts, RBAC and admission
    /// policies. The release has the name of the namespace, so several may be there at once.
    ///
    /// # Errors
    /// With the words of Helm or of the API server.
    pub async fn install_chart(
        &self,
        chart: &Path,
        values: &[(&str, &str)],
        namespace: &str,
    ) -> Result<InstalledChart> {
        let rendered = render(chart, values, namespace).await?;
        let documents = select(&rendered, namespace)?;
        let manifests = documents.iter().map(|document| document.text.as_str()).collect::<Vec<_>>().join("---\n");
        self.apply(&manifests, namespace).await?;
        let crds = names(&documents, "CustomResourceDefinition");
        self.established(&crds).await?;
        let service_accounts = names(&documents, "ServiceAccount");
        Ok(InstalledChart { crds, service_accounts, rendered })
    }

    /// Waits until the API server serves the kinds of these CRDs.
    ///
    /// # Errors
    /// When one is not established within half a minute.
    pub async fn established(&self, crds: &[String]) -> Result<()> {
        if crds.is_empty() {
            return Ok(());
        }
        let mut args = vec!["wait", "--for=condition=Established", "--timeout=30s", "crd"];
        args.extend(crds.iter().map(String::as_str));
        succeeded("kubectl wait", &self.kubectl(&args).await?)?;
        // kubectl asks again for a kind that it does not know, but not for a category such as `email`.
        // Others may run kubectl at the same time, so the folder is moved away first.
        let cache = self.discovery_cache();
        let old = cache.with_extension(format!("old-{:08x}", rand::random::<u32>()));
        match std::fs::rename(&cache, &old) {
            Ok(()) => drop(std::fs::remove_dir_all(&old)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::system("forget the kinds that kubectl knows")(error)),
        }
        Ok(())
    }
}

/// Runs `helm template`, also for charts with CRDs in their `crds` folder.
async fn render(chart: &Path, values: &[(&str, &str)], namespace: &str) -> Result<String> {
    let mut command = Command::new(binaries::helm().await?);
    command.args(["template", namespace]).arg(chart).args(["--include-crds", "--namespace", namespace]);
    for (name, value) in values {
        command.args(["--set", &format!("{name}={value}")]);
    }
    binaries::run(command).await
}

/// One document to apply.
struct Document {
    kind: String,
    name: String,
    text: String,
}

/// The documents of the kinds that matter; one without a namespace of its own gets the release's, as Helm does it.
fn select(rendered: &str, namespace: &str) -> Result<Vec<Document>> {
    let mut selected = Vec::new();
    for document in serde_yaml::Deserializer::from_str(rendered) {
        let mut value = Value::deserialize(document).map_err(unreadable)?;
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        if KINDS.contains(&kind.as_str()) {
            let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if value["metadata"]["namespace"].is_null() && NAMESPACED.contains(&kind.as_str()) {
                value["metadata"]["namespace"] = namespace.into();
            }
            let text = serde_yaml::to_string(&value).map_err(unreadable)?;
            selected.push(Document { kind, name, text });
        }
    }
    Ok(selected)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: serde_yaml::Error) -> Error {
    Error::Unreadable { what: "what Helm rendered".to_owned(), message: error.to_string() }
}

fn names(documents: &[Document], kind: &str) -> Vec<String> {
    documents.iter().filter(|document| document.kind == kind).map(|document| document.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_kept_and_pods_are_not() {
        let rendered = "---\n# only a comment\n---\nkind: Deployment\nmetadata: {name: a}\n---\n\
                        kind: ServiceAccount\nmetadata: {name: b}\n---\nkind: ClusterRole\nmetadata: {name: c}\n";
        let documents = select(rendered, "n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(names(&documents, "ServiceAccount"), ["b"]);
        assert!(documents[0].text.contains("namespace: n") && !documents[1].text.contains("namespace"));
    }
}
