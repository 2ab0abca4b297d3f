//! Our four kinds as the tools see them.

use kube::ResourceExt;

use super::arguments::Kind;
use crate::crd::{
    DeletionPolicy, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, Policies, RemovalPolicy,
    StatusCondition,
};
use crate::kubernetes::object::Object;
use crate::status::Conditioned;

/// One of our kinds.
pub(crate) trait Managed: Object + serde::Serialize {
    /// Which one.
    const WHICH: Kind;

    /// The address or the domain.
    fn address(&self) -> Option<String>;

    /// The policies in effect, once the operator has reported them.
    fn policies(&self) -> Option<&Policies>;

    /// The deletion policy of the spec.
    fn own_policy(&self) -> Option<DeletionPolicy>;

    /// What happens on Mailcow when the object is deleted, as far as it is known.
    fn deletion_policy(&self) -> Option<DeletionPolicy> {
        self.policies().map(|policies| policies.deletion.value).or_else(|| self.own_policy())
    }

    /// The conditions.
    fn conditions(&self) -> &[StatusCondition] {
        self.status().map_or(&[][..], |status| status.conditions())
    }

    /// A condition.
    fn condition(&self, type_: &str) -> Option<&StatusCondition> {
        self.conditions().iter().find(|condition| condition.type_ == type_)
    }

    /// Whether the operator has seen the latest spec.
    fn is_current(&self) -> bool {
        let ready = self.condition("Ready");
        ready.is_some_and(|ready| ready.observed_generation >= self.meta().generation)
    }

    /// Whether it is in its desired state.
    fn is_ready(&self) -> bool {
        self.is_current() && self.is_true("Ready")
    }

    /// Whether a condition is True.
    fn is_true(&self, type_: &str) -> bool {
        self.condition(type_).is_some_and(|condition| condition.status == "True")
    }

    /// The reason of `Ready`.
    fn reason(&self) -> Option<String> {
        self.condition("Ready").map(|ready| ready.reason.clone())
    }

    /// Its namespace.
    fn place(&self) -> String {
        self.namespace().unwrap_or_default()
    }
}

impl Managed for EmailDomain {
    const WHICH: Kind = Kind::EmailDomain;

    fn address(&self) -> Option<String> {
        Some(self.status.as_ref().and_then(|status| status.domain.clone()).unwrap_or_else(|| self.spec.domain.clone()))
    }

    fn policies(&self) -> Option<&Policies> {
        self.status.as_ref()?.policies.as_ref()
    }

    fn own_policy(&self) -> Option<DeletionPolicy> {
        self.spec.deletion_policy
    }
}

impl Managed for EmailMailbox {
    const WHICH: Kind = Kind::EmailMailbox;

    fn address(&self) -> Option<String> {
        self.status.as_ref()?.address.clone()
    }

    fn policies(&self) -> Option<&Policies> {
        self.status.as_ref()?.policies.as_ref()
    }

    fn own_policy(&self) -> Option<DeletionPolicy> {
        self.spec.deletion_policy
    }
}

impl Managed for EmailAlias {
    const WHICH: Kind = Kind::EmailAlias;

    fn address(&self) -> Option<String> {
        self.status.as_ref()?.address.clone()
    }

    fn policies(&self) -> Option<&Policies> {
        self.status.as_ref()?.policies.as_ref()
    }

    fn own_policy(&self) -> Option<DeletionPolicy> {
        self.spec.deletion_policy.map(removal)
    }
}

impl Managed for EmailForwardingRule {
    const WHICH: Kind = Kind::EmailForwardingRule;

    fn address(&self) -> Option<String> {
        None
    }

    fn policies(&self) -> Option<&Policies> {
        self.status.as_ref()?.policies.as_ref()
    }

    fn own_policy(&self) -> Option<DeletionPolicy> {
        self.spec.deletion_policy.map(removal)
    }
}

fn removal(policy: RemovalPolicy) -> DeletionPolicy {
    policy.into()
}

/// The Secret with the credentials of a mailbox, or the one that it will have.
pub(crate) fn credentials(mailbox: &EmailMailbox) -> String {
    let spec = &mailbox.spec;
    if let Some(given) = &spec.password_secret_ref {
        return given.name.clone();
    }
    let reported = mailbox.status.as_ref().and_then(|status| status.credentials_secret_name.clone());
    let named = || spec.credentials_secret_name.clone();
    reported.or_else(named).unwrap_or_else(|| format!("{}-mailbox", mailbox.name_any()))
}
