//! The Kubernetes API with the rights of one caller. Every call ends in time.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
};
use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, ObjectList, Patch, PatchParams, PostParams, Preconditions,
};
use serde_json::Value;

use super::managed::Managed;
use super::tool_error::{ErrorKind, ToolError};
use crate::crd::GROUP;

/// The field manager of our writes.
pub(crate) const MANAGER: &str = "mailcow-operator-mcp";
/// Time limit of a read: a cluster that can't be reached is reported within five seconds.
const READ: Duration = Duration::from_secs(4);
/// Time limit of a write; an admission webhook may use 30 s of it.
const WRITE: Duration = Duration::from_secs(35);

/// Whoever calls the tools.
#[derive(Clone)]
pub(crate) struct Caller {
    client: kube::Client,
    who: String,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("who", &self.who).finish_non_exhaustive()
    }
}

impl Caller {
    /// A caller with the rights of `client`.
    pub(crate) fn new(client: kube::Client, who: impl Into<String>) -> Self {
        Self { client, who: who.into() }
    }

    /// Their name in Kubernetes.
    pub(crate) fn who(&self) -> &str {
        &self.who
    }

    /// Reads an object.
    pub(crate) async fn get<K: Managed>(&self, namespace: &str, name: &str) -> Result<K, ToolError> {
        let action = format!("read the {} {namespace}/{name}", K::KIND);
        timed(READ, self.api::<K>(namespace).get(name), &action).await
    }

    /// Reads a page of objects, of one namespace or of all.
    pub(crate) async fn list<K: Managed>(
        &self,
        namespace: Option<&str>,
        page: &ListParams,
    ) -> Result<ObjectList<K>, ToolError> {
        let place =
            namespace.map_or_else(|| "all namespaces; name one".to_owned(), |name| format!("the namespace {name}"));
        let api = namespace.map_or_else(|| Api::all(self.client.clone()), |name| self.api::<K>(name));
        timed(READ, api.list(page), &format!("list {} objects in {place}", K::KIND)).await
    }

    /// Creates an object with only the given fields.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when it exists.
    pub(crate) async fn create<K: Managed>(&self, namespace: &str, name: &str, spec: &Value) -> Result<K, ToolError> {
        let kind = ApiResource::erase::<K>(&());
        let mut object = DynamicObject::new(name, &kind);
        object.data = serde_json::json!({"spec": spec});
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let action = format!("create the {} {namespace}/{name}", K::KIND);
        let created = timed(WRITE, api.create(&params, &object), &action).await.map_err(|error| match error.error {
            ErrorKind::NotFound => ToolError {
                message: format!(
                    "the namespace {namespace} does not exist, or the resources of mailcow-operator are not installed; use another namespace"
                ),
                ..error
            },
            _ => error,
        })?;
        created.try_parse().map_err(|_| unreadable(&action))
    }

    /// Merges a patch into an object.
    pub(crate) async fn patch<K: Managed>(&self, namespace: &str, name: &str, patch: &Value) -> Result<K, ToolError> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let action = format!("change the {} {namespace}/{name}", K::KIND);
        timed(WRITE, self.api::<K>(namespace).patch(name, &params, &Patch::Merge(patch)), &action).await
    }

    /// Deletes exactly this version of an object. Returns whether it is gone.
    pub(crate) async fn delete<K: Managed>(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        version: &str,
    ) -> Result<bool, ToolError> {
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
        let params = DeleteParams::default().preconditions(only);
        let action = format!("delete the {} {namespace}/{name}", K::KIND);
        let answer = timed(WRITE, self.api::<K>(namespace).delete(name, &params), &action).await?;
        Ok(answer.is_right())
    }

    /// Whether the caller may do something with objects of a kind.
    pub(crate) async fn may<K: Managed>(&self, verb: &str, namespace: &str, name: &str) -> Result<bool, ToolError> {
        let attributes = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some(K::plural(&()).into_owned()),
            verb: Some(verb.to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let params = PostParams::default();
        let api = Api::all(self.client.clone());
        let answer = timed(READ, api.create(&params, &review), "ask for your own rights").await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// What the caller may do in a namespace; `None` if the API server can't list it.
    pub(crate) async fn rules(&self, namespace: &str) -> Option<Vec<ResourceRule>> {
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await.ok()?;
        answer.status.filter(|status| !status.incomplete).map(|status| status.resource_rules)
    }

    fn api<K: Managed>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

async fn timed<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
    action: &str,
) -> Result<T, ToolError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| ToolError::kubernetes(&error, action)),
        Err(_) => Err(ToolError::timeout(limit.as_secs())),
    }
}

fn unreadable(action: &str) -> ToolError {
    ToolError::new(
        ErrorKind::Unreachable,
        format!("the answer of the Kubernetes API can't be read after the call to {action}; read the object"),
    )
}
