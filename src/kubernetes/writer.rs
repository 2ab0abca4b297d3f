//! The single writer of our objects: status (only when it differs), our finalizer, events.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams, ValidationDirective};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::crd::{DeliveryStatus, EmailMailbox, FINALIZER, ScriptStatus, StatusCondition as Condition};
use crate::keyed_lock::KeyedLock;
use crate::kubernetes::events::Events;
use crate::kubernetes::latest::LatestStatuses;
use crate::kubernetes::object::{Object, has_finalizer};
use crate::kubernetes::printable::printable;
use crate::kubernetes::refusal;
use crate::kubernetes::served::ServedDefinitions;
use crate::outcome::Reason;
use crate::status::{self, Conditioned, Event, Occurrence, ReconcileRequest};

/// Field manager of all our writes.
pub(crate) const MANAGER: &str = "mailcow-operator";
/// Field manager of the finalizer alone.
const FINALIZER_MANAGER: &str = "mailcow-operator-finalizer";
/// The script in a mailbox's status, because another driver writes the rest.
const SCRIPT: Part = Part { field: "script", manager: "mailcow-operator-script" };
/// The app password in a mailbox's status, for the same reason.
pub(crate) const DELIVERY: Part = Part { field: "delivery", manager: "mailcow-operator-delivery" };
/// A new object whose first reconcile takes longer than this gets a status meanwhile.
const PENDING_AFTER: Duration = Duration::from_secs(3);
/// Reasons of objects that refer to something unknown. When it appears, another instance of the operator may serve the
/// object, because it is on another server.
const UNKNOWN_REFERENCES: [Reason; 3] = [Reason::DomainNotFound, Reason::NamespaceNotAllowed, Reason::MailboxNotFound];
/// How much of the managed fields stays in an object that is too large, in bytes.
const OF_STATUS: usize = 64 << 10;
/// How often a finalizer is read again when others change it at the same time.
const ATTEMPTS: u32 = 10;

/// A part of a status with a field manager of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The field of the status.
    pub(crate) field: &'static str,
    /// The field manager, which writes nothing else of the kind.
    pub(crate) manager: &'static str,
}

/// Writes to our objects. Holds handles only.
pub(crate) struct Writer {
    client: kube::Client,
    served: Arc<ServedDefinitions>,
    latest: LatestStatuses,
    events: Events,
    /// By uid: two drivers of one object would only meet conflicts if they wrote its status at the same time.
    turns: KeyedLock,
}

impl Writer {
    /// Through this client, writes only fields that the served CRDs know.
    pub(crate) fn new(client: kube::Client, served: Arc<ServedDefinitions>) -> Self {
        let (latest, turns) = (LatestStatuses::default(), KeyedLock::default());
        Self { latest, turns, events: Events::new(client.clone()), client, served }
    }

    /// The status that was last written; of an object that has none yet, the one that says that it is pending.
    pub(crate) fn last_status<K: Object>(&self, object: &K, request: &ReconcileRequest) -> K::Status {
        let last = self.known_status(object);
        let is_new = last.conditions().is_empty() && object.meta().deletion_timestamp.is_none();
        if is_new { status::pending(request) } else { last }
    }

    /// Waits for the work of a reconcile. A new object whose work takes long gets the status `pending` meanwhile; one that
    /// is done soon is spared that write.
    pub(crate) async fn report_pending<K: Object, T>(
        &self,
        object: &K,
        pending: &K::Status,
        mut work: impl Future<Output = T> + Unpin,
    ) -> T {
        if let Ok(done) = tokio::time::timeout(PENDING_AFTER, &mut work).await {
            return done;
        }
        let (written, done) = tokio::join!(self.write_pending(object, pending), work);
        if let Err(error) = written {
            tracing::debug!(%error, "the first status could not be written");
        }
        done
    }

    /// Writes the first status of an object that has none, unless another driver was faster.
    ///
    /// # Errors
    /// When the Kubernetes API fails.
    pub(crate) async fn write_pending<K: Object>(&self, object: &K, pending: &K::Status) -> Result<(), kube::Error> {
        if !self.is_new(object) {
            return Ok(());
        }
        match self.patch_status(object, object.meta().resource_version.as_deref(), pending).await {
            Err(kube::Error::Api(error)) if error.is_not_found() || error.is_conflict() => Ok(()),
            result => result,
        }
    }

    /// Whether the object has no status yet.
    pub(crate) fn is_new<K: Object>(&self, object: &K) -> bool {
        self.known_status(object).conditions().is_empty()
    }

    /// The status that was last written, or that the object has.
    pub(crate) fn known_status<K: Object>(&self, object: &K) -> K::Status {
        self.latest.status(object).or_else(|| object.status().cloned()).unwrap_or_default().own()
    }

    /// Writes the status if it differs or is the first one, and an event if `Ready` changed. That a reference is unknown is
    /// written only into the version that was seen: it must not replace what another instance wrote meanwhile.
    ///
    /// # Errors
    /// When the Kubernetes API fails, or the object has another version.
    pub(crate) async fn write_status<K: Object>(
        &self,
        object: &K,
        before: &K::Status,
        after: &K::Status,
    ) -> Result<(), kube::Error> {
        let is_new = self.is_new(object);
        let pruned = self.served.pruned::<K>(after);
        let after = pruned.as_ref().unwrap_or(after);
        let is_doubted = |after| object.uid().is_some_and(|uid| self.latest.is_doubted::<K::Status>(&uid, after));
        if before == after && !is_new && !is_doubted(after) {
            return Ok(());
        }
        let printable = printable(after);
        let after = printable.as_ref().unwrap_or(after);
        if before == after && !is_doubted(after) {
            return Ok(());
        }
        let ready = status::ready(after.conditions());
        let is_unknown = ready.is_some_and(|ready| UNKNOWN_REFERENCES.iter().any(|it| it.as_str() == ready.reason));
        let version =
            if is_unknown { self.latest.versioned(object).unwrap_or_else(|| versioned(object)).0 } else { None };
        match self.patch_status(object, version.as_deref(), after).await {
            // It was deleted meanwhile: there is nothing to write to. A conflict is retried, also if it was deleted and
            // created again: it could have another cause.
            Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(()),
            result => result?,
        }
        let known = if is_new { &[] } else { before.conditions() };
        self.publish_change(object, known, after.conditions()).await;
        Ok(())
    }

    /// Changes the status of an object that several drivers write: `change` gets the status as it is now, and is asked
    /// again when somebody else was faster, so nobody's change is lost. Gives what stands there in the end.
    ///
    /// # Errors
    /// When the Kubernetes API fails.
    pub(crate) async fn change_status<K: Object>(
        &self,
        object: &K,
        change: impl Fn(&K::Status) -> K::Status,
    ) -> Result<K::Status, kube::Error> {
        let turn = self.turns.lock(object.meta().uid.as_deref().unwrap_or_default()).await;
        let (mut version, mut before) = self.latest.versioned(object).unwrap_or_else(|| versioned(object));
        for _ in 0..ATTEMPTS {
            let after = change(&before);
            let after = if before == after { after } else { printable(&after).unwrap_or(after) };
            let after = self.served.pruned::<K>(&after).unwrap_or(after);
            if before == after {
                return Ok(after);
            }
            match self.patch_status(object, version.as_deref(), &after).await {
                Ok(()) => {
                    drop(turn);
                    self.publish_change(object, before.conditions(), after.conditions()).await;
                    return Ok(after);
                }
                // It was deleted meanwhile: there is nothing to write to.
                Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(after),
                Err(kube::Error::Api(error)) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
            let Some(now) = self.api(object).get_opt(&object.name_any()).await? else { return Ok(after) };
            if now.meta().uid != object.meta().uid {
                return Ok(after);
            }
            (version, before) = versioned(&now);
        }
        Err(changes_too_often(&object.name_any(), "status"))
    }

    /// Writes a status to exactly this object; with a version only while it is still of that version.
    async fn patch_status<K: Object>(
        &self,
        object: &K,
        version: Option<&str>,
        status: &K::Status,
    ) -> Result<(), kube::Error> {
        let mut metadata = json!({"name": object.name_any(), "uid": object.uid()});
        if let Some(version) = version {
            metadata["resourceVersion"] = json!(version);
        }
        let mut body = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status,
        });
        let params = patch_params(MANAGER).force();
        self.served.prune::<K>(&mut body["status"]);
        let mut written = self.apply_status(object, &params, &body).await;
        if let Err(error) = &written
            && self.served.is_read_again_after(error).await
        {
            self.served.prune::<K>(&mut body["status"]);
            written = self.apply_status(object, &params, &body).await;
        }
        if let Err(error) = &written {
            if let Some(uid) = object.uid().filter(|_| may_be_done(error)) {
                self.latest.doubt::<K::Status>(&uid, status);
            }
            self.report_refusal(object, error).await;
        }
        let written = written?;
        if let Some(uid) = object.uid() {
            self.latest.settle::<K::Status>(&uid);
        }
        self.latest.remember(&written);
        Ok(())
    }

    /// Applies a status. An object that is too large for it gets room.
    async fn apply_status<K: Object>(&self, object: &K, params: &PatchParams, body: &Value) -> Result<K, kube::Error> {
        let (api, name) = (self.api(object), object.name_any());
        match api.patch_status(&name, params, &Patch::Apply(body)).await {
            Err(error) if refusal::is_too_large(&error) => {
                self.make_room(object).await?;
                api.patch_status(&name, params, &Patch::Apply(body)).await
            }
            result => result,
        }
    }

    /// Removes managed fields of an object, except those of its status. Whoever may write the object can fill them until
    /// nothing more fits, and would keep a status that is no longer true. All other fields have limits.
    async fn make_room<K: Object>(&self, object: &K) -> Result<(), kube::Error> {
        let (api, name) = (self.api(object), object.name_any());
        let Some(now) = api.get_metadata_opt(&name).await? else { return Ok(()) };
        let mut room = OF_STATUS;
        let of_status: Vec<Value> = now
            .managed_fields()
            .iter()
            .filter(|entry| entry.subresource.as_deref() == Some("status"))
            .map(|entry| json!(entry))
            .filter(|entry| {
                let left = room.checked_sub(entry.to_string().len());
                room = left.unwrap_or(room);
                left.is_some()
            })
            .collect();
        // An empty entry removes all; an empty list would change nothing.
        let kept = if of_status.is_empty() { vec![json!({})] } else { of_status };
        tracing::warn!("an object is too large for its status; removing its managed fields");
        let body = json!({"metadata": {
            "uid": object.uid(), "resourceVersion": now.metadata.resource_version, "managedFields": kept,
        }});
        let params = patch_params(MANAGER);
        api.patch_metadata(&name, &params, &Patch::Merge(body)).await.map(|_| ())
    }

    /// Reports the refusal of a status in an event: there is no other place.
    async fn report_refusal<K: Object>(&self, object: &K, error: &kube::Error) {
        let why = refusal::why(error);
        if why.reason == Reason::RefusedByKubernetes {
            self.publish(object, &Occurrence::StatusRefused(why.message).event()).await;
        }
    }

    /// Logs that `Ready` changed, and publishes an event. A new object that is in sync at once is no news.
    async fn publish_change<K: Object>(&self, object: &K, before: &[Condition], after: &[Condition]) {
        let Some(event) = status::ready_changed(before, after) else { return };
        log(&event, before);
        if status::ready(before).is_some() || event.is_warning {
            self.publish(object, &event).await;
        }
    }

    /// What was last written of the script of a mailbox.
    pub(crate) fn script_status(&self, mailbox: &EmailMailbox) -> Option<ScriptStatus> {
        self.part(mailbox, |status| status.script.as_deref().cloned())
    }

    /// Writes what is known of the script of a mailbox, if it differs.
    ///
    /// # Errors
    /// When the Kubernetes API fails.
    pub(crate) async fn write_script_status(
        &self,
        mailbox: &EmailMailbox,
        before: Option<&ScriptStatus>,
        after: Option<&ScriptStatus>,
    ) -> Result<(), kube::Error> {
        self.write_part(mailbox, SCRIPT, before, after).await
    }

    /// What was last written of the app password of a mailbox.
    pub(crate) fn delivery_status(&self, mailbox: &EmailMailbox) -> Option<DeliveryStatus> {
        self.part(mailbox, |status| status.delivery.as_deref().cloned())
    }

    /// A part of a status that another than the driver of the kind writes, as it was last written.
    pub(crate) fn part<K: Object, T: Clone + Send + 'static>(
        &self,
        object: &K,
        of: impl Fn(&K::Status) -> Option<T>,
    ) -> Option<T> {
        let latest = object.uid().and_then(|uid| self.latest.get::<Option<T>>(&uid));
        latest.unwrap_or_else(|| of(object.status()?))
    }

    /// Writes such a part, if it differs. Of one type there is one part of a kind.
    ///
    /// # Errors
    /// When the Kubernetes API fails.
    pub(crate) async fn write_part<K, T>(
        &self,
        object: &K,
        part: Part,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<(), kube::Error>
    where
        K: Object,
        T: Serialize + DeserializeOwned + Clone + PartialEq + Send + 'static,
    {
        let printable = after.and_then(printable);
        let after = printable.as_ref().or(after);
        let uid = object.uid().unwrap_or_default();
        if before == after && !self.latest.is_doubted::<Option<T>>(&uid, &after.cloned()) {
            return Ok(());
        }
        let mut status = after.map_or_else(|| json!({}), |after| json!({part.field: after}));
        self.served.prune::<K>(&mut status);
        let body = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": object.name_any(), "uid": object.uid()}, "status": status,
        });
        let params = patch_params(part.manager).force();
        // The watch may show the write before its answer is here, and whoever it triggers must not read the one before.
        self.latest.put(&uid, after.cloned());
        match self.apply_status(object, &params, &body).await {
            // It was deleted meanwhile: there is nothing to write to.
            Err(kube::Error::Api(error)) if error.is_not_found() => Ok(()),
            Err(error) => {
                // Whoever the watch triggers must read what it shows: when the same is written again, nothing changes, so
                // nobody is triggered once more.
                self.latest.doubt::<Option<T>>(&uid, &after.cloned());
                Err(error)
            }
            Ok(_) => {
                self.latest.settle::<Option<T>>(&uid);
                Ok(())
            }
        }
    }

    /// Asks the API server whether the object exists and is not being deleted.
    ///
    /// # Errors
    /// When the Kubernetes API fails.
    pub(crate) async fn is_alive<K: Object>(&self, object: &K) -> Result<bool, kube::Error> {
        let now = self.api(object).get_metadata_opt(&object.name_any()).await?;
        Ok(now.is_some_and(|now| now.metadata.uid == object.meta().uid && now.metadata.deletion_timestamp.is_none()))
    }

    /// Forgets an object that was deleted.
    pub(crate) fn forget<K: Object>(&self, object: &K) {
        self.latest.forget(object);
    }

    /// Publishes an event; a failure is only logged.
    pub(crate) async fn publish<K: Object>(&self, object: &K, event: &Event) {
        self.publish_on(&object.object_ref(&()), event).await;
    }

    /// Publishes an event on an object that is not ours; a failure is only logged.
    pub(crate) async fn publish_on(&self, reference: &ObjectReference, event: &Event) {
        if let Err(error) = self.events.publish(event, reference).await {
            tracing::warn!(%error, "publishing an event failed");
        }
    }

    /// Adds our finalizer, before the first write to Mailcow. The uid protects a successor with the same name. Finalizers of
    /// others stay. A merge into the version that was seen costs the API server a quarter less than a server-side apply; a
    /// concurrent change makes it read again. While the watch is behind, one that was just added counts: many scripts may
    /// ask for the same rule's.
    ///
    /// # Errors
    /// When the Kubernetes API fails, or the object is gone.
    pub(crate) async fn add_finalizer<K: Object>(&self, object: &K) -> Result<(), kube::Error> {
        if has_finalizer(object) || self.latest.has_finalizer(object) {
            return Ok(());
        }
        let (api, name) = (self.api(object), object.name_any());
        let params = patch_params(FINALIZER_MANAGER);
        // Those of others are not held, so what has any is read first.
        let mut seen = object.meta().finalizers.is_none().then(|| (object.resource_version(), Vec::new()));
        for _ in 0..ATTEMPTS {
            let (version, mut finalizers) = if let Some(seen) = seen.take() {
                seen
            } else {
                let now = api.get_metadata(&name).await?;
                if now.metadata.uid != object.meta().uid {
                    break;
                }
                if has_finalizer(&now) {
                    self.latest.put_finalizer(&now);
                    return Ok(());
                }
                (now.metadata.resource_version, now.metadata.finalizers.unwrap_or_default())
            };
            finalizers.push(FINALIZER.to_owned());
            let body = json!({"metadata": {
                "uid": object.uid(), "resourceVersion": version, "finalizers": finalizers,
            }});
            match api.patch(&name, &params, &Patch::Merge(body)).await {
                Err(kube::Error::Api(error)) if error.is_conflict() => {}
                written => {
                    let written = written?;
                    self.latest.put_finalizer(&written);
                    self.latest.remember(&written);
                    return Ok(());
                }
            }
        }
        Err(changes_too_often(&name, "finalizer"))
    }

    /// Removes our finalizer, whoever added it: after a restore kubectl owns it, and a server-side apply would remove
    /// only our own share. Finalizers of others stay. A concurrent change makes it read again.
    ///
    /// # Errors
    /// When the Kubernetes API fails.
    pub(crate) async fn remove_finalizer<K: Object>(&self, object: &K) -> Result<(), kube::Error> {
        let (api, name) = (self.api(object), object.name_any());
        let params = patch_params(FINALIZER_MANAGER);
        for _ in 0..ATTEMPTS {
            let Some(now) = api.get_metadata_opt(&name).await? else { return Ok(()) };
            if now.metadata.uid != object.meta().uid || !has_finalizer(&now) {
                return Ok(());
            }
            let others: Vec<&String> = now.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
            let body = json!({"metadata": {
                "uid": now.metadata.uid, "resourceVersion": now.metadata.resource_version, "finalizers": others,
            }});
            // Whatever comes of it: an answer that is lost must not leave it known.
            self.latest.forget_finalizer(object);
            match api.patch_metadata(&name, &params, &Patch::Merge(body)).await {
                Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(()),
                Err(kube::Error::Api(error)) if error.is_conflict() => {}
                result => return result.map(|_| ()),
            }
        }
        Err(changes_too_often(&name, "finalizer"))
    }

    /// The API of the object's kind in its namespace.
    fn api<K: Object>(&self, object: &K) -> Api<K> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

/// Parameters of all our patches. They have no fields that the served CRDs lack ([`ServedDefinitions`]), so the API server
/// is spared the second parse in which it looks for such.
fn patch_params(manager: &str) -> PatchParams {
    PatchParams { field_validation: Some(ValidationDirective::Ignore), ..PatchParams::apply(manager) }
}

/// Logs a change of `Ready`. A server's outage is logged once where it is noticed, not for each object.
fn log(event: &Event, before: &[Condition]) {
    let outages = [Reason::MailcowUnreachable, Reason::KeyOrSourceRejected];
    let is_outage = |reason: &str| outages.iter().any(|outage| outage.as_str() == reason);
    let Event { reason, note, is_warning, .. } = event;
    if is_outage(reason) || status::ready(before).is_some_and(|ready| is_outage(&ready.reason)) {
        tracing::debug!(reason, note, "Ready changed");
    } else if *is_warning {
        tracing::warn!(reason, note, "Ready changed");
    } else {
        tracing::info!(reason, note, "Ready changed");
    }
}

/// An object's version and status.
fn versioned<K: Object>(object: &K) -> (Option<String>, K::Status) {
    (object.meta().resource_version.clone(), object.status().cloned().unwrap_or_default())
}

/// Whether a write that failed may have been done.
fn may_be_done(error: &kube::Error) -> bool {
    !matches!(error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict())
}

fn changes_too_often(name: &str, what: &str) -> kube::Error {
    let message = format!("{name} changes too often to update its {what}; the operator retries");
    kube::Error::Api(Box::new(kube::core::Status::failure(&message, "Conflict").with_code(409)))
}

#[cfg(test)]
mod tests {
    use std::future::Ready;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll};

    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt, Collected};
    use kube::client::Body;
    use serde_json::Value;

    use super::*;
    use crate::crd::{EmailMailboxStatus, ScriptState};
    use crate::telemetry::Metrics;

    const CONFLICT: &str =
        r#"{"kind":"Status","status":"Failure","reason":"Conflict","code":409,"message":"","metadata":{}}"#;

    /// An API server whose objects have all been changed meanwhile. Keeps the paths and bodies that it gets.
    #[derive(Clone, Default)]
    struct Changed(Arc<Mutex<Vec<Value>>>);

    impl tower::Service<http::Request<Body>> for Changed {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let body = futures::FutureExt::now_or_never(request.into_body().collect());
            let body = body.and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
            self.0.lock().unwrap().push(serde_json::from_slice(&body).unwrap_or_default());
            let mut answer = http::Response::new(Body::from(CONFLICT.as_bytes().to_vec()));
            *answer.status_mut() = http::StatusCode::CONFLICT;
            std::future::ready(Ok(answer))
        }
    }

    fn writer_through(client: kube::Client) -> Writer {
        Writer::new(client.clone(), Arc::new(ServedDefinitions::new(client, Metrics::default())))
    }

    fn status(reason: Reason) -> EmailMailboxStatus {
        let ready = format!(
            "conditions: [{{type: Ready, status: 'False', reason: {}, message: '', observedGeneration: 1, lastTransitionTime: '2026-01-01T00:00:00Z'}}]",
            reason.as_str()
        );
        serde_yaml::from_str(&ready).unwrap()
    }

    #[tokio::test]
    async fn a_finalizer_is_merged_only_into_the_version_that_was_seen_without_any() {
        let server = Changed::default();
        let writer = writer_through(kube::Client::new(server.clone(), "n"));
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("{localPart: a, domainRef: {name: d}}").unwrap());
        mailbox.metadata = serde_yaml::from_str("{name: m, namespace: n, uid: u, resourceVersion: '7'}").unwrap();
        let merged = json!({"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": [FINALIZER]}});
        assert!(writer.add_finalizer(&mailbox).await.is_err());
        assert_eq!(*server.0.lock().unwrap(), [merged, Value::Null], "then it is read again");
        server.0.lock().unwrap().clear();
        // It has finalizers of others, which are not held.
        mailbox.metadata.finalizers = Some(Vec::new());
        assert!(writer.add_finalizer(&mailbox).await.is_err());
        assert_eq!(*server.0.lock().unwrap(), [Value::Null]);
    }

    #[tokio::test]
    async fn that_a_reference_is_unknown_replaces_nothing_that_was_written_meanwhile() {
        let server = Changed::default();
        let writer = writer_through(kube::Client::new(server.clone(), "n"));
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("{localPart: a, domainRef: {name: d}}").unwrap());
        mailbox.metadata.namespace = Some("n".into());
        mailbox.metadata.resource_version = Some("7".into());
        let write = async |reason| {
            let done = writer.write_status(&mailbox, &EmailMailboxStatus::default(), &status(reason)).await;
            let sent = std::mem::take(&mut *server.0.lock().unwrap());
            (done.is_ok(), sent[0]["metadata"]["resourceVersion"].clone())
        };
        for unknown in UNKNOWN_REFERENCES {
            assert_eq!(write(unknown).await, (false, json!("7")), "{unknown:?} is retried");
        }
        assert_eq!(write(Reason::DomainNotReady).await, (false, Value::Null), "a conflict is retried");
    }

    /// A writer before an API server that answers so; without an answer the connection breaks.
    fn writer(answer: Option<(StatusCode, serde_json::Value)>) -> Writer {
        let service = tower::service_fn(move |_: Request<Body>| {
            let answer = answer.clone();
            async move {
                let (status, body) = answer.ok_or_else(|| tower::BoxError::from("the connection broke"))?;
                let body = Body::from(serde_json::to_vec(&body)?);
                Ok::<_, tower::BoxError>(Response::builder().status(status).body(body)?)
            }
        });
        writer_through(kube::Client::new(service, "default"))
    }

    fn script(state: ScriptState) -> ScriptStatus {
        ScriptStatus { hash: None, state, reason: None, message: None, rules: Vec::new() }
    }

    fn mailbox(script: Option<ScriptStatus>) -> EmailMailbox {
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap());
        (mailbox.metadata.namespace, mailbox.metadata.uid) = (Some("n".into()), Some("u".into()));
        let status = EmailMailboxStatus { script: script.map(Box::new), ..status(Reason::InSync) };
        mailbox.status = Some(status);
        mailbox
    }

    #[tokio::test]
    async fn a_part_whose_write_failed_is_what_the_watch_shows() {
        let (waiting, done) = (script(ScriptState::Waiting), script(ScriptState::InSync));
        let failed = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "etcd"});
        for answer in [None, Some((StatusCode::INTERNAL_SERVER_ERROR, failed))] {
            let writer = writer(answer);
            let before = mailbox(Some(waiting.clone()));
            assert!(writer.write_script_status(&before, Some(&waiting), Some(&done)).await.is_err());
            assert_eq!(writer.script_status(&before).as_ref(), Some(&waiting), "it was not written");
            assert_eq!(writer.script_status(&mailbox(Some(done.clone()))).as_ref(), Some(&done), "it was written");
            assert!(writer.write_script_status(&before, Some(&done), Some(&done)).await.is_ok(), "the watch shows it");
            assert!(writer.write_script_status(&before, Some(&waiting), Some(&waiting)).await.is_err(), "it is tried");
        }
    }

    #[tokio::test]
    async fn after_a_write_that_failed_the_status_before_is_written_again() {
        let (writer, mailbox) = (writer(None), mailbox(None));
        let (in_sync, unreachable) = (status(Reason::InSync), status(Reason::MailcowUnreachable));
        assert!(writer.write_status(&mailbox, &in_sync, &in_sync).await.is_ok(), "nothing to write");
        assert!(writer.write_status(&mailbox, &in_sync, &unreachable).await.is_err());
        assert!(
            writer.write_status(&mailbox, &in_sync, &in_sync).await.is_err(),
            "it is tried: the other may be there"
        );
    }

    /// An API server with one object, which answers a conflict to whoever writes another version than its own.
    #[derive(Default)]
    struct OneObject {
        stored: Mutex<Value>,
        conflicts: AtomicU32,
    }

    impl OneObject {
        async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, tower::BoxError> {
            let sent: Value = serde_json::from_slice(&request.into_body().collect_bytes().await?)?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut stored = self.stored.lock().unwrap();
            if sent["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"] {
                self.conflicts.fetch_add(1, Ordering::Relaxed);
                return Ok(Response::builder().status(409).body(Body::from(CONFLICT.as_bytes().to_vec()))?);
            }
            let version: u32 = stored["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse()?;
            stored["metadata"]["resourceVersion"] = (version + 1).to_string().into();
            stored["status"] = sent["status"].clone();
            Ok(Response::new(Body::from(serde_json::to_vec(&*stored)?)))
        }

        fn client(self: &Arc<Self>) -> kube::Client {
            let server = Arc::clone(self);
            let service = tower::service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { server.answer(request).await }
            });
            kube::Client::new(service, "n")
        }
    }

    /// Counts in a status, as one driver.
    async fn count(writer: &Writer, seen: &EmailMailbox) {
        let counted = |now: &EmailMailboxStatus| {
            let last = now.address.as_deref().and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
            EmailMailboxStatus { address: Some((last + 1).to_string()), ..now.clone() }
        };
        for _ in 0..5 {
            writer.change_status(seen, counted).await.unwrap();
        }
    }

    #[tokio::test]
    async fn drivers_of_one_object_meet_no_conflict() {
        let mut seen = mailbox(None);
        seen.metadata.resource_version = Some("7".into());
        let stored = Mutex::new(serde_json::to_value(&seen).unwrap());
        let server = Arc::new(OneObject { stored, ..OneObject::default() });
        let writer = writer_through(server.client());
        tokio::join!(count(&writer, &seen), count(&writer, &seen), count(&writer, &seen));
        assert_eq!(server.stored.lock().unwrap()["status"]["address"], "15", "nobody's change is lost");
        assert_eq!(server.conflicts.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn while_the_watch_is_behind_a_finalizer_is_added_once() {
        let mut seen = mailbox(None);
        seen.metadata.resource_version = Some("7".into());
        let stored = Mutex::new(serde_json::to_value(&seen).unwrap());
        let server = Arc::new(OneObject { stored, ..OneObject::default() });
        let writer = writer_through(server.client());
        for _ in 0..3 {
            writer.add_finalizer(&seen).await.unwrap();
        }
        assert_eq!(server.stored.lock().unwrap()["metadata"]["resourceVersion"], "8");
        assert_eq!(server.conflicts.load(Ordering::Relaxed), 0);
    }
}
