//! Moving in, as `docs/migration.md` says: the page's own script, against a Mailcow that people filled by hand.

use k8s_openapi::api::core::v1::Secret;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};
use tokio::process::Command;

use crate::world::{World, message};

const PAUSED: &str = "email.askrobots.com/paused-";

/// The page's script, run where the key is; gives the manifests that it makes.
async fn manifests(world: &World) -> String {
    let page = include_str!("../../docs/migration.md");
    let script = page.split("```bash\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = std::env::temp_dir().join(format!("{}-{}", world.namespace, std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("api-key"), world.mailcow.api_key()).unwrap();
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(&folder).env("MAILCOW", world.mailcow.url());
    // The server answers from this very thread.
    let status = command.status().await;
    let made = std::fs::read_to_string(folder.join("mailcow.json"));
    let _ = std::fs::remove_dir_all(&folder);
    assert!(status.unwrap().success());
    made.unwrap()
}

/// A Mailcow with a bit of everything, made by hand.
async fn filled(world: &World) {
    world.mailcow.edit(|state| {
        state.seed_domain("example.com");
        state.seed_mailbox("ada@example.com");
        state.seed_mailbox("o'neil_b@example.com");
    });
    let by_hand = [
        ("edit/mailbox", r#"{"items":["ada@example.com"],"attr":{"quota":"77","active":"2","name":"Ada"}}"#),
        ("add/dkim", r#"{"domains":"example.com","dkim_selector":"mail","key_size":"2048"}"#),
        ("edit/domain", r#"{"items":["example.com"],"attr":{"active":"0"}}"#),
        ("add/alias", r#"{"address":"info@example.com","goto":"ada@example.com,x@far.example","active":"1"}"#),
        ("add/alias", r#"{"address":"@example.com","goto_null":"1","active":"0"}"#),
    ];
    for (path, body) in by_hand {
        let url = format!("{}/api/v1/{path}", world.mailcow.url());
        let request = reqwest::Client::new().post(url).header("X-API-Key", world.mailcow.api_key());
        let answer = request.header("Content-Type", "application/json").body(body).send().await.unwrap();
        let said = answer.text().await.unwrap();
        assert!(said.contains("success") && !said.contains("danger"), "{path}: {said}");
    }
}

async fn only_the_mark<K: crate::world::Email>(world: &World, name: &str) {
    let paused: K = world.condition(name, ("Ready", "False", "Paused")).await;
    assert_eq!(message(&paused, "Ready"), "paused; not written: ownership mark", "{name}");
}

#[tokio::test]
async fn a_mailcow_that_is_run_by_hand_is_taken_over_with_nothing_but_marks_and_let_go_again() {
    let world = World::new("migration").await;
    filled(&world).await;
    let made: serde_json::Value = serde_json::from_str(&manifests(&world).await).unwrap();
    let items = made["items"].as_array().unwrap();
    let of_kind = |kind: &str| -> Vec<&str> {
        items
            .iter()
            .filter(|item| item["kind"] == kind)
            .map(|item| item["metadata"]["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(of_kind("EmailDomain"), ["example.com"]);
    assert_eq!(of_kind("EmailMailbox"), ["ada.example.com", "o-neil-b.example.com"]);
    let aliases = of_kind("EmailAlias");
    assert_eq!(aliases.len(), 2, "{items:#?}");
    world.mailcow.clear_log();
    world.apply(&made.to_string()).await;

    only_the_mark::<EmailDomain>(&world, "example.com").await;
    world.condition::<EmailMailbox>("ada.example.com", ("Ready", "False", "DomainNotReady")).await;
    assert_eq!(world.mailcow.writes(), 0);
    world.kubectl(&["annotate", "edom", "--all", PAUSED]).await;
    world.ready::<EmailDomain>("example.com").await;
    for mailbox in of_kind("EmailMailbox") {
        only_the_mark::<EmailMailbox>(&world, mailbox).await;
    }
    for alias in &aliases {
        only_the_mark::<EmailAlias>(&world, alias).await;
    }
    world.kubectl(&["annotate", "embx,ealias", "--all", PAUSED]).await;
    for mailbox in of_kind("EmailMailbox") {
        world.ready::<EmailMailbox>(mailbox).await;
    }
    for alias in &aliases {
        world.ready::<EmailAlias>(alias).await;
    }
    assert!(world.api::<Secret>().get_opt("ada.example.com-mailbox").await.unwrap().is_none());

    for alias in &aliases {
        let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
        world.kubectl(&["patch", "ealias", alias, "--type=merge", "-p", retain]).await;
        world.ready::<EmailAlias>(alias).await;
    }
    world.kubectl(&["delete", "ealias,embx,edom", "--all", "--timeout=30s"]).await;
    world.gone::<EmailDomain>("example.com").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&manifests(&world).await).unwrap(), made);
    for kind in ["domain", "mailbox", "alias"] {
        let url = format!("{}/api/v1/get/{kind}/all", world.mailcow.url());
        let request = reqwest::Client::new().get(url).header("X-API-Key", world.mailcow.api_key());
        let shown = request.send().await.unwrap().text().await.unwrap();
        assert!(shown.contains("example.com") && !shown.contains("mailcow-operator/"), "{shown}");
    }
}
