//! Which objects name which addresses on Mailcow: they are due when such an address is written. This only saves a
//! search through all objects; objects that it doesn't know are reconciled at the resync.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::UnboundedReceiver;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;

use crate::publisher::Publisher;

/// Objects of one kind by the addresses that they name.
pub(crate) struct NamedAddresses<K: Resource<DynamicType = ()>> {
    named: Mutex<Named<K>>,
    due: Publisher<ObjectRef<K>>,
}

struct Named<K: Resource<DynamicType = ()>> {
    by_address: HashMap<String, HashSet<ObjectRef<K>>>,
    by_object: HashMap<ObjectRef<K>, BTreeSet<String>>,
}

impl<K: Resource<DynamicType = ()>> Default for NamedAddresses<K> {
    fn default() -> Self {
        let named = Named { by_address: HashMap::new(), by_object: HashMap::new() };
        Self { named: Mutex::new(named), due: Publisher::default() }
    }
}

impl<K: Resource<DynamicType = ()>> fmt::Debug for NamedAddresses<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedAddresses").finish_non_exhaustive()
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> NamedAddresses<K> {
    /// Objects that are due because an address that they name was written on Mailcow.
    pub(crate) fn subscribe(&self) -> UnboundedReceiver<ObjectRef<K>> {
        self.due.subscribe()
    }

    /// Stores the addresses that an object names now.
    pub(crate) fn remember(&self, object: &K, now: BTreeSet<String>) {
        let object = ObjectRef::from_obj(object);
        let mut named = self.named();
        let before = named.by_object.remove(&object).unwrap_or_default();
        for address in before.difference(&now) {
            let left = named.by_address.get_mut(address).map(|objects| {
                objects.remove(&object);
                objects.len()
            });
            if left == Some(0) {
                named.by_address.remove(address);
            }
        }
        for address in now.difference(&before) {
            named.by_address.entry(address.clone()).or_default().insert(object.clone());
        }
        if !now.is_empty() {
            named.by_object.insert(object, now);
        }
    }

    /// Triggers the objects that name an address that was written on Mailcow.
    pub(crate) fn written(&self, address: &impl ToString) {
        let due: Vec<_> = self.named().by_address.get(&address.to_string()).into_iter().flatten().cloned().collect();
        for object in &due {
            self.due.publish(object);
        }
    }

    fn named(&self) -> MutexGuard<'_, Named<K>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::crd::EmailMailbox;

    #[test]
    fn who_names_an_address_is_due_when_it_is_written() {
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap());
        mailbox.metadata.namespace = Some("n".into());
        let addresses = NamedAddresses::default();
        let mut due = addresses.subscribe();
        let remember = |names: &[&str]| {
            addresses.remember(&mailbox, names.iter().map(|&name| name.to_owned()).collect());
        };
        let mut written = |address: &str| {
            addresses.written(&address);
            std::iter::from_fn(|| due.next().now_or_never().flatten()).count()
        };
        remember(&["team@e.com", "late@e.com"]);
        remember(&["team@e.com", "late@e.com"]);
        assert_eq!((written("team@e.com"), written("late@e.com"), written("other@e.com")), (1, 1, 0));
        remember(&["late@e.com"]);
        assert_eq!((written("team@e.com"), written("late@e.com")), (0, 1));
        remember(&[]);
        assert_eq!(written("late@e.com"), 0);
        assert!(addresses.named().by_address.is_empty() && addresses.named().by_object.is_empty());
    }
}
