//! Mailboxes whose given or generated Secret changed.

use std::collections::HashMap;

use futures::stream::BoxStream;
use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::index::Key;
use crate::controller::mailbox::secrets;
use crate::controller::triggers::changes::in_batches;
use crate::crd::EmailMailbox;
use crate::hash::hashed;
use crate::kubernetes::secret_versions::{SecretChange, SecretVersions, name_hash};
use crate::kubernetes::store::{IndexKeys, Store};

/// The mailboxes with their password in a Secret that changed, except those that were set to its latest version; at the
/// start these are all.
pub(crate) fn changed(
    versions: &SecretVersions,
    store: Store<EmailMailbox>,
) -> BoxStream<'static, ObjectRef<EmailMailbox>> {
    in_batches(versions.subscribe(), move |changes| naming(&store, changes))
}

fn naming(store: &Store<EmailMailbox>, changes: Vec<SecretChange>) -> Vec<ObjectRef<EmailMailbox>> {
    // Of several changes of a Secret only the last one counts.
    let latest: HashMap<u64, Option<u64>> = changes.into_iter().map(|change| (change.name, change.version)).collect();
    let is_affected = |mailbox: &EmailMailbox| {
        let namespace = mailbox.metadata.namespace.as_deref().unwrap_or_default();
        let set = mailbox.status.as_ref().and_then(|status| status.password_version.as_ref()).map(hashed);
        match latest.get(&name_hash(namespace, &secrets::name(mailbox))) {
            Some(Some(version)) => set != Some(*version),
            Some(None) => true,
            None => false,
        }
    };
    let keys: IndexKeys = latest.keys().map(|name| Key::Secret(*name)).collect();
    store.by_keys(keys, is_affected).map(|mailbox| ObjectRef::from_obj(mailbox.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailMailboxStatus;
    use crate::kubernetes::store::store;
    use kube::runtime::watcher;

    #[test]
    fn a_secret_triggers_the_mailboxes_that_name_it_in_its_namespace() {
        let (reader, mut writer) = store::<EmailMailbox>();
        for (namespace, name, spec) in [
            ("n", "generated", "{localPart: a, domainRef: {name: d}}"),
            ("n", "given", "{localPart: b, domainRef: {name: d}, passwordSecretRef: {name: interner}}"),
            ("other", "given", "{localPart: c, domainRef: {name: d}, passwordSecretRef: {name: interner}}"),
        ] {
            let mut mailbox = EmailMailbox::new(name, serde_yaml::from_str(spec).unwrap());
            mailbox.status = Some(EmailMailboxStatus { password_version: Some("u/1".into()), ..Default::default() });
            mailbox.metadata.namespace = Some(namespace.into());
            writer.apply(watcher::Event::Apply(mailbox));
        }
        let change = |name: &str, version: Option<&str>| SecretChange {
            name: name_hash("n", name),
            version: version.map(|version| hashed(&version)),
        };
        assert_eq!(naming(&reader, vec![change("interner", Some("u/2"))]).len(), 1);
        assert_eq!(naming(&reader, vec![change("generated-mailbox", Some("u/2"))])[0].name, "generated");
        assert_eq!(naming(&reader, vec![change("interner", None)]).len(), 1, "a deletion always counts");
        assert!(naming(&reader, vec![change("unrelated", Some("u/2"))]).is_empty());
        let same = naming(&reader, vec![change("interner", Some("u/1"))]);
        assert!(same.is_empty(), "the version that was set is no news");
        let both = ["u/1", "u/2"].map(|version| change("interner", Some(version)));
        assert_eq!(naming(&reader, both.to_vec()).len(), 1, "the last version counts");
    }
}
