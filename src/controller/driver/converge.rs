//! The steps between plan and read-back that the drivers share.

use k8s_openapi::jiff::SignedDuration;
use kube::Resource;
use secrecy::SecretString;
use std::sync::Arc;

use crate::controller::driver::action::Action;
use crate::controller::driver::context::Context;
use crate::crd::{CONFIRM_DELETE, EmailDomain, FORCE_ORPHAN, RefusedWrite, StatusCondition as Condition};
use crate::inventory::{Age, Inventory};
use crate::kubernetes::object::Object;
use crate::kubernetes::object::{annotation, has_finalizer, is_paused, key, request};
use crate::kubernetes::refusal;
use crate::mail::{DomainName, Feature, Version, sha256};
use crate::mailcow;
use crate::outcome::{Outcome, Reason, Why};
use crate::plan::Change;
use crate::status::Occurrence;

/// After this many empty answers in a row, a write is retried only once an hour.
const UNANSWERED: u32 = 8;

/// The Kubernetes API failed; the reconcile is retried with back-off.
#[derive(Debug, thiserror::Error)]
#[error("the Kubernetes API failed: {0}")]
pub(crate) struct Failed(#[from] Box<kube::Error>);

impl Failed {
    /// Whether the API answered, with an error; otherwise it could not be reached.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(*self.0, kube::Error::Api(_))
    }
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self(Box::new(error))
    }
}

/// Why a reconcile stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An outcome for the status.
    Outcome(Outcome),
    /// A failure of the API that would store the status.
    Failed(Failed),
}

impl<T: Into<Outcome>> From<T> for Stop {
    fn from(outcome: T) -> Self {
        Self::Outcome(outcome.into())
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl Stop {
    /// Whether the object waits for something.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Outcome(Outcome::Waiting(_)))
    }

    /// From an error of the Kubernetes API, so that the status reports it with everything found before.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(crate) fn api(error: kube::Error) -> Self {
        Self::Outcome(refusal::outcome(&error))
    }
}

/// The outcome of steps that may have stopped.
///
/// # Errors
/// When the Kubernetes API failed.
pub(crate) fn outcome(steps: Result<(), Stop>) -> Result<Outcome, Failed> {
    match steps {
        Ok(()) => Ok(Outcome::InSync),
        Err(Stop::Outcome(outcome)) => Ok(outcome),
        Err(Stop::Failed(failed)) => Err(failed),
    }
}

/// The server with this name, or why there is none.
///
/// # Errors
/// Why there is none.
pub(crate) fn server(ctx: &Context, name: &str) -> Result<Arc<Inventory>, Stop> {
    ctx.servers.get(name).map_err(Stop::Outcome)
}

/// The domain's server, if the domain's namespace may use it.
///
/// # Errors
/// Why there is none.
pub(crate) fn server_of(ctx: &Context, domain: &EmailDomain) -> Result<Arc<Inventory>, Stop> {
    let namespace = domain.metadata.namespace.as_deref();
    let may_use = |server: &str| ctx.settings.may_use_server(server, namespace);
    if !may_use(&domain.spec.server) || !ctx.servers.names().any(|name| name == domain.spec.server) {
        return Err(ctx.servers.unknown(&domain.spec.server, may_use).into());
    }
    server(ctx, &domain.spec.server)
}

/// What a write depends on, in addition to its content.
pub(crate) struct DependsOn<'a> {
    /// The domain with the limits.
    pub(crate) domain: &'a DomainName,
    /// The generation of the domain's object.
    pub(crate) domain_generation: Option<i64>,
    /// The version of the Secret with the password.
    pub(crate) password_version: Option<&'a str>,
}

/// Applies the changes, and returns whether anything was written. Writes nothing while the object is paused, if Mailcow
/// accepted the same fields of the same spec before without applying them, or if it `refused` the same within a day and
/// nothing changed that the write depends on.
///
/// # Errors
/// [`Stop`] when it can't be done.
pub(crate) async fn apply<K: Object>(
    ctx: &Context,
    server: &Inventory,
    object: &K,
    conditions: &[Condition],
    refused: &mut Option<Box<RefusedWrite>>,
    depends_on: &DependsOn<'_>,
    changes: &[Change],
    password: Option<&SecretString>,
) -> Result<bool, Stop> {
    if changes.is_empty() {
        *refused = None;
        ctx.writer.add_finalizer(object).await.map_err(Stop::api)?;
        return Ok(false);
    }
    if is_paused(object) {
        let message = format!("paused; not written: {}", fields(changes));
        return Err(Outcome::Waiting(Why::new(Reason::Paused, message)).into());
    }
    let stuck = not_applied(changes);
    if conditions.iter().any(|c| is_same_stall(c, object, &stuck)) {
        return Err(stuck.into());
    }
    if let Some(before) = refused.as_ref().filter(|before| is_left_alone(before))
        && before.digest == digest(server, object, depends_on, changes).await?
    {
        let reasons = [Reason::RefusedByMailcow, Reason::PasswordRejected, Reason::UnexpectedAnswer];
        let reason = reasons.into_iter().find(|reason| reason.as_str() == before.reason);
        return Err(Outcome::stalled(reason.unwrap_or(Reason::RefusedByMailcow), before.message.clone()).into());
    }
    let rebuilds = changes.iter().any(mailcow::rebuilds);
    if rebuilds && !ctx.rebuilds.may_follow(object) {
        let message = format!(
            "the previous write of this object was a moment ago and keeps Mailcow busy; the next one follows in a few seconds: {}",
            fields(changes)
        );
        return Err(Outcome::waiting(Reason::WrittenLately, message).into());
    }
    ctx.writer.add_finalizer(object).await.map_err(Stop::api)?;
    tracing::info!(fields = fields(changes), "writing to Mailcow");
    let done = server.execute(changes, password).await;
    if rebuilds {
        ctx.rebuilds.written(object);
    }
    match done {
        Ok(()) => {
            *refused = None;
            Ok(true)
        }
        Err(error) if is_of_something_missing(&error) => {
            let message = format!("{error}; the operator checks the result and retries");
            Err(Outcome::Unknown(Why::new(error.reason(), message)).into())
        }
        Err(error) if is_worth_remembering(&error) => {
            *refused = Some(Box::new(RefusedWrite {
                digest: digest(server, object, depends_on, changes).await?,
                reason: error.reason().as_str().to_owned(),
                message: error.to_string(),
                time: crate::clock::now(),
                unanswered: None,
            }));
            Err(error.into())
        }
        Err(error @ mailcow::Error::OutcomeUnknown { is_empty: true, .. }) => {
            let digest = digest(server, object, depends_on, changes).await?;
            let same = refused.as_ref().filter(|before| before.digest == digest);
            let count = same.and_then(|before| before.unanswered).unwrap_or(0) + 1;
            *refused = Some(Box::new(RefusedWrite {
                digest,
                reason: Reason::UnexpectedAnswer.as_str().to_owned(),
                message: format!(
                    "Mailcow gave an empty answer to this write {count} times and does not show its result: {}. The operator retries it in an hour, or when the spec changes; check the log of PHP on Mailcow",
                    fields(changes)
                ),
                time: crate::clock::now(),
                unanswered: Some(count),
            }));
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether Mailcow refused because of a missing entry that existed at the last read or is being created: a domain that
/// is recreated, or a mailbox that was just deleted (recordings `04_mailbox/add_domain_missing`,
/// `05_alias/add_domain_missing`).
fn is_of_something_missing(error: &mailcow::Error) -> bool {
    matches!(error, mailcow::Error::Refused { code, .. } if code == "access_denied" || code == "domain_not_found")
}

/// Whether Mailcow would refuse the same write again until something changes. Trouble of Mailcow's database is
/// temporary.
fn is_worth_remembering(error: &mailcow::Error) -> bool {
    matches!(error, mailcow::Error::Refused { code, .. } if code != "mysql_error")
}

/// Whether a write has to wait: for a day after Mailcow refused it, for an hour after repeated empty answers.
fn is_left_alone(before: &RefusedWrite) -> bool {
    let age = crate::clock::now().0.duration_since(before.time.0);
    match before.unanswered {
        None => age < SignedDuration::from_hours(24),
        Some(count) => count >= UNANSWERED && age < SignedDuration::from_hours(1),
    }
}

/// A digest of the write and of what it depends on.
async fn digest(
    server: &Inventory,
    object: &impl Resource<DynamicType = ()>,
    depends_on: &DependsOn<'_>,
    changes: &[Change],
) -> Result<String, Stop> {
    let request = request(object);
    let domain = server.domain(depends_on.domain, Age::Recent).await?;
    let domain = domain.map(|have| (have.active, have.limits, have.quota_left, have.mailboxes, have.aliases));
    let DependsOn { domain_generation, password_version, .. } = depends_on;
    let all = (request.generation, request.requested_at, domain, domain_generation, password_version, changes);
    Ok(sha256(&format!("{all:?}")).chars().take(16).collect())
}

/// How recent the data of Mailcow must be: for a changed spec or a request it is read now.
pub(crate) fn age(object: &impl Resource<DynamicType = ()>, observed: Option<i64>, handled: Option<&str>) -> Age {
    let request = request(object);
    // A new object has no status, or the default of its CRD.
    let is_changed = observed.is_some_and(|observed| observed > 0 && Some(observed) != request.generation);
    let is_requested = handled != request.requested_at.as_deref();
    if is_changed || is_requested { Age::Now } else { Age::Recent }
}

/// Ends a reconcile that wrote everything it may; reports the rest.
///
/// # Errors
/// What is reported.
pub(crate) fn report_rest(left: impl IntoIterator<Item = Outcome>) -> Result<(), Stop> {
    left.into_iter().next().map_or(Ok(()), |outcome| Err(outcome.into()))
}

/// Reports that the server's version lacks a field; `None` if it has the field, or its version is not a release.
///
/// # Errors
/// When the version can't be asked for.
pub(crate) async fn unsupported(server: &Inventory, feature: Feature) -> Result<Option<Outcome>, Stop> {
    let version = server.client().known_version().await?;
    let lacks = Version::parse(&version).filter(|version| !version.has(feature));
    Ok(lacks.map(|version| {
        let (field, since) = (feature.field(), feature.since());
        let message = format!(
            "spec.{field} needs Mailcow {since}, but the server has {version}; update Mailcow, or leave the field out. Everything else is written"
        );
        Outcome::stalled(Reason::FieldNotSupported, message)
    }))
}

/// Reports what is left after reading back.
///
/// # Errors
/// [`Reason::FieldNotApplied`] when anything is.
pub(crate) fn read_back(rest: &[Change]) -> Result<(), Stop> {
    if rest.is_empty() { Ok(()) } else { Err(not_applied(rest).into()) }
}

/// The outcome for fields that Mailcow accepted but does not show.
pub(crate) fn not_applied(rest: &[Change]) -> Outcome {
    Outcome::stalled(
        Reason::FieldNotApplied,
        format!(
            "Mailcow accepted these fields but does not show them: {}; the operator writes them again when the spec changes",
            fields(rest)
        ),
    )
}

/// Whether a condition has the same content for the same spec.
pub(crate) fn is_same_stall(condition: &Condition, object: &impl Resource, stuck: &Outcome) -> bool {
    condition.type_ == "Stalled"
        && condition.reason == Reason::FieldNotApplied.as_str()
        && condition.observed_generation == object.meta().generation
        && stuck.why().is_some_and(|why| why.message == condition.message)
}

/// The names of the changed fields, for messages.
pub(crate) fn fields(changes: &[Change]) -> String {
    let mut names: Vec<&str> = changes.iter().flat_map(Change::fields).collect();
    names.dedup();
    names.join(", ")
}

/// Whether the annotation that confirms a destructive deletion names `thing`.
pub(crate) fn is_confirmed(object: &impl Resource<DynamicType = ()>, thing: &str) -> bool {
    annotation(object, CONFIRM_DELETE) == Some(thing)
}

/// Stops a removal while the object is paused, except one that keeps the entry.
///
/// # Errors
/// [`Reason::Paused`].
pub(crate) fn may_remove(
    object: &impl Resource<DynamicType = ()>,
    is_retained: bool,
    changes: &[Change],
) -> Result<(), Stop> {
    if is_retained || changes.is_empty() { Ok(()) } else { may_remove_all(object) }
}

/// Stops a removal while the object is paused.
///
/// # Errors
/// [`Reason::Paused`].
pub(crate) fn may_remove_all(object: &impl Resource<DynamicType = ()>) -> Result<(), Stop> {
    if is_paused(object) {
        return Err(
            Outcome::waiting(Reason::Paused, "paused; the deletion continues when you remove the annotation").into()
        );
    }
    Ok(())
}

/// Mailcow confirmed a deletion but still has the entry.
pub(crate) fn still_shown(thing: &impl std::fmt::Display) -> Stop {
    let message = format!("Mailcow still has {thing} after its deletion; the operator retries");
    Outcome::Unknown(Why::new(Reason::MailcowUnreachable, message)).into()
}

/// Ends a deletion: removes the finalizer if all steps were done.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn finish_deletion<K: Object>(
    ctx: &Context,
    object: &K,
    steps: Result<(), Stop>,
) -> Result<Option<Outcome>, Failed> {
    let left = match outcome(steps)? {
        Outcome::InSync => None,
        left => Some(left),
    };
    let is_orphaned = left.is_some() && annotation(object, FORCE_ORPHAN) == Some("true");
    if is_orphaned {
        ctx.writer.publish(object, &Occurrence::Orphaned.event()).await;
    }
    if left.is_none() || is_orphaned {
        if has_finalizer(object)
            && let Err(error) = ctx.writer.remove_finalizer(object).await
        {
            return Ok(Some(refusal::outcome(&error)));
        }
        ctx.backoff.succeeded(&key(object));
        return Ok(None);
    }
    Ok(left)
}

/// What to do after a reconcile in which the Kubernetes API failed.
pub(crate) fn after_failure<K: Object>(object: &K, ctx: &Context) -> Action {
    Action::requeue(ctx.backoff.failed(&key(object), rand::random()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn what_is_answered_with_nothing_is_tried_again_for_a_while_and_then_once_an_hour() {
        let written = |unanswered: Option<u32>, hours: i64| RefusedWrite {
            digest: String::new(),
            reason: String::new(),
            message: String::new(),
            time: Time(crate::clock::now().0 - SignedDuration::from_hours(hours)),
            unanswered,
        };
        assert!(is_left_alone(&written(None, 2)) && !is_left_alone(&written(None, 25)));
        assert!(!is_left_alone(&written(Some(1), 0)) && !is_left_alone(&written(Some(UNANSWERED - 1), 0)));
        assert!(is_left_alone(&written(Some(UNANSWERED), 0)) && !is_left_alone(&written(Some(UNANSWERED), 2)));
    }
}
