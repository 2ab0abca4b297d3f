//! Whether an automatic mailbox may use its domain.

use kube::ResourceExt;

use super::provision::{Claims, Facts, is_entitled, is_of, name_of};
use super::provisioned::{is_placed, name};
use crate::crd::{EmailMailbox, MailboxState, WhenRevoked};

/// The rights of an automatic mailbox in its domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entitlement {
    /// It may use the domain.
    Admitted,
    /// Its namespace is no longer entitled, and its login will be disabled.
    Leaving,
    /// It may not use the domain: the domain did not create it, or would not.
    Refused,
}

/// Whether a mailbox may use the domain because it is an automatic one, although its namespace is not allowed. Its
/// labels and its `system` prove nothing: it must have the name and the address that the domain would give it, and a
/// namespace that is entitled or was when it got them.
pub fn entitlement(facts: &Facts<'_>, mailbox: &EmailMailbox) -> Entitlement {
    let Some(spec) = &facts.domain.spec.auto_provision else { return Entitlement::Refused };
    let mut namespaces = facts.namespaces.iter().map(|namespace| &namespace.metadata);
    let Some(namespace) = namespaces.find(|there| Some(name_of(there)) == mailbox.metadata.namespace.as_deref()) else {
        return Entitlement::Refused;
    };
    if !mailbox.spec.system || mailbox.name_any() != name(facts.domain) || !is_of(facts.domain, mailbox) {
        return Entitlement::Refused;
    }
    let is_entitled = is_entitled(spec, namespace);
    if !is_placed(mailbox) {
        let is_granted = is_entitled && Claims::of(facts, spec).judge(namespace).is_ok();
        return if is_granted { Entitlement::Admitted } else { Entitlement::Refused };
    }
    let is_off = mailbox.spec.state != MailboxState::Active;
    let stays = is_entitled || is_off || spec.when_revoked == WhenRevoked::Keep;
    if stays { Entitlement::Admitted } else { Entitlement::Leaving }
}
