//! Maps of recipients and of TLS policies.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::writer::{Done, Stop, Writer};

const RECIPIENTS: &str = "recipient_map";
const TLS: &str = "tls-policy-map";

/// An address, or a domain with the sign before it; `None` for anything else.
fn place(sent: &str) -> Option<String> {
    let bare = sent.strip_prefix('@').unwrap_or(sent);
    if php::is_domain_name(bare) {
        Some(format!("@{}", php::to_punycode(bare)))
    } else {
        php::is_email(bare).then(|| bare.to_owned())
    }
}

/// `add/recipient_map`
pub(crate) fn add_recipient(w: &mut Writer<'_>, attr: &Json) -> Done {
    let mut places = Vec::new();
    for key in ["recipient_map_old", "recipient_map_new"] {
        let sent = php::trim(&attr.get(key).to_text()).to_lowercase();
        let Some(place) = place(&sent) else {
            let bare = sent.strip_prefix('@').unwrap_or(&sent);
            w.danger(list![format!("invalid_{key}"), php::html_escape(bare)]);
            return Err(Stop::Refused);
        };
        places.push(place);
    }
    let [old, new] = [&places[0], &places[1]];
    if w.state.tables.all(RECIPIENTS).into_iter().any(|row| row.get("recipient_map_old").to_text() == *old) {
        w.danger(list!["recipient_map_entry_exists", php::html_escape(old)]);
        return Err(Stop::Refused);
    }
    let row = obj! {
        "recipient_map_old" => old,
        "recipient_map_new" => new,
        "active" => attr.get("active").to_int(),
        "created" => clock::now(),
        "modified" => Json::Null,
    };
    w.state.tables.insert(RECIPIENTS, "id", row);
    w.success(list!["recipient_map_entry_saved", php::html_escape(old)]);
    Ok(())
}

/// `get/recipient_map/{all|id}`: by the old place.
pub(crate) fn get_recipient(state: &State, which: &str) -> Json {
    if which != "all" {
        return super::tables::get(state, RECIPIENTS, which);
    }
    let mut rows = state.tables.all(RECIPIENTS);
    rows.sort_by_key(|row| row.get("recipient_map_old").to_text());
    Json::from(rows)
}

/// `delete/recipient_map`
pub(crate) fn delete_recipient(w: &mut Writer<'_>, items: &[Json]) -> Done {
    delete(w, RECIPIENTS, items, "recipient_map_entry_deleted")
}

/// `add/tls-policy-map`
pub(crate) fn add_tls(w: &mut Writer<'_>, attr: &Json) -> Done {
    let mut row = obj! {};
    for key in ["dest", "policy", "parameters"] {
        row.set(key, attr.get(key).to_text());
    }
    row.set("active", attr.get("active").to_int());
    row.set("created", clock::now());
    row.set("modified", Json::Null);
    w.state.tables.insert(TLS, "id", row);
    w.success(list!["tls_policy_map_entry_saved", attr.get("dest").to_text()]);
    Ok(())
}

/// `delete/tls-policy-map`
pub(crate) fn delete_tls(w: &mut Writer<'_>, items: &[Json]) -> Done {
    delete(w, TLS, items, "tls_policy_map_entry_deleted")
}

/// Success even where there was none.
fn delete(w: &mut Writer<'_>, table: &'static str, items: &[Json], code: &str) -> Done {
    for item in items {
        if !item.is_numeric() {
            return Err(Stop::Refused);
        }
        w.state.tables.remove(table, item.to_int());
        w.success(list![code, php::html_escape(&item.to_text())]);
    }
    Ok(())
}

/// Follows a mailbox to its new name.
pub(crate) fn rename(state: &mut State, old: &str, new: &str) {
    state.tables.replace(RECIPIENTS, &["recipient_map_old", "recipient_map_new"], old, new);
}
