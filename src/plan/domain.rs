//! Domains: what differs, and how a domain goes.

use super::Removal;
use super::change::{Change, DomainEdit, differs};
use super::ownership::{Claim, Refusal, claim};
use crate::crd::{AdoptionPolicy, DeletionPolicy};
use crate::mail::{Domain, DomainHave, Limits, Mark, Quota, RateLimit, Relay};
use crate::outcome::{Outcome, Reason};

/// How much a new domain may hold where the spec says nothing. Mailcow's own template is not asked: an administrator may
/// change it, and a part of it may contradict what the spec says (recordings
/// `02_domain/add_partial_quota_conflicts_with_template`, `18_templates/get_domain_min`).
const NEW: Limits<u32, Quota> = Limits {
    mailboxes: 10,
    aliases: 400,
    default_quota: Quota::gib(1),
    mailbox_quota: Quota::gib(10),
    total_quota: Quota::gib(10),
};

/// Changes that bring a domain to what is wanted.
///
/// # Errors
/// [`Refusal`] when the domain exists and may not be touched.
pub fn domain(want: &Domain, have: Option<&DomainHave>, policy: AdoptionPolicy) -> Result<Vec<Change>, Refusal> {
    let Some(have) = have else { return Ok(added(want)) };
    let there = have.mark();
    let claim = claim(&want.mark, there.as_ref(), policy, &want.name)?;
    let mut changes = Vec::new();
    if let Some(stale) = stale_tag(have, &want.mark).filter(|_| claim == Claim::Adopt) {
        changes.push(Change::UnmarkDomain { name: want.name.clone(), tag: stale });
    }
    let edit = DomainEdit {
        description: differs(want.description.as_ref(), &have.description),
        active: differs(Some(&want.active), &have.active),
        limits: changed_limits(fitted(&want.limits, have.limits), have.limits),
        address_list: differs(want.address_list.as_ref(), &have.address_list),
        relay: changed_relay(want.relay, have.relay),
        mark: (claim == Claim::Adopt).then(|| want.mark.to_string()),
        tags: want.tags.missing(&have.tags),
    };
    let stale = want.tags.stale(&have.tags);
    if !stale.is_empty() {
        changes.push(Change::UntagDomain { name: want.name.clone(), tags: stale });
    }
    if edit != DomainEdit::default() {
        changes.push(Change::EditDomain { name: want.name.clone(), edit });
    }
    if let Some(rate) = differs(want.rate_limit.as_ref(), &have.rate_limit) {
        changes.push(Change::LimitDomain { name: want.name.clone(), rate });
    }
    if have.dkim.is_none() {
        changes.push(Change::AddDkim { name: want.name.clone(), dkim: want.dkim.clone() });
    }
    Ok(changes)
}

/// Whether an existing key is another than the one that is asked for.
///
/// # Errors
/// [`Reason::DkimKeyDiffers`]: an existing key is never replaced, so a human has to decide.
pub fn dkim_agrees(want: &Domain, have: Option<&DomainHave>) -> Result<(), Outcome> {
    let Some(key) = have.and_then(|have| have.dkim.as_ref()).filter(|_| want.dkim.is_demanded) else { return Ok(()) };
    // Mailcow guesses the size from the key's text, and says none where it can't.
    let is_size = key.key_size == want.dkim.key_size || key.key_size == 0;
    if key.selector == want.dkim.selector && is_size {
        return Ok(());
    }
    let message = format!(
        "Mailcow has a DKIM key with selector {} and {} bits, but spec.dkim asks for {} and {}. The operator never replaces a key: change spec.dkim, or delete the key in Mailcow to get a new one",
        key.selector, key.key_size, want.dkim.selector, want.dkim.key_size
    );
    Err(Outcome::stalled(Reason::DkimKeyDiffers, message))
}

/// Changes that let a domain go as the policy says. Nothing without our mark is touched, and neither is the DKIM key.
///
/// # Errors
/// What has to come first: mailboxes that must go, or a confirmation.
pub fn domain_removal(have: Option<&DomainHave>, mark: &Mark, policy: DeletionPolicy, confirmed: bool) -> Removal {
    let Some((have, tag)) = have.and_then(|have| owned_tag(have, mark).map(|tag| (have, tag))) else {
        return Ok(Vec::new());
    };
    let name = have.name.clone();
    let untag = Change::UnmarkDomain { name: name.clone(), tag };
    match policy {
        DeletionPolicy::Retain => Ok(vec![untag]),
        DeletionPolicy::Deactivate => {
            let edit = DomainEdit { active: Some(false), ..DomainEdit::default() };
            let off = have.active.then_some(Change::EditDomain { name, edit });
            Ok(off.into_iter().chain([untag]).collect())
        }
        DeletionPolicy::Delete if have.mailboxes > 0 => Err(Outcome::waiting(
            Reason::DomainNotEmpty,
            format!(
                "{name} still has {} on Mailcow; the operator deletes it when none is left",
                count(have.mailboxes, "mailbox", "mailboxes")
            ),
        )),
        DeletionPolicy::Delete if have.aliases > 0 && !confirmed => Err(Outcome::stalled(
            Reason::ConfirmationNeeded,
            format!(
                "deleting {name} would also delete {}; to confirm, set the annotation {}: {name}; to keep them, set deletionPolicy: Retain",
                count(have.aliases, "alias", "aliases"),
                crate::crd::CONFIRM_DELETE
            ),
        )),
        DeletionPolicy::Delete => Ok(vec![Change::DeleteDomain(name)]),
    }
}

/// A number with its noun.
fn count(number: u32, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn added(want: &Domain) -> Vec<Change> {
    let limits = fitted(&want.limits, NEW);
    let add = Change::AddDomain {
        name: want.name.clone(),
        edit: DomainEdit {
            description: Some(want.description.clone().unwrap_or_else(|| want.name.to_string())),
            active: Some(want.active),
            limits: Limits {
                mailboxes: Some(limits.mailboxes),
                aliases: Some(limits.aliases),
                default_quota: Some(limits.default_quota),
                mailbox_quota: Some(limits.mailbox_quota),
                total_quota: Some(limits.total_quota),
            },
            address_list: Some(want.address_list.unwrap_or(true)),
            relay: Relay {
                backup_mx: Some(want.relay.backup_mx.unwrap_or(false)),
                all_recipients: Some(want.relay.all_recipients.unwrap_or(false)),
                unknown_only: Some(want.relay.unknown_only.unwrap_or(false)),
                host: None,
            },
            mark: Some(want.mark.to_string()),
            tags: want.tags.missing(&[]),
        },
        dkim: want.dkim.clone(),
        rate: Some(want.rate_limit.unwrap_or(RateLimit::Unlimited)),
    };
    let relay = Relay { host: want.relay.host.filter(|host| *host != 0), ..Relay::default() };
    let edit = DomainEdit { relay, ..DomainEdit::default() };
    let relayed = relay.host.map(|_| Change::EditDomain { name: want.name.clone(), edit });
    [add].into_iter().chain(relayed).collect()
}

fn changed_relay(want: Relay<Option<bool>, Option<u32>>, have: Relay<bool, u32>) -> Relay<Option<bool>, Option<u32>> {
    Relay {
        backup_mx: differs(want.backup_mx.as_ref(), &have.backup_mx),
        all_recipients: differs(want.all_recipients.as_ref(), &have.all_recipients),
        unknown_only: differs(want.unknown_only.as_ref(), &have.unknown_only),
        host: differs(want.host.as_ref(), &have.host),
    }
}

/// The tag that carries our owner's mark.
fn owned_tag(have: &DomainHave, mark: &Mark) -> Option<String> {
    have.tags.iter().find(|tag| Mark::find(tag).is_some_and(|there| there.same_owner(mark))).cloned()
}

/// A tag with any mark that is not ours to the letter.
fn stale_tag(have: &DomainHave, mark: &Mark) -> Option<String> {
    have.tags.iter().find(|tag| Mark::find(tag).is_some_and(|there| there != *mark)).cloned()
}

/// The wanted limits over those that are there, bent so that Mailcow's rule holds: the default is at most the
/// mailbox's largest, and that at most the whole. What is wanted is never bent, only what is not managed.
fn fitted(want: &Limits<Option<u32>, Option<Quota>>, base: Limits<u32, Quota>) -> Limits<u32, Quota> {
    let floor = want.mailbox_quota.or(want.default_quota).unwrap_or_default();
    let total_quota = want.total_quota.unwrap_or_else(|| base.total_quota.max(floor));
    let mailbox_quota = want
        .mailbox_quota
        .unwrap_or_else(|| base.mailbox_quota.max(want.default_quota.unwrap_or_default()).min(total_quota));
    let default_quota = want.default_quota.unwrap_or_else(|| base.default_quota.min(mailbox_quota));
    Limits {
        mailboxes: want.mailboxes.unwrap_or(base.mailboxes),
        aliases: want.aliases.unwrap_or(base.aliases),
        default_quota,
        mailbox_quota,
        total_quota,
    }
}

fn changed_limits(want: Limits<u32, Quota>, have: Limits<u32, Quota>) -> Limits<Option<u32>, Option<Quota>> {
    Limits {
        mailboxes: differs(Some(&want.mailboxes), &have.mailboxes),
        aliases: differs(Some(&want.aliases), &have.aliases),
        default_quota: differs(Some(&want.default_quota), &have.default_quota),
        mailbox_quota: differs(Some(&want.mailbox_quota), &have.mailbox_quota),
        total_quota: differs(Some(&want.total_quota), &have.total_quota),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Dkim, DkimKey, DomainName};

    fn mark() -> Mark {
        Mark::new("c1", "mail", "example-com", "uid-1")
    }

    fn want() -> Domain {
        Domain {
            name: DomainName::parse("example.com").unwrap(),
            description: None,
            active: true,
            limits: Limits::default(),
            rate_limit: None,
            address_list: None,
            relay: Relay::default(),
            tags: crate::mail::Tags::default(),
            dkim: Dkim { selector: "dkim".into(), key_size: 2048, is_demanded: false },
            mark: mark(),
        }
    }

    fn have() -> DomainHave {
        DomainHave {
            name: DomainName::parse("example.com").unwrap(),
            description: "example.com".into(),
            active: true,
            limits: NEW,
            rate_limit: RateLimit::Unlimited,
            address_list: true,
            relay: Relay::default(),
            tags: vec!["theirs".into(), mark().to_string()],
            dkim: Some(DkimKey {
                selector: "dkim".into(),
                key_size: 2048,
                record: "v=DKIM1".into(),
                public_key: "x".into(),
            }),
            mailboxes: 0,
            aliases: 0,
            quota_left: Quota::default(),
            used: Quota::default(),
            messages: 0,
        }
    }

    fn plan(want: &Domain, have: &DomainHave) -> Vec<Change> {
        domain(want, Some(have), AdoptionPolicy::IfUnowned).unwrap()
    }

    #[test]
    fn a_missing_domain_is_added_with_every_limit() {
        let mut want = want();
        want.limits.total_quota = Some(Quota::gib(5));
        let changes = domain(&want, None, AdoptionPolicy::Never).unwrap();
        let [Change::AddDomain { edit, .. }] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(edit.limits.mailbox_quota, Some(Quota::gib(5)), "the template's 10Gi would be refused");
        assert_eq!(edit.limits.default_quota, Some(Quota::gib(1)));
        assert_eq!(edit.limits.mailboxes, Some(10));
        assert_eq!(edit.mark, Some(mark().to_string()));
    }

    #[test]
    fn what_is_in_sync_is_not_written() {
        assert_eq!(plan(&want(), &have()), vec![]);
    }

    #[test]
    fn what_is_not_managed_is_not_touched() {
        let have = DomainHave {
            description: "by hand".into(),
            rate_limit: RateLimit::Limit { messages: 3, per: crate::crd::Per::Hour },
            limits: Limits { mailboxes: 77, ..NEW },
            ..have()
        };
        assert_eq!(plan(&want(), &have), vec![]);
    }

    #[test]
    fn only_fields_that_differ_are_sent() {
        let mut want = want();
        want.limits.mailboxes = Some(11);
        let edit = DomainEdit { limits: Limits { mailboxes: Some(11), ..Limits::default() }, ..DomainEdit::default() };
        assert_eq!(plan(&want, &have()), vec![Change::EditDomain { name: want.name.clone(), edit }]);
    }

    #[test]
    fn a_lower_total_takes_the_unmanaged_limits_down_with_it() {
        let mut want = want();
        want.limits.total_quota = Some(Quota::mib(512));
        let changes = plan(&want, &have());
        let [Change::EditDomain { edit, .. }] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(edit.limits.mailbox_quota, Some(Quota::mib(512)));
        assert_eq!(edit.limits.default_quota, Some(Quota::mib(512)));
    }

    #[test]
    fn a_missing_key_is_made_and_an_existing_one_never_replaced() {
        let without = DomainHave { dkim: None, ..have() };
        assert!(matches!(plan(&want(), &without).as_slice(), [Change::AddDkim { .. }]));
        let mut other = want();
        other.dkim.selector = "s2".into();
        assert_eq!(plan(&other, &have()), vec![]);
        assert_eq!(dkim_agrees(&other, Some(&have())), Ok(()), "nobody asked for another");
        other.dkim.is_demanded = true;
        let differs = dkim_agrees(&other, Some(&have()));
        assert!(matches!(differs, Err(Outcome::Stalled(why)) if why.reason == Reason::DkimKeyDiffers));
        assert_eq!(dkim_agrees(&other, None), Ok(()));
    }

    #[test]
    fn a_predecessors_mark_is_replaced() {
        let before = Mark::new("c1", "mail", "example-com", "uid-0").to_string();
        let have = DomainHave { tags: vec![before.clone()], ..have() };
        let changes = plan(&want(), &have);
        assert!(matches!(&changes[0], Change::UnmarkDomain { tag, .. } if *tag == before));
        assert!(matches!(&changes[1], Change::EditDomain { edit, .. } if edit.mark == Some(mark().to_string())));
    }

    #[test]
    fn another_owners_domain_is_left_alone() {
        let other = Mark::new("c2", "mail", "example-com", "uid-1").to_string();
        let have = DomainHave { tags: vec![other], ..have() };
        assert!(domain(&want(), Some(&have), AdoptionPolicy::IfUnowned).is_err());
        assert_eq!(domain_removal(Some(&have), &mark(), DeletionPolicy::Delete, true), Ok(vec![]));
    }

    #[test]
    fn retain_only_takes_the_mark_off() {
        let changes = domain_removal(Some(&have()), &mark(), DeletionPolicy::Retain, false).unwrap();
        assert!(matches!(changes.as_slice(), [Change::UnmarkDomain { .. }]));
    }

    #[test]
    fn deactivate_switches_off_and_keeps_the_rest() {
        let changes = domain_removal(Some(&have()), &mark(), DeletionPolicy::Deactivate, false).unwrap();
        assert!(matches!(changes.as_slice(), [Change::EditDomain { .. }, Change::UnmarkDomain { .. }]));
    }

    #[test]
    fn delete_waits_for_mailboxes_and_asks_about_aliases() {
        let full = DomainHave { mailboxes: 2, ..have() };
        let removal = domain_removal(Some(&full), &mark(), DeletionPolicy::Delete, true);
        assert!(matches!(removal, Err(Outcome::Waiting(why)) if why.reason == Reason::DomainNotEmpty));
        let aliases = DomainHave { aliases: 2, ..have() };
        let removal = domain_removal(Some(&aliases), &mark(), DeletionPolicy::Delete, false);
        assert!(matches!(removal, Err(Outcome::Stalled(why)) if why.reason == Reason::ConfirmationNeeded));
        assert!(domain_removal(Some(&aliases), &mark(), DeletionPolicy::Delete, true).is_ok());
        assert_eq!(domain_removal(None, &mark(), DeletionPolicy::Delete, false), Ok(vec![]));
    }
}
