//! How mailboxes and aliases are held in memory: the keys by which they are searched, and what they have in common.

use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::controller::driver::addresses::{Addressed, reported, wanted};
use crate::controller::driver::index::{Key, is_left_out};
use crate::controller::driver::refers::{Refers, domain_of};
use crate::controller::mailbox::{secrets, senders};
use crate::controller::triggers::{changes, unfinished};
use crate::crd::{EmailAlias, EmailMailbox};
use crate::kubernetes::secret_versions::name_hash;
use crate::kubernetes::store::{IndexKey, Packable};

/// The keys that mailboxes and aliases have alike.
fn common<K: Addressed>(object: &K) -> Vec<IndexKey> {
    let mut keys = Vec::new();
    let mut add = |key: Key| keys.push(key.into());
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    add(Key::Namespace(namespace));
    add(Key::Name(object.meta().name.as_deref().unwrap_or_default()));
    if let Some(uid) = &object.meta().uid {
        add(Key::Uid(uid));
    }
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
    if let Some(address) = reported(object) {
        add(Key::Reported(address));
    }
    if let Some((base, _)) = object.local_part().and_then(|local| local.split_once('+')) {
        add(Key::Base(&base.to_lowercase()));
    }
    if unfinished::is_unfinished(object) {
        add(Key::Unfinished);
    }
    keys
}

/// A mailbox in sync.
const MAILBOX: &str = r#"apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata:
  name: person
  namespace: team
  uid: 00000000-0000-0000-0000-000000000000
  resourceVersion: "1000000"
  generation: 1
  creationTimestamp: "2026-01-01T00:00:00Z"
  finalizers: [email.askrobots.com/finalizer]
spec:
  localPart: person
  domainRef: {name: example}
  displayName: A Person
status:
  observedGeneration: 1
  syncedGeneration: 1
  syncedDomainGeneration: 1
  address: person@example.com
  quota: {limit: 1Gi, used: "0", percent: 0}
  messages: 0
  credentialsSecretName: person-mailbox
  passwordVersion: 00000000-0000-0000-0000-000000000000/1000000/0000000000000000
  server: default
  policies:
    deletion: {value: Retain, from: Kind}
    adoption: {value: IfUnowned, from: Kind}
    drift: {value: Correct, from: Kind}
  conditions:
  - {type: Ready, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: Synced, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: ResolvedRefs, status: "True", reason: ResolvedRefs, message: everything that the spec names exists, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
"#;

/// An alias in sync.
const ALIAS: &str = r#"apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata:
  name: person
  namespace: team
  uid: 00000000-0000-0000-0000-000000000000
  resourceVersion: "1000000"
  generation: 1
  creationTimestamp: "2026-01-01T00:00:00Z"
  finalizers: [email.askrobots.com/finalizer]
spec:
  localPart: person
  domainRef: {name: example}
  gotoMailboxRefs: [{name: person}]
status:
  observedGeneration: 1
  syncedGeneration: 1
  address: person@example.com
  aliasId: 1
  goto: [person@example.com]
  gotoSummary: person@example.com
  server: default
  policies:
    deletion: {value: Delete, from: Kind}
    adoption: {value: IfUnowned, from: Kind}
    drift: {value: Correct, from: Kind}
  conditions:
  - {type: Ready, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: Synced, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: ResolvedRefs, status: "True", reason: ResolvedRefs, message: everything that the spec names exists, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
"#;

/// A manifest as the JSON of its kind.
fn json<K: Serialize + DeserializeOwned>(manifest: &str) -> Vec<u8> {
    let object = serde_yaml::from_str::<K>(manifest).ok();
    object.and_then(|object| serde_json::to_vec(&object).ok()).unwrap_or_default()
}

impl Packable for EmailMailbox {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| json::<EmailMailbox>(MAILBOX));
        &TYPICAL
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let mut keys = common(self);
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
}

impl Packable for EmailAlias {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| json::<EmailAlias>(ALIAS));
        &TYPICAL
    }

    fn index_keys(&self) -> Vec<IndexKey> {
        let mut keys = common(self);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::store::{IndexKeys, store};
    use kube::ResourceExt;
    use kube::runtime::reflector::ObjectRef;
    use kube::runtime::watcher::Event;
    use std::sync::Arc;

    fn mailbox(name: &str, local: &str) -> EmailMailbox {
        let spec = serde_yaml::from_str(&format!("{{localPart: {local}, domainRef: {{name: d}}}}")).unwrap();
        let mut mailbox = EmailMailbox::new(name, spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox.metadata.uid = Some(format!("uid of {name}"));
        mailbox
    }

    fn names(found: impl IntoIterator<Item = Arc<EmailMailbox>>) -> Vec<String> {
        let mut names: Vec<_> = found.into_iter().map(|object| object.name_any()).collect();
        names.sort();
        names
    }

    #[test]
    fn objects_are_found_by_each_of_their_keys_and_no_others() {
        let (store, mut writer) = store();
        let mut sender = mailbox("sender", "ada+news");
        sender.spec.sender_acl = Some(vec!["Team@Example.com".into()]);
        sender.status = serde_yaml::from_str("{address: ada+news@example.com}").unwrap();
        writer.apply(Event::Apply(sender));
        writer.apply(Event::Apply(mailbox("plain", "bob")));
        let found = |key: Key| names(store.by_keys(key, |_| true));
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
        assert_eq!(store.by_keys(IndexKeys::default(), |_| true).count(), 0);
        assert!(store.has(Key::Base("ada"), |_| true) && !store.has(Key::Base("bob"), |_| true));
    }

    #[test]
    fn an_object_with_more_keys_than_can_be_counted_is_found_by_all() {
        let (store, mut writer) = store();
        let mut sender = mailbox("sender", "ada");
        sender.spec.sender_acl = Some((0..300).map(|n| format!("a{n}@example.com")).collect());
        writer.apply(Event::Apply(sender.clone()));
        for address in ["a0@example.com", "a299@example.com"] {
            assert!(store.has(Key::Address(address), |_| true), "{address}");
        }
        assert_eq!(*store.get(&ObjectRef::from_obj(&sender)).unwrap(), sender);
    }
}
