//! Which of several `EmailDomain` objects of one domain owns it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::controller::domain::ownership;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::controller::driver::index::Key;
use crate::crd::{ClaimStatus, EmailDomain};
use crate::desired;
use crate::mail::{DomainName, sha256};
use crate::outcome::{Outcome, Reason};
use crate::tenancy::{Claim, Standing, WaitsFor, standing, waits_for};

/// Stops if another object has the better claim on the domain.
///
/// # Errors
/// [`Reason::Conflict`]; an object of another namespace is not named.
pub(crate) fn is_first(
    ctx: &Context,
    object: &EmailDomain,
    name: &DomainName,
    waits: &mut Option<ClaimStatus>,
) -> Result<(), Stop> {
    let is_rival = |other: &EmailDomain| {
        let may_use = ctx.settings.may_use_server(&other.spec.server, other.metadata.namespace.as_deref());
        let is_same = other.spec.server == object.spec.server
            && may_use
            && desired::domain_name(&other.spec).as_ref() == Ok(name);
        is_same && other.metadata.deletion_timestamp.is_none() && other.metadata.uid != object.metadata.uid
    };
    let rivals: Vec<_> = ctx.stores.domains.by_keys(Key::DomainName(name.as_str()), is_rival).collect();
    let claims: Vec<Claim> = rivals.iter().map(|rival| claim(ctx, rival)).collect();
    let own = Claim { waits_for: waits.as_ref().map(remembered), ..claim(ctx, object) };
    let better = match standing(&own, &claims, crate::clock::now().0) {
        Standing::First => {
            *waits = None;
            return Ok(());
        }
        Standing::Kept(kept) => {
            *waits = Some(reported(kept));
            let message = format!(
                "{name} recently belonged to another namespace and is reserved for it for 15 minutes; after that this EmailDomain gets it, unless that namespace claims it again"
            );
            return Err(Outcome::waiting(Reason::Conflict, message).into());
        }
        Standing::Rival(better) => better,
    };
    *waits = waits_for(&own, better).map(reported);
    let own = format!("{}/", object.namespace().unwrap_or_default());
    let who = match better.id.strip_prefix(&own) {
        Some(name) => format!("the EmailDomain {name}"),
        None => "an EmailDomain of another namespace".to_owned(),
    };
    let message =
        format!("{who} already claims {name}; nothing is written for this EmailDomain until the other one is deleted");
    Err(Outcome::stalled(Reason::Conflict, message).into())
}

fn claim(ctx: &Context, object: &EmailDomain) -> Claim {
    // Use the object as it was last written: in the store, a domain that was just created has no owner yet.
    let status = ctx.writer.known_status(object);
    Claim {
        uid: object.uid().unwrap_or_default(),
        namespace: digest(ctx, &object.namespace().unwrap_or_default()),
        waits_for: status.claim.as_ref().map(remembered),
        is_held: status.usage.is_some(),
        is_proven: ownership::of_domain_is_proven(ctx, object).is_ok(),
        created: object.creation_timestamp().map(|time| time.0),
        id: format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any()),
    }
}

/// What a status says about the namespace that a claim waits for.
fn reported(waits: WaitsFor) -> ClaimStatus {
    ClaimStatus { namespace_digest: waits.namespace, kept_until: waits.until.map(Time) }
}

/// The namespace that a claim waits for, from its status.
fn remembered(status: &ClaimStatus) -> WaitsFor {
    WaitsFor { namespace: status.namespace_digest.clone(), until: status.kept_until.as_ref().map(|until| until.0) }
}

/// A digest of a namespace for statuses that other namespaces can read: its name is confidential. Its uid, which others
/// can't read, keeps them from trying names. Without rights to read namespaces it is unknown.
fn digest(ctx: &Context, namespace: &str) -> String {
    let uid = ctx.stores.namespace(namespace).and_then(|namespace| namespace.metadata.uid.clone());
    sha256(&format!("{}/{namespace}/{}", ctx.cluster, uid.unwrap_or_default())).chars().take(16).collect()
}
