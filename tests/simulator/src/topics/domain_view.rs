//! How domains are shown.

use std::collections::HashMap;

use crate::json::{Json, obj};
use crate::php;
use crate::state::{Domain, State};
use crate::topics::{rate_limit, tags};

const MIB: i64 = 1 << 20;

/// Sums over the mailboxes and aliases of one domain.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) mailboxes: i64,
    /// Assigned quota, bytes.
    pub(crate) quota: i64,
    bytes: i64,
    messages: i64,
    aliases: i64,
}

/// The sums of one domain.
pub(crate) fn usage(state: &State, domain: &str) -> Usage {
    Usage { aliases: count_aliases(state, domain), ..assigned(state, domain) }
}

/// The sums over the mailboxes of one domain; its aliases are not counted.
pub(crate) fn assigned(state: &State, domain: &str) -> Usage {
    let mut usage = Usage::default();
    for mailbox in state.mailboxes_of(domain) {
        usage.mailboxes += 1;
        usage.quota += mailbox.quota;
        usage.bytes += mailbox.quota_used;
        usage.messages += mailbox.messages;
    }
    usage
}

/// The sums of all domains in one pass.
pub(crate) fn usages(state: &State) -> HashMap<String, Usage> {
    let mut usages: HashMap<String, Usage> = HashMap::new();
    for mailbox in state.mailboxes.values() {
        let usage = usages.entry(mailbox.domain.clone()).or_default();
        usage.mailboxes += 1;
        usage.quota += mailbox.quota;
        usage.bytes += mailbox.quota_used;
        usage.messages += mailbox.messages;
    }
    for alias in state.aliases.values().filter(|a| !a.is_own_row() && state.mailbox(&a.address).is_none()) {
        let target = state.alias_domain(&alias.domain).map_or(&alias.domain, |a| &a.target);
        usages.entry(target.clone()).or_default().aliases += 1;
    }
    usages
}

/// How many aliases count against a domain: its own and those of its alias domains.
pub(crate) fn count_aliases(state: &State, domain: &str) -> i64 {
    let others: Vec<&str> =
        state.alias_domains.values().filter(|a| a.target == domain).map(|a| a.name.as_str()).collect();
    let counts = |name: &str| name == domain || others.contains(&name);
    let aliases = state.aliases.values().filter(|a| !a.is_own_row() && counts(&a.domain));
    i64::try_from(aliases.filter(|a| state.mailbox(&a.address).is_none()).count()).unwrap_or(i64::MAX)
}

/// How many more aliases a domain may have.
pub(crate) fn aliases_left(state: &State, domain: &Domain) -> i64 {
    domain.max_aliases - count_aliases(state, &domain.name)
}

/// `get/domain/{domain}`; an alias domain shows its target.
pub(crate) fn get(state: &State, name: &str) -> Json {
    let name = php::to_punycode(php::trim(name));
    let target = state.alias_domain(&name).map_or(name.as_str(), |a| a.target.as_str());
    state.domain(target).map_or(Json::Null, |domain| show(state, domain, usage(state, &domain.name)))
}

/// `get/domain/all`, with `?tags=` only those that have one of them.
pub(crate) fn all(state: &State, tags: Option<&str>) -> Json {
    let usages = usages(state);
    let wanted = state.domains.values().filter(|d| tags.is_none_or(|t| tags::matches(&d.tags, t)));
    let shown = wanted.map(|d| show(state, d, usages.get(&d.name).copied().unwrap_or_default()));
    Json::List(shown.collect())
}

fn show(state: &State, domain: &Domain, usage: Usage) -> Json {
    // Sums come from the database as strings, unless there is nothing to sum.
    let sum = |n: i64| if n == 0 { Json::Int(0) } else { Json::Text(n.to_string()) };
    let free = domain.quota * MIB - usage.quota;
    let admins: Vec<&str> = state
        .domain_admins
        .iter()
        .filter(|(_, domains)| domains.contains(&domain.name))
        .map(|(admin, _)| admin.as_str())
        .collect();
    let mut shown = obj! {
        "max_new_mailbox_quota" => free.min(domain.max_quota * MIB),
        "def_new_mailbox_quota" => free.min(domain.default_quota * MIB),
        "quota_used_in_domain" => usage.quota.to_string(),
        "bytes_total" => sum(usage.bytes),
        "msgs_total" => sum(usage.messages),
        "mboxes_in_domain" => usage.mailboxes,
        "mboxes_left" => domain.max_mailboxes - usage.mailboxes,
        "domain_name" => &domain.name,
        "domain_h_name" => php::to_unicode(&domain.name),
        "description" => &domain.description,
        "max_num_aliases_for_domain" => domain.max_aliases,
        "max_num_mboxes_for_domain" => domain.max_mailboxes,
        "def_quota_for_mbox" => domain.default_quota * MIB,
        "max_quota_for_mbox" => domain.max_quota * MIB,
        "max_quota_for_domain" => domain.quota * MIB,
        "relayhost" => &domain.relayhost,
        "backupmx" => domain.backupmx,
        "backupmx_int" => domain.backupmx,
        "gal" => domain.gal,
        "gal_int" => domain.gal,
        "rl" => rate_limit::shown(state, &domain.name),
        "active" => domain.active,
        "active_int" => domain.active,
        "relay_all_recipients" => domain.relay_all_recipients,
        "relay_all_recipients_int" => domain.relay_all_recipients,
        "relay_unknown_only" => domain.relay_unknown_only,
        "relay_unknown_only_int" => domain.relay_unknown_only,
        "created" => &domain.created,
        "modified" => domain.modified.clone(),
        "aliases_in_domain" => usage.aliases,
        "aliases_left" => domain.max_aliases - usage.aliases,
        "domain_admins" => if admins.is_empty() { "-".to_owned() } else { admins.join(", ") },
    };
    tags::show(&mut shown, &domain.tags);
    shown
}
