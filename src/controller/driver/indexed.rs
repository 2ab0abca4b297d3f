//! The keys of the objects of each kind, by which stores find them.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::core::PartialObjectMeta;

use crate::controller::driver::addresses::{Addressed, wanted};
use crate::controller::driver::index::{Key, is_left_out};
use crate::controller::driver::refers::{Refers, domain_of};
use crate::controller::mailbox::{secrets, senders};
use crate::controller::triggers::{changes, unfinished};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::desired;
use crate::kubernetes::object::Object;
use crate::kubernetes::secret_versions::name_hash;
use crate::kubernetes::store::{IndexKey, Indexed};
use crate::status::Conditioned;
use crate::telemetry::ObjectState;

/// The keys that all kinds have alike.
fn of_meta(meta: &ObjectMeta) -> Vec<IndexKey> {
    let namespace = Key::Namespace(meta.namespace.as_deref().unwrap_or_default());
    let name = Key::Name(meta.name.as_deref().unwrap_or_default());
    [namespace, name].into_iter().chain(meta.uid.as_deref().map(Key::Uid)).map(IndexKey::from).collect()
}

/// The keys that mailboxes and aliases have alike.
fn of_address<K: Addressed>(object: &K) -> Vec<IndexKey> {
    let mut keys = of_meta(object.meta());
    let mut add = |key: Key| keys.push(key.into());
    if let Some(domain) = domain_of(object) {
        add(Key::Domain(domain.namespace.as_deref().unwrap_or_default(), &domain.name));
    }
    if let Some(address) = object.address() {
        add(Key::Address(address));
        if let Some((_, domain)) = address.rsplit_once('@') {
            add(Key::DomainName(domain));
        }
    }
    if let Some(address) = wanted(object) {
        add(Key::Wanted(address));
    }
    if let Some((base, _)) = object.local_part().and_then(|local| local.split_once('+')) {
        add(Key::Base(&base.to_lowercase()));
    }
    if unfinished::is_unfinished(object) {
        add(Key::Unfinished);
    }
    keys
}

/// What is counted of an object whose entry was recreated at some time, or never.
fn state<K: Object>(object: &K, recreated: Option<&Time>) -> ObjectState {
    let conditions = object.status().map(Conditioned::conditions).unwrap_or_default();
    ObjectState::of(conditions, object.meta().deletion_timestamp.is_some(), recreated)
}

impl Indexed for EmailDomain {
    type Tally = ObjectState;

    fn index_keys(&self) -> Vec<IndexKey> {
        let mut keys = of_meta(&self.metadata);
        let mut add = |key: Key| keys.push(key.into());
        let [namespace, own] =
            [&self.metadata.namespace, &self.metadata.name].map(|text| text.as_deref().unwrap_or_default());
        add(Key::Domain(namespace, own));
        if let Ok(name) = desired::domain_name(&self.spec) {
            add(Key::DomainName(name.as_str()));
        }
        if let Some(name) = self.status.as_ref().and_then(|status| status.domain.as_ref()) {
            add(Key::DomainName(name));
        }
        if self.spec.auto_provision.is_some() {
            add(Key::Provisions);
        }
        keys
    }

    fn tally(&self) -> ObjectState {
        state(self, self.status.as_ref().and_then(|status| status.recreated.as_ref()))
    }
}

impl Indexed for EmailMailbox {
    type Tally = ObjectState;

    fn index_keys(&self) -> Vec<IndexKey> {
        let mut keys = of_address(self);
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let senders = senders::named(self);
        keys.extend(senders.iter().map(|address| IndexKey::from(Key::Address(address))));
        let asked = self.spec.sender_acl.iter().flatten().map(|entry| entry.to_lowercase());
        keys.extend(asked.map(|address| IndexKey::from(Key::Address(&address))));
        if !senders.is_empty() {
            keys.push(Key::Sends(namespace).into());
        }
        keys.push(Key::Secret(name_hash(namespace, &secrets::name(self))).into());
        let script = self.status.as_ref().and_then(|status| status.script.as_ref());
        keys.extend(script.iter().flat_map(|script| &script.rules).map(|rule| IndexKey::from(Key::Rule(&rule.uid))));
        keys
    }

    fn fingerprint(&self) -> u64 {
        changes::mailbox_for_links(self)
    }

    fn tally(&self) -> ObjectState {
        state(self, self.status.as_ref().and_then(|status| status.recreated.as_ref()))
    }
}

impl Indexed for EmailAlias {
    type Tally = ObjectState;

    fn index_keys(&self) -> Vec<IndexKey> {
        let mut keys = of_address(self);
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let to = self.status.iter().flat_map(|status| &status.goto);
        keys.extend(to.map(|address| IndexKey::from(Key::Address(address))));
        let needed = self.mailboxes().into_iter().map(|mailbox| Key::Mailbox(namespace, &mailbox.name));
        keys.extend(needed.map(IndexKey::from));
        if is_left_out(self) {
            keys.push(Key::LeftOut.into());
        }
        keys
    }

    fn fingerprint(&self) -> u64 {
        changes::alias_for_links(self)
    }

    fn tally(&self) -> ObjectState {
        state(self, None)
    }
}

impl Indexed for EmailForwardingRule {
    type Tally = ObjectState;

    fn index_keys(&self) -> Vec<IndexKey> {
        let mut keys = of_meta(&self.metadata);
        let mut add = |key: Key| keys.push(key.into());
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(domain) = domain_of(self) {
            add(Key::Domain(domain.namespace.as_deref().unwrap_or_default(), &domain.name));
        }
        self.mailboxes().iter().for_each(|mailbox| add(Key::Mailbox(namespace, &mailbox.name)));
        if self.metadata.deletion_timestamp.is_some() {
            add(Key::Deleting(namespace));
        }
        keys
    }

    fn tally(&self) -> ObjectState {
        state(self, None)
    }
}

impl Indexed for PartialObjectMeta<Namespace> {
    type Tally = ();

    fn index_keys(&self) -> Vec<IndexKey> {
        of_meta(&self.metadata)
    }

    fn tally(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::store::store;
    use crate::kubernetes::store::tests::{mailbox, names};
    use kube::ResourceExt;
    use kube::runtime::reflector::ObjectRef;
    use kube::runtime::watcher::Event;

    #[test]
    fn objects_are_found_by_each_of_their_keys_and_no_others() {
        let (store, mut writer) = store();
        let mut sender = mailbox("sender", "ada+news");
        sender.spec.sender_acl = Some(vec!["Team@Example.com".into()]);
        sender.status = serde_yaml::from_str("{address: ada+news@example.com}").unwrap();
        writer.apply(Event::Apply(sender));
        writer.apply(Event::Apply(mailbox("plain", "bob")));
        let found = |key: Key| names(store.with_keys(key));
        let both = ["plain", "sender"];
        assert_eq!(found(Key::Namespace("n")), both);
        assert_eq!(found(Key::Domain("n", "d")), both);
        for key in [
            Key::Name("sender"),
            Key::Uid("uid of sender"),
            Key::Address("ada+news@example.com"),
            Key::Address("team@example.com"),
            Key::DomainName("example.com"),
            Key::Base("ada"),
            Key::Sends("n"),
        ] {
            assert_eq!(found(key), ["sender"], "{key:?}");
        }
        for key in [Key::Namespace("d"), Key::Domain("d", "n"), Key::Address("bob@example.com"), Key::Base("bob")] {
            assert!(found(key).is_empty(), "{key:?}");
        }
        assert_eq!(store.by_keys(Key::Namespace("n"), |_| false).count(), 0, "the caller decides");
        let is_sender = |mailbox: &EmailMailbox| mailbox.name_any() == "sender";
        assert_eq!(names(store.by_keys(Key::Base("ada"), is_sender)), ["sender"]);
        assert!(store.has(Key::Base("ada"), is_sender) && !store.has(Key::Namespace("n"), |_| false));
    }

    #[test]
    #[should_panic(expected = "a search lacks the keys of an object")]
    fn a_search_that_lacks_a_key_is_a_fault() {
        let (store, mut writer) = store();
        writer.apply(Event::Apply(mailbox("plain", "bob")));
        drop(store.by_keys(Key::Base("bob"), |mailbox: &EmailMailbox| mailbox.name_any() == "plain"));
    }

    #[test]
    fn a_changed_object_has_only_its_new_keys_and_a_deleted_one_none() {
        let (store, mut writer) = store();
        writer.apply(Event::Apply(mailbox("other", "eve+x")));
        writer.apply(Event::Apply(mailbox("m", "ada+x")));
        writer.apply(Event::Apply(mailbox("m", "bob+x")));
        let found = |key: Key| names(store.with_keys(key));
        assert_eq!((found(Key::Base("ada")), found(Key::Base("bob"))), (vec![], vec!["m".to_owned()]));
        writer.apply(Event::Delete(mailbox("m", "bob+x")));
        assert_eq!((found(Key::Base("bob")), found(Key::Namespace("n"))), (vec![], vec!["other".to_owned()]));
        writer.apply(Event::Apply(mailbox("n", "ada+x")));
        assert_eq!((found(Key::Base("bob")), found(Key::Base("ada"))), (vec![], vec!["n".to_owned()]));
    }

    #[test]
    fn every_object_is_counted_once_as_it_is_now() {
        let (store, mut writer) = store();
        let ready = |name: &str, is_ready: &str| {
            let mut object = mailbox(name, name);
            let conditions = format!(
                "conditions: [{{type: Ready, status: '{is_ready}', reason: A, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}]"
            );
            object.status = serde_yaml::from_str(&conditions).unwrap();
            object
        };
        let [yes, no] = ["True", "False"].map(|is_ready| ready("any", is_ready).tally());
        let counted = |store: &crate::kubernetes::store::Store<EmailMailbox>| {
            let mut all = store.tallies();
            all.sort_by_key(|(_, number)| *number);
            all
        };
        for (name, is_ready) in [("a", "True"), ("b", "True"), ("c", "True"), ("d", "False"), ("b", "True")] {
            writer.apply(Event::Apply(ready(name, is_ready)));
        }
        assert_eq!(counted(&store), [(no.clone(), 1), (yes.clone(), 3)]);
        writer.apply(Event::Apply(ready("a", "False")));
        writer.apply(Event::Delete(ready("b", "True")));
        writer.apply(Event::Delete(ready("b", "True")));
        assert_eq!(counted(&store), [(yes.clone(), 1), (no, 2)]);
        for event in
            [Event::Init, Event::InitApply(ready("a", "True")), Event::InitApply(ready("a", "True")), Event::InitDone]
        {
            writer.apply(event);
        }
        assert_eq!(counted(&store), [(yes, 1)]);
        writer.apply(Event::Delete(ready("a", "True")));
        assert!(store.tallies().is_empty());
    }

    #[test]
    fn an_object_with_many_keys_is_found_by_all() {
        let (store, mut writer) = store();
        let mut sender = mailbox("sender", "ada");
        sender.spec.sender_acl = Some((0..300).map(|n| format!("a{n}@example.com")).collect());
        writer.apply(Event::Apply(sender.clone()));
        for address in ["a0@example.com", "a299@example.com"] {
            assert_eq!(store.with_keys(Key::Address(address)).len(), 1, "{address}");
        }
        assert_eq!(*store.get(&ObjectRef::from_obj(&sender)).unwrap(), sender);
    }
}
