//! The settings of mailboxes that have routes of their own.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::Mailbox;
use crate::writer::{Done, Stop, Writer};

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

/// `edit/delimiter_action`
pub(crate) fn delimiter_action(w: &mut Writer<'_>, items: &[Json], _attr: &Json) -> Done {
    each(w, items, "mailbox_modified", true, |_| ())
}

/// `edit/mailbox/custom-attribute`: replaces all of them. Names lose their blanks, values keep their types.
pub(crate) fn custom_attribute(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let names = attr.get("attribute").clone().into_items();
    let values = attr.get("value").clone().into_items();
    if names.len() != values.len() {
        return Err(Stop::crash());
    }
    let mut pairs: Vec<(String, Json)> = Vec::new();
    for (name, value) in names.iter().zip(values) {
        let name = name.to_text().replace(' ', "");
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some(pair) => pair.1 = value,
            None => pairs.push((name, value)),
        }
    }
    for item in items {
        if php::is_email(&item.to_text()) {
            let one = std::slice::from_ref(item);
            each(w, one, "mailbox_modified", true, |mailbox| mailbox.custom_attributes.clone_from(&pairs))?;
        } else {
            w.danger(list!["username_invalid", item]);
        }
    }
    Ok(())
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
