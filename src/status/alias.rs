//! The status of an `EmailAlias`.

use std::sync::Arc;

use super::conditions::{ReconcileRequest, common, resolved, settled, synced};
use crate::crd::{EmailAliasStatus, Policies, RefusedWrite};
use crate::mail::{AliasHave, Catch};
use crate::outcome::Outcome;

/// What a pass over an alias found out.
#[derive(Clone, Debug)]
pub struct AliasSeen {
    /// Where it stands.
    pub outcome: Outcome,
    /// What Mailcow refused, in this reconcile or before.
    pub refused: Option<Box<RefusedWrite>>,
    /// The server that it is looked for on.
    pub server: String,
    /// The policies that hold for it.
    pub policies: Policies,
    /// What it catches, once its domain is known.
    pub catch: Option<Catch>,
    /// The alias on Mailcow, if it was looked up.
    pub have: Option<AliasHave>,
    /// The goto addresses outside the alias' own domain, which plain forwarding may break.
    pub external: Vec<String>,
}

/// What is said after a pass; what was not looked up keeps its last value.
pub fn alias(before: &EmailAliasStatus, seen: &AliasSeen, request: &ReconcileRequest) -> EmailAliasStatus {
    let mut after = before.clone();
    after.observed_generation = request.generation;
    after.refused.clone_from(&seen.refused);
    after.last_handled_reconcile_at.clone_from(&request.requested_at);
    let said =
        common(&seen.outcome, request.paused).into_iter().chain([resolved(&seen.outcome, &before.conditions, request)]);
    after.conditions = settled(&before.conditions, said.collect(), request);
    after.server = Some(seen.server.clone());
    after.policies = Some(seen.policies.clone());
    after.address = seen.catch.as_ref().map(ToString::to_string).or(after.address);
    after.synced_generation = synced(&seen.outcome, after.synced_generation, request);
    if let Some(have) = &seen.have {
        after.alias_id = Some(have.id);
        after.goto = have.goto.to_vec();
        after.goto_summary = summary(&after.goto);
    }
    warn_of_external(&mut after, seen);
    after
}

/// The first address, and how many more there are.
fn summary(goto: &[String]) -> Option<String> {
    let (first, more) = goto.split_first()?;
    Some(if more.is_empty() { first.clone() } else { format!("{first} +{}", more.len()) })
}

/// A plain alias to a foreign server keeps the sender's envelope: SPF fails there.
fn warn_of_external(after: &mut EmailAliasStatus, seen: &AliasSeen) {
    if seen.outcome != Outcome::InSync || seen.external.is_empty() {
        return;
    }
    if let Some(ready) = after.conditions.iter_mut().find(|c| c.type_ == "Ready") {
        Arc::make_mut(&mut ready.text).message = format!(
            "Mailcow matches the spec; mail to {} keeps the original envelope sender and may fail SPF there: use a mailbox with an EmailForwardingRule instead",
            seen.external.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::conditions::{
        ready,
        tests::{policies, request},
    };
    use super::*;

    fn seen() -> AliasSeen {
        AliasSeen {
            outcome: Outcome::InSync,
            refused: None,
            server: "default".into(),
            policies: policies(),
            catch: Some(Catch::parse("sales@example.com").unwrap()),
            have: Some(AliasHave {
                id: 7,
                catch: Catch::parse("sales@example.com").unwrap(),
                goto: ["ada@example.com".to_owned()].into(),
                active: true,
                visible_in_sogo: true,
                sender_allowed: true,
                public_comment: String::new(),
                private_comment: String::new(),
            }),
            external: vec![],
        }
    }

    #[test]
    fn the_id_and_the_addresses_come_from_mailcow() {
        let after = alias(&EmailAliasStatus::default(), &seen(), &request(1));
        assert_eq!((after.alias_id, after.goto), (Some(7), vec!["ada@example.com".to_owned()]));
        assert_eq!(after.address.as_deref(), Some("sales@example.com"));
    }

    #[test]
    fn external_addresses_bring_a_warning_and_stay_ready() {
        let warned = AliasSeen { external: vec!["x@other.org".into()], ..seen() };
        let after = alias(&EmailAliasStatus::default(), &warned, &request(1));
        let ready = ready(&after.conditions).unwrap();
        assert!(ready.status == "True" && ready.message.contains("SPF"));
    }

    #[test]
    fn a_long_list_fits_into_a_column() {
        let of = |goto: &[&str]| summary(&goto.iter().map(|to| (*to).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["ada@e.com"]).as_deref(), Some("ada@e.com"));
        assert_eq!(of(&["ada@e.com", "b@e.com", "c@e.com"]).as_deref(), Some("ada@e.com +2"));
    }
}
