//! Who may send as whom: `sender_acl` and `extended_sender_acl` of `edit/mailbox`.

use crate::json::{Json, list};
use crate::php;
use crate::state::State;
use crate::writer::Writer;

/// Takes from a mailbox the right to send from an address, as every edit of an alias does for its targets.
pub(crate) fn forget(state: &mut State, mailbox: &str, address: &str) {
    let is_it = |sender: &String| sender.eq_ignore_ascii_case(address);
    if let Some(mailbox) = state.mailbox_mut(mailbox) {
        mailbox.sender_acl.retain(|sender| !is_it(sender));
        mailbox.external_senders.retain(|sender| !is_it(sender));
    }
}

/// Takes the right to send from an address from everybody.
pub(crate) fn forget_everywhere(state: &mut State, address: &str) {
    let is_it = |sender: &String| sender.eq_ignore_ascii_case(address);
    for mailbox in state.mailboxes.values_mut() {
        mailbox.sender_acl.retain(|sender| !is_it(sender));
        mailbox.external_senders.retain(|sender| !is_it(sender));
    }
}

/// `sender_acl`: replaces the list. What is refused is reported, the rest is stored.
pub(crate) fn set(w: &mut Writer<'_>, address: &str, sent: &Json) {
    let stuck = stuck(w.state, address);
    let mut kept = Vec::new();
    for sender in wanted(sent) {
        if may_be_granted(w.state, &sender) {
            kept.push(sender);
        } else {
            w.danger(list!["sender_acl_invalid", &sender]);
        }
    }
    kept.extend(stuck);
    if kept.iter().any(|sender| sender == "*") {
        kept = vec!["*".to_owned()];
    }
    let redundant = sends_anyway(w.state, address);
    let rows = kept.into_iter().map(as_row).filter(|row| !redundant.contains(row)).collect();
    if let Some(mailbox) = w.state.mailbox_mut(address) {
        mailbox.sender_acl = rows;
    }
}

/// What a request asks for: `*` swallows the rest, `default` stands for nothing.
fn wanted(sent: &Json) -> Vec<String> {
    let mut senders: Vec<String> = sent.clone().into_items().iter().map(Json::to_text).collect();
    if senders.iter().any(|sender| sender == "*") {
        return vec!["*".to_owned()];
    }
    if let Some(default) = senders.iter().position(|sender| sender == "default") {
        senders.remove(default);
    }
    senders
}

fn may_be_granted(state: &State, sender: &str) -> bool {
    let domain = sender.trim_start_matches('@');
    if php::is_email(sender) {
        has_alias_row(state, sender)
    } else if php::is_domain_name(domain) {
        // Names are compared with their case here.
        state.domain(domain).is_some_and(|d| d.name == domain)
            || state.alias_domain(domain).is_some_and(|a| a.name == domain)
    } else {
        sender == "*"
    }
}

/// Rows that an edit cannot take away: their address or domain is gone, so Mailcow holds them for rows that
/// somebody else set.
fn stuck(state: &State, address: &str) -> Vec<String> {
    let rows = state.mailbox(address).map(|m| m.sender_acl.clone()).unwrap_or_default();
    let (domains, addresses): (Vec<String>, Vec<String>) = rows.into_iter().partition(|row| row.starts_with('@'));
    let domains = domains.into_iter().map(|row| row.replace('@', ""));
    let gone = domains.filter(|domain| php::is_domain_name(domain) && !state.knows_domain(domain));
    gone.chain(addresses.into_iter().filter(|row| php::is_email(row) && !has_alias_row(state, row))).collect()
}

/// Whether an alias, or the hidden row of a mailbox, has this address, in a domain that exists.
fn has_alias_row(state: &State, address: &str) -> bool {
    let of_mailbox = state.mailbox(address).filter(|m| !m.half_deleted).map(|m| m.domain.as_str());
    let domain = of_mailbox.or_else(|| state.alias(address).map(|a| a.domain.as_str()));
    domain.is_some_and(|domain| state.knows_domain(domain))
}

/// The addresses a mailbox may send from without being granted them: its own, and the aliases that deliver
/// to it and allow it. They are not stored.
fn sends_anyway(state: &State, address: &str) -> Vec<String> {
    let delivers = |goto: &str| goto.eq_ignore_ascii_case(address);
    let aliases = state.aliases.values().filter(|a| a.sender_allowed == 1 && !a.address.starts_with('@'));
    aliases.filter(|a| a.gotos().any(delivers)).map(|a| a.address.clone()).collect()
}

fn as_row(sender: String) -> String {
    let domain = sender.trim_start_matches('@');
    if php::is_domain_name(domain) { format!("@{domain}") } else { sender }
}

/// `extended_sender_acl`: replaces the senders elsewhere. What is refused is reported, the rest is stored.
pub(crate) fn set_external(w: &mut Writer<'_>, address: &str, sent: &Json) {
    let mut kept: Vec<String> = Vec::new();
    for sender in php::pieces(&sent.to_text()) {
        let bare = sender.trim_start_matches('@');
        let domain = bare.rsplit_once('@').map(|(_, domain)| domain);
        let row = if domain.is_some() { bare.to_owned() } else { format!("@{bare}") };
        if !php::is_email(bare) && !php::is_domain_name(bare) {
            w.danger(list!["extra_acl_invalid", php::html_escape(bare)]);
        } else if w.state.knows_domain(domain.unwrap_or(bare)) {
            w.danger(list!["extra_acl_invalid_domain", domain.map(php::to_punycode)]);
        } else if !kept.contains(&row) {
            kept.push(row);
        }
    }
    if let Some(mailbox) = w.state.mailbox_mut(address) {
        mailbox.external_senders = kept;
    }
}
