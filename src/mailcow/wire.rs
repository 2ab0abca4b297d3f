//! Objects exactly as Mailcow writes them, with only the keys that are used. Unknown keys are ignored, and keys that
//! some releases lack have defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `get/domain/{name}`.
#[derive(Deserialize)]
pub(super) struct WireDomain {
    pub(super) domain_name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(deserialize_with = "number")]
    pub(super) active: u64,
    #[serde(deserialize_with = "number")]
    pub(super) max_num_mboxes_for_domain: u64,
    #[serde(deserialize_with = "number")]
    pub(super) max_num_aliases_for_domain: u64,
    #[serde(deserialize_with = "number")]
    pub(super) def_quota_for_mbox: u64,
    #[serde(deserialize_with = "number")]
    pub(super) max_quota_for_mbox: u64,
    #[serde(deserialize_with = "number")]
    pub(super) max_quota_for_domain: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) max_new_mailbox_quota: u64,
    #[serde(default)]
    pub(super) rl: Value,
    #[serde(default, deserialize_with = "list")]
    pub(super) tags: Vec<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) gal: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) backupmx: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) relay_all_recipients: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) relay_unknown_only: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) relayhost: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) mboxes_in_domain: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) aliases_in_domain: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) bytes_total: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) msgs_total: u64,
}

/// `get/dkim/{domain}`.
#[derive(Deserialize)]
pub(super) struct WireDkim {
    pub(super) pubkey: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) length: u64,
    pub(super) dkim_txt: String,
    pub(super) dkim_selector: String,
}

/// `get/mailbox/{address}`; of a half-deleted mailbox every key is null (recording `14_half_deleted`).
#[derive(Deserialize)]
pub(super) struct WireMailbox {
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) active: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) quota: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) quota_used: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) rl: Value,
    #[serde(default)]
    pub(super) rl_scope: Option<String>,
    #[serde(default, deserialize_with = "map")]
    pub(super) custom_attributes: BTreeMap<String, String>,
    /// Switches are the texts `"0"` and `"1"`.
    #[serde(default, deserialize_with = "map")]
    pub(super) attributes: BTreeMap<String, String>,
    /// Since 2025-03; `mailcow`, or the identity provider that checks the password.
    #[serde(default)]
    pub(super) authsource: Option<String>,
    /// Since 2026-07a, and not in reduced lists.
    #[serde(default)]
    pub(super) sender_acl: Option<Vec<String>>,
    #[serde(default, deserialize_with = "list")]
    pub(super) tags: Vec<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) last_imap_login: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) last_smtp_login: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) last_pop3_login: u64,
}

/// `search/mailbox`.
#[derive(Deserialize)]
pub(super) struct WirePage {
    pub(super) data: Vec<Value>,
}

/// `get/alias/{id or address}`.
#[derive(Deserialize)]
pub(super) struct WireAlias {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    pub(super) address: String,
    #[serde(default)]
    pub(super) goto: String,
    #[serde(deserialize_with = "number")]
    pub(super) active: u64,
    #[serde(default)]
    pub(super) private_comment: Option<String>,
    #[serde(default)]
    pub(super) public_comment: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) sogo_visible: u64,
    /// Since 2026-01.
    #[serde(default)]
    pub(super) sender_allowed: Option<Value>,
}

/// One of `get/quarantine/all`.
#[derive(Deserialize)]
pub(super) struct WireQuarantined {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) qid: String,
    #[serde(default)]
    pub(super) subject: Option<String>,
    #[serde(default)]
    pub(super) score: Option<f64>,
    #[serde(default)]
    pub(super) rcpt: String,
    #[serde(default)]
    pub(super) sender: Option<String>,
    #[serde(default)]
    pub(super) action: Option<String>,
    /// A number in lists, and a text of date and time in the answer for one mail.
    #[serde(default, deserialize_with = "number")]
    pub(super) created: u64,
    /// Only in the answer for one mail.
    #[serde(default)]
    pub(super) msg: Option<String>,
}

/// One of `get/filters/{mailbox}`.
#[derive(Deserialize)]
pub(super) struct WireFilter {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    #[serde(deserialize_with = "number")]
    pub(super) active: u64,
    pub(super) username: String,
    pub(super) filter_type: String,
    #[serde(default)]
    pub(super) script_data: String,
    #[serde(default)]
    pub(super) script_desc: String,
}

/// One of `get/app-passwd/all/{mailbox}`; the hash of the password is never read.
#[derive(Deserialize)]
pub(super) struct WireAppPassword {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    pub(super) mailbox: String,
    /// Escaped for HTML twice.
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) active: u64,
    #[serde(default)]
    pub(super) modified: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) imap_access: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) smtp_access: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) pop3_access: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) sieve_access: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) dav_access: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) eas_access: u64,
}

/// A rate limit that is set.
#[derive(Deserialize)]
pub(super) struct WireRate {
    #[serde(deserialize_with = "number")]
    pub(super) value: u64,
    pub(super) frame: String,
}

/// A number that may come as a number, a numeric text, a boolean or null; anything else is 0, such as `"- "`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().unwrap_or_default(),
        Value::String(text) => text.trim().parse().unwrap_or_default(),
        Value::Bool(true) => 1,
        _ => 0,
    })
}

/// A list that may be null.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A map that PHP writes as `[]` when it is empty.
fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let Value::Object(entries) = Value::deserialize(deserializer)? else { return Ok(BTreeMap::new()) };
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Bool(on) => u8::from(on).to_string(),
        other => other.to_string(),
    };
    Ok(entries.into_iter().map(|(key, value)| (key, text(value))).collect())
}
