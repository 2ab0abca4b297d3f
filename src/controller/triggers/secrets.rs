//! The watch over Secrets with passwords. It has only metadata, of all Secrets in the watched namespaces, and drops
//! those that no mailbox names. A watch for each Secret would need a connection for each name in any mailbox's spec.

use std::collections::{HashMap, HashSet};

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};

use crate::controller::driver::refers::Names;
use crate::controller::mailbox::secrets;
use crate::controller::triggers::changes::in_batches;
use crate::crd::EmailMailbox;

/// Number of Secrets in a page: their metadata may be large.
const PAGE: u32 = 100;

/// A Secret by namespace and name.
type Key = (String, String);
/// A Secret and its version as a status names it.
type Touched = (Key, String);

/// Mailboxes whose given or generated Secret changed: one watch for all watched namespaces.
pub(crate) fn changed(
    secrets: Vec<Api<PartialObjectMeta<Secret>>>,
    store: Store<EmailMailbox>,
) -> BoxStream<'static, ObjectRef<EmailMailbox>> {
    let watched = |api| watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff().boxed();
    let events = stream::select_all(secrets.into_iter().map(watched));
    let touched = events.filter_map(|event| std::future::ready(event.ok().and_then(touched)));
    in_batches(touched, move |secrets| naming(&store, secrets))
}

/// The Secret that an event is about.
fn touched(event: watcher::Event<PartialObjectMeta<Secret>>) -> Option<Touched> {
    match event {
        watcher::Event::Apply(secret) | watcher::Event::InitApply(secret) | watcher::Event::Delete(secret) => {
            Some(((secret.namespace()?, secret.name_any()), secrets::version(&secret.metadata)))
        }
        watcher::Event::Init | watcher::Event::InitDone => None,
    }
}

/// The mailboxes with their password in one of the Secrets, except those that were set to its latest version; at the
/// start these are all.
fn naming(store: &Store<EmailMailbox>, secrets: Vec<Touched>) -> Vec<ObjectRef<EmailMailbox>> {
    // Of several changes of a Secret only the last one counts.
    let latest: HashMap<Key, String> = secrets.into_iter().collect();
    let (changed, versions): (Names, HashSet<String>) = latest.into_iter().unzip();
    let is_set = |m: &EmailMailbox| {
        let version = m.status.as_ref().and_then(|status| status.password_version.as_ref());
        version.is_some_and(|version| versions.contains(version))
    };
    let named = |m: &EmailMailbox| {
        let namespace = m.metadata.namespace.as_deref();
        changed.has_any_in(namespace) && changed.contains(namespace, &secrets::name(m)) && !is_set(m)
    };
    store.state_filter(named).iter().map(|mailbox| ObjectRef::from_obj(mailbox.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailMailboxStatus;
    use kube::runtime::reflector::store;

    #[test]
    fn a_secret_wakes_the_mailboxes_that_name_it_in_its_namespace() {
        let (reader, mut writer) = store::<EmailMailbox>();
        for (namespace, name, spec) in [
            ("n", "generated", "{localPart: a, domainRef: {name: d}}"),
            ("n", "given", "{localPart: b, domainRef: {name: d}, passwordSecretRef: {name: interner}}"),
            ("other", "given", "{localPart: c, domainRef: {name: d}, passwordSecretRef: {name: interner}}"),
        ] {
            let mut mailbox = EmailMailbox::new(name, serde_yaml::from_str(spec).unwrap());
            mailbox.status = Some(EmailMailboxStatus { password_version: Some("u/1".into()), ..Default::default() });
            mailbox.metadata.namespace = Some(namespace.into());
            writer.apply_watcher_event(&watcher::Event::Apply(mailbox));
        }
        let triggered =
            |namespace: &str, name: &str| naming(&reader, vec![((namespace.into(), name.into()), "u/2".into())]);
        assert_eq!(triggered("n", "interner").len(), 1);
        assert_eq!(triggered("n", "generated-mailbox")[0].name, "generated");
        assert!(triggered("n", "unrelated").is_empty());
        let same = naming(&reader, vec![(("n".into(), "interner".into()), "u/1".into())]);
        assert!(same.is_empty(), "the version that was set is no news");
        let touched = ["u/1", "u/2"].map(|version| (("n".into(), "interner".into()), version.into()));
        assert_eq!(naming(&reader, touched.to_vec()).len(), 1, "the last version counts");
    }
}
