//! The statuses that were just written. The watch shows our own writes a moment later; a reconcile in between must not
//! decide from the older status: it would set a password twice, for example.

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

type Recent = HashMap<(String, TypeId), (Instant, Box<dyn Any + Send>)>;

impl LatestStatuses {
    /// Keeps what was written.
    pub(crate) fn remember<K>(&self, object: &K, status: &K::Status)
    where
        K: ResourceExt + HasStatus<Status: Clone + Send + 'static>,
    {
        if let Some(uid) = object.uid() {
            self.put(&uid, status.clone());
        }
    }

    /// What was written within the last seconds.
    pub(crate) fn status<K>(&self, object: &K) -> Option<K::Status>
    where
        K: ResourceExt + HasStatus<Status: Clone + 'static>,
    {
        self.get(object.meta().uid.as_ref()?)
    }

    /// Keeps a part of a status that was written, by its type.
    pub(crate) fn put<T: Send + 'static>(&self, uid: &str, part: T) {
        self.recent().insert((uid.to_owned(), TypeId::of::<T>()), (Instant::now(), Box::new(part)));
    }

    /// The part of this type that was written within the last seconds.
    pub(crate) fn get<T: Clone + 'static>(&self, uid: &str) -> Option<T> {
        let recent = self.recent();
        let (_, part) = recent.get(&(uid.to_owned(), TypeId::of::<T>()))?;
        part.downcast_ref().cloned()
    }

    /// Forgets an object that was deleted.
    pub(crate) fn forget(&self, object: &impl ResourceExt) {
        if let Some(uid) = object.uid() {
            self.recent().retain(|(of, _), _| *of != uid);
        }
    }

    /// What is still needed; the rest is forgotten.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.retain(|_, (since, _)| since.elapsed() < LAG);
        shrink(&mut *latest);
        latest
    }
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
        latest.remember(&mailbox, &written);
        assert_eq!(latest.status(&mailbox), Some(written));
        mailbox.metadata.uid = Some("u2".into());
        assert_eq!(latest.status(&mailbox), None);
    }
}
