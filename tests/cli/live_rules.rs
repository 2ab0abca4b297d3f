//! `rules` with the rules of the cluster.

use crate::world::{ADA, DOMAIN, World};

const RULES: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: invoices}
spec:
  mailboxRef: {name: ada}
  match: {all: [{field: Subject, operator: Contains, values: [invoice]}]}
  actions: [{forward: {to: [books@far.example]}}]
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: tasks}
spec: {mailboxRef: {name: ada}, priority: 500, actions: [{createTask: {sink: tracker}}]}
";

#[tokio::test]
async fn rules_of_the_cluster_are_checked_compiled_and_tested() {
    let world = World::prepare("live").await;
    world.apply(&format!("{DOMAIN}{ADA}{RULES}")).await;
    let done = world.email(&["rules", "check"]).await;
    assert_eq!(done.code, 1, "the installation has no sink: {done:?}");
    done.shows(&[
        "invoices   yes",
        "no sink \"tracker\"",
        "feature gate TaskDelivery is off",
        "1 of 2 rules are invalid",
    ]);
    let done = world.email(&["rules", "check", "invoices"]).await.succeeded();
    assert!(!done.out.contains("tasks"), "{}", done.out);
    let done = world.email(&["rules", "check", "invoice"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["no EmailForwardingRule invoice in the namespace; did you mean invoices?"]);

    for mailbox in ["ada", "ada@example.com", "ada+x@example.com"] {
        let done = world.email(&["rules", "compile", "--live", mailbox, "--skip-invalid"]).await;
        assert_eq!(done.code, 0, "{done:?}");
        done.shows(&["# mailcow-operator/testing/", "books@far.example", "feature gate TaskDelivery is off"]);
    }
    let message = "Subject: Your invoice\n\nhello\n";
    let arguments = ["rules", "test", "--live", "ada", "--skip-invalid", "--from", "x@vendor.example", "-"];
    let done = world.email_with(&arguments, message).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.shows(&["ada@example.com: forwarded to books@far.example; a copy in the inbox"]);
    let done = world.email(&["rules", "compile", "--live", "adda"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["did you mean ada"]);

    let sinks = ["sinks[0].name=tracker", "sinks[0].webhook.url=https://t.example", "sinks[0].namespaces={*}"];
    let on = [&sinks[..], &["featureGates.TaskDelivery=true"]].concat();
    let rest = World::with("sinks", mailcow_simulator::Options::default(), &on).await;
    rest.apply(&format!("{DOMAIN}{ADA}{RULES}")).await;
    let checked = rest.email(&["rules", "check"]).await;
    assert_eq!(checked.code, 0, "the installation's own sinks are known: {checked:?}");
    rest.helm("upgrade", &sinks).await;
    let checked = rest.email(&["rules", "check"]).await;
    assert_eq!(checked.code, 1, "the installation's feature gates are known: {checked:?}");
    checked.shows(&["set featureGates.TaskDelivery: true in the chart", "1 of 2 rules are invalid"]);
    assert!(!checked.out.contains("no sink"), "{checked:?}");
}
