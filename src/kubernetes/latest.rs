//! The statuses that were just written. The watch shows our own writes a moment later; a reconcile in between must not
//! use the older status: it would set a password twice, for example.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::core::object::HasStatus;

use crate::shrink::shrink;

/// Far longer than a watch takes.
const LAG: Duration = Duration::from_secs(10);

/// Statuses of the last seconds, by uid.
#[derive(Debug, Default)]
pub(crate) struct LatestStatuses(Mutex<Recent>);

type Recent = HashMap<(String, TypeId), Written>;

/// A status, or a part of one, that was written.
#[derive(Debug)]
struct Written {
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
        let written = recent.get(&(object.uid()?, TypeId::of::<K::Status>()))?;
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
        let recent = self.recent();
        recent.get(&(uid.to_owned(), TypeId::of::<T>()))?.part.downcast_ref().cloned()
    }

    fn keep<T: Send + 'static>(&self, uid: &str, version: Option<String>, part: T) {
        let written = Written { when: Instant::now(), version, part: Box::new(part) };
        let (mut recent, key) = (self.recent(), (uid.to_owned(), TypeId::of::<T>()));
        let is_older = |known: &Written| is_newer(known.version.as_deref(), written.version.as_deref());
        if !recent.get(&key).is_some_and(is_older) {
            recent.insert(key, written);
        }
    }

    /// Forgets an object that was deleted.
    pub(crate) fn forget(&self, object: &impl ResourceExt) {
        if let Some(uid) = object.uid() {
            self.recent().retain(|(of, _), _| *of != uid);
        }
    }

    /// The recent entries; forgets the rest.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.retain(|_, written| written.when.elapsed() < LAG);
        shrink(&mut *latest);
        latest
    }
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
