//! The control plane behaves as a cluster does, in what the operator relies on.

#[cfg(test)]
mod common;

use std::time::Duration;

use common::{TOO_BIG, a_box, boxes, install_boxes, object};
use ground::{ControlPlane, wait_until};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_api_server_is_ready_and_has_the_version_it_was_built_from() {
    let plane = ControlPlane::shared().await.unwrap();
    let version = plane.admin().await.unwrap().apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
}

#[tokio::test]
async fn a_rule_of_a_crd_refuses_with_its_message() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("rule").await.unwrap();
    install_boxes(plane).await;
    let boxes = boxes(plane.admin().await.unwrap(), &namespace);
    boxes.create(&PostParams::default(), &a_box("small", 10)).await.unwrap();
    let refusal = boxes.create(&PostParams::default(), &a_box("big", 11)).await.unwrap_err();
    assert!(refusal.to_string().contains(TOO_BIG), "{refusal}");
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_nothing_else() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("rights").await.unwrap();
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"},
        }, {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}],
        }, {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
        },
    ]});
    plane.apply(&rights.to_string(), &namespace).await.unwrap();
    let kubeconfig = plane.service_account_kubeconfig(&namespace, "reader").await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(ground::client(&kubeconfig).await.unwrap());

    // The API server learns of new roles a moment later.
    wait_until(SOON, "the role to count", async || maps.list(&ListParams::default()).await).await.unwrap();
    let refusal = maps.create(&PostParams::default(), &config_map("forbidden")).await.unwrap_err();
    assert!(refusal.to_string().contains("cannot create resource \"configmaps\""), "{refusal}");
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_all_that_is_in_it() {
    let plane = ControlPlane::shared().await.unwrap();
    let name = plane.namespace("deleted").await.unwrap();
    install_boxes(plane).await;
    let client = plane.admin().await.unwrap();
    boxes(client.clone(), &name).create(&PostParams::default(), &a_box("inside", 1)).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    wait_until(SOON, "the namespace to go", async || match namespaces.get_opt(&name).await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_belongs_to_a_deleted_owner_is_collected() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("owner").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(plane.admin().await.unwrap(), &namespace);
    let owner = maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
    let belonging = object(json!({"metadata": {"name": "owned", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid},
    ]}}));
    maps.create(&PostParams::default(), &belonging).await.unwrap();
    maps.delete("owner", &DeleteParams::default()).await.unwrap();
    wait_until(SOON, "the owned object to go", async || match maps.get_opt("owned").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn kubectl_speaks_to_the_same_cluster() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("kubectl").await.unwrap();
    let output = plane.kubectl(&["get", "namespace", &namespace, "-o", "name"]).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("namespace/{namespace}\n"));
}

#[tokio::test]
async fn a_failed_command_says_why() {
    let plane = ControlPlane::shared().await.unwrap();
    let refusal = plane.apply("kind: Nothing\napiVersion: v1\nmetadata: {name: a}\n", "default").await.unwrap_err();
    assert!(refusal.to_string().contains("no matches for kind \"Nothing\""), "{refusal}");
}

fn config_map(name: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}}))
}
