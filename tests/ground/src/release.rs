//! A chart as people install it: with Helm's own commands; and what the pods of its Deployment would run, for a place
//! where no pod runs.

use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, PodSpec};
use kube::Api;
use tokio::process::Command;

use crate::{ControlPlane, Error, Folder, Result, binaries};

/// What a pod of a Deployment would be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Arguments of its first container. Paths below a mounted `ConfigMap` are those of copies.
    pub args: Vec<String>,
    /// Its environment, the pod's own name and namespace filled in.
    pub env: Vec<(String, String)>,
    /// Name of its service account.
    pub service_account: String,
}

impl ControlPlane {
    /// Runs Helm as the admin and gives what it wrote.
    ///
    /// # Errors
    /// [`Error::Command`] with Helm's words.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(binaries::helm().await?);
        command.arg("--kubeconfig").arg(self.admin_kubeconfig()).args(args);
        // Nothing of the person who runs the tests.
        for (variable, folder) in
            [("HELM_CONFIG_HOME", "config"), ("HELM_CACHE_HOME", "cache"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.folder().path().join("helm").join(folder));
        }
        binaries::run(command).await
    }

    /// What a pod of this Deployment would run. Its mounted `ConfigMap`s are written into `folder`.
    ///
    /// # Errors
    /// When there is no such Deployment, or it has something that this can't do.
    pub async fn workload(&self, namespace: &str, deployment: &str, folder: &Folder) -> Result<Workload> {
        let deployments: Api<Deployment> = Api::namespaced(self.admin().await?, namespace);
        let action = format!("read the Deployment {namespace}/{deployment}");
        let found = deployments.get(deployment).await.map_err(Error::kubernetes(action))?;
        let pod = found.spec.and_then(|spec| spec.template.spec).unwrap_or_default();
        let container = pod.containers.first().cloned().unwrap_or_default();
        let mut args = container.args.clone().unwrap_or_default();
        for (name, path) in mounts(&pod, &container)? {
            let copy = folder.path().join(&name);
            self.copy_config_map((namespace, &name), &copy).await?;
            for arg in &mut args {
                *arg = arg.replace(&path, &copy.to_string_lossy());
            }
        }
        let env = container.env.unwrap_or_default();
        let env = env.into_iter().map(|variable| resolved(variable, (namespace, deployment))).collect::<Result<_>>()?;
        Ok(Workload { args, env, service_account: pod.service_account_name.unwrap_or_default() })
    }

    async fn copy_config_map(&self, (namespace, name): (&str, &str), folder: &Path) -> Result<()> {
        let maps: Api<ConfigMap> = Api::namespaced(self.admin().await?, namespace);
        let map = maps.get(name).await.map_err(Error::kubernetes(format!("read the ConfigMap {namespace}/{name}")))?;
        std::fs::create_dir_all(folder).map_err(Error::system("make a folder for a ConfigMap"))?;
        for (key, text) in map.data.unwrap_or_default() {
            std::fs::write(folder.join(key), text).map_err(Error::system("write a file of a ConfigMap"))?;
        }
        Ok(())
    }
}

/// Names of the mounted `ConfigMap`s, and where they are mounted.
fn mounts(pod: &PodSpec, container: &Container) -> Result<Vec<(String, String)>> {
    let volumes = pod.volumes.as_deref().unwrap_or_default();
    let mounted = container.volume_mounts.as_deref().unwrap_or_default().iter().map(|mount| {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let map = volume.and_then(|volume| volume.config_map.as_ref()).map(|map| map.name.clone());
        map.map(|map| (map, mount.mount_path.clone())).ok_or_else(|| unknown(&format!("the volume {}", mount.name)))
    });
    mounted.collect()
}

fn resolved(variable: EnvVar, (namespace, pod): (&str, &str)) -> Result<(String, String)> {
    let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
    let value = match (field.map(|field| field.field_path.as_str()), variable.value) {
        (Some("metadata.namespace"), _) => namespace.to_owned(),
        (Some("metadata.name"), _) => format!("{pod}-0"),
        (None, Some(value)) => value,
        _ => return Err(unknown(&format!("the variable {}", variable.name))),
    };
    Ok((variable.name, value))
}

fn unknown(what: &str) -> Error {
    Error::Unreadable { what: what.to_owned(), message: "the test ground has no such thing".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    fn container(value: Value) -> Container {
        from_value(value).unwrap()
    }

    #[test]
    fn a_variable_is_a_value_or_a_field_of_the_pod() {
        let of = |value: Value| resolved(from_value(value).unwrap(), ("n", "p"));
        assert_eq!(of(json!({"name": "A", "value": "x"})).unwrap(), ("A".to_owned(), "x".to_owned()));
        let field = |path: &str| of(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}));
        assert_eq!(field("metadata.namespace").unwrap().1, "n");
        assert_eq!(field("metadata.name").unwrap().1, "p-0");
        assert!(field("status.podIP").is_err());
    }

    #[test]
    fn config_maps_are_mounted_and_nothing_else_can_be() {
        let pod = |source: &str| {
            let volume = json!({"name": "v", source: {"name": "m"}});
            from_value::<PodSpec>(json!({"containers": [], "volumes": [volume]})).unwrap()
        };
        let container = container(json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/etc/v"}]}));
        assert_eq!(mounts(&pod("configMap"), &container).unwrap(), [("m".to_owned(), "/etc/v".to_owned())]);
        assert!(mounts(&pod("emptyDir"), &container).is_err());
    }
}
