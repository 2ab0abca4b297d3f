//! Mails held back.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::state::{QuarantineItem, State};
use crate::writer::{Done, Writer};

/// `get/quarantine/{all|id}`: nothing is `[]` here.
pub(crate) fn get(state: &State, which: &str) -> Json {
    if which == "all" {
        return Json::List(state.quarantine.values().map(summary).collect());
    }
    let id = Json::from(which).to_int();
    state.quarantine.get(&id).map_or_else(|| list![], details)
}

fn summary(item: &QuarantineItem) -> Json {
    obj! {
        "id" => item.id,
        "qid" => &item.qid,
        "subject" => &item.subject,
        "virus_flag" => 0,
        "score" => item.score,
        "rcpt" => &item.rcpt,
        "sender" => &item.sender,
        "action" => &item.action,
        "created" => item.created,
        "notified" => 0,
    }
}

fn details(item: &QuarantineItem) -> Json {
    obj! {
        "id" => item.id,
        "qid" => &item.qid,
        "subject" => &item.subject,
        "score" => item.score,
        "ip" => &item.ip,
        "action" => &item.action,
        "symbols" => &item.symbols,
        "fuzzy_hashes" => "[]",
        "sender" => &item.sender,
        "rcpt" => &item.rcpt,
        "msg" => &item.msg,
        "domain" => &item.domain,
        "notified" => 0,
        "created" => clock::format(item.created),
        "user" => "unknown",
        "qhash" => &item.qhash,
    }
}

/// `edit/qitem`: there is no Postfix behind this server that could take a mail.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let action = attr.get("action").to_text();
    if !["release", "learnham", "learnspam"].contains(&action.as_str()) {
        return Ok(());
    }
    for item in items {
        if w.state.quarantine.contains_key(&item.to_int()) {
            w.warning(list!["release_send_failed", "Cannot determine Postfix host"]);
        } else {
            w.danger("access_denied");
        }
    }
    Ok(())
}

/// `delete/qitem`: success even where there was none.
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if item.is_numeric() {
            w.state.quarantine.remove(&item.to_int());
            w.success(list!["item_deleted", item]);
        } else {
            w.danger("access_denied");
        }
    }
    Ok(())
}
