//! What Mailcow makes of values that are empty, or that PHP holds for empty: `"0"`, `""`, `" "`, `null`, `false`.

#![expect(clippy::expect_used, reason = "a test stops where something is not as it must be")]

mod asking;

use mailcow_simulator::{Json, Options, Simulator};

async fn started() -> Simulator {
    let simulator = Simulator::start(Options::default()).await.expect("it starts");
    simulator.edit(|state| {
        state.seed_domain("acme.test");
        "Ada".clone_into(&mut state.seed_mailbox("ada@acme.test").name);
        state.seed_alias("info@acme.test", "ada@acme.test");
    });
    simulator
}

/// The body of the answer to a write.
async fn write(simulator: &Simulator, path: &str, body: &str) -> String {
    let answer = asking::ask(simulator, "POST", path, body).await.expect("an answer");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// One value of what a read shows.
async fn read(simulator: &Simulator, path: &str, key: &str) -> Json {
    let answer = asking::ask(simulator, "GET", path, "").await.expect("an answer");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Json::parse(body).expect("JSON").get(key).clone()
}

/// Edits one object with each value and gives what a field is after each.
async fn after(simulator: &Simulator, kind: &str, name: &str, field: (&str, &str), values: &[&str]) -> Vec<Json> {
    let mut seen = Vec::new();
    for value in values {
        let edit = format!(r#"{{"items":["{name}"],"attr":{{"{}":{value}}}}}"#, field.0);
        let answer = write(simulator, &format!("edit/{kind}"), &edit).await;
        assert!(answer.contains("success"), "{value}: {answer}");
        seen.push(read(simulator, &format!("get/{kind}/{name}"), field.1).await);
    }
    seen
}

const EMPTY: [&str; 4] = [r#""0""#, r#""""#, "null", "false"];

#[tokio::test]
async fn texts_are_kept_and_a_blank_is_one() {
    let simulator = started().await;
    for (kind, name, field, was) in [
        ("domain", "acme.test", ("description", "description"), "acme.test"),
        ("mailbox", "ada@acme.test", ("name", "name"), "Ada"),
        ("alias", "info@acme.test", ("goto", "goto"), "ada@acme.test"),
    ] {
        let kept = after(&simulator, kind, name, field, &EMPTY).await;
        assert_eq!(kept, vec![Json::from(was); 4], "{kind}");
    }
    let blank = after(&simulator, "domain", "acme.test", ("description", "description"), &[r#"" ""#]).await;
    assert_eq!(blank, [Json::from(" ")]);
    let comments = [r#""c""#, "null", r#""0""#, r#""""#];
    let seen = after(&simulator, "alias", "info@acme.test", ("private_comment", "private_comment"), &comments).await;
    assert_eq!(seen, ["c", "c", "0", ""].map(Json::from));
}

#[tokio::test]
async fn a_quota_is_kept_or_becomes_no_limit() {
    let simulator = started().await;
    let field = ("quota", "quota");
    let seen = after(&simulator, "mailbox", "ada@acme.test", field, &["7", r#""""#, "null", "false"]).await;
    assert_eq!(seen, vec![Json::Int(7 << 20); 4]);
    for none in [r#"" ""#, r#""abc""#, r#""0""#] {
        let seen = after(&simulator, "mailbox", "ada@acme.test", field, &["7", none]).await;
        assert_eq!(seen[1], Json::Int(0), "{none}");
    }
    let active =
        after(&simulator, "mailbox", "ada@acme.test", ("active", "active"), &["1", r#""""#, "1", r#"" ""#]).await;
    assert_eq!(active, [1, 0, 1, 0].map(Json::from));
    let add = r#"{"domain":"neg.test","defquota":-1,"maxquota":10,"quota":100}"#;
    assert!(write(&simulator, "add/domain", add).await.contains("domain_added"));
}

#[tokio::test]
async fn empty_tags_vanish_and_twice_the_same_is_too_much() {
    let simulator = started().await;
    let add = r#"{"domain":"tags.test","defquota":1,"maxquota":10,"quota":100,"tags":["0",""," b ","a"]}"#;
    assert!(write(&simulator, "add/domain", add).await.contains("domain_added"));
    assert_eq!(read(&simulator, "get/domain/tags.test", "tags").await, Json::from(vec![" b ", "a"]));
    let twice = r#"{"domain":"twice.test","defquota":1,"maxquota":10,"quota":100,"tags":["a","A"]}"#;
    assert_eq!(write(&simulator, "add/domain", twice).await, "");
    assert_eq!(read(&simulator, "get/domain/twice.test", "tags").await, Json::from(vec!["a"]), "half of it is done");
}

#[tokio::test]
async fn attributes_keep_their_types_and_may_look_like_a_list() {
    let simulator = started().await;
    let path = "edit/mailbox/custom-attribute";
    let edit = |names: &str, values: &str| {
        format!(r#"{{"items":["ada@acme.test"],"attr":{{"attribute":{names},"value":{values}}}}}"#)
    };
    assert!(write(&simulator, path, &edit(r#"["a","b c"]"#, r#"[1,"2"]"#)).await.contains("success"));
    let seen = read(&simulator, "get/mailbox/ada@acme.test", "custom_attributes").await;
    assert_eq!((seen.get("a"), seen.get("bc")), (&Json::Int(1), &Json::from("2")));
    assert_eq!(write(&simulator, path, &edit(r#"["a","b"]"#, "[1]")).await, "");
    assert!(write(&simulator, path, &edit(r#"["0"]"#, r#"["x"]"#)).await.contains("success"));
    let seen = read(&simulator, "get/mailbox/ada@acme.test", "custom_attributes").await;
    assert_eq!(seen, Json::from(vec!["x"]));
}

#[tokio::test]
async fn a_zero_is_a_name_for_an_alias_only() {
    let simulator = started().await;
    let alias = r#"{"address":"0@acme.test","goto":"ada@acme.test","active":1}"#;
    assert!(write(&simulator, "add/alias", alias).await.contains("alias_added"));
    let mailbox = r#"{"local_part":"0","domain":"acme.test","password":"secret12","password2":"secret12","quota":1}"#;
    assert!(write(&simulator, "add/mailbox", mailbox).await.contains("mailbox_invalid"));
    let filter = r#"{"username":"ada@acme.test","filter_type":"prefilter","script_data":"keep;","script_desc":"0"}"#;
    assert!(write(&simulator, "add/filter", filter).await.contains("value_missing"));
}
