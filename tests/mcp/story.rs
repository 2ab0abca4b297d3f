//! A session of an agent: a domain, a mailbox, an alias, DNS, and a deletion that only a person can confirm.

use std::io::Write;

use ground::wait_until;
use serde_json::{Value, json};

use crate::client::{Client, Person, Version};
use crate::world::{LIMIT, World};

/// Writes a call and its answer, for people who run the test with `--nocapture`.
struct Transcript(Vec<String>);

impl Transcript {
    async fn ok(&mut self, client: &mut Client, tool: &str, arguments: Value) -> Value {
        let answer = client.ok(tool, arguments.clone()).await;
        self.0.push(format!("agent: {tool} {arguments}\n  -> {answer}"));
        answer
    }

    async fn fails(&mut self, client: &mut Client, tool: &str, arguments: Value) -> Value {
        let error = client.fails(tool, arguments.clone()).await;
        self.0.push(format!("agent: {tool} {arguments}\n  -> error {error}"));
        error
    }
}

async fn run_session(version: Version, over_http: bool) {
    let mut world = World::with_operator(&["story"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let url = if over_http { Some(world.serve(&["--allow-writes"]).await) } else { None };
    let token = world.token(&account, crate::world::AUDIENCE).await;
    let mut client = match &url {
        Some(url) => Client::http(url, &token, (version, Person::Absent), &world.seen).await,
        None => world.stdio(&account, &["--allow-writes"], version, Person::Absent).await,
    };
    let mut transcript = Transcript(vec![format!("# {version:?}, {}", if over_http { "HTTP" } else { "stdio" })]);

    let answer = transcript
        .ok(&mut client, "create_domain", json!({"namespace": namespace, "domain": "story.test", "waitSeconds": 60}))
        .await;
    assert_eq!(
        (&answer["change"], &answer["ready"], &answer["name"]),
        (&json!("Created"), &json!(true), &json!("story-test"))
    );
    let mailbox = json!({"namespace": namespace, "domain": "story-test", "localPart": "ada", "displayName": "Ada Lovelace", "quota": "1Gi", "waitSeconds": 60});
    let answer = transcript.ok(&mut client, "create_mailbox", mailbox.clone()).await;
    assert_eq!((&answer["address"], &answer["ready"]), (&json!("ada@story.test"), &json!(true)));
    assert_eq!(answer["credentialsSecret"], "ada-mailbox");
    let again = transcript.ok(&mut client, "create_mailbox", mailbox).await;
    assert_eq!(again["change"], "Unchanged");
    let other = json!({"namespace": namespace, "domain": "story-test", "localPart": "ada", "quota": "2Gi"});
    let error = transcript.fails(&mut client, "create_mailbox", other).await;
    assert!(error["error"] == "Conflict" && error["message"].as_str().unwrap().contains("differs in quota"), "{error}");
    let alias = json!({"namespace": namespace, "domain": "story-test", "localPart": "sales", "gotoMailboxes": ["ada"], "waitSeconds": 60.0});
    assert_eq!(transcript.ok(&mut client, "add_alias", alias).await["ready"], true);
    let rule = json!({"namespace": namespace, "name": "invoices", "mailbox": "ada", "waitSeconds": 60,
        "match": {"all": [{"field": "Subject", "operator": "Contains", "values": ["invoice"]}]},
        "actions": [{"forward": {"to": ["books@other.test"]}}]});
    assert_eq!(transcript.ok(&mut client, "create_forwarding_rule", rule).await["ready"], true);
    let message = json!({"namespace": namespace, "mailbox": "ada", "from": "a@vendor.test", "message": "Subject: invoice 7\n\nhello"});
    let tested = transcript.ok(&mut client, "test_forwarding_rules", message).await;
    assert_eq!((&tested["forwards"], &tested["inbox"]), (&json!(["books@other.test"]), &json!(true)));

    let is_checked = wait_until(LIMIT, "DNS to be checked", async || {
        let dns = client.ok("get_domain_dns", json!({"namespace": namespace, "name": "story-test"})).await;
        if dns["records"].as_array().unwrap().is_empty() { Err(dns.to_string()) } else { Ok(()) }
    });
    is_checked.await.unwrap();
    let dns = transcript.ok(&mut client, "get_domain_dns", json!({"namespace": namespace, "name": "story-test"})).await;
    let mx = dns["records"].as_array().unwrap().iter().find(|record| record["type"] == "MX").unwrap();
    assert_eq!((&mx["expected"][0], &dns["verified"]), (&json!("10 mail.host.test."), &json!(false)));

    let state = json!({"namespace": namespace, "name": "ada", "state": "LoginDisabled", "waitSeconds": 60});
    let answer = transcript.ok(&mut client, "set_mailbox_state", state.clone()).await;
    assert_eq!((&answer["change"], &answer["ready"]), (&json!("Changed"), &json!(true)));
    assert_eq!(client.ok("set_mailbox_state", state).await["change"], "Unchanged");
    let listed = client.ok("list_mailboxes", json!({"namespace": namespace, "domain": "story-test"})).await;
    assert_eq!(
        (&listed["items"][0]["state"], &listed["items"][0]["displayName"]["untrustedText"]),
        (&json!("LoginDisabled"), &json!("Ada Lovelace"))
    );
    let explained = transcript
        .ok(&mut client, "explain", json!({"kind": "EmailMailbox", "namespace": namespace, "name": "ada"}))
        .await;
    assert_eq!((&explained["ready"], &explained["deletionPolicy"]), (&json!(true), &json!("Retain")));

    // Nobody there to ask: nothing is deleted.
    let sales = json!({"kind": "EmailAlias", "namespace": namespace, "name": "sales"});
    let plan = transcript.ok(&mut client, "plan_delete", sales.clone()).await;
    assert!(plan["wouldBeLost"][0].as_str().unwrap().contains("sales@story.test"), "{plan}");
    let error = transcript.fails(&mut client, "apply_delete", json!({"digest": plan["digest"]})).await;
    assert!(error["error"] == "NotConfirmed" && error["message"].as_str().unwrap().contains("kubectl -n"), "{error}");

    // Somebody who declines, types something else, or types what was asked.
    let mut client = match &url {
        Some(url) => {
            Client::http(url, &token, (version, Person::Answers(json!({"action": "decline"}))), &world.seen).await
        }
        None => {
            world.stdio(&account, &["--allow-writes"], version, Person::Answers(json!({"action": "decline"}))).await
        }
    };
    let plan = client.ok("plan_delete", sales).await;
    let digest = json!({"digest": plan["digest"]});
    let error = transcript.fails(&mut client, "apply_delete", digest.clone()).await;
    assert!(error["message"].as_str().unwrap().contains("declined"), "{error}");
    client.person = Person::Types("yes".to_owned());
    assert_eq!(client.fails("apply_delete", digest.clone()).await["error"], "NotConfirmed");
    assert!(world.objects(&namespace).await.to_string().contains("sales"));
    client.person = Person::Types("sales@story.test".to_owned());
    transcript.0.push(format!("person: types {:?}", "sales@story.test"));
    transcript.ok(&mut client, "apply_delete", digest.clone()).await;
    let question = client.questions.last().unwrap();
    assert!(question["params"]["message"].as_str().unwrap().contains("sales@story.test"), "{question}");
    let gone = wait_until(LIMIT, "the alias to be gone", async || {
        let objects = world.objects(&namespace).await.to_string();
        if objects.contains("\"sales\"") { Err(objects) } else { Ok(()) }
    });
    gone.await.unwrap();
    assert_eq!(client.fails("apply_delete", digest).await["error"], "Conflict", "a digest counts once");
    assert!(!world.mailcow().api_key().is_empty());
    let _ = writeln!(std::io::stderr(), "\n{}", transcript.0.join("\n"));
    crate::secrets::none_leaked(&world, &[&token]).await;
}

#[tokio::test]
async fn an_agent_works_over_stdio_at_2025_11_25() {
    run_session(Version::Old, false).await;
}

#[tokio::test]
async fn an_agent_works_over_stdio_at_2026_07_28() {
    run_session(Version::New, false).await;
}

#[tokio::test]
async fn an_agent_works_over_http_at_2025_11_25() {
    run_session(Version::Old, true).await;
}

#[tokio::test]
async fn an_agent_works_over_http_at_2026_07_28() {
    run_session(Version::New, true).await;
}

/// Mail that would be destroyed is counted, and the operator gets the confirmation that it asks for.
#[tokio::test]
async fn a_mailbox_with_mail_is_deleted_when_a_person_typed_its_address() {
    let world = World::with_operator(&["mail"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let person = Person::Types("bob@mail.test".to_owned());
    let mut client = world.stdio(&account, &["--allow-writes"], Version::New, person).await;
    client.ok("create_domain", json!({"namespace": namespace, "domain": "mail.test", "waitSeconds": 60})).await;
    client
        .ok(
            "create_mailbox",
            json!({"namespace": namespace, "domain": "mail-test", "localPart": "bob", "waitSeconds": 60}),
        )
        .await;
    world
        .kubectl(&[
            "-n",
            &namespace,
            "patch",
            "embx",
            "bob",
            "--type=merge",
            "-p",
            r#"{"spec":{"deletionPolicy":"Delete"}}"#,
        ])
        .await;
    let bob = json!({"kind": "EmailMailbox", "namespace": namespace, "name": "bob"});
    let ready = wait_until(LIMIT, "the policy to be reported", async || {
        let explained = client.ok("explain", bob.clone()).await;
        if explained["deletionPolicy"] == "Delete" && explained["ready"] == true {
            Ok(())
        } else {
            Err(explained.to_string())
        }
    });
    ready.await.unwrap();
    let plan = client.ok("plan_delete", bob).await;
    assert_eq!(plan["destroysMail"], true, "{plan}");
    client.ok("apply_delete", json!({"digest": plan["digest"]})).await;
    let gone = wait_until(LIMIT, "the mailbox to be gone", async || {
        let objects = world.objects(&namespace).await.to_string();
        if objects.contains("\"bob\"") { Err(objects) } else { Ok(()) }
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn a_rule_that_the_operator_does_not_put_into_force_is_left_out_of_a_test() {
    let world = World::with_operator(&["off"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let mut client = world.stdio(&account, &["--allow-writes"], Version::New, Person::Absent).await;
    client.ok("create_domain", json!({"namespace": namespace, "domain": "off.test", "waitSeconds": 60})).await;
    let mailbox = json!({"namespace": namespace, "domain": "off-test", "localPart": "ada", "waitSeconds": 60});
    client.ok("create_mailbox", mailbox).await;
    // The installation's feature gate TaskDelivery is off, and only the operator knows that.
    let rule = json!({"namespace": namespace, "name": "tasks", "mailbox": "ada", "waitSeconds": 60,
        "actions": [{"createTask": {"sink": "tracker"}}]});
    let answer = client.ok("create_forwarding_rule", rule).await;
    assert_eq!(answer["waitsFor"]["reason"], "FeatureDisabled", "{answer}");
    let message =
        json!({"namespace": namespace, "mailbox": "ada", "from": "a@vendor.test", "message": "Subject: x\n\nhello"});
    let tested = client.ok("test_forwarding_rules", message).await;
    assert_eq!((&tested["queues"], &tested["matched"], &tested["inbox"]), (&json!([]), &json!([]), &json!(true)));
    let remark = tested["remarks"][0]["untrustedText"].as_str().unwrap();
    assert!(remark.contains("tasks: not in force: FeatureDisabled: ") && remark.contains("TaskDelivery"), "{remark}");
}
