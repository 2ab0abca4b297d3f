//! Which mailboxes and aliases want the same address, without a search through all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, stream};

use crate::controller::driver::refers::{Refers, domain_of};
use crate::crd::{EmailAlias, EmailMailbox};
use crate::hash::hashed;
use crate::kubernetes::object::Object;
use crate::kubernetes::stores::{Change, Changes, Stores};
use crate::shrink::shrink;

/// An object that wants an address.
pub(crate) trait Addressed: Object + Refers {
    /// The local part; `None` for a catch-all.
    fn local_part(&self) -> Option<&str>;
    /// The full address in the status.
    fn address(&self) -> Option<&str>;
}

impl Addressed for EmailMailbox {
    fn local_part(&self) -> Option<&str> {
        Some(&self.spec.local_part)
    }

    fn address(&self) -> Option<&str> {
        self.status.as_ref()?.address.as_deref()
    }
}

impl Addressed for EmailAlias {
    fn local_part(&self) -> Option<&str> {
        self.spec.local_part.as_deref()
    }

    fn address(&self) -> Option<&str> {
        self.status.as_ref()?.address.as_deref()
    }
}

/// The address that an object wants, by its spec: a hash of the domain's object and the local part.
pub(crate) fn wanted(object: &impl Addressed) -> Option<u64> {
    let domain = domain_of(object)?;
    let local = object.local_part().map(str::to_ascii_lowercase);
    Some(hashed(&(&domain.namespace, &domain.name, local)))
}

/// The address that an object's status names, as a hash.
pub(crate) fn reported(object: &impl Addressed) -> Option<u64> {
    Some(hashed(&object.address()?))
}

/// The objects that want each address. Clones share them. Only hashes, because there may be 200,000.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<u64, Claimants>>>);

/// The objects that want one address: nearly always one.
#[derive(Debug)]
enum Claimants {
    One(u64),
    More(Vec<u64>),
}

impl Addresses {
    /// Follows the objects of the stores from now on.
    pub(crate) fn follow(stores: &Stores) -> Self {
        let addresses = Self::default();
        tokio::spawn(addresses.clone().follow_both(stores.mailboxes.subscribe(), stores.aliases.subscribe()));
        addresses
    }

    async fn follow_both(self, mailboxes: Changes<EmailMailbox>, aliases: Changes<EmailAlias>) {
        let (of_mailboxes, of_aliases) = (self.clone(), self);
        let mailboxes = mailboxes.map(|change| of_mailboxes.enter(&change));
        let aliases = aliases.map(|change| of_aliases.enter(&change));
        stream::select(mailboxes, aliases).for_each(std::future::ready).await;
    }

    fn enter<K: Addressed>(&self, change: &Change<K>) {
        let object = change.object().as_ref();
        let Some(address) = wanted(object) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Listed(_) | Change::Applied(_) => match all.entry(address) {
                Entry::Vacant(place) => drop(place.insert(Claimants::One(id(object)))),
                Entry::Occupied(mut place) => place.get_mut().add(id(object)),
            },
            Change::Deleted(_) => {
                if all.get_mut(&address).is_some_and(|claimants| claimants.remove(id(object))) {
                    all.remove(&address);
                    shrink(&mut *all);
                }
            }
        }
    }

    /// Whether another object wants the same address.
    pub(crate) fn has_others<K: Addressed>(&self, object: &K) -> bool {
        let Some(address) = wanted(object) else { return false };
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&address) {
            None => false,
            Some(Claimants::One(only)) => *only != id(object),
            Some(Claimants::More(_)) => true,
        }
    }
}

impl Claimants {
    fn add(&mut self, id: u64) {
        match self {
            Self::One(only) if *only == id => {}
            Self::One(only) => *self = Self::More(vec![*only, id]),
            Self::More(ids) if ids.contains(&id) => {}
            Self::More(ids) => ids.push(id),
        }
    }

    /// Removes one; returns whether none is left.
    fn remove(&mut self, id: u64) -> bool {
        match self {
            Self::One(only) => *only == id,
            Self::More(ids) => {
                ids.retain(|other| *other != id);
                if let [only] = ids[..] {
                    *self = Self::One(only);
                }
                false
            }
        }
    }
}

fn id<K: Addressed>(object: &K) -> u64 {
    hashed(&(K::KIND, &object.meta().namespace, &object.meta().name))
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

    #[test]
    fn others_are_known_until_they_are_deleted_whatever_their_kind() {
        let addresses = Addresses::default();
        let applied = |mailbox: &EmailMailbox| addresses.enter(&Change::Applied(Arc::new(mailbox.clone())));
        let (one, two, third) = (mailbox("one", "ada"), mailbox("two", "Ada"), alias("one", "ADA"));
        applied(&one);
        applied(&one);
        assert!(!addresses.has_others(&one));
        assert!(addresses.has_others(&two), "known before it is entered itself");
        applied(&two);
        addresses.enter(&Change::Listed(Arc::new(third.clone())));
        assert!(addresses.has_others(&one) && addresses.has_others(&third));
        addresses.enter(&Change::Deleted(Arc::new(two)));
        assert!(addresses.has_others(&one));
        addresses.enter(&Change::Deleted(Arc::new(third)));
        assert!(!addresses.has_others(&one) && !addresses.has_others(&mailbox("bob", "bob")));
        addresses.enter(&Change::Deleted(Arc::new(one)));
        assert!(addresses.0.lock().unwrap().is_empty());
    }

    #[test]
    fn what_is_gone_leaves_no_room_behind() {
        let addresses = Addresses::default();
        for round in 0..3 {
            let all: Vec<_> =
                (0..5000).map(|n| Arc::new(mailbox(&format!("m{n}"), &format!("r{round}-{n}")))).collect();
            for mailbox in &all {
                addresses.enter(&Change::Applied(mailbox.clone()));
            }
            for mailbox in all {
                addresses.enter(&Change::Deleted(mailbox));
            }
        }
        let left = addresses.0.lock().unwrap();
        assert!(left.is_empty() && left.capacity() < 2048, "{}", left.capacity());
    }
}
