//! Sieve filters of mailboxes and the two global ones.

use crate::json::{Json, list, obj};
use crate::php;
use crate::sieve;
use crate::state::{Backend, FilterKind, SieveFilter, State};
use crate::writer::{Done, Stop, Writer};

/// The longest script and description the database takes.
const MAX_SCRIPT: usize = 65_535;
const MAX_DESCRIPTION: usize = 255;

/// `add/filter`. The others of its kind are put out before the new one is stored, so they stay out
/// when that fails.
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    let script = attr.get("script_data").to_text();
    let description = attr.get("script_desc").to_text();
    let Some(kind) = checked(w, attr, &username, &script, &description) else { return Ok(()) };
    let active = attr.get("active").to_int() != 0;
    if active {
        put_out(w.state, &username, kind);
    }
    fits(&script, &description)?;
    let id = w.state.next_filter_id;
    w.state.next_filter_id += 1;
    let filter = SieveFilter { id, username: username.clone(), kind, script, description, active };
    w.state.filters.insert(id, filter);
    w.success(list!["mailbox_modified", &username]);
    Ok(())
}

/// The kind of a new filter; `None` when something is wrong with it.
fn checked(w: &mut Writer<'_>, attr: &Json, username: &str, script: &str, description: &str) -> Option<FilterKind> {
    let kind = FilterKind::parse(&attr.get("filter_type").to_text());
    let verdict = sieve::check(script);
    if !php::is_email(username) {
        w.danger("no_user_defined");
    } else if !w.state.has_mailbox(username) {
        w.danger("access_denied");
    } else if ["", "0"].contains(&script) {
        w.danger("script_empty");
    } else if let Err(error) = verdict {
        w.danger(list!["sieve_error", error]);
    } else if ["", "0"].contains(&description) {
        w.danger("value_missing");
    } else if kind.is_none() {
        w.danger("filter_type");
    } else {
        return kind;
    }
    None
}

fn put_out(state: &mut State, username: &str, kind: FilterKind) {
    let same = |f: &&mut SieveFilter| f.kind == kind && f.username.eq_ignore_ascii_case(username);
    for filter in state.filters.values_mut().filter(same) {
        filter.active = false;
    }
}

fn fits(script: &str, description: &str) -> Done {
    if description.chars().count() > MAX_DESCRIPTION {
        return Err(Stop::too_long("script_desc"));
    }
    if script.len() > MAX_SCRIPT {
        return Err(Stop::too_long("script_data"));
    }
    Ok(())
}

/// `edit/filter`
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let found = w.state.filters.get(&item.to_int()).filter(|_| item.is_numeric());
        let Some(mut filter) = found.filter(|f| w.state.has_mailbox(&f.username)).cloned() else {
            w.danger("access_denied");
            continue;
        };
        if attr.get("script_data").truthy() {
            filter.script = attr.get("script_data").to_text();
        }
        if attr.get("script_desc").truthy() {
            filter.description = attr.get("script_desc").to_text();
        }
        if attr.is_set("active") {
            filter.active = attr.get("active").to_int() == 1;
        }
        if let Err(error) = sieve::check(&filter.script) {
            w.danger(list!["sieve_error", error]);
            continue;
        }
        if attr.get("filter_type").truthy() {
            let Some(kind) = FilterKind::parse(&attr.get("filter_type").to_text()) else {
                w.danger("filter_type");
                continue;
            };
            filter.kind = kind;
        }
        if filter.active {
            put_out(w.state, &filter.username, filter.kind);
        }
        fits(&filter.script, &filter.description)?;
        let username = filter.username.clone();
        w.state.filters.insert(filter.id, filter);
        w.success(list!["mailbox_modified", &username]);
    }
    Ok(())
}

/// `delete/filter`: what is no number is passed over.
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items.iter().filter(|item| item.is_numeric()) {
        if w.state.filters.remove(&item.to_int()).is_some() {
            w.success(list!["delete_filter", item]);
        } else {
            w.danger("access_denied");
        }
    }
    Ok(())
}

/// `get/filters/{mailbox}`
pub(crate) fn of_mailbox(state: &State, username: &str) -> Json {
    let of = state.filters.values().filter(|f| f.username.eq_ignore_ascii_case(username));
    Json::List(of.map(show).collect())
}

/// `get/filters/all`: mailbox by mailbox.
pub(crate) fn all(state: &State) -> Json {
    let reachable = |f: &&SieveFilter| state.has_mailbox(&f.username);
    let mut filters: Vec<&SieveFilter> = state.filters.values().filter(reachable).collect();
    filters.sort_by_key(|f| (php::collated(&f.username), f.id));
    Json::List(filters.into_iter().map(show).collect())
}

fn show(filter: &SieveFilter) -> Json {
    obj! {
        "active" => i64::from(filter.active),
        "id" => filter.id,
        "username" => &filter.username,
        "filter_type" => filter.kind.name(),
        "script_data" => &filter.script,
        "script_desc" => &filter.description,
    }
}

/// `add/global-filter`: overwrites the file and restarts Dovecot.
pub(crate) fn add_global(w: &mut Writer<'_>, attr: &Json) -> Done {
    let script = attr.get("script_data").to_text().replace("\r\n", "\n");
    if let Err(error) = sieve::check(&script) {
        w.danger(list!["sieve_error", error]);
        return Ok(());
    }
    let Some(kind) = FilterKind::parse(&attr.get("filter_type").to_text()) else {
        w.danger("invalid_filter_type");
        return Ok(());
    };
    w.state.global_filters[kind as usize] = script;
    if w.state.backend == Backend::DockerapiFails {
        w.warning("dovecot_restart_failed");
    } else {
        w.success("dovecot_restart_success");
    }
    w.success("global_filter_written");
    Ok(())
}

/// `get/global_filters/{all|prefilter|postfilter}`; `None` for any other.
pub(crate) fn global(state: &State, which: &str) -> Option<Json> {
    let [before, after] = &state.global_filters;
    match which {
        "all" => Some(obj! { "prefilter" => before, "postfilter" => after }),
        "prefilter" => Some(Json::from(before)),
        "postfilter" => Some(Json::from(after)),
        _ => None,
    }
}
