//! Several Mailcow servers, and parts of the operator that are switched off.

use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use mailcow_simulator::{Options, Simulator};

use crate::world::{ADA, DOMAIN, World, message};

/// A domain on the server `internal`, and one of everything in it.
pub(crate) const INTERNAL: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: internal}
spec: {domain: internal.example, server: internal}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: bob}
spec: {localPart: bob, domainRef: {name: internal}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: info}
spec: {localPart: info, domainRef: {name: internal}, gotoMailboxRefs: [{name: bob}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: away}
spec: {mailboxRef: {name: bob}, actions: [{forward: {to: [bob@elsewhere.example]}}]}
---
";

async fn connect(world: &World, secret: &str, server: &Simulator) {
    let (url, key) = (server.url(), server.api_key().to_owned());
    world
        .apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {secret}}}\n\
             stringData: {{url: {url:?}, apiKey: {key:?}, mailHost: mx.internal.example}}"
        ))
        .await;
}

#[tokio::test]
async fn each_domain_is_on_the_server_that_it_names() {
    let mut world = World::without_mailcow("servers").await;
    let internal = Simulator::start(Options::default()).await.unwrap();
    world.connect().await;
    world.start_operator(&["--mailcow-server", "internal=mailcow-internal"]);
    world.apply(&format!("{DOMAIN}{ADA}{INTERNAL}")).await;
    world.ready::<EmailMailbox>("ada").await;
    // The second server comes later; nothing of it holds the first up.
    world.condition::<EmailDomain>("internal", ("Synced", "False", "MailcowNotConfigured")).await;
    connect(&world, "mailcow-internal", &internal).await;
    world.ready::<EmailDomain>("internal").await;
    let bob = world.ready::<EmailMailbox>("bob").await;
    assert_eq!(bob.status.unwrap().server.as_deref(), Some("internal"));
    world.ready::<EmailAlias>("info").await;
    world.ready::<EmailForwardingRule>("away").await;
    let holds = |server: &Simulator, name: &str| server.inspect(|state| state.domain(name).is_some());
    assert!(holds(&world.mailcow, "example.com") && !holds(&world.mailcow, "internal.example"));
    assert!(holds(&internal, "internal.example") && !holds(&internal, "example.com"));
    let mx = |d: &EmailDomain| format!("{:?}", d.status.as_ref().map(|s| &s.dns)).contains("mx.internal.example");
    world.until("internal", "its records name its own mail host", mx).await;

    // One of them in trouble leaves the other alone.
    internal.set_backend(mailcow_simulator::Backend::DatabaseDown);
    world.kubectl(&["annotate", "embx", "bob", "email.askrobots.com/reconcile-requested-at=1"]).await;
    world.condition::<EmailMailbox>("bob", ("Synced", "Unknown", "MailcowUnreachable")).await;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"displayName":"Countess"}}"#]).await;
    world.ready::<EmailMailbox>("ada").await;
    internal.set_backend(mailcow_simulator::Backend::Up);

    // Deleted without their domain, things are let go where they are.
    world.kubectl(&["delete", "edom", "internal"]).await;
    world.kubectl(&["delete", "ealias", "info"]).await;
    world.kubectl(&["delete", "embx", "bob"]).await;
    assert!(internal.inspect(|state| state.alias("info@internal.example").is_none()));
    assert!(internal.inspect(|state| state.mailbox("bob@internal.example").is_some()));
}

#[tokio::test]
async fn a_server_that_nobody_configured_is_told() {
    let world = World::new("no-server").await;
    world.apply(INTERNAL).await;
    let told = world.condition::<EmailDomain>("internal", ("Stalled", "True", "ServerNotFound")).await;
    assert!(message(&told, "Ready").contains("which may use: default;"), "{told:#?}");
    world.kubectl(&["delete", "edom,embx,ealias,efr", "--all", "--timeout=20s"]).await;
    world.gone::<EmailDomain>("internal").await;
    assert_eq!(world.mailcow.writes(), 0);
}

#[tokio::test]
async fn what_a_gate_switches_off_is_left_alone() {
    let mut world = World::new("gates").await;
    let rule = INTERNAL.split("---").find(|text| text.contains("EmailForwardingRule")).unwrap().replace("bob", "ada");
    let task =
        rule.replace("away", "task").replace("forward: {to: [ada@elsewhere.example]}", "createTask: {sink: none}");
    world.apply(&format!("{DOMAIN}{ADA}{rule}")).await;
    world.ready::<EmailForwardingRule>("away").await;

    world.operator.take();
    world.start_operator(&["--feature-gates", "ForwardingRules=false"]);
    world.mailcow.clear_log();
    world.kubectl(&["delete", "efr", "away", "--wait=false"]).await;
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"displayName":"Countess"}}"#]).await;
    world.ready::<EmailMailbox>("ada").await;
    let rule: EmailForwardingRule = world.api().get("away").await.unwrap();
    assert!(rule.metadata.deletion_timestamp.is_some());
    assert!(world.mailcow.requests().iter().all(|request| !request.path.contains("filter")));

    world.operator.take();
    world.start_operator(&["--feature-gates", "TaskDelivery=false"]);
    world.gone::<EmailForwardingRule>("away").await;
    world.apply(&task).await;
    let told = world.condition::<EmailForwardingRule>("task", ("Programmed", "False", "FeatureDisabled")).await;
    assert!(message(&told, "Programmed").contains("TaskDelivery"));

    world.operator.take();
    world.start_operator(&["--feature-gates", "EmailHosting=false"]);
    world.operator.as_ref().unwrap().logged("ready", crate::world::LIMIT).await.unwrap();
    world.mailcow.clear_log();
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"displayName":"Nobody"}}"#]).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(world.mailcow.writes(), 0);
    let kubeconfig = world.kubeconfig().display().to_string();
    let refused = ground::Operator::start(
        std::path::Path::new(env!("CARGO_BIN_EXE_mailcow-operator")),
        &["run", "--feature-gates", "Forwarding=true"],
        &[("KUBECONFIG", &kubeconfig)],
    );
    refused.unwrap().logged("there is no feature gate", crate::world::LIMIT).await.unwrap();
}
