//! What users write: the four custom resources, their schemas and CEL rules. No behaviour is here.
//!
//! Group `email.askrobots.com`, version `v1alpha1`; every kind is namespaced and in the category `email`.

#![expect(unreachable_pub, reason = "KubeSchema derives a private copy of each struct that it marks pub")]

mod alias;
mod common;
mod dns_status;
mod domain;
mod domain_status;
mod mailbox;
mod provision;
mod publishing;
mod refused_write;
mod rule;
mod rule_action;
mod status_condition;
mod tenancy;

pub use alias::{EmailAlias, EmailAliasSpec, EmailAliasStatus, Sink};
pub use common::{
    AdoptionPolicy, DeletionPolicy, DomainRef, DriftPolicy, Per, Protocol, RateLimit, Ref, RemovalPolicy,
};
pub use dns_status::{DnsPropagation, DnsReach, DnsRecordKind, DnsRecordStatus, DnsSource, DnsVerdict, DnsWarning};
pub use domain::{
    DkimSpec, DmarcPolicy, DmarcSpec, DnsSpec, EmailDomain, EmailDomainSpec, Limits, MailboxDefaults, Relay,
};
pub use domain_status::{Attached, ClaimStatus, DkimStatus, DnsStatus, DomainUsage, EmailDomainStatus, ServerStatus};
pub use mailbox::{
    DeliveryStatus, EmailMailbox, EmailMailboxSpec, EmailMailboxStatus, LastLogin, MailboxState, QuotaStatus,
    ScriptRule, ScriptState, ScriptStatus, SecretKeyRef, Tls,
};
pub use provision::{AutoProvision, ProvisionedStatus, RefusedNamespace, RefusedReason, WhenRevoked};
pub use publishing::{DnsGate, DnsPublish, OwnershipMethod, OwnershipSpec, OwnershipStatus};
pub use refused_write::RefusedWrite;
pub use rule::{
    Condition, DeliveredStatus, DisabledSink, EmailForwardingRule, EmailForwardingRuleSpec, EmailForwardingRuleStatus,
    Field, Match, OnMatch, Operator, Spam,
};
pub use rule_action::{Action, Forward, Ignore, IgnoreMode, ToSink};
pub use status_condition::{ConditionText, StatusCondition};
pub use tenancy::{
    AllowedNamespaces, Chosen, LabelOperator, LabelRequirement, NamespaceLimits, NamespaceSelector, NamespacesFrom,
    Policies, PolicySource,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

/// The API group of all four kinds.
pub const GROUP: &str = "email.askrobots.com";

/// Annotation that confirms a destructive deletion; its value is the address or the domain.
pub const CONFIRM_DELETE: &str = "email.askrobots.com/confirm-delete";
/// Annotation that stops all writes to Mailcow for the object while it is `"true"`.
pub const PAUSED: &str = "email.askrobots.com/paused";
/// Annotation that requests one reconcile, including DNS checks, with each new value.
pub const RECONCILE_REQUESTED_AT: &str = "email.askrobots.com/reconcile-requested-at";
/// Prefix of a value of [`RECONCILE_REQUESTED_AT`] that writes the spec once, also under `driftPolicy: Report`.
pub const CORRECT: &str = "correct";
/// Annotation of the Secret with a connection: recreates entries that vanished from its server.
pub const RECREATE_VANISHED: &str = "email.askrobots.com/recreate-vanished";
/// Annotation that removes the finalizer although Mailcow is not reachable. Entries on Mailcow stay.
pub const FORCE_ORPHAN: &str = "email.askrobots.com/force-orphan";
/// Annotation of a namespace: the default deletion policy of its objects.
pub const DEFAULT_DELETION: &str = "email.askrobots.com/default-deletion-policy";
/// Annotation of a namespace: the default adoption policy of its objects.
pub const DEFAULT_ADOPTION: &str = "email.askrobots.com/default-adoption-policy";
/// Annotation of a namespace: the default drift policy of its objects.
pub const DEFAULT_DRIFT: &str = "email.askrobots.com/default-drift-policy";
/// Annotation of a namespace: the local part of the mailbox that is provisioned for it.
pub const USERNAME: &str = "email.askrobots.com/username";
/// Label on provisioned mailboxes: their domain, as `namespace.name`.
pub const PROVISIONED_BY: &str = "email.askrobots.com/provisioned-by";
/// Annotation of a mailbox: replaces the app password of the worker of task delivery with each new value.
pub const REPLACE_APP_PASSWORD: &str = "email.askrobots.com/replace-app-password";
/// Annotation of a rule or a mailbox: tries what is in `Failed` again, with each new value.
pub const REPLAY: &str = "email.askrobots.com/replay";
/// The annotations of the four kinds that the operator reads.
pub const ANNOTATIONS: [&str; 6] =
    [CONFIRM_DELETE, PAUSED, RECONCILE_REQUESTED_AT, FORCE_ORPHAN, REPLACE_APP_PASSWORD, REPLAY];
/// Kubernetes' own label for what manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The server of domains without `spec.server`.
pub const DEFAULT_SERVER: &str = "default";
/// The finalizer that every kind has from before its first write to Mailcow.
pub const FINALIZER: &str = "email.askrobots.com/mailcow";
/// Label on generated credentials Secrets.
pub const MAILBOX_LABEL: &str = "email.askrobots.com/mailbox";

/// Annotation on a generated Secret: `prepared` while its password is not on Mailcow yet; `owner` if the mailbox
/// already existed, so that its user's password stays and the Secret has none.
pub const PASSWORD: &str = "email.askrobots.com/password";
/// Annotation on a generated Secret: the uid of the `EmailMailbox` that it was generated for.
pub const GENERATED_FOR: &str = "email.askrobots.com/generated-for";

/// The definitions of all four kinds, in reading order.
///
/// # Errors
/// Never in practice: the definitions are plain data.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [EmailDomain::crd(), EmailMailbox::crd(), EmailAlias::crd(), EmailForwardingRule::crd()].iter().map(known).collect()
}

/// The definition, cleaned up for the API server and for `kubectl explain`.
fn known(crd: &CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut value = serde_json::to_value(crd)?;
    tidy(&mut value);
    for version in value["spec"]["versions"].as_array_mut().into_iter().flatten() {
        version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] = unseen();
    }
    serde_json::from_value(value)
}

/// The status of an object that the operator has not seen. Deployment tools treat an object without a status as ready,
/// and an object with an older observed generation as in progress.
fn unseen() -> Value {
    serde_json::json!({"observedGeneration": -1})
}

/// Removes integer formats that the API server does not know and warns about, such as `uint32`; the bounds are enough.
/// Removes the line breaks of the sources from descriptions.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| key != "format" || value.as_str().is_none_or(|format| !format.starts_with("uint")));
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = flowing(text);
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// A text without line breaks inside paragraphs, so that `kubectl explain` can wrap it.
fn flowing(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split('\n').collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// The definitions as YAML documents.
///
/// # Errors
/// Never in practice: the definitions are plain data.
pub fn yaml() -> Result<String, Box<dyn std::error::Error>> {
    let documents = definitions()?.iter().map(serde_yaml::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(documents.join("---\n"))
}
