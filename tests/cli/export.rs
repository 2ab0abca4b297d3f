//! `export`: manifests of a Mailcow that people filled by hand, and the way from there to the operator and back.

use std::path::Path;

use ground::Folder;
use mailcow_simulator::{FilterKind, Options, SieveFilter, Simulator};
use serde_json::Value;

use crate::world::{Finished, World, call};

/// A Mailcow with a bit of everything, made by hand.
async fn fill(mailcow: &Simulator) {
    mailcow.edit(|state| {
        let domain = state.seed_domain("example.com");
        (domain.description, domain.gal, domain.max_mailboxes) = ("Example Inc.".to_owned(), 0, 20);
        domain.tags = ["customer-42".to_owned()].into();
        state.seed_domain("other.example");
        "Ada".clone_into(&mut state.seed_mailbox("ada@example.com").name);
        state.seed_mailbox("o'neil_b@example.com");
        state.seed_mailbox("x@other.example");
        state.seed_alias_domain("alias.example", "example.com");
        let filter = SieveFilter {
            id: 1,
            username: "ada@example.com".to_owned(),
            kind: FilterKind::Before,
            script: "keep;".to_owned(),
            description: "vacation".to_owned(),
            active: true,
        };
        state.filters.insert(1, filter);
    });
    let by_hand = [
        (
            "edit/mailbox",
            r#"{"items":["ada@example.com"],"attr":{"quota":"77","active":"2","tags":["vip"],"protocol_access":["imap","smtp"]}}"#,
        ),
        ("edit/tls_policy", r#"{"items":["ada@example.com"],"attr":{"tls_enforce_in":"1","tls_enforce_out":"0"}}"#),
        ("edit/rl-mbox", r#"{"items":["ada@example.com"],"attr":{"rl_value":"9","rl_frame":"h"}}"#),
        ("edit/rl-domain", r#"{"items":["example.com"],"attr":{"rl_value":"50","rl_frame":"d"}}"#),
        ("add/dkim", r#"{"domains":"example.com","dkim_selector":"mail","key_size":"2048"}"#),
        ("add/dkim", r#"{"domains":"other.example","dkim_selector":"dkim","key_size":"2048"}"#),
        ("edit/domain", r#"{"items":["other.example"],"attr":{"active":"0"}}"#),
        (
            "add/alias",
            r#"{"address":"info@example.com","goto":"ada@example.com,x@far.example","active":"1","public_comment":"all of us"}"#,
        ),
        ("add/alias", r#"{"address":"@example.com","goto_null":"1","active":"0"}"#),
    ];
    for (path, body) in by_hand {
        let url = format!("{}/api/v1/{path}", mailcow.url());
        let request = reqwest::Client::new().post(url).header("X-API-Key", mailcow.api_key());
        let answer = request.header("Content-Type", "application/json").body(body).send().await.unwrap();
        let done = answer.text().await.unwrap();
        assert!(done.contains("success") && !done.contains("danger"), "{path}: {done}");
    }
    mailcow.clear_log();
}

/// The options with the read-only key in a file.
fn access(mailcow: &Simulator, folder: &Path) -> Vec<String> {
    let file = folder.join("api-key");
    std::fs::write(&file, format!("{}\n", mailcow.read_only_key())).unwrap();
    vec!["--mailcow-url".to_owned(), mailcow.url(), "--mailcow-api-key-file".to_owned(), file.display().to_string()]
}

async fn export(mailcow: &Simulator, folder: &Path, more: &[&str]) -> Finished {
    let access = access(mailcow, folder);
    let arguments: Vec<&str> =
        ["export"].into_iter().chain(access.iter().map(String::as_str)).chain(more.iter().copied()).collect();
    call(&arguments).await
}

#[tokio::test]
async fn a_read_only_key_exports_every_field_in_few_requests_and_names_the_rest() {
    let (mailcow, folder) =
        (Simulator::start(Options::default()).await.unwrap(), Folder::new("export", false).unwrap());
    fill(&mailcow).await;
    let done = export(&mailcow, folder.path(), &["-o", "json", "-n", "mail"]).await;
    assert_eq!((done.code, mailcow.writes()), (0, 0), "{done:?}");
    done.shows(&[
        "exported 2 domains, 3 mailboxes and 2 aliases",
        "passwords stay as they are",
        "alias domains, for which there is no kind: alias.example (example.com)",
    ]);
    let requests: Vec<String> = mailcow.requests().iter().map(|request| request.path.clone()).collect();
    assert!(requests.len() <= 16, "{requests:#?}");
    let all = done.json();
    let spec = |name: &str| -> Value {
        let items = all["items"].as_array().unwrap();
        let found = items.iter().find(|item| item["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {all:#}"))["spec"].clone()
    };
    let domain = spec("example.com");
    assert_eq!((&domain["description"], &domain["globalAddressList"]), (&"Example Inc.".into(), &false.into()));
    assert_eq!(domain["rateLimit"], serde_json::json!({"messages": 50, "per": "Day"}));
    assert_eq!(domain["dkim"], serde_json::json!({"selector": "mail", "keySize": 2048}));
    assert_eq!((&domain["limits"]["mailboxes"], &domain["tags"]), (&20.into(), &serde_json::json!(["customer-42"])));
    assert_eq!(spec("other.example")["active"], false);
    let ada = spec("ada.example.com");
    let expected = serde_json::json!({
        "localPart": "ada", "domainRef": {"name": "example.com"}, "displayName": "Ada", "quota": "77Mi",
        "state": "LoginDisabled", "protocols": ["IMAP", "SMTP", "SOGo"], "tags": ["vip"],
        "rateLimit": {"messages": 9, "per": "Hour"}, "tls": {"enforceIncoming": true, "enforceOutgoing": false},
    });
    assert_eq!(ada, expected);
    assert_eq!(spec("info.example.com")["publicComment"], "all of us");
    assert_eq!(spec("catch-all.example.com")["sink"], "Discard");

    let done = export(&mailcow, folder.path(), &["--domain", "exmaple.com"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["no domain exmaple.com; did you mean example.com?"]);
    let done = export(&mailcow, folder.path(), &["--domain", "EXAMPLE.com"]).await;
    assert_eq!(done.code, 0);
    assert!(done.out.contains("\"vacation\" is its user's own Sieve script"), "{}", done.out);
    assert!(!done.out.contains("other.example"), "{}", done.out);
}

#[tokio::test]
async fn a_folder_has_a_file_for_each_domain_and_never_half_of_one() {
    let (mailcow, folder) =
        (Simulator::start(Options::default()).await.unwrap(), Folder::new("export", false).unwrap());
    fill(&mailcow).await;
    let out = folder.path().join("mail/manifests");
    let out_text = out.display().to_string();
    let files = || {
        let mut names: Vec<String> =
            std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let done = export(&mailcow, folder.path(), &["--out", &out_text]).await;
    assert_eq!((done.code, done.out.as_str()), (0, ""), "{done:?}");
    assert_eq!(files(), ["example.com.yaml", "other.example.yaml"]);
    let before = std::fs::read_to_string(out.join("other.example.yaml")).unwrap();
    assert!(before.starts_with("# other.example on http://127.0.0.1:"), "{before}");

    // Ctrl-C while Mailcow takes its time with the second domain.
    mailcow.edit(|state| state.mailbox_mut("x@other.example").unwrap().name = "X".to_owned());
    let slow = mailcow_simulator::Trouble::Slow(std::time::Duration::from_secs(20));
    mailcow.fault(mailcow_simulator::Fault::once("get/dkim/other.example", slow));
    let access = access(&mailcow, folder.path());
    let arguments: Vec<&str> =
        ["export", "--out", &out_text].into_iter().chain(access.iter().map(String::as_str)).collect();
    let child = crate::world::program(&arguments).spawn().unwrap();
    ground::wait_until(crate::world::LIMIT, "the request for the second key", async || {
        let asked = mailcow.requests().iter().filter(|request| request.path.contains("get/dkim/example.com")).count();
        if asked == 2 { Ok(()) } else { Err(asked) }
    })
    .await
    .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let pid = child.id().unwrap();
    assert!(std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
    let done = Finished::of(child.wait_with_output().await.unwrap());
    assert_eq!(done.code, 1, "{done:?}");
    done.shows(&["interrupted"]);
    assert_eq!(files(), ["example.com.yaml", "other.example.yaml"], "no half file, no temporary file");
    assert_eq!(std::fs::read_to_string(out.join("other.example.yaml")).unwrap(), before);
}

#[tokio::test]
async fn wrong_access_is_told_apart() {
    let (mailcow, folder) =
        (Simulator::start(Options::default()).await.unwrap(), Folder::new("export", false).unwrap());
    let key = folder.write("wrong", "WRONG0-WRONG0-WRONG0-WRONG0-WRONG0").unwrap().display().to_string();
    let done = call(&["export", "--mailcow-url", &mailcow.url(), "--mailcow-api-key-file", &key]).await;
    assert_eq!(done.code, 1);
    done.shows(&["refuses the API key or your IP address", "authentication failed"]);
    assert!(!done.err.contains("WRONG0"));
    let nobody = format!("http://127.0.0.1:{}", ground::free_port().unwrap());
    let done = call(&["export", "--mailcow-url", &nobody, "--mailcow-api-key-file", &key]).await;
    assert_eq!(done.code, 3, "{done:?}");
    assert_eq!(call(&["export", "--mailcow-url", &nobody]).await.code, 2);
    let done = call(&["export", "--mailcow-url", "mail.example.com", "--mailcow-api-key-file", &key]).await;
    assert_eq!(done.code, 1);
    done.shows(&["use a URL such as https://mail.example.com"]);
}

#[tokio::test]
async fn the_operators_connection_is_used_and_who_may_not_read_it_is_told_so() {
    let world = World::prepare("access").await;
    fill(&world.mailcow).await;
    let done = world.email(&["export", "-o", "json"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["the Secret mailcow-operator-mailcow", "does not exist", "--mailcow-url"]);
    world.connect().await;
    let done = world.email(&["export", "-o", "json"]).await;
    assert_eq!((done.code, done.json()["items"].as_array().unwrap().len()), (0, 7), "{done:?}");

    // Somebody who may look at everything but Secrets.
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: viewer}";
    world.apply(account).await;
    let subject = format!("--serviceaccount={}:viewer", world.namespace);
    world.kubectl(&["create", "rolebinding", "viewer", "--clusterrole=view", &subject]).await;
    let viewer = world.plane.service_account_kubeconfig(&world.namespace, "viewer").await.unwrap();
    let viewer = viewer.display().to_string();
    let done = call(&["export", "--kubeconfig", &viewer, "--operator-namespace", &world.namespace]).await;
    assert_eq!(done.code, 1);
    done.shows(&["no right to get secrets", "--mailcow-api-key-file"]);
    let done = world.email(&["export", "--server", "internl"]).await;
    assert_eq!(done.code, 1);
    done.shows(&["has no server internl"]);
}

#[tokio::test]
async fn a_mailcow_that_is_run_by_hand_is_taken_over_with_nothing_but_marks_and_let_go_again() {
    let world = World::new("migration").await;
    fill(&world.mailcow).await;
    let exported = world.email(&["export", "--paused"]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    world.mailcow.clear_log();
    world.apply(&exported.out).await;
    world.until("edom/example.com", "Paused", "True").await;
    let message = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;
    let of = async |object: &str| world.kubectl(&["get", object, "-o", message]).await;
    assert_eq!(of("edom/example.com").await, "paused; not written: ownership mark");
    assert_eq!(world.mailcow.writes(), 0);
    world.email(&["resume", "edom/example.com", "edom/other.example", "--wait"]).await;
    world.ready("edom/example.com").await;
    let objects = [
        "embx/ada.example.com",
        "embx/o-neil-b.example.com",
        "ealias/info.example.com",
        "ealias/catch-all.example.com",
    ];
    for object in objects {
        world.until(object, "Paused", "True").await;
        ground::wait_until(crate::world::LIMIT, object, async || {
            let done = of(object).await;
            if done == "paused; not written: ownership mark" { Ok(()) } else { Err(done) }
        })
        .await
        .unwrap();
    }
    let done = world.email(&["resume", "--all", "--wait"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let secrets = world.kubectl(&["get", "secrets", "-o", "name"]).await;
    assert!(!secrets.contains("ada"), "a mailbox that was there keeps its password: {secrets}");
    let marks = world.mailcow.writes();
    let objects: Vec<&str> = exported.out.matches("\nkind: Email").collect();
    assert!(marks <= objects.len() + 1, "{:?}", world.mailcow.requests());

    // What objects manage is not exported again, unless it is asked for; then it keeps its names.
    let done = world.email(&["export", "-o", "json"]).await;
    assert_eq!(done.json()["items"], serde_json::json!([]));
    done.shows(&["left out 7 entries"]);
    let done = world.email(&["export", "--managed"]).await.out;
    assert!(
        done.contains(&format!("# managed by EmailDomain {}/example.com of the cluster testing", world.namespace)),
        "{done}"
    );

    // And back.
    for alias in ["info.example.com", "catch-all.example.com"] {
        let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
        world.kubectl(&["patch", "ealias", alias, "--type=merge", "-p", retain]).await;
    }
    world.ready("ealias/info.example.com").await;
    world.ready("ealias/catch-all.example.com").await;
    world.kubectl(&["delete", "ealias,embx,edom", "--all", "--timeout=60s"]).await;
    let again = world.email(&["export", "--paused"]).await.out;
    let manifests = |text: &str| -> Vec<Value> {
        use serde::Deserialize as _;
        serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
    };
    let expected: Vec<Value> = manifests(&exported.out);
    assert_eq!(manifests(&again), expected);
}
