//! What a run left behind, as lines of text that can be compared: Mailcow's state and what Kubernetes says, without
//! times, ids and what is random.

use std::collections::BTreeMap;

use mailcow_simulator::State;
use serde_json::Value;

use crate::truth;

/// One line for each fact: where, and what.
pub(crate) type Facts = BTreeMap<String, String>;

/// Fields that differ from run to run.
const FLEETING: [&str; 21] = [
    "lastTransitionTime",
    "lastChecked",
    "nextCheck",
    "since",
    "failingSince",
    "lastHandledReconcileAt",
    "creationTimestamp",
    "deletionTimestamp",
    "uid",
    "resourceVersion",
    "generation",
    "managedFields",
    "passwordVersion",
    "aliasId",
    "scriptHash",
    "hash",
    "namespaceDigest",
    "observedGeneration",
    "syncedGeneration",
    "syncedDomainGeneration",
    "selfLink",
];

/// Where the chart has the operator keep app passwords: the beginning of the names of several Secrets.
const APP_PASSWORDS: &str = "mailcow-operator-app-passwords";

/// What one server holds.
pub(crate) fn mailcow(facts: &mut Facts, server: &str, state: &State) {
    let mut fact = |place: String, value: String| facts.insert(format!("{server}: {place}"), value);
    for domain in state.domains.values() {
        let mut shown = domain.clone();
        shown.created.clear();
        shown.modified = None;
        fact(format!("domain {}", domain.name), without_uids(&format!("{shown:?}")));
    }
    for mailbox in state.mailboxes.values() {
        let mut shown = mailbox.clone();
        shown.created.clear();
        shown.modified = None;
        shown.attributes.passwd_update.clear();
        shown.attributes.attribute_hash.clear();
        // It comes with the first edit, whatever that changes.
        shown.attributes.recovery_email = None;
        // How often it was set is judged on the way: after a crash it may be sent again.
        shown.password_changes = shown.password_changes.min(1);
        shown.sender_acl.sort();
        fact(format!("mailbox {}", mailbox.username), without_uids(&format!("{shown:?}")));
    }
    for alias in state.aliases.values().filter(|alias| !alias.is_own_row()) {
        let mut shown = alias.clone();
        shown.id = 0;
        shown.created.clear();
        shown.modified = None;
        let mut goto: Vec<&str> = alias.gotos().collect();
        goto.sort_unstable();
        shown.goto = goto.join(",");
        fact(format!("alias {}", alias.address), without_uids(&format!("{shown:?}")));
    }
    let mut opened: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for password in state.app_passwords.values() {
        // The name ends with a digest of the password.
        let name = password.name.rsplit_once(' ').map_or(password.name.as_str(), |(name, _)| name);
        let shown = format!("{} {:?} {}", without_uids(name), password.protocols, password.active);
        opened.entry(&password.mailbox).or_default().push(shown);
    }
    for (mailbox, mut passwords) in opened {
        passwords.sort();
        fact(format!("app passwords {mailbox}"), passwords.join(", "));
    }
    for (of, rate) in &state.rate_limits {
        fact(format!("rate {of}"), format!("{rate:?}"));
    }
    for (of, key) in &state.dkim {
        fact(format!("dkim {of}"), key.selector.clone());
    }
    let mut filters: Vec<String> = state
        .filters
        .values()
        .map(|filter| {
            let mut shown = filter.clone();
            shown.id = 0;
            format!("{}{:?}", if truth::owner(&filter.script).is_some() { "ours " } else { "" }, without_hashes(&shown))
        })
        .collect();
    filters.sort();
    for (n, filter) in filters.into_iter().enumerate() {
        fact(format!("filter {n}"), without_uids(&filter));
    }
}

fn without_hashes(filter: &mailcow_simulator::SieveFilter) -> mailcow_simulator::SieveFilter {
    let mut shown = filter.clone();
    // The hash of the script is over its uids too; which of somebody's filters was displaced has a number.
    let word = |word: &str| {
        let is_hex = word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
        if is_hex || word.starts_with("sha256=") { "HASH".to_owned() } else { word.to_owned() }
    };
    let line = |text: &str| text.split(' ').map(word).collect::<Vec<_>>().join(" ");
    shown.script = filter.script.lines().map(line).collect::<Vec<_>>().join("\n");
    shown.description = line(&filter.description);
    shown
}

/// One object of ours, or one that the operator made.
pub(crate) fn object(facts: &mut Facts, kind: &str, object: &Value) {
    let metadata = &object["metadata"];
    // Other Secrets and ConfigMaps are those of the story.
    let is_made = metadata["labels"]["app.kubernetes.io/managed-by"] == "mailcow-operator";
    if ["Secret", "ConfigMap"].contains(&kind) && !is_made {
        return;
    }
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let data = || object["data"].as_object().into_iter().flat_map(|data| data.keys());
    if kind == "Secret" && text("name").starts_with(APP_PASSWORDS) {
        // Which Secret holds a mailbox's app password, and under which key, follows from the mailbox's uid.
        let count = facts.entry(format!("Secret {}/{APP_PASSWORDS} app passwords", text("namespace"))).or_default();
        *count = (count.parse().unwrap_or(0) + data().count()).to_string();
        return;
    }
    let place = format!("{kind} {}/{}", text("namespace"), text("name"));
    let mut put = |what: &str, value: String| facts.insert(format!("{place} {what}"), value);
    put("is deleted", (!metadata["deletionTimestamp"].is_null()).to_string());
    for field in ["finalizers", "labels"] {
        put(field, metadata[field].to_string());
    }
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let owners: Vec<String> = owners.map(|owner| format!("{}/{}", owner["kind"], owner["name"])).collect();
    put("owners", owners.join(" "));
    if kind == "Secret" {
        put("keys", format!("{:?}", data().collect::<Vec<_>>()));
        put("type", object["type"].to_string());
        return;
    }
    let current = object["status"]["observedGeneration"] == metadata["generation"];
    put("status is current", current.to_string());
    leaves(facts, &format!("{place} status"), &object["status"]);
}

/// Every leaf of a value, but for what is fleeting.
fn leaves(facts: &mut Facts, place: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| !FLEETING.contains(&name.as_str())) {
                if ["record", "expected", "observed", "hint", "propagation", "source"].contains(&name.as_str()) {
                    continue; // they hold the DKIM key, or when a name server was asked
                }
                leaves(facts, &format!("{place}.{name}"), value);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                // Conditions and records go by their type, not by their place.
                let name = item["type"].as_str().map_or_else(|| n.to_string(), str::to_owned);
                leaves(facts, &format!("{place}.{name}"), item);
            }
        }
        leaf => {
            facts.insert(place.to_owned(), without_uids(&leaf.to_string()));
        }
    }
}

/// A text with uids cut out of it.
fn without_uids(text: &str) -> String {
    let is_uid = |piece: &str| {
        piece.len() == 36
            && piece.chars().enumerate().all(|(n, c)| match n {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..36) {
            Some(piece) if is_uid(piece) => {
                out.push_str("UID");
                rest = &rest[36..];
            }
            _ => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// In what two sets of facts differ, in at most so many lines.
pub(crate) fn difference(wanted: &Facts, have: &Facts, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, value) in wanted {
        match have.get(place) {
            None => lines.push(format!("missing: {place} = {value}")),
            Some(other) if other != value => lines.push(format!("{place} = {}", around(value, other))),
            Some(_) => {}
        }
    }
    let more = have.iter().filter(|(place, _)| !wanted.contains_key(*place));
    lines.extend(more.map(|(place, value)| format!("too much: {place} = {value}")));
    lines.truncate(most);
    lines
}

/// The part where two long texts differ.
fn around(wanted: &str, have: &str) -> String {
    let same = wanted.bytes().zip(have.bytes()).take_while(|(one, other)| one == other).count();
    let from = |text: &str| {
        let start = (0..=same.saturating_sub(30)).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
        text[start..].chars().take(160).collect::<String>()
    };
    format!("{} instead of {}", from(have), from(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_fleeting_is_left_out_and_the_rest_is_compared() {
        let with = |uid: &str, reason: &str| {
            let mut facts = Facts::new();
            let object = json!({
                "metadata": {"namespace": "n", "name": "a", "uid": uid, "generation": 2},
                "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "reason": reason, "message": uid}]},
            });
            super::object(&mut facts, "EmailAlias", &object);
            facts
        };
        let (one, two) = ("7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d11", "7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d12");
        assert_eq!(difference(&with(one, "InSync"), &with(two, "InSync"), 9), Vec::<String>::new());
        let shards = |keys: [&[&str]; 2]| {
            let mut facts = Facts::new();
            for (n, keys) in keys.iter().enumerate() {
                let data: serde_json::Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), json!("eA=="))).collect();
                let name = format!("{APP_PASSWORDS}-{n}");
                let labels = json!({"app.kubernetes.io/managed-by": "mailcow-operator"});
                let secret = json!({"metadata": {"namespace": "n", "name": name, "labels": labels}, "data": data});
                super::object(&mut facts, "Secret", &secret);
            }
            facts
        };
        assert_eq!(difference(&shards([&[one, two], &[]]), &shards([&[two], &[one]]), 9), Vec::<String>::new());
        assert_eq!(difference(&shards([&[one, two], &[]]), &shards([&[two], &[]]), 9).len(), 1);
        let lines = difference(&with(one, "InSync"), &with(two, "Pending"), 9);
        assert_eq!(lines, [r#"EmailAlias n/a status.conditions.Ready.reason = "Pending" instead of "InSync""#]);
    }
}
