//! The proof of a domain's ownership: when it is checked, and what is stored.

use std::time::Duration;

use crate::config::DnsMode;
use crate::controller::domain::ownership::{challenge, known};
use crate::controller::domain_dns::verification::is_asked;
use crate::controller::driver::context::Context;
use crate::crd::{EmailDomain, EmailDomainStatus, OwnershipStatus};
use crate::dns::{self, Proof};
use crate::status::ReconcileRequest;

/// The limit for a lookup, the same as for a whole check of records.
const LONGEST: Duration = Duration::from_secs(15);

/// The state of the proof, after a check if one is due; `None` if no proof is required.
pub(crate) async fn check(
    ctx: &Context,
    object: &EmailDomain,
    before: &EmailDomainStatus,
    request: &ReconcileRequest,
) -> Option<OwnershipStatus> {
    let challenge = challenge(ctx, object)?;
    let known = known(before, &challenge);
    let is_asked = is_asked(before, request);
    let fresh = |o: &&OwnershipStatus| !is_asked && o.next_check.as_ref().is_some_and(|next| next.0 > request.now.0);
    if let Some(fresh) = known.filter(fresh) {
        return Some(fresh.clone());
    }
    let needs_authority = ctx.settings.dns.dns_mode == DnsMode::Authoritative;
    let question = dns::question(&challenge);
    let proof = match tokio::time::timeout(LONGEST, ctx.lookup.ask(&question)).await {
        Ok(answers) => dns::proof(&challenge, &answers, needs_authority),
        Err(_) => Proof::Unknown(format!("no answer for {} in time", challenge.name)),
    };
    let (now, jitter) = (crate::clock::now().0, rand::random_range(-1.0..1.0));
    Some(dns::settle_ownership(known, challenge, proof, now, jitter))
}

/// How long until the next check.
pub(crate) fn wait(ownership: Option<&OwnershipStatus>, request: &ReconcileRequest) -> Duration {
    let next = ownership.and_then(|ownership| ownership.next_check.as_ref());
    let until = next.map(|next| next.0.duration_since(request.now.0));
    until.map_or(Duration::MAX, |until| Duration::try_from(until).unwrap_or_default().max(Duration::from_secs(1)))
}
