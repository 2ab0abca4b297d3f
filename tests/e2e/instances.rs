//! Several instances of the operator in one cluster, each for some of the Mailcow servers.

use std::time::Duration;

use ground::{Operator, wait_until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Resource, ResourceExt};
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use mailcow_simulator::{Access, ApiKey, Options, Simulator};

use crate::servers::INTERNAL;
use crate::world::{ADA, DOMAIN, Email, LIMIT, World};

/// Of the Leases.
const DURATION: Duration = Duration::from_secs(6);
/// A domain on a server that nobody has configured, and a mailbox and a rule that belong to nothing.
const NOWHERE: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: nowhere}
spec: {domain: nowhere.example, server: unknown}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: homeless}
spec: {localPart: homeless, domainRef: {name: missing}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: idle}
spec: {mailboxRef: {name: missing}, actions: [{forward: {to: [x@elsewhere.example]}}]}
---
";

/// Two servers; each instance has keys of its own for both, so that they can tell who asked.
struct Site {
    world: World,
    internal: Simulator,
}

impl Site {
    async fn new(name: &str) -> Self {
        let world = World::without_mailcow(name).await;
        Self { world, internal: Simulator::start(Options::default()).await.unwrap() }
    }

    /// Starts an instance that serves these servers; all if none is named.
    async fn start(&self, name: &str, serve: &str) -> Instance {
        let key = format!("{name}11-{name}22");
        for server in [&self.world.mailcow, &self.internal] {
            server.add_key(ApiKey::new(&key, Access::ReadWrite));
        }
        let lower = name.to_lowercase();
        for (of, server) in [("default", &self.world.mailcow), ("internal", &self.internal)] {
            let url = server.url();
            let secret = format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: {lower}-{of}}}\nstringData: {{url: {url:?}, apiKey: {key:?}}}"
            );
            self.world.apply(&secret).await;
        }
        let args = [
            "--pod-name".to_owned(),
            name.to_owned(),
            "--lease-duration".to_owned(),
            format!("{}s", DURATION.as_secs()),
            format!("--mailcow-secret={lower}-default"),
            format!("--mailcow-server=internal={lower}-internal"),
        ];
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        if !serve.is_empty() {
            args.extend(["--serve", serve]);
        }
        Instance { process: self.world.another_operator(&args), name: name.to_owned(), key }
    }

    async fn holder(&self, lease: &str) -> Option<String> {
        let leases: Api<Lease> = self.world.api();
        leases.get_opt(lease).await.unwrap()?.spec?.holder_identity
    }
}

struct Instance {
    process: Operator,
    name: String,
    key: String,
}

impl Instance {
    async fn leads(&self) {
        self.process.logged("this instance is the leader", LIMIT).await.unwrap();
    }

    /// Waits until it is on standby for this Lease.
    async fn waits_for(&self, lease: &str) {
        let is_it = |line: &str| line.contains("another instance is the leader") && line.contains(lease);
        let what = format!("{} on standby for {lease}", self.name);
        let waits = wait_until(LIMIT, &what, async || {
            let logs = self.process.logs();
            if logs.lines().any(is_it) { Ok(()) } else { Err(logs) }
        });
        waits.await.unwrap();
    }

    fn is_leader(&self) -> bool {
        self.process.logs().contains("this instance is the leader")
    }

    /// How many requests to a server are its own.
    fn requests(&self, server: &Simulator) -> usize {
        server.requests().iter().filter(|request| request.key == self.key).count()
    }

    /// A line of its metrics.
    async fn metric(&self, name: &str) -> Option<String> {
        let line = self.process.logged("serving metrics", LIMIT).await.unwrap();
        let address = line.split("address=").nth(1).unwrap().trim();
        let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    }
}

async fn version<K>(world: &World, name: &str) -> String
where
    K: Email + Resource<DynamicType = ()>,
{
    world.api::<K>().get(name).await.unwrap().resource_version().unwrap()
}

/// Gives a mailbox another name to show.
async fn rename(world: &World, mailbox: &str, to: &str) {
    let patch = format!(r#"{{"spec":{{"displayName":"{to}"}}}}"#);
    world.kubectl(&["patch", "embx", mailbox, "--type=merge", "-p", &patch]).await;
}

#[tokio::test]
async fn each_instance_serves_its_own_servers_and_leaves_the_rest_alone() {
    let site = Site::new("instances").await;
    let world = &site.world;
    let first = site.start("FIRST", "default").await;
    let mut second = site.start("SECOND", "internal").await;
    first.leads().await;
    second.leads().await;
    assert_eq!(site.holder("mailcow-operator").await.as_deref(), Some("FIRST"));
    assert_eq!(site.holder("mailcow-operator-internal-server").await.as_deref(), Some("SECOND"));
    world.apply(&format!("{DOMAIN}{ADA}{INTERNAL}{NOWHERE}")).await;
    world.ready::<EmailMailbox>("ada").await;
    let bob = world.ready::<EmailMailbox>("bob").await;
    assert_eq!(bob.status.unwrap().server.as_deref(), Some("internal"));
    world.ready::<EmailAlias>("info").await;
    world.ready::<EmailForwardingRule>("away").await;
    world.ready::<EmailDomain>("internal").await;
    // The instance of the default server reports what belongs to no server.
    world.condition::<EmailDomain>("nowhere", ("Stalled", "True", "ServerNotFound")).await;
    world.condition::<EmailMailbox>("homeless", ("Ready", "False", "DomainNotFound")).await;
    world.condition::<EmailForwardingRule>("idle", ("Ready", "False", "MailboxNotFound")).await;
    assert_eq!((first.requests(&site.internal), second.requests(&world.mailcow)), (0, 0));
    let ready = r#"mailcow_operator_objects{kind="EmailMailbox",state="Ready"}"#;
    assert_eq!([first.metric(ready).await.as_deref(), second.metric(ready).await.as_deref()], [Some("1"), Some("1")]);
    let not_ready = r#"mailcow_operator_objects{kind="EmailMailbox",state="NotReady"}"#;
    assert_eq!(first.metric(not_ready).await.as_deref(), Some("1"), "the one without a domain");
    assert_eq!(second.metric(not_ready).await.as_deref(), Some("0"));

    second.process.kill();
    let asked = site.internal.requests().len();
    rename(world, "bob", "Bob").await;
    world.kubectl(&["delete", "ealias", "info", "--wait=false"]).await;
    world.kubectl(&["annotate", "efr", "away", "email.askrobots.com/reconcile-requested-at=1"]).await;
    let before = (
        version::<EmailDomain>(world, "internal").await,
        version::<EmailMailbox>(world, "bob").await,
        version::<EmailAlias>(world, "info").await,
        version::<EmailForwardingRule>(world, "away").await,
    );
    let events = world.events().await.lines().filter(|line| line.contains("bob")).count();
    // What the first does afterwards shows that it has seen these changes too.
    rename(world, "ada", "Countess").await;
    world.kubectl(&["annotate", "efr", "idle", "email.askrobots.com/reconcile-requested-at=1"]).await;
    let handled = |rule: &EmailForwardingRule| {
        rule.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some("1")
    };
    world.until("idle", "the request is handled", handled).await;
    world.ready::<EmailMailbox>("ada").await;
    let after = (
        version::<EmailDomain>(world, "internal").await,
        version::<EmailMailbox>(world, "bob").await,
        version::<EmailAlias>(world, "info").await,
        version::<EmailForwardingRule>(world, "away").await,
    );
    assert_eq!(after, before, "{}", first.process.logs());
    assert_eq!(world.events().await.lines().filter(|line| line.contains("bob")).count(), events);
    assert_eq!((site.internal.requests().len(), first.requests(&site.internal)), (asked, 0));

    let again = site.start("AGAIN", "internal").await;
    again.leads().await;
    world.ready::<EmailMailbox>("bob").await;
    world.gone::<EmailAlias>("info").await;
    assert!(site.internal.inspect(|state| state.alias("info@internal.example").is_none()));

    // A domain that is made again on another server takes its mailboxes and their rules there.
    let on_default = INTERNAL.replace(", server: internal", "");
    world.kubectl(&["delete", "edom", "internal"]).await;
    world.apply(&on_default).await;
    let moved = |bob: &EmailMailbox| bob.status.as_ref().and_then(|status| status.server.as_deref()) == Some("default");
    world.until("bob", "it is on the default server", moved).await;
    world.ready::<EmailMailbox>("bob").await;
    world.ready::<EmailAlias>("info").await;
    world.ready::<EmailForwardingRule>("away").await;
    assert!(world.mailcow.inspect(|state| state.mailbox("bob@internal.example").is_some()));
    assert_eq!(again.requests(&world.mailcow), 0);
    world.kubectl(&["delete", "edom,embx,ealias,efr", "--all", "--timeout=30s"]).await;
    world.gone::<EmailForwardingRule>("away").await;
    world.gone::<EmailDomain>("nowhere").await;
}

#[tokio::test]
async fn of_instances_with_overlapping_lists_one_serves() {
    let site = Site::new("instances-overlap").await;
    let world = &site.world;
    let mut first = site.start("FIRST", "default,internal").await;
    first.leads().await;
    let second = site.start("SECOND", "internal").await;
    second.waits_for("mailcow-operator-internal-server").await;
    world.apply(&format!("{DOMAIN}{ADA}{INTERNAL}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailMailbox>("bob").await;
    assert!(!second.is_leader() && second.requests(&site.internal) == 0);
    first.process.kill();
    second.leads().await;
    rename(world, "bob", "Bob").await;
    world.ready::<EmailMailbox>("bob").await;
    // It holds the one Lease and waits for the other.
    let third = site.start("THIRD", "internal,default").await;
    third.waits_for("mailcow-operator-internal-server").await;
    assert_eq!(site.holder("mailcow-operator").await.as_deref(), Some("THIRD"));
    assert!(!third.is_leader() && third.requests(&world.mailcow) == 0, "{}", third.process.logs());
    assert_eq!(third.metric("mailcow_operator_leader").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn an_instance_for_every_server_and_one_for_some_never_work_at_the_same_time() {
    let site = Site::new("instances-all").await;
    let mut all = site.start("ALL", "").await;
    all.leads().await;
    let mut some = site.start("SOME", "internal").await;
    some.waits_for("mailcow-operator-internal-server").await;
    let ended = all.process.stop(LIMIT).await.unwrap();
    assert!(ended.success(), "{}", all.process.logs());
    some.leads().await;
    let mut all = site.start("EVERYTHING", "").await;
    all.waits_for("mailcow-operator-internal-server").await;
    site.world.apply(&format!("{DOMAIN}{INTERNAL}")).await;
    site.world.ready::<EmailMailbox>("bob").await;
    assert!(!all.is_leader() && all.requests(&site.internal) == 0, "{}", all.process.logs());
    // A standby that holds some of its Leases releases them when it ends.
    let ended = all.process.stop(LIMIT).await.unwrap();
    assert!(ended.success() && all.process.logs().contains("the Lease is released"), "{}", all.process.logs());
    assert_eq!(site.holder("mailcow-operator").await, None);
    let ended = some.process.stop(LIMIT).await.unwrap();
    assert!(ended.success(), "{}", some.process.logs());
}

#[tokio::test]
async fn a_server_that_is_not_configured_can_not_be_served() {
    let site = Site::new("instances-unknown").await;
    let mut instance = site.start("FIRST", "default,intern").await;
    let said = instance.process.logged("the server intern is not configured", LIMIT).await.unwrap();
    assert!(said.contains("configured are: default, internal;"), "{said}");
    assert!(!instance.process.ended(LIMIT).await.unwrap().success());
    assert_eq!(site.holder("mailcow-operator").await, None);
}
