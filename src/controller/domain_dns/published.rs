//! The objects with a domain's published records: their names, labels, owners, and why one could not be written.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, PatchParams};
use kube::core::Status;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::crd::{EmailDomain, MANAGED_BY};
use crate::kubernetes::refusal;
use crate::kubernetes::writer::MANAGER;
use crate::mail::hex;
use crate::outcome::{Reason, Why};

/// Label with the domain of a published object.
const DOMAIN_LABEL: &str = "email.askrobots.com/domain";
/// The longest label value; bytes.
const LONGEST_LABEL: usize = 63;
/// The longest name; bytes.
const LONGEST_NAME: usize = 253;

/// Why records could not be published; the status reports it.
#[derive(Debug)]
pub(crate) struct NotPublished(pub(crate) Why);

impl From<kube::Error> for NotPublished {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(response) if is_missing_right(&response) => Self(not_allowed(&response)),
            error => Self(refusal::why(&error)),
        }
    }
}

/// Whether a right is missing that the chart can give. A quota or a policy also forbids.
fn is_missing_right(response: &Status) -> bool {
    response.is_forbidden() && response.message.contains(" cannot ")
}

fn not_allowed(response: &Status) -> Why {
    let message = format!(
        "the operator may not write the objects for spec.dns.publish; set featureGates.DNSPublishing: true in the chart ({})",
        refusal::cleaned(&response.message)
    );
    Why::new(Reason::PublishingNotAllowed, message)
}

/// Deletes exactly this object, not a successor of the same name.
pub(crate) async fn remove<K>(api: &Api<K>, object: &K) -> Result<(), kube::Error>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let uid = object.meta().uid.clone();
    let only = DeleteParams {
        preconditions: Some(kube::api::Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&object.name_any(), &only).await {
        Err(kube::Error::Api(error)) if error.is_not_found() || error.is_conflict() => Ok(()),
        result => result.map(|_| ()),
    }
}

/// An object with the name exists and is not ours.
pub(crate) fn taken(kind: &str, name: &str) -> Why {
    let message =
        format!("a {kind} {name} exists that the operator did not create for this domain; rename or delete it");
    Why::new(Reason::PublishedNameTaken, message)
}

/// Parameters of a write: our own object is applied by force; an object that did not exist a moment ago is not.
pub(crate) fn applied(is_ours: bool) -> PatchParams {
    let params = PatchParams::apply(MANAGER);
    if is_ours { params.force() } else { params }
}

/// `<name of the domain's object>-<what>`.
pub(crate) fn object_name(object: &EmailDomain, what: &str) -> String {
    format!("{}-{what}", fitted(&object.name_any(), LONGEST_NAME - what.len() - 1))
}

/// The labels of everything that is published for a domain.
pub(crate) fn labels(object: &EmailDomain) -> BTreeMap<&'static str, String> {
    BTreeMap::from([(MANAGED_BY, MANAGER.to_owned()), (DOMAIN_LABEL, fitted(&object.name_any(), LONGEST_LABEL))])
}

/// The same as a selector.
pub(crate) fn selector(object: &EmailDomain) -> String {
    labels(object).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Name and labels; `purpose` is one more label.
pub(crate) fn metadata(object: &EmailDomain, name: &str, purpose: Option<&str>) -> Value {
    let mut labels = labels(object);
    if let Some(purpose) = purpose {
        labels.insert("email.askrobots.com/record", purpose.to_owned());
    }
    json!({"name": name, "labels": labels})
}

/// The domain as an owner. It does not block deletion, so no further right is needed.
pub(crate) fn owner(object: &EmailDomain) -> Value {
    json!({
        "apiVersion": EmailDomain::api_version(&()), "kind": EmailDomain::kind(&()),
        "name": object.name_any(), "uid": object.uid(),
    })
}

/// Whether it has the labels that we set.
pub(crate) fn is_ours(thing: &impl ResourceExt, object: &EmailDomain) -> bool {
    labels(object).iter().all(|(key, value)| thing.labels().get(*key) == Some(value))
}

/// Whether the domain is one of its owners.
pub(crate) fn is_owned_by(thing: &impl ResourceExt, object: &EmailDomain) -> bool {
    thing.owner_references().iter().any(|owner| Some(&owner.uid) == object.uid().as_ref())
}

/// The text, or its beginning and a hash where it is too long.
fn fitted(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let digits = hex(&Sha256::digest(text)[..5]);
    let start = text.get(..longest - digits.len() - 1).unwrap_or_default();
    format!("{}-{digits}", start.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn domain(name: &str) -> EmailDomain {
        EmailDomain::new(name, serde_yaml::from_str("domain: example.com").unwrap())
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (one, other) = (domain(&format!("{}a", "x".repeat(252))), domain(&format!("{}b", "x".repeat(252))));
        assert_eq!(object_name(&one, "dns").len(), LONGEST_NAME);
        assert_ne!(object_name(&one, "dns"), object_name(&other, "dns"));
        assert!(labels(&one)[DOMAIN_LABEL].len() <= LONGEST_LABEL && labels(&one) != labels(&other));
        assert_eq!(object_name(&domain("example"), "mx"), "example-mx");
    }

    #[test]
    fn only_what_carries_our_labels_is_ours() {
        let mut map = ConfigMap::default();
        assert!(!is_ours(&map, &domain("a")));
        map.metadata.labels = Some(labels(&domain("a")).into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        assert!(is_ours(&map, &domain("a")) && !is_ours(&map, &domain("b")));
    }
}
