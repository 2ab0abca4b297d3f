//! Which mailboxes and aliases want an address, and which domains a name, without a search through all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, StreamExt};
use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::refers::{Refers, domain_of};
use crate::crd::{EmailAlias, EmailDomain, EmailMailbox};
use crate::desired;
use crate::hash::hashed;
use crate::kubernetes::object::Object;
use crate::kubernetes::stores::{Change, Stores};
use crate::mail::DomainName;
use crate::shrink::shrink;

/// Changes are entered at least once in this time.
const DRAIN: Duration = Duration::from_secs(1);

/// An object that wants an address.
pub(crate) trait Addressed: Object + Refers {
    /// The local part; `None` for a catch-all.
    fn local_part(&self) -> Option<&str>;
    /// The full address in the status.
    fn address(&self) -> Option<&str>;
    /// Whether the status shows its entry on Mailcow.
    fn is_seen(&self) -> bool;
}

impl Addressed for EmailMailbox {
    fn local_part(&self) -> Option<&str> {
        Some(&self.spec.local_part)
    }

    fn address(&self) -> Option<&str> {
        self.status.as_ref()?.address.as_deref()
    }

    fn is_seen(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.quota.is_some())
    }
}

impl Addressed for EmailAlias {
    fn local_part(&self) -> Option<&str> {
        self.spec.local_part.as_deref()
    }

    fn address(&self) -> Option<&str> {
        self.status.as_ref()?.address.as_deref()
    }

    fn is_seen(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.alias_id.is_some())
    }
}

/// The address that an object wants, by its spec: a hash of the domain's object and the local part.
pub(crate) fn wanted(object: &impl Addressed) -> Option<u64> {
    Some(place(&domain_of(object)?, object.local_part()))
}

/// An address in a domain; without `local` the catch-all.
pub(crate) fn place(domain: &ObjectRef<EmailDomain>, local: Option<&str>) -> u64 {
    hashed(&(&domain.namespace, &domain.name, local.map(str::to_ascii_lowercase)))
}

/// The address that an object's status names, as a hash.
pub(crate) fn reported(object: &impl Addressed) -> Option<u64> {
    Some(hashed(&object.address()?))
}

/// The objects that want each address, and the domains with each name. Clones share them. A lookup sees every change
/// that the stores have published. Addresses are stored as hashes, because there may be 200,000.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Arc<Mutex<Index>>);

#[derive(Debug, Default)]
struct Index {
    /// Changes that were not entered yet.
    changes: Option<Subscriptions>,
    claimants: HashMap<u64, Claimants>,
    domains: HashMap<DomainName, Vec<ObjectRef<EmailDomain>>>,
}

#[derive(Debug)]
struct Subscriptions {
    mailboxes: UnboundedReceiver<Entered<u64, Claimant>>,
    aliases: UnboundedReceiver<Entered<u64, Claimant>>,
    domains: UnboundedReceiver<Entered<DomainName, ObjectRef<EmailDomain>>>,
}

/// An object that began or ceased to want an address, or to have a domain's name.
#[derive(Debug)]
struct Entered<N, O> {
    name: N,
    object: O,
    is_there: bool,
}

/// What a change means for the address that the object wants.
fn claimant<K: Addressed>(change: &Change<K>) -> Option<Entered<u64, Claimant>> {
    let object = change.changed(|object| hashed(&wanted(object)))?.as_ref();
    Some(Entered { name: wanted(object)?, object: Claimant::of(object), is_there: change.deleted().is_none() })
}

/// What a change means for the name of the domain.
fn named(change: &Change<EmailDomain>) -> Option<Entered<DomainName, ObjectRef<EmailDomain>>> {
    let domain = change.changed(|domain| hashed(&domain.spec.domain))?.as_ref();
    let object = ObjectRef::new(domain.metadata.name.as_deref().unwrap_or_default())
        .within(domain.metadata.namespace.as_deref().unwrap_or_default());
    Some(Entered { name: desired::domain_name(&domain.spec).ok()?, object, is_there: change.deleted().is_none() })
}

/// The objects that want one address: nearly always one.
#[derive(Debug)]
enum Claimants {
    One(Claimant),
    More(Vec<Claimant>),
}

/// An object that wants an address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claimant {
    kind: &'static str,
    namespace: Box<str>,
    name: Box<str>,
}

impl Claimant {
    fn of<K: Addressed>(object: &K) -> Self {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        Self { kind: K::KIND, namespace: text(&object.meta().namespace), name: text(&object.meta().name) }
    }

    /// A reference, if the object is of this kind.
    fn reference<K: Addressed>(&self) -> Option<ObjectRef<K>> {
        (self.kind == K::KIND).then(|| ObjectRef::new(&self.name).within(&self.namespace))
    }
}

impl Addresses {
    /// Follows the objects of the stores from now on.
    pub(crate) fn follow(stores: &Stores) -> Self {
        let changes = Subscriptions {
            mailboxes: stores.mailboxes.subscribe(claimant),
            aliases: stores.aliases.subscribe(claimant),
            domains: stores.domains.subscribe(named),
        };
        let addresses = Self(Arc::new(Mutex::new(Index { changes: Some(changes), ..Index::default() })));
        let weak = Arc::downgrade(&addresses.0);
        // Without lookups, changes must not pile up.
        tokio::spawn(async move {
            while let Some(index) = weak.upgrade() {
                drop(Self(index).index());
                tokio::time::sleep(DRAIN).await;
            }
        });
        addresses
    }

    /// The index with all published changes.
    fn index(&self) -> MutexGuard<'_, Index> {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut changes) = index.changes.take() {
            while let Some(Some(change)) = changes.domains.next().now_or_never() {
                index.enter_domain(change);
            }
            while let Some(Some(change)) = changes.mailboxes.next().now_or_never() {
                index.enter(change);
            }
            while let Some(Some(change)) = changes.aliases.next().now_or_never() {
                index.enter(change);
            }
            index.changes = Some(changes);
        }
        index
    }

    /// Whether an `EmailDomain` of any namespace has this name.
    pub(crate) fn has_domain(&self, name: &DomainName) -> bool {
        self.index().domains.contains_key(name)
    }

    /// The domains with this name, of any namespace.
    pub(crate) fn domains_named(&self, name: &DomainName) -> Vec<ObjectRef<EmailDomain>> {
        self.index().domains.get(name).cloned().unwrap_or_default()
    }

    /// The mailboxes that want this address, in any `EmailDomain` with this name.
    pub(crate) fn mailboxes_at(&self, local: &str, domain: &DomainName) -> Vec<ObjectRef<EmailMailbox>> {
        self.index().at(Some(local), domain)
    }

    /// The aliases that want this address, or the catch-all of the domain, in any `EmailDomain` with this name.
    pub(crate) fn aliases_at(&self, local: &str, domain: &DomainName) -> Vec<ObjectRef<EmailAlias>> {
        let index = self.index();
        let mut found = index.at(Some(local), domain);
        found.extend(index.at(None, domain));
        found
    }

    /// Whether another object wants the same address.
    pub(crate) fn has_others<K: Addressed>(&self, object: &K) -> bool {
        let Some(address) = wanted(object) else { return false };
        match self.index().claimants.get(&address) {
            None => false,
            Some(Claimants::One(only)) => *only != Claimant::of(object),
            Some(Claimants::More(_)) => true,
        }
    }

    /// References to the other mailboxes and aliases that want the same address.
    pub(crate) fn others<K: Addressed>(
        &self,
        object: &K,
    ) -> (Vec<ObjectRef<EmailMailbox>>, Vec<ObjectRef<EmailAlias>>) {
        let Some(address) = wanted(object) else { return (Vec::new(), Vec::new()) };
        let (index, own) = (self.index(), Claimant::of(object));
        let there = || index.claimants.get(&address).into_iter().flat_map(Claimants::all);
        let others = || there().filter(|claimant| **claimant != own);
        (others().filter_map(Claimant::reference).collect(), others().filter_map(Claimant::reference).collect())
    }
}

impl Index {
    fn enter_domain(&mut self, change: Entered<DomainName, ObjectRef<EmailDomain>>) {
        let Entered { name, object, is_there } = change;
        match self.domains.entry(name) {
            named if is_there => {
                let named = named.or_default();
                if !named.contains(&object) {
                    named.push(object);
                }
            }
            Entry::Occupied(mut named) => {
                named.get_mut().retain(|known| *known != object);
                if named.get().is_empty() {
                    named.remove();
                    shrink(&mut self.domains);
                }
            }
            Entry::Vacant(_) => {}
        }
    }

    fn enter(&mut self, change: Entered<u64, Claimant>) {
        let Entered { name, object, is_there } = change;
        match self.claimants.entry(name) {
            Entry::Vacant(place) if is_there => drop(place.insert(Claimants::One(object))),
            Entry::Occupied(mut place) if is_there => place.get_mut().add(object),
            Entry::Occupied(mut place) => {
                if place.get_mut().remove(&object) {
                    place.remove();
                    shrink(&mut self.claimants);
                }
            }
            Entry::Vacant(_) => {}
        }
    }

    fn at<K: Addressed>(&self, local: Option<&str>, domain: &DomainName) -> Vec<ObjectRef<K>> {
        let domains = self.domains.get(domain).into_iter().flatten();
        let claimants = domains.filter_map(|domain| self.claimants.get(&place(domain, local))).flat_map(Claimants::all);
        claimants.filter_map(Claimant::reference).collect()
    }
}

impl Claimants {
    fn all(&self) -> &[Claimant] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::More(several) => several,
        }
    }

    fn add(&mut self, claimant: Claimant) {
        match self {
            Self::One(only) if *only == claimant => {}
            Self::One(only) => *self = Self::More(vec![only.clone(), claimant]),
            Self::More(several) if several.contains(&claimant) => {}
            Self::More(several) => several.push(claimant),
        }
    }

    /// Removes one; returns whether none is left.
    fn remove(&mut self, claimant: &Claimant) -> bool {
        match self {
            Self::One(only) => only == claimant,
            Self::More(several) => {
                several.retain(|other| other != claimant);
                if let [only] = &several[..] {
                    *self = Self::One(only.clone());
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(name: &str, local: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str(&format!("{{localPart: {local}, domainRef: {{name: d}}}}")).unwrap();
        let mut mailbox = EmailMailbox::new(name, spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox
    }

    fn alias(name: &str, local: &str) -> EmailAlias {
        let spec = format!("{{localPart: {local}, domainRef: {{name: d}}, goto: [x@e.com]}}");
        let mut alias = EmailAlias::new(name, serde_yaml::from_str(&spec).unwrap());
        alias.metadata.namespace = Some("n".into());
        alias
    }

    fn enter<K: Addressed>(addresses: &Addresses, change: &Change<K>) {
        addresses.index().enter(claimant(change).unwrap());
    }

    #[test]
    fn others_are_known_until_they_are_deleted_whatever_their_kind() {
        let addresses = Addresses::default();
        let applied = |mailbox: &EmailMailbox| {
            enter(&addresses, &Change::Applied { object: Arc::new(mailbox.clone()), before: None });
        };
        let (one, two, third) = (mailbox("one", "ada"), mailbox("two", "Ada"), alias("one", "ADA"));
        applied(&one);
        applied(&one);
        assert!(!addresses.has_others(&one));
        assert!(addresses.has_others(&two), "known before it is entered itself");
        applied(&two);
        enter(&addresses, &Change::Listed(Arc::new(third.clone())));
        assert!(addresses.has_others(&one) && addresses.has_others(&third));
        enter(&addresses, &Change::Deleted(Arc::new(two)));
        assert!(addresses.has_others(&one));
        enter(&addresses, &Change::Deleted(Arc::new(third)));
        assert!(!addresses.has_others(&one) && !addresses.has_others(&mailbox("bob", "bob")));
        enter(&addresses, &Change::Deleted(Arc::new(one)));
        assert!(addresses.index().claimants.is_empty());
    }

    #[test]
    fn objects_are_found_by_their_address_also_from_other_namespaces() {
        let addresses = Addresses::default();
        let domain = |name: &str| {
            let mut domain = EmailDomain::new(name, serde_yaml::from_str("{domain: Example.com}").unwrap());
            domain.metadata.namespace = Some("n".into());
            Arc::new(domain)
        };
        let name = DomainName::parse("example.com").unwrap();
        let mut catch_all = alias("all", "unused");
        catch_all.spec.local_part = None;
        let mut guest = alias("guest", "sales");
        guest.metadata.namespace = Some("other".into());
        guest.spec.domain_ref.namespace = Some("n".into());
        enter(&addresses, &Change::Applied { object: Arc::new(mailbox("one", "Ada")), before: None });
        for alias in [catch_all, guest, alias("elsewhere", "x")] {
            enter(&addresses, &Change::Applied { object: Arc::new(alias), before: None });
        }
        assert!(!addresses.has_domain(&name) && addresses.mailboxes_at("ada", &name).is_empty());
        addresses.index().enter_domain(named(&Change::Listed(domain("d"))).unwrap());
        addresses.index().enter_domain(named(&Change::Applied { object: domain("d"), before: None }).unwrap());
        addresses.index().enter_domain(named(&Change::Applied { object: domain("rival"), before: None }).unwrap());
        assert_eq!(addresses.mailboxes_at("ada", &name), [ObjectRef::new("one").within("n")]);
        let sales = [ObjectRef::new("guest").within("other"), ObjectRef::new("all").within("n")];
        assert_eq!(addresses.aliases_at("sales", &name), sales);
        addresses.index().enter_domain(named(&Change::Deleted(domain("d"))).unwrap());
        assert!(addresses.has_domain(&name) && addresses.aliases_at("sales", &name).is_empty());
        addresses.index().enter_domain(named(&Change::Deleted(domain("rival"))).unwrap());
        assert!(!addresses.has_domain(&name));
    }

    #[test]
    fn what_is_gone_leaves_no_room_behind() {
        let addresses = Addresses::default();
        for round in 0..3 {
            let all: Vec<_> =
                (0..5000).map(|n| Arc::new(mailbox(&format!("m{n}"), &format!("r{round}-{n}")))).collect();
            for mailbox in &all {
                enter(&addresses, &Change::Applied { object: mailbox.clone(), before: None });
            }
            for mailbox in all {
                enter(&addresses, &Change::Deleted(mailbox));
            }
        }
        let left = &addresses.index().claimants;
        assert!(left.is_empty() && left.capacity() < 2048, "{}", left.capacity());
    }
}
