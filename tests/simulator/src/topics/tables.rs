//! Rows of tables that have no type of their own, and the forwarding hosts, which are kept much as they are sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::clock;
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

    /// Puts a changed row in the place of the old one.
    pub(crate) fn put(&mut self, table: &str, id: i64, row: Json) {
        if let Some(old) = self.get_mut(table, id) {
            *old = row;
        }
    }

    /// Puts one text in the place of another in some columns; a changed row gets a new date.
    pub(crate) fn replace(&mut self, table: &str, columns: &[&str], old: &str, new: &str) {
        for row in self.rows.get_mut(table).into_iter().flat_map(|rows| rows.values_mut()) {
            for column in columns {
                let now = row.get(column).to_text();
                if now.eq_ignore_ascii_case(old) && now != new {
                    row.set(column, new);
                    row.set("modified", clock::now());
                }
            }
        }
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
