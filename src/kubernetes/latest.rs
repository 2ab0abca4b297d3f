//! The statuses and finalizers that were just written. The watch shows our own writes a moment later; a reconcile in
//! between must not use the older status: it would set a password twice, for example.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::core::object::HasStatus;
use serde::Serialize;

use crate::hash::hashed;
use crate::shrink::shrink;

/// Far longer than a watch takes.
const LAG: Duration = Duration::from_secs(10);

/// Statuses of the last seconds, by uid.
#[derive(Debug, Default)]
pub(crate) struct LatestStatuses(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    /// What was written, by uid; a few parts for each object.
    written: HashMap<String, Vec<Written>>,
    /// When old entries were last removed.
    cleaned: Option<Instant>,
    /// Hashes of statuses and parts whose write failed last, by uid and type: they may have been written.
    doubted: HashMap<(String, TypeId), u64>,
}

/// Our finalizer, as a part of an object.
struct Finalizer;

/// A status, or a part of one, that was written.
#[derive(Debug)]
struct Written {
    kind: TypeId,
    when: Instant,
    /// The version of the object with it, if known.
    version: Option<String>,
    part: Box<dyn Any + Send>,
}

impl LatestStatuses {
    /// Stores the status and version of an object that was just written, from the API server's answer. Answers may
    /// overtake each other: an older version does not replace a newer one.
    pub(crate) fn remember<K>(&self, object: &K)
    where
        K: ResourceExt + HasStatus<Status: Clone + Default + Send + 'static>,
    {
        if let Some(uid) = object.uid() {
            self.keep(&uid, object.resource_version(), object.status().cloned().unwrap_or_default());
        }
    }

    /// What was written within the last seconds, unless the object is newer.
    pub(crate) fn status<K>(&self, object: &K) -> Option<K::Status>
    where
        K: ResourceExt + HasStatus<Status: Clone + 'static>,
    {
        self.versioned(object).map(|(_, status)| status)
    }

    /// The same with the version of the object.
    pub(crate) fn versioned<K>(&self, object: &K) -> Option<(Option<String>, K::Status)>
    where
        K: ResourceExt + HasStatus<Status: Clone + 'static>,
    {
        let recent = self.recent();
        let written = recent.get::<K::Status>(&object.uid()?)?;
        if is_newer(object.meta().resource_version.as_deref(), written.version.as_deref()) {
            return None;
        }
        Some((written.version.clone(), written.part.downcast_ref().cloned()?))
    }

    /// Stores a part of a status that was written, by its type.
    pub(crate) fn put<T: Send + 'static>(&self, uid: &str, part: T) {
        self.keep(uid, None, part);
    }

    /// The part of this type that was written within the last seconds.
    pub(crate) fn get<T: Clone + 'static>(&self, uid: &str) -> Option<T> {
        self.recent().get::<T>(uid)?.part.downcast_ref().cloned()
    }

    /// Stores that an object has our finalizer, from the API server's answer.
    pub(crate) fn put_finalizer(&self, object: &impl ResourceExt) {
        if let Some(uid) = object.uid() {
            self.keep(&uid, object.resource_version(), Finalizer);
        }
    }

    /// Whether the object had our finalizer within the last seconds, unless the object is newer.
    pub(crate) fn has_finalizer(&self, object: &impl ResourceExt) -> bool {
        let recent = self.recent();
        let known = object.uid().and_then(|uid| recent.get::<Finalizer>(&uid));
        known.is_some_and(|known| !is_newer(object.meta().resource_version.as_deref(), known.version.as_deref()))
    }

    /// Forgets that an object has our finalizer: it is being removed.
    pub(crate) fn forget_finalizer(&self, object: &impl ResourceExt) {
        let uid = object.uid().unwrap_or_default();
        if let Some(parts) = self.recent().written.get_mut(&uid) {
            parts.retain(|part| part.kind != TypeId::of::<Finalizer>());
        }
    }

    /// A write failed, and may have been done: it is written again even if it seems to be there, and what the watch shows
    /// counts. (An older answer with a version counts until the watch shows something newer.)
    pub(crate) fn doubt<T: Serialize + 'static>(&self, uid: &str, part: &T) {
        let mut recent = self.recent();
        recent.doubted.insert((uid.to_owned(), TypeId::of::<T>()), hash_of(part));
        if let Some(parts) = recent.written.get_mut(uid) {
            parts.retain(|part| part.kind != TypeId::of::<T>() || part.version.is_some());
        }
    }

    /// Whether the last write failed and was of something else: that may be there although the watch shows `part`.
    pub(crate) fn is_doubted<T: Serialize + 'static>(&self, uid: &str, part: &T) -> bool {
        self.recent().doubted.get(&(uid.to_owned(), TypeId::of::<T>())).is_some_and(|failed| *failed != hash_of(part))
    }

    /// A write was answered.
    pub(crate) fn settle<T: 'static>(&self, uid: &str) {
        self.recent().doubted.remove(&(uid.to_owned(), TypeId::of::<T>()));
    }

    fn keep<T: Send + 'static>(&self, uid: &str, version: Option<String>, part: T) {
        let written = Written { kind: TypeId::of::<T>(), when: Instant::now(), version, part: Box::new(part) };
        let mut recent = self.recent();
        let is_older = |known: &Written| is_newer(known.version.as_deref(), written.version.as_deref());
        if !recent.get::<T>(uid).is_some_and(is_older) {
            let parts = recent.written.entry(uid.to_owned()).or_default();
            parts.retain(|part| part.kind != written.kind);
            parts.push(written);
        }
    }

    /// Forgets an object that was deleted.
    pub(crate) fn forget(&self, object: &impl ResourceExt) {
        if let Some(uid) = object.uid() {
            let mut recent = self.recent();
            recent.written.remove(&uid);
            recent.doubted.retain(|(of, _), _| *of != uid);
        }
    }

    /// The entries; now and then, forgets those that are no longer recent.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.cleaned.is_none_or(|cleaned| cleaned.elapsed() > LAG / 10) {
            recent.written.retain(|_, parts| {
                parts.retain(Written::is_recent);
                !parts.is_empty()
            });
            shrink(&mut recent.written);
            recent.cleaned = Some(Instant::now());
        }
        recent
    }
}

impl Recent {
    fn get<T: 'static>(&self, uid: &str) -> Option<&Written> {
        let of_kind = |part: &&Written| part.kind == TypeId::of::<T>() && part.is_recent();
        self.written.get(uid)?.iter().find(of_kind)
    }
}

impl Written {
    fn is_recent(&self) -> bool {
        self.when.elapsed() < LAG
    }
}

fn hash_of(part: &impl Serialize) -> u64 {
    hashed(&serde_json::to_string(part).unwrap_or_default())
}

/// Whether a version is newer than another. Versions grow with time (KEP-5504); where they can't be compared, it is not.
fn is_newer(version: Option<&str>, than: Option<&str>) -> bool {
    let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
    number(version).zip(number(than)).is_some_and(|(version, than)| version > than)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{EmailMailbox, EmailMailboxStatus};

    #[test]
    fn the_last_status_of_the_same_object_counts() {
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap());
        mailbox.metadata.uid = Some("u1".into());
        let written = EmailMailboxStatus { password_version: Some("v2".into()), ..EmailMailboxStatus::default() };
        let latest = LatestStatuses::default();
        (mailbox.metadata.resource_version, mailbox.status) = (Some("9".into()), Some(written.clone()));
        latest.remember(&mailbox);
        assert_eq!(latest.status(&mailbox), Some(written.clone()));
        (mailbox.metadata.resource_version, mailbox.status) = (Some("8".into()), None);
        assert_eq!(latest.status(&mailbox), Some(written), "the watch is behind");
        mailbox.metadata.resource_version = Some("10".into());
        assert_eq!(latest.status(&mailbox), None, "somebody has changed it since");
        mailbox.metadata.resource_version = None;
        mailbox.metadata.uid = Some("u2".into());
        assert_eq!(latest.status(&mailbox), None);
    }

    #[test]
    fn a_finalizer_is_known_until_the_object_is_newer_or_it_is_removed() {
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap());
        mailbox.metadata.uid = Some("u1".into());
        let latest = LatestStatuses::default();
        let known_at = |version: &str| {
            let mut mailbox = mailbox.clone();
            mailbox.metadata.resource_version = Some(version.into());
            latest.has_finalizer(&mailbox)
        };
        assert!(!known_at("8"));
        let mut written = mailbox.clone();
        written.metadata.resource_version = Some("9".into());
        latest.put_finalizer(&written);
        assert!(known_at("8") && known_at("9"), "the watch is behind");
        assert!(!known_at("10"), "somebody has changed it since");
        latest.forget_finalizer(&written);
        assert!(!known_at("8"));
    }

    #[test]
    fn an_answer_that_comes_late_takes_no_newer_ones_place() {
        let at = |version: &str, password: &str| {
            let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
            let mut mailbox = EmailMailbox::new("m", spec);
            mailbox.metadata.uid = Some("u1".into());
            mailbox.metadata.resource_version = Some(version.into());
            let password_version = Some(password.to_owned());
            mailbox.status = Some(EmailMailboxStatus { password_version, ..EmailMailboxStatus::default() });
            mailbox
        };
        let latest = LatestStatuses::default();
        let known = || latest.status(&at("1", "seen")).unwrap().password_version;
        latest.remember(&at("100", "v2"));
        latest.remember(&at("99", "v1"));
        assert_eq!(known().as_deref(), Some("v2"));
        latest.remember(&at("101", "v3"));
        assert_eq!(known().as_deref(), Some("v3"));
    }
}
