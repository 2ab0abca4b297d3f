//! Changing mailboxes.

use crate::clock;
use crate::json::{Json, list};
use crate::php;
use crate::state::{MAILCOW, Mailbox};
use crate::topics::mailbox::{protocol_access, tagged_mail_handler, trimmed_name};
use crate::topics::tags::Twice;
use crate::topics::{auth, mailbox_view, sender_acl, tags};
use crate::writer::{Done, Stop, Writer};

const MIB: i64 = 1 << 20;

/// The switches an edit may change; TLS and quarantine have routes of their own.
const EDITABLE: [&str; 9] = [
    "force_pw_update",
    "force_tfa",
    "sogo_access",
    "imap_access",
    "pop3_access",
    "smtp_access",
    "sieve_access",
    "eas_access",
    "dav_access",
];

/// `edit/mailbox`
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let address = item.to_text();
        if !php::is_email(&address) {
            w.danger(list!["username_invalid", &address]);
        } else if !w.state.has_mailbox(&address) {
            w.danger("access_denied");
        } else {
            edit_one(w, &address, attr)?;
        }
    }
    Ok(())
}

fn edit_one(w: &mut Writer<'_>, address: &str, attr: &Json) -> Done {
    let Some(before) = w.state.mailbox(address).cloned() else { return Ok(()) };
    let Some(quota) = wanted_quota(w, &before, attr) else { return Ok(()) };
    if attr.is_set("extended_sender_acl") {
        sender_acl::set_external(w, address, attr.get("extended_sender_acl"));
    }
    if attr.is_set("sender_acl") {
        sender_acl::set(w, address, attr.get("sender_acl"));
    }
    let new_password = attr.get("password").truthy();
    if new_password && !w.password_ok(attr.get("password"), attr.get("password2")) {
        return Ok(());
    }
    if attr.get("name").to_text().chars().count() > 255 {
        return Err(Stop::too_long("name"));
    }
    let source = auth::requested(w.state, attr).unwrap_or_else(|| before.authsource.clone());
    if let Some(mailbox) = w.state.mailbox_mut(address) {
        let row = mailbox.clone();
        mailbox.quota = quota;
        // The password is stored before the new source is, and only where Mailcow checks it.
        if new_password && mailbox.authsource == MAILCOW {
            mailbox.password_changes += 1;
            mailbox.attributes.passwd_update = clock::now();
        }
        mailbox.authsource = source;
        apply(mailbox, attr);
        auth::restrict(mailbox);
        if row != *mailbox {
            mailbox.modified = Some(clock::now());
        }
    }
    if attr.is_set("active") {
        let active = attr.get("active").to_int();
        let own = |a: &&mut crate::state::Alias| a.is_own_row() && a.address.eq_ignore_ascii_case(address);
        if let Some(row) = w.state.aliases.values_mut().find(own) {
            row.active = active;
        }
    }
    let wanted = tags::listed(attr.get("tags"));
    tags::append(w, |s| s.mailbox_mut(address).map(|m| &mut m.tags), &wanted, Twice::IsIgnored)?;
    if attr.is_set("tagged_mail_handler") {
        tagged_mail_handler(w, address, attr.get("tagged_mail_handler"));
    }
    w.touch(address);
    w.success(list!["mailbox_modified", address]);
    Ok(())
}

/// The quota after the edit in bytes; `None` when it is refused.
fn wanted_quota(w: &mut Writer<'_>, before: &Mailbox, attr: &Json) -> Option<i64> {
    let sent = attr.get("quota");
    if [Json::Null, Json::Bool(false), Json::from("")].contains(sent) {
        return Some(before.quota);
    }
    let quota = sent.to_int() * MIB;
    let most = mailbox_view::max_new_quota(w.state, before);
    if quota > most {
        w.danger(list!["mailbox_quota_left_exceeded", most / MIB]);
        return None;
    }
    Some(quota)
}

fn apply(mailbox: &mut Mailbox, attr: &Json) {
    if attr.get("name").truthy() {
        mailbox.name = trimmed_name(&attr.get("name").to_text());
    }
    if attr.is_set("active") {
        mailbox.active = attr.get("active").to_int();
    }
    for switch in EDITABLE {
        if attr.is_set(switch) {
            mailbox.attributes.switch(switch, attr.get(switch).to_int());
        }
    }
    protocol_access(mailbox, attr);
    if attr.is_set("relayhost") {
        mailbox.attributes.relayhost = attr.get("relayhost").to_int().to_string();
    }
    mailbox.attributes.attribute_hash = attr.get("attribute_hash").to_text();
    let recovery = &mut mailbox.attributes.recovery_email;
    if attr.is_set("pw_recovery_email") && mailbox.authsource == MAILCOW {
        *recovery = Some(Some(attr.get("pw_recovery_email").to_text()));
    } else if recovery.is_none() {
        *recovery = Some(None);
    }
}
