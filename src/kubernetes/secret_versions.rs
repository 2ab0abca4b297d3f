//! The versions of the Secrets in the watched namespaces, from a watch of their metadata: a Secret whose version is known
//! needs no read. A watch for each Secret would need a connection for each name in any mailbox's spec.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use k8s_openapi::jiff::SignedDuration;
use kube::Api;
use kube::api::PartialObjectMeta;
use kube::core::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};

use crate::hash::hashed;
use crate::kubernetes::writer::MANAGER;
use crate::mail::sha256;
use crate::publisher::Publisher;
use crate::shrink::shrink;

/// Number of Secrets in a page: their metadata may be large.
const PAGE: u32 = 100;
/// So long after a write of a Secret's data, another one in the same second has surely been seen.
const RECENT: SignedDuration = SignedDuration::from_mins(1);

/// The versions of all Secrets that were seen, as hashes, because there may be as many as mailboxes. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecretVersions {
    known: Arc<Mutex<HashMap<u64, Known>>>,
    changes: Publisher<SecretChange>,
}

/// A Secret that was created, changed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecretChange {
    /// Its name, as [`name_hash`] gives it.
    pub(crate) name: u64,
    /// A hash of its [`revision`]; `None` if it was deleted.
    pub(crate) version: Option<u64>,
}

/// A Secret that exists.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// A hash of its [`revision`].
    version: u64,
    /// The watch that it was seen by.
    watch: usize,
}

/// An event of one of the watches.
type Event = watcher::Event<PartialObjectMeta<Secret>>;

impl SecretVersions {
    /// Follows the Secrets of these namespaces for as long as the process runs.
    pub(crate) fn follow(apis: Vec<Api<PartialObjectMeta<Secret>>>) -> Self {
        let versions = Self::default();
        let watched = |api| watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
        let all = apis.into_iter().enumerate().map(|(n, api)| {
            watched(api).filter_map(move |event| std::future::ready(event.ok().map(|event| (n, event)))).boxed()
        });
        let events: Vec<BoxStream<'static, (usize, Event)>> = all.collect();
        tokio::spawn(versions.clone().enter_all(stream::select_all(events)));
        versions
    }

    /// Every change from now on, and the Secrets that exist.
    pub(crate) fn subscribe(&self) -> UnboundedReceiver<SecretChange> {
        let current = || {
            let known = self.known();
            known
                .iter()
                .map(|(name, known)| SecretChange { name: *name, version: Some(known.version) })
                .collect::<Vec<_>>()
        };
        self.changes.subscribe_to(current, |change| Some(*change))
    }

    /// Whether the Secret exists in this version.
    pub(crate) fn is_at(&self, namespace: &str, name: &str, version: &str) -> bool {
        self.known().get(&name_hash(namespace, name)).is_some_and(|known| known.version == hashed(&revision(version)))
    }

    async fn enter_all(self, mut events: impl Stream<Item = (usize, Event)> + Unpin) {
        // The Secrets in the list that a watch is reading, by watch.
        let mut listed: HashMap<usize, HashSet<u64>> = HashMap::new();
        while let Some((watch, event)) = events.next().await {
            match event {
                Event::Init => drop(listed.insert(watch, HashSet::new())),
                Event::InitApply(secret) => {
                    if let Some(name) = self.enter(watch, &secret.metadata) {
                        listed.entry(watch).or_default().insert(name);
                    }
                }
                Event::InitDone => self.leave_out_all_but(watch, &listed.remove(&watch).unwrap_or_default()),
                Event::Apply(secret) => drop(self.enter(watch, &secret.metadata)),
                Event::Delete(secret) => {
                    if let Some(name) = name_of(&secret.metadata) {
                        self.remove(&[name]);
                    }
                }
            }
        }
    }

    /// Stores a Secret, and publishes it if it changed. Gives its name.
    fn enter(&self, watch: usize, secret: &ObjectMeta) -> Option<u64> {
        let name = name_of(secret)?;
        let version = hashed(&revision_of(secret));
        let before = self.known().insert(name, Known { version, watch });
        if before.is_none_or(|before| before.version != version) {
            self.changes.publish(&SecretChange { name, version: Some(version) });
        }
        Some(name)
    }

    /// Removes the Secrets of a watch that its new list lacks.
    fn leave_out_all_but(&self, watch: usize, listed: &HashSet<u64>) {
        let is_gone = |(name, known): &(&u64, &Known)| known.watch == watch && !listed.contains(name);
        let gone: Vec<u64> = self.known().iter().filter(is_gone).map(|(name, _)| *name).collect();
        self.remove(&gone);
    }

    fn remove(&self, names: &[u64]) {
        {
            let mut known = self.known();
            for name in names {
                known.remove(name);
            }
            shrink(&mut *known);
        }
        for name in names {
            self.changes.publish(&SecretChange { name: *name, version: None });
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Secret's namespace and name as one number.
pub(crate) fn name_hash(namespace: &str, name: &str) -> u64 {
    hashed(&(namespace, name))
}

fn name_of(secret: &ObjectMeta) -> Option<u64> {
    Some(name_hash(secret.namespace.as_deref()?, secret.name.as_deref()?))
}

/// Version of a Secret: its uid, its resourceVersion, and a digest of the last writers of its data and their times. It
/// contains nothing of the password. The digest is left out where it can't tell this data from the next: times are in
/// seconds, and somebody else wrote the data less than a minute before `now`, as far as clocks agree.
pub(crate) fn version(secret: &ObjectMeta, now: &Time) -> String {
    let is_recent = |time: &Time| now.0.duration_since(time.0).abs() < RECENT;
    let is_open = data_writers(secret)
        .filter(|entry| entry.manager.as_deref() != Some(MANAGER))
        .any(|entry| entry.time.as_ref().is_none_or(is_recent));
    let writes = if is_open { String::new() } else { data_writes(secret) };
    format!("{}/{writes}", revision_of(secret))
}

/// A Secret's uid and resourceVersion.
fn revision_of(secret: &ObjectMeta) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", text(&secret.uid), text(&secret.resource_version))
}

/// The uid and the resourceVersion in a version: where they are the same, so is the Secret.
pub(crate) fn revision(version: &str) -> &str {
    version.match_indices('/').nth(1).and_then(|(end, _)| version.get(..end)).unwrap_or(version)
}

/// Whether two versions are of one Secret without a write to its data in between: a label or an annotation is no new
/// password.
pub(crate) fn is_same_data(one: &str, other: &str) -> bool {
    let parts = |version: &str| -> Option<(String, String)> {
        let (uid, rest) = version.split_once('/')?;
        let (_, writes) = rest.split_once('/').filter(|(_, writes)| !writes.is_empty())?;
        Some((uid.to_owned(), writes.to_owned()))
    };
    parts(one).is_some_and(|one| parts(other) == Some(one))
}

/// A digest of the writers of the Secret's data and their times, from `metadata.managedFields` (to the second); empty
/// without them.
fn data_writes(secret: &ObjectMeta) -> String {
    let mut writes: Vec<String> = data_writers(secret)
        .map(|entry| format!("{:?} {:?} {:?}", entry.manager, entry.operation, entry.time.as_ref().map(|time| time.0)))
        .collect();
    writes.sort_unstable();
    if writes.is_empty() { String::new() } else { sha256(&writes.join("\n")).chars().take(8).collect() }
}

/// The entries of who wrote the Secret's data. The API server enters what is applied on its side as `stringData` under
/// that name, although the object then has it in `data` (Kubernetes 1.36).
pub(crate) fn data_writers(secret: &ObjectMeta) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let is_of_data = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| ["f:data", "f:stringData"].iter().any(|name| fields.get(*name).is_some()))
    };
    secret.managed_fields.iter().flatten().filter(is_of_data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn secret(name: &str, version: u8) -> PartialObjectMeta<Secret> {
        let meta =
            serde_json::json!({"namespace": "n", "name": name, "uid": name, "resourceVersion": version.to_string()});
        PartialObjectMeta { metadata: serde_json::from_value(meta).unwrap(), ..PartialObjectMeta::default() }
    }

    /// What is published of these events of one watch.
    async fn published(versions: &SecretVersions, events: Vec<Event>) -> Vec<SecretChange> {
        let mut changes = versions.changes.subscribe();
        versions.clone().enter_all(stream::iter(events.into_iter().map(|event| (0, event)))).await;
        std::iter::from_fn(|| changes.next().now_or_never().flatten()).collect()
    }

    fn change(name: &str, number: Option<u8>) -> SecretChange {
        let version = number.map(|number| hashed(&revision_of(&secret(name, number).metadata)));
        SecretChange { name: name_hash("n", name), version }
    }

    fn is_at(versions: &SecretVersions, name: &str, number: u8) -> bool {
        versions.is_at("n", name, &revision_of(&secret(name, number).metadata))
    }

    #[tokio::test]
    async fn a_secret_is_at_its_last_version_until_it_is_deleted() {
        let versions = SecretVersions::default();
        let list = |secrets: &[(&str, u8)]| {
            let secrets = secrets.iter().map(|(name, version)| Event::InitApply(secret(name, *version)));
            [Event::Init].into_iter().chain(secrets).chain([Event::InitDone]).collect::<Vec<_>>()
        };
        let found = published(&versions, list(&[("one", 1), ("two", 1)])).await;
        assert_eq!(found, [change("one", Some(1)), change("two", Some(1))]);
        assert!(is_at(&versions, "one", 1) && !is_at(&versions, "one", 2) && !is_at(&versions, "three", 1));
        let found = published(&versions, vec![Event::Apply(secret("one", 2)), Event::Delete(secret("two", 3))]).await;
        assert_eq!(found, [change("one", Some(2)), change("two", None)]);
        assert!(is_at(&versions, "one", 2) && !is_at(&versions, "one", 1) && !is_at(&versions, "two", 1));
        let found = published(&versions, list(&[("one", 2), ("three", 1)])).await;
        assert_eq!(found, [change("three", Some(1))], "a later list publishes what differs");
        let found = published(&versions, list(&[("three", 1)])).await;
        assert_eq!(found, [change("one", None)], "what it lacks was deleted");
        assert_eq!(versions.subscribe().next().await, Some(change("three", Some(1))), "a subscriber gets what exists");
    }

    #[tokio::test]
    async fn the_list_of_one_namespace_removes_nothing_of_another() {
        let versions = SecretVersions::default();
        let of = |watch: usize, name: &str| {
            [Event::Init, Event::InitApply(secret(name, 1)), Event::InitDone].map(|event| (watch, event))
        };
        let events = of(0, "one").into_iter().chain(of(1, "two")).chain([(1, Event::Init), (1, Event::InitDone)]);
        versions.clone().enter_all(stream::iter(events)).await;
        assert!(is_at(&versions, "one", 1) && !is_at(&versions, "two", 1));
    }

    #[test]
    fn who_writes_a_label_writes_no_password() {
        let manifest = |number: &str, entries: serde_json::Value| -> String {
            let meta = serde_json::json!({"uid": "u", "resourceVersion": number, "managedFields": entries});
            version(&serde_json::from_value(meta).unwrap(), &crate::clock::now())
        };
        let data = |second: u8| {
            serde_json::json!({"manager": "m", "operation": "Update", "time": format!("2026-01-01T00:00:0{second}Z"),
                "fieldsV1": {"f:data": {"f:password": {}}}})
        };
        let label = serde_json::json!({"manager": "kubectl-label", "operation": "Update",
            "time": "2026-01-01T00:00:09Z", "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}});
        let first = manifest("1", serde_json::json!([data(1)]));
        assert!(is_same_data(&first, &manifest("2", serde_json::json!([data(1), label]))));
        assert!(!is_same_data(&first, &manifest("2", serde_json::json!([data(2)]))));
        assert!(
            !is_same_data("u/1/", "u/2/") && !is_same_data("u/1", "u/2"),
            "where no account is kept nothing is known"
        );
        assert!(!is_same_data(&first, &first.replace("u/", "v/")), "another Secret");
        let applied = serde_json::json!({"manager": "flux", "operation": "Apply", "time": "2026-01-01T00:00:03Z",
            "fieldsV1": {"f:stringData": {"f:password": {}}}});
        assert!(!is_same_data(&first, &manifest("2", serde_json::json!([data(1), applied]))), "applied as stringData");
    }

    #[test]
    fn another_write_in_the_same_second_is_a_new_password() {
        let read = |manager: &str, number: &str, second: u8| {
            let entry = serde_json::json!({"manager": manager, "operation": "Update", "time": "2026-01-01T00:00:01Z",
                "fieldsV1": {"f:data": {"f:password": {}}}});
            let meta = serde_json::json!({"uid": "u", "resourceVersion": number, "managedFields": [entry]});
            let now = serde_json::from_value(serde_json::json!(format!("2026-01-01T00:0{second}:00Z"))).unwrap();
            version(&serde_json::from_value(meta).unwrap(), &now)
        };
        assert!(!is_same_data(&read("m", "1", 0), &read("m", "2", 5)), "it may have been written again after the read");
        assert!(is_same_data(&read("m", "1", 4), &read("m", "2", 5)), "that second was over at the first read");
        assert!(is_same_data(&read(MANAGER, "1", 0), &read(MANAGER, "2", 5)), "the operator writes it once");
        assert_eq!(revision(&read("m", "1", 0)), revision(&read("m", "1", 5)), "the same Secret");
        assert_eq!(["u/1/d", "u/1/", "u/1"].map(revision), ["u/1"; 3]);
    }
}
