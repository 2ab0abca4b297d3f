//! Lists of senders and spam scores of domains and mailboxes: what Mailcow keeps in the table `filterconf`.

use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::writer::{Done, Stop, Writer};

/// The table and its id.
const TABLE: &str = "filterconf";
const ID: &str = "prefid";

/// The longest value the table takes, in characters.
const MAX_VALUE: usize = 100;

/// The score of a server that says nothing else.
const DEFAULT_SCORE: &str = "5,15";

/// The name a list has in the table.
fn option(list: &str) -> Option<&'static str> {
    match list {
        "bl" => Some("blacklist_from"),
        "wl" => Some("whitelist_from"),
        _ => None,
    }
}

fn is_list(row: &Json) -> bool {
    ["blacklist_from", "whitelist_from"].contains(&row.get("option").to_text().as_str())
}

fn is_of(row: &Json, object: &str) -> bool {
    row.get("object").to_text().eq_ignore_ascii_case(object)
}

/// `add/domain-policy`
pub(crate) fn add_of_domain(w: &mut Writer<'_>, attr: &Json) -> Done {
    let domain = attr.get("domain").to_text();
    let known = php::is_domain_name(&domain) && w.state.knows_domain(&domain);
    add(w, attr, &php::to_punycode(php::trim(&domain)), known, "domain_modified")
}

/// `add/mailbox-policy`
pub(crate) fn add_of_mailbox(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    let known = w.state.has_mailbox(&username);
    add(w, attr, &username, known, "mailbox_modified")
}

fn add(w: &mut Writer<'_>, attr: &Json, object: &str, known: bool, code: &str) -> Done {
    let value = php::trim(&attr.get("object_from").to_text().to_lowercase()).to_owned();
    let Some(option) = known.then(|| option(&attr.get("object_list").to_text())) else {
        w.danger("access_denied");
        return Err(Stop::Refused);
    };
    let bare = value.replace(['@', '_', '.', '-', '*'], "");
    if bare.is_empty() || !bare.chars().all(|c| c.is_ascii_alphanumeric()) {
        w.danger("policy_list_from_invalid");
        return Err(Stop::Refused);
    }
    let Some(option) = option else {
        w.danger("access_denied");
        return Err(Stop::Refused);
    };
    let same = |row: &Json| is_list(row) && is_of(row, object) && row.get("value").to_text() == value;
    if w.state.tables.all(TABLE).into_iter().any(same) {
        w.danger("policy_list_from_exists");
        return Err(Stop::Refused);
    }
    if value.chars().count() > MAX_VALUE {
        return Err(Stop::too_long("value"));
    }
    insert(w.state, object, option, &value);
    w.success(list![code, object]);
    Ok(())
}

fn insert(state: &mut State, object: &str, option: &str, value: &str) {
    state.tables.insert(TABLE, ID, obj! { "object" => object, "option" => option, "value" => value });
}

/// `delete/domain-policy`
pub(crate) fn delete_of_domain(w: &mut Writer<'_>, items: &[Json]) -> Done {
    let may = |state: &State, object: &str| php::is_domain_name(object) && state.knows_domain(object);
    delete(w, items, may, |item| list!["item_deleted", item])
}

/// `delete/mailbox-policy`: each success names all that were to go.
pub(crate) fn delete_of_mailbox(w: &mut Writer<'_>, items: &[Json]) -> Done {
    let all: Vec<String> = items.iter().map(Json::to_text).collect();
    delete(w, items, State::has_mailbox, |_| list!["items_deleted", all.join(", ")])
}

fn delete(
    w: &mut Writer<'_>,
    items: &[Json],
    may: impl Fn(&State, &str) -> bool,
    message: impl Fn(&Json) -> Json,
) -> Done {
    for item in items {
        let id = php::leading_id(&item.to_text()).filter(|_| item.is_numeric());
        let object = id.and_then(|id| w.state.tables.get(TABLE, id)).map(|row| row.get("object").to_text());
        match id.zip(object) {
            Some((id, object)) if may(w.state, &object) => {
                w.state.tables.remove(TABLE, id);
                w.success(message(item));
            }
            _ => w.danger("access_denied"),
        }
    }
    Ok(())
}

/// `get/policy_{bl|wl}_domain/{domain}`, with those of its mailboxes.
pub(crate) fn of_domain(state: &State, list: &str, domain: &str) -> Json {
    if !php::is_domain_name(domain) || !state.knows_domain(domain) {
        return Json::Null;
    }
    let end = format!("@{}", php::to_punycode(domain)).to_uppercase();
    show(state, list, |object| object.eq_ignore_ascii_case(domain) || object.to_uppercase().ends_with(&end))
}

/// `get/policy_{bl|wl}_mailbox/{mailbox}`, with those of its domain.
pub(crate) fn of_mailbox(state: &State, list: &str, address: &str) -> Json {
    let Some(mailbox) = state.mailbox(address).filter(|_| state.has_mailbox(address)) else { return Json::Null };
    show(state, list, |object| {
        object.eq_ignore_ascii_case(&mailbox.username) || object.eq_ignore_ascii_case(&mailbox.domain)
    })
}

fn show(state: &State, list: &str, is_wanted: impl Fn(&str) -> bool) -> Json {
    let rows = state.tables.all(TABLE).into_iter().filter(|row| {
        Some(row.get("option").to_text().as_str()) == option(list) && is_wanted(&row.get("object").to_text())
    });
    let shown = rows.map(|row| obj! { "object" => row.get("object"), "value" => row.get("value"), ID => row.get(ID) });
    Json::List(shown.collect())
}

/// `edit/spam-score`
pub(crate) fn edit_score(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let sent = attr.get("spam_score");
    for item in items {
        let address = item.to_text();
        if !w.state.has_mailbox(&address) {
            w.danger("access_denied");
            continue;
        }
        if *sent == Json::from("default") {
            forget_score(w.state, &address);
        } else if sent.is_array() {
            return Err(Stop::crash());
        } else if let Some((low, high)) = scores(&sent.to_text()) {
            forget_score(w.state, &address);
            insert(w.state, &address, "highspamlevel", &high);
            insert(w.state, &address, "lowspamlevel", &low);
        } else {
            w.danger("Invalid spam score, format must be \"1,2\" where first is low and second is high spam value.");
            continue;
        }
        w.success(list!["mailbox_modified", &address]);
    }
    Ok(())
}

/// The two scores of a text; equal ones are set apart.
fn scores(text: &str) -> Option<(String, String)> {
    let mut pieces = text.split(',').map(Json::from);
    let (low, high) = (pieces.next()?, pieces.next()?);
    if !low.is_numeric() || !high.is_numeric() {
        return None;
    }
    let (number, other) = (php::leading_number(&low.to_text()), php::leading_number(&high.to_text()));
    let high = if number.total_cmp(&other).is_eq() { (other + 0.1).to_string() } else { high.to_text() };
    Some((low.to_text(), high))
}

fn is_score(row: &Json, address: &str) -> bool {
    is_of(row, address) && ["lowspamlevel", "highspamlevel"].contains(&row.get("option").to_text().as_str())
}

fn forget_score(state: &mut State, address: &str) {
    state.tables.retain(TABLE, |row| !is_score(row, address));
}

/// `get/spam-score/{mailbox}`; what is no address gets the default.
pub(crate) fn get_score(state: &State, address: &str) -> Json {
    if php::is_email(address) && !state.has_mailbox(address) {
        return Json::Null;
    }
    let rows: Vec<&Json> = state.tables.all(TABLE).into_iter().filter(|row| is_score(row, address)).collect();
    let value = |option: &str| {
        let row = rows.iter().find(|row| *row.get("option") == Json::from(option));
        row.map(|row| row.get("value").to_text()).unwrap_or_default()
    };
    let score = format!("{},{}", value("lowspamlevel"), value("highspamlevel"));
    let score: String = score.chars().filter(|c| !c.is_whitespace()).collect();
    obj! { "score" => if rows.is_empty() { DEFAULT_SCORE.to_owned() } else { score } }
}

/// Forgets all that is kept for a domain or a mailbox.
pub(crate) fn forget(state: &mut State, object: &str) {
    state.tables.retain(TABLE, |row| !is_of(row, object));
}
