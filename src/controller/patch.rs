//! The one place that writes to our objects: status (only when it differs), finalizers, events.

use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::context::{self, Context};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, FINALIZER, StatusCondition as Condition};
use crate::status::{self, Conditioned};

/// Field manager of all our writes.
pub(super) const MANAGER: &str = "mailcow-operator";
/// Field manager of the finalizer alone.
const FINALIZER_MANAGER: &str = "mailcow-operator-finalizer";

/// An object of ours: one of the four kinds.
pub(super) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Conditioned + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + Sync
{
    /// The kind, as a label of metrics.
    const KIND: &str;
}

impl Object for EmailDomain {
    const KIND: &str = "EmailDomain";
}

impl Object for EmailMailbox {
    const KIND: &str = "EmailMailbox";
}

impl Object for EmailAlias {
    const KIND: &str = "EmailAlias";
}

impl Object for EmailForwardingRule {
    const KIND: &str = "EmailForwardingRule";
}

/// What was last said of the object; of one that was never seen before, that it was seen now.
///
/// # Errors
/// When the Kubernetes API fails.
pub(super) async fn before<K: Object>(ctx: &Context, object: &K) -> Result<K::Status, kube::Error> {
    let last = ctx.latest.status(object).or_else(|| object.status().cloned()).unwrap_or_default();
    if !last.conditions().is_empty() || object.meta().deletion_timestamp.is_some() {
        return Ok(last);
    }
    let first = status::first_touch(&context::pass(object));
    say(ctx, object, &last, &first).await?;
    Ok(first)
}

/// Writes the status if it differs, and an event if `Ready` changed.
///
/// # Errors
/// When the Kubernetes API fails.
pub(super) async fn say<K: Object>(
    ctx: &Context,
    object: &K,
    before: &K::Status,
    after: &K::Status,
) -> Result<(), kube::Error> {
    if before == after {
        return Ok(());
    }
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": object.name_any()}, "status": after,
    });
    let params = PatchParams::apply(MANAGER).force();
    match api(ctx, object).patch_status(&object.name_any(), &params, &Patch::Apply(body)).await {
        // It went away meanwhile: there is nobody to tell.
        Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(()),
        result => result.map(|_| ())?,
    }
    ctx.latest.said(object, after);
    if let Some(event) = changed(before.conditions(), after.conditions()) {
        tracing::info!(reason = event.reason, note = event.note, "Ready says something else");
        publish(ctx, object, event).await;
    }
    Ok(())
}

/// An event when `Ready` says something else than before.
fn changed(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let now = status::ready(after)?;
    // Other fields that drift are news too.
    let drifted = |c: &Condition| (c.reason == "Drifted").then(|| c.message.clone());
    let said = |c: &Condition| (c.status.clone(), c.reason.clone(), drifted(c));
    if status::ready(before).map(said) == Some(said(now)) || now.reason == "Pending" {
        return None;
    }
    let type_ = if status::is_true(after, "Stalled") || now.status == "Unknown" {
        EventType::Warning
    } else {
        EventType::Normal
    };
    Some(Event {
        type_,
        reason: now.reason.clone(),
        note: Some(now.message.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    })
}

/// Publishes an event; one that can't be published is only logged.
pub(super) async fn publish<K: Object>(ctx: &Context, object: &K, event: Event) {
    if let Err(error) = ctx.events.publish(&event, &object.object_ref(&())).await {
        tracing::warn!(%error, "an event could not be published");
    }
}

/// Whether the object carries our finalizer.
pub(super) fn is_held(object: &impl Resource) -> bool {
    object.meta().finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Puts our finalizer on, before the first write to Mailcow.
///
/// # Errors
/// When the Kubernetes API fails.
pub(super) async fn hold<K: Object>(ctx: &Context, object: &K) -> Result<(), kube::Error> {
    if is_held(object) {
        return Ok(());
    }
    set_finalizers(ctx, object, &[FINALIZER]).await
}

/// Takes our finalizer off: the object may go.
///
/// # Errors
/// When the Kubernetes API fails.
pub(super) async fn release<K: Object>(ctx: &Context, object: &K) -> Result<(), kube::Error> {
    match set_finalizers(ctx, object, &[]).await {
        Err(kube::Error::Api(error)) if error.is_not_found() || error.is_conflict() => Ok(()),
        result => result,
    }
}

/// Says which finalizers are ours; those of others are not touched. The uid keeps a successor of the same name safe.
async fn set_finalizers<K: Object>(ctx: &Context, object: &K, ours: &[&str]) -> Result<(), kube::Error> {
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": object.name_any(), "uid": object.uid(), "finalizers": ours},
    });
    let params = PatchParams::apply(FINALIZER_MANAGER).force();
    api(ctx, object).patch(&object.name_any(), &params, &Patch::Apply(body)).await.map(|_| ())
}

/// The API of the object's kind in its namespace.
pub(super) fn api<K: Object>(ctx: &Context, object: &K) -> Api<K> {
    Api::namespaced(ctx.kube.clone(), &object.namespace().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::crd::Words;
    use std::sync::Arc;

    fn ready(status: &str, reason: &str) -> Vec<Condition> {
        vec![Condition {
            last_transition_time: clock::now(),
            observed_generation: None,
            words: Arc::new(Words {
                message: "m".into(),
                reason: reason.into(),
                status: status.into(),
                type_: "Ready".into(),
            }),
        }]
    }

    #[test]
    fn events_come_on_change_only() {
        assert!(changed(&[], &ready("Unknown", "Pending")).is_none());
        assert!(changed(&ready("Unknown", "Pending"), &ready("True", "InSync")).is_some());
        assert!(changed(&ready("True", "InSync"), &ready("True", "InSync")).is_none());
        let down = changed(&ready("True", "InSync"), &ready("Unknown", "MailcowUnreachable")).unwrap();
        assert!(matches!(down.type_, EventType::Warning));
    }
}
