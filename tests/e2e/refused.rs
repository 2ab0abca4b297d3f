//! What Kubernetes refuses is told in the status, and hides nothing of what was found out.

use ground::wait_until;
use mailcow_operator::crd::{EmailDomain, EmailMailbox};

use crate::world::{ADA, DOMAIN, Email, LIMIT, World, message, says};

/// Forbids what holds a text, in one namespace, and answers with what it judged.
fn policy(namespace: &str, resource: &str) -> String {
    format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}-{resource}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [{resource}]}}]
  validations:
  - expression: '!has(object.data)'
    messageExpression: \"'no {resource} here: ' + string(object.data.password)\"
    message: no {resource} here
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}-{resource}}}
spec:
  policyName: {namespace}-{resource}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}
---
"
    )
}

/// Forbids both, and waits until that holds.
async fn forbid(world: &World, resource: &str, kind: &str) {
    world.apply(&policy(&world.namespace, resource)).await;
    let from = "--from-literal=password=anything";
    let mut args = vec!["create", kind];
    args.extend(if kind == "secret" { vec!["generic", "tried", from] } else { vec!["tried", from] });
    args.push("--dry-run=server");
    wait_until(LIMIT, "the policy to hold", async || {
        let said = world.kubectl(&args).await;
        if said.contains("no ") && said.contains(" here") { Ok(()) } else { Err(said) }
    })
    .await
    .unwrap();
}

async fn allow(world: &World, resource: &str) {
    let name = format!("{}-{resource}", world.namespace);
    world.kubectl(&["delete", "validatingadmissionpolicybinding", &name]).await;
}

fn cause(object: &impl Email, kind: &str) -> String {
    object.conditions().iter().find(|c| c.type_ == kind).map(|c| c.reason.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_secret_that_may_not_be_made_is_told_without_what_is_in_it() {
    let world = World::new("refusedsecret").await;
    world.apply(DOMAIN).await;
    world.ready::<EmailDomain>("example").await;
    forbid(&world, "secrets", "secret").await;
    world.apply(ADA).await;
    let refused = world.condition::<EmailMailbox>("ada", ("Ready", "False", "RefusedByKubernetes")).await;
    let said = message(&refused, "Ready");
    assert!(says(&refused, "Stalled", "True") && said.contains("no secrets here"), "{said}");
    assert_eq!(refused.status.as_ref().unwrap().address.as_deref(), Some("ada@example.com"), "what is known is told");
    allow(&world, "secrets").await;
    world.ready::<EmailMailbox>("ada").await;
    assert!(said.contains("no secrets here: …"), "the policy answers with the password, which is not shown: {said}");
    assert!(!world.logs().contains("no secrets here: ") || world.logs().contains("no secrets here: …"));
}

#[tokio::test]
async fn a_refused_publication_hides_neither_mailcow_nor_dns() {
    let world = World::new("refusedmap").await;
    forbid(&world, "configmaps", "configmap").await;
    world.dns.zone("example.com", "@ MX 10 mail.host.test.").unwrap();
    world.apply(&DOMAIN.replace("{domain: example.com}", "{domain: example.com, dns: {publish: ConfigMap}}")).await;
    let refused = world.condition::<EmailDomain>("example", ("Published", "False", "RefusedByKubernetes")).await;
    assert!(message(&refused, "Published").contains("no configmaps here"), "{refused:#?}");
    assert!(says(&refused, "Ready", "True") && says(&refused, "InboundReady", "True"), "{refused:#?}");
    assert_eq!(cause(&refused, "DNSVerified"), "NotVerified");
    allow(&world, "configmaps").await;
    world.condition::<EmailDomain>("example", ("Published", "True", "Published")).await;
}

#[tokio::test]
async fn a_finalizer_that_may_not_be_added_is_told() {
    let world = World::new("refusedpatch").await;
    let policy = policy(&world.namespace, "emaildomains")
        .replace("apiGroups: ['']", "apiGroups: [email.askrobots.com]")
        .replace("apiVersions: [v1]", "apiVersions: [v1alpha1]")
        .replace("'!has(object.data)'", "'!has(object.metadata.finalizers)'")
        .replace("string(object.data.password)", "object.metadata.name");
    world.apply(&policy).await;
    let finalizer = "{\"metadata\":{\"finalizers\":[\"a.example/b\"]}}";
    let other = DOMAIN.replace("{name: example}", "{name: other}").replace("example.com", "other.example");
    world.apply(&other).await;
    wait_until(LIMIT, "the policy to hold", async || {
        let said =
            world.kubectl(&["patch", "edom", "other", "--type=merge", "-p", finalizer, "--dry-run=server"]).await;
        if said.contains("no emaildomains here") { Ok(()) } else { Err(said) }
    })
    .await
    .unwrap();
    world.apply(DOMAIN).await;
    let refused = world.condition::<EmailDomain>("example", ("Ready", "False", "RefusedByKubernetes")).await;
    assert!(message(&refused, "Ready").contains("no emaildomains here"), "{refused:#?}");
    assert!(world.mailcow.inspect(|state| state.domain("example.com").is_none()), "nothing without a finalizer");
    allow(&world, "emaildomains").await;
    world.ready::<EmailDomain>("example").await;
}
