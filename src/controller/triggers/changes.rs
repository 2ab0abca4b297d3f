//! Which changes trigger which objects: only relevant changes, not every write of a status.

use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::holdings;
use crate::controller::triggers::room::Room;
use crate::crd::{
    DnsGate, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP, RECONCILE_REQUESTED_AT,
    REPLACE_APP_PASSWORD, StatusCondition as Condition,
};
use crate::hash::hashed;
use crate::kubernetes::object::{annotation, is_paused};
use crate::kubernetes::store::{Store, Stored, Walk};
use crate::kubernetes::stores::Watched;
use crate::status;

/// So many passes over all objects go on at a time.
const AT_ONCE: usize = 2;
/// All objects are reconciled in turn, in this many parts.
const SHARES: u32 = 64;
/// Number of changes handled together.
const BATCH: usize = 1000;
/// The pause after a batch, in times of what it took: all batches of one kind use at most two percent of a core.
const PAUSE: u32 = 49;
/// Pauses shorter than this are left out.
const SHORT: Duration = Duration::from_millis(1);

/// The objects of a driver whose `matters` changes after the start, and deleted ones.
pub(crate) fn own_of<K: Stored>(
    watched: &Watched<K>,
    matters: fn(&K) -> u64,
) -> impl Stream<Item = ObjectRef<K>> + Send + 'static {
    watched.subscribe(move |change| Some(ObjectRef::from_obj(change.changed_since_start(matters)?.as_ref())))
}

/// Every object, as there is room: once all are listed, and again whenever `again` says so. Namespaces take turns, so that
/// the many objects of one don't hold up the others. What is said during such a pass begins one more beside it.
pub(crate) fn all_of<K: Stored>(
    watched: &Watched<K>,
    again: impl Stream<Item = ()> + Send + 'static,
    room: Room<K>,
) -> impl Stream<Item = ObjectRef<K>> + Send + 'static {
    let (watched, store) = (watched.clone(), watched.store());
    let next = move |mut walk: Walk| {
        let (store, room) = (store.clone(), room.clone());
        async move {
            let object = store.step(&mut walk)?;
            room.enter(&object).await;
            Some((object, walk))
        }
    };
    let listed = stream::once(async move { watched.ready().await });
    let passes = listed.chain(again).ready_chunks(BATCH);
    passes.flat_map_unordered(AT_ONCE, move |_| stream::unfold(Walk::default(), next.clone()).boxed())
}

/// Every object once in each `time`, spread over it, as there is room. A timer for each object would need as much memory as
/// the object.
pub(crate) fn in_turn<K: Stored>(
    store: Store<K>,
    time: Duration,
    room: Room<K>,
) -> impl Stream<Item = ObjectRef<K>> + Send + 'static {
    let each = time / SHARES;
    let shares = stream::unfold((0, Instant::now()), move |(share, before)| async move {
        tokio::time::sleep(each.saturating_sub(before.elapsed())).await;
        Some((share, ((share + 1) % SHARES, Instant::now())))
    });
    let of_share = move |share: u32| {
        stream::iter(store.references_where(|name| hashed(&name) % u64::from(SHARES) == u64::from(share)))
    };
    shares.flat_map(of_share).then(move |object| {
        let room = room.clone();
        async move {
            room.enter(&object).await;
            object
        }
    })
}

/// Handles changes in batches: all that happened meanwhile together. A batch that takes long to handle is followed by a
/// pause, in which the next batch grows: a search through all objects for each change would take the square of their
/// number.
pub(crate) fn in_batches<T, R, H>(changes: impl Stream<Item = T> + Send + 'static, handle: H) -> BoxStream<'static, R>
where
    T: Send + 'static,
    R: Send + 'static,
    H: FnMut(Vec<T>) -> Vec<R> + Send + 'static,
{
    let next = |(mut changes, mut handle, pause): (BoxStream<'static, Vec<T>>, H, Duration)| async move {
        tokio::time::sleep(pause).await;
        let batch = StreamExt::next(&mut changes).await?;
        let started = Instant::now();
        let found = handle(batch);
        let pause = started.elapsed() * PAUSE;
        Some((stream::iter(found), (changes, handle, if pause < SHORT { Duration::ZERO } else { pause })))
    };
    stream::unfold((changes.ready_chunks(BATCH).boxed(), handle, Duration::ZERO), next).flatten().boxed()
}

/// The parts of an object that its own driver acts on: spec, deletion, finalizers and our annotations.
pub(crate) fn own<K: Resource<DynamicType = ()>>(object: &K) -> u64 {
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

/// The parts of a domain that its Mailcow driver acts on; of DNS, only what it waits for.
pub(crate) fn domain_for_mailcow(domain: &EmailDomain) -> u64 {
    let Some(status) = &domain.status else { return own(domain) };
    let gate = domain.spec.dns.as_ref().map(|dns| dns.gate).unwrap_or_default();
    let verified = status.conditions.iter().find(|c| c.type_ == "DNSVerified" && gate != DnsGate::None);
    let asked = status.dns.as_ref().and_then(|dns| dns.last_handled_reconcile_at.as_ref());
    let proof = status.ownership.as_ref().map(|proof| (proof.verified, &proof.name, &proof.value, &proof.message));
    hashed(&(own(domain), verified.map(|c| (&c.status, c.observed_generation)), asked, proof))
}

/// The parts of a domain that its DNS driver acts on; of Mailcow, the DKIM key and whether the domain is ours.
pub(crate) fn domain_for_dns(domain: &EmailDomain) -> u64 {
    let Some(status) = &domain.status else { return own(domain) };
    let key = status.dkim.as_ref().map(|key| (&key.selector, &key.record));
    hashed(&(own(domain), status::is_reported(&status.conditions), status::is_ours(status), key))
}

/// The parts of a domain that objects which refer to it act on.
pub(crate) fn domain_for_others(domain: &EmailDomain) -> u64 {
    let conditions = domain.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_proven = status::is_true(conditions, "OwnershipVerified");
    // Limits matter once Mailcow has them.
    let in_sync = domain.status.as_ref().and_then(|status| status.synced_generation);
    // What belongs to a new domain reports nothing before the domain does.
    let is_reported = status::is_reported(conditions);
    let synced = synced(conditions.iter());
    hashed(&(&domain.metadata.uid, domain.metadata.generation, in_sync, synced, is_proven, is_reported))
}

/// The parts of a domain that other objects with its name depend on, including whether it is on Mailcow.
pub(crate) fn domain_for_rivals(domain: &EmailDomain) -> u64 {
    let is_held = domain.status.as_ref().is_some_and(|status| status.usage.is_some());
    hashed(&(own(domain), is_held))
}

/// The parts of a namespace that its objects act on: labels that a domain may select, and our annotations.
pub(crate) fn namespace(namespace: &PartialObjectMeta<Namespace>) -> u64 {
    let meta = &namespace.metadata;
    let annotations = meta.annotations.iter().flatten().filter(|(key, _)| key.starts_with(GROUP));
    hashed(&(&meta.uid, &meta.labels, annotations.collect::<Vec<_>>()))
}

/// The parts of a namespace that its automatic mailbox depends on; any annotation may have its name.
pub(crate) fn namespace_for_provision(namespace: &PartialObjectMeta<Namespace>) -> u64 {
    let meta = &namespace.metadata;
    hashed(&(&meta.uid, &meta.labels, &meta.annotations, meta.deletion_timestamp.is_some()))
}

/// The parts of a mailbox that the domain with automatic mailboxes acts on.
pub(crate) fn mailbox_for_provision(mailbox: &EmailMailbox) -> u64 {
    let meta = &mailbox.metadata;
    let address = mailbox.status.as_ref().and_then(|status| status.address.as_ref());
    hashed(&(&meta.uid, meta.generation, &meta.labels, meta.deletion_timestamp.is_some(), address))
}

/// The parts of a mailbox that objects which refer to it act on.
pub(crate) fn mailbox_for_others(mailbox: &EmailMailbox) -> u64 {
    let conditions = mailbox.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_there = mailbox.status.as_ref().is_some_and(|status| status.quota.is_some());
    hashed(&(
        &mailbox.metadata.uid,
        mailbox.metadata.generation,
        synced(conditions.iter()),
        is_there,
        status::is_reported(conditions),
        mailbox.metadata.deletion_timestamp.is_some(),
    ))
}

/// The parts of a domain that its senders depend on.
pub(crate) fn domain_for_senders(domain: &EmailDomain) -> u64 {
    let meta = &domain.metadata;
    hashed(&(&meta.uid, meta.deletion_timestamp.is_some(), holdings::of_domain(domain)))
}

/// The parts of a mailbox that its senders and its subaddresses depend on.
pub(crate) fn mailbox_for_neighbours(mailbox: &EmailMailbox) -> u64 {
    let address = mailbox.status.as_ref().and_then(|status| status.address.as_ref());
    hashed(&(&mailbox.metadata.uid, address, holdings::of_mailbox(mailbox)))
}

/// The same for an alias.
pub(crate) fn alias_for_neighbours(alias: &EmailAlias) -> u64 {
    let address = alias.status.as_ref().and_then(|status| status.address.as_ref());
    hashed(&(&alias.metadata.uid, address, holdings::of_alias(alias)))
}

/// The parts of a mailbox that its script depends on.
pub(crate) fn mailbox_for_script(mailbox: &EmailMailbox) -> u64 {
    hashed(&(mailbox_for_others(mailbox), is_paused(mailbox)))
}

/// The parts of a mailbox that its app password depends on.
pub(crate) fn mailbox_for_delivery(mailbox: &EmailMailbox) -> u64 {
    let asked = annotation(mailbox, REPLACE_APP_PASSWORD);
    let is_left = mailbox.status.as_ref().is_some_and(|status| status.delivery.is_some());
    hashed(&(mailbox_for_script(mailbox), asked, is_left))
}

/// The parts of a rule that the scripts of its mailboxes depend on.
pub(crate) fn rule_for_scripts(rule: &EmailForwardingRule) -> u64 {
    let asked = annotation(rule, RECONCILE_REQUESTED_AT);
    let meta = &rule.metadata;
    hashed(&(&meta.uid, meta.generation, meta.deletion_timestamp.is_some(), is_paused(rule), asked))
}

/// The parts of a mailbox that its rules read.
pub(crate) fn script_of_mailbox(mailbox: &EmailMailbox) -> u64 {
    let script = mailbox.status.as_ref().and_then(|status| status.script.as_ref());
    hashed(&(&mailbox.metadata.uid, mailbox.metadata.deletion_timestamp.is_some(), script))
}

/// The parts of an object that paths of mail depend on.
pub(crate) fn for_links<K: Resource<DynamicType = ()>>(object: &K) -> u64 {
    let meta = object.meta();
    hashed(&(&meta.uid, meta.generation, meta.deletion_timestamp.is_some()))
}

/// The same for a mailbox, including whether it gets mail.
pub(crate) fn mailbox_for_links(mailbox: &EmailMailbox) -> u64 {
    hashed(&(for_links(mailbox), holdings::of_mailbox(mailbox)))
}

/// The same for an alias.
pub(crate) fn alias_for_links(alias: &EmailAlias) -> u64 {
    hashed(&(for_links(alias), holdings::of_alias(alias)))
}

/// The same for an alias, including whether Mailcow matches its spec.
pub(crate) fn alias_for_aliases(alias: &EmailAlias) -> u64 {
    let synced = alias.status.as_ref().and_then(|status| status.synced_generation);
    hashed(&(alias_for_links(alias), synced == alias.metadata.generation))
}

/// The part of a mailbox, an alias or a rule that its domain counts.
pub(crate) fn ready(conditions: &[Condition]) -> u64 {
    hashed(&status::is_true(conditions, "Ready"))
}

fn synced<'a>(conditions: impl Iterator<Item = &'a Condition>) -> Option<&'a str> {
    conditions.filter(|c| c.type_ == "Synced").map(|c| c.status.as_str()).next()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::controller::triggers::room::PATIENCE;
    use crate::kubernetes::stores::Change;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::ResourceExt;

    fn mailbox(generation: i64) -> EmailMailbox {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new("m", spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox.metadata.generation = Some(generation);
        mailbox
    }

    #[test]
    fn a_write_of_the_status_triggers_nobody() {
        let mut with_status = mailbox(1);
        with_status.status = Some(crate::crd::EmailMailboxStatus::default());
        with_status.metadata.resource_version = Some("2".into());
        let [listed, with_status, changed_spec] = [mailbox(1), with_status, mailbox(2)].map(Arc::new);
        let applied = |object: &Arc<_>, before| Change::Applied { object: Arc::clone(object), before };
        let events = [
            Change::Listed(listed.clone()),
            applied(&with_status, Some(listed)),
            applied(&changed_spec, Some(with_status.clone())),
        ];
        assert_eq!(events.each_ref().map(|event| event.changed(own).is_some()), [true, false, true]);
        let others = events.each_ref().map(|event| event.changed_since_start(own).is_some());
        assert_eq!(others, [false, false, true], "others are not triggered at first");
    }

    #[test]
    fn a_deletion_and_a_creation_matter() {
        let object = Arc::new(mailbox(1));
        let created = Change::Applied { object: object.clone(), before: None };
        for event in [created, Change::Deleted(object)] {
            assert!(event.changed(own).is_some() && event.changed_since_start(own).is_some(), "{event:?}");
        }
    }

    #[tokio::test]
    async fn what_was_there_at_the_start_waits_for_room_and_not_for_ever() {
        let room = Room::new(1);
        let named = |name: &str| EmailMailbox {
            metadata: ObjectMeta { name: Some(name.into()), ..mailbox(1).metadata },
            ..mailbox(1)
        };
        let watched = Watched::of(["1", "2", "3"].map(named));
        let all = all_of(&watched, stream::empty(), room.clone());
        let mut events = Box::pin(stream::select(own_of(&watched, own), all));
        let next = async |events: &mut std::pin::Pin<Box<_>>| {
            let started = tokio::time::Instant::now();
            let object: ObjectRef<EmailMailbox> = StreamExt::next(events).await.unwrap();
            (object, started.elapsed() > PATIENCE / 2)
        };
        let (first, waited) = next(&mut events).await;
        assert_eq!((first.name.as_str(), waited), ("1", false));
        watched.publish(&Change::Applied { object: Arc::new(named("4")), before: None });
        let (new, waited) = next(&mut events).await;
        assert_eq!((new.name.as_str(), waited), ("4", false), "what is new does not wait");
        let (second, waited) = next(&mut events).await;
        assert_eq!((second.name.as_str(), waited), ("2", true));
        room.leave(&first);
        let (third, waited) = next(&mut events).await;
        assert_eq!((third.name.as_str(), waited), ("3", false));
    }

    #[tokio::test]
    async fn the_only_object_of_a_namespace_does_not_wait_for_thousands_of_another() {
        let within = |namespace: &str, name: String| {
            let metadata = ObjectMeta { name: Some(name), namespace: Some(namespace.into()), ..mailbox(1).metadata };
            EmailMailbox { metadata, ..mailbox(1) }
        };
        let many = (0..2000).map(|n| within("a", format!("m{n}")));
        let watched = Watched::of(many.chain(["b", "z"].map(|namespace| within(namespace, "only".into()))));
        let all = all_of(&watched, stream::empty(), Room::new(2002));
        let all: Vec<ObjectRef<EmailMailbox>> = all.collect().await;
        assert_eq!(all.len(), 2002);
        let first: Vec<_> = all.iter().take(3).map(|object| object.namespace.as_deref().unwrap()).collect();
        assert_eq!(first, ["a", "b", "z"]);
    }

    #[tokio::test]
    async fn what_asks_for_everything_during_a_pass_gets_one_more_at_once() {
        let named = |n: u32| EmailMailbox {
            metadata: ObjectMeta { name: Some(n.to_string()), ..mailbox(1).metadata },
            ..mailbox(1)
        };
        let watched = Watched::of((0..100).map(named));
        let (sender, again) = futures::channel::mpsc::unbounded();
        let mut all = Box::pin(all_of(&watched, again, Room::new(1000)));
        let mut seen: Vec<String> = vec![StreamExt::next(&mut all).await.unwrap().name];
        (0..5).for_each(|_| sender.unbounded_send(()).unwrap());
        drop(sender);
        seen.extend(all.map(|object| object.name).collect::<Vec<_>>().await);
        assert_eq!(seen.len(), 200);
        assert!(seen[1..90].contains(&seen[0]), "the second pass waits for the end of the first");
    }

    fn three_mailboxes() -> Store<EmailMailbox> {
        let (reader, mut writer) = crate::kubernetes::store::store::<EmailMailbox>();
        for name in ["a", "b", "c"] {
            let mut mailbox = mailbox(1);
            (mailbox.metadata.name, mailbox.metadata.uid) = (Some(name.into()), Some(format!("uid of {name}")));
            writer.apply(kube::runtime::watcher::Event::Apply(mailbox));
        }
        reader
    }

    #[tokio::test]
    async fn what_has_its_turn_waits_for_room_and_not_for_ever() {
        let room = Room::new(1);
        let time = Duration::from_millis(64);
        let mut turns = Box::pin(in_turn(three_mailboxes(), time, room.clone()));
        let mut next = async || {
            let started = tokio::time::Instant::now();
            let object = StreamExt::next(&mut turns).await.unwrap();
            (object, started.elapsed() > PATIENCE / 2)
        };
        let (first, waited) = next().await;
        assert!(!waited);
        assert!(next().await.1, "there is no room");
        room.leave(&first);
        assert!(!next().await.1);
    }

    #[tokio::test]
    async fn everything_has_its_turn_once_in_each_round() {
        let turns = in_turn(three_mailboxes(), Duration::from_millis(64), Room::new(6));
        let turns: Vec<_> = turns.take(6).map(|mailbox| mailbox.name).collect().await;
        let (mut first, second) = (turns[..3].to_vec(), &turns[3..]);
        assert_eq!(first, second);
        first.sort_unstable();
        assert_eq!(first, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn what_changes_while_a_long_search_pauses_is_one_batch() {
        let (sender, changes) = futures::channel::mpsc::unbounded();
        let (sizes, handled) = std::sync::mpsc::channel();
        let mut found = in_batches(changes, move |batch: Vec<u32>| {
            sizes.send(batch.len()).unwrap();
            std::thread::sleep(Duration::from_millis(5));
            batch
        });
        sender.unbounded_send(0).unwrap();
        assert_eq!(StreamExt::next(&mut found).await, Some(0), "the first is handled at once");
        for n in 1..=100 {
            sender.unbounded_send(n).unwrap();
        }
        drop(sender);
        assert_eq!(found.collect::<Vec<_>>().await, (1..=100).collect::<Vec<_>>());
        assert_eq!(handled.try_iter().collect::<Vec<_>>(), [1, 100]);
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
}
