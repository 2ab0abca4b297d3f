//! Changes as requests: Mailcow's routes and bodies.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::attributes::{alias_attr, domain_attr, extend, mailbox_attr, password_attr, rate_attr, tls_attr};
use crate::mail::{Address, Alias, Dkim, DomainName, Mailbox, RateLimit};
use crate::plan::{AliasEdit, Change, DomainEdit, MailboxEdit};

/// A request.
pub(super) struct Request {
    /// The route.
    pub(super) route: &'static str,
    /// One more part of its path.
    pub(super) name: Option<String>,
    /// The body.
    pub(super) body: Value,
    /// The code of the expected success.
    pub(super) success: &'static str,
    /// The name that this success must have; empty if Mailcow's success has none.
    pub(super) about: String,
    /// The action in words.
    pub(super) action: String,
}

impl Request {
    /// For an entry that its item does not name.
    fn about(self, thing: &impl ToString) -> Self {
        Self { about: thing.to_string(), ..self }
    }
}

/// The request for a change. `password` is for changes that set one.
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
        Change::UnmarkMailbox { address, tags } => {
            let action = format!("remove the operator's mark from the mailbox {address}");
            untag("delete/mailbox/tag", address, tags, ("mailbox_modified", action))
        }
        Change::UntagMailbox { address, tags } => {
            let action = format!("remove tags from the mailbox {address}");
            untag("delete/mailbox/tag", address, tags, ("mailbox_modified", action))
        }
        Change::SetAttributes { address, attributes } => set_attributes(address, attributes),
        Change::SetPassword(address) => edit_mailbox(address, &password_attr(password)),
        Change::DeleteMailbox(address) => {
            delete_request("delete/mailbox", address, ("mailbox_removed", format!("delete the mailbox {address}")))
        }
        Change::AddAlias(alias) => add_alias(alias),
        // By number: an address may be taken for the number of another alias (recording `15_alias_id_lookup`).
        Change::EditAlias { id, catch, edit } => {
            let told = ("alias_modified", format!("change the alias {catch}"));
            edit_request("edit/alias", id, &alias_attr(edit), told).about(catch)
        }
        Change::DeleteAlias { id, catch } => {
            delete_request("delete/alias", id, ("alias_removed", format!("delete the alias {catch}"))).about(catch)
        }
        Change::AddFilter { mailbox, script, description } => add_filter(mailbox, script, description),
        Change::EditFilter { id, mailbox, script, description } => {
            let attr = json!({"script_data": script, "script_desc": description, "active": 1});
            let told = ("mailbox_modified", format!("change the filter of {mailbox}"));
            edit_request("edit/filter", id, &attr, told).about(mailbox)
        }
        Change::ActivateFilter { id, mailbox } => {
            let told = ("mailbox_modified", format!("activate the filter of {mailbox}"));
            edit_request("edit/filter", id, &json!({"active": 1}), told).about(mailbox)
        }
        Change::DeleteFilter { id, mailbox } => {
            delete_request("delete/filter", id, ("delete_filter", format!("delete the filter of {mailbox}")))
        }
        Change::AddAppPassword { mailbox, name } => add_app_password(mailbox, name, password),
        Change::DeleteAppPassword { id, mailbox } => {
            let told = ("app_passwd_removed", format!("delete an app password of {mailbox}"));
            delete_request("delete/app-passwd", id, told)
        }
    }
}

fn edit_request(route: &'static str, item: &impl ToString, attr: &Value, told: (&'static str, String)) -> Request {
    let body = json!({"items": [item.to_string()], "attr": attr});
    Request { route, name: None, body, success: told.0, about: item.to_string(), action: told.1 }
}

fn delete_request(route: &'static str, item: &impl ToString, told: (&'static str, String)) -> Request {
    let body = json!([item.to_string()]);
    Request { route, name: None, body, success: told.0, about: item.to_string(), action: told.1 }
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
    untag("delete/domain/tag", name, tags, ("domain_modified", format!("remove {what} from the domain {name}")))
}

fn untag(route: &'static str, thing: &impl ToString, tags: &[String], told: (&'static str, String)) -> Request {
    let name = thing.to_string();
    Request { route, name: Some(name.clone()), body: json!(tags), success: told.0, about: name, action: told.1 }
}

fn add_dkim(name: &DomainName, dkim: &Dkim) -> Request {
    Request {
        route: "add/dkim",
        name: None,
        body: json!({"domains": name.as_str(), "dkim_selector": dkim.selector, "key_size": dkim.key_size}),
        success: "dkim_added",
        about: name.to_string(),
        action: format!("create a DKIM key for {name}"),
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
        about: mailbox.to_string(),
        action: format!("add the filter of {mailbox}"),
    }
}

/// `active` is 0 when omitted, and protocols have their long names (recordings `21_app_passwords`). The success does not
/// name the mailbox (recording `08_others/app_add`).
fn add_app_password(mailbox: &Address, name: &str, password: Option<&SecretString>) -> Request {
    let password = password.map(ExposeSecret::expose_secret).unwrap_or_default();
    Request {
        route: "add/app-passwd",
        name: None,
        body: json!({
            "username": mailbox.to_string(), "app_name": name, "app_passwd": password, "app_passwd2": password,
            "active": 1, "protocols": ["imap_access"],
        }),
        success: "app_passwd_added",
        about: String::new(),
        action: format!("add an app password for {mailbox}"),
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
    Request {
        route: "add/domain",
        name: None,
        body,
        success: "domain_added",
        about: name.to_string(),
        action: format!("add the domain {name}"),
    }
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
        // It is marked as ours from the start, even if a later request fails.
        tags: [mailbox.mark.to_string()].into_iter().chain(mailbox.tags.missing(&[])).collect(),
    };
    let mut body = mailbox_attr(&edit);
    // All tags are given; otherwise those of the template would be used (recording `18_templates/get_mailbox_full`).
    extend(&mut body, json!({"local_part": address.local(), "domain": address.domain().as_str(), "tags": edit.tags}));
    extend(&mut body, tls_attr(mailbox.tls));
    extend(&mut body, password_attr(password));
    extend(&mut body, mailbox.rate_limit.map_or(Value::Null, rate_attr));
    Request {
        route: "add/mailbox",
        name: None,
        body,
        success: "mailbox_added",
        about: address.to_string(),
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
        about: alias.catch.to_string(),
        action: format!("add the alias {}", alias.catch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::Per;
    use crate::mail::{Goto, Limits, Mark, Quota};

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
    fn an_alias_is_visible_and_carries_the_mark() {
        let alias = Alias {
            catch: crate::mail::Catch::parse("@e.com").unwrap(),
            goto: Goto::Addresses(["b@e.com", "a@e.com"].map(|text| Address::parse(text).unwrap()).into()),
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
