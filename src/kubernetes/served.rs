//! Which fields the CRDs in the cluster have. CRDs that are older than the operator lack fields of its statuses, and
//! the API server refuses a whole status with such a field: `field not declared in schema`. The operator omits those
//! fields until the CRDs have them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;

use crate::crd::{self, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP};
use crate::kubernetes::object::Object;
use crate::listing::first_of;
use crate::telemetry::Metrics;

/// Where the API server describes our kinds; every authenticated client may read it.
const PATH: &str = "/openapi/v3/apis/email.askrobots.com/v1alpha1";
/// How often incomplete CRDs are read again.
const RETRY: Duration = Duration::from_secs(20);
/// Our kinds.
const KINDS: [&str; 4] = [EmailDomain::KIND, EmailMailbox::KIND, EmailAlias::KIND, EmailForwardingRule::KIND];
/// At most this many missing fields are named in the log.
const NAMED: usize = 8;

/// What the served CRDs know; all writes share it.
pub(crate) struct ServedDefinitions {
    kube: kube::Client,
    metrics: Metrics,
    /// The incomplete CRDs, by kind.
    lacking: Mutex<BTreeMap<String, Definition>>,
    refused: Notify,
}

/// An incomplete CRD.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Definition {
    status: Fields,
    /// Paths of the missing fields.
    missing: Vec<String>,
}

/// The fields that a schema has.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fields {
    /// Any field.
    Any,
    /// Only these fields.
    Of(BTreeMap<String, Self>),
    /// The same fields in each item of a list or each value of a map.
    Each(Box<Self>),
}

impl ServedDefinitions {
    /// Assumes at first that nothing is missing.
    pub(crate) fn new(kube: kube::Client, metrics: Metrics) -> Self {
        Self { kube, metrics, lacking: Mutex::default(), refused: Notify::new() }
    }

    /// Reads the CRDs at the start, and again while they are incomplete or after a refused status. Never returns.
    pub(crate) async fn follow(&self) {
        loop {
            self.read().await;
            if self.lacking().is_empty() {
                self.refused.notified().await;
            } else {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Compares the served CRDs with what the operator writes. Logs missing fields once, and once when they are there.
    pub(crate) async fn read(&self) {
        let served = match served(&self.kube).await {
            Ok(served) => served,
            Err(error) => {
                tracing::debug!(%error, "the CRDs in the cluster can't be compared with those of this version");
                return;
            }
        };
        let ours = match expected() {
            Ok(ours) => ours,
            Err(error) => {
                tracing::error!(%error, "the CRDs of this version can't be read");
                return;
            }
        };
        let now = lacking(&ours, &served);
        let before = std::mem::replace(&mut *self.lacking(), now.clone());
        for kind in KINDS {
            let missing = now.get(kind).map_or(&[][..], |definition| &definition.missing);
            self.metrics.crd_lacks(kind, missing.len());
            report(kind, before.get(kind).map_or(&[][..], |definition| &definition.missing), missing);
        }
    }

    /// The status without fields that the served CRD does not know.
    pub(crate) fn prune<K: Object>(&self, status: &mut Value) {
        if let Some(definition) = self.lacking().get(K::KIND) {
            definition.status.prune(status);
        }
    }

    /// The same for a status in the form used for comparison; `None` if nothing is missing.
    pub(crate) fn pruned<K: Object>(&self, status: &K::Status) -> Option<K::Status> {
        let fields = self.lacking().get(K::KIND)?.status.clone();
        let mut value = serde_json::to_value(status).ok()?;
        fields.prune(&mut value);
        serde_json::from_value(value).ok()
    }

    /// Whether a write was refused because the served CRD does not know a field. If so, the CRDs are read again and the
    /// write may be retried.
    pub(crate) async fn is_read_again_after(&self, error: &kube::Error) -> bool {
        let is_undeclared =
            matches!(error, kube::Error::Api(answer) if answer.message.contains("field not declared in schema"));
        if is_undeclared {
            self.read().await;
            self.refused.notify_one();
        }
        is_undeclared
    }

    fn lacking(&self) -> MutexGuard<'_, BTreeMap<String, Definition>> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The schemas that the API server publishes, by kind.
async fn served(kube: &kube::Client) -> Result<BTreeMap<String, Value>, kube::Error> {
    let request = http::Request::get(PATH).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let described: Value = kube.request(request).await?;
    let schemas = described["components"]["schemas"].as_object().into_iter().flatten();
    let of_kind = schemas.filter_map(|(_, schema)| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array()?;
        let kind = kinds.iter().find(|kind| kind["group"] == GROUP)?["kind"].as_str()?;
        Some((kind.to_owned(), schema.clone()))
    });
    Ok(of_kind.collect())
}

/// The fields that each kind in the cluster lacks, of those of this version; `None` for a kind that does not exist.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn missing_fields(
    kube: &kube::Client,
) -> Result<Vec<(&'static str, Option<Vec<String>>)>, kube::Error> {
    let served = match served(kube).await {
        Err(kube::Error::Api(status)) if status.code == 404 => BTreeMap::new(),
        served => served?,
    };
    let lacking = lacking(&expected().map_err(kube::Error::SerdeError)?, &served);
    let of = |kind: &'static str| {
        let missing = lacking.get(kind).map(|definition| definition.missing.clone()).unwrap_or_default();
        (kind, served.contains_key(kind).then_some(missing))
    };
    Ok(KINDS.map(of).into())
}

/// Our own CRDs, by kind.
fn expected() -> Result<BTreeMap<String, Value>, serde_json::Error> {
    let definitions = crd::definitions()?.into_iter().map(|definition| {
        let kind = definition.spec.names.kind.clone();
        let value = serde_json::to_value(definition)?;
        let schema = value.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default();
        Ok((kind, schema))
    });
    definitions.collect()
}

/// The served CRDs that lack fields of ours. The watches report CRDs that are not served at all.
fn lacking(ours: &BTreeMap<String, Value>, served: &BTreeMap<String, Value>) -> BTreeMap<String, Definition> {
    let compared = ours.iter().filter_map(|(kind, ours)| {
        let served = served.get(kind)?;
        let mut missing = Vec::new();
        for part in ["spec", "status"] {
            let of = |schema: &Value| Fields::of(&schema["properties"][part]);
            of(ours).lacks(&of(served), part, &mut missing);
        }
        let status = Fields::of(&served["properties"]["status"]);
        (!missing.is_empty()).then(|| (kind.clone(), Definition { status, missing }))
    });
    compared.collect()
}

fn report(kind: &str, before: &[String], missing: &[String]) {
    if before == missing {
        return;
    }
    if missing.is_empty() {
        tracing::info!(kind, "the CRD in the cluster now has all fields of this version");
        return;
    }
    let named = first_of(missing, NAMED);
    tracing::warn!(
        kind,
        "the CRD in the cluster is older than this operator and lacks {named}. Statuses are written without these fields. Apply the CRDs of this version: kubectl apply --server-side -f crds/ (the chart does that with crds.install: true)"
    );
}

impl Fields {
    /// The fields of a schema.
    fn of(schema: &Value) -> Self {
        if schema["x-kubernetes-preserve-unknown-fields"] == true {
            return Self::Any;
        }
        if let Some(properties) = schema["properties"].as_object() {
            return Self::Of(properties.iter().map(|(name, schema)| (name.clone(), Self::of(schema))).collect());
        }
        let each = ["items", "additionalProperties"].into_iter().find(|key| schema[key].is_object());
        each.map_or(Self::Any, |key| Self::Each(Box::new(Self::of(&schema[key]))))
    }

    /// Adds the paths of fields that `served` lacks.
    fn lacks(&self, served: &Self, path: &str, missing: &mut Vec<String>) {
        match (self, served) {
            (Self::Of(ours), Self::Of(served)) => {
                for (name, fields) in ours {
                    let path = format!("{path}.{name}");
                    match served.get(name) {
                        Some(served) => fields.lacks(served, &path, missing),
                        None => missing.push(path),
                    }
                }
            }
            (Self::Each(ours), Self::Each(served)) => ours.lacks(served, &format!("{path}[]"), missing),
            (Self::Any | Self::Of(_) | Self::Each(_), _) => {}
        }
    }

    /// Removes all other fields from a value.
    fn prune(&self, value: &mut Value) {
        match (self, value) {
            (Self::Of(fields), Value::Object(map)) => {
                map.retain(|name, _| fields.contains_key(name));
                for (name, value) in map {
                    if let Some(fields) = fields.get(name) {
                        fields.prune(value);
                    }
                }
            }
            (Self::Each(fields), Value::Object(map)) => map.values_mut().for_each(|value| fields.prune(value)),
            (Self::Each(fields), Value::Array(items)) => items.iter_mut().for_each(|item| fields.prune(item)),
            (Self::Any | Self::Of(_) | Self::Each(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_own_definitions_lack_nothing() {
        let ours = expected().unwrap();
        assert_eq!(ours.len(), 4);
        assert!(lacking(&ours, &ours).is_empty());
    }

    #[test]
    fn what_an_older_definition_lacks_is_named_and_left_out() {
        let ours = expected().unwrap();
        let mut older = ours.clone();
        let mailbox = older.get_mut("EmailMailbox").unwrap();
        let remove = |schema: &mut Value, at: &str, name: &str| {
            schema.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        };
        remove(mailbox, "/properties/status/properties", "policies");
        remove(mailbox, "/properties/status/properties/conditions/items/properties", "observedGeneration");
        remove(mailbox, "/properties/spec/properties", "senderAcl");
        let found = lacking(&ours, &older);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["EmailMailbox"]);
        let found = &found["EmailMailbox"];
        assert_eq!(found.missing, ["spec.senderAcl", "status.conditions[].observedGeneration", "status.policies"]);
        let mut status = json!({
            "address": "a@e.com", "policies": {}, "conditions": [{"type": "Ready", "observedGeneration": 1}],
        });
        found.status.prune(&mut status);
        assert_eq!(status, json!({"address": "a@e.com", "conditions": [{"type": "Ready"}]}));
    }

    #[test]
    fn a_newer_definition_lacks_nothing() {
        let ours = expected().unwrap();
        let mut newer = ours.clone();
        newer.get_mut("EmailAlias").unwrap()["properties"]["status"]["properties"]["new"] = json!({"type": "string"});
        assert!(lacking(&ours, &newer).is_empty());
    }
}
