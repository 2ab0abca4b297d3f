//! What the server lets a caller do is what `kubectl auth can-i` says: random accounts, namespaces and tools.

use std::collections::BTreeMap;
use std::io::Write;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::client::{Client, Person, Version, error_of};
use crate::world::{AUDIENCE, RESOURCES, World};

const GROUP: &str = "email.askrobots.com/v1alpha1";
const CASES: usize = 240;
const ACCOUNTS: usize = 5;
const KINDS: [&str; 4] = ["EmailDomain", "EmailMailbox", "EmailAlias", "EmailForwardingRule"];

/// A call of a tool, and the rights it needs: verb and resource.
struct Case {
    tool: &'static str,
    arguments: Value,
    needs: Vec<(&'static str, &'static str)>,
    /// The object that it creates, changes or deletes.
    effect: Option<(&'static str, String)>,
}

/// Objects to read, change and delete in each namespace.
async fn fill(world: &World, namespace: &str) {
    let group = GROUP;
    let objects = [
        json!({"apiVersion": group, "kind": "EmailDomain", "metadata": {"name": "d"}, "spec": {"domain": format!("{namespace}.test")}}),
        json!({"apiVersion": group, "kind": "EmailMailbox", "metadata": {"name": "m"}, "spec": {"localPart": "m", "domainRef": {"name": "d"}}}),
        json!({"apiVersion": group, "kind": "EmailAlias", "metadata": {"name": "a"}, "spec": {"localPart": "a", "domainRef": {"name": "d"}, "goto": ["x@y.test"]}}),
        json!({"apiVersion": group, "kind": "EmailForwardingRule", "metadata": {"name": "r"}, "spec": {"mailboxRef": {"name": "m"}, "actions": [{"ignore": {}}]}}),
    ];
    let text = objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n");
    world.apply(namespace, &text).await;
    let status = format!(r#"{{"status":{{"address":"m@{namespace}.test"}}}}"#);
    world
        .kubectl(&["-n", namespace, "patch", "embx", "m", "--subresource=status", "--type=merge", "-p", &status])
        .await;
}

fn case(rng: &mut StdRng, i: usize, namespace: &str) -> Case {
    let simple = |tool, arguments: Value, needs: &[(&'static str, &'static str)]| Case {
        tool,
        arguments,
        needs: needs.to_vec(),
        effect: None,
    };
    let kind = rng.random_range(0..4usize);
    let name = ["d", "m", "a", "r"][kind];
    let list = json!({"namespace": namespace, "limit": 2});
    let new = format!("new-{i}");
    let created = |tool, resource, arguments| Case {
        tool,
        arguments,
        needs: vec![("create", resource)],
        effect: Some((resource, new.clone())),
    };
    match rng.random_range(0..14) {
        0 => simple("list_domains", list, &[("list", "emaildomains")]),
        1 => simple("list_mailboxes", list, &[("list", "emailmailboxes")]),
        2 => simple("list_aliases", list, &[("list", "emailaliases")]),
        3 => simple("list_forwarding_rules", list, &[("list", "emailforwardingrules")]),
        4 => simple("get_domain_dns", json!({"namespace": namespace, "name": "d"}), &[("get", "emaildomains")]),
        5 => simple(
            "explain",
            json!({"kind": KINDS[kind], "namespace": namespace, "name": name}),
            &[("get", RESOURCES[kind])],
        ),
        6 => simple(
            "plan_delete",
            json!({"kind": KINDS[kind], "namespace": namespace, "name": name}),
            &[("get", RESOURCES[kind])],
        ),
        7 => simple(
            "test_forwarding_rules",
            json!({"namespace": namespace, "mailbox": "m", "from": "a@b.test", "message": "A: b\n\n"}),
            &[("get", "emailmailboxes"), ("list", "emailforwardingrules")],
        ),
        8 => created(
            "create_domain",
            "emaildomains",
            json!({"namespace": namespace, "name": new, "domain": format!("new{i}.test"), "waitSeconds": 0}),
        ),
        9 => created(
            "create_mailbox",
            "emailmailboxes",
            json!({"namespace": namespace, "name": new, "domain": "d", "localPart": new, "waitSeconds": 0}),
        ),
        10 => created(
            "add_alias",
            "emailaliases",
            json!({"namespace": namespace, "name": new, "domain": "d", "localPart": new, "goto": ["x@y.test"], "waitSeconds": 0}),
        ),
        11 => created(
            "create_forwarding_rule",
            "emailforwardingrules",
            json!({"namespace": namespace, "name": new, "mailbox": "m", "actions": [{"ignore": {}}], "waitSeconds": 0}),
        ),
        12 => simple(
            "set_mailbox_state",
            json!({"namespace": namespace, "name": new, "state": "Inactive", "waitSeconds": 0}),
            &[("get", "emailmailboxes"), ("patch", "emailmailboxes")],
        ),
        _ => Case {
            tool: "apply_delete",
            arguments: json!({"kind": KINDS[kind], "namespace": namespace, "name": new}),
            needs: vec![("get", RESOURCES[kind]), ("delete", RESOURCES[kind])],
            effect: Some((RESOURCES[kind], new)),
        },
    }
}

/// An object that a case changes or deletes.
fn spare(kind: &str, name: &str) -> Value {
    let spec = match kind {
        "EmailDomain" => json!({"domain": format!("{name}.test")}),
        "EmailMailbox" => json!({"localPart": name, "domainRef": {"name": "d"}}),
        "EmailAlias" => json!({"localPart": name, "domainRef": {"name": "d"}, "goto": ["x@y.test"]}),
        _ => json!({"mailboxRef": {"name": "m"}, "actions": [{"ignore": {}}]}),
    };
    json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// What `kubectl auth can-i` says to an account, with its own kubeconfig.
#[derive(Default)]
struct CanI {
    kubeconfigs: BTreeMap<String, String>,
    answers: BTreeMap<String, bool>,
}

impl CanI {
    async fn ask(&mut self, world: &World, account: &str, namespace: &str, (verb, resource): (&str, &str)) -> bool {
        let question = format!("{account} {namespace} {verb} {resource}");
        if let Some(known) = self.answers.get(&question) {
            return *known;
        }
        if !self.kubeconfigs.contains_key(account) {
            let path = world.kubeconfig(account).await.display().to_string();
            self.kubeconfigs.insert(account.to_owned(), path);
        }
        let kubeconfig = &self.kubeconfigs[account];
        let resource = format!("{resource}.email.askrobots.com");
        let args = ["--kubeconfig", kubeconfig, "auth", "can-i", verb, &resource, "-n", namespace];
        let text = world.kubectl(&args).await;
        let may = match text.trim() {
            "yes" => true,
            "no" => false,
            other => panic!("{question}: {other}"),
        };
        self.answers.insert(question, may);
        may
    }
}

#[tokio::test]
async fn a_caller_may_do_what_kubernetes_lets_them_do_and_nothing_else() {
    let mut world = World::new(&["one", "two", "three"]).await;
    let mut rng = StdRng::seed_from_u64(20_261_128);
    for namespace in world.namespaces.clone() {
        fill(&world, &namespace).await;
    }
    let url = world.serve(&["--allow-writes"]).await;
    let mut clients = Vec::new();
    for i in 0..ACCOUNTS {
        let account = world.account(&format!("account-{i}")).await;
        for (namespace, resource) in world.namespaces.iter().flat_map(|n| RESOURCES.map(|resource| (n, resource))) {
            let verbs: Vec<&str> =
                ["get", "list", "create", "patch", "delete"].into_iter().filter(|_| rng.random_bool(0.6)).collect();
            if !verbs.is_empty() {
                world.grant(&account, namespace, &verbs, &[resource]).await;
            }
        }
        let token = world.token(&account, AUDIENCE).await;
        let version = Version::BOTH[i % 2];
        let client = Client::http(&url, &token, (version, Person::Absent), &world.seen).await;
        clients.push((account, client, token));
    }
    let mut can_i = CanI::default();
    let (mut permitted, mut refused) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    let mut differing = Vec::new();
    for i in 0..CASES {
        let namespace = world.namespaces.choose(&mut rng).unwrap().clone();
        let case = case(&mut rng, i, &namespace);
        let at = rng.random_range(0..ACCOUNTS);
        let user = format!("system:serviceaccount:{}:{}", world.namespaces[0], clients[at].0);
        let mut expected = true;
        for need in &case.needs {
            expected &= can_i.ask(&world, &clients[at].0, &namespace, *need).await;
        }
        if ["set_mailbox_state", "apply_delete"].contains(&case.tool) {
            // New for each case: a change that is none needs no right.
            let kind = case.arguments["kind"].as_str().unwrap_or("EmailMailbox");
            world.apply(&namespace, &spare(kind, case.arguments["name"].as_str().unwrap()).to_string()).await;
        }
        let client = &mut clients[at].1;
        let result = if case.tool == "apply_delete" {
            deleted(client, &world, &case).await
        } else {
            client.call(case.tool, case.arguments.clone()).await.unwrap()
        };
        let error = error_of(&result);
        let is_permitted = error.as_ref().is_none_or(|error| error["error"] != "Forbidden");
        assert!(
            error.as_ref().is_none_or(|error| error["error"] == "Forbidden"),
            "{} {}: {error:?}",
            case.tool,
            case.arguments
        );
        *(if is_permitted { &mut permitted } else { &mut refused }).entry(case.tool).or_default() += 1;
        let mut is_as_expected = is_permitted == expected;
        if let Some((resource, name)) = &case.effect {
            let there = world.read(&namespace, &format!("{resource}/{name}")).await.is_some();
            is_as_expected &= there == (expected != (case.tool == "apply_delete"));
        }
        if !is_as_expected {
            differing
                .push(format!("{user} in {namespace}: {} {} expected {expected}: {result}", case.tool, case.arguments));
        }
    }
    let (yes, no) = (permitted.values().sum::<usize>(), refused.values().sum::<usize>());
    let _ = writeln!(
        std::io::stderr(),
        "\nrights: {CASES} cases, {} answers of kubectl auth can-i, {yes} permitted {permitted:?}, {no} refused {refused:?}",
        can_i.answers.len()
    );
    assert!(differing.is_empty(), "{} of {CASES}:\n{}", differing.len(), differing.join("\n"));
    assert!(yes > 40 && no > 40, "{yes} {no}");
    let tokens: Vec<&str> = clients.iter().map(|(_, _, token)| token.as_str()).collect();
    crate::secrets::none_leaked(&world, &tokens).await;
}

/// Plans and applies a deletion with a person who confirms it.
async fn deleted(client: &mut Client, world: &World, case: &Case) -> Value {
    let plan = client.call("plan_delete", case.arguments.clone()).await.unwrap();
    if error_of(&plan).is_some() {
        return plan;
    }
    let digest = plan["structuredContent"]["digest"].clone();
    let url = world.url();
    // Another connection of the same caller, whose client can ask.
    let name = case.arguments["name"].as_str().unwrap();
    let typed = if case.arguments["kind"] == "EmailDomain" { format!("{name}.test") } else { name.to_owned() };
    let person = Person::Types(typed);
    let token = client.token();
    let mut asked = Client::http(&url, &token, (client.version, person), &world.seen).await;
    asked.call("apply_delete", json!({"digest": digest})).await.unwrap()
}
