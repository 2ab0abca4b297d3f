//! Giving a mailbox another local part.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::topics::{alias, bcc, maps, sync_job};
use crate::writer::{Done, Stop, Writer};

/// `edit/rename-mbox`: the items do not count, the attributes name the mailbox.
pub(crate) fn rename(w: &mut Writer<'_>, _items: &[Json], attr: &Json) -> Done {
    let domain = attr.get("domain").to_text();
    let new_local = attr.get("new_local_part").to_text();
    let old = format!("{}@{domain}", attr.get("old_local_part").to_text());
    let new = format!("{new_local}@{domain}");
    let refusal = if let Some(bad) = [&old, &new].into_iter().find(|address| !php::is_email(address)) {
        Some(list!["username_invalid", bad])
    } else if !w.state.mailbox(&old).is_some_and(|m| w.state.has_mailbox(&old) && [1, 2].contains(&m.active)) {
        Some(Json::from("access_denied"))
    } else {
        taken(w.state, &old, &new).map(Json::from)
    };
    if let Some(msg) = refusal {
        w.danger(msg);
        return Err(Stop::Refused);
    }
    move_mailbox(w.state, &old, &new, &new_local);
    if attr.get("create_alias").to_int() == 1 {
        let add = obj! {
            "address" => &old,
            "goto" => &new,
            "active" => 1,
            "sogo_visible" => 1,
            "private_comment" => format!("Mailbox was renamed from {old} to {new}"),
        };
        let log = list!["mailbox", "add", "alias", &add, Json::Null];
        w.within(log, |w| alias::add(w, &add))?;
    }
    w.success(list!["mailbox_renamed", &old, &new]);
    Ok(())
}

/// The text of the database about a name that is taken; all is rolled back then.
fn taken(state: &State, old: &str, new: &str) -> Option<String> {
    let text = |key: &str| {
        Some(format!("SQLSTATE[23000]: Integrity constraint violation: 1062 Duplicate entry '{new}' for key '{key}'"))
    };
    if old.eq_ignore_ascii_case(new) {
        None
    } else if state.mailbox(new).is_some() {
        text("PRIMARY")
    } else if state.alias(new).is_some() {
        text("address")
    } else {
        None
    }
}

/// What is kept under the name of the mailbox follows, but for rate limit, policies, spam score,
/// time-limited aliases, mails held back, and aliases that lead to others, too.
fn move_mailbox(state: &mut State, old: &str, new: &str, new_local: &str) {
    let is_old = |other: &str| other.eq_ignore_ascii_case(old);
    if let Some(mut mailbox) = state.mailboxes.remove(&php::collated(old)) {
        if mailbox.username != new {
            new.clone_into(&mut mailbox.username);
            new_local.clone_into(&mut mailbox.local_part);
            mailbox.modified = Some(clock::now());
        }
        state.mailboxes.insert(php::collated(new), mailbox);
    }
    for alias in state.aliases.values_mut() {
        let before = (alias.address.clone(), alias.goto.clone());
        if is_old(&alias.address) {
            new.clone_into(&mut alias.address);
            new.clone_into(&mut alias.goto);
        }
        if is_old(&alias.goto) {
            new.clone_into(&mut alias.goto);
        }
        if before != (alias.address.clone(), alias.goto.clone()) {
            alias.modified = Some(clock::now());
        }
    }
    for filter in state.filters.values_mut().filter(|f| is_old(&f.username)) {
        new.clone_into(&mut filter.username);
    }
    for password in state.app_passwords.values_mut().filter(|p| is_old(&p.mailbox) && p.mailbox != new) {
        new.clone_into(&mut password.mailbox);
        password.modified = Some(clock::now());
    }
    for mailbox in state.mailboxes.values_mut() {
        let senders = mailbox.sender_acl.iter_mut().chain(&mut mailbox.external_senders);
        for sender in senders.filter(|sender| is_old(sender)) {
            new.clone_into(sender);
        }
    }
    bcc::rename(state, old, new);
    maps::rename(state, old, new);
    sync_job::rename(state, old, new);
}
