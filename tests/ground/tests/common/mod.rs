//! A small kind for tests of the ground: a box with a size that must be small.

use ground::ControlPlane;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

/// The name of the kind's CRD.
pub(crate) const BOXES: &str = "boxes.ground.test";

/// The rule's message.
pub(crate) const TOO_BIG: &str = "a box holds at most ten";

/// Makes the kind known to a control plane; more than once does no harm.
pub(crate) async fn install_boxes(plane: &ControlPlane) {
    let spec = json!({
        "type": "object",
        "properties": {"size": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.size <= 10", "message": TOO_BIG}],
    });
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": BOXES},
        "spec": {
            "group": "ground.test",
            "scope": "Namespaced",
            "names": {"plural": "boxes", "singular": "box", "kind": "Box"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": spec}},
            }}],
        },
    });
    plane.apply(&crd.to_string(), "default").await.unwrap();
    plane.established(&[BOXES.to_owned()]).await.unwrap();
}

/// The boxes of a namespace, seen with a client's rights.
pub(crate) fn boxes(client: kube::Client, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("ground.test", "v1", "Box"), "boxes");
    Api::namespaced_with(client, namespace, &kind)
}

/// A box.
pub(crate) fn a_box(name: &str, size: i64) -> DynamicObject {
    object(json!({
        "apiVersion": "ground.test/v1",
        "kind": "Box",
        "metadata": {"name": name},
        "spec": {"size": size},
    }))
}

/// Any object from its JSON.
pub(crate) fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
