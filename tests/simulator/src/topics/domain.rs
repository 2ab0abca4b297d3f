//! Making and removing domains.

use crate::clock;
use crate::json::{Json, list};
use crate::php;
use crate::state::{Backend, Domain};
use crate::topics::tags::Twice;
use crate::topics::{dkim, policy, rate_limit, tags, templates};
use crate::writer::{Done, Stop, Writer};

const MIB: i64 = 1 << 20;

/// `add/domain`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let template = templates::attributes(w.state, "domain", attr.get("template"));
    let name = php::to_punycode(attr.get("domain").to_text().trim());
    let domain = draft(&name, attr, &template);
    if let Some(problem) = problem(&domain, &w.state.hostname) {
        w.danger(problem);
        return Ok(());
    }
    if w.state.knows_domain(&name) {
        w.danger(list!["domain_exists", &name]);
        return Ok(());
    }
    if domain.description.chars().count() > 255 {
        return Err(Stop::too_long("description"));
    }
    w.state.domains.insert(php::collated(&name), domain);
    let wanted = if attr.is_set("tags") { attr.get("tags") } else { template.get("tags") };
    tags::append(w, |state| state.domain_mut(&name).map(|d| &mut d.tags), &tags::requested(wanted), Twice::Crashes)?;
    extras(w, &name, attr, &template);
    Ok(())
}

/// What the request and the template ask for.
fn draft(name: &str, attr: &Json, template: &Json) -> Domain {
    let number = |key: &str, default: i64| if attr.is_set(key) { attr.get(key).to_int() } else { default };
    let flag = |key: &str| number(key, template.get(key).to_int());
    let size = |key: &str| template.get(key).to_int() / MIB;
    let description = attr.get("description").to_text();
    let relay_unknown_only = flag("relay_unknown_only");
    let relay_all_recipients = if relay_unknown_only == 1 { 1 } else { flag("relay_all_recipients") };
    Domain {
        name: name.to_owned(),
        description: if description.is_empty() { name.to_owned() } else { description },
        max_aliases: number("aliases", template.get("max_num_aliases_for_domain").to_int()),
        max_mailboxes: number("mailboxes", template.get("max_num_mboxes_for_domain").to_int()),
        default_quota: number("defquota", size("def_quota_for_mbox")),
        max_quota: number("maxquota", size("max_quota_for_mbox")),
        quota: number("quota", size("max_quota_for_domain")),
        relayhost: "0".to_owned(),
        backupmx: if relay_all_recipients == 1 { 1 } else { flag("backupmx") },
        gal: flag("gal"),
        relay_all_recipients,
        relay_unknown_only,
        active: flag("active"),
        tags: std::collections::BTreeSet::new(),
        created: clock::now(),
        modified: None,
    }
}

/// What is wrong with a new domain, in the order in which it is checked.
fn problem(domain: &Domain, hostname: &str) -> Option<&'static str> {
    if let Some(problem) = quota_problem(domain) {
        Some(problem)
    } else if !php::is_domain_name(&domain.name) {
        Some("domain_invalid")
    } else if domain.name == hostname {
        Some("domain_cannot_match_hostname")
    } else {
        None
    }
}

/// What is wrong with the sizes of a domain, in the order in which `add/domain` looks at them.
fn quota_problem(domain: &Domain) -> Option<&'static str> {
    if domain.default_quota > domain.max_quota {
        Some("mailbox_defquota_exceeds_mailbox_maxquota")
    } else if domain.max_quota > domain.quota {
        Some("mailbox_quota_exceeds_domain_quota")
    } else if domain.default_quota == 0 {
        Some("defquota_empty")
    } else if domain.max_quota == 0 {
        Some("maxquota_empty")
    } else {
        None
    }
}

/// Rate limit, DKIM key and the restart of `SOGo` that come with a new domain.
fn extras(w: &mut Writer<'_>, name: &str, attr: &Json, template: &Json) {
    let pick = |key: &str| if attr.is_set(key) { attr.get(key).clone() } else { template.get(key).clone() };
    let limit = if attr.is_set("rl_value") { Json::Int(attr.get("rl_value").to_int()) } else { pick("rl_value") };
    let frame = pick("rl_frame");
    if limit.truthy() && frame.truthy() {
        rate_limit::of_new_domain(w, name, &limit, &frame);
    }
    let size = if attr.is_set("key_size") { Json::Int(attr.get("key_size").to_int()) } else { pick("key_size") };
    let selector = pick("dkim_selector");
    if size.truthy() && selector.truthy() {
        dkim::of_new_domain(w, name, &size, &selector);
    }
    if attr.get("restart_sogo").truthy() && w.state.backend == Backend::DockerapiFails {
        w.warning("domain_added_sogo_failed");
    } else {
        w.success(list!["domain_added", php::html_escape(name)]);
    }
}

/// `delete/domain`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if item.is_array() {
            return Err(Stop::crash());
        }
        let name = php::to_punycode(&item.to_text());
        if !php::is_domain_name(&name) {
            w.danger("domain_invalid");
        } else if w.state.mailboxes_of(&name).next().is_some() || w.state.resources.values().any(|r| r.domain == name) {
            w.danger(list!["domain_not_empty", &name]);
        } else {
            if w.state.backend == Backend::DockerapiFails {
                w.warning("Could not move mail storage to garbage collector: command failed: stub says no");
            }
            remove(w, &name);
            w.success(list!["domain_removed", php::html_escape(&name)]);
        }
    }
    Ok(())
}

/// Takes a domain away with all that belongs to it; its DKIM key stays.
fn remove(w: &mut Writer<'_>, name: &str) {
    let state = &mut *w.state;
    state.domains.remove(&php::collated(name));
    state.aliases.retain(|_, alias| alias.domain != name);
    state.alias_domains.retain(|_, alias_domain| alias_domain.target != name);
    state.rate_limits.remove(name);
    for domains in state.domain_admins.values_mut() {
        domains.retain(|d| d != name);
    }
    let end = format!("@{name}");
    state.timed_aliases.retain(|_, alias| !alias.address.ends_with(&end));
    policy::forget(state, name);
}
