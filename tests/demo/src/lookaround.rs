//! A look at the other side: what Mailcow's API tells, and the Secret that was generated.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::stage::{DOMAIN, NAMESPACE, Stage};
use crate::voice::{Voice, table};

/// Shows the domain, its mailboxes, aliases and filters as Mailcow's API tells them.
pub(crate) async fn mailcow(stage: &Stage, voice: &Voice) -> Result<()> {
    voice.chapter("The same objects on Mailcow, from its API")?;
    let domain = get(stage, &format!("domain/{DOMAIN}")).await?;
    let mailboxes = get(stage, "mailbox/all").await?;
    let aliases = get(stage, "alias/all").await?;
    let filters = get(stage, "filters/all").await?;
    let mut rows = vec![of_domain(&domain)];
    rows.extend(items(&mailboxes).map(of_mailbox));
    rows.extend(items(&aliases).map(of_alias));
    rows.extend(items(&filters).map(of_filter));
    voice.show(&table(&rows))?;
    Ok(())
}

/// Shows the keys of the generated Secret; its values stay where they are.
pub(crate) async fn secret(stage: &Stage, voice: &Voice) -> Result<()> {
    voice.chapter("The generated Secret of ada (keys only)")?;
    let text = stage.kubectl(&["-n", NAMESPACE, "get", "secret", "ada-mailbox", "-o", "json"]).await?;
    let secret: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Unreadable { what: "the Secret ada-mailbox", why: error.to_string() })?;
    let keys: Vec<&str> = secret["data"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    voice.show(&format!("ada-mailbox ({}): {}", secret["type"].as_str().unwrap_or_default(), keys.join(" ")))?;
    Ok(())
}

/// Reads with the key that may only read.
async fn get(stage: &Stage, what: &str) -> Result<Value> {
    // A second installation is refused, and the first one is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = format!("/api/v1/get/{what}");
    let failed = |source: reqwest::Error| Error::Mailcow { path: path.clone(), source };
    let url = format!("{}{path}", stage.mailcow.url());
    let client = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
    let request = client.get(url).header("X-API-Key", stage.mailcow.read_only_key());
    let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    answer.json().await.map_err(failed)
}

/// The items of a list; Mailcow writes an empty one as an object.
fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Bytes as Mailcow counts them, in GiB.
fn gib(value: &Value) -> String {
    format!("{}Gi", value.as_u64().unwrap_or_default() >> 30)
}

fn of_domain(domain: &Value) -> [String; 3] {
    let limits = format!(
        "up to {} mailboxes and {} aliases, {} each, {} in all",
        domain["max_num_mboxes_for_domain"],
        domain["max_num_aliases_for_domain"],
        gib(&domain["max_quota_for_mbox"]),
        gib(&domain["max_quota_for_domain"])
    );
    ["domain".to_owned(), text(&domain["domain_name"]), limits]
}

fn of_mailbox(mailbox: &Value) -> [String; 3] {
    [
        "mailbox".to_owned(),
        text(&mailbox["username"]),
        format!("{}, {}", text(&mailbox["name"]), gib(&mailbox["quota"])),
    ]
}

fn of_alias(alias: &Value) -> [String; 3] {
    ["alias".to_owned(), text(&alias["address"]), format!("to {}", text(&alias["goto"]))]
}

fn of_filter(filter: &Value) -> [String; 3] {
    let is_active = filter["active"].as_u64() == Some(1);
    let lines = text(&filter["script_data"]).lines().count();
    let state = if is_active { "active" } else { "not active" };
    [
        "filter".to_owned(),
        text(&filter["username"]),
        format!("{}, {state}, {lines} lines", text(&filter["filter_type"])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quotas_are_shown_in_gib() {
        assert_eq!(gib(&json!(5_u64 << 30)), "5Gi");
        assert_eq!(of_mailbox(&json!({"username": "a@b.c", "name": "A", "quota": 1_u64 << 30}))[2], "A, 1Gi");
    }

    #[test]
    fn an_empty_list_may_be_an_object() {
        assert_eq!(items(&json!({})).count(), 0);
        assert_eq!(items(&json!([1, 2])).count(), 2);
    }
}
