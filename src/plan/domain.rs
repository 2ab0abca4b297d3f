//! Domains: differences and removal.

use super::Removal;
use super::change::{Change, DomainEdit, differs};
use super::ownership::{Claim, Refusal, claim};
use crate::crd::{AdoptionPolicy, DeletionPolicy};
use crate::mail::{Domain, DomainHave, Limits, Mark, Quota, RateLimit, Relay};
use crate::outcome::{Outcome, Reason};

/// Limits of a new domain if the spec has none. Mailcow's own template is not used: an administrator may change it, and
/// a part of it may contradict the spec (recordings `02_domain/add_partial_quota_conflicts_with_template`,
/// `18_templates/get_domain_min`).
const NEW: Limits<u32, Quota> = Limits {
    mailboxes: 10,
    aliases: 400,
    default_quota: Quota::gib(1),
    mailbox_quota: Quota::gib(10),
    total_quota: Quota::gib(10),
};

/// Changes that make a domain match the desired one.
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

/// Whether an existing key differs from the one that the spec asks for.
///
/// # Errors
/// [`Reason::DkimKeyDiffers`]: an existing key is never replaced, so a human has to decide.
pub fn dkim_agrees(want: &Domain, have: Option<&DomainHave>) -> Result<(), Outcome> {
    let Some(key) = have.and_then(|have| have.dkim.as_ref()).filter(|_| want.dkim.is_demanded) else { return Ok(()) };
    // Mailcow guesses the size from the key's text, and gives none if it can't.
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

/// Changes that remove a domain as the policy says. Only entries with our mark are changed; the DKIM key never is.
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

/// The tag with our owner's mark.
fn owned_tag(have: &DomainHave, mark: &Mark) -> Option<String> {
    have.tags.iter().find(|tag| Mark::at_start(tag).is_some_and(|there| there.same_owner(mark))).cloned()
}

/// A tag with a mark that is not exactly ours.
fn stale_tag(have: &DomainHave, mark: &Mark) -> Option<String> {
    have.tags.iter().find(|tag| Mark::at_start(tag).is_some_and(|there| there != *mark)).cloned()
}

/// The desired limits over the existing ones, adjusted to Mailcow's rule: the default is at most the mailbox quota, and
/// that at most the total. Only unmanaged limits are adjusted.
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
    use crate::mail::{Dkim, DkimKey, DomainName, Tags};

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
            tags: Tags::default(),
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

    /// A field of the spec, a wish for it that a domain in sync does not fulfil, and the edit that fulfils it.
    type Wish = (&'static str, fn(&mut Domain, &mut DomainEdit));

    const WISHES: [Wish; 12] = [
        ("description", |want, edit| (want.description, edit.description) = (Some("new".into()), Some("new".into()))),
        ("active", |want, edit| (want.active, edit.active) = (false, Some(false))),
        ("limits.mailboxes", |want, edit| (want.limits.mailboxes, edit.limits.mailboxes) = (Some(11), Some(11))),
        ("limits.aliases", |want, edit| (want.limits.aliases, edit.limits.aliases) = (Some(0), Some(0))),
        ("mailboxDefaults.quota", |want, edit| {
            want.limits.default_quota = Some(Quota::gib(2));
            edit.limits.default_quota = want.limits.default_quota;
        }),
        ("limits.mailboxQuota", |want, edit| {
            want.limits.mailbox_quota = Some(Quota::gib(9));
            edit.limits.mailbox_quota = want.limits.mailbox_quota;
        }),
        ("limits.totalQuota", |want, edit| {
            want.limits.total_quota = Some(Quota::gib(11));
            edit.limits.total_quota = want.limits.total_quota;
        }),
        ("globalAddressList", |want, edit| (want.address_list, edit.address_list) = (Some(false), Some(false))),
        ("relay.backupMx", |want, edit| (want.relay.backup_mx, edit.relay.backup_mx) = (Some(true), Some(true))),
        ("relay.allRecipients", |want, edit| {
            (want.relay.all_recipients, edit.relay.all_recipients) = (Some(true), Some(true));
        }),
        ("relay.unknownOnly", |want, edit| {
            (want.relay.unknown_only, edit.relay.unknown_only) = (Some(true), Some(true));
        }),
        ("tags", |want, edit| (want.tags.wanted, edit.tags) = (vec!["new".into()], vec!["new".into()])),
    ];

    fn relayed_by(host: u32) -> Change {
        let relay = Relay { host: Some(host), ..Relay::default() };
        Change::EditDomain { name: want().name, edit: DomainEdit { relay, ..DomainEdit::default() } }
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
    fn each_field_that_differs_is_sent_alone_and_reported_by_its_name_in_the_spec() {
        for (field, wish) in WISHES {
            let (mut want, mut edit) = (want(), DomainEdit::default());
            wish(&mut want, &mut edit);
            let changes = plan(&want, &have());
            assert_eq!(changes, [Change::EditDomain { name: want.name, edit }]);
            assert_eq!(changes[0].fields(), [field]);
        }
    }

    #[test]
    fn a_new_domain_has_what_is_asked_for_and_every_other_setting_is_said_as_well() {
        let unasked = || DomainEdit {
            description: Some("example.com".into()),
            active: Some(true),
            limits: Limits {
                mailboxes: Some(10),
                aliases: Some(400),
                default_quota: Some(Quota::gib(1)),
                mailbox_quota: Some(Quota::gib(10)),
                total_quota: Some(Quota::gib(10)),
            },
            address_list: Some(true),
            relay: Relay { backup_mx: Some(false), all_recipients: Some(false), unknown_only: Some(false), host: None },
            mark: Some(mark().to_string()),
            tags: Vec::new(),
        };
        let rate = RateLimit::Limit { messages: 3, per: crate::crd::Per::Hour };
        let nothing: Wish = ("", |_, _| ());
        for (field, wish) in [nothing].into_iter().chain(WISHES) {
            for (limit, rate) in [(None, RateLimit::Unlimited), (Some(rate), rate)] {
                let (mut want, mut edit) = (Domain { rate_limit: limit, ..want() }, unasked());
                wish(&mut want, &mut edit);
                let changes = domain(&want, None, AdoptionPolicy::Never).unwrap();
                let Domain { name, dkim, .. } = want;
                assert_eq!(changes, [Change::AddDomain { name, edit, dkim, rate: Some(rate) }], "{field}");
            }
        }
    }

    #[test]
    fn a_relay_host_is_set_when_it_differs_and_after_a_new_domain_is_made() {
        let plan = |host: Option<u32>, there: Option<u32>| {
            let with = |host| DomainHave { relay: Relay { host, ..Relay::default() }, ..have() };
            let want = Domain { relay: Relay { host, ..Relay::default() }, ..want() };
            domain(&want, there.map(with).as_ref(), AdoptionPolicy::Never).unwrap()
        };
        for (wanted, there, expected) in [
            (None, 0, vec![]),
            (None, 7, vec![]),
            (Some(0), 0, vec![]),
            (Some(7), 7, vec![]),
            (Some(7), 0, vec![relayed_by(7)]),
            (Some(0), 7, vec![relayed_by(0)]),
        ] {
            assert_eq!(plan(wanted, Some(there)), expected, "{wanted:?} {there}");
        }
        assert_eq!(relayed_by(7).fields(), ["relay.host"]);
        for (wanted, expected) in [(None, vec![]), (Some(0), vec![]), (Some(7), vec![relayed_by(7)])] {
            assert_eq!(plan(wanted, None)[1..], expected, "{wanted:?}");
        }
    }

    #[test]
    fn limits_that_nobody_manages_make_room_for_those_that_are_wanted() {
        let gib = |limits: [Option<u64>; 3]| {
            let [default_quota, mailbox_quota, total_quota] = limits.map(|limit| limit.map(Quota::gib));
            Limits { default_quota, mailbox_quota, total_quota, ..Limits::default() }
        };
        // Default, largest and sum; Mailcow has 1, 10 and 10.
        for (wanted, sent) in [
            ([None, None, Some(5)], [None, Some(5), Some(5)]),
            ([None, None, Some(0)], [Some(0), Some(0), Some(0)]),
            ([None, Some(20), None], [None, Some(20), Some(20)]),
            ([None, Some(0), None], [Some(0), Some(0), None]),
            ([Some(20), None, None], [Some(20), Some(20), Some(20)]),
            ([Some(5), None, None], [Some(5), None, None]),
            ([Some(5), Some(20), None], [Some(5), Some(20), Some(20)]),
            ([Some(5), None, Some(7)], [Some(5), Some(7), Some(7)]),
            // What contradicts itself is sent as it is wanted: Mailcow says what is wrong with it.
            ([Some(20), Some(9), Some(5)], [Some(20), Some(9), Some(5)]),
        ] {
            let want = Domain { limits: gib(wanted), ..want() };
            let edit = DomainEdit { limits: gib(sent), ..DomainEdit::default() };
            assert_eq!(plan(&want, &have()), [Change::EditDomain { name: want.name.clone(), edit }], "{wanted:?}");
        }
    }

    #[test]
    fn a_rate_limit_and_a_tag_to_remove_go_to_their_own_endpoints() {
        let rate = RateLimit::Limit { messages: 3, per: crate::crd::Per::Hour };
        let limited = Domain { rate_limit: Some(rate), ..want() };
        assert_eq!(plan(&limited, &have()), [Change::LimitDomain { name: want().name, rate }]);
        assert_eq!(plan(&limited, &DomainHave { rate_limit: rate, ..have() }), []);
        let untagged = Domain { tags: Tags { wanted: vec![], placed: vec!["old".into()] }, ..want() };
        let tags = vec!["theirs".into(), "old".into(), mark().to_string()];
        let untag = Change::UntagDomain { name: want().name, tags: vec!["old".into()] };
        assert_eq!(plan(&untagged, &DomainHave { tags, ..have() }), [untag]);
    }

    #[test]
    fn a_missing_key_is_made_and_an_existing_one_never_replaced() {
        let without = DomainHave { dkim: None, ..have() };
        assert!(matches!(plan(&want(), &without).as_slice(), [Change::AddDkim { .. }]));
        let mut other = want();
        other.dkim.selector = "s2".into();
        assert_eq!(plan(&other, &have()), vec![]);
    }

    #[test]
    fn a_key_of_another_selector_or_size_differs_where_one_is_demanded() {
        let key = |selector: &str, key_size| DkimKey { selector: selector.into(), key_size, ..have().dkim.unwrap() };
        let (same, other, longer, unknown) = (key("dkim", 2048), key("s2", 2048), key("dkim", 4096), key("dkim", 0));
        for (is_demanded, key, agrees) in [
            (true, Some(&same), true),
            (true, Some(&other), false),
            (true, Some(&longer), false),
            (true, Some(&unknown), true),
            (true, None, true),
            (false, Some(&other), true),
            (false, Some(&longer), true),
        ] {
            let mut want = want();
            want.dkim.is_demanded = is_demanded;
            let said = dkim_agrees(&want, Some(&DomainHave { dkim: key.cloned(), ..have() }));
            match said {
                Ok(()) => assert!(agrees, "{is_demanded} {key:?}"),
                Err(Outcome::Stalled(why)) if why.reason == Reason::DkimKeyDiffers => assert!(!agrees, "{key:?}"),
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!(dkim_agrees(&want, None), Ok(()), "no domain, no key");
        }
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
    fn a_domain_goes_as_its_policy_says() {
        use DeletionPolicy::{Deactivate, Delete, Retain};
        let name = || want().name;
        let unmark = || Change::UnmarkDomain { name: name(), tag: mark().to_string() };
        let off =
            Change::EditDomain { name: name(), edit: DomainEdit { active: Some(false), ..DomainEdit::default() } };
        for (policy, active, expected) in [
            (Retain, true, vec![unmark()]),
            (Retain, false, vec![unmark()]),
            (Deactivate, true, vec![off, unmark()]),
            (Deactivate, false, vec![unmark()]),
            (Delete, true, vec![Change::DeleteDomain(name())]),
            (Delete, false, vec![Change::DeleteDomain(name())]),
        ] {
            let full = DomainHave { active, mailboxes: 2, aliases: 2, ..have() };
            let empty = DomainHave { active, ..have() };
            let have = if policy == Delete { empty } else { full };
            assert_eq!(domain_removal(Some(&have), &mark(), policy, false), Ok(expected), "{policy:?} {active}");
            let unmarked = DomainHave { tags: vec!["theirs".into()], ..have };
            assert_eq!(domain_removal(Some(&unmarked), &mark(), policy, true), Ok(vec![]), "{policy:?} unmarked");
            assert_eq!(domain_removal(None, &mark(), policy, true), Ok(vec![]), "{policy:?} missing");
        }
    }

    #[test]
    fn a_domain_with_mailboxes_is_never_deleted_and_one_with_aliases_when_it_is_confirmed() {
        use Reason::{ConfirmationNeeded, DomainNotEmpty};
        for (mailboxes, aliases, confirmed, expected) in [
            (0, 0, false, None),
            (0, 1, true, None),
            (0, 1, false, Some((ConfirmationNeeded, "delete 1 alias;"))),
            (0, 2, false, Some((ConfirmationNeeded, "delete 2 aliases;"))),
            (1, 0, true, Some((DomainNotEmpty, "1 mailbox on Mailcow"))),
            (2, 1, false, Some((DomainNotEmpty, "2 mailboxes on Mailcow"))),
        ] {
            let have = DomainHave { mailboxes, aliases, ..have() };
            let removal = domain_removal(Some(&have), &mark(), DeletionPolicy::Delete, confirmed);
            let Some((reason, words)) = expected else {
                assert_eq!(removal, Ok(vec![Change::DeleteDomain(have.name)]));
                continue;
            };
            let outcome = removal.unwrap_err();
            assert_eq!(matches!(outcome, Outcome::Waiting(_)), reason == DomainNotEmpty, "it goes on by itself");
            let why = outcome.why().unwrap();
            assert_eq!(why.reason, reason);
            assert!(why.message.contains(words), "{}", why.message);
        }
    }
}
