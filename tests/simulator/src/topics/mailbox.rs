//! Making and removing mailboxes.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{Alias, Backend, MAILCOW, Mailbox, PROTOCOLS, SWITCHES, State};
use crate::topics::tags::Twice;
use crate::topics::{acl, auth, domain_view, policy, rate_limit, sender_acl, tags, templates};
use crate::writer::{Done, Stop, Writer};

const MIB: i64 = 1 << 20;

/// A mailbox that passed the checks and is about to be written. Hashing its password lies between.
pub(crate) struct Plan {
    mailbox: Mailbox,
    tags: Vec<String>,
    limit: (Json, Json),
}

/// `add/mailbox`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    match prepare(w, attr) {
        Some(plan) => commit(w, plan, attr),
        None => Err(Stop::Refused),
    }
}

/// The checks of `add/mailbox`.
pub(crate) fn prepare(w: &mut Writer<'_>, attr: &Json) -> Option<Plan> {
    let template = templates::attributes(w.state, "mailbox", attr.get("template"));
    let local = attr.get("local_part").to_text().trim().to_lowercase();
    let domain = php::to_punycode(attr.get("domain").to_text().trim());
    let mut mailbox = draft(&local, &domain, attr, &template);
    if let Some(source) = auth::requested(w.state, attr) {
        mailbox.authsource = source;
    }
    auth::restrict(&mut mailbox);
    if let Some(msg) = refusal(w.state, &mailbox) {
        w.danger(msg);
        return None;
    }
    if mailbox.authsource == MAILCOW && !w.password_ok(attr.get("password"), attr.get("password2")) {
        return None;
    }
    if let Some(msg) = over_limit(w.state, &mailbox) {
        w.danger(msg);
        return None;
    }
    let pick = |key: &str| if attr.is_set(key) { attr.get(key).clone() } else { template.get(key).clone() };
    let limit = (pick("rl_value"), pick("rl_frame"));
    // Unlike for a domain, a text is no tag.
    Some(Plan { mailbox, tags: tags::listed(&pick("tags")), limit })
}

fn draft(local: &str, domain: &str, attr: &Json, template: &Json) -> Mailbox {
    let pick = |key: &str| if attr.is_set(key) { attr.get(key) } else { template.get(key) };
    let mut mailbox = Mailbox::new(local, domain, &clock::now());
    mailbox.name = trimmed_name(&attr.get("name").to_text());
    mailbox.quota =
        if attr.is_set("quota") { attr.get("quota").to_int() * MIB } else { template.get("quota").to_int() };
    mailbox.active = pick("active").to_int();
    for switch in SWITCHES {
        mailbox.attributes.switch(switch, pick(switch).to_int());
    }
    protocol_access(&mut mailbox, attr);
    mailbox.attributes.quarantine_notification = pick("quarantine_notification").to_text();
    mailbox.attributes.quarantine_category = pick("quarantine_category").to_text();
    mailbox.acl = acl::of_new_mailbox(attr, template);
    mailbox.attributes.relayhost = attr.get("relayhost").to_int().to_string();
    mailbox.attributes.attribute_hash = attr.get("attribute_hash").to_text();
    mailbox
}

/// `protocol_access` sets all protocols at once.
pub(crate) fn protocol_access(mailbox: &mut Mailbox, attr: &Json) {
    if !attr.is_set("protocol_access") {
        return;
    }
    let listed = attr.get("protocol_access").clone().into_items();
    for protocol in PROTOCOLS {
        let on = listed.contains(&Json::from(protocol));
        mailbox.attributes.switch(&format!("{protocol}_access"), i64::from(on));
    }
}

/// Names lose `<` before and `>` behind.
pub(crate) fn trimmed_name(name: &str) -> String {
    name.trim_end_matches('>').trim_start_matches('<').to_owned()
}

/// Why a mailbox cannot be made, up to the check of its password.
fn refusal(state: &State, mailbox: &Mailbox) -> Option<Json> {
    let address = mailbox.username.as_str();
    let category = mailbox.attributes.quarantine_category.as_str();
    if ["", "0"].contains(&mailbox.local_part.as_str()) || !php::is_email(address) {
        Some(Json::from("mailbox_invalid"))
    } else if !["add_header", "reject", "all"].contains(&category) {
        Some(Json::from("quarantine_category_invalid"))
    } else if !state.knows_domain(&mailbox.domain) {
        Some(Json::from("access_denied"))
    } else if state.mailbox(address).is_some() {
        Some(list!["object_exists", address])
    } else if state.alias(address).is_some() {
        Some(list!["is_alias", address])
    } else if state.timed_aliases.contains_key(address) {
        Some(list!["is_spam_alias", address])
    } else if state.domain(&mailbox.domain).is_none() {
        Some(list!["domain_not_found", &mailbox.domain])
    } else {
        None
    }
}

/// Which limit of the domain a new mailbox would pass.
fn over_limit(state: &State, mailbox: &Mailbox) -> Option<Json> {
    let domain = state.domain(&mailbox.domain)?;
    let usage = domain_view::assigned(state, &domain.name);
    let left = (domain.quota * MIB - usage.quota) / MIB;
    let wanted = mailbox.quota / MIB;
    if usage.mailboxes >= domain.max_mailboxes {
        Some(list!["max_mailbox_exceeded", usage.mailboxes, domain.max_mailboxes])
    } else if wanted > domain.max_quota {
        Some(list!["mailbox_quota_exceeded", domain.max_quota])
    } else if wanted > 0 && wanted > left {
        Some(list!["mailbox_quota_left_exceeded", left])
    } else {
        None
    }
}

/// The writes of `add/mailbox`. Whoever came first meanwhile wins; the domain may be gone by now.
pub(crate) fn commit(w: &mut Writer<'_>, plan: Plan, attr: &Json) -> Done {
    let Plan { mailbox, tags, limit } = plan;
    let address = mailbox.username.clone();
    if mailbox.name.chars().count() > 255 {
        return Err(Stop::too_long("name"));
    }
    if w.state.mailbox(&address).is_some() {
        return Err(Stop::crash());
    }
    let id = w.state.take_alias_id();
    w.state.aliases.insert(id, own_row(id, &mailbox));
    w.state.mailboxes.insert(php::collated(&address), mailbox);
    tags::append(w, |s| s.mailbox_mut(&address).map(|m| &mut m.tags), &tags, Twice::IsIgnored)?;
    if attr.is_set("tagged_mail_handler") {
        tagged_mail_handler(w, &address, attr.get("tagged_mail_handler"));
    }
    if limit.0 != Json::Null && limit.1 != Json::Null {
        rate_limit::of_new_mailbox(w, &address, &limit.0, &limit.1);
    }
    w.touch(&address);
    w.success(list!["mailbox_added", php::html_escape(&address)]);
    Ok(())
}

/// The hidden alias that a mailbox has.
pub(crate) fn own_row(id: i64, mailbox: &Mailbox) -> Alias {
    Alias {
        id,
        address: mailbox.username.clone(),
        goto: mailbox.username.clone(),
        domain: mailbox.domain.clone(),
        public_comment: None,
        private_comment: None,
        internal: 0,
        active: mailbox.active,
        sogo_visible: 1,
        sender_allowed: 1,
        created: mailbox.created.clone(),
        modified: None,
    }
}

/// What happens to mail for `name+tag@…`: reported as an edit of its own.
pub(crate) fn tagged_mail_handler(w: &mut Writer<'_>, address: &str, handler: &Json) {
    let attr = obj! { "username" => address, "tagged_mail_handler" => handler };
    let log = list!["mailbox", "edit", "delimiter_action", &attr, Json::Null];
    w.within(log, |w| w.success(list!["mailbox_modified", address]));
}

/// `delete/mailbox`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let address = item.to_text();
        let reachable = w.state.mailbox(&address).is_some_and(|m| w.state.domain(&m.domain).is_some());
        let Some(mailbox) = w.state.mailbox(&address).cloned().filter(|_| reachable) else {
            w.danger("access_denied");
            continue;
        };
        let failure = if mailbox.half_deleted {
            Some("variables local_part and/or domain empty")
        } else if w.state.backend == Backend::DockerapiFails {
            Some("command failed: stub says no")
        } else {
            None
        };
        if let Some(failure) = failure {
            w.warning(format!("Could not move maildir to garbage collector: {failure}"));
        }
        remove(w.state, &mailbox.username);
        w.touch(&address);
        w.success(list!["mailbox_removed", php::html_escape(&address)]);
    }
    Ok(())
}

/// Takes a mailbox away with all that belongs to it.
fn remove(state: &mut State, address: &str) {
    let is_it = |other: &str| other.eq_ignore_ascii_case(address);
    state.mailboxes.remove(&php::collated(address));
    remove_aliases(state, address);
    state.filters.retain(|_, filter| !is_it(&filter.username));
    state.app_passwords.retain(|_, password| !is_it(&password.mailbox));
    state.quarantine.retain(|_, item| !is_it(&item.rcpt));
    state.timed_aliases.retain(|_, alias| !is_it(&alias.goto));
    state.rate_limits.remove(address);
    for (table, key) in [("bcc", "local_dest"), ("syncjob", "user2")] {
        state.tables.retain(table, |row| !is_it(&row.get(key).to_text()));
    }
    policy::forget(state, address);
    sender_acl::forget_everywhere(state, address);
}

/// Removes the aliases that lead to this mailbox alone and takes it out of the others.
fn remove_aliases(state: &mut State, address: &str) {
    let is_it = |other: &str| other.eq_ignore_ascii_case(address);
    state.aliases.retain(|_, alias| !is_it(&alias.goto));
    for alias in state.aliases.values_mut() {
        let kept: Vec<&str> = alias.gotos().filter(|goto| !is_it(goto)).collect();
        let kept = kept.join(",");
        if kept != alias.goto {
            alias.goto = kept;
            alias.modified = Some(clock::now());
        }
    }
}

/// Leaves a mailbox as a deletion that broke off does: its row stays, the rest is gone.
pub(crate) fn half_delete(state: &mut State, address: &str) {
    remove_aliases(state, address);
    if let Some(mailbox) = state.mailbox_mut(address) {
        mailbox.half_deleted = true;
        mailbox.quota_used = 0;
        mailbox.messages = 0;
    }
}
