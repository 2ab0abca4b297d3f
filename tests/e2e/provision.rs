//! Mailboxes that a domain makes by itself, one for each entitled namespace: what a platform's billing system sees.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mailcow_operator::crd::{EmailDomain, EmailMailbox, MailboxState, ProvisionedStatus, RefusedReason};

use crate::world::{LIMIT, World, message};

/// Options of the operator.
const GATES: [&str; 4] = ["--feature-gates", "AutoProvisioning=true", "--reserved-names", "ceo"];

/// A platform with a domain that makes mailboxes, and namespaces of its customers.
struct Platform {
    world: World,
    /// The name of every mailbox that the domain makes.
    name: String,
}

impl Platform {
    async fn new(name: &str) -> Self {
        let mut world = World::everywhere(name).await;
        world.start_operator(&GATES);
        let name = format!("{}.shared", world.namespace);
        let platform = Self { world, name };
        platform.domain("Deactivate").await;
        platform
    }

    async fn domain(&self, when_revoked: &str) {
        self.world
            .apply(&format!(
                "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {{name: shared}}\n\
                 spec: {{domain: shared.example, limits: {{mailboxes: 50, totalQuota: 50Gi}}, autoProvision: \
                 {{namespaceSelector: {{matchLabels: {{plan: paid}}}}, whenRevoked: {when_revoked}}}}}\n"
            ))
            .await;
    }

    /// A namespace that asks for this name and pays or not.
    async fn customer(&self, prefix: &str, (username, plan): (&str, &str)) -> String {
        let namespace = self.world.plane.namespace(prefix).await.unwrap();
        if !username.is_empty() {
            let annotation = format!("email.askrobots.com/username={username}");
            self.world.kubectl(&["annotate", "namespace", &namespace, &annotation]).await;
        }
        self.plan(&namespace, plan).await;
        namespace
    }

    async fn plan(&self, namespace: &str, plan: &str) {
        self.world.kubectl(&["label", "--overwrite", "namespace", namespace, &format!("plan={plan}")]).await;
    }

    async fn mailbox(&self, namespace: &str) -> Option<EmailMailbox> {
        Api::namespaced(self.world.kube.clone(), namespace).get_opt(&self.name).await.unwrap()
    }

    async fn ready(&self, namespace: &str) -> EmailMailbox {
        self.world.until_in(namespace, &self.name, ("Ready", "True", "InSync")).await
    }

    /// Waits until the mailbox has this state in its spec and is Ready so.
    async fn in_state(&self, namespace: &str, state: MailboxState) -> EmailMailbox {
        let what = format!("{state:?} in {namespace}");
        let found = ground::wait_until(LIMIT, &what, async || {
            let mailbox = self.mailbox(namespace).await;
            match mailbox {
                Some(mailbox) if mailbox.spec.state == state && crate::world::says(&mailbox, "Ready", "True") => {
                    Ok(mailbox)
                }
                other => Err(format!("{other:#?}")),
            }
        });
        found.await.unwrap_or_else(|error| panic!("{error}\n{}", self.world.logs()))
    }

    /// What Mailcow holds of an address: whether mail comes in and people can log in.
    fn active(&self, address: &str) -> Option<i64> {
        self.world.mailcow.inspect(|state| state.mailbox(address).map(|mailbox| mailbox.active))
    }

    async fn provisioned(&self, what: &str, is_so: impl Fn(&ProvisionedStatus) -> bool) -> EmailDomain {
        let said = |domain: &EmailDomain| domain.status.as_ref().and_then(|status| status.provisioned.clone());
        self.world.until("shared", what, |domain: &EmailDomain| said(domain).is_some_and(|said| is_so(&said))).await
    }

    async fn refused(&self, namespace: &str, reason: RefusedReason) -> EmailDomain {
        self.provisioned(&format!("{namespace} is refused: {reason:?}"), |said| {
            said.refused.iter().any(|refused| refused.namespace == namespace && refused.reason == reason)
        })
        .await
    }

    /// A mailbox that a tenant makes in his namespace, as forged as can be.
    async fn forge(&self, namespace: &str, name: &str, local_part: &str) {
        let (domain, label) = (&self.world.namespace, &self.name);
        let manifest = format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: {name}, labels: \
             {{app.kubernetes.io/managed-by: mailcow-operator, email.askrobots.com/provisioned-by: {label}}}}}\n\
             spec: {{localPart: {local_part}, system: true, deletionPolicy: Retain, adoptionPolicy: Force, \
             domainRef: {{name: shared, namespace: {domain}}}}}\n"
        );
        self.world.plane.apply(&manifest, namespace).await.unwrap();
    }
}

#[tokio::test]
async fn paying_namespaces_have_a_mailbox() {
    let mut platform = Platform::new("platform").await;
    let ada = mailboxes_are_made_before_there_is_a_mailcow(&platform).await;
    names_that_cannot_be_had_are_told(&platform).await;
    a_tenant_may_set_what_is_not_the_operators(&platform, &ada).await;
    who_does_not_pay_keeps_his_mail_and_loses_the_login(&platform, &ada).await;
    nobody_forges_an_address(&platform, &ada).await;
    a_deleted_namespace_loses_no_mail(&platform).await;
    kept_mailboxes_stay_open(&platform, &ada).await;
    what_kubernetes_refuses_is_told_and_holds_up_nobody(&platform).await;
    a_restart_writes_nothing(&mut platform).await;
    nothing_is_made_where_it_is_switched_off(&mut platform).await;
}

/// Gives the namespace of `ada@`.
async fn mailboxes_are_made_before_there_is_a_mailcow(platform: &Platform) -> String {
    let ada = platform.customer("ada", ("Ada", "paid")).await;
    let plain = platform.customer("plain", ("", "paid")).await;
    let free = platform.customer("free", ("", "free")).await;
    let waiting = ("Synced", "False", "MailcowNotConfigured");
    let made = platform.world.until_in::<EmailMailbox>(&ada, &platform.name, waiting).await;
    assert!(made.spec.system && made.spec.local_part == "ada", "{made:#?}");
    assert_eq!(made.metadata.labels.as_ref().unwrap()["email.askrobots.com/provisioned-by"], platform.name);
    platform.world.until_in::<EmailMailbox>(&plain, &platform.name, waiting).await;
    platform.world.connect().await;
    let mailbox = platform.ready(&ada).await;
    assert_eq!(mailbox.status.as_ref().unwrap().address.as_deref(), Some("ada@shared.example"));
    platform.ready(&plain).await;
    assert_eq!(platform.active(&format!("{plain}@shared.example")), Some(1));
    let secrets: Api<Secret> = Api::namespaced(platform.world.kube.clone(), &ada);
    let secret = secrets.get(&format!("{}-mailbox", platform.name)).await.unwrap();
    assert!(secret.data.as_ref().unwrap().contains_key("password"));
    platform.provisioned("two of two", |said| (said.entitled, said.mailboxes) == (2, 2)).await;
    platform.world.condition::<EmailDomain>("shared", ("Provisioned", "True", "Provisioned")).await;
    assert!(platform.mailbox(&free).await.is_none());
    ada
}

async fn names_that_cannot_be_had_are_told(platform: &Platform) {
    let reserved = platform.customer("reserved", ("Postmaster", "paid")).await;
    let of_installation = platform.customer("boss", ("CEO", "paid")).await;
    let twin = platform.customer("twin", ("ADA", "paid")).await;
    let tagged = platform.customer("tagged", ("ada+work", "paid")).await;
    platform
        .world
        .apply("apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: team}\nspec: {localPart: team, domainRef: {name: shared}, goto: [x@other.example]}")
        .await;
    let aliased = platform.customer("aliased", ("team", "paid")).await;
    platform.refused(&reserved, RefusedReason::Reserved).await;
    platform.refused(&of_installation, RefusedReason::Reserved).await;
    platform.refused(&tagged, RefusedReason::Invalid).await;
    platform.refused(&aliased, RefusedReason::Taken).await;
    let domain = platform.refused(&twin, RefusedReason::Taken).await;
    let said = domain.status.as_ref().unwrap().provisioned.as_ref().unwrap();
    assert_eq!((said.entitled, said.mailboxes, said.refused_count), (7, 2, 5));
    assert!(message(&domain, "Provisioned").starts_with("2 of 7 entitled"), "{}", message(&domain, "Provisioned"));
    // A name that can be had heals it.
    platform.world.kubectl(&["annotate", "--overwrite", "namespace", &twin, "email.askrobots.com/username=eve"]).await;
    platform.ready(&twin).await;
    assert_eq!(platform.active("eve@shared.example"), Some(1));
    for namespace in [reserved, of_installation, tagged, aliased] {
        assert!(platform.mailbox(&namespace).await.is_none());
        platform.plan(&namespace, "free").await;
    }
    platform.world.condition::<EmailDomain>("shared", ("Provisioned", "True", "Provisioned")).await;
}

async fn a_tenant_may_set_what_is_not_the_operators(platform: &Platform, ada: &str) {
    let patch = r#"{"spec":{"displayName":"Ada Lovelace"}}"#;
    platform.world.kubectl(&["-n", ada, "patch", "embx", &platform.name, "--type=merge", "-p", patch]).await;
    let name = || platform.world.mailcow.inspect(|state| state.mailbox("ada@shared.example").unwrap().name.clone());
    ground::wait_until(LIMIT, "the name", async || if name() == "Ada Lovelace" { Ok(()) } else { Err(name()) })
        .await
        .unwrap();
    // What is the operator's is put back.
    let patch = r#"{"metadata":{"labels":null},"spec":{"state":"Inactive"}}"#;
    platform.world.kubectl(&["-n", ada, "patch", "embx", &platform.name, "--type=merge", "-p", patch]).await;
    let mailbox = platform.in_state(ada, MailboxState::Active).await;
    assert_eq!(mailbox.spec.display_name.as_deref(), Some("Ada Lovelace"));
}

async fn who_does_not_pay_keeps_his_mail_and_loses_the_login(platform: &Platform, ada: &str) {
    let password = || {
        platform
            .world
            .mailcow
            .inspect(|state| state.mailbox("ada@shared.example").unwrap().attributes.passwd_update.clone())
    };
    let before = (password(), platform.ready(ada).await.metadata.uid);
    let since = |mailbox: &EmailMailbox| {
        let ready = mailbox.status.as_ref().unwrap().conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        ready.last_transition_time.clone()
    };
    let ready_since = since(&platform.ready(ada).await);
    // Transition times have a resolution of a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    platform.world.mailcow.clear_log();
    platform.plan(ada, "free").await;
    let off = platform.in_state(ada, MailboxState::LoginDisabled).await;
    // 2 is Mailcow's word for: takes mail, nobody can log in.
    assert_eq!(platform.active("ada@shared.example"), Some(2));
    assert_eq!(platform.world.mailcow.writes(), 1, "{:#?}", platform.world.mailcow.requests());
    assert_eq!(off.spec.display_name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(since(&off), ready_since, "it was Ready all the time");
    platform.provisioned("one is revoked", |said| said.revoked == 1).await;
    // He can't open it again by himself, whatever he changes.
    let patch = r#"{"metadata":{"labels":null},"spec":{"state":"Active","displayName":"Back"}}"#;
    platform.world.kubectl(&["-n", ada, "patch", "embx", &platform.name, "--type=merge", "-p", patch]).await;
    let off = platform.in_state(ada, MailboxState::LoginDisabled).await;
    assert_eq!(off.spec.display_name.as_deref(), Some("Back"));
    let opened = platform.world.mailcow.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!((platform.active("ada@shared.example"), opened), (Some(2), 2), "only the name was written");
    platform.plan(ada, "paid").await;
    let on = platform.in_state(ada, MailboxState::Active).await;
    assert_eq!(platform.active("ada@shared.example"), Some(1));
    assert_eq!((password(), on.metadata.uid), before);
}

async fn nobody_forges_an_address(platform: &Platform, ada: &str) {
    let no = ("Ready", "False", "NamespaceNotAllowed");
    let free = platform.customer("thief", ("thief", "free")).await;
    // Who does not pay, under the right name; who pays, under another name, or for another's address.
    platform.forge(&free, &platform.name, "thief").await;
    platform.world.until_in::<EmailMailbox>(&free, &platform.name, no).await;
    platform.forge(ada, "second", "second").await;
    platform.world.until_in::<EmailMailbox>(ada, "second", no).await;
    platform.forge(ada, "again", "ada").await;
    platform.world.until_in::<EmailMailbox>(ada, "again", no).await;
    let heir = platform.world.plane.namespace("heir").await.unwrap();
    platform.world.kubectl(&["annotate", "namespace", &heir, "email.askrobots.com/username=ada"]).await;
    platform.forge(&heir, &platform.name, "ada").await;
    platform.plan(&heir, "paid").await;
    platform.refused(&heir, RefusedReason::Taken).await;
    platform.world.until_in::<EmailMailbox>(&heir, &platform.name, no).await;
    let there = platform.world.mailcow.inspect(|state| state.mailboxes.len());
    assert_eq!(there, 3, "ada, the plain one and eve");
    // The thief pays: it becomes what the operator would have made.
    platform.plan(&free, "paid").await;
    platform.ready(&free).await;
    platform.plan(&heir, "free").await;
}

async fn a_deleted_namespace_loses_no_mail(platform: &Platform) {
    let gone = platform.customer("gone", ("gone", "paid")).await;
    platform.ready(&gone).await;
    platform.world.mailcow.edit(|state| state.mailbox_mut("gone@shared.example").unwrap().name = "Still here".into());
    platform.world.kubectl(&["delete", "namespace", &gone, "--timeout=30s"]).await;
    assert_eq!(platform.active("gone@shared.example"), Some(1));
    let back = platform.customer("back", ("gone", "paid")).await;
    platform.ready(&back).await;
    let name = platform.world.mailcow.inspect(|state| state.mailbox("gone@shared.example").unwrap().name.clone());
    assert_eq!(name, "Still here");
    // A mailbox whose object is deleted is made again.
    platform.world.kubectl(&["-n", &back, "delete", "embx", &platform.name, "--timeout=30s"]).await;
    platform.ready(&back).await;
}

async fn kept_mailboxes_stay_open(platform: &Platform, ada: &str) {
    platform.domain("Keep").await;
    platform.world.ready::<EmailDomain>("shared").await;
    platform.plan(ada, "free").await;
    platform.provisioned("one is revoked", |said| said.revoked == 1).await;
    platform.world.mailcow.clear_log();
    let patch = r#"{"spec":{"displayName":"Kept"}}"#;
    platform.world.kubectl(&["-n", ada, "patch", "embx", &platform.name, "--type=merge", "-p", patch]).await;
    platform.in_state(ada, MailboxState::Active).await;
    assert_eq!(platform.active("ada@shared.example"), Some(1));
    assert_eq!(platform.world.mailcow.writes(), 1);
    // Changed back to Deactivate, it is switched off.
    platform.domain("Deactivate").await;
    platform.in_state(ada, MailboxState::LoginDisabled).await;
}

/// The same operator with other options.
async fn restarted(platform: &mut Platform, options: &[&str]) {
    platform.world.operator = None;
    platform.world.mailcow.clear_log();
    platform.world.start_operator(options);
    platform.world.operator.as_ref().unwrap().logged("ready", LIMIT).await.unwrap();
}

async fn a_restart_writes_nothing(platform: &mut Platform) {
    let versions = async |platform: &Platform| {
        let columns = "-o=custom-columns=S:.metadata.namespace,N:.metadata.name,V:.metadata.resourceVersion";
        platform.world.kubectl(&["get", "edom,embx", "-A", columns, "--no-headers"]).await
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = versions(platform).await;
    restarted(platform, &GATES).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(platform.world.mailcow.writes(), 0);
    assert_eq!(versions(platform).await, before);
}

async fn nothing_is_made_where_it_is_switched_off(platform: &mut Platform) {
    let made = platform.customer("made", ("", "paid")).await;
    platform.ready(&made).await;
    let (gate, other) = (["--feature-gates", "AutoProvisioning=false"], ["--provisioning-namespaces", "elsewhere"]);
    for options in [gate.to_vec(), [GATES.as_slice(), &other].concat()] {
        restarted(platform, &options).await;
        platform.world.condition::<EmailDomain>("shared", ("Provisioned", "False", "FeatureDisabled")).await;
        platform.world.ready::<EmailDomain>("shared").await;
        let late = platform.customer("late", ("", "paid")).await;
        platform.forge(&late, &platform.name, &late).await;
        let no = ("Ready", "False", "NamespaceNotAllowed");
        platform.world.until_in::<EmailMailbox>(&late, &platform.name, no).await;
        platform.world.until_in::<EmailMailbox>(&made, &platform.name, no).await;
        assert_eq!(platform.active(&format!("{made}@shared.example")), Some(1));
        assert_eq!(platform.world.mailcow.writes(), 0);
        platform.plan(&late, "free").await;
    }
    restarted(platform, &GATES).await;
    platform.ready(&made).await;
    platform.world.condition::<EmailDomain>("shared", ("Provisioned", "True", "Provisioned")).await;
    assert_eq!(platform.world.mailcow.writes(), 0, "{:#?}", platform.world.mailcow.requests());
}

#[tokio::test]
async fn an_empty_selector_is_refused() {
    let world = World::without_mailcow("selector").await;
    let manifest = |provision: &str| {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {{name: d}}\n\
             spec: {{domain: e.example, autoProvision: {provision}}}"
        )
    };
    let said = world.refused(&manifest("{namespaceSelector: {}}")).await;
    assert!(said.contains("every namespace of the cluster would get a mailbox"), "{said}");
    let said = world.refused(&manifest("{namespaceSelector: {matchLabels: {a: b}}, whenRevoked: Delete}")).await;
    assert!(said.contains("whenRevoked"), "{said}");
    let said = world.refused(&manifest("{namespaceSelector: {matchLabels: {a: b}}, localPartAnnotation: 'a b'}")).await;
    assert!(said.contains("localPartAnnotation"), "{said}");
}

#[tokio::test]
async fn an_operator_that_sees_one_namespace_says_so() {
    let mut world = World::without_mailcow("narrow").await;
    world.start_operator(&["--feature-gates", "AutoProvisioning=true"]);
    let platform = Platform { name: format!("{}.shared", world.namespace), world };
    platform.domain("Deactivate").await;
    let expected = ("Provisioned", "False", "NamespacesNotReadable");
    platform.world.condition::<EmailDomain>("shared", expected).await;
}

/// Denies new mailboxes in namespaces with this label.
const FREEZE: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: frozen}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {frozen: 'yes'}}
    resourceRules: [{apiGroups: [email.askrobots.com], apiVersions: ['*'], operations: [CREATE], resources: [emailmailboxes]}]
  validations: [{expression: 'false', message: nothing new here}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: frozen}
spec: {policyName: frozen, validationActions: [Deny]}
";

async fn what_kubernetes_refuses_is_told_and_holds_up_nobody(platform: &Platform) {
    platform.world.apply(FREEZE).await;
    // The API server takes a moment to know a new policy: a namespace is frozen when a mailbox in it is denied.
    let frozen = platform.world.plane.namespace("frozen").await.unwrap();
    platform.world.kubectl(&["label", "namespace", &frozen, "frozen=yes"]).await;
    let probe = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {name: probe}\nspec: {localPart: probe, domainRef: {name: shared}}";
    ground::wait_until(LIMIT, "the policy to hold", async || {
        let args = ["-n", &frozen, "create", "--dry-run=server", "-f", "-"];
        let output = platform.world.plane.kubectl_with(&args, probe).await.unwrap();
        if output.status.success() { Err("taken".to_owned()) } else { Ok(()) }
    })
    .await
    .unwrap();
    platform.plan(&frozen, "paid").await;
    let fine = platform.customer("fine", ("", "paid")).await;
    platform.ready(&fine).await;
    let domain = platform.refused(&frozen, RefusedReason::NotCreated).await;
    assert!(message(&domain, "Provisioned").contains("nothing new here"), "{}", message(&domain, "Provisioned"));
    // It is not tried again and again.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let tried = platform.world.logs().matches("writing a mailbox failed").count();
    assert_eq!(tried, 1, "{}", platform.world.logs());
    platform.plan(&frozen, "free").await;
}
