//! Aliases with a made-up address that end by themselves.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{State, TimedAlias};
use crate::writer::{Done, Stop, Writer};

/// How long they last when nothing is said, and at most, in hours.
const DEFAULT_VALIDITY: i64 = 8760;
const MAX_VALIDITY: i64 = 87_600;

/// `add/time_limited_alias`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    if php::is_email(&username) && !w.state.has_mailbox(&username) {
        w.danger("access_denied");
        return Err(Stop::Refused);
    }
    let sent = attr.get("validity");
    let validity =
        if attr.is_set("validity") { php::int_within(sent, 1, MAX_VALIDITY) } else { Some(DEFAULT_VALIDITY) };
    let Some(validity) = validity else {
        w.danger("validity_missing");
        return Err(Stop::Refused);
    };
    let domain = attr.get("domain").to_text();
    if !may_use(w.state, &username, &domain) {
        w.danger("domain_invalid");
        return Err(Stop::Refused);
    }
    let pooled = w.state.timed_address_pool.pop_front();
    let alias = TimedAlias {
        address: pooled.unwrap_or_else(|| format!("{}@{domain}", made_up_name())),
        goto: username.clone(),
        description: attr.get("description").to_text(),
        validity: clock::unix_now() + validity * 3600,
        permanent: php::is_true(attr.get("permanent")),
        created: clock::now(),
        modified: None,
    };
    w.state.timed_aliases.insert(alias.address.clone(), alias);
    w.success(list!["mailbox_modified", &username]);
    Ok(())
}

/// Whether a domain is the mailbox's own or stands for it.
fn may_use(state: &State, username: &str, domain: &str) -> bool {
    let Some(mailbox) = state.mailbox(username).filter(|_| state.has_mailbox(username)) else { return false };
    mailbox.domain == domain
        || state.alias_domain(domain).is_some_and(|a| a.name == domain && a.target == mailbox.domain)
}

/// A pronounceable name of thirteen characters.
fn made_up_name() -> String {
    let letter = |from: &[u8]| char::from(from[usize::from(rand::random::<u8>()) % from.len()]);
    let mut name = String::new();
    for syllable in 0..6 {
        if syllable == 2 {
            name.push('.');
        }
        name.push(letter(b"bcdfgklmnprstz"));
        name.push(letter(b"aeiou"));
    }
    name
}

/// The address as it is kept, of an alias whose mailbox exists.
fn find(state: &State, item: &Json) -> Option<String> {
    let wanted = item.to_text();
    let alias = state.timed_aliases.values().find(|alias| alias.address.eq_ignore_ascii_case(&wanted))?;
    state.has_mailbox(&alias.goto).then(|| alias.address.clone())
}

/// `edit/time_limited_alias`: only how long they last. The answer does not name them.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let (validity, permanent) = (attr.get("validity"), attr.get("permanent"));
    for item in items {
        let Some(alias) = find(w.state, item).and_then(|address| w.state.timed_aliases.get_mut(&address)) else {
            w.danger("access_denied");
            continue;
        };
        if !validity.truthy() && !permanent.truthy() {
            continue;
        }
        let before = alias.clone();
        if php::is_true(permanent) {
            (alias.permanent, alias.validity) = (true, 0);
        } else if attr.is_set("validity") {
            (alias.permanent, alias.validity) = (false, clock::unix_now() + validity.to_int() * 3600);
        }
        if *alias != before {
            alias.modified = Some(clock::now());
        }
        w.success(list!["mailbox_modified", ""]);
    }
    Ok(())
}

/// `delete/time_limited_alias`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        match find(w.state, item).and_then(|address| w.state.timed_aliases.remove(&address)) {
            Some(alias) => w.success(list!["mailbox_modified", php::html_escape(&alias.goto)]),
            None => w.danger("access_denied"),
        }
    }
    Ok(())
}

/// The aliases of a mailbox that have not ended.
pub(crate) fn living<'a>(state: &'a State, username: &'a str) -> impl Iterator<Item = &'a TimedAlias> {
    let now = clock::unix_now();
    let of = state.timed_aliases.values().filter(move |alias| alias.goto.eq_ignore_ascii_case(username));
    of.filter(move |alias| alias.permanent || alias.validity >= now)
}

/// `get/time_limited_aliases/{mailbox}`
pub(crate) fn get(state: &State, username: &str) -> Json {
    if !state.has_mailbox(username) {
        return Json::Null;
    }
    let shown = living(state, username).map(|alias| {
        obj! {
            "address" => &alias.address,
            "goto" => &alias.goto,
            "description" => &alias.description,
            "validity" => alias.validity,
            "created" => &alias.created,
            "modified" => alias.modified.clone(),
            "permanent" => i64::from(alias.permanent),
        }
    });
    Json::List(shown.collect())
}
