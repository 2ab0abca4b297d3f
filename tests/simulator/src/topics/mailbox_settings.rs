//! The settings of mailboxes that have routes of their own.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{Mailbox, State};
use crate::topics::{alias, tags};
use crate::writer::{Done, Writer};

/// Runs a change on each mailbox; a changed row gets a new date.
fn each(w: &mut Writer<'_>, items: &[Json], code: &str, valid: bool, change: impl Fn(&mut Mailbox)) -> Done {
    for item in items {
        let address = item.to_text();
        if !valid || !w.state.has_mailbox(&address) {
            w.danger("access_denied");
            continue;
        }
        if let Some(mailbox) = w.state.mailbox_mut(&address) {
            let before = mailbox.clone();
            change(mailbox);
            if *mailbox != before {
                mailbox.modified = Some(clock::now());
            }
        }
        w.success(list![code, &address]);
    }
    Ok(())
}

/// `edit/tls_policy`
pub(crate) fn tls_policy(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    each(w, items, "mailbox_modified", true, |mailbox| {
        for switch in ["tls_enforce_in", "tls_enforce_out"] {
            if attr.is_set(switch) {
                mailbox.attributes.switch(switch, attr.get(switch).to_int());
            }
        }
    })
}

/// `edit/quarantine_notification`
pub(crate) fn quarantine_notification(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let value = attr.get("quarantine_notification").to_text();
    let valid = ["never", "hourly", "daily", "weekly"].contains(&value.as_str());
    each(w, items, "mailbox_modified", valid, |mailbox| {
        mailbox.attributes.quarantine_notification.clone_from(&value);
    })
}

/// `edit/quarantine_category`
pub(crate) fn quarantine_category(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let value = attr.get("quarantine_category").to_text();
    let valid = ["add_header", "reject", "all"].contains(&value.as_str());
    each(w, items, "mailbox_modified", valid, |mailbox| {
        mailbox.attributes.quarantine_category.clone_from(&value);
    })
}

/// `edit/user-acl`: replaces the set. It is kept elsewhere, so the date of the mailbox stays.
pub(crate) fn user_acl(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let address = item.to_text();
        if !w.state.has_mailbox(&address) {
            w.danger("access_denied");
            continue;
        }
        if let Some(mailbox) = w.state.mailbox_mut(&address) {
            mailbox.acl = tags::requested(attr.get("user_acl")).into_iter().collect();
        }
        w.success(list!["acl_saved", &address]);
    }
    Ok(())
}

/// `edit/spam-score`
pub(crate) fn spam_score(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let value = attr.get("spam_score").to_text();
    for item in items {
        let address = item.to_text();
        if !w.state.has_mailbox(&address) {
            w.danger("access_denied");
            continue;
        }
        if let Some(mailbox) = w.state.mailbox_mut(&address) {
            mailbox.spam_score = (value != "default").then(|| value.clone());
        }
        w.success(list!["mailbox_modified", &address]);
    }
    Ok(())
}

/// `get/spam-score/{mailbox}`
pub(crate) fn get_spam_score(state: &State, address: &str) -> Json {
    let score = state.mailbox(address).and_then(|m| m.spam_score.clone());
    obj! { "score" => score.unwrap_or_else(|| "8,15".to_owned()) }
}

/// `edit/delimiter_action`
pub(crate) fn delimiter_action(w: &mut Writer<'_>, items: &[Json], _attr: &Json) -> Done {
    each(w, items, "mailbox_modified", true, |_| ())
}

/// `edit/mailbox/custom-attribute`: replaces all of them.
pub(crate) fn custom_attribute(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let names = attr.get("attribute").clone().into_items();
    let values = attr.get("value").clone().into_items();
    let pairs: Vec<(String, String)> =
        names.iter().zip(&values).map(|(name, value)| (name.to_text(), value.to_text())).collect();
    each(w, items, "mailbox_modified", true, |mailbox| mailbox.custom_attributes.clone_from(&pairs))
}

/// `edit/pushover`: there is no Pushover here, so a key is always missing.
pub(crate) fn pushover(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let mut echo = obj! { "username" => items.to_vec() };
    if let Json::Map(pairs) = attr {
        for (key, value) in pairs {
            echo.set(key, value);
        }
    }
    for _ in items {
        w.within(list!["pushover", "edit", &echo, &echo], |w| w.danger("pushover_key"));
    }
    Ok(())
}

/// `edit/rename-mbox`
pub(crate) fn rename(w: &mut Writer<'_>, _items: &[Json], attr: &Json) -> Done {
    let domain = php::to_punycode(&attr.get("domain").to_text());
    let old = format!("{}@{domain}", attr.get("old_local_part").to_text());
    let new_local = attr.get("new_local_part").to_text().to_lowercase();
    let new = format!("{new_local}@{domain}");
    if !w.state.has_mailbox(&old) {
        w.danger("access_denied");
    } else if !php::is_email(&new) {
        w.danger(list!["mailbox_invalid", &new]);
    } else if w.state.mailbox(&new).is_some() {
        w.danger(list!["object_exists", &new]);
    } else if w.state.alias(&new).is_some() {
        w.danger(list!["is_alias", &new]);
    } else {
        move_mailbox(w.state, &old, &new, &new_local);
        if attr.get("create_alias").truthy() {
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
    }
    Ok(())
}

fn move_mailbox(state: &mut State, old: &str, new: &str, new_local: &str) {
    let is_old = |other: &str| other.eq_ignore_ascii_case(old);
    if let Some(mut mailbox) = state.mailboxes.remove(&php::collated(old)) {
        new.clone_into(&mut mailbox.username);
        new_local.clone_into(&mut mailbox.local_part);
        mailbox.modified = Some(clock::now());
        state.mailboxes.insert(php::collated(new), mailbox);
    }
    for alias in state.aliases.values_mut() {
        if is_old(&alias.address) {
            new.clone_into(&mut alias.address);
        }
        let gotos: Vec<&str> = alias.gotos().map(|goto| if is_old(goto) { new } else { goto }).collect();
        alias.goto = gotos.join(",");
    }
    for filter in state.filters.values_mut().filter(|f| is_old(&f.username)) {
        new.clone_into(&mut filter.username);
    }
    for password in state.app_passwords.values_mut().filter(|p| is_old(&p.mailbox)) {
        new.clone_into(&mut password.mailbox);
    }
    if let Some(limit) = state.rate_limits.remove(old) {
        state.rate_limits.insert(new.to_owned(), limit);
    }
}
