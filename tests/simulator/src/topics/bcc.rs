//! Blind copies of what mailboxes and domains send or get.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::writer::{Done, Stop, Writer};

const TABLE: &str = "bcc";

/// `add/bcc`. A whole domain is written without the sign, and kept with it.
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let sent = php::trim(&attr.get("local_dest").to_text()).to_lowercase();
    let (dest, kind) = (attr.get("bcc_dest").to_text(), attr.get("type").to_text());
    if !["sender", "rcpt"].contains(&kind.as_str()) {
        w.danger("invalid_bcc_map_type");
        return Err(Stop::Refused);
    }
    if !attr.get("bcc_dest").truthy() {
        w.danger("bcc_empty");
        return Err(Stop::Refused);
    }
    let (known, domain, local) = if php::is_domain_name(&sent) {
        let domain = php::to_punycode(&sent);
        (w.state.knows_domain(&sent), domain.clone(), format!("@{domain}"))
    } else if php::is_email(&sent) {
        let alias = w.state.alias(&sent).is_some_and(|alias| w.state.knows_domain(&alias.domain));
        let domain = php::to_punycode(php::cut_address(&sent).1);
        (w.state.has_mailbox(&sent) || alias, domain, sent.clone())
    } else {
        return Err(Stop::Refused);
    };
    if !known {
        w.danger("access_denied");
        return Err(Stop::Refused);
    }
    if !php::is_email(&dest) {
        w.danger(list!["bcc_must_be_email", php::html_escape(&dest)]);
        return Err(Stop::Refused);
    }
    if find(w.state, &local, &kind).is_some() {
        w.danger(list!["bcc_exists", php::html_escape(&local), &kind]);
        return Err(Stop::Refused);
    }
    let row = obj! {
        "local_dest" => &local,
        "bcc_dest" => &dest,
        "active" => attr.get("active").to_int(),
        "type" => &kind,
        "created" => clock::now(),
        "domain" => &domain,
        "modified" => Json::Null,
    };
    w.state.tables.insert(TABLE, "id", row);
    w.success("bcc_saved");
    Ok(())
}

/// The id of the row for a place and a type; there is at most one.
fn find(state: &State, local: &str, kind: &str) -> Option<i64> {
    let rows = state.tables.all(TABLE);
    let same = |row: &&&Json| {
        row.get("local_dest").to_text().eq_ignore_ascii_case(local)
            && row.get("type").to_text().eq_ignore_ascii_case(kind)
    };
    rows.iter().find(same).map(|row| row.get("id").to_int())
}

/// The row of an id, in a domain that exists.
fn row(state: &State, id: i64) -> Option<&Json> {
    state.tables.get(TABLE, id).filter(|row| state.knows_domain(&row.get("domain").to_text()))
}

/// `edit/bcc`: the place cannot be changed.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let id = item.to_int();
        let Some(before) = row(w.state, id).cloned() else {
            w.danger("access_denied");
            continue;
        };
        let mut after = before.clone();
        if attr.is_set("active") {
            after.set("active", attr.get("active").to_int());
        }
        for key in ["bcc_dest", "type"] {
            if attr.get(key).truthy() {
                after.set(key, attr.get(key).to_text());
            }
        }
        let dest = after.get("bcc_dest").to_text();
        let (local, kind) = (after.get("local_dest").to_text(), after.get("type").to_text());
        if !php::is_email(&dest) {
            w.danger(list!["bcc_must_be_email", &dest]);
            continue;
        }
        if find(w.state, &local, &kind).is_some_and(|other| other != id) {
            w.danger(list!["bcc_exists", php::html_escape(&local), &kind]);
            continue;
        }
        if after != before {
            after.set("modified", clock::now());
            w.state.tables.put(TABLE, id, after);
        }
        w.success(list!["bcc_edited", dest]);
    }
    Ok(())
}

/// `delete/bcc`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if !item.is_numeric() {
            return Err(Stop::Refused);
        }
        let id = php::leading_id(&item.to_text()).unwrap_or(0);
        if row(w.state, id).is_some() {
            w.state.tables.remove(TABLE, id);
            w.success(list!["bcc_deleted", item]);
        } else {
            w.danger("access_denied");
        }
    }
    Ok(())
}

/// `get/bcc/{all|id}`; a single one has a stray element behind.
pub(crate) fn get(state: &State, which: &str) -> Json {
    if which == "all" {
        let ids = state.tables.all(TABLE).into_iter().map(|row| row.get("id").to_int());
        return Json::List(ids.filter_map(|id| row(state, id).cloned()).collect());
    }
    let mut found = row(state, Json::from(which).to_int()).cloned().unwrap_or_default();
    if let Json::Map(_) = found {
        found.set("0", Json::Null);
    }
    found
}

/// `get/bcc-destination-options`: what a blind copy can be made of.
pub(crate) fn options(state: &State) -> Json {
    let mut options = obj! {};
    let domains: Vec<&str> = state.domains.values().map(|d| d.name.as_str()).collect();
    let mut mailboxes = obj! {};
    for domain in &domains {
        for mailbox in state.mailboxes_of(domain) {
            let leads_here = |goto: &str| goto.eq_ignore_ascii_case(&mailbox.username);
            let aliases = state.aliases.values().filter(|a| !a.is_own_row() && a.gotos().any(leads_here));
            let mut names = vec![mailbox.username.clone()];
            names.extend(aliases.map(|a| a.address.clone()));
            mailboxes.set(&mailbox.username, names);
        }
    }
    if !domains.is_empty() {
        options.set("domains", domains);
    }
    if mailboxes.truthy() {
        options.set("mailboxes", mailboxes);
    }
    let others: Vec<&str> = state.alias_domains.values().map(|a| a.name.as_str()).collect();
    if !others.is_empty() {
        options.set("alias_domains", others);
    }
    options
}

/// Follows a mailbox to its new name.
pub(crate) fn rename(state: &mut State, old: &str, new: &str) {
    state.tables.replace(TABLE, &["local_dest", "bcc_dest"], old, new);
}
