//! Applies manifests as `kubectl apply --server-side --force-conflicts` does, without a process for each.

use kube::api::{Api, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use serde::Deserialize;
use serde_json::Value;

use crate::{ControlPlane, Error, Result};

impl ControlPlane {
    /// Applies manifests (YAML documents, JSON, or a List) on the server's side as the admin, in their order. What has
    /// no namespace of its own gets `namespace`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for a text that is none of these, before anything is applied, and [`Error::Kubernetes`] with
    /// the API server's words; the objects before that one are applied.
    pub async fn apply(&self, manifests: &str, namespace: &str) -> Result<()> {
        let client = self.admin().await?;
        for object in objects(manifests)? {
            apply(&client, namespace, &object).await?;
        }
        Ok(())
    }
}

async fn apply(client: &kube::Client, namespace: &str, object: &Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind, metadata) = (text(&object["apiVersion"]), text(&object["kind"]), &object["metadata"]);
    let name = text(&metadata["name"]);
    let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
    let known = pinned_kind(client, &GroupVersionKind::gvk(group, version, &kind)).await;
    let (resource, capabilities) =
        known.map_err(Error::kubernetes(format!("apply {name}: no matches for kind {kind:?}")))?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = metadata["namespace"].as_str().unwrap_or(namespace);
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    let mut params = PatchParams::apply("kubectl").force();
    params.field_validation = Some(ValidationDirective::Strict);
    let applied = api.patch(&name, &params, &Patch::Apply(object)).await;
    applied.map(drop).map_err(Error::kubernetes(format!("apply {kind} {name}")))
}

/// The objects of a text, those of Lists one by one.
fn objects(manifests: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(manifests) {
        let value = Value::deserialize(document)
            .map_err(|error| Error::Unreadable { what: "a manifest".to_owned(), message: error.to_string() })?;
        match &value["items"] {
            Value::Array(items) if value["kind"] == "List" => objects.extend(items.iter().cloned()),
            _ if value.is_null() => {}
            _ => objects.push(value),
        }
    }
    Ok(objects)
}
