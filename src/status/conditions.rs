//! Conditions: the same text on every kind, with transition times that move only when a status changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use std::sync::Arc;

use crate::crd::{
    ConditionText, EmailAliasStatus, EmailDomainStatus, EmailForwardingRuleStatus, EmailMailboxStatus,
    StatusCondition as Condition,
};
use crate::outcome::{Outcome, Reason, Why};

/// What a reconcile acted on, beside its outcome.
#[derive(Clone, Debug)]
pub struct ReconcileRequest {
    /// The generation of the spec that was worked on.
    pub generation: Option<i64>,
    /// The value of the annotation `reconcile-requested-at` that was acted on.
    pub requested_at: Option<String>,
    /// Whether the annotation `paused` is set.
    pub paused: bool,
    /// When.
    pub now: Time,
}

/// One condition before its transition time is known.
pub(super) struct NewCondition {
    kind: &'static str,
    status: &'static str,
    why: Why,
}

impl NewCondition {
    /// Whether it is about this condition.
    pub(super) fn is_about(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Whether it says that this condition is True.
    pub(super) fn is_true(&self, kind: &str) -> bool {
        self.kind == kind && self.status == "True"
    }

    pub(super) fn is(kind: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: "True", why: Why::new(reason, message) }
    }

    pub(super) fn is_not(kind: &'static str, why: &Why) -> Self {
        Self { kind, status: "False", why: why.clone() }
    }

    pub(super) fn unknown(kind: &'static str, why: &Why) -> Self {
        Self { kind, status: "Unknown", why: why.clone() }
    }
}

/// `Ready`, `Synced`, and while they hold `Reconciling`, `Stalled`, `Drifted`, `Paused`.
pub(super) fn common(outcome: &Outcome, paused: bool) -> Vec<NewCondition> {
    let pause = paused.then(|| {
        NewCondition::is(
            "Paused",
            Reason::Paused,
            "nothing is written to Mailcow while the annotation email.askrobots.com/paused is \"true\"",
        )
    });
    let said = match outcome {
        Outcome::InSync => vec![
            NewCondition::is("Ready", Reason::InSync, "Mailcow matches the spec"),
            NewCondition::is("Synced", Reason::InSync, "Mailcow matches the spec"),
        ],
        Outcome::Waiting(why) => vec![
            NewCondition::is_not("Ready", why),
            NewCondition::is_not("Synced", why),
            NewCondition::is("Reconciling", why.reason, why.message.clone()),
        ],
        Outcome::Unknown(why) => vec![
            NewCondition::unknown("Ready", why),
            NewCondition::unknown("Synced", why),
            NewCondition::is("Reconciling", why.reason, why.message.clone()),
        ],
        Outcome::Stalled(why) => vec![
            NewCondition::is_not("Ready", why),
            NewCondition::is_not("Synced", why),
            NewCondition::is("Stalled", why.reason, why.message.clone()),
        ],
    };
    let drifted = outcome.why().filter(|why| why.reason == Reason::Drifted);
    let drift = drifted.map(|why| NewCondition::is("Drifted", why.reason, why.message.clone()));
    said.into_iter().chain(drift).chain(pause).collect()
}

/// The generation that Mailcow last showed in full.
pub(super) fn synced(outcome: &Outcome, before: Option<i64>, request: &ReconcileRequest) -> Option<i64> {
    if *outcome == Outcome::InSync { request.generation } else { before }
}

/// What the statuses of all kinds have in common.
pub trait Conditioned: Default {
    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// The conditions, to change them.
    fn conditions_mut(&mut self) -> &mut [Condition];
    /// A status that says only this.
    fn only(conditions: Vec<Condition>, generation: Option<i64>) -> Self;
    /// The status without what another driver than that of its kind writes.
    #[must_use]
    fn own(self) -> Self;
}

macro_rules! conditioned {
    ($($status:ty => $own:expr),* $(,)?) => {$(
        impl Conditioned for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }

            fn conditions_mut(&mut self) -> &mut [Condition] {
                &mut self.conditions
            }

            fn only(conditions: Vec<Condition>, observed_generation: Option<i64>) -> Self {
                Self { conditions, observed_generation, ..Self::default() }
            }

            fn own(self) -> Self {
                let own: fn(Self) -> Self = $own;
                own(self)
            }
        }
    )*};
}

conditioned!(
    EmailDomainStatus => |status| status,
    EmailMailboxStatus => |status| Self { script: None, delivery: None, last_handled_replay: None, ..status },
    EmailAliasStatus => |status| status,
    EmailForwardingRuleStatus => |status| Self { delivered: None, last_handled_replay: None, ..status },
);

/// `ResolvedRefs`: whether everything that the spec names was found and may be used. While that can't be known, what was
/// last reported of the same spec stays.
pub(super) fn resolved(outcome: &Outcome, before: &[Condition], request: &ReconcileRequest) -> NewCondition {
    const KIND: &str = "ResolvedRefs";
    match outcome {
        Outcome::Waiting(why) | Outcome::Stalled(why) if is_unresolved(why.reason) => NewCondition::is_not(KIND, why),
        Outcome::InSync | Outcome::Waiting(_) | Outcome::Stalled(_) => {
            NewCondition::is(KIND, Reason::ResolvedRefs, "everything that the spec names exists")
        }
        Outcome::Unknown(why) => {
            let of_same_spec = |c: &&Condition| c.type_ == KIND && c.observed_generation == request.generation;
            let last = before.iter().find(of_same_spec);
            let said = last.and_then(|last| Some((last, Reason::parse(&last.reason)?)));
            match said.map(|(last, reason)| (last.status.as_str(), Why::new(reason, last.message.clone()))) {
                Some(("True", why)) => NewCondition::is(KIND, why.reason, why.message),
                Some(("False", why)) => NewCondition::is_not(KIND, &why),
                Some(_) | None => NewCondition::unknown(KIND, why),
            }
        }
    }
}

/// Whether the reason says that something which the spec names is not there, or is not for this object.
fn is_unresolved(reason: Reason) -> bool {
    let unresolved = [
        Reason::DomainNotFound,
        Reason::NamespaceNotAllowed,
        Reason::MailboxNotFound,
        Reason::SenderNotFound,
        Reason::SenderNotAllowed,
        Reason::SecretNotFound,
        Reason::SecretKeyInvalid,
        Reason::SinkNotFound,
        Reason::SinkNotAllowed,
    ];
    unresolved.contains(&reason)
}

/// The status of a new object of which nothing is known yet.
pub fn pending<S: Conditioned>(request: &ReconcileRequest) -> S {
    let why = Why::new(Reason::Pending, "the first reconcile has not finished yet");
    let said = vec![
        NewCondition::unknown("Ready", &why),
        NewCondition::unknown("Synced", &why),
        NewCondition::is("Reconciling", why.reason, why.message.clone()),
    ];
    S::only(settled(&[], said, request), request.generation)
}

/// Gives each its transition time: that of before where the status is the same. What is no longer said is dropped.
pub(super) fn settled(before: &[Condition], said: Vec<NewCondition>, request: &ReconcileRequest) -> Vec<Condition> {
    settled_beside(before, said, |_| false, request)
}

/// The same for one of two that write conditions of one status: those that are of the other stay as they are.
pub(super) fn settled_beside(
    before: &[Condition],
    said: Vec<NewCondition>,
    is_of_other: impl Fn(&str) -> bool,
    request: &ReconcileRequest,
) -> Vec<Condition> {
    let said = said.into_iter().map(|said| Condition {
        last_transition_time: since(before, said.kind, said.status).unwrap_or_else(|| request.now.clone()),
        observed_generation: request.generation,
        text: Arc::new(ConditionText {
            message: said.why.message,
            reason: said.why.reason.as_str().to_owned(),
            status: said.status.to_owned(),
            type_: said.kind.to_owned(),
        }),
    });
    let others = before.iter().filter(|condition| is_of_other(&condition.type_)).cloned();
    let mut after: Vec<Condition> = said.chain(others).collect();
    after.sort_by(|a, b| rank(&a.type_).cmp(&rank(&b.type_)).then_with(|| a.type_.cmp(&b.type_)));
    after
}

fn since(before: &[Condition], kind: &str, status: &str) -> Option<Time> {
    let same = before.iter().find(|c| c.type_ == kind && c.status == status)?;
    Some(same.last_transition_time.clone())
}

/// `Ready` first, then `Synced`, then the rest by name.
fn rank(kind: &str) -> u8 {
    match kind {
        "Ready" => 0,
        "Synced" => 1,
        _ => 2,
    }
}

/// Whether the condition of that type is True.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}

/// `Ready`, if it was ever said.
pub fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == "Ready")
}

/// Whether the result of a reconcile was reported. A new object has no conditions, or those of a reconcile that has not
/// ended.
pub fn is_reported(conditions: &[Condition]) -> bool {
    ready(conditions).is_some_and(|ready| ready.reason != Reason::Pending.as_str())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crd::{AdoptionPolicy, Chosen, DeletionPolicy, DriftPolicy, Policies, PolicySource};
    use k8s_openapi::jiff::Timestamp;

    /// Nobody says anything about policies.
    pub(crate) fn policies() -> Policies {
        let from = PolicySource::Kind;
        Policies {
            deletion: Chosen { value: DeletionPolicy::Retain, from },
            adoption: Chosen { value: AdoptionPolicy::IfUnowned, from },
            drift: Chosen { value: DriftPolicy::Correct, from },
            warning: None,
        }
    }

    pub(crate) fn request(second: i64) -> ReconcileRequest {
        ReconcileRequest {
            generation: Some(1),
            requested_at: None,
            paused: false,
            now: Time(Timestamp::from_second(second).unwrap()),
        }
    }

    fn conditions_of(outcome: &Outcome, before: &[Condition], second: i64) -> Vec<Condition> {
        settled(before, common(outcome, false), &request(second))
    }

    #[test]
    fn times_move_only_when_the_status_changes() {
        let waiting = Outcome::waiting(Reason::SecretNotFound, "no Secret");
        let first = conditions_of(&waiting, &[], 100);
        let other_words = conditions_of(&Outcome::waiting(Reason::DomainNotFound, "no domain"), &first, 200);
        assert_eq!(ready(&other_words).unwrap().last_transition_time, request(100).now);
        let done = conditions_of(&Outcome::InSync, &other_words, 300);
        assert_eq!(ready(&done).unwrap().last_transition_time, request(300).now);
    }

    #[test]
    fn an_unchanged_pass_says_the_same_to_the_letter() {
        let first = conditions_of(&Outcome::InSync, &[], 100);
        assert_eq!(conditions_of(&Outcome::InSync, &first, 999), first);
    }

    #[test]
    fn stalled_and_reconciling_are_there_only_while_true() {
        let stalled = conditions_of(&Outcome::stalled(Reason::InvalidSpec, "bad"), &[], 1);
        assert!(is_true(&stalled, "Stalled") && !is_true(&stalled, "Reconciling"));
        let done = conditions_of(&Outcome::InSync, &stalled, 2);
        assert_eq!(done.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(), ["Ready", "Synced"]);
    }

    #[test]
    fn drift_is_a_stall_and_said_only_while_it_is() {
        let drifted = conditions_of(&Outcome::stalled(Reason::Drifted, "displayName"), &[], 1);
        assert!(is_true(&drifted, "Drifted") && is_true(&drifted, "Stalled") && !is_true(&drifted, "Synced"));
        assert!(!is_true(&conditions_of(&Outcome::InSync, &drifted, 2), "Drifted"));
    }

    #[test]
    fn the_generation_in_sync_moves_only_with_a_sync() {
        let stalled = Outcome::stalled(Reason::Drifted, "x");
        assert_eq!(synced(&stalled, Some(0), &request(1)), Some(0));
        assert_eq!(synced(&Outcome::InSync, Some(0), &request(1)), Some(1));
    }

    #[test]
    fn an_unreachable_server_makes_ready_unknown() {
        let why = Why::new(Reason::MailcowUnreachable, "down");
        let down = conditions_of(&Outcome::Unknown(why), &[], 1);
        assert_eq!(ready(&down).unwrap().status, "Unknown");
        assert!(is_true(&down, "Reconciling"));
    }

    /// One line of what is shown, such as `Ready=True InSync`.
    fn shown(conditions: &[Condition]) -> Vec<String> {
        conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
    }

    #[test]
    fn each_reason_shows_in_the_conditions_that_it_is_about() {
        // What is named and not there, or not for this object; everything else was found.
        let unresolved = [
            "DomainNotFound",
            "NamespaceNotAllowed",
            "MailboxNotFound",
            "SenderNotFound",
            "SenderNotAllowed",
            "SecretNotFound",
            "SecretKeyInvalid",
            "SinkNotFound",
            "SinkNotAllowed",
        ];
        for reason in Reason::ALL {
            let why = Why::new(reason, "m");
            let word = reason.as_str();
            let refs = if unresolved.contains(&word) {
                format!("ResolvedRefs=False {word}")
            } else {
                "ResolvedRefs=True ResolvedRefs".to_owned()
            };
            let drift = (reason == Reason::Drifted).then(|| format!("Drifted=True {word}"));
            for (outcome, beside) in
                [(Outcome::Waiting(why.clone()), "Reconciling"), (Outcome::Stalled(why.clone()), "Stalled")]
            {
                let said = common(&outcome, false).into_iter().chain([resolved(&outcome, &[], &request(1))]);
                let mut expected = vec![
                    format!("Ready=False {word}"),
                    format!("Synced=False {word}"),
                    format!("{beside}=True {word}"),
                    refs.clone(),
                ];
                expected.extend(drift.clone());
                let mut found = shown(&settled(&[], said.collect(), &request(1)));
                expected.sort();
                found.sort();
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn what_can_t_be_known_says_nothing_new_of_references() {
        let down = Outcome::Unknown(Why::new(Reason::MailcowUnreachable, "down"));
        let refs = |outcome: &Outcome, before: &[Condition], request: &ReconcileRequest| {
            settled(before, vec![resolved(outcome, before, request)], request)
        };
        assert_eq!(shown(&refs(&down, &[], &request(1))), ["ResolvedRefs=Unknown MailcowUnreachable"]);
        let rows = [
            (Outcome::InSync, "ResolvedRefs=True ResolvedRefs"),
            (Outcome::waiting(Reason::SecretNotFound, "m"), "ResolvedRefs=False SecretNotFound"),
        ];
        for (outcome, expected) in rows {
            let before = refs(&outcome, &[], &request(1));
            assert_eq!(refs(&down, &before, &request(2)), before);
            assert_eq!(shown(&before), [expected]);
            let other_spec = ReconcileRequest { generation: Some(2), ..request(2) };
            assert_eq!(shown(&refs(&down, &before, &other_spec)), ["ResolvedRefs=Unknown MailcowUnreachable"]);
        }
    }
}
