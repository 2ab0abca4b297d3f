//! Alias domains and time-limited aliases.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{AliasDomain, State, TimedAlias};
use crate::topics::{dkim, rate_limit};
use crate::writer::{Done, Stop, Writer};

/// `add/alias-domain`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let target = php::to_punycode(attr.get("target_domain").to_text().trim());
    for name in php::pieces(&attr.get("alias_domain").to_text()) {
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
    if !state.knows_domain(target) {
        Some(Json::from("access_denied"))
    } else if name == target {
        Some(list!["aliasd_targetd_identical", target])
    } else if state.domain(target).is_none() {
        Some(list!["targetd_not_found", target])
    } else if state.knows_domain(name) {
        Some(list!["alias_domain_invalid", name])
    } else {
        None
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
    if limit.truthy() {
        rate_limit::of_new_domain(w, name, limit.to_int(), attr.get("rl_frame"));
    }
    let (size, selector) = (attr.get("key_size"), attr.get("dkim_selector"));
    if size.truthy() && selector.truthy() {
        let key = obj! { "key_size" => size, "dkim_selector" => selector, "domains" => name };
        w.within(list!["dkim", "add", &key], |w| dkim::add_all(w, &key));
    }
    w.success(list!["aliasd_added", php::html_escape(name)]);
}

/// `edit/alias-domain`
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let name = php::to_punycode(&item.to_text());
        let Some(mut after) = w.state.alias_domain(&name).cloned() else {
            w.danger(list!["alias_domain_invalid", &name]);
            continue;
        };
        let before = after.clone();
        if attr.get("target_domain").truthy() {
            after.target = php::to_punycode(&attr.get("target_domain").to_text());
        }
        if attr.is_set("active") {
            after.active = attr.get("active").to_int();
        }
        if w.state.domain(&after.target).is_none() {
            w.danger("access_denied");
            continue;
        }
        if after != before {
            after.modified = Some(clock::now());
        }
        w.state.alias_domains.insert(php::collated(&name), after);
        w.success(list!["aliasd_modified", &name]);
    }
    Ok(())
}

/// `delete/alias-domain`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let name = php::to_punycode(&item.to_text());
        if w.state.alias_domains.remove(&php::collated(&name)).is_none() {
            w.danger("access_denied");
            continue;
        }
        w.state.aliases.retain(|_, alias| alias.domain != name);
        w.state.rate_limits.remove(&name);
        w.success(list!["alias_domain_removed", php::html_escape(&name)]);
    }
    Ok(())
}

/// `get/alias-domain/{domain}`
pub(crate) fn get(state: &State, name: &str) -> Json {
    state.alias_domain(&php::to_punycode(name)).map_or(Json::Null, |a| show(state, a))
}

/// `get/alias-domain/all`
pub(crate) fn all(state: &State) -> Json {
    Json::List(state.alias_domains.values().map(|a| show(state, a)).collect())
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

/// `add/time_limited_alias`
pub(crate) fn add_timed(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    if !w.state.has_mailbox(&username) {
        w.danger("access_denied");
        return Ok(());
    }
    let alias = TimedAlias {
        address: format!("{}@{}", made_up_name(), attr.get("domain").to_text()),
        goto: username.clone(),
        description: attr.get("description").to_text(),
        validity: clock::unix_now() + attr.get("validity").to_int() * 3600,
        created: clock::now(),
    };
    w.state.timed_aliases.insert(alias.address.clone(), alias);
    w.success(list!["mailbox_modified", &username]);
    Ok(())
}

/// A pronounceable name of thirteen characters.
fn made_up_name() -> String {
    let letter = |from: &[u8]| char::from(from[usize::from(rand::random::<u8>()) % from.len()]);
    let mut name = String::new();
    for syllable in 0..6 {
        if syllable == 2 {
            name.push('.');
        }
        name.push(letter(b"bcdfgklmnprstz"));
        name.push(letter(b"aeiou"));
    }
    name
}

/// `get/time_limited_aliases/{mailbox}`
pub(crate) fn timed_of(state: &State, username: &str) -> Json {
    let of = state.timed_aliases.values().filter(|a| a.goto == username);
    let shown = of.map(|alias| {
        obj! {
            "address" => &alias.address,
            "goto" => &alias.goto,
            "description" => &alias.description,
            "validity" => alias.validity,
            "created" => &alias.created,
            "modified" => Json::Null,
            "permanent" => 0,
        }
    });
    Json::List(shown.collect())
}
