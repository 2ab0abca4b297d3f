//! The operator that is installed in the cluster: its Deployment, and the options that it runs with.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Namespace};
use kube::ResourceExt;

use super::cluster::{Cluster, Scope};
use super::failure::{ApiCall, Failure};
use crate::config::Settings;
use crate::mail::Sinks;

/// The labels of the operator's Deployment in the chart, whatever its name is there.
const LABELS: &str = "app.kubernetes.io/part-of=mailcow-operator,app.kubernetes.io/component=operator";
/// The namespace in the installation guide.
const USUAL_NAMESPACE: &str = "mailcow-operator";

/// An installed operator.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    /// Its Deployment.
    pub(super) deployment: Deployment,
    /// Its options; an error if they are not those of this version.
    pub(super) settings: Result<Box<Settings>, String>,
}

impl Installed {
    fn of(deployment: Deployment) -> Self {
        let container = container(&deployment).cloned().unwrap_or_default();
        let namespace = deployment.namespace().unwrap_or_default();
        let mut variables: Vec<(String, String)> = container
            .env
            .iter()
            .flatten()
            .filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)))
            .collect();
        variables.push(("POD_NAMESPACE".to_owned(), namespace));
        let settings = Settings::of_process(container.args.as_deref().unwrap_or_default(), &variables);
        let first = |error: clap::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
        Self { deployment, settings: settings.map(Box::new).map_err(first) }
    }

    /// Its namespace.
    pub(super) fn namespace(&self) -> String {
        self.deployment.namespace().unwrap_or_default()
    }

    /// `namespace/name` of its Deployment.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.namespace(), self.deployment.name_any())
    }

    /// The name of its `ServiceAccount`, as RBAC names it.
    pub(super) fn user(&self) -> String {
        let pod = self.deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let account = pod.and_then(|pod| pod.service_account_name.as_deref()).unwrap_or("default");
        format!("system:serviceaccount:{}:{account}", self.namespace())
    }

    /// Its options.
    ///
    /// # Errors
    /// When they are not those of this version.
    pub(super) fn options(&self) -> Result<&Settings, Failure> {
        self.settings.as_deref().map_err(|why| {
            Failure::wrong(format!(
                "the options of the operator {} can't be read: {why}; use the kubectl-email of the operator's version",
                self.name()
            ))
        })
    }

    /// Whether it serves a Mailcow server; in doubt it does.
    pub(super) fn serves(&self, server: &str) -> bool {
        let known = self.settings.as_ref().ok().and_then(|settings| settings.served().ok());
        known.is_none_or(|known| known.has(server))
    }

    /// The sinks of the installation; `None` if they can't be read.
    pub(super) async fn sinks(&self, cluster: &Cluster) -> Option<Sinks> {
        let pod = self.deployment.spec.as_ref()?.template.spec.as_ref()?;
        let volume = pod.volumes.iter().flatten().find(|volume| volume.name == "sinks")?;
        let name = volume.config_map.as_ref()?.name.clone();
        let map = cluster.find::<ConfigMap>(&self.namespace(), &name).await.ok().flatten()?;
        Sinks::parse(map.data?.get("sinks.yaml")?).ok()
    }

    /// The short id of the cluster in ownership marks; `None` if it may not be read.
    pub(super) async fn cluster_id(&self, cluster: &Cluster) -> Result<Option<String>, Failure> {
        if let Some(id) = self.options()?.cluster_id.clone() {
            return Ok(Some(id));
        }
        let namespaces: kube::Api<Namespace> = kube::Api::all(cluster.client.clone());
        match namespaces.get("kube-system").await {
            Ok(system) => Ok(Some(system.uid().unwrap_or_default().chars().take(8).collect())),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            Err(error) => {
                let call = ApiCall { verb: "get", resource: "namespaces", namespace: None };
                Err(call.failed(&error))
            }
        }
    }
}

/// The operator's container.
pub(super) fn container(deployment: &Deployment) -> Option<&Container> {
    let containers = &deployment.spec.as_ref()?.template.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == "operator").or_else(|| containers.first())
}

/// The operators in a namespace, or in all namespaces that the user may read.
///
/// # Errors
/// When the API server refuses or does not answer.
pub(super) async fn all(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Installed>, Failure> {
    let in_one = |name: &str| Scope::In(name.to_owned());
    let found = match namespace {
        Some(name) => cluster.list::<Deployment>(&in_one(name), Some(LABELS)).await?,
        None => match cluster.list::<Deployment>(&Scope::All, Some(LABELS)).await {
            Ok(found) => found,
            Err(unreachable @ Failure::Unreachable(_)) => return Err(unreachable),
            Err(refused) => {
                let mut found = Vec::new();
                let mut namespaces = vec![cluster.namespace.as_str(), USUAL_NAMESPACE];
                namespaces.dedup();
                for name in namespaces {
                    found.extend(cluster.list::<Deployment>(&in_one(name), Some(LABELS)).await.unwrap_or_default());
                }
                if found.is_empty() {
                    return Err(refused);
                }
                found
            }
        },
    };
    Ok(found.into_iter().map(Installed::of).collect())
}

/// Of several instances those that serve a Mailcow server; all if none does.
fn serving(found: Vec<Installed>, server: &str) -> Vec<Installed> {
    let (serving, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|installed| installed.serves(server));
    if serving.is_empty() { others } else { serving }
}

/// The one operator that works on a namespace: of several instances, the one that serves the Mailcow server.
///
/// # Errors
/// When there is none, or several.
pub(super) async fn of_namespace(
    cluster: &Cluster,
    namespace: Option<&str>,
    server: &str,
) -> Result<Installed, Failure> {
    let mut found = all(cluster, namespace).await?;
    if found.len() > 1 {
        let watches = |installed: &Installed| {
            let listed = installed.settings.as_ref().ok().map(|settings| settings.watch_namespaces.clone());
            listed.is_none_or(|listed| listed.is_empty() || listed.contains(&cluster.namespace))
        };
        found.retain(watches);
    }
    let mut found = serving(found, server);
    match (found.len(), found.pop()) {
        (_, None) => Err(Failure::wrong(match namespace {
            Some(name) => format!("there is no mailcow-operator in the namespace {name}"),
            None => "there is no mailcow-operator in the cluster; install the chart, or name its namespace with --operator-namespace".to_owned(),
        })),
        (1, Some(only)) => Ok(only),
        (_, Some(last)) => {
            let names: Vec<String> = found.iter().chain([&last]).map(Installed::name).collect();
            Err(Failure::wrong(format!(
                "there are several operators: {}; choose one with --operator-namespace",
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An operator with these arguments.
    pub(in crate::cli) fn installed(name: &str, args: &[&str]) -> Installed {
        let args: Vec<&str> = [&["run"], args].concat();
        Installed::of(
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "mail"},
                "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "operator", "args": args}]}}},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn of_several_instances_the_one_that_serves_the_server_is_meant() {
        let servers = "--mailcow-server=a=s,b=s";
        let names = |server: &str| {
            let all = [("one", "--serve=default"), ("two", "--serve=a"), ("strange", "--of-the-future")];
            let all = all.map(|(name, serve)| installed(name, &[servers, serve]));
            serving(all.into(), server).iter().map(|it| it.deployment.name_any()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("default"), "one strange");
        assert_eq!(names("a"), "two strange");
        assert_eq!(names("unknown"), "one strange", "who serves the default server reports it");
        let left = serving(vec![installed("one", &[servers, "--serve=default"])], "b");
        assert_eq!(left.len(), 1, "the message then names its servers");
    }
}
