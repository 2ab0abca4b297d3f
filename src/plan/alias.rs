//! Aliases: differences and removal.

use super::Removal;
use super::change::{AliasEdit, Change, differs};
use super::ownership::{Claim, Refusal, claim};
use crate::crd::{AdoptionPolicy, RemovalPolicy};
use crate::mail::{Alias, AliasHave, Mark};

/// Changes that make an alias match the desired one.
///
/// # Errors
/// [`Refusal`] when the alias exists and may not be touched.
pub fn alias(want: &Alias, have: Option<&AliasHave>, policy: AdoptionPolicy) -> Result<Vec<Change>, Refusal> {
    let Some(have) = have else { return Ok(vec![Change::AddAlias(want.clone())]) };
    let there = have.mark();
    let claim = claim(&want.mark, there.as_ref(), policy, &want.catch)?;
    let goto = (!want.goto.texts().iter().eq(&have.goto)).then(|| want.goto.clone());
    let edit = AliasEdit {
        goto,
        kept_sink: None,
        active: differs(Some(&want.active), &have.active),
        visible_in_sogo: differs(want.visible_in_sogo.as_ref(), &have.visible_in_sogo),
        sender_allowed: differs(want.sender_allowed.as_ref(), &have.sender_allowed),
        public_comment: differs(want.public_comment.as_ref(), &have.public_comment),
        private_comment: (claim == Claim::Adopt).then(|| want.mark.to_string()),
    };
    let changed = edit != AliasEdit::default();
    Ok(changed.then_some(edited(have, edit)).into_iter().collect())
}

/// An edit repeats the alias' sink if that stays.
fn edited(have: &AliasHave, edit: AliasEdit) -> Change {
    let kept_sink = have.sink().filter(|_| edit.goto.is_none());
    Change::EditAlias { id: have.id, catch: have.catch.clone(), edit: AliasEdit { kept_sink, ..edit } }
}

/// Changes that remove an alias as the policy says. Only entries with our mark are changed.
///
/// # Errors
/// None so far; the type is that of the other kinds.
pub fn alias_removal(have: Option<&AliasHave>, mark: &Mark, policy: RemovalPolicy) -> Removal {
    let Some(have) = have.filter(|have| have.mark().is_some_and(|there| there.same_owner(mark))) else {
        return Ok(Vec::new());
    };
    Ok(vec![match policy {
        RemovalPolicy::Retain => {
            let edit = AliasEdit { private_comment: Some(String::new()), ..AliasEdit::default() };
            edited(have, edit)
        }
        RemovalPolicy::Delete => Change::DeleteAlias { id: have.id, catch: have.catch.clone() },
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::Sink;
    use crate::mail::{Address, Catch, Goto};

    fn mark() -> Mark {
        Mark::new("c1", "mail", "sales", "uid-1")
    }

    fn want() -> Alias {
        Alias {
            catch: Catch::parse("sales@example.com").unwrap(),
            goto: Goto::Addresses(["ada@example.com", "x@other.org"].map(|text| Address::parse(text).unwrap()).into()),
            active: true,
            visible_in_sogo: None,
            sender_allowed: None,
            public_comment: None,
            mark: mark(),
        }
    }

    fn have() -> AliasHave {
        AliasHave {
            id: 7,
            catch: Catch::parse("sales@example.com").unwrap(),
            goto: ["ada@example.com", "x@other.org"].map(String::from).into(),
            active: true,
            visible_in_sogo: true,
            sender_allowed: true,
            public_comment: String::new(),
            private_comment: mark().to_string(),
        }
    }

    #[test]
    fn a_missing_alias_is_added() {
        let changes = alias(&want(), None, AdoptionPolicy::Never).unwrap();
        assert_eq!(changes, vec![Change::AddAlias(want())]);
    }

    #[test]
    fn what_is_in_sync_is_not_written() {
        assert_eq!(alias(&want(), Some(&have()), AdoptionPolicy::Never).unwrap(), vec![]);
    }

    #[test]
    fn each_field_that_differs_is_sent_alone_and_reported_by_its_name_in_the_spec() {
        type Wish = (&'static str, fn(&mut Alias, &mut AliasEdit));
        let wishes: [Wish; 5] = [
            ("goto", |want, edit| {
                want.goto = Goto::Sink(Sink::Discard);
                edit.goto = Some(want.goto.clone());
            }),
            ("active", |want, edit| (want.active, edit.active) = (false, Some(false))),
            ("visibleInSogo", |want, edit| {
                (want.visible_in_sogo, edit.visible_in_sogo) = (Some(false), Some(false));
            }),
            ("senderAllowed", |want, edit| (want.sender_allowed, edit.sender_allowed) = (Some(false), Some(false))),
            ("publicComment", |want, edit| {
                (want.public_comment, edit.public_comment) = (Some("new".into()), Some("new".into()));
            }),
        ];
        for (field, wish) in wishes {
            let (mut want, mut edit) = (want(), AliasEdit::default());
            wish(&mut want, &mut edit);
            let changes = alias(&want, Some(&have()), AdoptionPolicy::Never).unwrap();
            assert_eq!(changes, [Change::EditAlias { id: 7, catch: want.catch, edit }]);
            assert_eq!(changes[0].fields(), [field]);
        }
    }

    #[test]
    fn another_owners_alias_is_refused_and_taken_over_by_force_alone() {
        let theirs = AliasHave { private_comment: Mark::new("c2", "mail", "sales", "uid-9").to_string(), ..have() };
        for policy in [AdoptionPolicy::Never, AdoptionPolicy::IfUnowned] {
            let refused = alias(&want(), Some(&theirs), policy);
            assert!(matches!(refused, Err(Refusal::OwnedByAnother { thing }) if thing == "sales@example.com"));
        }
        let edit = AliasEdit { private_comment: Some(mark().to_string()), ..AliasEdit::default() };
        let taken = alias(&want(), Some(&theirs), AdoptionPolicy::Force).unwrap();
        assert_eq!(taken, [Change::EditAlias { id: 7, catch: want().catch, edit }]);
        assert_eq!(taken[0].fields(), ["ownership mark"]);
    }

    #[test]
    fn every_edit_of_an_alias_with_a_sink_says_the_sink_again() {
        let sink = AliasHave { goto: ["spam@localhost".to_owned()].into(), ..have() };
        let wanted = Alias { goto: Goto::Sink(Sink::LearnSpam), public_comment: Some("new".into()), ..want() };
        let edit =
            AliasEdit { kept_sink: Some(Sink::LearnSpam), public_comment: Some("new".into()), ..AliasEdit::default() };
        let changes = alias(&wanted, Some(&sink), AdoptionPolicy::Never).unwrap();
        assert_eq!(changes, vec![Change::EditAlias { id: 7, catch: have().catch, edit }]);
        let released = alias_removal(Some(&sink), &mark(), RemovalPolicy::Retain).unwrap();
        assert!(matches!(&released[0], Change::EditAlias { edit, .. } if edit.kept_sink == Some(Sink::LearnSpam)));
    }

    #[test]
    fn a_discarding_alias_gets_its_addresses_and_the_mark() {
        let have = AliasHave { goto: ["null@localhost".to_owned()].into(), private_comment: String::new(), ..have() };
        let edit =
            AliasEdit { goto: Some(want().goto), private_comment: Some(mark().to_string()), ..AliasEdit::default() };
        let changes = alias(&want(), Some(&have), AdoptionPolicy::IfUnowned).unwrap();
        assert_eq!(changes, vec![Change::EditAlias { id: 7, catch: have.catch.clone(), edit }]);
    }

    #[test]
    fn only_our_own_alias_is_removed() {
        let removed = alias_removal(Some(&have()), &mark(), RemovalPolicy::Delete);
        assert_eq!(removed, Ok(vec![Change::DeleteAlias { id: 7, catch: have().catch }]));
        let foreign = AliasHave { private_comment: "by hand".into(), ..have() };
        assert_eq!(alias_removal(Some(&foreign), &mark(), RemovalPolicy::Delete), Ok(vec![]));
    }

    #[test]
    fn a_retained_alias_loses_its_mark_only() {
        let changes = alias_removal(Some(&have()), &mark(), RemovalPolicy::Retain).unwrap();
        let edit = AliasEdit { private_comment: Some(String::new()), ..AliasEdit::default() };
        assert_eq!(changes, vec![Change::EditAlias { id: 7, catch: have().catch, edit }]);
    }
}
