//! The script of a mailbox's rules in the mailbox's status, where the rules read it.

use super::InScript;
use crate::crd::{ScriptRule, ScriptState, ScriptStatus};
use crate::mail::Address;
use crate::outcome::{Outcome, Reason, Why};

/// A version of a rule in a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleVersion {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// Its annotation `email.askrobots.com/reconcile-requested-at`.
    pub requested_at: Option<String>,
    /// Whether it is paused.
    pub is_paused: bool,
}

/// A rule in a script.
#[derive(Clone, Debug, Default)]
pub struct SeenRule {
    /// Its version.
    pub version: RuleVersion,
    /// Its position in the script, from 1; `None` when it is left out.
    pub position: Option<u32>,
    /// The earlier rule that takes all its mail, as `namespace/name`.
    pub shadowed_by: Option<String>,
    /// Why it is left out, if it is.
    pub refused: Option<Why>,
}

/// Result of a reconcile of a script.
#[derive(Clone, Debug, Default)]
pub struct ScriptSeen {
    /// Every rule of the mailbox.
    pub rules: Vec<SeenRule>,
    /// SHA-256 of their script, in hex; `None` when none of them is active.
    pub hash: Option<String>,
    /// The outcome of the whole script.
    pub outcome: Outcome,
}

/// The status after a reconcile; `None` if there is no script.
pub fn script(before: Option<&ScriptStatus>, seen: &ScriptSeen) -> Option<ScriptStatus> {
    let is_known = is_out(&seen.outcome);
    let is_shown = seen.outcome == Outcome::InSync;
    let was_in_force = |uid: &str| before.is_some_and(|before| holds(before, uid));
    let made = |rule: &SeenRule| {
        let is_placed = rule.position.is_some();
        let version = rule.version.clone();
        ScriptRule {
            in_force: if is_known { is_shown && is_placed } else { is_placed || was_in_force(&version.uid) },
            name: version.name,
            uid: version.uid,
            generation: version.generation,
            requested_at: version.requested_at,
            paused: version.is_paused,
            position: rule.position,
            shadowed_by: rule.shadowed_by.clone(),
            reason: rule.refused.as_ref().map(|why| why.reason.as_str().to_owned()),
            message: rule.refused.as_ref().map(|why| why.message.clone()),
        }
    };
    let mut rules: Vec<ScriptRule> = seen.rules.iter().map(made).collect();
    // Rules that no longer belong to the mailbox, but may still be in its script.
    let is_left = |rule: &&ScriptRule| rule.in_force && !seen.rules.iter().any(|known| known.version.uid == rule.uid);
    let left = before.iter().flat_map(|before| &before.rules).filter(is_left).filter(|_| !is_known);
    rules.extend(left.map(|rule| ScriptRule { position: None, shadowed_by: None, ..rule.clone() }));
    rules.sort_by(|a, b| (a.position.is_none(), a.position, &a.name).cmp(&(b.position.is_none(), b.position, &b.name)));
    if rules.is_empty() {
        return None;
    }
    let state = match &seen.outcome {
        Outcome::InSync => ScriptState::InSync,
        Outcome::Waiting(_) => ScriptState::Waiting,
        Outcome::Unknown(_) => ScriptState::Unknown,
        Outcome::Stalled(_) => ScriptState::Stalled,
    };
    let hash = if is_shown { seen.hash.clone() } else { before.and_then(|before| before.hash.clone()) };
    let (reason, message) = seen.outcome.why().map(|why| (why.reason.as_str().to_owned(), why.message.clone())).unzip();
    Some(ScriptStatus { hash, state, reason, message, rules })
}

/// The status before a script is written: from then on its rules may be active on Mailcow.
pub fn script_to_be_written(before: Option<&ScriptStatus>, seen: &ScriptSeen) -> ScriptStatus {
    let mut status = before.cloned().unwrap_or_else(|| ScriptStatus {
        state: ScriptState::Waiting,
        reason: Some(Reason::Pending.as_str().to_owned()),
        message: Some("the script is being written".to_owned()),
        ..ScriptStatus::default()
    });
    for SeenRule { version, .. } in seen.rules.iter().filter(|rule| rule.position.is_some()) {
        match status.rules.iter_mut().find(|known| known.uid == version.uid) {
            Some(known) => known.in_force = true,
            // Without a generation, no rule uses it as its own result.
            None => status.rules.push(ScriptRule {
                name: version.name.clone(),
                uid: version.uid.clone(),
                in_force: true,
                ..ScriptRule::default()
            }),
        }
    }
    status
}

/// Whether an outcome means that only the script that was just read can be active.
pub fn is_out(outcome: &Outcome) -> bool {
    let out = [Reason::FilterSlotTaken, Reason::MailboxNotReady];
    outcome.why().is_none_or(|why| out.contains(&why.reason))
}

/// Whether the rule with this uid is, or may be, active in a script on Mailcow.
pub fn holds(script: &ScriptStatus, uid: &str) -> bool {
    script.rules.iter().any(|rule| rule.in_force && rule.uid == uid)
}

/// The outcome of a script.
pub fn script_outcome(script: &ScriptStatus) -> Outcome {
    let reason = script.reason.as_deref().and_then(Reason::parse).unwrap_or(Reason::Pending);
    let why = Why::new(reason, script.message.clone().unwrap_or_default());
    match script.state {
        ScriptState::InSync => Outcome::InSync,
        ScriptState::Waiting => Outcome::Waiting(why),
        ScriptState::Unknown => Outcome::Unknown(why),
        ScriptState::Stalled => Outcome::Stalled(why),
    }
}

/// Whether a script was made from the current rule.
pub fn is_made_from(script: &ScriptStatus, rule: &RuleVersion) -> bool {
    script.rules.iter().any(|made| {
        made.uid == rule.uid
            && made.generation.is_some()
            && made.generation == rule.generation
            && made.requested_at == rule.requested_at
            && made.paused == rule.is_paused
    })
}

/// State of a rule in the script of a mailbox; `None` until the script was made from the current rule.
pub fn in_script(mailbox: Address, script: &ScriptStatus, rule: &RuleVersion) -> Option<InScript> {
    let made = script.rules.iter().find(|made| made.uid == rule.uid)?;
    let refused = made.reason.as_deref().and_then(Reason::parse);
    is_made_from(script, rule).then(|| InScript {
        mailbox,
        outcome: script_outcome(script),
        refused: refused.map(|reason| Why::new(reason, made.message.clone().unwrap_or_default())),
        position: made.position,
        shadowed_by: made.shadowed_by.clone(),
        script_hash: script.hash.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> RuleVersion {
        RuleVersion { name: name.into(), uid: format!("uid-{name}"), generation: Some(1), ..RuleVersion::default() }
    }

    fn seen(rules: &[RuleVersion], placed: &[&str], outcome: Outcome) -> ScriptSeen {
        let position = |name: &str| (1..).zip(placed).find(|(_, placed)| **placed == name).map(|(at, _)| at);
        let rule = |version: &RuleVersion| SeenRule {
            version: version.clone(),
            position: position(&version.name),
            ..SeenRule::default()
        };
        let hash = (!placed.is_empty()).then(|| "h".to_owned());
        ScriptSeen { rules: rules.iter().map(rule).collect(), hash, outcome }
    }

    fn after(
        before: Option<&ScriptStatus>,
        rules: &[RuleVersion],
        placed: &[&str],
        outcome: Outcome,
    ) -> Option<ScriptStatus> {
        script(before, &seen(rules, placed, outcome))
    }

    fn unknown() -> Outcome {
        Outcome::Unknown(Why::new(Reason::MailcowUnreachable, "down"))
    }

    fn in_force(status: &ScriptStatus) -> Vec<&str> {
        status.rules.iter().filter(|rule| rule.in_force).map(|rule| rule.name.as_str()).collect()
    }

    #[test]
    fn what_mailcow_showed_is_in_force_and_nothing_else() {
        let first = after(None, &[version("b"), version("a")], &["b", "a"], Outcome::InSync).unwrap();
        assert_eq!((in_force(&first), first.hash.as_deref()), (vec!["b", "a"], Some("h")));
        let second = after(Some(&first), &[version("a")], &["a"], Outcome::InSync).unwrap();
        assert_eq!(in_force(&second), ["a"]);
        assert_eq!(after(Some(&second), &[], &[], Outcome::InSync), None);
    }

    #[test]
    fn what_may_still_be_there_is_kept_until_it_was_seen_to_be_gone() {
        let first = after(None, &[version("a"), version("b")], &["a", "b"], Outcome::InSync).unwrap();
        let leaving = version("a");
        let second = after(Some(&first), std::slice::from_ref(&leaving), &[], unknown()).unwrap();
        assert_eq!((in_force(&second), second.hash.as_deref()), (vec!["a", "b"], Some("h")));
        let slot = Outcome::stalled(Reason::FilterSlotTaken, "taken");
        let third = after(Some(&second), std::slice::from_ref(&leaving), &[], slot).unwrap();
        assert_eq!(in_force(&third), Vec::<&str>::new());
        assert!(is_made_from(&third, &leaving), "the rule sees that it was looked at");
    }

    #[test]
    fn before_it_is_written_every_rule_of_a_script_counts_as_in_force() {
        let ahead = script_to_be_written(None, &seen(&[version("a"), version("off")], &["a"], Outcome::InSync));
        assert_eq!(in_force(&ahead), ["a"]);
        let ada = || Address::parse("ada@e.com").unwrap();
        assert!(in_script(ada(), &ahead, &version("a")).is_none(), "it is no result yet");
    }

    #[test]
    fn a_rule_reads_its_own_result_and_not_that_of_an_earlier_spec() {
        let status = after(None, &[version("a")], &["a"], unknown()).unwrap();
        let ada = || Address::parse("ada@e.com").unwrap();
        let found = in_script(ada(), &status, &version("a")).unwrap();
        assert_eq!((found.position, &found.outcome), (Some(1), &unknown()));
        let newer = RuleVersion { generation: Some(2), ..version("a") };
        assert!(in_script(ada(), &status, &newer).is_none());
        let asked = RuleVersion { requested_at: Some("now".into()), ..version("a") };
        assert!(in_script(ada(), &status, &asked).is_none());
    }

    #[test]
    fn a_rule_is_out_where_no_script_of_ours_is_in_force() {
        assert!(is_out(&Outcome::InSync));
        assert!(is_out(&Outcome::stalled(Reason::FilterSlotTaken, "taken")));
        assert!(is_out(&Outcome::waiting(Reason::MailboxNotReady, "not there")));
        assert!(!is_out(&Outcome::stalled(Reason::FieldNotApplied, "stuck")));
        assert!(!is_out(&unknown()));
    }
}
