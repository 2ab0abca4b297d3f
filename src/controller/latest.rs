//! What was just said of an object. The watch brings our own writes back a moment later; a pass in between must not
//! take the older status for the last word (it would set a password twice, say).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::core::object::HasStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Far longer than a watch takes.
const LAG: Duration = Duration::from_secs(10);

/// Statuses of the last seconds, by uid.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<HashMap<String, (Instant, Value)>>);

impl Latest {
    /// Keeps what was said.
    pub(super) fn said(&self, object: &impl ResourceExt, status: &impl Serialize) {
        let (Some(uid), Ok(status)) = (object.uid(), serde_json::to_value(status)) else { return };
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.retain(|_, (since, _)| since.elapsed() < LAG);
        latest.insert(uid, (Instant::now(), status));
    }

    /// What was said within the last seconds.
    pub(super) fn status<K: ResourceExt + HasStatus<Status: DeserializeOwned>>(&self, object: &K) -> Option<K::Status> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, status) = latest.get(&object.uid()?).filter(|(since, _)| since.elapsed() < LAG)?;
        serde_json::from_value(status.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{EmailMailbox, EmailMailboxStatus};

    #[test]
    fn the_last_word_of_the_same_object_counts() {
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap());
        mailbox.metadata.uid = Some("u1".into());
        let said = EmailMailboxStatus { password_version: Some("v2".into()), ..EmailMailboxStatus::default() };
        let latest = Latest::default();
        latest.said(&mailbox, &said);
        assert_eq!(latest.status(&mailbox), Some(said));
        mailbox.metadata.uid = Some("u2".into());
        assert_eq!(latest.status(&mailbox), None);
    }
}
