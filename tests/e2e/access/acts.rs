//! What may be tried in a tenant's namespace.

use futures::future::join_all;
use serde_json::{Value, json};

use super::ask::Ask;
use super::table::markdown;
use super::tenants::{A, B, SYSTEM, Tenants};

/// One object of each kind.
const KINDS: [(&str, &str, &str); 4] = [
    ("EmailDomain", "emaildomains", "example"),
    ("EmailMailbox", "emailmailboxes", "ada"),
    ("EmailAlias", "emailaliases", "sales"),
    ("EmailForwardingRule", "emailforwardingrules", "all"),
];

/// Name of the operator's service account and of its role.
pub(super) const OPERATOR: &str = "mail-system-mailcow-operator";

/// The objects of a kind in a namespace.
pub(super) fn collection(namespace: &str, plural: &str) -> String {
    format!("/apis/email.askrobots.com/v1alpha1/namespaces/{namespace}/{plural}")
}

/// An object as it is written.
pub(super) fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Everybody tries every row; rows and columns of `docs/tenancy.md`.
pub(super) async fn measured(tenants: &Tenants) -> String {
    let mut lines = Vec::new();
    for (act, asks) in rows(tenants).await {
        let cells = tenants.actors.iter().map(async |(_, client)| {
            let answers = join_all(asks.iter().map(|ask| ask.send(client))).await;
            let mut words: Vec<String> = answers.into_iter().map(|answer| answer.word).collect();
            words.sort();
            words.dedup();
            words.join(" or ")
        });
        lines.push([vec![act.to_owned()], join_all(cells).await].concat());
    }
    let columns: Vec<&str> = tenants.actors.iter().map(|(name, _)| *name).collect();
    markdown(&[&["in namespace A"], columns.as_slice()].concat(), &lines)
}

type Row = (&'static str, Vec<Ask>);

async fn rows(tenants: &Tenants) -> Vec<Row> {
    let mut rows = vec![
        ("get, list and watch the four kinds", read(A)),
        ("create, update, delete, delete all", changes(tenants, A).await),
        ("patch", each(A, |_, path| Ask::patch(path, json!({"metadata": {"labels": {"x": "y"}}})))),
        ("patch the status", each(A, |_, path| Ask::patch(&format!("{path}/status"), json!({"status": {}})))),
        ("own others (`finalizers`)", vec![finalizers()]),
        ("remove finalizers", each(A, |_, path| Ask::patch(path, json!({"metadata": {"finalizers": null}})))),
        ("annotate: confirm-delete, force-orphan, paused", each(A, |_, path| Ask::patch(path, annotations()))),
    ];
    rows.extend(policies());
    rows.extend(secrets_and_roles());
    rows.push(("get, list and watch in namespace B", read(B)));
    rows.push(("create in namespace B", creates(B)));
    rows
}

/// A request about the object of each kind in a namespace.
fn each(namespace: &str, ask: impl Fn(&str, &str) -> Ask) -> Vec<Ask> {
    KINDS.iter().map(|(kind, plural, name)| ask(kind, &format!("{}/{name}", collection(namespace, plural)))).collect()
}

fn read(namespace: &str) -> Vec<Ask> {
    let reads = |(_, plural, name): &(&str, &str, &str)| {
        let all = collection(namespace, plural);
        let one = (namespace == A).then(|| Ask::get(format!("{all}/{name}")));
        let more = [Ask::get(&all), Ask::get(format!("{all}?watch=true&timeoutSeconds=1"))];
        one.into_iter().chain(more).collect::<Vec<_>>()
    };
    KINDS.iter().flat_map(reads).collect()
}

fn creates(namespace: &str) -> Vec<Ask> {
    let specs = [
        json!({"domain": "new.example"}),
        json!({"localPart": "new", "domainRef": {"name": "example"}}),
        json!({"localPart": "new", "domainRef": {"name": "example"}, "goto": ["a@example.com"]}),
        json!({"mailboxRef": {"name": "ada"}, "actions": [{"ignore": {}}]}),
    ];
    let create = |((kind, plural, _), spec): (&(&str, &str, &str), Value)| {
        Ask::create(&collection(namespace, plural), object(kind, "new", &spec))
    };
    KINDS.iter().zip(specs).map(create).collect()
}

async fn changes(tenants: &Tenants, namespace: &str) -> Vec<Ask> {
    let mut asks = creates(namespace);
    for (_, plural, name) in KINDS {
        let (all, path) = (collection(namespace, plural), format!("{}/{name}", collection(namespace, plural)));
        let there: Value = serde_json::from_str(&tenants.kubectl(&["get", "--raw", &path]).await).unwrap();
        asks.push(Ask::update(&path, there));
        asks.push(Ask::delete(&path, ""));
        asks.push(Ask::delete(&all, "&labelSelector=fixture%3Dplain"));
    }
    asks
}

/// Not a path that could be asked for: the right to name an object as an owner that blocks.
fn finalizers() -> Ask {
    Ask::may(&json!({
        "namespace": A, "verb": "update", "group": "email.askrobots.com", "resource": "emailmailboxes",
        "subresource": "finalizers",
    }))
}

fn annotations() -> Value {
    json!({"metadata": {"annotations": {
        "email.askrobots.com/confirm-delete": "ada@example.com",
        "email.askrobots.com/force-orphan": "true",
        "email.askrobots.com/paused": "true",
    }}})
}

/// What the admission policies are about.
fn policies() -> Vec<Row> {
    let (domains, mailboxes) = (collection(A, "emaildomains"), collection(A, "emailmailboxes"));
    let delete = |name: &str| [&domains, &mailboxes].map(|all| Ask::delete(&format!("{all}/{name}"), "")).to_vec();
    let mailbox = |spec: &Value| Ask::create(&mailboxes, object("EmailMailbox", "new", spec));
    let system = json!({"localPart": "new", "domainRef": {"name": "example"}, "system": true});
    let postmaster = format!("{mailboxes}/postmaster");
    let force = json!({"spec": {"adoptionPolicy": "Force"}});
    let set_force = KINDS[..3]
        .iter()
        .map(|(_, plural, name)| Ask::patch(&format!("{}/{name}", collection(A, plural)), force.clone()))
        .collect();
    let forced = json!({"localPart": "new", "domainRef": {"name": "example"}, "adoptionPolicy": "Force"});
    vec![
        ("delete a mailbox or domain under `Delete`, unconfirmed", delete("old")),
        ("the same, confirmed", delete("confirmed")),
        ("create a system mailbox", vec![mailbox(&system)]),
        (
            "make a mailbox a system mailbox",
            vec![Ask::patch(&format!("{mailboxes}/ada"), json!({"spec": {"system": true}}))],
        ),
        (
            "change a system mailbox, or make it none",
            vec![
                Ask::patch(&postmaster, json!({"spec": {"displayName": "x"}})),
                Ask::patch(&postmaster, json!({"metadata": {"finalizers": null}})),
                Ask::patch(&postmaster, json!({"spec": {"system": false}})),
            ],
        ),
        ("delete a system mailbox", vec![Ask::delete(&postmaster, "")]),
        ("create with `adoptionPolicy: Force`", vec![mailbox(&forced)]),
        ("set `adoptionPolicy: Force`", set_force),
        (
            "set a relay host (`relay.host`)",
            vec![Ask::patch(&format!("{domains}/example"), json!({"spec": {"relay": {"host": 7}}}))],
        ),
        (
            "write much metadata: 65 labels, 17 finalizers, 17 owners or one with a long name, 100,000 characters of annotations",
            much_metadata().into_iter().map(|much| Ask::patch(&format!("{mailboxes}/ada"), much)).collect(),
        ),
    ]
}

fn much_metadata() -> Vec<Value> {
    let labels: serde_json::Map<String, Value> = (0..65).map(|n| (format!("l{n}"), json!("x"))).collect();
    let finalizers: Vec<String> = (0..17).map(|n| format!("b.example/f{n}")).collect();
    let owner =
        |n: u32, name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": format!("u{n}")});
    let owners: Vec<Value> = (0..17).map(|n| owner(n, "x")).collect();
    vec![
        json!({"metadata": {"labels": labels}}),
        json!({"metadata": {"finalizers": finalizers}}),
        json!({"metadata": {"ownerReferences": owners}}),
        json!({"metadata": {"ownerReferences": [owner(0, &"x".repeat(2000))]}}),
        json!({"metadata": {"annotations": {"x": "y".repeat(100_000)}}}),
    ]
}

fn secrets_and_roles() -> Vec<Row> {
    let secret = |namespace: &str, name: &str| format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "more"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR},
        "subjects": [{"kind": "ServiceAccount", "name": "admin", "namespace": A}],
    });
    let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{A}/rolebindings");
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let account = format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts/{OPERATOR}/token");
    let default = json!({"metadata": {"annotations": {"email.askrobots.com/default-deletion-policy": "Delete"}}});
    vec![
        ("read a generated Secret", vec![Ask::get(secret(A, "ada-mailbox"))]),
        ("read the Secret with the connection to Mailcow", vec![Ask::get(secret(SYSTEM, "mailcow"))]),
        (
            "annotate the namespace: default-deletion-policy",
            vec![Ask::patch(&format!("/api/v1/namespaces/{A}"), default)],
        ),
        ("take the operator's rights", vec![Ask::create(&bindings, binding), Ask::create(&account, token)]),
    ]
}
