//! Plans of deletions. A digest names a plan, is bound to its caller, its object and a time, and counts once. Plans are
//! kept in memory: after a restart, plan again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::RequestStateCodec;

use super::arguments::Kind;
use super::loss::Loss;
use crate::mail::sha256;

/// How long a plan counts.
pub(crate) const LIFETIME: Duration = Duration::from_mins(10);
/// Most plans of one caller; the oldest is dropped.
const OF_ONE: usize = 32;
/// Most plans of all callers.
const OF_ALL: usize = 4_096;

/// A planned deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The kind of the object.
    pub(crate) kind: Kind,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its uid.
    pub(crate) uid: String,
    /// Its `resourceVersion` at that time.
    pub(crate) resource_version: String,
    /// The generation of its spec at that time.
    pub(crate) generation: Option<i64>,
    /// What would be lost.
    pub(crate) loss: Loss,
}

/// The plans of all callers.
pub(crate) struct Plans {
    codec: RequestStateCodec,
    kept: Mutex<BTreeMap<String, Kept>>,
}

struct Kept {
    plan: Plan,
    caller: String,
    until: Instant,
}

impl std::fmt::Debug for Plans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plans").finish_non_exhaustive()
    }
}

impl Plans {
    /// No plans. `key` is secret and random, and at least 32 bytes.
    ///
    /// # Errors
    /// When the key is too short.
    pub(crate) fn new(key: &[u8]) -> Result<Self, rmcp::model::RequestStateError> {
        Ok(Self { codec: RequestStateCodec::try_new(key)?, kept: Mutex::default() })
    }

    /// Keeps a plan and gives its digest.
    pub(crate) fn keep(&self, plan: Plan, caller: &str, now: Instant) -> String {
        let Plan { kind, namespace, name, uid, resource_version, generation, loss } = &plan;
        let content = format!(
            "{kind:?}\n{namespace}\n{name}\n{uid}\n{resource_version}\n{generation:?}\n{loss:?}\n{caller}\n{now:?}\n{:x}",
            rand::random::<u128>()
        );
        let sealed = self.codec.seal(content.as_bytes());
        let digest: String = sha256(&sealed).chars().take(32).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, other| other.until > now);
        drop_oldest(&mut kept, OF_ONE, |other| other.caller == caller);
        drop_oldest(&mut kept, OF_ALL, |_| true);
        kept.insert(digest.clone(), Kept { plan, caller: caller.to_owned(), until: now + LIFETIME });
        digest
    }

    /// The plan of a digest, if it is this caller's and still counts.
    pub(crate) fn find(&self, digest: &str, caller: &str, now: Instant) -> Option<Plan> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(digest).filter(|kept| kept.caller == caller && kept.until > now)?;
        Some(found.plan.clone())
    }

    /// Takes a plan out: it counts once. `false` if another call took it.
    pub(crate) fn take(&self, digest: &str) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(digest).is_some()
    }

    /// The state of a request that asks a person: only this server can make it, for this caller and this question.
    pub(crate) fn seal(&self, caller: &str, question: &str) -> String {
        let options = rmcp::model::SealOptions::new().associated_data(caller.as_bytes()).ttl(LIFETIME);
        self.codec.seal_with(question.as_bytes(), &options)
    }

    /// Whether the state is of this caller and this question.
    pub(crate) fn is_sealed(&self, state: &str, caller: &str, question: &str) -> bool {
        self.codec.open_with(state, caller.as_bytes()).is_ok_and(|opened| opened == question.as_bytes())
    }
}

/// Makes room for one more.
fn drop_oldest(kept: &mut BTreeMap<String, Kept>, most: usize, counts: impl Fn(&Kept) -> bool) {
    while kept.values().filter(|one| counts(one)).count() >= most {
        let oldest = kept.iter().filter(|(_, one)| counts(one)).min_by_key(|(_, one)| one.until);
        let Some(digest) = oldest.map(|(digest, _)| digest.clone()) else { return };
        kept.remove(&digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(name: &str) -> Plan {
        let loss = Loss { destroys_mail: false, words: vec![], confirmation: name.to_owned(), annotation: None };
        Plan {
            kind: Kind::EmailAlias,
            namespace: "mail".to_owned(),
            name: name.to_owned(),
            uid: "u".to_owned(),
            resource_version: "7".to_owned(),
            generation: Some(1),
            loss,
        }
    }

    fn plans() -> Plans {
        Plans::new(&[7; 32]).unwrap()
    }

    #[test]
    fn a_digest_is_of_its_caller_and_its_time() {
        let (plans, now) = (plans(), Instant::now());
        let digest = plans.keep(plan("a"), "ada", now);
        assert_eq!(plans.find(&digest, "ada", now), Some(plan("a")));
        assert_eq!(plans.find(&digest, "bob", now), None);
        assert_eq!(plans.find(&digest, "ada", now + LIFETIME), None);
        assert_eq!(plans.find(&"0".repeat(32), "ada", now), None);
    }

    #[test]
    fn a_digest_counts_once_and_is_never_the_same() {
        let (plans, now) = (plans(), Instant::now());
        let (one, two) = (plans.keep(plan("a"), "ada", now), plans.keep(plan("a"), "ada", now));
        assert_ne!(one, two);
        assert!(plans.take(&one) && !plans.take(&one));
        assert!(plans.find(&one, "ada", now).is_none() && plans.find(&two, "ada", now).is_some());
    }

    #[test]
    fn a_caller_crowds_out_nobody_else() {
        let (plans, now) = (plans(), Instant::now());
        let mine = plans.keep(plan("a"), "ada", now);
        let first = plans.keep(plan("b"), "bob", now);
        for i in 1..=OF_ONE {
            plans.keep(plan("b"), "bob", now + Duration::from_secs(u64::try_from(i).unwrap()));
        }
        assert!(plans.find(&mine, "ada", now).is_some() && plans.find(&first, "bob", now).is_none());
    }

    #[test]
    fn a_state_is_of_its_caller_question_and_server() {
        let one = plans();
        let state = one.seal("ada", "question");
        assert!(one.is_sealed(&state, "ada", "question"));
        assert!(!one.is_sealed(&state, "bob", "question") && !one.is_sealed(&state, "ada", "other"));
        assert!(!Plans::new(&[8; 32]).unwrap().is_sealed(&state, "ada", "question"));
        for forged in ["", "question", "rs1.AAAA.AAAA", &state[..state.len() - 1], &format!("{state}A")] {
            assert!(!one.is_sealed(forged, "ada", "question"), "{forged}");
        }
    }
}
