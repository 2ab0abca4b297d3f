//! What the Kubernetes API holds of our kinds: one watch each, shared by all drivers.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{self, ReflectHandle, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::config::Settings;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

/// Events that wait for the slowest subscriber.
const BUFFER: usize = 1024;

/// Readers of the four kinds.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) domains: Store<EmailDomain>,
    pub(super) mailboxes: Store<EmailMailbox>,
    pub(super) aliases: Store<EmailAlias>,
    pub(super) rules: Store<EmailForwardingRule>,
}

impl Stores {
    /// Waits until every first list is in.
    pub(super) async fn ready(&self) {
        // An error only says that the watch has ended with the process.
        let _ = tokio::join!(
            self.domains.wait_until_ready(),
            self.mailboxes.wait_until_ready(),
            self.aliases.wait_until_ready(),
            self.rules.wait_until_ready()
        );
    }
}

/// The API of a kind where the operator looks.
pub(super) fn scoped<K>(kube: &kube::Client, settings: &Settings) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match &settings.watch_namespace {
        Some(namespace) => Api::namespaced(kube.clone(), namespace),
        None => Api::all(kube.clone()),
    }
}

/// A store that a watch fills for ever, and as many subscriptions as are asked for. An event reaches a subscriber only
/// after the store has it.
pub(super) fn follow<K>(api: Api<K>, subscribers: usize) -> (Store<K>, Vec<ReflectHandle<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (reader, writer) = reflector::store_shared(BUFFER);
    let handles = (0..subscribers).filter_map(|_| writer.subscribe()).collect();
    let events = watcher(api, watcher::Config::default()).default_backoff().modify(slim).reflect_shared(writer);
    tokio::spawn(events.for_each(|event| {
        if let Err(error) = event {
            tracing::warn!(kind = %K::kind(&()), %error, "the watch broke off; it starts again");
        }
        std::future::ready(())
    }));
    (reader, handles)
}

/// Drops what no driver reads: half of an object is who set which field.
fn slim(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
}

/// One turn at a time for whoever names the same thing.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn; it ends when the guard is dropped.
    pub(super) async fn take(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(name.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_has_the_turn_of_a_name() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        let _other_name = turns.take("b").await;
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), turns.take("a")).await;
        assert!(waits.is_err());
        drop(first);
        turns.take("a").await;
    }
}
