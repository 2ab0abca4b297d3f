//! The proof that the creator of an `EmailDomain` controls the domain's zone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::answer::{Answer, Kind, Outcome, Question};
use super::schedule::{BAD_CHECKS, BAD_FOR, next_after};
use crate::crd::{DnsSource, OwnershipStatus};
use crate::mail::{DomainName, hex};

/// The label of the record below the domain.
const LABEL: &str = "_email-operator-challenge";
/// What the record begins with.
const TAG: &str = "email-operator=";

/// The object whose claim a value proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant<'a> {
    /// The name of the cluster, as in marks.
    pub cluster: &'a str,
    /// Namespace of the object.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// A required record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The name of the TXT record.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every server that answered has the value.
    Found,
    /// It does not exist; why, in words.
    Absent(String),
    /// No answer; why, in words.
    Unknown(String),
}

/// The record that proves the claim. Its value is a hash over cluster, namespace, name and uid, so it proves nothing
/// for another object. It is not secret, because only the zone's owner can publish it.
pub fn challenge(domain: &DomainName, claimant: Claimant<'_>) -> Challenge {
    let mut hash = Sha256::new();
    for part in [claimant.cluster, claimant.namespace, claimant.name, claimant.uid, domain.as_str()] {
        // Lengths keep "a" + "bc" and "ab" + "c" apart.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digits = hex(&hash.finalize()[..20]);
    Challenge { name: format!("{LABEL}.{domain}"), value: format!("{TAG}{digits}") }
}

/// The question to ask for a challenge.
pub fn question(challenge: &Challenge) -> Question {
    Question::new(&challenge.name, Kind::Txt)
}

/// The result of the answers of a zone's servers: all that answer must have the record. With `needs_authority`, the
/// answer of a resolver alone proves nothing.
pub fn proof(challenge: &Challenge, answers: &[Answer], needs_authority: bool) -> Proof {
    let judged = answers.iter().map(|answer| judged(challenge, answer, needs_authority));
    judged.max_by_key(severity).unwrap_or_else(|| Proof::Unknown("no answer".to_owned()))
}

fn severity(proof: &Proof) -> u8 {
    match proof {
        Proof::Found => 0,
        Proof::Unknown(_) => 1,
        Proof::Absent(_) => 2,
    }
}

fn judged(challenge: &Challenge, answer: &Answer, needs_authority: bool) -> Proof {
    let name = &challenge.name;
    if let Outcome::Failed(why) = &answer.outcome {
        return Proof::Unknown(format!("no answer for {name}: {why}"));
    }
    if needs_authority && answer.source != DnsSource::Authoritative {
        return Proof::Unknown(format!("the zone's own servers gave no answer for {name}"));
    }
    let texts = answer.texts();
    let is_it = |text: &Vec<u8>| text.trim_ascii() == challenge.value.as_bytes();
    if texts.iter().any(is_it) {
        return Proof::Found;
    }
    let other = texts.iter().any(|text| text.trim_ascii().starts_with(TAG.as_bytes()));
    Proof::Absent(match (texts.is_empty(), other) {
        (true, _) => format!("there is no TXT record at {name}"),
        (false, true) => format!(
            "the TXT record at {name} belongs to another object or cluster: publish the value of this object too"
        ),
        (false, false) => format!("the TXT record at {name} has another value: publish the value too"),
    })
}

/// The status after a check. A proof expires when the record is missing in three checks in a row over at least 30
/// minutes; checks without an answer change nothing. `jitter` from -1 to 1 moves the next check.
pub fn settle_ownership(
    before: Option<&OwnershipStatus>,
    challenge: Challenge,
    proof: Proof,
    now: Timestamp,
    jitter: f64,
) -> OwnershipStatus {
    let before = before.filter(|before| before.value == challenge.value && before.name == challenge.name);
    let was_verified = before.is_some_and(|before| before.verified);
    let starts = before.is_none_or(|before| before.failing_since.is_none() || (was_verified && before.failures == 0));
    let since = before.and_then(|before| before.failing_since.clone()).filter(|_| !starts).unwrap_or(Time(now));
    let failures = before.map_or(0, |before| before.failures) + u32::from(was_verified);
    let lasts = failures >= BAD_CHECKS && now.duration_since(since.0) >= BAD_FOR;
    let (verified, failures, failing_since, message) = match proof {
        Proof::Found => (true, 0, None, "the record exists".to_owned()),
        Proof::Unknown(why) => (was_verified, before.map_or(0, |b| b.failures), Some(since), why),
        Proof::Absent(why) if was_verified && !lasts => (true, failures, Some(since), why),
        Proof::Absent(why) => (false, 0, Some(since), why),
    };
    let next_check = Some(Time(next_after(failing_since.as_ref(), now, jitter)));
    let (Challenge { name, value }, last_checked) = (challenge, Some(Time(now)));
    OwnershipStatus { name, value, verified, message, failures, failing_since, last_checked, next_check }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::SignedDuration;

    const CLAIMANT: Claimant<'_> = Claimant { cluster: "c", namespace: "n", name: "d", uid: "u" };

    fn wanted() -> Challenge {
        challenge(&DomainName::parse("example.com").unwrap(), CLAIMANT)
    }

    fn answer(outcome: Outcome, source: DnsSource) -> Answer {
        Answer::new(outcome, source)
    }

    fn texts(text: &str) -> Answer {
        answer(Outcome::Txt(vec![text.as_bytes().to_vec()]), DnsSource::Authoritative)
    }

    #[test]
    fn a_value_is_good_for_one_object_only() {
        let domain = DomainName::parse("example.com").unwrap();
        let base = wanted();
        assert_eq!(base.name, "_email-operator-challenge.example.com");
        assert!(base.value.starts_with("email-operator=") && base.value.len() == 15 + 40, "{base:?}");
        for other in [
            Claimant { cluster: "x", ..CLAIMANT },
            Claimant { namespace: "x", ..CLAIMANT },
            Claimant { name: "x", ..CLAIMANT },
            Claimant { uid: "x", ..CLAIMANT },
            Claimant { namespace: "nd", name: "", ..CLAIMANT },
        ] {
            assert_ne!(challenge(&domain, other).value, base.value, "{other:?}");
        }
        assert_eq!(challenge(&domain, CLAIMANT), base);
    }

    #[test]
    fn every_server_that_answers_must_have_it() {
        let wanted = wanted();
        let good = texts(&wanted.value);
        assert_eq!(proof(&wanted, std::slice::from_ref(&good), true), Proof::Found);
        let none = answer(Outcome::NxDomain, DnsSource::Authoritative);
        assert!(matches!(proof(&wanted, &[good, none], true), Proof::Absent(_)));
    }

    #[test]
    fn another_objects_value_proves_nothing_and_says_so() {
        let Proof::Absent(why) = proof(&wanted(), &[texts("email-operator=00")], true) else { panic!("proven") };
        assert!(why.contains("another object"), "{why}");
    }

    #[test]
    fn what_only_a_resolver_says_counts_where_nothing_else_is_asked() {
        let wanted = wanted();
        let cached = Answer { source: DnsSource::Recursive, ..texts(&wanted.value) };
        assert!(matches!(proof(&wanted, std::slice::from_ref(&cached), true), Proof::Unknown(_)));
        assert_eq!(proof(&wanted, &[cached], false), Proof::Found);
        let failed = answer(Outcome::Failed("timeout".into()), DnsSource::Authoritative);
        assert!(matches!(proof(&wanted, &[failed], true), Proof::Unknown(_)));
    }

    #[test]
    fn a_proof_lapses_after_three_checks_in_half_an_hour_and_not_before() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let at = |minutes: i64| start.checked_add(SignedDuration::from_mins(minutes)).unwrap();
        let absent = || Proof::Absent("gone".into());
        let mut status = settle_ownership(None, wanted(), Proof::Found, start, 0.0);
        assert!(status.verified && status.failing_since.is_none());
        for (minutes, verified) in [(1, true), (2, true), (3, true), (4, true), (32, false)] {
            status = settle_ownership(Some(&status), wanted(), absent(), at(minutes), 0.0);
            assert_eq!(status.verified, verified, "after {minutes} minutes: {status:?}");
        }
        status = settle_ownership(Some(&status), wanted(), Proof::Found, at(40), 0.0);
        assert!(status.verified && status.failures == 0);
    }

    #[test]
    fn no_answer_neither_proves_nor_takes_away() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let unknown = || Proof::Unknown("timeout".into());
        let never = settle_ownership(None, wanted(), unknown(), start, 0.0);
        assert!(!never.verified && never.next_check.unwrap().0 > start);
        let proven = settle_ownership(None, wanted(), Proof::Found, start, 0.0);
        let day = start.checked_add(SignedDuration::from_hours(48)).unwrap();
        assert!(settle_ownership(Some(&proven), wanted(), unknown(), day, 0.0).verified);
    }

    #[test]
    fn the_proof_of_another_value_does_not_count() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let proven = settle_ownership(None, wanted(), Proof::Found, start, 0.0);
        let other = Challenge { value: "email-operator=other".into(), ..wanted() };
        assert!(!settle_ownership(Some(&proven), other, Proof::Absent("x".into()), start, 0.0).verified);
    }
}
