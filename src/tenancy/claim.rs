//! Which of several objects that want the same domain owns it.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long a domain is reserved for its namespace after its object is deleted, so that an object that is deleted and
/// applied again gets it back.
pub const KEPT: SignedDuration = SignedDuration::from_mins(15);

/// The claim of an `EmailDomain` on a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The object's uid.
    pub uid: String,
    /// A digest of its namespace.
    pub namespace: String,
    /// Whether the domain was seen on Mailcow with this object's mark.
    pub is_held: bool,
    /// Whether its ownership is proven, or needs no proof.
    pub is_proven: bool,
    /// Creation time of the object.
    pub created: Option<Timestamp>,
    /// The object's `namespace/name`, for objects created in the same second.
    pub id: String,
    /// The namespace that it waits for, from its status.
    pub waits_for: Option<WaitsFor>,
}

/// The namespace that a claim waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitsFor {
    /// A digest of the namespace.
    pub namespace: String,
    /// Until when the domain is reserved for it; `None` while an object of it has the better claim.
    pub until: Option<Timestamp>,
}

/// Rank of a claim among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It is the first.
    First,
    /// Another one is better.
    Rival(&'a Claim),
    /// It is the best, but the domain is reserved for the namespace that had it.
    Kept(WaitsFor),
}

impl Claim {
    /// Smaller is better: the owner, then the namespace of a reservation, then a proof, then age.
    fn rank(&self, kept_for: Option<&str>) -> (bool, bool, bool, Option<Timestamp>, &str) {
        let is_kept = kept_for == Some(&self.namespace);
        (!self.is_held, !is_kept, !self.is_proven, self.created, &self.id)
    }
}

/// The rank of `own` among the others.
pub fn standing<'a>(own: &Claim, others: &'a [Claim], now: Timestamp) -> Standing<'a> {
    let kept = kept(own, others, now);
    let kept_for = kept.as_ref().map(|kept| kept.namespace.as_str());
    let better = others.iter().filter(|other| other.uid != own.uid && other.rank(kept_for) < own.rank(kept_for));
    match (better.min_by_key(|other| other.rank(kept_for)), kept) {
        (Some(rival), _) => Standing::Rival(rival),
        (None, Some(kept)) if kept.namespace != own.namespace && !own.is_held => Standing::Kept(kept),
        (None, _) => Standing::First,
    }
}

/// The namespace that a claim waits for from now on, because `better` is the better claim. A domain that is reserved
/// for a namespace stays reserved until that namespace owns it on Mailcow: its new object is younger and until then has
/// the worse claim. An object that waits for its own namespace takes nothing from others.
pub fn waits_for(own: &Claim, better: &Claim) -> Option<WaitsFor> {
    let is_kept = |waits: &&WaitsFor| waits.until.is_some() && (waits.namespace != better.namespace || !better.is_held);
    match own.waits_for.as_ref().filter(is_kept) {
        Some(kept) => Some(kept.clone()),
        None if better.namespace == own.namespace => None,
        None => Some(WaitsFor { namespace: better.namespace.clone(), until: None }),
    }
}

/// The namespace that the domain is reserved for, from any of the waiting objects. The time begins when the last object
/// of that namespace is deleted.
fn kept(own: &Claim, others: &[Claim], now: Timestamp) -> Option<WaitsFor> {
    let all = || others.iter().chain([own]);
    let remembered = all().filter_map(|claim| claim.waits_for.as_ref());
    let times = remembered.filter_map(|waits| {
        let until = match waits.until {
            Some(until) => Some(until).filter(|until| *until > now),
            None if all().any(|claim| claim.namespace == waits.namespace) => None,
            None => now.checked_add(KEPT).ok(),
        };
        until.map(|until| WaitsFor { namespace: waits.namespace.clone(), until: Some(until) })
    });
    times.min_by_key(|kept| kept.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claim(uid: &str, second: i64) -> Claim {
        Claim {
            uid: uid.to_owned(),
            namespace: "n".to_owned(),
            is_held: false,
            is_proven: true,
            created: Some(at(second)),
            id: format!("n/{uid}"),
            waits_for: None,
        }
    }

    fn rival<'a>(own: &Claim, others: &'a [Claim]) -> Option<&'a Claim> {
        match standing(own, others, at(1000)) {
            Standing::Rival(rival) => Some(rival),
            Standing::First => None,
            Standing::Kept(kept) => panic!("{kept:?}"),
        }
    }

    #[test]
    fn whoever_holds_it_keeps_it_then_whoever_proved_it_then_the_first() {
        let (first, second) = (claim("a", 1), claim("b", 2));
        let squatter = Claim { is_proven: false, ..claim("c", 0) };
        let holder = Claim { is_held: true, is_proven: false, ..claim("d", 9) };
        let all = [first.clone(), second.clone(), squatter.clone()];
        assert_eq!(rival(&first, &all), None);
        assert_eq!(rival(&second, &all), Some(&first));
        assert_eq!(rival(&squatter, &all), Some(&first));
        let all = [first.clone(), second, squatter, holder.clone()];
        assert_eq!(rival(&first, &all), Some(&holder));
        assert_eq!(rival(&holder, &all), None);
    }

    #[test]
    fn two_of_one_second_are_told_apart_by_name() {
        let (a, b) = (claim("a", 1), claim("b", 1));
        assert_eq!(rival(&a, std::slice::from_ref(&b)), None);
        assert_eq!(rival(&b, std::slice::from_ref(&a)), Some(&a));
    }

    /// A tenant's claim that has waited for the platform's.
    fn waiting(until: Option<i64>) -> Claim {
        let waits_for = Some(WaitsFor { namespace: "platform".into(), until: until.map(at) });
        Claim { namespace: "tenant".into(), waits_for, ..claim("rival", 1) }
    }

    fn platform(second: i64) -> Claim {
        Claim { namespace: "platform".into(), ..claim("owner", second) }
    }

    #[test]
    fn a_domain_is_kept_for_the_namespace_that_had_it() {
        let until = at(1000).checked_add(KEPT).unwrap();
        let kept = Standing::Kept(WaitsFor { namespace: "platform".into(), until: Some(until) });
        assert_eq!(standing(&waiting(None), &[], at(1000)), kept, "its time begins when the owner is gone");
        assert!(matches!(standing(&waiting(Some(1500)), &[], at(1000)), Standing::Kept(_)));
        for (until, is_kept) in [(999, false), (1000, false), (1001, true)] {
            let stands = standing(&waiting(Some(until)), &[], at(1000));
            assert_eq!(matches!(stands, Standing::Kept(_)), is_kept, "{until}: {stands:?}");
        }
    }

    #[test]
    fn who_comes_back_in_time_has_it_again_though_the_rival_is_older() {
        let (back, rival) = (platform(900), waiting(Some(1500)));
        assert_eq!(standing(&back, std::slice::from_ref(&rival), at(1000)), Standing::First);
        assert_eq!(standing(&rival, std::slice::from_ref(&back), at(1000)), Standing::Rival(&back));
        let late = standing(&back, std::slice::from_ref(&rival), at(1501));
        assert_eq!(late, Standing::Rival(&rival));
    }

    #[test]
    fn who_comes_back_has_it_before_it_is_on_mailcow_however_often_the_rival_asks() {
        let back = platform(900);
        let mut rival = waiting(Some(1500));
        for _ in 0..3 {
            assert_eq!(standing(&rival, std::slice::from_ref(&back), at(1000)), Standing::Rival(&back));
            rival.waits_for = waits_for(&rival, &back);
        }
        assert_eq!(standing(&back, std::slice::from_ref(&rival), at(1000)), Standing::First);
        let held = Claim { is_held: true, ..back };
        rival.waits_for = waits_for(&rival, &held);
        assert_eq!(rival.waits_for, waiting(None).waits_for, "its time begins anew when it goes again");
        assert_eq!(standing(&rival, std::slice::from_ref(&held), at(1000)), Standing::Rival(&held));
    }

    #[test]
    fn a_claim_of_ones_own_namespace_is_not_waited_for() {
        assert_eq!(waits_for(&claim("b", 2), &claim("a", 1)), None);
        let third = Claim { namespace: "third".into(), ..claim("c", 0) };
        assert_eq!(waits_for(&waiting(Some(1500)), &third), waiting(Some(1500)).waits_for, "it stays kept");
    }

    #[test]
    fn a_third_that_comes_meanwhile_waits_as_well() {
        let third = Claim { namespace: "other".into(), ..claim("third", 950) };
        let rival = waiting(Some(1500));
        assert_eq!(standing(&third, std::slice::from_ref(&rival), at(1000)), Standing::Rival(&rival));
        let early = Claim { created: Some(at(0)), ..third };
        assert!(matches!(standing(&early, std::slice::from_ref(&rival), at(1000)), Standing::Kept(_)));
    }

    #[test]
    fn who_holds_it_is_not_stopped_by_what_others_remember() {
        let holder = Claim { is_held: true, ..claim("holder", 5) };
        assert_eq!(standing(&holder, &[waiting(Some(1500))], at(1000)), Standing::First);
    }

    #[test]
    fn nothing_is_kept_while_an_object_of_the_namespace_is_there() {
        let (owner, rival) = (platform(0), waiting(None));
        assert_eq!(standing(&rival, std::slice::from_ref(&owner), at(1000)), Standing::Rival(&owner));
        assert_eq!(standing(&owner, std::slice::from_ref(&rival), at(1000)), Standing::First);
        let younger = platform(2);
        assert_eq!(standing(&rival, std::slice::from_ref(&younger), at(1000)), Standing::First);
    }
}
