//! Stops reconciles until the ownership of a domain is proven. [`crate::controller::domain_dns`] asks DNS for the
//! proof.

use kube::ResourceExt;

use crate::config::Settings;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::crd::{EmailDomain, EmailDomainStatus, OwnershipMethod, OwnershipStatus};
use crate::desired;
use crate::dns::{self, Challenge, Claimant};
use crate::outcome::{Outcome, Reason};
use crate::status;

/// Whether the domain's ownership has to be proven.
fn is_demanded(object: &EmailDomain, settings: &Settings) -> bool {
    let method = object.spec.ownership.as_ref().map(|ownership| ownership.method).unwrap_or_default();
    settings.dns.require_ownership || method == OwnershipMethod::Txt
}

/// The record that proves the ownership; `None` if no proof is required.
pub(crate) fn challenge(ctx: &Context, object: &EmailDomain) -> Option<Challenge> {
    if !is_demanded(object, &ctx.settings) {
        return None;
    }
    let domain = desired::domain_name(&object.spec).ok()?;
    let (namespace, name, uid) = (object.namespace()?, object.name_any(), object.uid()?);
    let claimant = Claimant { cluster: &ctx.cluster, namespace: &namespace, name: &name, uid: &uid };
    Some(dns::challenge(&domain, claimant))
}

/// The status of this record.
pub(crate) fn known<'a>(status: &'a EmailDomainStatus, challenge: &Challenge) -> Option<&'a OwnershipStatus> {
    status.ownership.as_ref().filter(|known| known.value == challenge.value && known.name == challenge.name)
}

/// Stops until the ownership is proven.
///
/// # Errors
/// [`Reason::OwnershipNotVerified`].
pub(crate) fn is_proven(ctx: &Context, object: &EmailDomain, before: &EmailDomainStatus) -> Result<(), Stop> {
    let Some(challenge) = challenge(ctx, object) else { return Ok(()) };
    let known = known(before, &challenge);
    if known.is_some_and(|known| known.verified) {
        return Ok(());
    }
    let why = known.map_or("it was not checked yet", |known| known.message.as_str());
    let message = format!(
        "the ownership is not proven: publish the TXT record {} with the value {:?}; until then nothing is written to Mailcow ({why})",
        challenge.name, challenge.value
    );
    Err(Outcome::waiting(Reason::OwnershipNotVerified, message).into())
}

/// Stops what belongs to a domain until its ownership is proven.
///
/// # Errors
/// [`Reason::OwnershipNotVerified`].
pub(crate) fn of_domain_is_proven(ctx: &Context, domain: &EmailDomain) -> Result<(), Stop> {
    let conditions = domain.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if !is_demanded(domain, &ctx.settings) || status::is_true(conditions, "OwnershipVerified") {
        return Ok(());
    }
    let message = format!(
        "the ownership of the EmailDomain {} is not proven; publish the TXT record in its status.ownership",
        domain.name_any()
    );
    Err(Outcome::waiting(Reason::OwnershipNotVerified, message).into())
}
