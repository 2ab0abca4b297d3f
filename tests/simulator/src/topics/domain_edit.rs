//! Changing domains.

use crate::clock;
use crate::json::{Json, list};
use crate::php;
use crate::state::{Domain, State};
use crate::topics::tags;
use crate::topics::tags::Twice;
use crate::writer::{Done, Stop, Writer};

const MIB: i64 = 1 << 20;

/// `edit/domain`
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let name = php::to_punycode(&item.to_text());
        let Some(before) = w.state.domain(&name).cloned() else {
            // An alias domain is found through its target, and nothing is written.
            if w.state.alias_domain(&name).is_some_and(|a| w.state.domain(&a.target).is_some()) {
                w.success(list!["domain_modified", php::html_escape(&name)]);
            } else {
                w.danger("domain_invalid");
            }
            continue;
        };
        let wanted = merged(&before, attr);
        if let Some(msg) = refusal(w.state, wanted.as_ref().unwrap_or(&before)) {
            w.danger(msg);
            continue;
        }
        // A value that is no number gets through the checks and breaks off at the database.
        let mut wanted = wanted.ok_or_else(Stop::crash)?;
        if wanted.description.chars().count() > 255 {
            return Err(Stop::too_long("description"));
        }
        if wanted != before {
            wanted.modified = Some(clock::now());
        }
        w.state.domains.insert(php::collated(&name), wanted);
        tags::append(
            w,
            |state| state.domain_mut(&name).map(|d| &mut d.tags),
            &tags::listed(attr.get("tags")),
            Twice::Crashes,
        )?;
        w.success(list!["domain_modified", php::html_escape(&name)]);
    }
    Ok(())
}

/// The domain with the sent fields; `None` when a number is none.
fn merged(before: &Domain, attr: &Json) -> Option<Domain> {
    let flag = |key: &str, now: i64| if attr.is_set(key) { attr.get(key).to_int() } else { now };
    let unless_zero = |key: &str, now: i64| if attr.get(key).truthy() { attr.get(key).to_rounded() } else { Some(now) };
    let number = |key: &str, now: i64| match attr.get(key) {
        Json::Null | Json::Bool(false) => Some(now),
        Json::Text(t) if t.is_empty() => Some(now),
        value => value.to_rounded(),
    };
    let mut domain = before.clone();
    domain.max_aliases = unless_zero("aliases", before.max_aliases)?;
    domain.max_mailboxes = number("mailboxes", before.max_mailboxes)?;
    domain.default_quota = number("defquota", before.default_quota)?;
    domain.max_quota = unless_zero("maxquota", before.max_quota)?;
    domain.quota = unless_zero("quota", before.quota)?;
    if attr.get("description").truthy() {
        domain.description = attr.get("description").to_text();
    }
    if attr.is_set("relayhost") {
        domain.relayhost = attr.get("relayhost").to_int().to_string();
    }
    domain.active = flag("active", before.active);
    domain.gal = flag("gal", before.gal);
    domain.backupmx = flag("backupmx", before.backupmx);
    domain.relay_all_recipients = flag("relay_all_recipients", before.relay_all_recipients);
    domain.relay_unknown_only = flag("relay_unknown_only", before.relay_unknown_only);
    if domain.relay_unknown_only == 1 {
        domain.relay_all_recipients = 1;
    }
    if domain.relay_all_recipients == 1 {
        domain.backupmx = 1;
    }
    Some(domain)
}

/// What is wrong with the sizes of a domain, in the order in which an edit looks at them.
fn quota_problem(domain: &Domain) -> Option<&'static str> {
    if domain.default_quota > domain.max_quota {
        Some("mailbox_defquota_exceeds_mailbox_maxquota")
    } else if domain.default_quota == 0 {
        Some("defquota_empty")
    } else if domain.max_quota > domain.quota {
        Some("mailbox_quota_exceeds_domain_quota")
    } else if domain.max_quota == 0 {
        Some("maxquota_empty")
    } else {
        None
    }
}

/// Why a domain may not become like that.
fn refusal(state: &State, wanted: &Domain) -> Option<Json> {
    if let Some(problem) = quota_problem(wanted) {
        return Some(Json::from(problem));
    }
    let own = |a: &&crate::state::Alias| a.domain == wanted.name && !a.is_own_row();
    let quotas: Vec<i64> = state.mailboxes_of(&wanted.name).map(|m| m.quota / MIB).collect();
    let biggest = quotas.iter().copied().max().unwrap_or(0);
    let total: i64 = quotas.iter().sum();
    let mailboxes = i64::try_from(quotas.len()).unwrap_or(i64::MAX);
    // Unlike for new ones, those of alias domains do not count.
    let aliases = state.aliases.values().filter(own).filter(|a| state.mailbox(&a.address).is_none()).count();
    let aliases = i64::try_from(aliases).unwrap_or(i64::MAX);
    if biggest > wanted.max_quota {
        Some(list!["max_quota_in_use", biggest.to_string()])
    } else if total > wanted.quota {
        Some(list!["domain_quota_m_in_use", total.to_string()])
    } else if mailboxes > wanted.max_mailboxes {
        Some(list!["mailboxes_in_use", mailboxes])
    } else if aliases > wanted.max_aliases {
        Some(list!["aliases_in_use", aliases])
    } else {
        None
    }
}
