//! The status of the automatic mailboxes of an `EmailDomain`.

use super::conditions::NewCondition;
use crate::crd::ProvisionedStatus;
use crate::outcome::{Reason, Why};

/// Result for the automatic mailboxes of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Provisioning {
    /// There are none.
    #[default]
    Off,
    /// The numbers.
    Known(ProvisionedStatus),
    /// Nothing is done, and why.
    Not(Why),
}

impl Provisioning {
    /// The numbers in the status; the last ones if nothing is done.
    pub(super) fn shown(&self, before: Option<&ProvisionedStatus>) -> Option<ProvisionedStatus> {
        match self {
            Self::Off => None,
            Self::Known(figures) => Some(figures.clone()),
            Self::Not(_) => before.cloned(),
        }
    }

    /// `Provisioned`.
    pub(super) fn condition(&self) -> Option<NewCondition> {
        match self {
            Self::Off => None,
            Self::Known(figures) => Some(counted(figures)),
            Self::Not(why) if why.reason == Reason::Pending => Some(NewCondition::unknown("Provisioned", why)),
            Self::Not(why) => Some(NewCondition::is_not("Provisioned", why)),
        }
    }
}

fn counted(figures: &ProvisionedStatus) -> NewCondition {
    let ProvisionedStatus { entitled, mailboxes, refused_count, refused, .. } = figures;
    let have = format!("{mailboxes} of {entitled} entitled namespaces have their EmailMailbox");
    if let Some(first) = refused.first() {
        let message = format!("{have}, {refused_count} get none; {}: {}", first.namespace, first.message);
        return NewCondition::is_not("Provisioned", &Why::new(Reason::NotAllProvisioned, message));
    }
    if mailboxes < entitled {
        return NewCondition::is_not(
            "Provisioned",
            &Why::new(Reason::Pending, format!("{have}; the others are being created")),
        );
    }
    NewCondition::is("Provisioned", Reason::Provisioned, have)
}

#[cfg(test)]
mod tests {
    use super::super::conditions::{settled, tests::request};
    use super::*;
    use crate::crd::{RefusedNamespace, RefusedReason};

    fn said(provisioning: &Provisioning) -> (String, String, String) {
        let condition = settled(&[], provisioning.condition().into_iter().collect(), &request(1)).remove(0);
        (condition.status.clone(), condition.reason.clone(), condition.message.clone())
    }

    #[test]
    fn it_is_true_when_every_entitled_namespace_has_its_mailbox() {
        let mut figures = ProvisionedStatus { entitled: 2, mailboxes: 2, ..ProvisionedStatus::default() };
        assert_eq!(said(&Provisioning::Known(figures.clone())).0, "True");
        figures.mailboxes = 1;
        assert_eq!(said(&Provisioning::Known(figures.clone())).1, "Pending");
        figures.refused_count = 1;
        figures.refused = vec![RefusedNamespace {
            namespace: "a".into(),
            reason: RefusedReason::Taken,
            message: "taken by b".into(),
        }];
        let (status, reason, message) = said(&Provisioning::Known(figures));
        assert_eq!((status.as_str(), reason.as_str()), ("False", "NotAllProvisioned"));
        assert_eq!(message, "1 of 2 entitled namespaces have their EmailMailbox, 1 get none; a: taken by b");
    }

    #[test]
    fn figures_stay_while_nothing_is_done_and_go_with_the_spec() {
        let figures = ProvisionedStatus { entitled: 2, ..ProvisionedStatus::default() };
        let off = Provisioning::Not(Why::new(Reason::FeatureDisabled, "off"));
        assert_eq!(off.shown(Some(&figures)), Some(figures.clone()));
        assert_eq!(said(&off).1, "FeatureDisabled");
        assert_eq!(Provisioning::Off.shown(Some(&figures)), None);
        assert!(Provisioning::Off.condition().is_none());
        assert_eq!(said(&Provisioning::Not(Why::new(Reason::Pending, "wait"))).0, "Unknown");
    }
}
