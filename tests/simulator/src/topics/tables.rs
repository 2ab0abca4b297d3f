//! Objects that are kept much as they are sent: relay hosts, transports, forwarding hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::json::{Json, list, obj};
use crate::state::State;
use crate::writer::{Done, Writer};

/// Rows by table and id. Ids are not used again.
#[derive(Default)]
pub(crate) struct Tables {
    rows: BTreeMap<&'static str, BTreeMap<i64, Json>>,
    last: BTreeMap<&'static str, i64>,
}

impl Tables {
    /// Stores a row behind its new id.
    pub(crate) fn insert(&mut self, table: &'static str, id_key: &str, row: Json) {
        let last = self.last.entry(table).or_default();
        *last += 1;
        let mut stored = obj! { id_key => *last };
        if let Json::Map(pairs) = row {
            for (key, value) in pairs {
                stored.set(&key, value);
            }
        }
        self.rows.entry(table).or_default().insert(*last, stored);
    }

    pub(crate) fn remove(&mut self, table: &'static str, id: i64) -> Option<Json> {
        self.rows.get_mut(table)?.remove(&id)
    }

    pub(crate) fn get(&self, table: &str, id: i64) -> Option<&Json> {
        self.rows.get(table)?.get(&id)
    }

    pub(crate) fn get_mut(&mut self, table: &str, id: i64) -> Option<&mut Json> {
        self.rows.get_mut(table)?.get_mut(&id)
    }

    /// The rows of a table, oldest first.
    pub(crate) fn all(&self, table: &str) -> Vec<&Json> {
        self.rows.get(table).map(|rows| rows.values().collect()).unwrap_or_default()
    }

    /// Keeps only the rows that pass.
    pub(crate) fn retain(&mut self, table: &str, keep: impl Fn(&Json) -> bool) {
        if let Some(rows) = self.rows.get_mut(table) {
            rows.retain(|_, row| keep(row));
        }
    }
}

/// `get/{table}/{all|id}`
pub(crate) fn get(state: &State, table: &str, which: &str) -> Json {
    if which == "all" {
        return Json::from(state.tables.all(table));
    }
    state.tables.get(table, Json::from(which).to_int()).cloned().unwrap_or_default()
}

fn number(attr: &Json, key: &str, otherwise: i64) -> i64 {
    if attr.is_set(key) { attr.get(key).to_int() } else { otherwise }
}

/// The beginning of a password, as lists show it beside the whole.
fn shortened(password: &str) -> String {
    format!("{}...", password.chars().take(3).collect::<String>())
}

/// `add/relayhost`
pub(crate) fn add_relayhost(w: &mut Writer<'_>, attr: &Json) -> Done {
    let password = attr.get("password").to_text();
    let row = obj! {
        "hostname" => attr.get("hostname").to_text(),
        "username" => attr.get("username").to_text(),
        "password" => &password,
        "active" => number(attr, "active", 1),
        "password_short" => shortened(&password),
        "used_by_domains" => "",
        "used_by_mailboxes" => "",
    };
    w.state.tables.insert("relayhost", "id", row);
    w.success(list!["relayhost_added", ""]);
    Ok(())
}

/// `edit/relayhost`
pub(crate) fn edit_relayhost(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let Some(row) = w.state.tables.get_mut("relayhost", item.to_int()) else {
            w.danger("relayhost_invalid");
            continue;
        };
        for key in ["hostname", "username", "password"] {
            if attr.is_set(key) {
                row.set(key, attr.get(key).to_text());
            }
        }
        if attr.is_set("active") {
            row.set("active", attr.get("active").to_int());
        }
        w.success(list!["object_modified", ""]);
    }
    Ok(())
}

/// `delete/relayhost`
pub(crate) fn delete_relayhost(w: &mut Writer<'_>, items: &[Json]) -> Done {
    delete(w, "relayhost", items)
}

/// `add/transport`
pub(crate) fn add_transport(w: &mut Writer<'_>, attr: &Json) -> Done {
    let password = attr.get("password").to_text();
    let row = obj! {
        "is_mx_based" => number(attr, "is_mx_based", 0),
        "destination" => attr.get("destination").to_text(),
        "nexthop" => attr.get("nexthop").to_text(),
        "username" => attr.get("username").to_text(),
        "password" => &password,
        "active" => number(attr, "active", 0),
        "password_short" => shortened(&password),
    };
    w.state.tables.insert("transport", "id", row);
    w.success(list!["relayhost_added", ""]);
    Ok(())
}

/// `delete/transport`
pub(crate) fn delete_transport(w: &mut Writer<'_>, items: &[Json]) -> Done {
    delete(w, "transport", items)
}

fn delete(w: &mut Writer<'_>, table: &'static str, items: &[Json]) -> Done {
    for item in items {
        w.state.tables.remove(table, item.to_int());
        w.success(list!["relayhost_removed", item.to_text()]);
    }
    Ok(())
}

/// `add/fwdhost`: only addresses are taken, as there is no name server behind this one.
pub(crate) fn add_fwdhost(w: &mut Writer<'_>, attr: &Json) -> Done {
    let host = attr.get("hostname").to_text();
    if host.parse::<IpAddr>().is_err() {
        w.danger(list!["invalid_host", &host]);
        return Ok(());
    }
    let keep = keep_spam(attr.get("filter_spam").to_int() == 0);
    w.state.tables.retain("fwdhost", |row| row.get("host").to_text() != host);
    w.state.tables.insert("fwdhost", "id", obj! { "host" => &host, "source" => &host, "keep_spam" => keep });
    w.success(list!["forwarding_host_added", &host]);
    Ok(())
}

fn keep_spam(keep: bool) -> &'static str {
    if keep { "yes" } else { "no" }
}

/// `edit/fwdhost`
pub(crate) fn edit_fwdhost(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let keep = keep_spam(attr.get("keep_spam").to_int() == 1);
    for item in items {
        let host = item.to_text();
        w.state.tables.retain("fwdhost", |row| row.get("host").to_text() != host);
        w.state.tables.insert("fwdhost", "id", obj! { "host" => &host, "source" => &host, "keep_spam" => keep });
        w.success(list!["object_modified", &host]);
    }
    Ok(())
}

/// `delete/fwdhost`: success even where there was none.
pub(crate) fn delete_fwdhost(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let host = item.to_text();
        w.state.tables.retain("fwdhost", |row| row.get("host").to_text() != host);
        w.success(list!["forwarding_host_removed", &host]);
    }
    Ok(())
}

/// `get/fwdhost/{all|host}`
pub(crate) fn get_fwdhost(state: &State, which: &str) -> Json {
    let shown = |row: &Json| {
        obj! { "host" => row.get("host"), "source" => row.get("source"), "keep_spam" => row.get("keep_spam") }
    };
    let rows = state.tables.all("fwdhost");
    if which == "all" {
        return Json::List(rows.into_iter().map(shown).collect());
    }
    rows.into_iter().find(|row| row.get("host").to_text() == which).map(shown).unwrap_or_default()
}
