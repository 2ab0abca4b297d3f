//! What the drivers share between plan and read-back.

use kube::Resource;
use kube::runtime::controller::Action;
use secrecy::SecretString;
use std::sync::Arc;

use super::context::{Context, is_paused, key};
use super::patch::{self, Object};
use crate::crd::{CONFIRM_DELETE, FORCE_ORPHAN, StatusCondition as Condition};
use crate::inventory::{Age, Inventory};
use crate::mail::{Feature, Version};
use crate::outcome::{Outcome, Reason, Why};
use crate::plan::Change;
use kube::runtime::events::{Event, EventType};

/// The Kubernetes API failed; the pass is repeated with back-off.
#[derive(Debug, thiserror::Error)]
#[error("the Kubernetes API failed: {0}")]
pub(super) struct Failed(#[from] Box<kube::Error>);

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self(Box::new(error))
    }
}

/// Why a pass went no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is told in the status.
    Told(Outcome),
    /// It can't be told: the API to tell it to failed.
    Failed(Failed),
}

impl<T: Into<Outcome>> From<T> for Stop {
    fn from(outcome: T) -> Self {
        Self::Told(outcome.into())
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl Stop {
    /// Of an error of the Kubernetes API.
    pub(super) fn api(error: kube::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The outcome of steps that may have stopped.
///
/// # Errors
/// When the Kubernetes API failed.
pub(super) fn outcome(steps: Result<(), Stop>) -> Result<Outcome, Failed> {
    match steps {
        Ok(()) => Ok(Outcome::InSync),
        Err(Stop::Told(outcome)) => Ok(outcome),
        Err(Stop::Failed(failed)) => Err(failed),
    }
}

/// The server of a name, or why there is none.
///
/// # Errors
/// Why there is none.
pub(super) fn server(ctx: &Context, name: &str) -> Result<Arc<Inventory>, Stop> {
    ctx.servers.get(name).map_err(Stop::Told)
}

/// Carries out what differs, and says whether anything was written. Nothing is written while the object is paused, or
/// where Mailcow was seen to take the same fields of the same spec without applying them.
///
/// # Errors
/// [`Stop`] when it can't be done.
pub(super) async fn bring<K: Object>(
    (ctx, server): (&Context, &Inventory),
    (object, conditions): (&K, &[Condition]),
    changes: &[Change],
    password: Option<&SecretString>,
) -> Result<bool, Stop> {
    if changes.is_empty() {
        patch::hold(ctx, object).await.map_err(Stop::api)?;
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
    patch::hold(ctx, object).await.map_err(Stop::api)?;
    tracing::info!(fields = fields(changes), "writing to Mailcow");
    server.client().execute(changes, password).await?;
    Ok(true)
}

/// How recent what is known of Mailcow has to be: for a new spec, or when somebody asks, it is asked now.
pub(super) fn age(object: &impl Resource<DynamicType = ()>, (observed, handled): (Option<i64>, Option<&str>)) -> Age {
    let pass = super::context::pass(object);
    let is_new = observed != pass.generation || handled != pass.requested_at.as_deref();
    if is_new { Age::Now } else { Age::Recent }
}

/// Ends a pass that wrote all that it may: what is not written is told.
///
/// # Errors
/// What is told.
pub(super) fn told(left: impl IntoIterator<Item = Outcome>) -> Result<(), Stop> {
    left.into_iter().next().map_or(Ok(()), |outcome| Err(outcome.into()))
}

/// Says that the server's version lacks a field; `None` when it has it, or when its version is no release.
///
/// # Errors
/// When the version can't be asked for.
pub(super) async fn unsupported(server: &Inventory, feature: Feature) -> Result<Option<Outcome>, Stop> {
    let said = server.client().known_version().await?;
    let lacks = Version::parse(&said).filter(|version| !version.has(feature));
    Ok(lacks.map(|version| {
        let (field, since) = (feature.field(), feature.since());
        let message = format!(
            "spec.{field} needs Mailcow {since}, and the server has {version}; update it, or leave the field out: everything else is written"
        );
        Outcome::stalled(Reason::FieldNotSupported, message)
    }))
}

/// What is left after reading back.
///
/// # Errors
/// [`Reason::FieldNotApplied`] when anything is.
pub(super) fn read_back(rest: &[Change]) -> Result<(), Stop> {
    if rest.is_empty() { Ok(()) } else { Err(not_applied(rest).into()) }
}

/// What Mailcow took without showing it.
pub(super) fn not_applied(rest: &[Change]) -> Outcome {
    Outcome::stalled(
        Reason::FieldNotApplied,
        format!("Mailcow took these fields and does not show them: {}; writing has stopped", fields(rest)),
    )
}

/// Whether a condition says the same of the same spec.
pub(super) fn is_same_stall(condition: &Condition, object: &impl Resource, stuck: &Outcome) -> bool {
    condition.type_ == "Stalled"
        && condition.reason == Reason::FieldNotApplied.as_str()
        && condition.observed_generation == object.meta().generation
        && stuck.why().is_some_and(|why| why.message == condition.message)
}

/// The fields that changes set, for people.
pub(super) fn fields(changes: &[Change]) -> String {
    let mut names: Vec<&str> = changes.iter().flat_map(Change::fields).collect();
    names.dedup();
    names.join(", ")
}

/// Whether the annotation that confirms a destructive deletion names `thing`.
pub(super) fn is_confirmed(object: &impl Resource<DynamicType = ()>, thing: &str) -> bool {
    super::context::annotation(object, CONFIRM_DELETE) == Some(thing)
}

/// Stops a removal while the object is paused; one that leaves the thing where it is goes on.
///
/// # Errors
/// [`Reason::Paused`].
pub(super) fn may_remove(
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
pub(super) fn may_remove_all(object: &impl Resource<DynamicType = ()>) -> Result<(), Stop> {
    if is_paused(object) {
        return Err(Outcome::waiting(Reason::Paused, "paused; the deletion goes on when the annotation goes").into());
    }
    Ok(())
}

/// Mailcow confirmed a deletion and shows the thing all the same.
pub(super) fn still_shown(thing: &impl std::fmt::Display) -> Stop {
    let message = format!("Mailcow still shows {thing} after its deletion; it is tried again");
    Outcome::Unknown(Why::new(Reason::MailcowUnreachable, message)).into()
}

/// Ends a deletion: the finalizer goes when the steps were done, and stays otherwise.
///
/// # Errors
/// When the Kubernetes API fails.
pub(super) async fn gone<K: Object>(
    ctx: &Context,
    object: &K,
    steps: Result<(), Stop>,
) -> Result<Option<Outcome>, Failed> {
    let left = match outcome(steps)? {
        Outcome::InSync => None,
        left => Some(left),
    };
    let is_orphaned = left.is_some() && super::context::annotation(object, FORCE_ORPHAN) == Some("true");
    if is_orphaned {
        let note =
            "let go as the annotation email.askrobots.com/force-orphan asks; what Mailcow holds of it stays there";
        publish(ctx, object, (EventType::Warning, "Orphaned", note)).await;
    }
    if left.is_none() || is_orphaned {
        if patch::is_held(object) {
            patch::release(ctx, object).await?;
        }
        ctx.backoff.succeeded(&key(object));
        return Ok(None);
    }
    Ok(left)
}

async fn publish<K: Object>(ctx: &Context, object: &K, (type_, reason, note): (EventType, &str, &str)) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.to_owned()),
        action: "Delete".to_owned(),
        secondary: None,
    };
    patch::publish(ctx, object, event).await;
}

/// What to do after a pass that the Kubernetes API failed.
pub(super) fn after_failure<K: Object>(object: &K, ctx: &Context) -> Action {
    Action::requeue(ctx.backoff.failed(&key(object), rand::random()))
}
