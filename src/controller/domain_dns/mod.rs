//! The driver of a domain's DNS: proof of ownership, verification of its records, and publishing. It has its own queue,
//! so that slow name servers don't delay Mailcow's drivers.

pub(crate) mod endpoints;
pub(crate) mod ownership;
pub(crate) mod publish;
pub(crate) mod published;
pub(crate) mod verification;

use std::sync::Arc;

use crate::controller::driver::action::Action;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Failed;
use crate::crd::EmailDomain;
use crate::kubernetes::object::{key, request};
use crate::outcome::{Outcome, Reason};
use crate::status::{self, DomainDnsSeen, Publishing};

/// One reconcile of a domain's DNS.
///
/// # Errors
/// When the status can't be written.
pub(crate) async fn reconcile(object: Arc<EmailDomain>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    let request = request(object.as_ref());
    let before = ctx.writer.known_status(object.as_ref());
    if object.metadata.deletion_timestamp.is_some() || !status::is_reported(&before.conditions) {
        return Ok((Action::await_change(), Outcome::InSync));
    }
    let wanted = verification::wanted(&object, &ctx, &before);
    let (ownership, records) = tokio::join!(
        ownership::check(&ctx, &object, &before, &request),
        verification::records(wanted.as_ref(), &ctx, &before, &request),
    );
    // Only for a domain of ours that was just seen: records of another owner's domain are not published.
    let published =
        publish::publish(&ctx, &object, &before, wanted.as_ref().filter(|_| status::is_ours(&before))).await;
    let seen = DomainDnsSeen { records, ownership, published };
    ctx.writer.change_status(object.as_ref(), |now| status::domain_dns(now, &seen, &request)).await?;
    let outcome = outcome(&seen.published);
    let next = ctx.next_of(&format!("DNS of {}", key(object.as_ref())), &outcome);
    let next = next.min(verification::wait(&seen.records, &request));
    let next = next.min(ownership::wait(seen.ownership.as_ref(), &request));
    Ok((Action::requeue(next.min(publish::wait(&seen.published))), outcome))
}

/// Why the records are not published, if so. A bad DNS verdict is not a failed reconcile.
fn outcome(published: &Publishing) -> Outcome {
    match published {
        Publishing::Off | Publishing::Done(..) => Outcome::InSync,
        Publishing::Not(_, why) if why.reason == Reason::KubernetesApiError => Outcome::Unknown(why.clone()),
        Publishing::Not(_, why) if why.reason == Reason::RefusedByKubernetes => Outcome::Stalled(why.clone()),
        Publishing::Not(_, why) => Outcome::Waiting(why.clone()),
    }
}
