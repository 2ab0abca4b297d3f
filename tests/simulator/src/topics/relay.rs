//! Hosts that mail is handed on to: relay hosts, which domains and mailboxes choose, and transports, which
//! the recipient chooses.

use std::net::IpAddr;

use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::writer::{Done, Stop, Writer};

const HOSTS: &str = "relayhost";
const TRANSPORTS: &str = "transport";

/// Colons separate a name from a password later on.
fn colons_escaped(text: &str) -> String {
    text.replace(':', "\\:")
}

fn trimmed(attr: &Json, key: &str) -> String {
    php::trim(&attr.get(key).to_text()).to_owned()
}

/// The beginning of a password, as reads show it beside the whole.
fn shortened(row: &Json) -> String {
    format!("{}...", row.get("password").to_text().chars().take(3).collect::<String>())
}

/// `add/relayhost`: the colons of the password are escaped twice.
pub(crate) fn add_host(w: &mut Writer<'_>, attr: &Json) -> Done {
    let hostname = trimmed(attr, "hostname");
    if !Json::from(&hostname).truthy() {
        w.danger(list!["invalid_host", ""]);
        return Err(Stop::Refused);
    }
    let row = obj! {
        "hostname" => hostname,
        "username" => colons_escaped(&trimmed(attr, "username")),
        "password" => colons_escaped(&colons_escaped(&trimmed(attr, "password"))),
        "active" => 1,
    };
    w.state.tables.insert(HOSTS, "id", row);
    w.success(list!["relayhost_added", ""]);
    Ok(())
}

fn row(state: &State, table: &str, item: &Json) -> Option<(i64, Json)> {
    let id = php::leading_id(&item.to_text())?;
    state.tables.get(table, id).map(|row| (id, row.clone()))
}

/// `edit/relayhost`: nothing is escaped here.
pub(crate) fn edit_host(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let Some((id, mut row)) = row(w.state, HOSTS, item) else {
            w.danger(list!["relayhost_invalid", item]);
            continue;
        };
        if attr.get("hostname").truthy() {
            row.set("hostname", trimmed(attr, "hostname"));
        }
        for key in ["username", "password"] {
            if attr.is_set(key) {
                row.set(key, trimmed(attr, key));
            }
        }
        if attr.is_set("active") {
            row.set("active", attr.get("active").to_int());
        }
        w.state.tables.put(HOSTS, id, row);
        w.success(list!["object_modified", ""]);
    }
    Ok(())
}

/// `delete/relayhost`: domains forget it, mailboxes do not.
pub(crate) fn delete_hosts(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let id = item.to_text();
        for domain in w.state.domains.values_mut().filter(|domain| domain.relayhost == id) {
            "0".clone_into(&mut domain.relayhost);
            domain.modified = Some(crate::clock::now());
        }
        delete(w, HOSTS, item);
    }
    Ok(())
}

/// Success even where there was none.
fn delete(w: &mut Writer<'_>, table: &'static str, item: &Json) {
    w.state.tables.remove(table, php::leading_id(&item.to_text()).unwrap_or(0));
    w.success(list!["relayhost_removed", php::html_escape(&item.to_text())]);
}

/// `get/relayhost/{all|id}`
pub(crate) fn get_host(state: &State, which: &str) -> Json {
    let show = |row: &Json| {
        let mut shown = row.clone();
        let id = row.get("id").to_text();
        let domains = state.domains.values().filter(|d| d.relayhost == id).map(|d| d.name.as_str());
        let mailboxes = state.mailboxes.values().filter(|m| m.attributes.relayhost == id);
        let mailboxes: Vec<&str> = mailboxes.map(|m| m.username.as_str()).collect();
        shown.set("password_short", shortened(row));
        shown.set("used_by_domains", domains.collect::<Vec<_>>().join(", "));
        shown.set("used_by_mailboxes", mailboxes.join(", "));
        shown
    };
    get(state, HOSTS, which, show)
}

/// `get/transport/{all|id}`
pub(crate) fn get_transport(state: &State, which: &str) -> Json {
    let show = |row: &Json| {
        let mut shown = row.clone();
        shown.set("password_short", shortened(row));
        shown
    };
    get(state, TRANSPORTS, which, show)
}

fn get(state: &State, table: &str, which: &str, show: impl Fn(&Json) -> Json) -> Json {
    if which == "all" {
        return Json::List(state.tables.all(table).into_iter().map(show).collect());
    }
    row(state, table, &Json::from(which)).map_or(Json::Null, |(_, row)| show(&row))
}

/// The host of a next hop in brackets.
fn bracketed(nexthop: &str) -> Option<&str> {
    let (_, rest) = nexthop.split_once('[')?;
    rest.rsplit_once(']').map(|(host, _)| host).filter(|host| !host.is_empty())
}

/// Whether a transport may lead there; expressions are not looked into.
fn is_destination(destination: &str, is_mx_based: bool) -> bool {
    let bare = destination.strip_prefix('.').unwrap_or(destination);
    is_mx_based || php::is_domain_name(bare) || destination == "*" || php::is_email(destination)
}

/// `add/transport`. Destinations are looked at only when there is a transport already.
pub(crate) fn add_transport(w: &mut Writer<'_>, attr: &Json) -> Done {
    let mut nexthop = trimmed(attr, "nexthop");
    if nexthop.parse::<IpAddr>().is_ok() {
        nexthop = format!("[{nexthop}]");
    }
    if !Json::from(&nexthop).truthy() {
        w.danger(list!["invalid_nexthop"]);
        return Err(Stop::Refused);
    }
    let username = colons_escaped(&trimmed(attr, "username"));
    let password = colons_escaped(&trimmed(attr, "password"));
    let is_mx_based = attr.get("is_mx_based").to_int();
    let mut destinations = php::pieces(&attr.get("destination").to_text());
    destinations.dedup();
    let clean = bracketed(&nexthop).unwrap_or(&nexthop).to_owned();
    let others: Vec<Json> = w.state.tables.all(TRANSPORTS).into_iter().cloned().collect();
    for other in &others {
        let theirs = other.get("nexthop").to_text();
        if (theirs == nexthop || theirs == clean) && other.get("username").to_text() != username {
            w.danger("invalid_nexthop_authenticated");
            return Err(Stop::Refused);
        }
        destinations.retain(|destination| {
            if other.get("destination").to_text() == *destination {
                w.danger(list!["transport_dest_exists", destination]);
                return false;
            }
            let valid = is_destination(destination, is_mx_based == 1);
            if !valid {
                w.danger(list!["invalid_destination", destination]);
            }
            valid
        });
    }
    if destinations.is_empty() {
        return Err(Stop::Refused);
    }
    if let Some(msg) = interference(&nexthop, &others) {
        w.danger(msg);
        return Err(Stop::Refused);
    }
    for destination in destinations {
        let row = obj! {
            "is_mx_based" => is_mx_based,
            "destination" => destination,
            "nexthop" => &nexthop,
            "username" => &username,
            "password" => &password,
            "active" => attr.get("active").to_int(),
        };
        w.state.tables.insert(TRANSPORTS, "id", row);
    }
    share_login(w.state, &nexthop, &username, &password);
    w.success(list!["relayhost_added", ""]);
    Ok(())
}

/// A host may not stand with and without brackets.
fn interference(nexthop: &str, others: &[Json]) -> Option<Json> {
    let theirs = others.iter().map(|other| other.get("nexthop").to_text());
    match bracketed(nexthop) {
        Some(clean) => {
            theirs.into_iter().any(|other| other == clean).then(|| list!["next_hop_interferes", clean, nexthop])
        }
        None => theirs
            .into_iter()
            .any(|other| bracketed(&other) == Some(nexthop))
            .then(|| list!["next_hop_interferes_any", nexthop]),
    }
}

/// All transports over one host log in with one name.
fn share_login(state: &mut State, nexthop: &str, username: &str, password: &str) {
    let ids: Vec<i64> = state.tables.all(TRANSPORTS).into_iter().map(|row| row.get("id").to_int()).collect();
    for id in ids {
        if let Some(row) = state.tables.get_mut(TRANSPORTS, id)
            && row.get("nexthop").to_text() == nexthop
        {
            row.set("username", username);
            row.set("password", password);
        }
    }
}

/// `edit/transport`
pub(crate) fn edit_transport(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let Some((id, mut row)) = row(w.state, TRANSPORTS, item) else {
            w.danger(list!["relayhost_invalid", item]);
            continue;
        };
        for key in ["destination", "nexthop"] {
            if attr.get(key).truthy() {
                row.set(key, trimmed(attr, key));
            }
        }
        for key in ["username", "password"] {
            if attr.is_set(key) {
                row.set(key, trimmed(attr, key));
            }
        }
        for key in ["is_mx_based", "active"] {
            if attr.is_set(key) && *attr.get(key) != Json::from("") {
                row.set(key, attr.get(key).to_int());
            }
        }
        let (destination, mut nexthop) = (row.get("destination").to_text(), row.get("nexthop").to_text());
        if nexthop.parse::<IpAddr>().is_ok() {
            nexthop = format!("[{nexthop}]");
            row.set("nexthop", &nexthop);
        }
        let others = w.state.tables.all(TRANSPORTS).into_iter().filter(|other| other.get("id").to_int() != id);
        let others: Vec<Json> = others.cloned().collect();
        let problem = if others.iter().any(|other| other.get("destination").to_text() == destination) {
            Some(Json::from("transport_dest_exists"))
        } else if is_destination(&destination, row.get("is_mx_based").to_int() == 1) {
            interference(&nexthop, &others)
        } else {
            Some(list!["invalid_destination", &destination])
        };
        if let Some(problem) = problem {
            w.danger(problem);
            return Err(Stop::Refused);
        }
        let username = row.get("username").to_text();
        if username.is_empty() {
            row.set("password", "");
        }
        let password = row.get("password").to_text();
        w.state.tables.put(TRANSPORTS, id, row);
        share_login(w.state, &nexthop, &username, &password);
        w.success(list!["object_modified", ""]);
    }
    Ok(())
}

/// `delete/transport`
pub(crate) fn delete_transports(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        delete(w, TRANSPORTS, item);
    }
    Ok(())
}
