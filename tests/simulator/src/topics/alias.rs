//! Aliases: making, removing and showing them.

use std::collections::BTreeMap;

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{Alias, State};
use crate::topics::{domain_view, sender_acl};
use crate::writer::{Done, Stop, Writer};

/// The longest comment that `add/alias` takes, bytes.
const MAX_COMMENT: usize = 160;

/// `add/alias`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    for comment in ["private_comment", "public_comment"] {
        if attr.get(comment).to_text().len() > MAX_COMMENT {
            w.danger("comment_too_long");
            return Err(Stop::Refused);
        }
    }
    let addresses = attr.get("address").to_text();
    if php::begins_empty(&addresses) {
        w.danger("alias_empty");
        return Err(Stop::Refused);
    }
    let Some(gotos) = new_gotos(w, attr) else { return Err(Stop::Refused) };
    for address in php::pieces(&addresses) {
        if gotos.contains(&address) {
            continue;
        }
        let (local, domain) = php::cut_address(&address);
        let domain = php::to_punycode(domain);
        let address = format!("{local}@{domain}");
        let target = w.state.alias_domain(&domain).map_or(domain.as_str(), |a| a.target.as_str());
        if w.state.domain(target).is_some_and(|d| domain_view::aliases_left(w.state, d) == 0) {
            w.danger("max_alias_exceeded");
            return Err(Stop::Refused);
        }
        match refusal(w.state, &address, &domain) {
            Some(msg) => w.danger(msg),
            None => insert(w, &address, &domain, &gotos.join(","), attr),
        }
    }
    Ok(())
}

/// The targets of a new alias; `None` when none is left.
fn new_gotos(w: &mut Writer<'_>, attr: &Json) -> Option<Vec<String>> {
    if let Some(special) = special_goto(attr) {
        return Some(vec![special]);
    }
    let sent = attr.get("goto").to_text();
    if php::begins_empty(&sent) {
        w.danger("goto_empty");
        return None;
    }
    let mut gotos: Vec<String> = Vec::new();
    for goto in php::pieces(&sent) {
        let (local, domain) = php::cut_address(&goto);
        let goto = format!("{local}@{}", php::to_punycode(domain));
        if !may_be_goto(w.state, &goto) {
            w.danger(list!["goto_invalid", &goto]);
        } else if !gotos.contains(&goto) {
            gotos.push(goto);
        }
    }
    (!gotos.is_empty()).then_some(gotos)
}

/// `goto_null`, `goto_spam` and `goto_ham` win over `goto`.
pub(crate) fn special_goto(attr: &Json) -> Option<String> {
    let wanted = ["null", "spam", "ham"].into_iter().find(|kind| attr.get(&format!("goto_{kind}")).to_int() == 1);
    wanted.map(|kind| format!("{kind}@localhost"))
}

/// Whether mail may go there: an address, but not a resource.
pub(crate) fn may_be_goto(state: &State, goto: &str) -> bool {
    php::is_email(goto) && !state.resources.values().any(|r| r.name.eq_ignore_ascii_case(goto))
}

fn refusal(state: &State, address: &str, domain: &str) -> Option<Json> {
    if is_taken(state, address) {
        Some(list!["is_alias_or_mailbox", address])
    } else if !state.knows_domain(domain) {
        Some(list!["domain_not_found", domain])
    } else if state.timed_aliases.contains_key(address) {
        Some(list!["is_spam_alias", address])
    } else if !address.starts_with('@') && !php::is_email(address) {
        Some(list!["alias_invalid", address])
    } else {
        None
    }
}

/// Whether an alias, a mailbox, or a mailbox seen through an alias domain has this address.
pub(crate) fn is_taken(state: &State, address: &str) -> bool {
    let (local, domain) = php::cut_address(address);
    let through = state.alias_domain(domain).map(|a| format!("{local}@{}", a.target));
    state.alias(address).is_some()
        || state.mailbox(address).is_some()
        || through.is_some_and(|address| state.mailbox(&address).is_some())
}

fn insert(w: &mut Writer<'_>, address: &str, domain: &str, goto: &str, attr: &Json) {
    let comment = |key: &str| attr.is_set(key).then(|| attr.get(key).to_text());
    let number = |key: &str| attr.get(key).to_int();
    let id = w.state.take_alias_id();
    let alias = Alias {
        id,
        address: address.to_owned(),
        goto: goto.to_owned(),
        domain: domain.to_owned(),
        public_comment: comment("public_comment"),
        private_comment: comment("private_comment"),
        internal: number("internal"),
        active: number("active"),
        sogo_visible: number("sogo_visible"),
        sender_allowed: number("sender_allowed"),
        created: clock::now(),
        modified: None,
    };
    w.state.aliases.insert(id, alias);
    w.touch(goto);
    w.success(list!["alias_added", address, id.to_string()]);
}

/// The alias that an item names: the one whose id is the number the text begins with, or whose address is
/// the text. Where two do, the database comes to the one with the smaller id first.
pub(crate) fn find(state: &State, item: &Json) -> Option<i64> {
    let text = item.to_text();
    let reachable = |alias: &&Alias| !alias.is_own_row() && state.knows_domain(&alias.domain);
    let by_id = php::leading_id(&text).and_then(|id| state.aliases.get(&id)).filter(reachable).map(|alias| alias.id);
    let end = by_id.unwrap_or(i64::MAX);
    let mut before = state.aliases.range(..end).map(|(_, alias)| alias).filter(|_| text.contains('@'));
    let by_address = before.find(|alias| alias.address.eq_ignore_ascii_case(&text) && reachable(alias));
    by_address.map(|alias| alias.id).or(by_id)
}

/// `delete/alias`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if item.is_array() {
            return Err(Stop::crash());
        }
        let Some(alias) = find(w.state, item).and_then(|id| w.state.aliases.remove(&id)) else {
            w.danger("access_denied");
            continue;
        };
        sender_acl::forget_everywhere(w.state, &alias.address);
        w.touch(&alias.goto);
        w.success(list!["alias_removed", php::html_escape(&alias.address)]);
    }
    Ok(())
}

/// `get/alias/{id or address}`
pub(crate) fn get(state: &State, which: &str) -> Json {
    let found = find(state, &Json::from(which)).and_then(|id| state.aliases.get(&id));
    found.map_or(Json::Null, |alias| show(state, alias))
}

/// `get/alias/all[/d1,d2]`: domain by domain; an unknown one has none, and a domain does not stand for its
/// alias domains.
pub(crate) fn all(state: &State, domains: Option<&str>) -> Json {
    let mut by_domain: BTreeMap<String, Vec<&Alias>> = BTreeMap::new();
    for alias in state.aliases.values().filter(|a| !a.is_own_row()) {
        by_domain.entry(php::collated(&alias.domain)).or_default().push(alias);
    }
    let known = |name: &str| php::is_domain_name(name) && state.knows_domain(name);
    let wanted: Vec<String> = match domains {
        Some(domains) => domains.split(',').filter(|name| known(name)).map(php::collated).collect(),
        None => state.domains.keys().chain(state.alias_domains.keys()).cloned().collect(),
    };
    let shown = wanted.iter().filter_map(|name| by_domain.get(name)).flatten();
    Json::List(shown.map(|alias| show(state, alias)).collect())
}

fn show(state: &State, alias: &Alias) -> Json {
    let target = state.alias_domain(&alias.domain).map_or("", |a| a.target.as_str());
    obj! {
        "in_primary_domain" => target,
        "id" => alias.id,
        "domain" => &alias.domain,
        "public_comment" => alias.public_comment.clone(),
        "private_comment" => alias.private_comment.clone(),
        "goto" => &alias.goto,
        "address" => &alias.address,
        "is_catch_all" => i64::from(alias.address.starts_with('@')),
        "internal" => alias.internal,
        "active" => alias.active,
        "active_int" => alias.active,
        "sogo_visible" => alias.sogo_visible,
        "sogo_visible_int" => alias.sogo_visible,
        "sender_allowed" => alias.sender_allowed,
        "created" => &alias.created,
        "modified" => alias.modified.clone(),
    }
}
