//! Which namespaces may use a domain, and the policies for specs without one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AdoptionPolicy, DeletionPolicy, DriftPolicy, RateLimit};

/// Which namespaces may have mailboxes, aliases and rules in a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// Only the namespace of the domain.
    #[default]
    Same,
    /// All namespaces.
    All,
    /// The namespace of the domain, and those that `selector` matches.
    Selector,
}

/// The namespaces that may have mailboxes, aliases and rules in the domain. If you remove a namespace, its entries stay
/// on Mailcow as they are, and the operator writes nothing more for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("set selector if and only if from is Selector"))]
pub struct AllowedNamespaces {
    /// Which namespaces. Default: `Same`.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Selects namespaces by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
    /// Limits for each of these namespaces. The domain's own namespace has none. If omitted, only the domain's limits
    /// apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<NamespaceLimits>,
}

/// Limits for a namespace other than the domain's own. Lowering a limit removes nothing. In any case, a mailbox of another
/// namespace may send no more than the domain's `rateLimit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceLimits {
    /// Number of mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub mailboxes: Option<u32>,
    /// Number of aliases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub aliases: Option<u32>,
    /// The sum of the quotas of its mailboxes: a whole number of `Mi`, `Gi` or `Ti`. Mailboxes need a quota then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,8}(Mi|Gi|Ti)$')").message("a quota is a whole number of Mi, Gi or Ti, such as 2Gi"))]
    pub total_quota: Option<String>,
    /// How many messages each of its mailboxes may send. Default of those without a `rateLimit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// Selects namespaces by their labels. All requirements must match. An empty selector matches every namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceSelector {
    /// Required labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 317 && self[key].size() <= 63)").message("a label has a name of at most 317 characters and a value of at most 63"))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements for labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement for a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)").message("In and NotIn need values; Exists and DoesNotExist must have none"))]
pub struct LabelRequirement {
    /// The label.
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub key: String,
    /// The requirement.
    pub operator: LabelOperator,
    /// Values to compare with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 63), regex(pattern = r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$"))
    )]
    pub values: Vec<String>,
}

/// A requirement for a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or does not exist.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
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

/// Source of a policy. The most specific source wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicySource {
    /// The object's own spec.
    Spec,
    /// An annotation of its namespace.
    Namespace,
    /// The options of the operator.
    Installation,
    /// The kind's default.
    Kind,
}

/// A policy and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chosen<T> {
    /// The policy in effect.
    pub value: T,
    /// The source of the policy.
    pub from: PolicySource,
}

/// The policies in effect for an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Policies {
    /// What happens on Mailcow when you delete the object.
    pub deletion: Chosen<DeletionPolicy>,
    /// What to do with an entry that already exists on Mailcow.
    pub adoption: Chosen<AdoptionPolicy>,
    /// What to do about changes made by hand on Mailcow.
    pub drift: Chosen<DriftPolicy>,
    /// A problem with an annotation of the namespace. An invalid deletion policy counts as `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}
