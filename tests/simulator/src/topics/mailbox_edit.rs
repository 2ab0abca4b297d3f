//! Changing mailboxes.

use crate::clock;
use crate::json::{Json, list};
use crate::php;
use crate::state::{Mailbox, State};
use crate::topics::mailbox::{protocol_access, tagged_mail_handler, trimmed_name};
use crate::topics::tags::Twice;
use crate::topics::{mailbox_view, tags};
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
    senders(w, address, attr);
    let new_password = attr.get("password").truthy() || attr.get("password2").truthy();
    if new_password && !w.password_ok(attr.get("password"), attr.get("password2")) {
        return Ok(());
    }
    if attr.get("name").to_text().chars().count() > 255 {
        return Err(Stop::too_long("name"));
    }
    if let Some(mailbox) = w.state.mailbox_mut(address) {
        let row = mailbox.clone();
        mailbox.quota = quota;
        apply(mailbox, attr);
        if new_password {
            mailbox.password_changes += 1;
            mailbox.attributes.passwd_update = clock::now();
        }
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
    let wanted = tags::requested(attr.get("tags"));
    tags::append(w, |s| s.mailbox_mut(address).map(|m| &mut m.tags), &wanted, Twice::IsIgnored)?;
    if attr.is_set("tagged_mail_handler") {
        tagged_mail_handler(w, address, attr.get("tagged_mail_handler"));
    }
    w.success(list!["mailbox_modified", address]);
    Ok(())
}

/// The quota after the edit in bytes; `None` when it is refused.
fn wanted_quota(w: &mut Writer<'_>, before: &Mailbox, attr: &Json) -> Option<i64> {
    let sent = attr.get("quota");
    if *sent == Json::Null || *sent == Json::from("") {
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
    if attr.is_set("pw_recovery_email") {
        *recovery = Some(Some(attr.get("pw_recovery_email").to_text()));
    } else if recovery.is_none() {
        *recovery = Some(None);
    }
}

/// `sender_acl` and `extended_sender_acl`: what is refused is reported, the rest replaces.
fn senders(w: &mut Writer<'_>, address: &str, attr: &Json) {
    if attr.is_set("extended_sender_acl") {
        let mut kept = Vec::new();
        for sender in php::pieces(&attr.get("extended_sender_acl").to_text()) {
            let domain = sender.rsplit_once('@').map_or("", |(_, domain)| domain);
            if w.state.knows_domain(domain) {
                w.danger(list!["extra_acl_invalid_domain", domain]);
            } else {
                kept.push(sender);
            }
        }
        if let Some(mailbox) = w.state.mailbox_mut(address) {
            mailbox.external_senders = kept;
        }
    }
    if attr.is_set("sender_acl") {
        let mut kept = Vec::new();
        for sender in tags::requested(attr.get("sender_acl")) {
            if may_send_as(w.state, &sender) {
                kept.push(sender);
            } else if sender != "default" {
                w.danger(list!["sender_acl_invalid", &sender]);
            }
        }
        if let Some(mailbox) = w.state.mailbox_mut(address) {
            mailbox.sender_acl = kept;
        }
    }
}

fn may_send_as(state: &State, sender: &str) -> bool {
    match sender.strip_prefix('@') {
        Some(domain) => state.knows_domain(domain),
        None => sender == "*" || state.mailbox(sender).is_some() || state.alias(sender).is_some(),
    }
}
