//! Calls that wait, as tasks: the extension `io.modelcontextprotocol/tasks`.

use ground::wait_until;
use serde_json::{Value, json};

use crate::client::{Client, Person, Version, error_of};
use crate::world::{AUDIENCE, LIMIT, World};

/// Starts a call that waits for an operator that does not run, and gives the answer.
async fn started(client: &mut Client, namespace: &str, name: &str) -> Value {
    client.has_tasks = true;
    let arguments = json!({"namespace": namespace, "domain": "none", "localPart": name, "waitSeconds": 120});
    client.request("tools/call", json!({"name": "create_mailbox", "arguments": arguments})).await.unwrap()
}

/// The state of a task once it is as wanted.
async fn state(client: &mut Client, id: &Value, is_it: impl Fn(&Value) -> bool) -> Value {
    let reached = wait_until(LIMIT, "the state of the task", async || {
        let task = client.request("tasks/get", json!({"taskId": id})).await.unwrap();
        if is_it(&task) { Ok(task) } else { Err(task.to_string()) }
    });
    reached.await.unwrap()
}

/// Reports a mailbox as the operator does.
async fn ready(world: &World, namespace: &str, name: &str) {
    let status = json!({"status": {"address": format!("{name}@x.test"), "conditions": [{"type": "Ready", "status": "True",
        "reason": "InSync", "message": "m", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let args =
        ["-n", namespace, "patch", "embx", name, "--subresource=status", "--type=merge", "-p", &status.to_string()];
    let patched = world.kubectl(&args).await;
    assert!(patched.contains("patched"), "{patched}");
}

#[tokio::test]
async fn a_call_that_waits_is_a_task_of_its_caller_where_the_client_has_the_extension() {
    let mut world = World::new(&["tasks"]).await;
    let url = world.serve(&["--allow-writes"]).await;
    let (namespace, account, other) =
        (world.namespaces[0].clone(), world.agent("agent").await, world.agent("other").await);
    let (token, other) = (world.token(&account, AUDIENCE).await, world.token(&other, AUDIENCE).await);
    let mut client = Client::http(&url, &token, (Version::New, Person::Absent), &world.seen).await;
    let task = started(&mut client, &namespace, "ada").await;
    assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")), "{task}");
    assert!(task["ttlMs"].is_u64() && task["pollIntervalMs"].is_u64(), "{task}");
    let waiting = state(&mut client, &task["taskId"], |task| task["statusMessage"] == "waiting for the operator").await;
    assert_eq!(waiting["status"], "working", "{waiting}");
    // For others it does not exist, and they can't end it.
    let mut stranger = Client::http(&url, &other, (Version::New, Person::Absent), &world.seen).await;
    stranger.has_tasks = true;
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        let mut errors = Vec::new();
        for id in [&task["taskId"], &json!("00000000-0000-4000-8000-000000000000")] {
            errors.push(stranger.request(method, json!({"taskId": id, "inputResponses": {}})).await.unwrap_err());
        }
        assert_eq!(errors[0]["code"], -32602, "{method}");
        assert_eq!(errors[0], errors[1], "{method}");
    }
    ready(&world, &namespace, "ada").await;
    let done = state(&mut client, &task["taskId"], |task| task["status"] == "completed").await;
    let answer = &done["result"]["structuredContent"];
    assert_eq!((&answer["change"], &answer["ready"]), (&json!("Created"), &json!(true)), "{done}");
    assert_eq!(answer["credentialsSecret"], "ada-mailbox");
    // The object is ready now: a repeated call is answered at once.
    let again = started(&mut client, &namespace, "ada").await;
    assert_eq!(
        (&again["resultType"], &again["structuredContent"]["change"]),
        (&json!("complete"), &json!("Unchanged"))
    );
}

#[tokio::test]
async fn a_cancelled_task_ends_with_what_is_known_and_the_object_stays() {
    let world = World::new(&["ended"]).await;
    let (namespace, account) = (world.namespaces[0].clone(), world.agent("agent").await);
    let mut client = world.stdio(&account, &["--allow-writes"], Version::New, Person::Absent).await;
    let task = started(&mut client, &namespace, "bob").await;
    assert_eq!(task["resultType"], "task", "{task}");
    client.request("tasks/cancel", json!({"taskId": task["taskId"]})).await.unwrap();
    let done = state(&mut client, &task["taskId"], |task| task["status"] != "working").await;
    let answer = &done["result"]["structuredContent"];
    assert_eq!((&answer["change"], &answer["ready"]), (&json!("Created"), &json!(false)), "{done}");
    assert_eq!(world.objects(&namespace).await.as_array().unwrap().len(), 1);
    // Wrong arguments and reading need no task.
    let wrong =
        json!({"name": "create_mailbox", "arguments": {"namespace": namespace, "domain": "d", "localPart": "a b"}});
    let wrong = client.request("tools/call", wrong).await.unwrap();
    assert_eq!(error_of(&wrong).unwrap()["problems"][0]["field"], "localPart", "{wrong}");
    client.ok("list_mailboxes", json!({"namespace": namespace})).await;
    // A client without the extension waits, and is told what it lacks when it asks for a task.
    client.has_tasks = false;
    let arguments = json!({"namespace": namespace, "domain": "none", "localPart": "bob", "waitSeconds": 3});
    assert_eq!(client.ok("create_mailbox", arguments).await["change"], "Unchanged");
    let error = client.request("tasks/get", json!({"taskId": task["taskId"]})).await.unwrap_err();
    assert_eq!(error["code"], -32021, "{error}");
}
