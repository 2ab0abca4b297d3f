//! The app password with which the worker of task delivery reads a mailbox: kept, made again, or removed.
//!
//! Mailcow never shows a password, so each one that we make has a version, which stands in its name on Mailcow and beside
//! the password in the Secret. They agree while exactly this version is on Mailcow, opens IMAP alone, and nobody has
//! changed it there since.

use super::change::Change;
use crate::mail::{Address, AppPassword, Mark};

/// What to do about the app password of a mailbox that needs one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppPasswordPlan {
    /// The one in the Secret works; the changes remove others of ours.
    Keep(Vec<Change>),
    /// Make a new one, store it in the Secret, and then apply the changes, which remove all others of ours.
    Make(Vec<Change>),
}

/// The name on Mailcow of an app password of this version.
pub fn app_password_name(mark: &Mark, version: &str) -> String {
    format!("{mark} {version}")
}

/// What to do for a mailbox that needs one. `stored` is the version in the Secret, if there is one; `have` are all app
/// passwords of the mailbox. `is_replaced`: somebody asked for another one.
pub fn app_password(
    mailbox: &Address,
    stored: Option<&str>,
    have: &[AppPassword],
    mark: &Mark,
    is_replaced: bool,
) -> AppPasswordPlan {
    let works = |password: &&AppPassword| {
        password.version() == stored && password.is_imap_only && password.active && !password.was_changed
    };
    let kept = ours(have, mark).find(works).filter(|_| stored.is_some() && !is_replaced);
    match kept {
        Some(kept) => AppPasswordPlan::Keep(deletions(mailbox, have, mark, Some(kept.id))),
        None => AppPasswordPlan::Make(deletions(mailbox, have, mark, None)),
    }
}

/// The changes for a mailbox that needs none: they remove all of ours. The Secret has to lose its entry after them.
pub fn unneeded_app_passwords(mailbox: &Address, have: &[AppPassword], mark: &Mark) -> Vec<Change> {
    deletions(mailbox, have, mark, None)
}

fn ours<'a>(have: &'a [AppPassword], mark: &'a Mark) -> impl Iterator<Item = &'a AppPassword> {
    have.iter().filter(move |password| password.mark().is_some_and(|there| there.same_owner(mark)))
}

fn deletions(mailbox: &Address, have: &[AppPassword], mark: &Mark, kept: Option<u64>) -> Vec<Change> {
    let others = ours(have, mark).filter(|password| Some(password.id) != kept);
    others.map(|password| Change::DeleteAppPassword { id: password.id, mailbox: mailbox.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark::new("c1", "mail", "ada", "uid-1")
    }

    fn ada() -> Address {
        Address::parse("ada@example.com").unwrap()
    }

    fn of_ours(id: u64, version: &str) -> AppPassword {
        let name = app_password_name(&mark(), version);
        AppPassword { id, name, is_imap_only: true, active: true, was_changed: false }
    }

    fn phone(id: u64) -> AppPassword {
        AppPassword { name: "my phone".into(), ..of_ours(id, "v") }
    }

    fn plan(stored: Option<&str>, have: &[AppPassword]) -> AppPasswordPlan {
        app_password(&ada(), stored, have, &mark(), false)
    }

    fn delete(ids: &[u64]) -> Vec<Change> {
        ids.iter().map(|id| Change::DeleteAppPassword { id: *id, mailbox: ada() }).collect()
    }

    #[test]
    fn the_one_in_the_secret_is_kept_and_those_of_people_are_left_alone() {
        assert_eq!(plan(Some("v1"), &[phone(1), of_ours(2, "v1")]), AppPasswordPlan::Keep(vec![]));
    }

    #[test]
    fn what_a_crash_left_is_removed() {
        assert_eq!(plan(Some("v1"), &[of_ours(1, "v1"), of_ours(2, "v2")]), AppPasswordPlan::Keep(delete(&[2])));
        assert_eq!(plan(Some("v1"), &[of_ours(1, "v1"), of_ours(2, "v1")]), AppPasswordPlan::Keep(delete(&[2])));
        // Made on Mailcow, and never stored.
        assert_eq!(plan(None, &[of_ours(1, "v1")]), AppPasswordPlan::Make(delete(&[1])));
        // Stored, and gone from Mailcow.
        assert_eq!(plan(Some("v1"), &[phone(1)]), AppPasswordPlan::Make(vec![]));
    }

    #[test]
    fn one_that_does_not_work_any_more_is_replaced() {
        let works = of_ours(1, "v1");
        for broken in [
            AppPassword { active: false, ..works.clone() },
            AppPassword { is_imap_only: false, ..works.clone() },
            AppPassword { was_changed: true, ..works.clone() },
            of_ours(1, "v0"),
        ] {
            assert_eq!(plan(Some("v1"), &[broken]), AppPasswordPlan::Make(delete(&[1])));
        }
    }

    #[test]
    fn one_is_replaced_when_somebody_asks() {
        let asked = app_password(&ada(), Some("v1"), &[of_ours(1, "v1")], &mark(), true);
        assert_eq!(asked, AppPasswordPlan::Make(delete(&[1])));
    }

    #[test]
    fn without_a_rule_all_of_ours_go() {
        let have = [phone(1), of_ours(2, "v1"), of_ours(3, "v2")];
        assert_eq!(unneeded_app_passwords(&ada(), &have, &mark()), delete(&[2, 3]));
    }

    #[test]
    fn another_owners_is_not_touched() {
        let other = Mark::new("c2", "mail", "ada", "uid-1");
        let have = [AppPassword { name: app_password_name(&other, "v1"), ..of_ours(1, "v1") }];
        assert_eq!(plan(Some("v1"), &have), AppPasswordPlan::Make(vec![]));
        let without_version = AppPassword { name: mark().to_string(), ..of_ours(1, "v1") };
        assert_eq!(plan(None, &[without_version]), AppPasswordPlan::Make(delete(&[1])));
    }
}
