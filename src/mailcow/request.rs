//! Changes as requests: the routes and bodies that Mailcow takes.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::observe::PROTOCOLS;
use crate::crd::{Per, Sink};
use crate::mail::{Access, Address, Alias, Dkim, DomainName, Goto, Limits, Mailbox, Quota, RateLimit, Tls};
use crate::plan::{AliasEdit, Change, DomainEdit, MailboxEdit};

/// A request: the route, more parts of its path, the body, the expected success, and the act in words.
pub(super) struct Request {
    pub(super) route: &'static str,
    pub(super) name: Option<String>,
    pub(super) body: Value,
    pub(super) success: &'static str,
    pub(super) action: String,
}

/// The request that carries a change out. `password` is for changes that set one.
pub(super) fn request(change: &Change, password: Option<&SecretString>) -> Request {
    match change {
        Change::AddDomain { name, edit, dkim, rate } => add_domain(name, edit, dkim, *rate),
        Change::EditDomain { name, edit } => {
            let attr = domain_attr(edit);
            edit_request("edit/domain", name, &attr, ("domain_modified", format!("change the domain {name}")))
        }
        Change::UnmarkDomain { name, tag } => untag_domain(name, std::slice::from_ref(tag), "the operator's mark"),
        Change::UntagDomain { name, tags } => untag_domain(name, tags, "tags"),
        Change::LimitDomain { name, rate } => {
            let action = format!("set the rate limit of the domain {name}");
            edit_request("edit/rl-domain", name, &rate_attr(*rate), ("rl_saved", action))
        }
        Change::AddDkim { name, dkim } => add_dkim(name, dkim),
        Change::DeleteDomain(name) => {
            delete_request("delete/domain", name, ("domain_removed", format!("delete the domain {name}")))
        }
        Change::AddMailbox(mailbox) => add_mailbox(mailbox, password),
        Change::EditMailbox { address, edit } => edit_mailbox(address, &mailbox_attr(edit)),
        Change::LimitMailbox { address, rate } => {
            let action = format!("set the rate limit of the mailbox {address}");
            edit_request("edit/rl-mbox", address, &rate_attr(*rate), ("rl_saved", action))
        }
        Change::EncryptMailbox { address, tls } => {
            let action = format!("set the encryption of the mailbox {address}");
            edit_request("edit/tls_policy", address, &tls_attr(*tls), ("mailbox_modified", action))
        }
        Change::UntagMailbox { address, tags } => {
            let action = format!("take tags off the mailbox {address}");
            untag("delete/mailbox/tag", address, tags, ("mailbox_modified", action))
        }
        Change::SetAttributes { address, attributes } => set_attributes(address, attributes),
        Change::SetPassword(address) => edit_mailbox(address, &password_attr(password)),
        Change::DeleteMailbox(address) => {
            delete_request("delete/mailbox", address, ("mailbox_removed", format!("delete the mailbox {address}")))
        }
        Change::AddAlias(alias) => add_alias(alias),
        Change::EditAlias { id, edit } => {
            edit_request("edit/alias", id, &alias_attr(edit), ("alias_modified", format!("change the alias {id}")))
        }
        Change::DeleteAlias { id } => {
            delete_request("delete/alias", id, ("alias_removed", format!("delete the alias {id}")))
        }
        Change::AddFilter { mailbox, script, description } => add_filter(mailbox, script, description),
        Change::EditFilter { id, mailbox, script, description } => {
            let attr = json!({"script_data": script, "script_desc": description, "active": 1});
            edit_request("edit/filter", id, &attr, ("mailbox_modified", format!("change the filter of {mailbox}")))
        }
        Change::ActivateFilter { id, mailbox } => {
            let told = ("mailbox_modified", format!("activate the filter of {mailbox}"));
            edit_request("edit/filter", id, &json!({"active": 1}), told)
        }
        Change::DeleteFilter { id, mailbox } => {
            delete_request("delete/filter", id, ("delete_filter", format!("delete the filter of {mailbox}")))
        }
    }
}

fn edit_request(route: &'static str, item: &impl ToString, attr: &Value, told: (&'static str, String)) -> Request {
    let body = json!({"items": [item.to_string()], "attr": attr});
    Request { route, name: None, body, success: told.0, action: told.1 }
}

fn delete_request(route: &'static str, item: &impl ToString, told: (&'static str, String)) -> Request {
    Request { route, name: None, body: json!([item.to_string()]), success: told.0, action: told.1 }
}

fn set_attributes(address: &Address, attributes: &BTreeMap<String, String>) -> Request {
    let attr = json!({
        "attribute": attributes.keys().collect::<Vec<_>>(),
        "value": attributes.values().collect::<Vec<_>>(),
    });
    let action = format!("mark the mailbox {address}");
    edit_request("edit/mailbox/custom-attribute", address, &attr, ("mailbox_modified", action))
}

fn untag_domain(name: &DomainName, tags: &[String], what: &str) -> Request {
    untag("delete/domain/tag", name, tags, ("domain_modified", format!("take {what} off the domain {name}")))
}

fn untag(route: &'static str, thing: &impl ToString, tags: &[String], told: (&'static str, String)) -> Request {
    Request { route, name: Some(thing.to_string()), body: json!(tags), success: told.0, action: told.1 }
}

fn add_dkim(name: &DomainName, dkim: &Dkim) -> Request {
    Request {
        route: "add/dkim",
        name: None,
        body: json!({"domains": name.as_str(), "dkim_selector": dkim.selector, "key_size": dkim.key_size}),
        success: "dkim_added",
        action: format!("make a DKIM key for {name}"),
    }
}

fn add_filter(mailbox: &Address, script: &str, description: &str) -> Request {
    Request {
        route: "add/filter",
        name: None,
        body: json!({
            "username": mailbox.to_string(), "filter_type": "prefilter", "script_data": script,
            "script_desc": description, "active": 1,
        }),
        success: "mailbox_modified",
        action: format!("add the filter of {mailbox}"),
    }
}

fn edit_mailbox(address: &Address, attr: &Value) -> Request {
    edit_request("edit/mailbox", address, attr, ("mailbox_modified", format!("change the mailbox {address}")))
}

fn add_domain(name: &DomainName, edit: &DomainEdit, dkim: &Dkim, rate: Option<RateLimit>) -> Request {
    let mut body = domain_attr(edit);
    extend(
        &mut body,
        json!({
            "domain": name.as_str(), "dkim_selector": dkim.selector, "key_size": dkim.key_size, "restart_sogo": 0,
        }),
    );
    extend(&mut body, rate.map_or(Value::Null, rate_attr));
    Request { route: "add/domain", name: None, body, success: "domain_added", action: format!("add the domain {name}") }
}

fn add_mailbox(mailbox: &Mailbox, password: Option<&SecretString>) -> Request {
    let address = &mailbox.address;
    let edit = MailboxEdit {
        name: mailbox.name.clone(),
        quota: Some(mailbox.quota),
        access: Some(mailbox.access),
        protocols: mailbox.protocols.clone(),
        force_password_change: mailbox.force_password_change,
        sender_acl: None,
        tags: mailbox.tags.missing(&[]),
    };
    let mut body = mailbox_attr(&edit);
    extend(&mut body, json!({"local_part": address.local(), "domain": address.domain().as_str()}));
    extend(&mut body, tls_attr(mailbox.tls));
    extend(&mut body, password_attr(password));
    extend(&mut body, mailbox.rate_limit.map_or(Value::Null, rate_attr));
    Request {
        route: "add/mailbox",
        name: None,
        body,
        success: "mailbox_added",
        action: format!("add the mailbox {address}"),
    }
}

/// `active`, `sogo_visible` and `sender_allowed` are 0 when omitted (recording `05_alias/add_minimal`).
fn add_alias(alias: &Alias) -> Request {
    let mut body = json!({
        "address": alias.catch.to_string(), "active": u8::from(alias.active),
        "sogo_visible": u8::from(alias.visible_in_sogo.unwrap_or(true)),
        "sender_allowed": u8::from(alias.sender_allowed.unwrap_or(true)), "private_comment": alias.mark.to_string(),
    });
    let goto = AliasEdit {
        goto: Some(alias.goto.clone()),
        public_comment: alias.public_comment.clone().filter(|comment| !comment.is_empty()),
        ..AliasEdit::default()
    };
    extend(&mut body, alias_attr(&goto));
    Request {
        route: "add/alias",
        name: None,
        body,
        success: "alias_added",
        action: format!("add the alias {}", alias.catch),
    }
}

fn domain_attr(edit: &DomainEdit) -> Value {
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

fn mailbox_attr(edit: &MailboxEdit) -> Value {
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

fn alias_attr(edit: &AliasEdit) -> Value {
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

fn tls_attr(tls: Tls<Option<bool>>) -> Value {
    let mut attr = Map::new();
    put(&mut attr, "tls_enforce_in", tls.incoming.map(u8::from));
    put(&mut attr, "tls_enforce_out", tls.outgoing.map(u8::from));
    Value::Object(attr)
}

fn password_attr(password: Option<&SecretString>) -> Value {
    let password = password.map(ExposeSecret::expose_secret);
    json!({"password": password, "password2": password})
}

/// A value of 0 clears the limit; the frame is needed all the same.
fn rate_attr(rate: RateLimit) -> Value {
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

fn joined(goto: &[Address]) -> String {
    goto.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn put(attr: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        attr.insert(key.to_owned(), value.into());
    }
}

fn extend(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Mark;

    #[test]
    fn only_given_fields_are_sent() {
        let edit = MailboxEdit { quota: Some(Quota::gib(1)), ..MailboxEdit::default() };
        let change = Change::EditMailbox { address: Address::parse("a@e.com").unwrap(), edit };
        assert_eq!(request(&change, None).body, json!({"items": ["a@e.com"], "attr": {"quota": 1024}}));
    }

    #[test]
    fn every_limit_is_sent_with_a_new_domain() {
        let limits = Limits {
            mailboxes: Some(1),
            aliases: Some(2),
            default_quota: Some(Quota::mib(3)),
            mailbox_quota: Some(Quota::mib(4)),
            total_quota: Some(Quota::mib(5)),
        };
        let change = Change::AddDomain {
            name: DomainName::parse("e.com").unwrap(),
            edit: DomainEdit { limits, active: Some(true), mark: Some("t".into()), ..DomainEdit::default() },
            dkim: Dkim { selector: "dkim".into(), key_size: 2048, is_demanded: true },
            rate: Some(RateLimit::Limit { messages: 9, per: Per::Hour }),
        };
        assert_eq!(
            request(&change, None).body,
            json!({
                "domain": "e.com", "mailboxes": 1, "aliases": 2, "defquota": 3, "maxquota": 4, "quota": 5, "active": 1,
                "tags": ["t"], "dkim_selector": "dkim", "key_size": 2048, "rl_value": 9, "rl_frame": "h",
                "restart_sogo": 0
            })
        );
    }

    #[test]
    fn taking_a_limit_away_still_names_a_frame() {
        assert_eq!(rate_attr(RateLimit::Unlimited), json!({"rl_value": 0, "rl_frame": "s"}));
    }

    #[test]
    fn an_alias_is_visible_and_carries_the_mark() {
        let alias = Alias {
            catch: crate::mail::Catch::parse("@e.com").unwrap(),
            goto: Goto::Addresses(vec![Address::parse("a@e.com").unwrap(), Address::parse("b@e.com").unwrap()]),
            active: false,
            visible_in_sogo: None,
            sender_allowed: None,
            public_comment: None,
            mark: Mark::new("c", "n", "a", "u"),
        };
        let body = request(&Change::AddAlias(alias), None).body;
        assert_eq!(body["address"], "@e.com");
        assert_eq!(body["goto"], "a@e.com,b@e.com");
        assert_eq!(body["active"], 0);
        assert_eq!(body["private_comment"], "mailcow-operator/c/n/a/u");
    }
}
