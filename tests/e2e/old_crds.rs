//! CRDs in the cluster that are older than the operator.

use mailcow_operator::crd::EmailMailbox;
use serde_json::Value;

use crate::telemetry::{address, have};
use crate::world::{ADA, DOMAIN, LIMIT, World};

const CRD: &str = "emailmailboxes.email.askrobots.com";

/// The CRD of `EmailMailbox` without some fields of the status.
async fn without(world: &World, fields: &[&str]) -> String {
    let mut crd: Value = serde_json::from_str(&world.kubectl(&["get", "crd", CRD, "-o", "json"]).await).unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let status = crd.pointer_mut(status).unwrap().as_object_mut().unwrap();
    for field in fields {
        status.remove(*field).unwrap();
    }
    crd["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    crd.to_string()
}

async fn replace(world: &World, crd: &str) {
    let output = world.plane.kubectl_with(&["replace", "-f", "-"], crd).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_crd_that_is_older_than_the_operator_costs_the_fields_that_it_lacks_and_nothing_more() {
    let mut world = World::alone("oldcrds").await;
    let current = without(&world, &[]).await;
    replace(&world, &without(&world, &["policies"]).await).await;
    world.connect().await;
    world.start_operator(&["--resync", "6h", "--poll-interval", "6h"]);
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let ada = world.ready::<EmailMailbox>("ada").await;
    assert!(ada.status.as_ref().unwrap().policies.is_none() && ada.status.unwrap().address.is_some());
    let warnings = || {
        let logs = world.logs();
        logs.lines().filter(|line| line.contains("older than this operator")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let warned = warnings();
    assert_eq!(warned.len(), 1, "{warned:#?}");
    for words in ["WARN", "EmailMailbox", "status.policies", "kubectl apply --server-side -f crds/"] {
        assert!(warned[0].contains(words), "{warned:?}");
    }
    let metrics = address(&world).await;
    let lacks = |fields: usize| format!("mailcow_operator_crd_fields_missing{{kind=\"EmailMailbox\"}} {fields}");
    have(&metrics, &[&lacks(1), "mailcow_operator_crd_fields_missing{kind=\"EmailDomain\"} 0"]).await;
    // What the API server says of a field that it does not know, so that it is no guess.
    let status = format!(
        "{{\"apiVersion\":\"email.askrobots.com/v1alpha1\",\"kind\":\"EmailMailbox\",\"metadata\":{{\"name\":\"ada\",\"namespace\":{:?}}},\"status\":{{\"policies\":{{}}}}}}",
        world.namespace
    );
    let args =
        ["apply", "--server-side", "--subresource=status", "--field-manager=test", "--validate=false", "-f", "-"];
    let output = world.plane.kubectl_with(&args, &status).await.unwrap();
    let refusal = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && refusal.contains("field not declared in schema"), "{refusal}");
    // An older one that comes while the operator runs: the refused status is written without what it lacks.
    replace(&world, &without(&world, &["messages"]).await).await;
    let rename = r#"{"spec":{"displayName":"Countess"}}"#;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", rename]).await;
    world.ready::<EmailMailbox>("ada").await;
    have(&metrics, &[&lacks(2)]).await;
    assert_eq!(warnings().len(), 2);
    // With the CRD of this version all of it is there again.
    replace(&world, &current).await;
    let operator = world.operator.as_ref().unwrap();
    operator.logged("now has all fields of this version", LIMIT).await.unwrap();
    have(&metrics, &[&lacks(0)]).await;
    world.kubectl(&["annotate", "embx", "ada", "email.askrobots.com/reconcile-requested-at=1"]).await;
    let is_whole = |ada: &EmailMailbox| {
        ada.status.as_ref().is_some_and(|status| status.policies.is_some() && status.messages.is_some())
    };
    world.until("ada", "all of the status", is_whole).await;
}
