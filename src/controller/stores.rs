//! What the Kubernetes API holds of our kinds: one watch each, shared by all drivers.
//!
//! kube's own shared streams are not used: one that is handed the name of an object that is gone answers `Pending`
//! without being woken again (kube-runtime 5.0, `ReflectHandle::poll_next`).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use tokio::sync::watch;

use super::patch::Object;
use super::words::Shared;
use crate::config::Settings;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP};
use crate::status::Conditioned;

/// So many objects are listed at a time: what is being read takes several times the memory of what is kept of it.
const PAGE: u32 = 100;

/// What became of a kind.
pub(super) type Changes<K> = UnboundedReceiver<Change<K>>;

/// An object that changed.
#[derive(Clone, Debug)]
pub(super) struct Change<K> {
    /// As the store has it.
    pub(super) object: Arc<K>,
    /// Whether it was there when the operator started.
    pub(super) is_old: bool,
}

/// Readers of the four kinds.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) domains: Store<EmailDomain>,
    pub(super) mailboxes: Store<EmailMailbox>,
    pub(super) aliases: Store<EmailAlias>,
    pub(super) rules: Store<EmailForwardingRule>,
    /// Of each kind, whether the first list is in.
    pub(super) listed: [watch::Receiver<bool>; 4],
}

impl Stores {
    /// Waits until every first list is in. (`Store::wait_until_ready` wakes only the last of several that wait.)
    pub(super) async fn ready(&self) {
        for listed in &self.listed {
            // An error only says that the watch has ended with the process.
            let _ = listed.clone().wait_for(|listed| *listed).await;
        }
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

/// A store that a watch fills for ever, with as many streams of changes as are asked for.
pub(super) struct Followed<K: Resource<DynamicType = ()> + 'static> {
    pub(super) reader: Store<K>,
    pub(super) changes: Vec<Changes<K>>,
    pub(super) listed: watch::Receiver<bool>,
}

/// Starts to follow a kind. A change is handed on only after the store has it.
pub(super) fn follow<K>(api: Api<K>, subscribers: usize) -> Followed<K>
where
    K: Object + 'static,
{
    let (reader, writer) = reflector::store();
    let (senders, changes): (Vec<_>, Vec<_>) = (0..subscribers).map(|_| unbounded()).unzip();
    let (all_in, listed) = watch::channel(false);
    let mut shared = Shared::default();
    let events = watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .modify(move |object| slim(object, &mut shared))
        .reflect(writer);
    tokio::spawn(hand_on(events, reader.clone(), senders, all_in));
    Followed { reader, changes, listed }
}

async fn hand_on<K>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    reader: Store<K>,
    senders: Vec<UnboundedSender<Change<K>>>,
    all_in: watch::Sender<bool>,
) where
    K: Resource<DynamicType = ()> + Clone,
{
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let mut is_old = false;
        let changed = match event {
            Ok(watcher::Event::Apply(object)) => vec![Arc::new(object)],
            Ok(watcher::Event::InitDone) => {
                is_old = !all_in.send_replace(true);
                reader.state()
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Delete(_)) => Vec::new(),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch broke off; it starts again");
                Vec::new()
            }
        };
        for (object, sender) in changed.iter().flat_map(|object| senders.iter().map(move |sender| (object, sender))) {
            // Whoever has stopped listening is at its end.
            let _ = sender.unbounded_send(Change { object: object.clone(), is_old });
        }
    }
}

/// Drops what no driver reads: half of an object is who set which field, and a map takes half a KiB for one entry.
fn slim<K: Object>(object: &mut K, shared: &mut Shared) {
    let meta = object.meta_mut();
    (meta.managed_fields, meta.labels) = (None, None);
    let ours = meta.annotations.take().into_iter().flatten().filter(|(key, _)| key.starts_with(GROUP));
    meta.annotations = Some(ours.collect()).filter(|ours: &BTreeMap<_, _>| !ours.is_empty());
    if let Some(status) = object.status_mut() {
        shared.share(status.conditions_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::PAUSED;
    use kube::ResourceExt;

    fn mailbox(name: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new(name, spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox
    }

    #[tokio::test]
    async fn the_first_list_is_handed_on_when_it_is_whole_and_then_each_change() {
        let (reader, writer) = reflector::store();
        let (sender, mut changes) = unbounded();
        let (all_in, listed) = watch::channel(false);
        let events = [
            watcher::Event::Init,
            watcher::Event::InitApply(mailbox("one")),
            watcher::Event::InitDone,
            watcher::Event::Apply(mailbox("two")),
            watcher::Event::Delete(mailbox("one")),
        ];
        let events = futures::stream::iter(events.map(Ok)).reflect(writer);
        hand_on(events, reader.clone(), vec![sender], all_in).await;
        assert!(*listed.borrow());
        let mut next = async || changes.next().await.map(|change| (change.object.name_any(), change.is_old));
        assert_eq!(next().await, Some(("one".to_owned(), true)));
        assert_eq!(next().await, Some(("two".to_owned(), false)));
        assert!(changes.next().await.is_none() && reader.state().len() == 1);
    }

    #[test]
    fn stores_hold_only_what_drivers_read() {
        let mut mailbox = mailbox("one");
        mailbox
            .managed_fields_mut()
            .push(k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry::default());
        mailbox.annotations_mut().insert("kubectl.kubernetes.io/last-applied-configuration".into(), "{}".into());
        mailbox.annotations_mut().insert(PAUSED.into(), "true".into());
        mailbox.labels_mut().insert("app".into(), "x".into());
        slim(&mut mailbox, &mut Shared::default());
        assert!(mailbox.metadata.managed_fields.is_none() && mailbox.metadata.labels.is_none());
        assert_eq!(mailbox.annotations().keys().collect::<Vec<_>>(), [PAUSED]);
        mailbox.annotations_mut().remove(PAUSED);
        slim(&mut mailbox, &mut Shared::default());
        assert!(mailbox.metadata.annotations.is_none());
    }
}
