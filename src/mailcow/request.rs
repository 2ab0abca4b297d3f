//! Changes as requests: the routes and bodies that Mailcow takes.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::crd::Per;
use crate::mail::{Access, Address, Alias, Dkim, DomainName, Limits, Mailbox, Quota, RateLimit};
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
        Change::UntagDomain { name, tag } => untag_domain(name, tag),
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
        Change::SetAttributes { address, attributes } => {
            let attr = json!({
                "attribute": attributes.keys().collect::<Vec<_>>(),
                "value": attributes.values().collect::<Vec<_>>(),
            });
            let action = format!("mark the mailbox {address}");
            edit_request("edit/mailbox/custom-attribute", address, &attr, ("mailbox_modified", action))
        }
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

fn untag_domain(name: &DomainName, tag: &str) -> Request {
    Request {
        route: "delete/domain/tag",
        name: Some(name.to_string()),
        body: json!([tag]),
        success: "domain_modified",
        action: format!("take the operator's mark off the domain {name}"),
    }
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
    let edit = MailboxEdit { name: mailbox.name.clone(), quota: Some(mailbox.quota), access: Some(mailbox.access) };
    let mut body = mailbox_attr(&edit);
    extend(&mut body, json!({"local_part": address.local(), "domain": address.domain().as_str()}));
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

/// `active` and `sogo_visible` are 0 when omitted (recording `05_alias/add_minimal`).
fn add_alias(alias: &Alias) -> Request {
    Request {
        route: "add/alias",
        name: None,
        body: json!({
            "address": alias.catch.to_string(), "goto": joined(&alias.goto), "active": u8::from(alias.active),
            "sogo_visible": 1, "private_comment": alias.mark.to_string(),
        }),
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
    put(&mut attr, "tags", edit.tag.as_ref().map(|tag| vec![tag.clone()]));
    Value::Object(attr)
}

fn mailbox_attr(edit: &MailboxEdit) -> Value {
    let mut attr = Map::new();
    put(&mut attr, "name", edit.name.as_deref());
    put(&mut attr, "quota", edit.quota.map(Quota::as_mib));
    put(&mut attr, "active", edit.access.map(access_number));
    Value::Object(attr)
}

fn alias_attr(edit: &AliasEdit) -> Value {
    let mut attr = Map::new();
    put(&mut attr, "goto", edit.goto.as_deref().map(joined));
    put(&mut attr, "active", edit.active.map(u8::from));
    put(&mut attr, "private_comment", edit.private_comment.as_deref());
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
            edit: DomainEdit { limits, active: Some(true), tag: Some("t".into()), ..DomainEdit::default() },
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
            goto: vec![Address::parse("a@e.com").unwrap(), Address::parse("b@e.com").unwrap()],
            active: false,
            mark: Mark::new("c", "n", "a", "u"),
        };
        let body = request(&Change::AddAlias(alias), None).body;
        assert_eq!(body["address"], "@e.com");
        assert_eq!(body["goto"], "a@e.com,b@e.com");
        assert_eq!(body["active"], 0);
        assert_eq!(body["private_comment"], "mailcow-operator/c/n/a/u");
    }
}
