//! What wakes which object: changes that matter, not every write of a status.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::Semaphore;

use super::context::{annotation, is_paused};
use super::stores::Change;
use crate::crd::{
    DomainRef, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP, RECONCILE_REQUESTED_AT, Ref,
    StatusCondition as Condition,
};
use crate::status;

/// How long room is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// In so many parts all objects have their turns.
const SHARES: u32 = 64;
/// How long a batch is gathered at most.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// Objects whose `what` changed since they were last seen. Names are remembered as hashes: with every subscription, they
/// would be a good part of the operator's memory.
pub(super) fn changed<K>(
    events: impl Stream<Item = Change<K>>,
    what: impl Fn(&K) -> u64,
) -> impl Stream<Item = Change<K>>
where
    K: Resource<DynamicType = ()>,
{
    let mut seen: HashMap<u64, u64> = HashMap::new();
    events.filter(move |Change { object, .. }| {
        let (name, now) = (hashed(&(&object.meta().namespace, &object.meta().name)), what(object));
        std::future::ready(seen.insert(name, now) != Some(now))
    })
}

/// The same for what wakes other objects. What was there at the start wakes none: each has its first pass
/// when everything is listed.
pub(super) fn when_changed_since_start<K>(
    events: impl Stream<Item = Change<K>>,
    what: impl Fn(&K) -> u64,
) -> impl Stream<Item = Arc<K>>
where
    K: Resource<DynamicType = ()>,
{
    changed(events, what).filter_map(|change| std::future::ready((!change.is_old).then_some(change.object)))
}

/// Hands on what was there at the start as there is room, which each pass makes; everything else at once. Where no room
/// is made for a second it goes on: an object that went makes none.
pub(super) fn as_there_is_room<K: Send + Sync + 'static>(
    events: impl Stream<Item = Change<K>> + Send + 'static,
    room: Arc<Semaphore>,
) -> impl Stream<Item = Change<K>> + Send {
    events.then(move |change| {
        let room = room.clone();
        async move {
            if change.is_old
                && let Ok(Ok(taken)) = tokio::time::timeout(PATIENCE, room.acquire()).await
            {
                taken.forget();
            }
            change
        }
    })
}

/// What comes again and again, each once in a batch: the first at once, and then what came while `each` passed for each
/// of the last batch, however many that are.
pub(super) fn gathered<T: Eq + Hash + Send + 'static>(
    events: impl Stream<Item = T> + Send + 'static,
    each: Duration,
) -> BoxStream<'static, T> {
    let gather = move |(mut events, rest): (BoxStream<'static, T>, Duration)| async move {
        let mut batch = HashSet::new();
        let mut meanwhile = Box::pin(events.by_ref().take_until(tokio::time::sleep(rest)));
        while let Some(event) = meanwhile.next().await {
            batch.insert(event);
        }
        drop(meanwhile);
        if batch.is_empty() {
            batch.insert(events.next().await?);
        }
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        Some((stream::iter(batch), (events, each.saturating_mul(count).min(LONGEST_REST))))
    };
    stream::unfold((events.fuse().boxed(), Duration::ZERO), gather).flatten().boxed()
}

/// Every object once in each `time`, spread over it. A timer for each of them would take as much memory as the object.
pub(super) fn in_turn<K>(store: Store<K>, time: Duration) -> BoxStream<'static, ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let each = time / SHARES;
    let shares = stream::unfold(0, move |share| async move {
        tokio::time::sleep(each).await;
        Some((share, (share + 1) % SHARES))
    });
    let of_share = move |share: u32| {
        let is_in = |object: &K| hashed(&object.meta().uid) % u64::from(SHARES) == u64::from(share);
        stream::iter(store.state_filter(is_in).into_iter().map(|object| ObjectRef::from_obj(object.as_ref())))
    };
    shares.flat_map(of_share).boxed()
}

/// What of an object its own driver acts on: spec, deletion, finalizers and our annotations.
pub(super) fn own<K: Resource<DynamicType = ()>>(object: &K) -> u64 {
    let meta = object.meta();
    let annotations = meta.annotations.iter().flatten().filter(|(key, _)| key.starts_with(GROUP));
    hashed(&(
        &meta.uid,
        meta.generation,
        meta.deletion_timestamp.is_some(),
        &meta.finalizers,
        annotations.collect::<Vec<_>>(),
    ))
}

/// What of a domain those that refer to it act on.
pub(super) fn domain_for_others(domain: &EmailDomain) -> u64 {
    let conditions = domain.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_proven = status::is_true(conditions, "OwnershipVerified");
    hashed(&(&domain.metadata.uid, domain.metadata.generation, synced(conditions.iter()), is_proven))
}

/// What of a namespace the objects in it act on: labels that a domain may ask for, and our annotations.
pub(super) fn namespace(namespace: &PartialObjectMeta<Namespace>) -> u64 {
    let meta = &namespace.metadata;
    let annotations = meta.annotations.iter().flatten().filter(|(key, _)| key.starts_with(GROUP));
    hashed(&(&meta.uid, &meta.labels, annotations.collect::<Vec<_>>()))
}

/// What of a namespace the mailbox that is made for it depends on; any annotation may hold its name.
pub(super) fn namespace_for_provision(namespace: &PartialObjectMeta<Namespace>) -> u64 {
    let meta = &namespace.metadata;
    hashed(&(&meta.uid, &meta.labels, &meta.annotations, meta.deletion_timestamp.is_some()))
}

/// What of a mailbox the domain that makes mailboxes acts on.
pub(super) fn mailbox_for_provision(mailbox: &EmailMailbox) -> u64 {
    let meta = &mailbox.metadata;
    let address = mailbox.status.as_ref().and_then(|status| status.address.as_ref());
    hashed(&(&meta.uid, meta.generation, &meta.labels, meta.deletion_timestamp.is_some(), address))
}

/// What of a mailbox those that refer to it act on.
pub(super) fn mailbox_for_others(mailbox: &EmailMailbox) -> u64 {
    let conditions = mailbox.status.iter().flat_map(|status| &status.conditions);
    hashed(&(
        &mailbox.metadata.uid,
        mailbox.metadata.generation,
        synced(conditions),
        mailbox.metadata.deletion_timestamp.is_some(),
    ))
}

/// What of a mailbox its script depends on.
pub(super) fn mailbox_for_script(mailbox: &EmailMailbox) -> u64 {
    hashed(&(mailbox_for_others(mailbox), is_paused(mailbox)))
}

/// What of a rule the scripts of its mailboxes depend on.
pub(super) fn rule_for_scripts(rule: &EmailForwardingRule) -> u64 {
    let asked = annotation(rule, RECONCILE_REQUESTED_AT);
    let meta = &rule.metadata;
    hashed(&(&meta.uid, meta.generation, meta.deletion_timestamp.is_some(), is_paused(rule), asked))
}

/// What of a mailbox, an alias or a rule its domain counts.
pub(super) fn ready_for_domain(conditions: &[Condition]) -> u64 {
    hashed(&status::is_true(conditions, "Ready"))
}

fn synced<'a>(conditions: impl Iterator<Item = &'a Condition>) -> Option<&'a str> {
    conditions.filter(|c| c.type_ == "Synced").map(|c| c.status.as_str()).next()
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// References of an object to others, as both sides write them.
pub(super) trait Refers: Resource<DynamicType = ()> {
    /// The domain it belongs to.
    fn domain(&self) -> Option<&DomainRef>;
    /// The mailboxes it needs.
    fn mailboxes(&self) -> Vec<&Ref>;
}

impl Refers for EmailMailbox {
    fn domain(&self) -> Option<&DomainRef> {
        Some(&self.spec.domain_ref)
    }

    fn mailboxes(&self) -> Vec<&Ref> {
        Vec::new()
    }
}

impl Refers for EmailAlias {
    fn domain(&self) -> Option<&DomainRef> {
        Some(&self.spec.domain_ref)
    }

    fn mailboxes(&self) -> Vec<&Ref> {
        self.spec.goto_mailbox_refs.iter().flatten().collect()
    }
}

impl Refers for EmailForwardingRule {
    fn domain(&self) -> Option<&DomainRef> {
        self.spec.domain_ref.as_ref()
    }

    fn mailboxes(&self) -> Vec<&Ref> {
        self.spec.mailbox_ref.iter().collect()
    }
}

/// Objects of one kind by namespace and name: what thousands that changed at once matter to is found in one go.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, HashSet<String>>);

impl Names {
    /// Whether there is one with this name in this namespace.
    pub(super) fn hold(&self, namespace: Option<&str>, name: &str) -> bool {
        namespace.and_then(|namespace| self.0.get(namespace)).is_some_and(|names| names.contains(name))
    }

    /// Whether one of them is the domain of `object`.
    pub(super) fn hold_domain_of(&self, object: &impl Refers) -> bool {
        let own = object.meta().namespace.as_deref();
        object.domain().is_some_and(|domain| self.hold(own.map(|own| domain.namespace_from(own)), &domain.name))
    }

    /// Whether one of them is a mailbox that `object` needs.
    pub(super) fn hold_mailbox_of(&self, object: &impl Refers) -> bool {
        object.mailboxes().iter().any(|mailbox| self.hold(object.meta().namespace.as_deref(), &mailbox.name))
    }
}

impl Extend<(String, String)> for Names {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, objects: T) {
        for (namespace, name) in objects {
            self.0.entry(namespace).or_default().insert(name);
        }
    }
}

impl FromIterator<(String, String)> for Names {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(objects: T) -> Self {
        let mut names = Self::default();
        names.extend(objects);
        names
    }
}

/// Whether `object` refers to the domain `name` in `namespace`.
pub(super) fn belongs_to(object: &impl Refers, namespace: Option<&str>, name: &str) -> bool {
    let is_there = |domain: &DomainRef| {
        let own = object.meta().namespace.as_deref();
        domain.name == name && own.is_some_and(|own| Some(domain.namespace_from(own)) == namespace)
    };
    object.domain().is_some_and(is_there)
}

/// Whether `object` refers to the mailbox `name` in `namespace`.
pub(super) fn needs(object: &impl Refers, namespace: Option<&str>, name: &str) -> bool {
    object.meta().namespace.as_deref() == namespace && object.mailboxes().iter().any(|mailbox| mailbox.name == name)
}

/// The reference of the domain that an object belongs to.
pub(super) fn domain_of(object: &impl Refers) -> Option<ObjectRef<EmailDomain>> {
    let domain = object.domain()?;
    Some(ObjectRef::new(&domain.name).within(domain.namespace_from(object.meta().namespace.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt;

    fn mailbox(generation: i64) -> EmailMailbox {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new("m", spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox.metadata.generation = Some(generation);
        mailbox
    }

    #[tokio::test]
    async fn a_write_of_the_status_wakes_nobody() {
        let mut with_status = mailbox(1);
        with_status.status = Some(crate::crd::EmailMailboxStatus::default());
        with_status.metadata.resource_version = Some("2".into());
        let events = [(mailbox(1), true), (with_status, false), (mailbox(2), false)];
        let events = events.map(|(mailbox, is_old)| Change { object: Arc::new(mailbox), is_old });
        assert_eq!(changed(stream::iter(events.clone()), own).count().await, 2);
        assert_eq!(
            when_changed_since_start(stream::iter(events), own).count().await,
            1,
            "others are not woken at first"
        );
    }

    #[tokio::test]
    async fn what_comes_again_soon_comes_once_with_others() {
        let (sender, events) = futures::channel::mpsc::unbounded();
        let mut gathered = gathered(events, Duration::from_millis(200));
        let next = async |gathered: &mut BoxStream<'static, i32>| {
            tokio::time::timeout(Duration::from_millis(100), gathered.next()).await.ok().flatten()
        };
        sender.unbounded_send(1).unwrap();
        assert_eq!(next(&mut gathered).await, Some(1), "the first comes at once");
        for again in [1, 2, 1, 1, 2] {
            sender.unbounded_send(again).unwrap();
        }
        assert_eq!(next(&mut gathered).await, None, "what comes soon after it waits");
        let mut both = [gathered.next().await.unwrap(), gathered.next().await.unwrap()];
        both.sort_unstable();
        assert_eq!(both, [1, 2]);
        drop(sender);
        assert_eq!(gathered.next().await, None);
    }

    #[tokio::test]
    async fn what_was_there_at_the_start_waits_for_room_and_not_for_ever() {
        let room = Arc::new(Semaphore::new(1));
        let change = |n: i64| Change { object: Arc::new(mailbox(n)), is_old: n < 4 };
        let mut events = Box::pin(as_there_is_room(stream::iter((1..=4).map(change)), room.clone()));
        let next = async |events: &mut std::pin::Pin<Box<_>>| {
            let started = tokio::time::Instant::now();
            let change: Change<EmailMailbox> = StreamExt::next(events).await.unwrap();
            (change.object.metadata.generation, started.elapsed() > PATIENCE / 2)
        };
        assert_eq!(next(&mut events).await, (Some(1), false));
        assert_eq!(next(&mut events).await, (Some(2), true));
        room.add_permits(1);
        assert_eq!(next(&mut events).await, (Some(3), false));
        assert_eq!(next(&mut events).await, (Some(4), false), "what comes later is handed on at once");
    }

    #[tokio::test]
    async fn everything_has_its_turn_once_in_each_round() {
        let (reader, mut writer) = kube::runtime::reflector::store::<EmailMailbox>();
        for name in ["a", "b", "c"] {
            let mut mailbox = mailbox(1);
            (mailbox.metadata.name, mailbox.metadata.uid) = (Some(name.into()), Some(format!("uid of {name}")));
            writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(mailbox));
        }
        let turns: Vec<_> =
            in_turn(reader, Duration::from_millis(64)).take(6).map(|mailbox| mailbox.name).collect().await;
        let (mut first, second) = (turns[..3].to_vec(), &turns[3..]);
        assert_eq!(first, second);
        first.sort_unstable();
        assert_eq!(first, ["a", "b", "c"]);
    }

    #[test]
    fn deletion_pause_and_finalizers_matter() {
        let base = own(&mailbox(1));
        let mut paused = mailbox(1);
        paused.annotations_mut().insert(crate::crd::PAUSED.into(), "true".into());
        let mut labelled = mailbox(1);
        labelled.annotations_mut().insert("other/annotation".into(), "x".into());
        let mut held = mailbox(1);
        held.finalizers_mut().push("x".into());
        assert!(own(&paused) != base && own(&held) != base);
        assert_eq!(own(&labelled), base);
    }

    #[test]
    fn references_count_only_inside_the_namespace() {
        let names = |namespace: &str, name: &str| Names::from_iter([(namespace.to_owned(), name.to_owned())]);
        assert!(names("n", "d").hold_domain_of(&mailbox(1)));
        assert!(!names("other", "d").hold_domain_of(&mailbox(1)) && !names("n", "e").hold_domain_of(&mailbox(1)));
        let spec = "{localPart: a, domainRef: {name: d}, gotoMailboxRefs: [{name: x}, {name: y}]}";
        let mut alias = EmailAlias::new("a", serde_yaml::from_str(spec).unwrap());
        alias.metadata.namespace = Some("n".into());
        assert!(names("n", "y").hold_mailbox_of(&alias) && !names("other", "y").hold_mailbox_of(&alias));
        assert!(belongs_to(&mailbox(1), Some("n"), "d"));
        assert!(!belongs_to(&mailbox(1), Some("other"), "d"));
        assert!(!belongs_to(&mailbox(1), Some("n"), "e"));
    }

    #[test]
    fn a_domain_of_another_namespace_is_meant_where_it_is_named() {
        let mut guest = mailbox(1);
        guest.spec.domain_ref.namespace = Some("platform".into());
        assert!(belongs_to(&guest, Some("platform"), "d") && !belongs_to(&guest, Some("n"), "d"));
        assert_eq!(domain_of(&guest), Some(ObjectRef::new("d").within("platform")));
    }
}
