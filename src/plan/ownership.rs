//! Ownership: the mark on Mailcow against the object that wants the entry.

use crate::crd::AdoptionPolicy;
use crate::mail::Mark;
use crate::outcome::{Outcome, Reason};

/// Whether an entry that exists on Mailcow may be managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It has exactly our mark.
    Ours,
    /// It may be adopted; our mark must be written.
    Adopt,
}

/// Why an entry may not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has another owner's mark.
    #[error(
        "{thing} on Mailcow belongs to another owner (it has the mark of another object or cluster); delete it on Mailcow, or set adoptionPolicy: Force to adopt it"
    )]
    OwnedByAnother {
        /// Its name or address.
        thing: String,
    },
    /// It has the mark of another object that still exists.
    #[error(
        "{thing} on Mailcow belongs to {owner}, which still exists; delete that object first (adoptionPolicy: Force does not apply)"
    )]
    OwnerLives {
        /// Its name or address.
        thing: String,
        /// The other object, as far as it may be named.
        owner: String,
    },
    /// It exists and the policy does not allow adoption.
    #[error(
        "{thing} already exists on Mailcow, and adoptionPolicy is Never; set adoptionPolicy: IfUnowned to adopt it"
    )]
    NotAdopted {
        /// Its name or address.
        thing: String,
    },
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal {
            Refusal::OwnedByAnother { .. } | Refusal::OwnerLives { .. } => Reason::OwnedByAnother,
            Refusal::NotAdopted { .. } => Reason::NotAdopted,
        };
        Self::stalled(reason, refusal.to_string())
    }
}

/// Decides whether the owner of `ours` may manage the entry with the mark `there`.
///
/// # Errors
/// [`Refusal`] when the policy forbids it. The other owner is not named: it may be of another namespace.
pub fn claim(
    ours: &Mark,
    there: Option<&Mark>,
    policy: AdoptionPolicy,
    thing: &impl ToString,
) -> Result<Claim, Refusal> {
    match (there, policy) {
        (Some(mark), _) if mark == ours => Ok(Claim::Ours),
        (Some(mark), _) if mark.same_owner(ours) => Ok(Claim::Adopt),
        (Some(_), AdoptionPolicy::Never | AdoptionPolicy::IfUnowned) => {
            Err(Refusal::OwnedByAnother { thing: thing.to_string() })
        }
        (None, AdoptionPolicy::Never) => Err(Refusal::NotAdopted { thing: thing.to_string() }),
        (None, AdoptionPolicy::IfUnowned) | (_, AdoptionPolicy::Force) => Ok(Claim::Adopt),
    }
}

/// Protects the entry of another object that still exists: no policy takes it. `living` returns the object of a mark,
/// as far as it may be named, if it exists.
///
/// # Errors
/// [`Refusal::OwnerLives`].
pub fn refuse_if_owner_exists(
    ours: &Mark,
    there: Option<&Mark>,
    living: impl FnOnce(&Mark) -> Option<String>,
    thing: &impl ToString,
) -> Result<(), Refusal> {
    let other = there.filter(|there| !there.same_owner(ours));
    match other.and_then(living) {
        Some(owner) => Err(Refusal::OwnerLives { thing: thing.to_string(), owner }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AdoptionPolicy::{Force, IfUnowned, Never};

    #[test]
    fn who_may_touch_what() {
        let ours = Mark::new("c1", "mail", "ada", "uid-1");
        let successor = Mark::new("c1", "mail", "ada", "uid-0");
        let other = Mark::new("c2", "mail", "ada", "uid-9");
        let ask = |there: Option<&Mark>, policy| claim(&ours, there, policy, &"ada@example.com");
        for policy in [Never, IfUnowned, Force] {
            assert_eq!(ask(Some(&ours), policy), Ok(Claim::Ours));
            assert_eq!(ask(Some(&successor), policy), Ok(Claim::Adopt));
        }
        assert!(matches!(ask(Some(&other), Never), Err(Refusal::OwnedByAnother { .. })));
        assert!(matches!(ask(Some(&other), IfUnowned), Err(Refusal::OwnedByAnother { .. })));
        assert_eq!(ask(Some(&other), Force), Ok(Claim::Adopt));
        assert!(matches!(ask(None, Never), Err(Refusal::NotAdopted { .. })));
        assert_eq!(ask(None, IfUnowned), Ok(Claim::Adopt));
        assert_eq!(ask(None, Force), Ok(Claim::Adopt));
    }

    #[test]
    fn what_another_living_object_holds_is_spared() {
        let ours = Mark::new("c1", "mail", "ada", "uid-1");
        let other = Mark::new("c1", "secret-tenant", "x", "uid-2");
        let ask = |there: Option<&Mark>, lives: bool| {
            refuse_if_owner_exists(&ours, there, |_| lives.then(|| "the owner".to_owned()), &"ada@example.com")
        };
        let refusal = ask(Some(&other), true).unwrap_err().to_string();
        assert!(
            !refusal.contains("secret-tenant") && refusal.contains("ada@example.com on Mailcow belongs to the owner")
        );
        assert_eq!(ask(Some(&other), false), Ok(()));
        assert_eq!(ask(Some(&Mark::new("c1", "mail", "ada", "uid-0")), true), Ok(()), "its own predecessor");
        assert_eq!(ask(None, true), Ok(()));
    }

    #[test]
    fn every_refusal_stalls_and_its_reason_tells_an_owner_from_a_policy() {
        let thing = || "ada@example.com".to_owned();
        for (refusal, reason) in [
            (Refusal::OwnedByAnother { thing: thing() }, Reason::OwnedByAnother),
            (Refusal::OwnerLives { thing: thing(), owner: "the owner".into() }, Reason::OwnedByAnother),
            (Refusal::NotAdopted { thing: thing() }, Reason::NotAdopted),
        ] {
            let message = refusal.to_string();
            assert_eq!(Outcome::from(refusal), Outcome::stalled(reason, message));
        }
    }

    #[test]
    fn the_refusal_does_not_name_the_other_owner() {
        let ours = Mark::new("c1", "mail", "ada", "uid-1");
        let other = Mark::new("c1", "secret-tenant", "x", "uid-2");
        let refusal = claim(&ours, Some(&other), IfUnowned, &"ada@example.com").unwrap_err();
        assert!(!refusal.to_string().contains("secret-tenant"));
    }
}
