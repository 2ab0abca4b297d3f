//! Changing aliases.

use crate::clock;
use crate::json::{Json, list};
use crate::php;
use crate::state::Alias;
use crate::topics::{alias, sender_acl};
use crate::writer::{Done, Writer};

/// `edit/alias`. An item that is missing is reported under the address of the item before it.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let mut address = Json::Null;
    for item in items {
        let found = alias::find(w.state, item).and_then(|id| w.state.aliases.get(&id).cloned());
        match found {
            Some(before) => address = Json::from(edit_one(w, &before, attr)),
            None => w.danger(list!["alias_invalid", &address]),
        }
    }
    Ok(())
}

/// Changes one alias and tells its address after that.
fn edit_one(w: &mut Writer<'_>, before: &Alias, attr: &Json) -> String {
    let mut after = merged(before, attr);
    if let Some(msg) = refusal(w, before, &after) {
        w.danger(msg);
        return after.address;
    }
    let gotos = kept_gotos(w, before, &after.address, attr);
    let address = after.address.clone();
    w.touch(&before.goto);
    if !gotos.is_empty() {
        after.goto = gotos.join(",");
        w.touch(&after.goto);
        if after != *before {
            after.modified = Some(clock::now());
        }
        w.state.aliases.insert(after.id, after);
    }
    w.success(list!["alias_modified", php::html_escape(&address)]);
    address
}

fn merged(before: &Alias, attr: &Json) -> Alias {
    let number = |key: &str, now: i64| if attr.is_set(key) { attr.get(key).to_int() } else { now };
    let comment =
        |key: &str, now: &Option<String>| if attr.is_set(key) { Some(attr.get(key).to_text()) } else { now.clone() };
    let mut after = before.clone();
    if attr.get("address").truthy() {
        let address = attr.get("address").to_text();
        let (local, domain) = php::cut_address(address.trim());
        after.domain = php::to_punycode(domain);
        after.address = format!("{local}@{}", after.domain);
    }
    after.public_comment = comment("public_comment", &before.public_comment);
    after.private_comment = comment("private_comment", &before.private_comment);
    after.internal = number("internal", before.internal);
    after.active = number("active", before.active);
    after.sogo_visible = number("sogo_visible", before.sogo_visible);
    after.sender_allowed = number("sender_allowed", before.sender_allowed);
    after
}

/// Why an alias may not move to that address.
fn refusal(w: &Writer<'_>, before: &Alias, after: &Alias) -> Option<Json> {
    let address = after.address.as_str();
    if before.address == address {
        None
    } else if !w.state.knows_domain(&after.domain) {
        Some(Json::from("access_denied"))
    } else if !address.starts_with('@') && !php::is_email(address) {
        Some(list!["alias_invalid", address])
    } else if !before.address.eq_ignore_ascii_case(address) && alias::is_taken(w.state, address) {
        Some(list!["is_alias_or_mailbox", php::html_escape(address)])
    } else if w.state.timed_aliases.contains_key(address) {
        Some(list!["is_spam_alias", php::html_escape(address)])
    } else {
        None
    }
}

/// The targets that pass; the others are reported. Unlike on add, names are not made punycode, and
/// the stored target of a null, spam or ham alias does not pass either. Each target that passes loses its
/// right to send from the address that was granted by hand, whatever the edit is about.
fn kept_gotos(w: &mut Writer<'_>, before: &Alias, address: &str, attr: &Json) -> Vec<String> {
    if let Some(special) = alias::special_goto(attr) {
        return vec![special];
    }
    let sent = if attr.get("goto").truthy() { attr.get("goto").to_text() } else { before.goto.clone() };
    let mut gotos = Vec::new();
    for goto in php::pieces(&sent) {
        if !alias::may_be_goto(w.state, &goto) {
            w.danger(list!["goto_invalid", &goto]);
        } else if goto == address {
            w.danger("alias_goto_identical");
        } else {
            sender_acl::forget(w.state, &goto, address);
            if !gotos.contains(&goto) {
                gotos.push(goto);
            }
        }
    }
    gotos
}
