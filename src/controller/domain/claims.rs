//! Which of several `EmailDomain` objects of one domain has it.

use kube::ResourceExt;

use crate::controller::domain::ownership;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::crd::EmailDomain;
use crate::desired;
use crate::mail::DomainName;
use crate::outcome::{Outcome, Reason};
use crate::tenancy::{Claim, rival};

/// Stops where another object has the better claim on the domain.
///
/// # Errors
/// [`Reason::Conflict`]; an object of another namespace is not named.
pub(crate) fn is_first(ctx: &Context, object: &EmailDomain, name: &DomainName) -> Result<(), Stop> {
    let is_rival = |other: &EmailDomain| {
        let is_same = other.spec.server == object.spec.server && is_named(other, name);
        is_same && other.metadata.deletion_timestamp.is_none() && other.metadata.uid != object.metadata.uid
    };
    let rivals = ctx.stores.domains.state_filter(is_rival);
    let claims: Vec<Claim> = rivals.iter().map(|rival| claim(ctx, rival)).collect();
    let Some(better) = rival(&claim(ctx, object), &claims) else { return Ok(()) };
    let own = format!("{}/", object.namespace().unwrap_or_default());
    let who = match better.id.strip_prefix(&own) {
        Some(name) => format!("the EmailDomain {name}"),
        None => "an EmailDomain of another namespace".to_owned(),
    };
    let message = format!("{who} claimed {name} before; nothing is written for this one while that is there");
    Err(Outcome::stalled(Reason::Conflict, message).into())
}

/// Whether an object's domain has this name. Every domain asks this of all others: names are read only where they may be
/// written in several ways.
fn is_named(domain: &EmailDomain, name: &DomainName) -> bool {
    let written = &domain.spec.domain;
    if written.is_ascii() {
        return written.eq_ignore_ascii_case(name.as_str());
    }
    desired::domain_name(&domain.spec).as_ref() == Ok(name)
}

fn claim(ctx: &Context, object: &EmailDomain) -> Claim {
    Claim {
        uid: object.uid().unwrap_or_default(),
        is_held: object.status.as_ref().is_some_and(|status| status.usage.is_some()),
        is_proven: ownership::of_domain_is_proven(ctx, object).is_ok(),
        created: object.creation_timestamp().map(|time| time.0),
        id: format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any()),
    }
}
