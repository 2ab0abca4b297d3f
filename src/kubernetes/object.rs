//! Our kinds as Kubernetes objects: their metadata.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::object::HasStatus;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crd::{
    EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, FINALIZER, PAUSED, RECONCILE_REQUESTED_AT,
};
use crate::kubernetes::store::Stored;
use crate::packed::Packed;
use crate::status::{Conditioned, ReconcileRequest};

/// An object of ours: one of the four kinds.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Conditioned + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + Sync
    + Stored
{
    /// The kind, as a label of metrics.
    const KIND: &str;
}

impl Object for EmailDomain {
    const KIND: &str = "EmailDomain";
}

impl Object for EmailMailbox {
    const KIND: &str = "EmailMailbox";
}

impl Object for EmailAlias {
    const KIND: &str = "EmailAlias";
}

impl Object for EmailForwardingRule {
    const KIND: &str = "EmailForwardingRule";
}

// Domains and rules are few, and are read far more often than they change.
impl Stored for EmailDomain {
    type Entry = Arc<Self>;
}

impl Stored for EmailForwardingRule {
    type Entry = Arc<Self>;
}

impl Stored for EmailMailbox {
    type Entry = Packed<Self>;
}

impl Stored for EmailAlias {
    type Entry = Packed<Self>;
}

impl Stored for PartialObjectMeta<Namespace> {
    type Entry = Arc<Self>;
}

/// What a reconcile of the object acts on.
pub(crate) fn request(object: &impl Resource<DynamicType = ()>) -> ReconcileRequest {
    ReconcileRequest {
        generation: object.meta().generation,
        requested_at: annotation(object, RECONCILE_REQUESTED_AT).map(ToOwned::to_owned),
        paused: is_paused(object),
        now: crate::clock::now(),
    }
}

/// Whether the object has our finalizer.
pub(crate) fn has_finalizer(object: &impl Resource) -> bool {
    object.meta().finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// `namespace/name` with the kind.
pub(crate) fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}/{}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}

/// The value of an annotation.
pub(crate) fn annotation<'a>(object: &'a impl Resource<DynamicType = ()>, name: &str) -> Option<&'a str> {
    object.meta().annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whether nothing may be written for the object.
pub(crate) fn is_paused(object: &impl Resource<DynamicType = ()>) -> bool {
    annotation(object, PAUSED) == Some("true")
}
