//! Tenants beside each other on one operator: who may do what. What is expected stands in `docs/tenancy.md`.

mod acts;
mod ask;
mod force;
mod schema;
mod sequences;
mod table;
mod tenants;
mod told;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use mailcow_operator::crd::EmailMailbox;
use serde_json::json;

use ask::Ask;
use tenants::{A, Tenants};

use crate::world::{LIMIT, message};

/// A tenant who leaves.
const C: &str = "tenant-c";
const RETAIN: &str = r#"{"spec":{"deletionPolicy":"Retain"}}"#;

#[tokio::test]
async fn tenants_reach_what_is_theirs_and_nothing_of_others() {
    let tenants = Tenants::new().await;
    table::compare("Who may do what", &acts::measured(&tenants).await);
    the_operators_rights_are_explained(&tenants).await;
    refusals_say_what_to_do(&tenants).await;
    kubernetes_own_controllers_are_not_asked(&tenants).await;
    schema::compare(&tenants).await;
    tokio::join!(told::compare(&tenants), a_namespace_goes_once_its_mail_may(&tenants));
}

#[tokio::test]
async fn tenants_reach_nothing_of_others_in_several_steps_either() {
    sequences::compare(&Tenants::new().await).await;
}

/// Each rule of the operator's own role stands in `docs/security.md`, and no other.
async fn the_operators_rights_are_explained(tenants: &Tenants) {
    let role = kube::Api::<ClusterRole>::all(tenants.kube.clone()).get(acts::OPERATOR).await.unwrap();
    let row = |rule: &PolicyRule| {
        format!("| {} | {} |", rule.resources.clone().unwrap_or_default().join(", "), rule.verbs.join(", "))
    };
    let given: Vec<String> = role.rules.iter().flatten().map(row).collect();
    let page = table::expected("security.md", "What the operator may do in Kubernetes");
    let first_two = |line: &str| line.rsplit_once(" | ").map(|(row, _)| format!("{row} |"));
    let explained: Vec<String> = page.lines().skip(2).filter_map(first_two).collect();
    assert_eq!(given, explained);
}

async fn refusals_say_what_to_do(tenants: &Tenants) {
    let mailboxes = acts::collection(A, "emailmailboxes");
    let system = json!({"spec": {"system": true}});
    let force = json!({"spec": {"adoptionPolicy": "Force"}});
    for (ask, words) in [
        (
            Ask::delete(&format!("{mailboxes}/old"), ""),
            "kubectl -n tenant-a annotate --overwrite embx old email.askrobots.com/confirm-delete=old@example.com",
        ),
        (
            Ask::delete(&format!("{}/old", acts::collection(A, "emaildomains")), ""),
            "kubectl -n tenant-a annotate --overwrite edom old email.askrobots.com/confirm-delete=old.example",
        ),
        (Ask::patch(&format!("{mailboxes}/ada"), system), "only the platform may set spec.system"),
        (Ask::delete(&format!("{mailboxes}/postmaster"), ""), "only the platform may change or delete it"),
        (Ask::patch(&format!("{mailboxes}/ada"), force), "use IfUnowned, or ask the team that runs the cluster's mail"),
    ] {
        let answer = ask.send(tenants.actor("edit")).await;
        assert!(answer.message.contains(words), "{words}\n{}", answer.message);
    }
}

/// Else a namespace with a system mailbox, or a mailbox under `Delete`, would stay for ever.
async fn kubernetes_own_controllers_are_not_asked(tenants: &Tenants) {
    for user in [
        "system:serviceaccount:kube-system:namespace-controller",
        "system:serviceaccount:kube-system:generic-garbage-collector",
    ] {
        for name in ["old", "postmaster"] {
            let path = format!("{}/{name}", acts::collection(A, "emailmailboxes"));
            let answer = Ask::delete(&path, "").asked_by(user).send(&tenants.kube).await;
            assert_eq!(answer.word, "yes", "{user}");
        }
    }
}

/// What goes with its namespace: mail under `Delete`, and a system mailbox.
const OF_C: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: c}
spec: {domain: c.example, deletionPolicy: Delete, dns: {required: []}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: old}
spec: {localPart: old, domainRef: {name: c}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: postmaster}
spec: {localPart: postmaster, domainRef: {name: c}, system: true, deletionPolicy: Retain}
";

/// No policy holds a namespace; the operator holds it as long as unconfirmed mail would be destroyed.
async fn a_namespace_goes_once_its_mail_may(tenants: &Tenants) {
    tenants.kubectl(&["create", "namespace", C]).await;
    tenants.kubectl(&["annotate", "namespace", C, "email.askrobots.com/default-deletion-policy=Delete"]).await;
    tenants.plane.apply(OF_C, C).await.unwrap();
    tenants.kubectl(&["-n", C, "wait", "--for=condition=Ready", "--timeout=30s", "embx", "--all"]).await;
    tenants.mailcow.edit(|state| state.seed_usage("old@c.example", 3, 4096));
    let delete = Ask::delete(&format!("{}/old", acts::collection(C, "emailmailboxes")), "");
    assert_eq!(delete.send(&tenants.kube).await.word, "policy", "the namespace's annotation says Delete");
    tenants.kubectl(&["delete", "namespace", C, "--wait=false"]).await;
    let api = kube::Api::<EmailMailbox>::namespaced(tenants.kube.clone(), C);
    let held = ground::wait_until(LIMIT, "the confirmation to be asked for", async || {
        let old = api.get("old").await.map_err(|error| error.to_string())?;
        let said = message(&old, "Ready");
        if said.contains("confirm-delete: old@c.example") { Ok(()) } else { Err(said) }
    });
    held.await.unwrap();
    let is_there = |address: &str| tenants.mailcow.inspect(|state| state.mailbox(address).is_some());
    assert!(is_there("old@c.example"));
    tenants.kubectl(&["-n", C, "annotate", "embx", "old", "email.askrobots.com/confirm-delete=old@c.example"]).await;
    tenants.kubectl(&["-n", C, "patch", "edom", "c", "--type=merge", "-p", RETAIN]).await;
    tenants.kubectl(&["wait", "--for=delete", "--timeout=30s", "namespace", C]).await;
    assert!(!is_there("old@c.example") && is_there("postmaster@c.example"));
}
