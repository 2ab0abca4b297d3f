//! The status of an `EmailForwardingRule`.

use super::conditions::{Pass, Said, common, resolved, settled};
use crate::crd::EmailForwardingRuleStatus;
use crate::mail::Address;
use crate::outcome::{Outcome, Reason, Why};

/// What a pass over a rule found out.
#[derive(Clone, Debug, Default)]
pub struct RuleSeen {
    /// Where it stands.
    pub outcome: Outcome,
    /// Why the rule itself can't be taken, if so.
    pub refused: Option<Why>,
    /// The mailbox, once it is known.
    pub mailbox: Option<Address>,
    /// Its place in the script, from 1.
    pub position: Option<u32>,
    /// The rule that takes all its mail before it, as `namespace/name`.
    pub shadowed_by: Option<String>,
    /// SHA-256 of the script on Mailcow.
    pub script_hash: Option<String>,
}

/// What is said after a pass.
pub fn rule(before: &EmailForwardingRuleStatus, seen: &RuleSeen, pass: &Pass) -> EmailForwardingRuleStatus {
    let mut after = before.clone();
    after.observed_generation = pass.generation;
    after.last_handled_reconcile_at.clone_from(&pass.requested_at);
    let said = common(&seen.outcome, pass.paused).into_iter().chain(own(seen));
    after.conditions = settled(&before.conditions, said.collect(), pass);
    // One that is gone is remembered: its script is still on Mailcow, and the rule's removal has to find it.
    if let Some(mailbox) = &seen.mailbox {
        after.mailboxes = vec![mailbox.to_string()];
    }
    if !matches!(seen.outcome, Outcome::Unknown(_)) {
        after.position = seen.position;
        after.shadowed_by.clone_from(&seen.shadowed_by);
        after.script_hash.clone_from(&seen.script_hash);
    }
    after
}

/// `Accepted`, `ResolvedRefs` and `Programmed`.
fn own(seen: &RuleSeen) -> Vec<Said> {
    let accepted = match &seen.refused {
        Some(why) => Said::is_not("Accepted", why),
        None => Said::is("Accepted", Reason::Accepted, "the rule is valid"),
    };
    let resolved = resolved(&seen.outcome);
    let programmed = match (&seen.outcome, seen.position) {
        (Outcome::InSync, Some(position)) => {
            Said::is("Programmed", Reason::Programmed, format!("rule {position} of the mailbox's script on Mailcow"))
        }
        (Outcome::InSync, None) => Said::is_not(
            "Programmed",
            &Why::new(Reason::Disabled, "the rule is switched off and left out of the script"),
        ),
        (Outcome::Unknown(why), _) => Said::unknown("Programmed", why),
        (Outcome::Waiting(why) | Outcome::Stalled(why), _) => Said::is_not("Programmed", why),
    };
    vec![accepted, resolved, programmed]
}

#[cfg(test)]
mod tests {
    use super::super::conditions::{is_true, tests::pass};
    use super::*;

    fn seen(outcome: Outcome, position: Option<u32>) -> RuleSeen {
        RuleSeen { outcome, refused: None, mailbox: None, position, shadowed_by: None, script_hash: None }
    }

    fn said(seen: &RuleSeen) -> EmailForwardingRuleStatus {
        rule(&EmailForwardingRuleStatus::default(), seen, &pass(1))
    }

    #[test]
    fn a_rule_in_the_script_is_programmed() {
        let status = said(&seen(Outcome::InSync, Some(2)));
        assert!(["Ready", "Accepted", "ResolvedRefs", "Programmed"].iter().all(|c| is_true(&status.conditions, c)));
    }

    #[test]
    fn a_disabled_rule_is_ready_and_not_programmed() {
        let status = said(&seen(Outcome::InSync, None));
        assert!(is_true(&status.conditions, "Ready") && !is_true(&status.conditions, "Programmed"));
    }

    #[test]
    fn a_missing_mailbox_is_an_unresolved_reference() {
        let status = said(&seen(Outcome::waiting(Reason::MailboxNotFound, "no mailbox"), None));
        assert!(!is_true(&status.conditions, "ResolvedRefs") && is_true(&status.conditions, "Accepted"));
    }

    #[test]
    fn the_mailbox_is_remembered_when_its_object_is_gone() {
        let known = RuleSeen { mailbox: Address::parse("ada@example.com").ok(), ..seen(Outcome::InSync, Some(1)) };
        let gone = seen(Outcome::waiting(Reason::MailboxNotFound, "no mailbox"), None);
        assert_eq!(rule(&said(&known), &gone, &pass(1)).mailboxes, ["ada@example.com"]);
    }

    #[test]
    fn an_invalid_rule_is_not_accepted() {
        let why = Why::new(Reason::InvalidSpec, "bad regex");
        let refused = RuleSeen { refused: Some(why.clone()), ..seen(Outcome::Stalled(why), None) };
        assert!(!is_true(&said(&refused).conditions, "Accepted"));
    }
}
