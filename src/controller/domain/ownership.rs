//! The proof of a domain's ownership: when it is demanded, when it is due, who waits for it.

use std::time::Duration;

use kube::ResourceExt;

use crate::config::{DnsMode, Settings};
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::crd::{EmailDomain, EmailDomainStatus, OwnershipMethod, OwnershipStatus};
use crate::desired;
use crate::dns::{self, Challenge, Claimant, Proof};
use crate::outcome::{Outcome, Reason};
use crate::status::{self, ReconcileRequest};

/// How long a lookup may take; as a whole check of records.
const LONGEST: Duration = Duration::from_secs(15);

/// Whether the domain's ownership has to be proven.
fn is_demanded(object: &EmailDomain, settings: &Settings) -> bool {
    let method = object.spec.ownership.as_ref().map(|ownership| ownership.method).unwrap_or_default();
    settings.dns.require_ownership || method == OwnershipMethod::Txt
}

/// What is known of the proof after looking, when it is time to look; `None` where none is demanded.
pub(crate) async fn check(
    ctx: &Context,
    object: &EmailDomain,
    before: &EmailDomainStatus,
    request: &ReconcileRequest,
) -> Option<OwnershipStatus> {
    let challenge = is_demanded(object, &ctx.settings).then(|| challenge(ctx, object)).flatten()?;
    let known = before.ownership.as_ref().filter(|o| o.value == challenge.value && o.name == challenge.name);
    let is_asked =
        before.last_handled_reconcile_at != request.requested_at || before.observed_generation != request.generation;
    let fresh = |o: &&OwnershipStatus| !is_asked && o.next_check.as_ref().is_some_and(|next| next.0 > request.now.0);
    if let Some(fresh) = known.filter(fresh) {
        return Some(fresh.clone());
    }
    let needs_authority = ctx.settings.dns.dns_mode == DnsMode::Authoritative;
    let question = dns::question(&challenge);
    let proof = match tokio::time::timeout(LONGEST, ctx.lookup.ask(&question)).await {
        Ok(answers) => dns::proof(&challenge, &answers, needs_authority),
        Err(_) => Proof::Unknown(format!("no answer about {} in time", challenge.name)),
    };
    let (now, jitter) = (crate::clock::now().0, rand::random_range(-1.0..1.0));
    Some(dns::settle_ownership(known, challenge, proof, now, jitter))
}

fn challenge(ctx: &Context, object: &EmailDomain) -> Option<Challenge> {
    let domain = desired::domain_name(&object.spec).ok()?;
    let (namespace, name, uid) = (object.namespace()?, object.name_any(), object.uid()?);
    let claimant = Claimant { cluster: &ctx.cluster, namespace: &namespace, name: &name, uid: &uid };
    Some(dns::challenge(&domain, claimant))
}

/// Stops until the ownership is proven.
///
/// # Errors
/// [`Reason::OwnershipNotVerified`].
pub(crate) fn is_proven(ownership: Option<&OwnershipStatus>) -> Result<(), Stop> {
    let Some(open) = ownership.filter(|ownership| !ownership.verified) else { return Ok(()) };
    let message = format!(
        "nothing is written to Mailcow until the TXT record {} with the value {:?} is in DNS: {}",
        open.name, open.value, open.message
    );
    Err(Outcome::waiting(Reason::OwnershipNotVerified, message).into())
}

/// Stops what belongs to a domain until the domain's ownership is proven.
///
/// # Errors
/// [`Reason::OwnershipNotVerified`].
pub(crate) fn of_domain_is_proven(ctx: &Context, domain: &EmailDomain) -> Result<(), Stop> {
    let conditions = domain.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if !is_demanded(domain, &ctx.settings) || status::is_true(conditions, "OwnershipVerified") {
        return Ok(());
    }
    let message = format!(
        "the ownership of the EmailDomain {} is not proven; its status.ownership names the TXT record to publish",
        domain.name_any()
    );
    Err(Outcome::waiting(Reason::OwnershipNotVerified, message).into())
}

/// How long until the next check.
pub(crate) fn wait(ownership: Option<&OwnershipStatus>, request: &ReconcileRequest) -> Duration {
    let next = ownership.and_then(|ownership| ownership.next_check.as_ref());
    let until = next.map(|next| next.0.duration_since(request.now.0));
    until.map_or(Duration::MAX, |until| Duration::try_from(until).unwrap_or_default().max(Duration::from_secs(1)))
}
