//! What owners of mailboxes and domain administrators may do in the UI. No route reads it.

use std::collections::BTreeSet;

use crate::json::{Json, list};
use crate::state::{ACLS, DOMAIN_ADMIN_ACLS};
use crate::writer::{Done, Writer};

/// The known rights a list names; unknown names are passed over.
fn named(sent: &Json, known: &[&str]) -> BTreeSet<String> {
    let names = sent.clone().into_items().into_iter().map(|name| name.to_text());
    names.filter(|name| known.contains(&name.as_str())).collect()
}

/// The rights of a new mailbox: those it is given, or those of its template.
pub(crate) fn of_new_mailbox(attr: &Json, template: &Json) -> BTreeSet<String> {
    if attr.is_set("acl") {
        return named(attr.get("acl"), &ACLS);
    }
    let on = ACLS.into_iter().filter(|acl| template.get(&format!("acl_{acl}")).to_int() != 0);
    on.map(str::to_owned).collect()
}

/// The rights of a new domain administrator.
pub(crate) fn of_new_domain_admin() -> BTreeSet<String> {
    let on = DOMAIN_ADMIN_ACLS.into_iter().filter(|(_, on)| *on);
    on.map(|(name, _)| name.to_owned()).collect()
}

/// `edit/user-acl`: replaces the set, also when none is sent. It is kept elsewhere, so the date of the
/// mailbox stays.
pub(crate) fn edit_user(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let address = item.to_text();
        if !w.state.has_mailbox(&address) {
            w.danger("access_denied");
            continue;
        }
        if let Some(mailbox) = w.state.mailbox_mut(&address) {
            mailbox.acl = named(attr.get("user_acl"), &ACLS);
        }
        w.success(list!["acl_saved", &address]);
    }
    Ok(())
}

/// `edit/da-acl`: the same for domain administrators.
pub(crate) fn edit_domain_admin(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let known: Vec<&str> = DOMAIN_ADMIN_ACLS.iter().map(|(name, _)| *name).collect();
    for item in items {
        let name = item.to_text();
        let Some(acl) = w.state.domain_admin_acls.get_mut(&name) else {
            w.danger("Cannot determine current ACL");
            continue;
        };
        *acl = named(attr.get("da_acl"), &known);
        w.success(list!["acl_saved", &name]);
    }
    Ok(())
}
