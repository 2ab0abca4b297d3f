//! What an operator under test needs on a control plane: the chart with its rights, and a namespace of its own in which
//! it may hold a Lease.

use std::path::Path;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{Api, ObjectMeta, Patch, PatchParams};

use crate::{ControlPlane, Error, InstalledChart, Result};

/// The name of the Role and of its binding.
const LEASES: &str = "leases";
/// The Leases of the default server and of further ones.
const NAMES: [&str; 4] = [
    "mailcow-operator",
    "mailcow-operator-internal-server",
    "mailcow-operator-private-server",
    "mailcow-operator-second-server",
];

/// A chart that was installed, and whom it gave its rights to.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The namespace it was installed into, which is also the name of the release.
    pub namespace: String,
    /// The service account in that namespace.
    pub account: String,
    /// What was applied.
    pub chart: InstalledChart,
}

impl ControlPlane {
    /// Installs a chart with `values` (as of `--set`) into a new namespace called `release` with some letters behind it.
    ///
    /// # Errors
    /// As [`install_chart`](Self::install_chart), and when the chart has no service account.
    pub async fn install_operator(&self, chart: &Path, values: &[(&str, &str)], release: &str) -> Result<Installation> {
        let namespace = self.namespace(release).await?;
        let chart = self.install_chart(chart, values, &namespace).await?;
        let is_operators = |name: &&String| !name.ends_with("-intake");
        let account = chart.service_accounts.iter().find(is_operators).cloned().ok_or_else(|| Error::Unreadable {
            what: "what Helm rendered".to_owned(),
            message: "it has no ServiceAccount".to_owned(),
        })?;
        Ok(Installation { namespace, account, chart })
    }

    /// A new namespace in which operators may hold their Lease.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn operator_namespace(&self, prefix: &str) -> Result<String> {
        let namespace = self.namespace(prefix).await?;
        self.grant_lease(&namespace).await?;
        Ok(namespace)
    }

    /// Gives every service account the right to the operator's Lease in a namespace, as the chart gives it in its own.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn grant_lease(&self, namespace: &str) -> Result<()> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let rule = |names: &[&str], verbs: &[&str]| PolicyRule {
            api_groups: Some(words(&["coordination.k8s.io"])),
            resources: Some(words(&["leases"])),
            resource_names: (!names.is_empty()).then(|| words(names)),
            verbs: words(verbs),
            ..PolicyRule::default()
        };
        let metadata = ObjectMeta { name: Some(LEASES.to_owned()), ..ObjectMeta::default() };
        let rules = vec![rule(&[], &["create"]), rule(&NAMES, &["get", "update"])];
        let lease_role = Role { metadata: metadata.clone(), rules: Some(rules) };
        let group = "rbac.authorization.k8s.io".to_owned();
        let subject = Subject {
            kind: "Group".to_owned(),
            api_group: Some(group.clone()),
            name: "system:serviceaccounts".to_owned(),
            ..Subject::default()
        };
        let role_ref = RoleRef { api_group: group, kind: "Role".to_owned(), name: LEASES.to_owned() };
        let binding = RoleBinding { metadata, role_ref, subjects: Some(vec![subject]) };

        let client = self.admin().await?;
        let params = PatchParams::apply("ground").force();
        let refused = || Error::kubernetes(format!("give the right to Leases in {namespace}"));
        let role_api: Api<Role> = Api::namespaced(client.clone(), namespace);
        role_api.patch(LEASES, &params, &Patch::Apply(lease_role)).await.map_err(refused())?;
        let bindings: Api<RoleBinding> = Api::namespaced(client, namespace);
        bindings.patch(LEASES, &params, &Patch::Apply(binding)).await.map_err(refused())?;
        Ok(())
    }
}
