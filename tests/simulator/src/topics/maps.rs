//! Blind copies, maps of recipients and TLS policies, lists of senders, and jobs that fetch mail.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::writer::{Done, Stop, Writer};

/// `add/bcc`
pub(crate) fn add_bcc(w: &mut Writer<'_>, attr: &Json) -> Done {
    let local = attr.get("local_dest").to_text();
    let kind = attr.get("type").to_text();
    // A whole domain is written without the sign.
    if !php::is_email(&local) && !w.state.knows_domain(&local) {
        return Err(Stop::Refused);
    }
    let same = |row: &&Json| row.get("local_dest").to_text() == local && row.get("type").to_text() == kind;
    if w.state.tables.all("bcc").iter().any(same) {
        w.danger(list!["bcc_exists", &local, &kind]);
        return Ok(());
    }
    let row = obj! {
        "local_dest" => &local,
        "bcc_dest" => attr.get("bcc_dest").to_text(),
        "active" => attr.get("active").to_int(),
        "type" => &kind,
        "created" => clock::now(),
        "domain" => local.rsplit_once('@').map_or(local.as_str(), |(_, domain)| domain),
        "modified" => Json::Null,
    };
    w.state.tables.insert("bcc", "id", row);
    w.success("bcc_saved");
    Ok(())
}

/// `edit/bcc`
pub(crate) fn edit_bcc(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let Some(row) = w.state.tables.get_mut("bcc", item.to_int()) else {
            w.danger("access_denied");
            continue;
        };
        if attr.is_set("active") {
            row.set("active", attr.get("active").to_int());
        }
        if attr.get("bcc_dest").truthy() {
            row.set("bcc_dest", attr.get("bcc_dest").to_text());
        }
        row.set("modified", clock::now());
        let dest = row.get("bcc_dest").to_text();
        w.success(list!["bcc_edited", dest]);
    }
    Ok(())
}

/// `delete/bcc`
pub(crate) fn delete_bcc(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if w.state.tables.remove("bcc", item.to_int()).is_some() {
            w.success(list!["bcc_deleted", item]);
        } else {
            w.danger("access_denied");
        }
    }
    Ok(())
}

/// `get/bcc/{id}`, with a stray element behind.
pub(crate) fn get_bcc(state: &State, which: &str) -> Json {
    let mut found = super::tables::get(state, "bcc", which);
    if let Json::Map(_) = found {
        found.set("0", Json::Null);
    }
    found
}

/// A map of recipients or TLS policies: the keys it keeps.
fn add_map(w: &mut Writer<'_>, table: &'static str, attr: &Json, keys: [&str; 2]) {
    let mut row = obj! {};
    for key in keys {
        row.set(key, attr.get(key).to_text());
    }
    if table == "tls-policy-map" {
        row.set("parameters", attr.get("parameters").to_text());
    }
    row.set("active", attr.get("active").to_int());
    row.set("created", clock::now());
    row.set("modified", Json::Null);
    w.state.tables.insert(table, "id", row);
}

fn delete_map(w: &mut Writer<'_>, table: &'static str, items: &[Json], code: &str) -> Done {
    for item in items {
        w.state.tables.remove(table, item.to_int());
        w.success(list![code, item.to_text()]);
    }
    Ok(())
}

/// `add/recipient_map`
pub(crate) fn add_recipient(w: &mut Writer<'_>, attr: &Json) -> Done {
    add_map(w, "recipient_map", attr, ["recipient_map_old", "recipient_map_new"]);
    w.success(list!["recipient_map_entry_saved", attr.get("recipient_map_old").to_text()]);
    Ok(())
}

/// `delete/recipient_map`
pub(crate) fn delete_recipient(w: &mut Writer<'_>, items: &[Json]) -> Done {
    delete_map(w, "recipient_map", items, "recipient_map_entry_deleted")
}

/// `add/tls-policy-map`
pub(crate) fn add_tls(w: &mut Writer<'_>, attr: &Json) -> Done {
    add_map(w, "tls-policy-map", attr, ["dest", "policy"]);
    w.success(list!["tls_policy_map_entry_saved", attr.get("dest").to_text()]);
    Ok(())
}

/// `delete/tls-policy-map`
pub(crate) fn delete_tls(w: &mut Writer<'_>, items: &[Json]) -> Done {
    delete_map(w, "tls-policy-map", items, "tls_policy_map_entry_deleted")
}

/// `add/domain-policy`
pub(crate) fn add_domain_policy(w: &mut Writer<'_>, attr: &Json) -> Done {
    let domain = attr.get("domain").to_text();
    let known = w.state.knows_domain(&domain);
    add_policy(w, attr, &domain, known, "domain_modified");
    Ok(())
}

/// `add/mailbox-policy`
pub(crate) fn add_mailbox_policy(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    let known = w.state.has_mailbox(&username);
    add_policy(w, attr, &username, known, "mailbox_modified");
    Ok(())
}

fn add_policy(w: &mut Writer<'_>, attr: &Json, object: &str, known: bool, code: &str) {
    if !known {
        w.danger("access_denied");
        return;
    }
    let row = obj! {
        "object" => object,
        "value" => attr.get("object_from").to_text(),
        "list" => attr.get("object_list").to_text(),
    };
    w.state.tables.insert("policy", "prefid", row);
    w.success(list![code, object]);
}

/// `delete/domain-policy` and `delete/mailbox-policy`
pub(crate) fn delete_policy(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        w.state.tables.remove("policy", item.to_int());
        w.success(list!["item_deleted", item]);
    }
    Ok(())
}

/// `get/policy_{bl|wl}_{domain|mailbox}/{object}`
pub(crate) fn policies(state: &State, list: &str, object: &str) -> Json {
    let rows = state.tables.all("policy").into_iter();
    let of = rows.filter(|row| row.get("object").to_text() == object && row.get("list").to_text() == list);
    let shown = of.map(|row| {
        obj! { "object" => object, "value" => row.get("value"), "prefid" => row.get("prefid") }
    });
    Json::List(shown.collect())
}

/// `add/syncjob`
pub(crate) fn add_syncjob(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    if !w.state.has_mailbox(&username) {
        w.danger("access_denied");
        return Ok(());
    }
    let mut row = obj! { "user2" => &username, "authmech1" => "PLAIN", "regextrans2" => "", "authmd51" => 0 };
    row.set("domain2", "");
    for key in ["host1", "subfolder2", "user1", "exclude", "enc1", "custom_params", "maxbytespersecond"] {
        row.set(key, attr.get(key).to_text());
    }
    for key in [
        "maxage",
        "mins_interval",
        "port1",
        "delete2duplicates",
        "delete1",
        "delete2",
        "automap",
        "skipcrossduplicates",
        "timeout1",
        "timeout2",
        "subscribeall",
        "dry",
        "active",
    ] {
        row.set(key, attr.get(key).to_int());
    }
    row.set("is_running", 0);
    for key in ["last_run", "success", "exit_status", "modified"] {
        row.set(key, Json::Null);
    }
    row.set("created", clock::now());
    row.set("log", "");
    w.state.tables.insert("syncjob", "id", row);
    w.success(list!["mailbox_modified", &username]);
    Ok(())
}

/// `delete/syncjob`
pub(crate) fn delete_syncjob(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if w.state.tables.remove("syncjob", item.to_int()).is_some() {
            w.success(list!["deleted_syncjob", item]);
        } else {
            w.danger("access_denied");
        }
    }
    Ok(())
}

/// `get/syncjobs/{all|mailbox}`
pub(crate) fn syncjobs(state: &State, which: &str) -> Json {
    let rows = state.tables.all("syncjob").into_iter();
    Json::List(rows.filter(|row| which == "all" || row.get("user2").to_text() == which).cloned().collect())
}
