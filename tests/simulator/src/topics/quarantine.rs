//! Mails held back.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{Postfix, QuarantineItem, ReleaseFormat, Rspamd, State};
use crate::writer::{Done, Stop, Writer};

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

/// `edit/qitem`: `release` and `learnham` are the same.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    match attr.get("action").to_text().as_str() {
        "release" | "learnham" => release(w, items),
        "learnspam" => learn_spam(w, items),
        _ => Ok(()),
    }
}

/// The mail of an item; what names none is reported.
fn find(w: &mut Writer<'_>, item: &Json) -> Option<QuarantineItem> {
    let id = php::leading_id(&item.to_text()).filter(|_| item.is_numeric());
    let found = id.and_then(|id| w.state.quarantine.get(&id)).filter(|mail| !mail.rcpt.is_empty()).cloned();
    if found.is_none() {
        w.danger("access_denied");
    }
    found
}

/// Sends mails to Postfix, takes them out of the quarantine and has Rspamd learn them. Without a format
/// nothing is sent, and all the rest is done all the same.
fn release(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let Some(mail) = find(w, item) else { continue };
        let format = w.state.release.format;
        match (format, w.state.release.postfix.clone()) {
            (_, Postfix::Unknown) => {
                w.warning(list!["release_send_failed", "Cannot determine Postfix host"]);
                continue;
            }
            (None, _) => {}
            (Some(_), Postfix::Up) => w.state.release.sent.push((mail.rcpt.clone(), mail.msg.clone())),
            (Some(ReleaseFormat::Attachment), Postfix::Down | Postfix::Refuses(_)) => return Err(Stop::crash()),
            (Some(ReleaseFormat::Raw), Postfix::Down) => {
                w.warning("Cannot connect to Postfix");
                return Err(Stop::Refused);
            }
            (Some(ReleaseFormat::Raw), Postfix::Refuses(line)) => {
                w.warning(format!("Postfix returned SMTP code {line}\r\n, expected 250"));
                return Err(Stop::Refused);
            }
        }
        w.state.quarantine.remove(&mail.id);
        w.success(list!["item_released", item]);
        learn(w, item, "ham_learn_error", "learned_ham");
    }
    Ok(())
}

/// Takes mails out of the quarantine and has Rspamd learn them.
fn learn_spam(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if let Some(mail) = find(w, item) {
            w.state.quarantine.remove(&mail.id);
            learn(w, item, "spam_learn_error", "qlearn_spam");
        }
    }
    Ok(())
}

/// What Rspamd answers when it is to learn a mail.
fn learn(w: &mut Writer<'_>, item: &Json, failure: &str, success: &str) {
    match w.state.release.rspamd.clone() {
        Rspamd::Down => w.danger(list![failure, "Curl: Couldn't connect to server"]),
        Rspamd::Up => w.success(list![success, item]),
        Rspamd::Fails(error) if error.contains("already learned") => {
            w.warning(list!["fuzzy_learn_error", &error]);
            w.success(list![success, item]);
        }
        Rspamd::Fails(error) => w.danger(list![failure, &error]),
    }
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
