//! Who may attach to a domain, and which policies hold where a spec says none.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DeletionPolicy, DriftPolicy};

/// Which namespaces may attach mailboxes, aliases and rules to a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The domain's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// The domain's own, and those whose labels `selector` matches.
    Selector,
}

/// The namespaces that may attach mailboxes, aliases and rules to the domain. Taken back, what is attached stays on
/// Mailcow as it is, and nothing more is written for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector goes with from: Selector, and only with it"))]
pub struct AllowedNamespaces {
    /// Which they are; default `Same`.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Labels that a namespace has to have: all that is said here holds. An empty selector matches every namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceSelector {
    /// Labels with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)").message("In and NotIn need values; Exists and DoesNotExist take none"))]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What is asked of its value.
    pub operator: LabelOperator,
    /// Values to compare with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// What is asked of a label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It is one of the values.
    In,
    /// It is none of the values, or the label is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl From<&NamespaceSelector> for LabelSelector {
    fn from(selector: &NamespaceSelector) -> Self {
        let requirement = |asked: &LabelRequirement| LabelSelectorRequirement {
            key: asked.key.clone(),
            operator: format!("{:?}", asked.operator),
            values: Some(asked.values.clone()),
        };
        Self {
            match_labels: Some(selector.match_labels.clone()),
            match_expressions: Some(selector.match_expressions.iter().map(requirement).collect()),
        }
    }
}

/// Where a policy comes from: the most specific place that says one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicySource {
    /// The object's own spec.
    Spec,
    /// An annotation of its namespace.
    Namespace,
    /// The operator's options.
    Installation,
    /// The kind's default.
    Kind,
}

/// A policy and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chosen<T> {
    /// What holds.
    pub value: T,
    /// Who says so.
    pub from: PolicySource,
}

/// The policies that hold for an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Policies {
    /// What happens on Mailcow when the object is deleted.
    pub deletion: Chosen<DeletionPolicy>,
    /// What to do when the thing already exists on Mailcow.
    pub adoption: Chosen<AdoptionPolicy>,
    /// What to do when Mailcow was changed by hand.
    pub drift: Chosen<DriftPolicy>,
    /// What is wrong with an annotation of the namespace. A deletion policy that can't be read counts as `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}
