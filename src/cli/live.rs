//! What the cluster has beside manifests: the objects of their namespaces, and the domains elsewhere that these refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cluster::{Cluster, Scope};
use super::failure::Failure;
use super::kinds::{Kind, list};
use super::manifests::Manifests;
use crate::crd::GROUP;

/// What was read, besides the specs that [`add_live_objects`] added to the manifests.
#[derive(Debug, Default)]
pub(super) struct Live {
    objects: BTreeMap<(Kind, String, String), LiveObject>,
    /// Why the domains of other namespaces could not be read, by namespace.
    unread: BTreeMap<String, String>,
    /// Objects that this version can't read, each with the reason: a newer CRD may have fields that it does not know.
    pub(super) unreadable: Vec<String>,
}

/// An object as the cluster has it.
#[derive(Debug)]
pub(super) struct LiveObject {
    /// Its uid.
    pub(super) uid: String,
    /// Its status; null without one.
    pub(super) status: Value,
    /// Whether it is being deleted.
    pub(super) is_deleting: bool,
}

impl Live {
    /// The object of a name, also one that is being deleted.
    pub(super) fn object(&self, kind: Kind, namespace: &str, name: &str) -> Option<&LiveObject> {
        self.objects.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// Why there is no domain of this name among the manifests.
    pub(super) fn no_domain(&self, namespace: &str, name: &str) -> String {
        if let Some(why) = self.unread.get(namespace) {
            return format!("the EmailDomain {name} of the namespace {namespace} can't be read: {why}");
        }
        match self.object(Kind::Domain, namespace, name) {
            Some(object) if object.is_deleting => format!("the EmailDomain {name} is being deleted"),
            Some(_) => format!("the EmailDomain {name} of the cluster can't be read by this version"),
            None => format!("there is no EmailDomain {name}, neither in the files nor in the cluster"),
        }
    }

    fn add(&mut self, kind: Kind, object: &kube::core::DynamicObject, manifests: &mut Manifests) {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        value["kind"] = kind.name().into();
        value["apiVersion"] = format!("{GROUP}/v1alpha1").into();
        let metadata = object.metadata.clone();
        let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
        let is_deleting = metadata.deletion_timestamp.is_some();
        // What is being deleted is no longer there for others.
        if !is_deleting && let Err(why) = manifests.add_live(&value) {
            self.unreadable.push(why);
        }
        let known = LiveObject { uid: metadata.uid.unwrap_or_default(), status: value["status"].take(), is_deleting };
        self.objects.insert((kind, namespace, name), known);
    }
}

/// Adds the objects of these namespaces to the manifests, unless the files have them, and then the domains of other
/// namespaces that objects refer to. Objects that are being deleted are left out. Domains of other namespaces that the user
/// may not read are left out too.
///
/// # Errors
/// When the cluster does not answer, or the user may not list the objects of one of these namespaces.
pub(super) async fn add_live_objects(
    cluster: &Cluster,
    manifests: &mut Manifests,
    namespaces: &BTreeSet<String>,
) -> Result<Live, Failure> {
    let mut live = Live::default();
    for namespace in namespaces {
        for kind in Kind::ALL {
            for target in list(cluster, kind, &Scope::In(namespace.clone()), None).await? {
                live.add(kind, &target.object, manifests);
            }
        }
    }
    let elsewhere: Vec<String> = manifests.domain_namespaces().difference(namespaces).cloned().collect();
    for namespace in elsewhere {
        match list(cluster, Kind::Domain, &Scope::In(namespace.clone()), None).await {
            Ok(found) => {
                for target in found {
                    live.add(Kind::Domain, &target.object, manifests);
                }
            }
            Err(Failure::Wrong(why)) => drop(live.unread.insert(namespace, why.join("; "))),
            Err(failure) => return Err(failure),
        }
    }
    Ok(live)
}
