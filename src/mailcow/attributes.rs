//! Fields in Mailcow's format: the `attr` of an edit, and the body of an add.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::observe::PROTOCOLS;
use crate::crd::{Per, Sink};
use crate::mail::{Access, Address, Goto, Limits, Quota, RateLimit, Tls};
use crate::plan::{AliasEdit, DomainEdit, MailboxEdit};

pub(super) fn domain_attr(edit: &DomainEdit) -> Value {
    let Limits { mailboxes, aliases, default_quota, mailbox_quota, total_quota } = edit.limits;
    let mut attr = Map::new();
    put(&mut attr, "description", edit.description.as_deref());
    put(&mut attr, "active", edit.active.map(u8::from));
    put(&mut attr, "mailboxes", mailboxes);
    put(&mut attr, "aliases", aliases);
    put(&mut attr, "defquota", default_quota.map(Quota::as_mib));
    put(&mut attr, "maxquota", mailbox_quota.map(Quota::as_mib));
    put(&mut attr, "quota", total_quota.map(Quota::as_mib));
    put(&mut attr, "gal", edit.address_list.map(u8::from));
    put(&mut attr, "backupmx", edit.relay.backup_mx.map(u8::from));
    put(&mut attr, "relay_all_recipients", edit.relay.all_recipients.map(u8::from));
    put(&mut attr, "relay_unknown_only", edit.relay.unknown_only.map(u8::from));
    put(&mut attr, "relayhost", edit.relay.host);
    let tags: Vec<String> = edit.mark.iter().chain(&edit.tags).cloned().collect();
    put(&mut attr, "tags", (!tags.is_empty()).then_some(tags));
    Value::Object(attr)
}

pub(super) fn mailbox_attr(edit: &MailboxEdit) -> Value {
    let mut attr = Map::new();
    put(&mut attr, "name", edit.name.as_deref());
    put(&mut attr, "quota", edit.quota.map(Quota::as_mib));
    put(&mut attr, "active", edit.access.map(access_number));
    for (protocol, key) in PROTOCOLS {
        put(&mut attr, key, edit.protocols.as_ref().map(|on| u8::from(on.contains(&protocol))));
    }
    put(&mut attr, "force_pw_update", edit.force_password_change.map(u8::from));
    put(&mut attr, "sender_acl", edit.sender_acl.as_ref().map(|acl| acl.iter().cloned().collect::<Vec<_>>()));
    put(&mut attr, "tags", (!edit.tags.is_empty()).then(|| edit.tags.clone()));
    Value::Object(attr)
}

pub(super) fn alias_attr(edit: &AliasEdit) -> Value {
    let mut attr = Map::new();
    match (&edit.goto, edit.kept_sink) {
        (Some(Goto::Addresses(goto)), _) => put(&mut attr, "goto", Some(joined(goto))),
        (Some(Goto::Sink(sink)), _) => put(&mut attr, sink_key(*sink), Some(1)),
        (None, Some(sink)) => put(&mut attr, sink_key(sink), Some(1)),
        (None, None) => {}
    }
    put(&mut attr, "sogo_visible", edit.visible_in_sogo.map(u8::from));
    put(&mut attr, "sender_allowed", edit.sender_allowed.map(u8::from));
    put(&mut attr, "public_comment", edit.public_comment.as_deref());
    put(&mut attr, "active", edit.active.map(u8::from));
    put(&mut attr, "private_comment", edit.private_comment.as_deref());
    Value::Object(attr)
}

const fn sink_key(sink: Sink) -> &'static str {
    match sink {
        Sink::Discard => "goto_null",
        Sink::LearnSpam => "goto_spam",
        Sink::LearnHam => "goto_ham",
    }
}

pub(super) fn tls_attr(tls: Tls<Option<bool>>) -> Value {
    let mut attr = Map::new();
    put(&mut attr, "tls_enforce_in", tls.incoming.map(u8::from));
    put(&mut attr, "tls_enforce_out", tls.outgoing.map(u8::from));
    Value::Object(attr)
}

pub(super) fn password_attr(password: Option<&SecretString>) -> Value {
    let password = password.map(ExposeSecret::expose_secret);
    json!({"password": password, "password2": password})
}

/// A value of 0 clears the limit; the period is required anyway.
pub(super) fn rate_attr(rate: RateLimit) -> Value {
    let (messages, per) = match rate {
        RateLimit::Unlimited => (0, Per::Second),
        RateLimit::Limit { messages, per } => (messages, per),
    };
    let frame = match per {
        Per::Second => "s",
        Per::Minute => "m",
        Per::Hour => "h",
        Per::Day => "d",
    };
    json!({"rl_value": messages, "rl_frame": frame})
}

const fn access_number(access: Access) -> u8 {
    match access {
        Access::Inactive => 0,
        Access::Active => 1,
        Access::LoginDisabled => 2,
    }
}

fn joined(goto: &BTreeSet<Address>) -> String {
    goto.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn put(attr: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        attr.insert(key.to_owned(), value.into());
    }
}

pub(super) fn extend(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_a_limit_away_still_names_a_frame() {
        assert_eq!(rate_attr(RateLimit::Unlimited), json!({"rl_value": 0, "rl_frame": "s"}));
    }
}
