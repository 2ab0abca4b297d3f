//! How mailboxes are shown.

use std::collections::HashMap;

use crate::json::{Json, obj};
use crate::php;
use crate::state::{Mailbox, State};
use crate::topics::domain_view::{self, Usage};
use crate::topics::{rate_limit, tags, timed_alias};

const MIB: i64 = 1 << 20;

/// The largest quota a mailbox could be given, bytes.
pub(crate) fn max_new_quota(state: &State, mailbox: &Mailbox) -> i64 {
    max_new_quota_with(state, mailbox, domain_view::assigned(state, &mailbox.domain))
}

fn max_new_quota_with(state: &State, mailbox: &Mailbox, usage: Usage) -> i64 {
    let Some(domain) = state.domain(&mailbox.domain) else { return 0 };
    let left = domain.quota * MIB - usage.quota + mailbox.quota;
    left.min(domain.max_quota * MIB)
}

/// `get/mailbox/{address}`
pub(crate) fn get(state: &State, address: &str) -> Json {
    match state.mailbox(address) {
        Some(mailbox) if state.domain(&mailbox.domain).is_some() => {
            let usage = domain_view::assigned(state, &mailbox.domain);
            show(state, mailbox, Some(usage))
        }
        _ => Json::Null,
    }
}

/// `get/mailbox/all` and `get/mailbox/reduced`. A domain that does not exist stands for all of them:
/// the check of access fails and the query falls through.
pub(crate) fn list(state: &State, domains: &str, tags: Option<&str>, reduced: bool) -> Vec<Json> {
    let usages = if reduced { HashMap::new() } else { domain_view::usages(state) };
    let mut found = Vec::new();
    for domain in domains.split(',') {
        let one = php::is_domain_name(domain) && state.knows_domain(domain);
        let wanted = state.mailboxes.values().filter(|m| {
            state.domain(&m.domain).is_some()
                && (!one || m.domain.eq_ignore_ascii_case(domain))
                && tags.is_none_or(|t| tags::matches(&m.tags, t))
        });
        found.extend(wanted.map(|m| {
            let usage = usages.get(&m.domain).copied().unwrap_or_default();
            show(state, m, (!reduced).then_some(usage))
        }));
    }
    found
}

/// `get/mailbox/{domain}?tags=…`
pub(crate) fn of_domain_by_tags(state: &State, domain: &str, tags: &str) -> Json {
    let usage = domain_view::assigned(state, domain);
    let wanted = state.mailboxes_of(domain).filter(|m| tags::matches(&m.tags, tags));
    Json::List(wanted.map(|m| show(state, m, Some(usage))).collect())
}

/// One mailbox as single reads show it; `None` when its domain is gone.
pub(crate) fn shown_with(state: &State, mailbox: &Mailbox, usages: &HashMap<String, Usage>) -> Option<Json> {
    state.domain(&mailbox.domain)?;
    Some(show(state, mailbox, Some(usages.get(&mailbox.domain).copied().unwrap_or_default())))
}

/// One mailbox; without `usage` in the reduced form.
fn show(state: &State, mailbox: &Mailbox, usage: Option<Usage>) -> Json {
    if mailbox.half_deleted {
        return show_half_deleted(usage.is_some());
    }
    let custom = custom_attributes(mailbox);
    let (percent, class) = in_use(mailbox);
    let mut shown = obj! {
        "username" => &mailbox.username,
        "active" => mailbox.active,
        "active_int" => mailbox.active,
        "domain" => &mailbox.domain,
        "name" => &mailbox.name,
        "local_part" => &mailbox.local_part,
        "quota" => mailbox.quota,
        "messages" => mailbox.messages,
        "attributes" => mailbox.attributes.to_json(),
        "custom_attributes" => custom,
        "quota_used" => mailbox.quota_used,
        "percent_in_use" => percent,
        "created" => &mailbox.created,
        "modified" => mailbox.modified.clone(),
        "authsource" => &mailbox.authsource,
        "percent_class" => class,
    };
    for service in ["imap", "smtp", "pop3", "sso"] {
        shown.set(&format!("last_{service}_login"), last_login_over(state, &mailbox.username, service));
    }
    if let Some(usage) = usage {
        details(&mut shown, state, mailbox, usage);
    }
    tags::show(&mut shown, &mailbox.tags);
    shown
}

/// The attributes of its own that a mailbox was given: a list when there is none, and when their names count
/// from 0, as PHP does not tell the two apart.
fn custom_attributes(mailbox: &Mailbox) -> Json {
    let pairs = &mailbox.custom_attributes;
    if pairs.iter().enumerate().all(|(n, (name, _))| *name == n.to_string()) {
        return Json::List(pairs.iter().map(|(_, value)| value.clone()).collect());
    }
    Json::Map(pairs.clone())
}

/// The log of logins outlives the mailbox.
fn last_login_over(state: &State, username: &str, service: &str) -> i64 {
    let of = state.logins.iter().filter(|l| l.username == username && l.service == service);
    of.map(|l| l.at).max().unwrap_or(0)
}

fn details(shown: &mut Json, state: &State, mailbox: &Mailbox, usage: Usage) {
    let own = rate_limit::shown(state, &mailbox.username);
    let has_own = own != Json::Bool(false);
    let limit = if has_own { own } else { rate_limit::shown(state, &mailbox.domain) };
    let timed = timed_alias::living(state, &mailbox.username).count();
    shown.set("max_new_quota", max_new_quota_with(state, mailbox, usage));
    shown.set("spam_aliases", i64::try_from(timed).unwrap_or(0));
    shown.set("pushover_active", 0);
    shown.set("rl", limit);
    shown.set("rl_scope", if has_own { "mailbox" } else { "domain" });
    shown.set("is_relayed", state.domain(&mailbox.domain).map_or(0, |d| d.backupmx));
    shown.set("sender_acl", mailbox.sender_acl.iter().map(Json::from).collect::<Vec<_>>());
}

/// The share of the quota in use and the colour it is shown in.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rounded percentage")]
fn in_use(mailbox: &Mailbox) -> (Json, &'static str) {
    if mailbox.quota == 0 {
        return (Json::from("- "), "info");
    }
    let percent = (mailbox.quota_used as f64 / mailbox.quota as f64 * 100.0).round() as i64;
    let class = match percent {
        90.. => "danger",
        75.. => "warning",
        _ => "success",
    };
    (Json::Int(percent), class)
}

/// What reads show of a mailbox whose deletion broke off.
fn show_half_deleted(full: bool) -> Json {
    let mut shown = obj! {};
    for key in [
        "username",
        "active",
        "active_int",
        "domain",
        "name",
        "local_part",
        "quota",
        "messages",
        "attributes",
        "custom_attributes",
    ] {
        shown.set(key, Json::Null);
    }
    shown.set("quota_used", 0);
    shown.set("percent_in_use", "- ");
    shown.set("created", Json::Null);
    shown.set("modified", Json::Null);
    shown.set("authsource", "mailcow");
    shown.set("percent_class", "info");
    for service in ["imap", "smtp", "pop3", "sso"] {
        shown.set(&format!("last_{service}_login"), 0);
    }
    if full {
        shown.set("max_new_quota", 0);
        shown.set("spam_aliases", 0);
        shown.set("pushover_active", 0);
        shown.set("rl", false);
        shown.set("rl_scope", "domain");
        shown.set("is_relayed", Json::Null);
        shown.set("sender_acl", Json::List(Vec::new()));
    }
    shown
}

/// `get/passwordpolicy`
pub(crate) fn password_policy(state: &State) -> Json {
    let policy = &state.password_policy;
    let flag = |on: bool| if on { "1" } else { "0" };
    obj! {
        "length" => policy.length.to_string(),
        "chars" => flag(policy.chars),
        "special_chars" => flag(policy.special_chars),
        "lowerupper" => flag(policy.lowerupper),
        "numbers" => flag(policy.numbers),
    }
}

/// `get/last-login/{mailbox}`
pub(crate) fn last_login(state: &State, address: &str) -> Json {
    let mut logins: Vec<_> = state.logins.iter().filter(|l| l.username == address).collect();
    logins.sort_by_key(|l| std::cmp::Reverse(l.at));
    let shown = logins.into_iter().map(|login| {
        obj! {
            "real_rip" => &login.address,
            "datetime" => crate::clock::format(login.at),
            "service" => &login.service,
            "app_password" => 0,
            "app_password_name" => Json::Null,
            "location" => false,
        }
    });
    obj! { "ui" => false, "sasl" => Json::List(shown.collect()) }
}
