//! `plan`: what an apply would change, on a Mailcow that people filled and on one that the operator manages.

use serde_json::{Value, json};

use ground::wait_until;

use crate::world::{ADA, DOMAIN, LIMIT, World, call_with};

fn of<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let changes = plan["changes"].as_array().unwrap();
    changes
        .iter()
        .find(|change| change["name"] == name && change["kind"] != "script")
        .unwrap_or_else(|| panic!("{name}: {plan:#}"))
}

fn field(plan: &Value, name: &str, field: &str) -> Value {
    let fields = of(plan, name)["fields"].as_array().unwrap();
    fields.iter().find(|one| one["field"] == field).unwrap_or_else(|| panic!("{name} {field}: {plan:#}")).clone()
}

#[tokio::test]
async fn an_export_plans_no_change_before_and_after_it_is_applied() {
    let mut world = World::prepare("noop").await;
    world.connect().await;
    world.mailcow.edit(|state| {
        let domain = state.seed_domain("example.com");
        (domain.description, domain.max_quota) = ("Example Inc.".to_owned(), 2048);
        "Ada".clone_into(&mut state.seed_mailbox("ada@example.com").name);
        state.seed_mailbox("bob@example.com").sender_acl = vec!["@example.com".to_owned()];
        state.seed_alias("info@example.com", "ada@example.com,far@away.example");
    });
    // As a domain with a key.
    let url = format!("{}/api/v1/add/dkim", world.mailcow.url());
    let body = r#"{"domains":"example.com","dkim_selector":"dkim","key_size":"2048"}"#;
    let request = reqwest::Client::new().post(url).header("X-API-Key", world.mailcow.api_key());
    request.header("Content-Type", "application/json").body(body).send().await.unwrap();
    world.mailcow.clear_log();

    let exported = world.email(&["export"]).await.out;
    // What the alias allows anyway is no change.
    let more = exported.replace("  quota: 10Mi\n", "  quota: 10Mi\n  senderAcl: [info@example.com]\n");
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], &more).await;
    let ada =
        done.json()["changes"].as_array().unwrap().iter().find(|one| one["name"] == "ada.example.com").unwrap().clone();
    assert_eq!((&ada["action"], &ada["fields"]), (&json!("Adopt"), &json!([])), "{done:?}");
    let done = world.email_with(&["plan", "-f", "-"], &exported).await;
    assert_eq!((done.code, done.out.as_str()), (0, "plan: 4 to adopt (only the ownership mark)\n"), "{done:?}");
    assert_eq!(world.mailcow.writes(), 0);
    world.apply(&exported).await;
    world.start().await;
    for object in ["edom/example.com", "embx/ada.example.com", "embx/bob.example.com", "ealias/info.example.com"] {
        world.ready(object).await;
    }
    let writes = world.mailcow.writes();
    let done = world.email_with(&["plan", "-f", "-"], &exported).await;
    assert_eq!((done.code, done.out.as_str()), (0, "plan: 4 unchanged\n"), "{done:?}");
    assert_eq!(world.mailcow.writes(), writes);
    let requests: Vec<String> = world.mailcow.requests().into_iter().map(|request| request.path).collect();
    assert!(!requests.iter().any(|path| path.starts_with("edit/domain") && path.contains("active")), "{requests:?}");
}

#[tokio::test]
async fn changes_are_shown_field_by_field_and_what_takes_mail_away_stands_out() {
    let world = World::new("plan").await;
    let ada = ADA.replace(
        "localPart: ada,",
        "localPart: ada, displayName: Ada, quota: 5Gi, protocols: [IMAP, SMTP], tags: [a],",
    );
    world.apply(&format!("{DOMAIN}{ada}")).await;
    world.ready("embx/ada").await;
    world.mailcow.edit(|state| state.seed_usage("ada@example.com", 3, 3 << 30));
    let changed = ada
        .replace("displayName: Ada", "displayName: Countess, state: Inactive")
        .replace("5Gi", "1Gi")
        .replace("[IMAP, SMTP]", "[IMAP]")
        .replace("tags: [a]", "tags: [b]");
    let new = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: bob}
spec: {localPart: bob, domainRef: {name: example}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: lost}
spec: {localPart: lost, domainRef: {name: nowhere}, goto: [ada@example.com]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: both}
spec: {localPart: both, domainRef: {name: example}, goto: [ada@example.com], sink: Discard}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: invoices}
spec: {mailboxRef: {name: ada}, actions: [{forward: {to: [books@far.example]}}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: tasks}
spec: {mailboxRef: {name: ada}, actions: [{createTask: {sink: tracker}}]}
";
    world.mailcow.clear_log();
    let manifests = format!("{DOMAIN}{changed}{new}");
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], &manifests).await;
    assert_eq!((done.code, done.err.as_str(), world.mailcow.writes()), (1, "", 0), "{done:?}");
    let plan = done.json();
    let change = |from: &str, to: &str, destructive: bool| json!({"from": from, "to": to, "destructive": destructive});
    for (name, expected) in [
        ("displayName", change("Ada", "Countess", false)),
        ("state", change("Active", "Inactive", true)),
        ("quota", change("5Gi", "1Gi", true)),
        ("protocols", change("IMAP, SMTP", "IMAP", true)),
    ] {
        let mut found = field(&plan, "ada", name);
        found.as_object_mut().unwrap().remove("field");
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(field(&plan, "bob", "localPart")["to"], "bob");
    assert!(of(&plan, "lost")["message"].as_str().unwrap().contains("no EmailDomain nowhere"));
    assert!(of(&plan, "both")["message"].as_str().unwrap().contains("exactly one of goto, gotoMailboxRefs and sink"));
    assert!(of(&plan, "tasks")["message"].as_str().unwrap().contains("no sink \"tracker\""));
    let scripts: Vec<&Value> =
        plan["changes"].as_array().unwrap().iter().filter(|one| one["kind"] == "script").collect();
    assert_eq!(scripts[0]["fields"][0]["to"], format!("{}/invoices", world.namespace));

    let text = world.email_with(&["plan", "-f", "-"], &manifests).await;
    assert_eq!(text.code, 1);
    text.shows(&["~", "Active", "Inactive", "3 of these changes take mail or access away", "3 refused"]);
    assert!(text.out.lines().any(|line| line.starts_with("~!") || line.starts_with('!')), "{}", text.out);
    // Nothing was stored.
    let names = world.kubectl(&["get", "email", "-o", "name"]).await;
    assert!(!names.contains("bob") && !names.contains("invoices"), "{names}");
}

#[tokio::test]
async fn entries_of_others_are_refused_and_paused_objects_change_nothing() {
    let world = World::new("others").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready("embx/ada").await;
    let twin = ADA.replace("name: ada,", "name: twin,");
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], &twin).await;
    assert_eq!(done.code, 1);
    assert!(of(&done.json(), "twin")["message"].as_str().unwrap().contains("belongs to another owner"), "{done:?}");
    let paused = ADA
        .replace("labels: {team: a}", "annotations: {email.askrobots.com/paused: 'true'}")
        .replace("localPart: ada,", "localPart: ada, displayName: X,");
    let done = world.email_with(&["plan", "-f", "-"], &paused).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.shows(&["paused: nothing is written until it is resumed", "displayName", "plan: 1 paused"]);
}

#[tokio::test]
async fn a_namespace_that_the_domain_does_not_allow_is_refused() {
    let world = World::prepare("admitted").await;
    world.connect().await;
    world.apply(DOMAIN).await;
    let guest = world.plane.namespace("guest").await.unwrap();
    let there = ADA
        .replace("name: ada,", &format!("name: ada, namespace: {guest},"))
        .replace("{name: example}", &format!("{{name: example, namespace: {}}}", world.namespace));
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], &there).await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(of(&done.json(), "ada")["message"].as_str().unwrap().contains("does not allow this namespace"));
    let open = DOMAIN.replace("domain: example.com", "domain: example.com, allowedNamespaces: {from: All}");
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], &format!("{open}{there}")).await;
    assert_eq!(of(&done.json(), "ada")["action"], "Create", "{done:?}");
}

const RULE: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: invoices}
spec: {mailboxRef: {name: ada}, actions: [{forward: {to: [books@far.example]}}]}
";

#[tokio::test]
async fn domains_of_other_namespaces_count_as_far_as_they_may_be_read() {
    let world = World::prepare("host").await;
    world.apply(&DOMAIN.replace("domain: example.com", "domain: example.com, allowedNamespaces: {from: All}")).await;
    let guest = world.plane.namespace("guest").await.unwrap();
    let ada = ADA.replace("{name: example}", &format!("{{name: example, namespace: {}}}", world.namespace));
    world.plane.apply(&ada, &guest).await.unwrap();
    world.let_read("guest", &guest, "'*'").await;
    let admin = world.plane.admin_kubeconfig().display().to_string();
    let access = world.access(world.mailcow.api_key());
    let plan = async |input: &str| {
        let place = ["plan", "-f", "-", "-o", "json", "--kubeconfig", &admin, "-n", &guest, "--as", "guest"];
        let access = access.iter().map(String::as_str);
        let done = call_with(&place.into_iter().chain(access).collect::<Vec<_>>(), input).await;
        assert_eq!(done.code, 1, "{done:?}");
        done.json()
    };
    // Only the rule is in the file: its mailbox and the mailbox's domain are in the cluster.
    let plan_of_rule = plan(RULE).await;
    let message = of(&plan_of_rule, "invoices")["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("the EmailDomain example of the namespace")
            && message.contains(&format!("no right to list emaildomains in the namespace {}", world.namespace)),
        "{message}"
    );
    world.let_read("guest", &world.namespace, "emaildomains").await;
    let plan_of_rule = plan(RULE).await;
    let script = &plan_of_rule["changes"][0];
    assert_eq!(
        (&script["kind"], &script["address"]),
        (&json!("script"), &json!("ada@example.com")),
        "{plan_of_rule:#}"
    );
    assert_eq!(script["fields"][0]["to"], format!("{guest}/invoices"));
}

#[tokio::test]
async fn objects_that_are_being_deleted_are_no_longer_there() {
    let world = World::prepare("deleting").await;
    world.connect().await;
    let old = ADA
        .replace("name: ada,", "name: old, finalizers: [example.com/hold],")
        .replace("localPart: ada", "localPart: old");
    world.apply(&format!("{DOMAIN}{old}")).await;
    world.kubectl(&["delete", "embx", "old", "--wait=false"]).await;
    let alias = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: info}
spec: {localPart: info, domainRef: {name: example}, gotoMailboxRefs: [{name: old}]}
";
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], alias).await;
    let message = of(&done.json(), "info")["message"].clone();
    assert_eq!(message, "spec.gotoMailboxRefs: the EmailMailbox old is being deleted", "{done:?}");
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], &old).await;
    let message = of(&done.json(), "old")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("is being deleted; apply it when that is gone"), "{message}");
    world.kubectl(&["patch", "embx", "old", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).await;
    wait_until(LIMIT, "the mailbox to be gone", async || {
        let there = world.kubectl(&["get", "embx", "-o", "name"]).await;
        if there.is_empty() { Ok(()) } else { Err(there) }
    })
    .await
    .unwrap();
    let done = world.email_with(&["plan", "-f", "-", "-o", "json"], &old).await;
    assert_eq!(of(&done.json(), "old")["action"], "Create", "{done:?}");
}

#[tokio::test]
async fn what_a_feature_gate_turns_off_is_no_change() {
    let world = World::prepare("gates").await;
    world.connect().await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let plan = async |input: &str| world.email_with(&["plan", "-f", "-", "-o", "json"], input).await.json();
    let tasks = RULE.replace("forward: {to: [books@far.example]}", "createTask: {sink: tracker}");
    let message = |plan: &Value| of(plan, "invoices")["message"].as_str().unwrap().to_owned();
    let found = message(&plan(&tasks).await);
    assert!(found.contains("the feature gate TaskDelivery is off in this installation"), "{found}");
    let publishing = DOMAIN.replace("domain: example.com", "domain: example.org, dns: {publish: ConfigMap}");
    let found = of(&plan(&publishing.replace("name: example", "name: other")).await, "other")["message"].to_string();
    assert!(
        found.contains("spec.dns.publish: nothing happens, because the feature gate DNSPublishing is off"),
        "{found}"
    );
    world.helm("upgrade", &["featureGates.ForwardingRules=false"]).await;
    let rules_off = plan(RULE).await;
    assert!(message(&rules_off).contains("the feature gate ForwardingRules is off"), "{rules_off:#}");
    assert_eq!(rules_off["changes"].as_array().unwrap().len(), 1, "no script changes: {rules_off:#}");
    world.helm("upgrade", &["featureGates.EmailHosting=false"]).await;
    let found = of(&plan(ADA).await, "ada")["message"].to_string();
    assert!(found.contains("the feature gate EmailHosting is off"), "{found}");
}

#[tokio::test]
async fn wrong_input_is_refused_before_anything_is_asked() {
    let world = World::prepare("input").await;
    world.connect().await;
    for (input, why) in [
        ("a: [", "did not find expected"),
        ("kind: Pod\napiVersion: v1", "no object of a kind"),
        (&*ADA.replace("localPart", "lokalPart"), "unknown field `lokalPart`"),
    ] {
        let done = world.email_with(&["plan", "-f", "-"], input).await;
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{input}: {done:?}");
        assert!(done.err.contains(why), "{input}: {done:?}");
    }
    assert_eq!(world.email(&["plan"]).await.code, 2);
    assert_eq!(world.mailcow.reads(), 0, "{:?}", world.mailcow.requests());
    world.kubectl(&["delete", "secret", "mailcow-operator-mailcow"]).await;
    let done = world.email_with(&["plan", "-f", "-"], DOMAIN).await;
    assert_eq!(done.code, 1);
    done.shows(&["does not exist in the namespace", "--mailcow-url"]);
}
