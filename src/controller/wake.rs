//! What wakes which object: changes that matter, not every write of a status.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::context::{annotation, is_paused};
use crate::crd::{
    DomainRef, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP, RECONCILE_REQUESTED_AT, Ref,
};
use crate::status;

/// Objects whose `what` changed since they were last seen.
pub(super) fn when_changed<K>(
    events: impl Stream<Item = Arc<K>>,
    what: impl Fn(&K) -> u64,
) -> impl Stream<Item = Arc<K>>
where
    K: Resource<DynamicType = ()>,
{
    let mut seen: HashMap<(Option<String>, String), u64> = HashMap::new();
    events.filter(move |object| {
        let is_new = has_changed(&mut seen, object.as_ref(), what(object));
        std::future::ready(is_new)
    })
}

fn has_changed<K: Resource<DynamicType = ()>>(
    seen: &mut HashMap<(Option<String>, String), u64>,
    object: &K,
    now: u64,
) -> bool {
    match seen.entry((object.namespace(), object.name_any())) {
        Entry::Occupied(before) if *before.get() == now => false,
        Entry::Occupied(mut before) => {
            before.insert(now);
            true
        }
        Entry::Vacant(free) => {
            free.insert(now);
            true
        }
    }
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
    use futures::stream;

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
        let events = stream::iter([mailbox(1), with_status, mailbox(2)].map(Arc::new));
        assert_eq!(when_changed(events, own).count().await, 2);
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
