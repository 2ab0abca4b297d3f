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
    let said = world.email(&["rules", "check"]).await;
    assert_eq!(said.code, 1, "the installation has no sink: {said:?}");
    said.says(&["invoices   yes", "no sink \"tracker\"", "1 of 2 rules are invalid"]);
    let said = world.email(&["rules", "check", "invoices"]).await.fine();
    assert!(!said.out.contains("tasks"), "{}", said.out);
    let said = world.email(&["rules", "check", "invoice"]).await;
    assert_eq!(said.code, 1);
    said.says(&["no EmailForwardingRule invoice in the namespace; did you mean invoices?"]);

    for mailbox in ["ada", "ada@example.com", "ada+x@example.com"] {
        let said = world.email(&["rules", "compile", "--live", mailbox, "--skip-invalid"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.says(&["books@far.example", "no sink"]);
    }
    let message = "Subject: Your invoice\n\nhello\n";
    let arguments = ["rules", "test", "--live", "ada", "--skip-invalid", "--from", "x@vendor.example", "-"];
    let said = world.email_with(&arguments, message).await;
    assert_eq!(said.code, 0, "{said:?}");
    said.says(&["ada@example.com: forwarded to books@far.example; a copy in the inbox"]);
    let said = world.email(&["rules", "compile", "--live", "adda"]).await;
    assert_eq!(said.code, 1);
    said.says(&["did you mean ada"]);

    let rest = World::with(
        "sinks",
        mailcow_simulator::Options::default(),
        &["sinks[0].name=tracker", "sinks[0].webhook.url=https://t.example", "sinks[0].namespaces={*}"],
    )
    .await;
    rest.apply(&format!("{DOMAIN}{ADA}{RULES}")).await;
    let several = rest.email(&["rules", "check"]).await;
    assert_eq!(several.code, 0, "the installation's own sinks are known: {several:?}");
}
