//! Rate limits of domains and mailboxes. They are kept in Redis, under the name as it was sent.

use crate::json::{Json, list, obj};
use crate::state::{RateLimit, State};
use crate::writer::{Done, Writer};

/// `get/rl-domain/{domain}`: of a domain that exists. Limits may outlive theirs.
pub(crate) fn get_of_domain(state: &State, name: &str) -> Json {
    if state.knows_domain(name) { get(state, name) } else { Json::Null }
}

/// `get/rl-mbox/{mailbox}`: the same for mailboxes.
pub(crate) fn get_of_mailbox(state: &State, name: &str) -> Json {
    if state.has_mailbox(name) { get(state, name) } else { Json::Null }
}

fn get(state: &State, name: &str) -> Json {
    state.rate_limits.get(name).map_or(Json::Null, RateLimit::to_json)
}

/// The limit as a domain or mailbox shows it: `false` when there is none.
pub(crate) fn shown(state: &State, name: &str) -> Json {
    state.rate_limits.get(name).map_or(Json::Bool(false), RateLimit::to_json)
}

/// `get/rl-domain/all`
pub(crate) fn all_domains(state: &State) -> Json {
    let domains = state.domains.values().map(|d| d.name.as_str());
    let aliases = state.alias_domains.values().map(|d| d.name.as_str());
    all(state, domains.chain(aliases), "domain")
}

/// `get/rl-mbox/all`
pub(crate) fn all_mailboxes(state: &State) -> Json {
    let names = state.mailboxes.values().filter(|m| !m.half_deleted).map(|m| m.username.as_str());
    all(state, names, "mailbox")
}

fn all<'a>(state: &State, names: impl Iterator<Item = &'a str>, key: &str) -> Json {
    let mut found = Vec::new();
    for name in names {
        if let Some(limit) = state.rate_limits.get(name) {
            let mut object = limit.to_json();
            object.set(key, name);
            found.push(object);
        }
    }
    Json::List(found)
}

/// `edit/rl-domain`
pub(crate) fn edit_domain(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let name = item.to_text();
        let known = w.state.knows_domain(&name);
        save(w, &name, known, attr);
    }
    Ok(())
}

/// `edit/rl-mbox`
pub(crate) fn edit_mailbox(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let name = item.to_text();
        let known = w.state.has_mailbox(&name);
        save(w, &name, known, attr);
    }
    Ok(())
}

/// Sets or, by a value of 0, clears the limit of one object.
fn save(w: &mut Writer<'_>, name: &str, known: bool, attr: &Json) {
    let frame = attr.get("rl_frame").to_text();
    if !["s", "m", "h", "d"].contains(&frame.as_str()) {
        w.danger("rl_timeframe");
    } else if known {
        match attr.get("rl_value").to_int() {
            0 => drop(w.state.rate_limits.remove(name)),
            value => drop(w.state.rate_limits.insert(name.to_owned(), RateLimit { value, frame })),
        }
        w.success(list!["rl_saved", name]);
    } else {
        w.danger("access_denied");
    }
}

/// Sets the limit of a domain that is just being made.
pub(crate) fn of_new_domain(w: &mut Writer<'_>, name: &str, value: &Json, frame: &Json) {
    let attr = obj! { "rl_value" => value, "rl_frame" => frame, "object" => name };
    w.within(list!["ratelimit", "edit", "domain", &attr], |w| save(w, name, true, &attr));
}

/// Sets the limit of a mailbox that is just being made.
pub(crate) fn of_new_mailbox(w: &mut Writer<'_>, name: &str, value: &Json, frame: &Json) {
    let attr = obj! { "object" => name, "rl_frame" => frame, "rl_value" => value };
    let known = w.state.has_mailbox(name);
    w.within(list!["ratelimit", "edit", "mailbox", &attr], |w| save(w, name, known, &attr));
}
