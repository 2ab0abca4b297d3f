//! The status of an `EmailForwardingRule`.

use super::conditions::{NewCondition, ReconcileRequest, common, resolved, settled};
use crate::crd::{EmailForwardingRuleStatus, StatusCondition as Condition};
use crate::mail::{Address, sha256};
use crate::outcome::{Outcome, Reason, Why};

/// Number of mailboxes in a status.
const LISTED: usize = 20;

/// State of a rule in the script of one mailbox.
#[derive(Clone, Debug)]
pub struct InScript {
    /// The mailbox.
    pub mailbox: Address,
    /// The outcome of the whole script.
    pub outcome: Outcome,
    /// Why the rule was left out, if so.
    pub refused: Option<Why>,
    /// Its position in the script, from 1; `None` when it is not in it.
    pub position: Option<u32>,
    /// The earlier rule that takes all its mail, as `namespace/name`.
    pub shadowed_by: Option<String>,
    /// SHA-256 of the script, in hex; `None` when there is none.
    pub script_hash: Option<String>,
}

/// Result of a reconcile of a rule.
#[derive(Clone, Debug, Default)]
pub struct RuleSeen {
    /// The outcome.
    pub outcome: Outcome,
    /// Why the rule itself is refused, if so.
    pub refused: Option<Why>,
    /// The first mailboxes, sorted; empty when they are unknown.
    pub mailboxes: Vec<String>,
    /// Their number.
    pub mailbox_count: Option<u32>,
    /// Number of scripts with the rule.
    pub placed: usize,
    /// Its position in the script, from 1, if it is the same in all.
    pub position: Option<u32>,
    /// The earlier rule that takes all its mail, as `namespace/name`, if it is the same in all.
    pub shadowed_by: Option<String>,
    /// SHA-256 of the script, or of the hashes of all.
    pub script_hash: Option<String>,
}

impl RuleSeen {
    /// Only this outcome; nothing is known about scripts.
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// The last state of the scripts.
    pub fn of_before(before: &EmailForwardingRuleStatus) -> Self {
        Self {
            position: before.position,
            shadowed_by: before.shadowed_by.clone(),
            script_hash: before.script_hash.clone(),
            ..Self::default()
        }
    }

    /// For a domain's rule without a managed mailbox.
    pub fn without_mailbox(refused: Option<Why>) -> Self {
        Self {
            outcome: refused.as_ref().map_or(Outcome::InSync, of_rule),
            refused,
            mailbox_count: Some(0),
            ..Self::default()
        }
    }

    /// The combined state of all its scripts.
    pub fn in_scripts(mut scripts: Vec<InScript>) -> Self {
        scripts.sort_by(|a, b| a.mailbox.cmp(&b.mailbox));
        let hashes: Vec<&str> = scripts.iter().filter_map(|script| script.script_hash.as_deref()).collect();
        let script_hash = match hashes.as_slice() {
            [] => None,
            [only] => Some((*only).to_owned()),
            several => Some(sha256(&several.join("\n"))),
        };
        Self {
            outcome: together(&scripts),
            refused: scripts.iter().find_map(|script| script.refused.clone()),
            mailboxes: scripts.iter().take(LISTED).map(|script| script.mailbox.to_string()).collect(),
            mailbox_count: u32::try_from(scripts.len()).ok(),
            placed: scripts.iter().filter(|script| script.position.is_some()).count(),
            position: common_to_all(&scripts, |script| script.position),
            shadowed_by: common_to_all(&scripts, |script| script.shadowed_by.clone()),
            script_hash,
        }
    }
}

fn common_to_all<T: PartialEq>(scripts: &[InScript], of: impl Fn(&InScript) -> Option<T>) -> Option<T> {
    let first = of(scripts.first()?)?;
    scripts.iter().all(|script| of(script).as_ref() == Some(&first)).then_some(first)
}

/// The outcome of a rule that is left out.
fn of_rule(why: &Why) -> Outcome {
    match why.reason {
        Reason::SinkNotFound | Reason::SinkNotAllowed | Reason::Paused => Outcome::Waiting(why.clone()),
        _ => Outcome::Stalled(why.clone()),
    }
}

/// The worst of all, with the number of mailboxes. A rule that is left out reports it, whatever the scripts report.
fn together(scripts: &[InScript]) -> Outcome {
    let own = |script: &InScript| script.refused.as_ref().map_or_else(|| script.outcome.clone(), of_rule);
    let all: Vec<Outcome> = scripts.iter().map(own).collect();
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Stalled(_) => 3,
        Outcome::Unknown(_) => 2,
        Outcome::Waiting(_) => 1,
        Outcome::InSync => 0,
    };
    // Of equals the first, so that the text stays the same.
    let worst = all.iter().rev().max_by_key(|outcome| rank(outcome)).cloned().unwrap_or_default();
    let many = all.iter().filter(|outcome| rank(outcome) == rank(&worst)).count();
    if scripts.len() < 2 {
        return worst;
    }
    let count = |why: Why| {
        Why::new(why.reason, format!("in {many} of {} mailboxes, the first: {}", scripts.len(), why.message))
    };
    match worst {
        Outcome::InSync => Outcome::InSync,
        Outcome::Waiting(why) => Outcome::Waiting(count(why)),
        Outcome::Unknown(why) => Outcome::Unknown(count(why)),
        Outcome::Stalled(why) => Outcome::Stalled(count(why)),
    }
}

/// The status after a reconcile.
pub fn rule(
    before: &EmailForwardingRuleStatus,
    seen: &RuleSeen,
    request: &ReconcileRequest,
) -> EmailForwardingRuleStatus {
    let mut after = before.clone();
    after.observed_generation = request.generation;
    after.last_handled_reconcile_at.clone_from(&request.requested_at);
    let said = common(&seen.outcome, request.paused).into_iter().chain(own(seen, &before.conditions, request));
    after.conditions = settled(&before.conditions, said.collect(), request);
    // Deleted mailboxes are remembered: their script is still on Mailcow, and the rule's removal must find it.
    if seen.mailbox_count.is_some() {
        after.mailboxes.clone_from(&seen.mailboxes);
        after.mailbox_count = seen.mailbox_count;
    }
    if !matches!(seen.outcome, Outcome::Unknown(_)) {
        after.position = seen.position;
        after.shadowed_by.clone_from(&seen.shadowed_by);
    }
    // A script that Mailcow never had can't have been changed by hand.
    if seen.outcome == Outcome::InSync {
        after.script_hash.clone_from(&seen.script_hash);
    }
    after
}

/// `Accepted`, `ResolvedRefs` and `Programmed`.
fn own(seen: &RuleSeen, before: &[Condition], request: &ReconcileRequest) -> Vec<NewCondition> {
    let is_bad = |why: &&Why| matches!(why.reason, Reason::InvalidSpec | Reason::Conflict | Reason::DoesNotFit);
    let accepted = match seen.refused.as_ref().filter(is_bad) {
        Some(why) => NewCondition::is_not("Accepted", why),
        None => NewCondition::is("Accepted", Reason::Accepted, "the rule is valid"),
    };
    let resolved = resolved(&seen.outcome, before, request);
    let programmed = match (&seen.outcome, seen.mailbox_count, seen.placed) {
        (Outcome::InSync, Some(0), _) => NewCondition::is_not("Programmed", &no_mailbox()),
        (Outcome::InSync, _, 0) => NewCondition::is_not("Programmed", &disabled()),
        (Outcome::InSync, _, placed) => NewCondition::is("Programmed", Reason::Programmed, in_how_many(seen, placed)),
        (Outcome::Unknown(why), _, _) => NewCondition::unknown("Programmed", why),
        (Outcome::Waiting(why) | Outcome::Stalled(why), _, _) => NewCondition::is_not("Programmed", why),
    };
    vec![accepted, resolved, programmed]
}

fn in_how_many(seen: &RuleSeen, placed: usize) -> String {
    match (seen.position, placed) {
        (Some(position), 1) => format!("rule {position} of the mailbox's script on Mailcow"),
        (Some(position), _) => format!("rule {position} of the scripts of {placed} mailboxes on Mailcow"),
        (None, _) => format!("in the scripts of {placed} mailboxes on Mailcow"),
    }
}

fn no_mailbox() -> Why {
    let message = "the domain has no EmailMailbox yet; the rule becomes active with the first one";
    Why::new(Reason::NoMailbox, message)
}

fn disabled() -> Why {
    Why::new(Reason::Disabled, "the rule is disabled and not in the script")
}

#[cfg(test)]
mod tests {
    use super::super::conditions::{is_true, tests::request};
    use super::*;

    fn at(mailbox: &str, outcome: Outcome, position: Option<u32>) -> InScript {
        let mailbox = Address::parse(mailbox).unwrap();
        InScript { mailbox, outcome, refused: None, position, shadowed_by: None, script_hash: Some("h".into()) }
    }

    fn one(outcome: Outcome, position: Option<u32>) -> RuleSeen {
        RuleSeen::in_scripts(vec![at("ada@example.com", outcome, position)])
    }

    fn said(seen: &RuleSeen) -> EmailForwardingRuleStatus {
        rule(&EmailForwardingRuleStatus::default(), seen, &request(1))
    }

    fn message(status: &EmailForwardingRuleStatus, kind: &str) -> String {
        status.conditions.iter().find(|c| c.type_ == kind).unwrap().message.clone()
    }

    #[test]
    fn a_rule_in_the_script_is_programmed() {
        let status = said(&one(Outcome::InSync, Some(2)));
        assert!(["Ready", "Accepted", "ResolvedRefs", "Programmed"].iter().all(|c| is_true(&status.conditions, c)));
        assert_eq!(
            (status.position, status.mailbox_count, status.script_hash.as_deref()),
            (Some(2), Some(1), Some("h"))
        );
    }

    #[test]
    fn a_disabled_rule_is_ready_and_not_programmed() {
        let status = said(&one(Outcome::InSync, None));
        assert!(is_true(&status.conditions, "Ready") && !is_true(&status.conditions, "Programmed"));
    }

    #[test]
    fn a_missing_mailbox_is_an_unresolved_reference() {
        let status = said(&RuleSeen::of(Outcome::waiting(Reason::MailboxNotFound, "no mailbox")));
        assert!(!is_true(&status.conditions, "ResolvedRefs") && is_true(&status.conditions, "Accepted"));
    }

    #[test]
    fn the_mailbox_is_remembered_when_its_object_is_gone() {
        let gone = RuleSeen::of(Outcome::waiting(Reason::MailboxNotFound, "no mailbox"));
        let before = said(&one(Outcome::InSync, Some(1)));
        assert_eq!(rule(&before, &gone, &request(1)).mailboxes, ["ada@example.com"]);
    }

    #[test]
    fn an_invalid_rule_is_not_accepted_whatever_its_script_says() {
        let refused = Some(Why::new(Reason::InvalidSpec, "bad regex"));
        let unknown = Outcome::Unknown(Why::new(Reason::MailcowUnreachable, "down"));
        let status = said(&RuleSeen::in_scripts(vec![InScript { refused, ..at("a@e.com", unknown, None) }]));
        assert!(!is_true(&status.conditions, "Accepted") && is_true(&status.conditions, "Stalled"));
    }

    #[test]
    fn a_sink_that_is_missing_is_an_unresolved_reference_of_a_valid_rule() {
        let refused = Some(Why::new(Reason::SinkNotFound, "no sink"));
        let status = said(&RuleSeen::in_scripts(vec![InScript { refused, ..at("a@e.com", Outcome::InSync, None) }]));
        assert!(is_true(&status.conditions, "Accepted") && !is_true(&status.conditions, "ResolvedRefs"));
        assert!(!is_true(&status.conditions, "Ready") && !is_true(&status.conditions, "Stalled"));
    }

    #[test]
    fn a_domains_rule_lists_the_first_mailboxes_and_counts_all() {
        let all = (0..30).map(|i| at(&format!("m{i:02}@e.com"), Outcome::InSync, Some(1))).rev().collect();
        let status = said(&RuleSeen::in_scripts(all));
        assert_eq!((status.mailboxes.len(), status.mailbox_count, status.position), (20, Some(30), Some(1)));
        assert_eq!(status.mailboxes[0], "m00@e.com");
        assert_eq!(message(&status, "Programmed"), "rule 1 of the scripts of 30 mailboxes on Mailcow");
    }

    #[test]
    fn of_several_mailboxes_the_worst_counts_and_is_counted() {
        let taken = || Outcome::stalled(Reason::FilterSlotTaken, "b@e.com has another");
        let all = vec![
            at("a@e.com", Outcome::waiting(Reason::MailboxNotReady, "a waits"), Some(1)),
            at("c@e.com", taken(), Some(2)),
            at("b@e.com", taken(), Some(1)),
        ];
        let status = said(&RuleSeen::in_scripts(all));
        assert_eq!(message(&status, "Ready"), "in 2 of 3 mailboxes, the first: b@e.com has another");
        assert_eq!(status.position, None);
    }

    #[test]
    fn without_mailboxes_a_domains_rule_is_ready_and_not_programmed() {
        let status = said(&RuleSeen::without_mailbox(None));
        assert!(is_true(&status.conditions, "Ready") && !is_true(&status.conditions, "Programmed"));
        let bad = said(&RuleSeen::without_mailbox(Some(Why::new(Reason::InvalidSpec, "bad"))));
        assert!(is_true(&bad.conditions, "Stalled"));
    }

    #[test]
    fn a_change_by_hand_that_is_left_is_told() {
        let drifted = Outcome::stalled(Reason::Drifted, "changed by hand");
        let status = said(&one(drifted, Some(1)));
        assert!(is_true(&status.conditions, "Drifted") && !is_true(&status.conditions, "Ready"));
    }
}
