//! Alias domains: other names for a domain.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{AliasDomain, State};
use crate::topics::{dkim, rate_limit};
use crate::writer::{Done, Stop, Writer};

/// `add/alias-domain`: several names in one text.
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let sent = attr.get("alias_domain");
    if sent.is_array() {
        return Err(Stop::crash());
    }
    let target = php::to_punycode(php::trim(&attr.get("target_domain").to_text()));
    if !php::is_domain_name(&target) {
        w.danger("target_domain_invalid");
        return Err(Stop::Refused);
    }
    if !w.state.knows_domain(&target) {
        w.danger("access_denied");
        return Err(Stop::Refused);
    }
    for name in php::pieces(&sent.to_text()) {
        let name = php::to_punycode(&name);
        if !php::is_domain_name(&name) {
            return Err(Stop::crash());
        }
        match refusal(w.state, &name, &target) {
            Some(msg) => w.danger(msg),
            None => insert(w, &name, &target, attr),
        }
    }
    Ok(())
}

fn refusal(state: &State, name: &str, target: &str) -> Option<Json> {
    let escaped = php::html_escape(target);
    if name == target {
        return Some(list!["aliasd_targetd_identical", escaped]);
    }
    match state.domain(target) {
        None => Some(list!["targetd_not_found", escaped]),
        Some(domain) if domain.backupmx == 1 => Some(list!["targetd_relay_domain", escaped]),
        Some(_) => state.knows_domain(name).then(|| list!["alias_domain_invalid", name]),
    }
}

fn insert(w: &mut Writer<'_>, name: &str, target: &str, attr: &Json) {
    let alias_domain = AliasDomain {
        name: name.to_owned(),
        target: target.to_owned(),
        active: attr.get("active").to_int(),
        created: clock::now(),
        modified: None,
    };
    w.state.alias_domains.insert(php::collated(name), alias_domain);
    let limit = attr.get("rl_value");
    if limit.to_int() != 0 {
        rate_limit::of_new_domain(w, name, limit, attr.get("rl_frame"));
    }
    let (size, selector) = (attr.get("key_size"), attr.get("dkim_selector"));
    if size.truthy() && selector.truthy() {
        dkim::of_new_domain(w, name, size, selector);
    }
    w.success(list!["aliasd_added", php::html_escape(name)]);
}

/// `edit/alias-domain`
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let name = php::to_punycode(php::trim(&item.to_text()));
        let Some(mut after) = w.state.alias_domain(&name).cloned() else {
            w.danger(list!["alias_domain_invalid", php::html_escape(&name)]);
            continue;
        };
        let before = after.clone();
        if attr.get("target_domain").truthy() {
            after.target = php::to_punycode(php::trim(&attr.get("target_domain").to_text()));
        }
        if attr.is_set("active") {
            after.active = attr.get("active").to_int();
        }
        let invalid = list!["target_domain_invalid", php::html_escape(&after.target)];
        if !php::is_domain_name(&after.target) {
            w.danger(invalid);
        } else if !w.state.knows_domain(&after.target) {
            w.danger("access_denied");
        } else if w.state.domain(&after.target).is_none() {
            w.danger(invalid);
        } else {
            if after != before {
                after.modified = Some(clock::now());
            }
            w.state.alias_domains.insert(php::collated(&name), after);
            w.success(list!["aliasd_modified", php::html_escape(&name)]);
        }
    }
    Ok(())
}

/// `delete/alias-domain`. Its rate limit stays behind, and comes back with the name.
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let name = item.to_text();
        if !php::is_domain_name(&name) {
            w.danger("domain_invalid");
            continue;
        }
        let Some(gone) = w.state.alias_domains.remove(&php::collated(&name)) else {
            w.danger("access_denied");
            continue;
        };
        let end = format!("@{}", gone.name);
        w.state.aliases.retain(|_, alias| alias.domain != gone.name);
        w.state.timed_aliases.retain(|_, alias| !alias.address.ends_with(&end));
        w.success(list!["alias_domain_removed", php::html_escape(&name)]);
    }
    Ok(())
}

/// `get/alias-domain/{domain}`
pub(crate) fn get(state: &State, name: &str) -> Json {
    state.alias_domain(&php::to_punycode(name)).map_or(Json::Null, |a| show(state, a))
}

/// `get/alias-domain/all[/{target}]`
pub(crate) fn all(state: &State, target: &str) -> Json {
    let wanted = state.alias_domains.values().filter(|a| target.is_empty() || a.target.eq_ignore_ascii_case(target));
    Json::List(wanted.map(|a| show(state, a)).collect())
}

fn show(state: &State, alias_domain: &AliasDomain) -> Json {
    obj! {
        "alias_domain" => &alias_domain.name,
        "parent_is_backupmx" => state.domain(&alias_domain.target).map_or(0, |d| d.backupmx),
        "target_domain" => &alias_domain.target,
        "active" => alias_domain.active,
        "active_int" => alias_domain.active,
        "rl" => rate_limit::shown(state, &alias_domain.name),
        "created" => &alias_domain.created,
        "modified" => alias_domain.modified.clone(),
    }
}
