//! What a mailbox may send as: only what its own namespace owns on the server. Entries that no object owns may still
//! belong to somebody: created by hand, an alias domain, another cluster.

use std::collections::BTreeMap;

use crate::crd::StatusCondition;
use crate::mail::{Address, Catch, DomainName};
use crate::outcome::Reason;

/// How certain it is that an object owns its entry on Mailcow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// It waits for something and does not own it yet.
    Wanted,
    /// It owned it when Mailcow last answered.
    Perhaps,
    /// Mailcow shows the object's ownership mark.
    Surely,
}

/// Problems that say nothing against the ownership.
const HARMLESS: [Reason; 15] = [
    Reason::Drifted,
    Reason::FieldNotApplied,
    Reason::FieldNotSupported,
    Reason::DkimKeyDiffers,
    Reason::RefusedByMailcow,
    Reason::RefusedByKubernetes,
    Reason::Paused,
    Reason::PasswordRejected,
    Reason::PasswordManagedElsewhere,
    Reason::SecretNotFound,
    Reason::SecretKeyInvalid,
    Reason::SecretNotOurs,
    Reason::SenderNotFound,
    Reason::SenderNotAllowed,
    Reason::NamespaceLimitReached,
];

/// Whether an object owns its entry on Mailcow, according to its conditions. `was_seen` is whether its status shows the
/// entry. `None` if somebody has to act first.
pub fn held(conditions: &[StatusCondition], was_seen: bool) -> Option<Held> {
    let synced = conditions.iter().find(|condition| condition.type_ == "Synced");
    let is_harmless = |synced: &&StatusCondition| HARMLESS.iter().any(|reason| reason.as_str() == synced.reason);
    let is_stalled = conditions.iter().any(|condition| condition.type_ == "Stalled" && condition.status == "True");
    match synced {
        Some(synced) if was_seen && (synced.status == "True" || is_harmless(&synced)) => Some(Held::Surely),
        Some(synced) if was_seen && synced.status == "Unknown" => Some(Held::Perhaps),
        _ if is_stalled => None,
        _ => Some(Held::Wanted),
    }
}

/// What a namespace owns on one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Its domains.
    pub domains: BTreeMap<DomainName, Held>,
    /// Its mailboxes and aliases, without catch-alls.
    pub addresses: BTreeMap<Address, Held>,
    /// Whether it is a platform namespace, which may send as anybody.
    pub is_platform: bool,
}

/// The answer to: may a mailbox send as this entry?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaySend {
    /// Yes.
    Yes,
    /// Yes, once its namespace owns the entry on Mailcow.
    NotYet,
    /// No.
    No,
}

impl Holdings {
    /// Adds a domain.
    pub fn add_domain(&mut self, name: DomainName, held: Held) {
        let known = self.domains.entry(name).or_insert(held);
        *known = held.max(*known);
    }

    /// Adds an address.
    pub fn add_address(&mut self, address: Address, held: Held) {
        let known = self.addresses.entry(address).or_insert(held);
        *known = held.max(*known);
    }

    /// Whether a mailbox of the namespace may send as `entry`: an address, `@domain` or `*`. `own` is its own address.
    /// `had` is whether the entry was granted before.
    pub fn may_send(&self, entry: &str, own: &Address, had: bool) -> MaySend {
        if self.is_platform {
            return MaySend::Yes;
        }
        let held = match Catch::parse(entry) {
            Err(_) => None,
            Ok(Catch::One(address)) if address == *own => Some(Held::Surely),
            Ok(Catch::One(address)) => {
                let by_domain = self.domains.get(address.domain()).copied();
                self.addresses.get(&address).copied().max(by_domain)
            }
            Ok(Catch::All(domain)) => self.domains.get(&domain).copied(),
        };
        match held {
            Some(Held::Surely) => MaySend::Yes,
            Some(Held::Perhaps) if had => MaySend::Yes,
            Some(Held::Perhaps | Held::Wanted) => MaySend::NotYet,
            None => MaySend::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock;
    use crate::crd::ConditionText;

    fn conditions(said: &[(&str, &str, Reason)]) -> Vec<StatusCondition> {
        let condition = |(kind, status, reason): &(&str, &str, Reason)| StatusCondition {
            last_transition_time: clock::now(),
            observed_generation: None,
            text: Arc::new(ConditionText {
                message: String::new(),
                reason: reason.as_str().into(),
                status: (*status).into(),
                type_: (*kind).into(),
            }),
        };
        said.iter().map(condition).collect()
    }

    #[test]
    fn an_object_has_what_mailcow_last_showed_as_its_own() {
        let stalled = |reason| conditions(&[("Synced", "False", reason), ("Stalled", "True", reason)]);
        let waiting = |reason| conditions(&[("Synced", "False", reason), ("Reconciling", "True", reason)]);
        for (said, was_seen, expected) in [
            (conditions(&[("Synced", "True", Reason::InSync)]), true, Some(Held::Surely)),
            (stalled(Reason::Drifted), true, Some(Held::Surely)),
            (waiting(Reason::Paused), true, Some(Held::Surely)),
            (waiting(Reason::SecretNotFound), true, Some(Held::Surely)),
            (waiting(Reason::SecretNotFound), false, Some(Held::Wanted)),
            (conditions(&[("Synced", "Unknown", Reason::MailcowUnreachable)]), true, Some(Held::Perhaps)),
            (conditions(&[("Synced", "Unknown", Reason::MailcowUnreachable)]), false, Some(Held::Wanted)),
            (stalled(Reason::OwnedByAnother), true, None),
            (stalled(Reason::Conflict), true, None),
            (waiting(Reason::OwnershipNotVerified), true, Some(Held::Wanted)),
            (waiting(Reason::NamespaceNotAllowed), true, Some(Held::Wanted)),
            (waiting(Reason::Conflict), true, Some(Held::Wanted)),
            (vec![], false, Some(Held::Wanted)),
        ] {
            assert_eq!(held(&said, was_seen), expected, "{said:?}");
        }
    }

    #[test]
    fn a_mailbox_sends_as_what_its_namespace_has_and_as_nothing_else() {
        let mut holdings = Holdings::default();
        let address = |text: &str| Address::parse(text).unwrap();
        let domain = |text: &str| DomainName::parse(text).unwrap();
        holdings.add_domain(domain("own.example"), Held::Surely);
        holdings.add_domain(domain("own.example"), Held::Wanted);
        holdings.add_domain(domain("new.example"), Held::Wanted);
        holdings.add_domain(domain("down.example"), Held::Perhaps);
        holdings.add_address(address("sales@shared.example"), Held::Surely);
        let own = address("ada@shared.example");
        for (entry, had, expected) in [
            ("*", false, MaySend::No),
            ("*", true, MaySend::No),
            ("@own.example", false, MaySend::Yes),
            ("anything@own.example", false, MaySend::Yes),
            ("@new.example", true, MaySend::NotYet),
            ("@down.example", true, MaySend::Yes),
            ("@down.example", false, MaySend::NotYet),
            ("sales@shared.example", false, MaySend::Yes),
            ("ada@shared.example", false, MaySend::Yes),
            ("boss@shared.example", false, MaySend::No),
            ("@shared.example", true, MaySend::No),
            ("@nobodys.example", false, MaySend::No),
            ("x@sub.own.example", false, MaySend::No),
            ("no address", true, MaySend::No),
        ] {
            assert_eq!(holdings.may_send(entry, &own, had), expected, "{entry} {had}");
        }
        let platform = Holdings { is_platform: true, ..Holdings::default() };
        assert_eq!(platform.may_send("*", &own, false), MaySend::Yes);
    }
}
