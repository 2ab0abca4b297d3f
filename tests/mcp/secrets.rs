//! Nothing that a server answers or logs has a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;

use crate::world::World;

/// Fails if a value of a Secret in the test's namespaces, or one of `more`, was answered or logged.
pub(crate) async fn none_leaked(world: &World, more: &[&str]) {
    let mut secrets: Vec<String> = more.iter().map(|text| (*text).to_owned()).collect();
    for namespace in &world.namespaces {
        let api: Api<Secret> = Api::namespaced(world.plane.admin().await.unwrap(), namespace);
        for secret in api.list(&ListParams::default()).await.unwrap() {
            for (key, value) in secret.data.into_iter().flatten() {
                // Hosts, ports and addresses in a generated Secret are no secrets.
                if ["password", "apiKey", "token"].contains(&key.as_str()) {
                    secrets.push(String::from_utf8_lossy(&value.0).into_owned());
                }
            }
        }
    }
    assert!(!secrets.is_empty());
    let mut seen = world.seen.lock().unwrap().clone();
    if let Some(logs) = world.logs() {
        seen.push_str(&logs);
    }
    for secret in secrets.iter().filter(|secret| secret.len() >= 8) {
        for form in [secret.clone(), STANDARD.encode(secret)] {
            assert!(!seen.contains(&form), "a secret of {} characters is in an answer or a log", secret.len());
        }
    }
}
