//! Mailboxes: differences and removal.

use std::collections::{BTreeMap, BTreeSet};

use super::Removal;
use super::change::{Change, MailboxEdit, differs};
use super::ownership::{Claim, Refusal, claim};
use crate::crd::{AdoptionPolicy, CONFIRM_DELETE, DeletionPolicy, Protocol};
use crate::mail::{Access, Address, Login, Mailbox, MailboxHave, Mark, Quota, RateLimit, Tls};
use crate::outcome::{Outcome, Reason};

/// Value of the mark's attribute when nobody manages the mailbox any more. Mailcow replaces all attributes at once, and
/// no recording shows that it accepts an empty set.
const RELEASED: &str = "none";

/// The quota that a mailbox should have. A default never makes a mailbox too small for its mail.
fn fitted(want: &Mailbox, have: Quota) -> Quota {
    match (want.quota, have) {
        (quota, _) if !want.is_default_quota => quota,
        (Quota::UNLIMITED, _) | (_, Quota::UNLIMITED) => Quota::UNLIMITED,
        (quota, have) => quota.max(have),
    }
}

/// Changes that make a mailbox match the desired one; `password`: whether to set a new password.
///
/// # Errors
/// [`Refusal`] when the mailbox exists and may not be touched.
pub fn mailbox(
    want: &Mailbox,
    have: Option<&MailboxHave>,
    policy: AdoptionPolicy,
    password: bool,
) -> Result<Vec<Change>, Refusal> {
    let Some(have) = have else { return Ok(added(want)) };
    let there = have.mark();
    let claim = claim(&want.mark, there.as_ref(), policy, &want.address)?;
    let address = || want.address.clone();
    let mut changes = Vec::new();
    if claim == Claim::Adopt {
        changes.push(marked(have, want.mark.to_string()));
    }
    let edit = MailboxEdit {
        name: differs(want.name.as_ref(), &have.name),
        quota: differs(Some(&fitted(want, have.quota)), &have.quota),
        access: differs(Some(&want.access), &have.access),
        protocols: want.protocols.clone().filter(|want| want - &have.hidden_protocols != have.protocols),
        force_password_change: differs(want.force_password_change.as_ref(), &have.force_password_change)
            .filter(|_| have.login == Login::Mailcow),
        sender_acl: kept_senders(want).filter(|want| have.sender_acl.as_ref() != Some(want)),
        tags: want.tags.missing(&have.tags),
    };
    if edit != MailboxEdit::default() {
        changes.push(Change::EditMailbox { address: address(), edit });
    }
    let tls = Tls {
        incoming: differs(want.tls.incoming.as_ref(), &have.tls.incoming),
        outgoing: differs(want.tls.outgoing.as_ref(), &have.tls.outgoing),
    };
    if tls != Tls::default() {
        changes.push(Change::EncryptMailbox { address: address(), tls });
    }
    let stale: Vec<String> = want.tags.stale(&have.tags).into_iter().chain(stale_marks(have, &want.mark)).collect();
    if !stale.is_empty() {
        changes.push(Change::UntagMailbox { address: address(), tags: stale });
    }
    if let Some(rate) = differs(want.rate_limit.as_ref(), &have.rate_limit) {
        changes.push(Change::LimitMailbox { address: address(), rate });
    }
    if password && have.login == Login::Mailcow {
        changes.push(Change::SetPassword(address()));
    }
    Ok(changes)
}

/// The sender addresses that Mailcow keeps: not the mailbox itself, and nothing beside `*` (recordings
/// `17_sender_acl/get_set_own_name`, `get_set_star_and_team`).
fn kept_senders(want: &Mailbox) -> Option<BTreeSet<String>> {
    let mut kept = want.sender_acl.clone()?;
    if kept.contains("*") {
        return Some(["*".to_owned()].into());
    }
    kept.remove(&want.address.to_string());
    Some(kept)
}

/// Changes that remove sender addresses that are left after a write. Mailcow does not remove entries that are no longer
/// an address, except with `*` (recordings `17_sender_acl/get_set_empty_with_stuck`, `get_set_empty_after_star`).
pub fn stuck_senders(want: &Mailbox, have: Option<&MailboxHave>) -> Vec<Change> {
    kept_senders(want).map(|wanted| stuck_entries(&want.address, wanted, have)).unwrap_or_default()
}

/// The same for the entries that Mailcow should have.
pub fn stuck_entries(address: &Address, wanted: BTreeSet<String>, have: Option<&MailboxHave>) -> Vec<Change> {
    let Some(have) = have.and_then(|have| have.sender_acl.as_ref()) else { return Vec::new() };
    if have.is_subset(&wanted) {
        return Vec::new();
    }
    let set = |acl| Change::EditMailbox {
        address: address.clone(),
        edit: MailboxEdit { sender_acl: Some(acl), ..MailboxEdit::default() },
    };
    vec![set(["*".to_owned()].into()), set(wanted)]
}

/// Changes that remove a mailbox as the policy says. Only entries with our mark are changed.
///
/// # Errors
/// [`Reason::ConfirmationNeeded`] when mail would be destroyed unconfirmed, [`Reason::SystemMailbox`] when it is
/// protected.
pub fn mailbox_removal(
    have: Option<&MailboxHave>,
    mark: &Mark,
    policy: DeletionPolicy,
    confirmed: bool,
    is_system: bool,
) -> Removal {
    let Some(have) = have.filter(|have| have.mark().is_some_and(|there| there.same_owner(mark))) else {
        return Ok(Vec::new());
    };
    let address = have.address.clone();
    match policy {
        DeletionPolicy::Retain => Ok(released(have)),
        DeletionPolicy::Deactivate => {
            let edit = MailboxEdit { access: Some(Access::Inactive), ..MailboxEdit::default() };
            let off = (have.access != Access::Inactive).then_some(Change::EditMailbox { address, edit });
            Ok(off.into_iter().chain(released(have)).collect())
        }
        DeletionPolicy::Delete if is_system => Err(Outcome::stalled(
            Reason::SystemMailbox,
            format!(
                "{address} is a system mailbox, which the operator never deletes on Mailcow; to keep it there, set deletionPolicy: Retain or Deactivate; to delete it, set system: false"
            ),
        )),
        DeletionPolicy::Delete if have.messages > 0 && !confirmed => Err(Outcome::stalled(
            Reason::ConfirmationNeeded,
            format!(
                "deleting {address} would destroy {} messages; to confirm, set the annotation {CONFIRM_DELETE}: {address}; to keep them, set deletionPolicy: Retain",
                have.messages
            ),
        )),
        DeletionPolicy::Delete => Ok(vec![Change::DeleteMailbox(address)]),
    }
}

/// A new mailbox is created with every field that a spec can have; otherwise Mailcow's template, which an administrator
/// may change, would fill in the rest (recordings `18_templates/get_mailbox_min`, `get_mailbox_full`).
fn new(want: &Mailbox) -> Mailbox {
    let Tls { incoming, outgoing } = want.tls;
    Mailbox {
        name: Some(want.name.clone().unwrap_or_default()),
        rate_limit: Some(want.rate_limit.unwrap_or(RateLimit::Unlimited)),
        protocols: Some(want.protocols.clone().unwrap_or_else(|| Protocol::ALL.into())),
        tls: Tls { incoming: Some(incoming.unwrap_or(false)), outgoing: Some(outgoing.unwrap_or(false)) },
        force_password_change: Some(want.force_password_change.unwrap_or(false)),
        ..want.clone()
    }
}

fn added(want: &Mailbox) -> Vec<Change> {
    let address = || want.address.clone();
    let senders = kept_senders(want).filter(|acl| !acl.is_empty()).map(|acl| Change::EditMailbox {
        address: address(),
        edit: MailboxEdit { sender_acl: Some(acl), ..MailboxEdit::default() },
    });
    [Change::AddMailbox(new(want))].into_iter().chain(senders).collect()
}

/// Removes every mark.
fn released(have: &MailboxHave) -> Vec<Change> {
    let address = || have.address.clone();
    let is_marked =
        have.attributes.iter().any(|(name, text)| name == MailboxHave::MARK && Mark::at_start(text).is_some());
    let attribute = is_marked.then(|| marked(have, RELEASED.to_owned()));
    let tags: Vec<String> = have.tags.iter().filter(|tag| Mark::at_start(tag).is_some()).cloned().collect();
    let tag = (!tags.is_empty()).then(|| Change::UnmarkMailbox { address: address(), tags });
    attribute.into_iter().chain(tag).collect()
}

/// Tags with a mark that is not exactly ours.
fn stale_marks(have: &MailboxHave, ours: &Mark) -> Vec<String> {
    have.tags.iter().filter(|tag| Mark::at_start(tag).is_some_and(|there| there != *ours)).cloned().collect()
}

/// All existing attributes, with the mark's set to `text`.
fn marked(have: &MailboxHave, text: String) -> Change {
    let mut attributes: BTreeMap<_, _> = have.attributes.iter().cloned().collect();
    attributes.insert(MailboxHave::MARK.to_owned(), text);
    Change::SetAttributes { address: have.address.clone(), attributes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::Per;
    use crate::mail::Address;

    fn mark() -> Mark {
        Mark::new("c1", "mail", "ada", "uid-1")
    }

    fn want() -> Mailbox {
        Mailbox {
            address: Address::parse("ada@example.com").unwrap(),
            name: Some("Ada".into()),
            quota: Quota::gib(1),
            is_default_quota: false,
            access: Access::Active,
            rate_limit: None,
            protocols: None,
            tls: Tls::default(),
            force_password_change: None,
            sender_acl: None,
            tags: crate::mail::Tags::default(),
            mark: mark(),
        }
    }

    fn have() -> MailboxHave {
        MailboxHave {
            address: Address::parse("ada@example.com").unwrap(),
            name: "Ada".into(),
            quota: Quota::gib(1),
            access: Access::Active,
            rate_limit: RateLimit::Unlimited,
            protocols: BTreeSet::new(),
            hidden_protocols: BTreeSet::new(),
            tls: Tls::default(),
            force_password_change: false,
            login: Login::Mailcow,
            sender_acl: None,
            tags: Vec::new(),
            attributes: vec![("theirs".into(), "kept".into()), (MailboxHave::MARK.into(), mark().to_string())],
            used: Quota::default(),
            messages: 0,
            last_logins: [0; 3],
        }
    }

    fn plan(want: &Mailbox, have: &MailboxHave) -> Vec<Change> {
        mailbox(want, Some(have), AdoptionPolicy::IfUnowned, false).unwrap()
    }

    /// A field of the spec, a wish for it that a mailbox in sync does not fulfil, and the edit that fulfils it.
    type Wish = (&'static str, fn(&mut Mailbox, &mut MailboxEdit));

    const WISHES: [Wish; 8] = [
        ("displayName", |want, edit| (want.name, edit.name) = (Some("Countess".into()), Some("Countess".into()))),
        ("quota", |want, edit| (want.quota, edit.quota) = (Quota::gib(2), Some(Quota::gib(2)))),
        ("state", |want, edit| (want.access, edit.access) = (Access::Inactive, Some(Access::Inactive))),
        ("state", |want, edit| (want.access, edit.access) = (Access::LoginDisabled, Some(Access::LoginDisabled))),
        ("protocols", |want, edit| {
            want.protocols = Some([Protocol::Imap].into());
            edit.protocols = want.protocols.clone();
        }),
        ("forcePasswordChange", |want, edit| {
            (want.force_password_change, edit.force_password_change) = (Some(true), Some(true));
        }),
        ("senderAcl", |want, edit| {
            want.sender_acl = Some(["b@example.com".to_owned()].into());
            edit.sender_acl = want.sender_acl.clone();
        }),
        ("tags", |want, edit| (want.tags.wanted, edit.tags) = (vec!["new".into()], vec!["new".into()])),
    ];

    #[test]
    fn each_field_that_differs_is_sent_alone_and_reported_by_its_name_in_the_spec() {
        for (field, wish) in WISHES {
            let (mut want, mut edit) = (want(), MailboxEdit::default());
            wish(&mut want, &mut edit);
            let changes = plan(&want, &have());
            assert_eq!(changes, [Change::EditMailbox { address: want.address, edit }]);
            assert_eq!(changes[0].fields(), [field]);
        }
    }

    #[test]
    fn a_missing_mailbox_is_added_with_its_mark_in_one_call() {
        let changes = mailbox(&want(), None, AdoptionPolicy::IfUnowned, true).unwrap();
        assert!(matches!(changes.as_slice(), [Change::AddMailbox(new)] if new.mark == mark()), "{changes:?}");
        assert!(changes[0].makes_a_store_of_mail());
    }

    /// As it is made: the mark is a tag.
    fn made() -> MailboxHave {
        MailboxHave { tags: vec!["theirs".into(), mark().to_string()], attributes: Vec::new(), ..have() }
    }

    #[test]
    fn a_mailbox_that_only_a_tag_marks_is_ours_whatever_the_policy_says() {
        for policy in [AdoptionPolicy::Never, AdoptionPolicy::IfUnowned, AdoptionPolicy::Force] {
            assert_eq!(mailbox(&want(), Some(&made()), policy, false), Ok(vec![]));
        }
        let deleted = mailbox_removal(Some(&made()), &mark(), DeletionPolicy::Delete, false, false);
        assert_eq!(deleted, Ok(vec![Change::DeleteMailbox(want().address)]));
    }

    #[test]
    fn a_tag_with_another_mark_goes_when_the_mailbox_is_taken_over_and_all_go_when_it_is_released() {
        let heir = Mailbox { mark: Mark::new("c1", "mail", "ada", "uid-2"), ..want() };
        let changes = mailbox(&heir, Some(&made()), AdoptionPolicy::Never, false).unwrap();
        let untagged = Change::UntagMailbox { address: want().address, tags: vec![mark().to_string()] };
        assert!(matches!(&changes[..], [Change::SetAttributes { .. }, last] if *last == untagged), "{changes:?}");
        let unmarked = Change::UnmarkMailbox { address: want().address, tags: vec![mark().to_string()] };
        let retain = |have: &MailboxHave| mailbox_removal(Some(have), &mark(), DeletionPolicy::Retain, false, false);
        assert_eq!(retain(&made()), Ok(vec![unmarked.clone()]));
        let both = MailboxHave { attributes: have().attributes, ..made() };
        assert!(matches!(&retain(&both).unwrap()[..], [Change::SetAttributes { .. }, last] if *last == unmarked));
    }

    #[test]
    fn what_an_identity_provider_checks_gets_no_password_and_is_not_made_to_change_it() {
        let elsewhere = MailboxHave { login: Login::Elsewhere, ..have() };
        let want = Mailbox { force_password_change: Some(true), ..want() };
        assert_eq!(mailbox(&want, Some(&elsewhere), AdoptionPolicy::IfUnowned, true), Ok(vec![]));
    }

    #[test]
    fn a_new_mailbox_leaves_nothing_to_a_template_that_the_spec_could_say() {
        let changes = mailbox(&want(), None, AdoptionPolicy::IfUnowned, true).unwrap();
        let Change::AddMailbox(new) = &changes[0] else { panic!("{changes:?}") };
        assert_eq!(new.protocols, Some(Protocol::ALL.into()));
        assert_eq!(new.tls, Tls { incoming: Some(false), outgoing: Some(false) });
        assert_eq!((new.rate_limit, new.force_password_change), (Some(RateLimit::Unlimited), Some(false)));
        let unnamed = Mailbox { name: None, ..want() };
        let changes = mailbox(&unnamed, None, AdoptionPolicy::IfUnowned, true).unwrap();
        assert!(matches!(&changes[..], [Change::AddMailbox(new)] if new.name.as_deref() == Some("")));
        let given = Mailbox {
            protocols: Some([Protocol::Imap].into()),
            force_password_change: Some(true),
            rate_limit: Some(RateLimit::Limit { messages: 5, per: Per::Hour }),
            tls: Tls { incoming: Some(true), outgoing: Some(true) },
            ..want()
        };
        let changes = mailbox(&given, None, AdoptionPolicy::IfUnowned, true).unwrap();
        assert_eq!(changes, [Change::AddMailbox(given)]);
    }

    #[test]
    fn a_new_mailbox_that_may_only_send_as_itself_needs_no_second_step() {
        for acl in [None, Some(vec![]), Some(vec!["ada@example.com".to_owned()])] {
            let want = Mailbox { sender_acl: acl.map(BTreeSet::from_iter), ..want() };
            assert_eq!(mailbox(&want, None, AdoptionPolicy::Never, false).unwrap().len(), 1, "{:?}", want.sender_acl);
        }
    }

    #[test]
    fn ways_that_the_server_has_no_switch_for_are_not_waited_for() {
        let hidden = [Protocol::Eas, Protocol::Dav].into();
        let have = MailboxHave { protocols: [Protocol::Imap].into(), hidden_protocols: hidden, ..have() };
        for wanted in [vec![Protocol::Imap], vec![Protocol::Imap, Protocol::Eas]] {
            let want = Mailbox { protocols: Some(wanted.into_iter().collect()), ..want() };
            assert_eq!(plan(&want, &have), vec![]);
        }
        let none = Mailbox { protocols: Some(BTreeSet::new()), ..want() };
        assert_eq!(plan(&none, &have).len(), 1, "none is none");
    }

    #[test]
    fn what_is_in_sync_is_not_written() {
        assert_eq!(plan(&want(), &have()), vec![]);
        assert_eq!(plan(&Mailbox { name: None, ..want() }, &MailboxHave { name: "X".into(), ..have() }), vec![]);
    }

    #[test]
    fn a_default_raises_a_quota_and_never_lowers_one() {
        let (less, same, more) = (Quota::mib(512), Quota::gib(1), Quota::gib(2));
        for (wanted, there, is_default, is_sent) in [
            (less, same, true, false),
            (same, same, true, false),
            (more, same, true, true),
            (Quota::UNLIMITED, same, true, true),
            (same, Quota::UNLIMITED, true, false),
            (Quota::UNLIMITED, Quota::UNLIMITED, true, false),
            (less, same, false, true),
            (same, Quota::UNLIMITED, false, true),
        ] {
            let want = Mailbox { quota: wanted, is_default_quota: is_default, ..want() };
            let edit = MailboxEdit { quota: Some(wanted), ..MailboxEdit::default() };
            let sent = is_sent.then(|| Change::EditMailbox { address: want.address.clone(), edit });
            let changes = plan(&want, &MailboxHave { quota: there, ..have() });
            assert_eq!(changes, Vec::from_iter(sent), "{wanted} {there} {is_default}");
        }
    }

    #[test]
    fn a_rate_limit_goes_to_its_own_endpoint() {
        let rate = RateLimit::Limit { messages: 5, per: Per::Hour };
        let limited = Mailbox { rate_limit: Some(rate), ..want() };
        let expected = Change::LimitMailbox { address: limited.address.clone(), rate };
        assert_eq!(plan(&limited, &have()), vec![expected]);
    }

    #[test]
    fn adopting_keeps_the_attributes_of_others() {
        let mut have = have();
        have.attributes.retain(|(name, _)| name != MailboxHave::MARK);
        let changes = plan(&want(), &have);
        let [Change::SetAttributes { attributes, .. }] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(attributes["theirs"], "kept");
        assert_eq!(attributes[MailboxHave::MARK], mark().to_string());
    }

    #[test]
    fn a_new_password_is_one_change() {
        let changes = mailbox(&want(), Some(&have()), AdoptionPolicy::IfUnowned, true).unwrap();
        assert_eq!(changes, vec![Change::SetPassword(want().address)]);
        assert!(!changes[0].makes_a_store_of_mail());
    }

    #[test]
    fn mail_is_only_destroyed_confirmed_and_never_that_of_a_system_mailbox() {
        use Reason::{ConfirmationNeeded, SystemMailbox};
        for (messages, confirmed, is_system, refused) in [
            (0, false, false, None),
            (3, true, false, None),
            (1, false, false, Some(ConfirmationNeeded)),
            (0, true, true, Some(SystemMailbox)),
            (1, false, true, Some(SystemMailbox)),
        ] {
            let have = MailboxHave { messages, ..have() };
            let removal = mailbox_removal(Some(&have), &mark(), DeletionPolicy::Delete, confirmed, is_system);
            match (refused, removal) {
                (None, removal) => assert_eq!(removal, Ok(vec![Change::DeleteMailbox(have.address)])),
                (Some(reason), Err(Outcome::Stalled(why))) => assert_eq!(why.reason, reason),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_mailbox_that_is_kept_loses_its_mark_and_is_switched_off_if_the_policy_says_so() {
        let address = || want().address;
        let edit = MailboxEdit { access: Some(Access::Inactive), ..MailboxEdit::default() };
        let off = Change::EditMailbox { address: address(), edit };
        let attributes = [("theirs", "kept"), (MailboxHave::MARK, RELEASED)];
        let attributes = attributes.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let release = Change::SetAttributes { address: address(), attributes };
        for (policy, access, expected) in [
            (DeletionPolicy::Retain, Access::Active, vec![release.clone()]),
            (DeletionPolicy::Deactivate, Access::Active, vec![off.clone(), release.clone()]),
            (DeletionPolicy::Deactivate, Access::LoginDisabled, vec![off, release.clone()]),
            (DeletionPolicy::Deactivate, Access::Inactive, vec![release]),
        ] {
            let have = MailboxHave { access, messages: 3, ..have() };
            for is_system in [false, true] {
                let removal = mailbox_removal(Some(&have), &mark(), policy, false, is_system);
                assert_eq!(removal, Ok(expected.clone()), "{policy:?} {access:?}");
            }
        }
    }

    #[test]
    fn what_is_released_twice_is_not_written_again() {
        let attributes =
            vec![(MailboxHave::MARK.to_owned(), RELEASED.to_owned()), ("x".to_owned(), mark().to_string())];
        let have = MailboxHave { attributes, ..made() };
        let removal = mailbox_removal(Some(&have), &mark(), DeletionPolicy::Retain, false, false).unwrap();
        assert!(matches!(removal[..], [Change::UnmarkMailbox { .. }]), "only the tag is left: {removal:?}");
    }

    #[test]
    fn senders_that_cannot_be_shown_are_written_and_those_of_a_new_mailbox_in_a_second_step() {
        let acl: BTreeSet<String> = ["*".to_owned()].into();
        let wanted = Mailbox { sender_acl: Some(acl.clone()), ..want() };
        let edit = MailboxEdit { sender_acl: Some(acl.clone()), ..MailboxEdit::default() };
        let change = Change::EditMailbox { address: want().address, edit };
        assert_eq!(plan(&wanted, &have()), vec![change.clone()]);
        assert_eq!(plan(&wanted, &MailboxHave { sender_acl: Some(acl), ..have() }), vec![]);
        assert_eq!(mailbox(&wanted, None, AdoptionPolicy::Never, true).unwrap()[1], change);
    }

    #[test]
    fn senders_are_compared_as_mailcow_keeps_them() {
        let texts = |entries: &[&str]| entries.iter().map(|&entry| entry.to_owned()).collect::<BTreeSet<_>>();
        for (wanted, shown) in [
            (&["ada@example.com", "b@example.com"][..], &["b@example.com"][..]),
            (&["ada@example.com"], &[]),
            (&["b@example.com", "*", "@example.com"], &["*"]),
            (&[], &[]),
        ] {
            let want = Mailbox { sender_acl: Some(texts(wanted)), ..want() };
            let have = MailboxHave { sender_acl: Some(texts(shown)), ..have() };
            assert_eq!(plan(&want, &have), vec![], "{wanted:?}");
            assert_eq!(stuck_senders(&want, Some(&have)), vec![], "{wanted:?}");
        }
    }

    #[test]
    fn what_mailcow_does_not_take_away_by_itself_is_taken_away_by_all_and_then_the_list() {
        let have = MailboxHave { sender_acl: Some(["b@e.com".to_owned(), "gone@e.com".to_owned()].into()), ..have() };
        let kept: BTreeSet<String> = ["b@e.com".to_owned()].into();
        let want = Mailbox { sender_acl: Some(kept.clone()), ..want() };
        let set = |acl: BTreeSet<String>| Change::EditMailbox {
            address: want.address.clone(),
            edit: MailboxEdit { sender_acl: Some(acl), ..MailboxEdit::default() },
        };
        assert_eq!(stuck_senders(&want, Some(&have)), vec![set(["*".to_owned()].into()), set(kept)]);
        let unmanaged = Mailbox { sender_acl: None, ..want.clone() };
        assert_eq!(stuck_senders(&unmanaged, Some(&have)), vec![]);
        assert_eq!(stuck_senders(&want, None), vec![]);
    }

    #[test]
    fn encryption_goes_to_its_own_endpoint_and_tags_of_others_stay() {
        let tags = crate::mail::Tags { wanted: vec!["new".into()], placed: vec!["old".into()] };
        let tls = Tls { incoming: Some(true), outgoing: Some(false) };
        let have = MailboxHave { tags: vec!["old".into(), "theirs".into()], ..have() };
        let changes = plan(&Mailbox { tls, tags, ..want() }, &have);
        let address = want().address;
        let edit = MailboxEdit { tags: vec!["new".into()], ..MailboxEdit::default() };
        let tls = Tls { incoming: Some(true), outgoing: None };
        let expected = vec![
            Change::EditMailbox { address: address.clone(), edit },
            Change::EncryptMailbox { address: address.clone(), tls },
            Change::UntagMailbox { address, tags: vec!["old".into()] },
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn each_direction_of_encryption_is_written_by_itself() {
        for (incoming, outgoing, fields) in [
            (Some(true), None, &["tls.enforceIncoming"][..]),
            (Some(false), Some(true), &["tls.enforceOutgoing"]),
            (Some(true), Some(true), &["tls.enforceIncoming", "tls.enforceOutgoing"]),
        ] {
            let want = Mailbox { tls: Tls { incoming, outgoing }, ..want() };
            let differing = |wanted: Option<bool>| wanted.filter(|wanted| *wanted);
            let tls = Tls { incoming: differing(incoming), outgoing: differing(outgoing) };
            let changes = plan(&want, &have());
            assert_eq!(changes, [Change::EncryptMailbox { address: want.address, tls }]);
            assert_eq!(changes[0].fields(), fields);
        }
    }

    #[test]
    fn an_unmarked_or_foreign_mailbox_is_never_removed() {
        for text in [None, Some(Mark::new("c2", "mail", "ada", "uid-1").to_string())] {
            let mut have = have();
            have.attributes.retain(|(name, _)| name != MailboxHave::MARK);
            have.attributes.extend(text.map(|text| (MailboxHave::MARK.to_owned(), text)));
            assert_eq!(mailbox_removal(Some(&have), &mark(), DeletionPolicy::Delete, true, false), Ok(vec![]));
        }
    }

    #[test]
    fn what_was_released_is_nobodys() {
        let changes = mailbox_removal(Some(&have()), &mark(), DeletionPolicy::Retain, false, false).unwrap();
        let [Change::SetAttributes { attributes, .. }] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(MailboxHave { attributes: attributes.clone().into_iter().collect(), ..have() }.mark(), None);
        assert_eq!(attributes["theirs"], "kept");
    }
}
