//! Two tenants, a platform team and the operator on a control plane of their own, with the chart's roles and policies.

use std::path::{Path, PathBuf};

use ground::{ControlPlane, Dns, Operator, Options, wait_until};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use mailcow_simulator::Simulator;
use serde_json::{Value, json};

use super::acts::{collection, object};
use super::ask::Ask;
use crate::world::LIMIT;

/// A tenant's namespace.
pub(super) const A: &str = "tenant-a";
/// Another tenant's.
pub(super) const B: &str = "tenant-b";
/// The operator's.
pub(super) const SYSTEM: &str = "mail-system";

/// Namespaces, and people with the cluster's own roles in them.
const PEOPLE: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: tenant-a}}
- {apiVersion: v1, kind: Namespace, metadata: {name: tenant-b}}
- {apiVersion: v1, kind: Namespace, metadata: {name: platform}}
- {apiVersion: v1, kind: Namespace, metadata: {name: mail-system}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: view, namespace: tenant-a}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: edit, namespace: tenant-a}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: admin, namespace: tenant-a}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: tenant-a}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: edit, namespace: tenant-b}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: team, namespace: platform}}
";

/// What tenant A has, once each of the four kinds and some that the policies are about.
const OF_A: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example, labels: {fixture: plain}}
spec: {domain: example.com, dns: {required: []}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: ada, labels: {fixture: plain}}
spec: {localPart: ada, domainRef: {name: example}, displayName: Ada Lovelace}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales, labels: {fixture: plain}}
spec: {localPart: sales, domainRef: {name: example}, gotoMailboxRefs: [{name: ada}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: all, labels: {fixture: plain}}
spec: {mailboxRef: {name: ada}, actions: [{ignore: {}}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: postmaster}
spec: {localPart: postmaster, domainRef: {name: example}, system: true}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: old}
spec: {localPart: old, domainRef: {name: example}, deletionPolicy: Delete}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: old}
spec: {domain: old.example, deletionPolicy: Delete, dns: {required: []}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: confirmed, annotations: {email.askrobots.com/confirm-delete: confirmed@example.com}}
spec: {localPart: confirmed, domainRef: {name: example}, deletionPolicy: Delete}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: confirmed, annotations: {email.askrobots.com/confirm-delete: confirmed.example}}
spec: {domain: confirmed.example, deletionPolicy: Delete, dns: {required: []}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: shared}
spec: {domain: shared.example, allowedNamespaces: {from: All}, dns: {required: []}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: boss}
spec: {localPart: boss, domainRef: {name: shared}, displayName: Ada Lovelace}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: crew}
spec: {localPart: crew, domainRef: {name: shared}, gotoMailboxRefs: [{name: boss}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: limited}
spec:
  domain: limited.example
  rateLimit: {messages: 100, per: Hour}
  allowedNamespaces:
    from: All
    limits: {mailboxes: 2, aliases: 1, totalQuota: 3Gi, rateLimit: {messages: 20, per: Hour}}
  dns: {required: []}
";

/// The installation's sinks; one is for nobody's namespace here.
const SINKS: &str = "
- {name: board, email: {address: in@board.example}, namespaces: ['*']}
- {name: theirs, email: {address: in@theirs.example}, namespaces: [tenant-a]}
";

/// Everything running.
pub(super) struct Tenants {
    // Dropped in this order.
    _operator: Operator,
    /// The server.
    pub(super) mailcow: Simulator,
    /// Another one, for all.
    _second: Simulator,
    _dns: Dns,
    /// As an administrator.
    pub(super) kube: Client,
    /// Who asks, in the order of the table.
    pub(super) actors: Vec<(&'static str, Client)>,
    /// The control plane.
    pub(super) plane: ControlPlane,
}

impl Tenants {
    /// With all objects of A `Ready`.
    pub(super) async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        let people = plane.kubectl_with(&["create", "-f", "-"], PEOPLE).await.unwrap();
        assert!(people.status.success(), "{}", String::from_utf8_lossy(&people.stderr));
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator");
        let values = [
            ("tenancy", "Shared"),
            ("admissionPolicies.platformGroups", "{system:masters,system:serviceaccounts:platform}"),
            ("featureGates.DNSPublishing", "true"),
            // Their Leases.
            ("mailcow.servers[0].name", "second"),
            ("mailcow.servers[0].existingSecret", "second"),
            ("mailcow.servers[1].name", "private"),
            ("mailcow.servers[1].existingSecret", "second"),
        ];
        let chart = plane.install_chart(&chart, &values, SYSTEM).await.unwrap();
        for (role, namespace, account) in [
            ("view", A, "tenant-a:view"),
            ("edit", A, "tenant-a:edit"),
            ("admin", A, "tenant-a:admin"),
            ("edit", B, "tenant-b:edit"),
            ("edit", A, "platform:team"),
            ("edit", B, "platform:team"),
        ] {
            let account = format!("--serviceaccount={account}");
            let name = format!("{role}-{}", account.replace([':', '='], "-").trim_start_matches('-'));
            let role = format!("--clusterrole={role}");
            kubectl(&plane, &["-n", namespace, "create", "rolebinding", &name, &role, &account]).await;
        }
        let (mailcow, dns) =
            (Simulator::start(mailcow_simulator::Options::default()).await.unwrap(), Dns::start().await.unwrap());
        let operator = plane.service_account_kubeconfig(SYSTEM, &chart.service_accounts[0]).await.unwrap();
        let connection = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mailcow"},
            "stringData": {"url": mailcow.url(), "apiKey": mailcow.api_key()},
        });
        plane.apply(&connection.to_string(), SYSTEM).await.unwrap();
        let second = Simulator::start(mailcow_simulator::Options::default()).await.unwrap();
        let connection = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "second"},
            "stringData": {"url": second.url(), "apiKey": second.api_key(), "mailHost": "mx.second.example"},
        });
        plane.apply(&connection.to_string(), SYSTEM).await.unwrap();
        let tenants = Self {
            _operator: start(&operator, &dns),
            actors: actors(&plane, operator).await,
            kube: plane.admin().await.unwrap(),
            mailcow,
            _second: second,
            _dns: dns,
            plane,
        };
        tenants.plane.apply(OF_A, A).await.unwrap();
        let all = ["-n", A, "wait", "--for=condition=Ready", "--timeout=30s", "edom,embx,ealias,efr", "--all"];
        kubectl(&tenants.plane, &all).await;
        tenants.sound().await;
        tenants.in_force().await;
        tenants
    }

    /// The client of somebody in the table.
    pub(super) fn actor(&self, name: &str) -> &Client {
        &self.actors.iter().find(|(actor, _)| *actor == name).unwrap().1
    }

    /// Runs kubectl as an administrator; it has to succeed.
    pub(super) async fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&self.plane, args).await
    }

    /// Kubernetes finds nothing wrong with the policies. It looks only once, and maybe before it knew our kinds; so they
    /// are made anew.
    async fn sound(&self) {
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.kube.clone());
        let found = policies.list(&ListParams::default()).await.unwrap().items;
        assert_eq!(found.len(), 6);
        for policy in found {
            let name = policy.metadata.name.clone().unwrap();
            policies.delete(&name, &DeleteParams::default()).await.unwrap();
            let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
            let again = ValidatingAdmissionPolicy { metadata, spec: policy.spec, status: None };
            policies.create(&PostParams::default(), &again).await.unwrap();
            let checked = wait_until(LIMIT, "the policy to be checked", async || {
                let status = policies.get(&name).await.map_err(|error| error.to_string())?.status;
                status.and_then(|status| status.type_checking).ok_or_else(|| "not yet".to_owned())
            });
            assert_eq!(checked.await.unwrap().expression_warnings, None, "{name}");
        }
    }

    /// Waits until somebody is answered so.
    async fn answered(&self, actor: &str, ask: &Ask, word: &str) {
        let what = format!("{actor} to be answered {word}");
        let asked = wait_until(LIMIT, &what, async || match ask.send(self.actor(actor)).await.word {
            answer if answer == word => Ok(()),
            answer => Err(answer),
        });
        asked.await.unwrap();
    }

    /// Waits until roles are aggregated and policies are asked.
    async fn in_force(&self) {
        let mailboxes = collection(A, "emailmailboxes");
        let mailbox = |more: &str, value: Value| {
            let spec = json!({"domainRef": {"name": "x"}, "localPart": "x", more: value});
            Ask::create(&mailboxes, object("EmailMailbox", "probe", &spec))
        };
        let refused = [
            mailbox("system", json!(true)),
            mailbox("adoptionPolicy", json!("Force")),
            Ask::delete(&format!("{mailboxes}/old"), ""),
            Ask::delete(&format!("{}/old", collection(A, "emaildomains")), ""),
        ];
        let domain = format!("{}/example", collection(A, "emaildomains"));
        let relay = Ask::patch(&domain, json!({"spec": {"relay": {"host": 1}}}));
        let labels: serde_json::Map<String, Value> = (0..65).map(|n| (format!("l{n}"), json!("x"))).collect();
        let labels = Ask::patch(&domain, json!({"metadata": {"labels": labels}}));
        let refused = [refused.as_slice(), &[relay, labels]].concat();
        let read = Ask::get(&mailboxes);
        let refused = refused.iter().flat_map(|ask| [("edit", ask, "policy"), ("admin", ask, "policy")]);
        for (actor, ask, word) in refused.chain([("view", &read, "yes")]) {
            self.answered(actor, ask, word).await;
        }
    }
}

/// The operator under the chart's rights, looking everywhere.
fn start(kubeconfig: &Path, dns: &Dns) -> Operator {
    let mut args = vec!["run", "--operator-namespace", SYSTEM, "--mailcow-secret", "mailcow"];
    args.extend(["--lease-name", super::acts::OPERATOR]);
    let sinks = std::env::temp_dir().join(format!("tenancy-sinks-{}.yaml", std::process::id()));
    std::fs::write(&sinks, SINKS).unwrap();
    let sinks = sinks.display().to_string();
    args.extend(["--sinks-file", &sinks]);
    // `private` is for A alone.
    args.extend(["--mailcow-server", "second=second", "--mailcow-server", "private=second"]);
    args.extend(["--server-namespaces", "private=tenant-a"]);
    args.extend(["--listen", "127.0.0.1:0", "--cluster-id", "testing"]);
    args.extend(["--feature-gates", "DNSPublishing=true,TaskDelivery=true"]);
    let dns = dns.operator_args();
    args.extend(dns.iter().map(String::as_str));
    let kubeconfig = kubeconfig.display().to_string();
    let env = [("KUBECONFIG", kubeconfig.as_str()), ("POD_NAME", "the-pod")];
    Operator::start(Path::new(env!("CARGO_BIN_EXE_mailcow-operator")), &args, &env).unwrap()
}

/// With tokens of real service accounts.
async fn actors(plane: &ControlPlane, operator: PathBuf) -> Vec<(&'static str, Client)> {
    let mut actors = Vec::new();
    for (name, namespace, account) in [
        ("view", A, "view"),
        ("edit", A, "edit"),
        ("admin", A, "admin"),
        ("edit in B", B, "edit"),
        ("no role", A, "nobody"),
        ("platform", "platform", "team"),
    ] {
        let kubeconfig = plane.service_account_kubeconfig(namespace, account).await.unwrap();
        actors.push((name, ground::client(&kubeconfig).await.unwrap()));
    }
    actors.push(("operator", ground::client(&operator).await.unwrap()));
    actors
}

async fn kubectl(plane: &ControlPlane, args: &[&str]) -> String {
    let output = plane.kubectl(args).await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
