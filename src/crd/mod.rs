//! What users write: the four custom resources, their schemas and CEL rules. No behaviour lives here.
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
    EmailMailbox, EmailMailboxSpec, EmailMailboxStatus, LastLogin, MailboxState, QuotaStatus, ScriptRule, ScriptState,
    ScriptStatus, SecretKeyRef, Tls,
};
pub use provision::{AutoProvision, ProvisionedStatus, RefusedNamespace, RefusedReason, WhenRevoked};
pub use publishing::{DnsGate, DnsPublish, OwnershipMethod, OwnershipSpec, OwnershipStatus};
pub use refused_write::RefusedWrite;
pub use rule::{
    Condition, EmailForwardingRule, EmailForwardingRuleSpec, EmailForwardingRuleStatus, Field, Match, OnMatch,
    Operator, Spam,
};
pub use rule_action::{Action, Forward, Ignore, IgnoreMode, ToSink};
pub use status_condition::{ConditionText, StatusCondition};
pub use tenancy::{
    AllowedNamespaces, Chosen, LabelOperator, LabelRequirement, NamespaceSelector, NamespacesFrom, Policies,
    PolicySource,
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
/// Annotation whose every new value asks for one reconcile, DNS checks included.
pub const RECONCILE_REQUESTED_AT: &str = "email.askrobots.com/reconcile-requested-at";
/// Beginning of a value of [`RECONCILE_REQUESTED_AT`] that asks to write the spec's values once, under
/// `driftPolicy: Report` too.
pub const CORRECT: &str = "correct";
/// Annotation of the Secret with a connection: lets what vanished from its server be made again.
pub const RECREATE_VANISHED: &str = "email.askrobots.com/recreate-vanished";
/// Annotation that lets an object go although Mailcow can't be reached; what is there stays there.
pub const FORCE_ORPHAN: &str = "email.askrobots.com/force-orphan";
/// Annotation of a namespace: what happens on Mailcow when an object in it is deleted that does not say.
pub const DEFAULT_DELETION: &str = "email.askrobots.com/default-deletion-policy";
/// Annotation of a namespace: what objects in it that don't say do about things that already exist on Mailcow.
pub const DEFAULT_ADOPTION: &str = "email.askrobots.com/default-adoption-policy";
/// Annotation of a namespace: what objects in it that don't say do about changes by hand.
pub const DEFAULT_DRIFT: &str = "email.askrobots.com/default-drift-policy";
/// Annotation of a namespace: the local part of the mailbox that is provisioned for it.
pub const USERNAME: &str = "email.askrobots.com/username";
/// Label on provisioned mailboxes: the domain that they were made for, as `namespace.name`.
pub const PROVISIONED_BY: &str = "email.askrobots.com/provisioned-by";
/// The server of domains that name none.
pub const DEFAULT_SERVER: &str = "default";
/// The finalizer that every kind carries from before its first write to Mailcow.
pub const FINALIZER: &str = "email.askrobots.com/mailcow";
/// Label on generated credentials Secrets; the operator watches Secrets with this label only.
pub const MAILBOX_LABEL: &str = "email.askrobots.com/mailbox";

/// Annotation on a generated Secret: `prepared` while it is not on Mailcow yet, `owner` where the mailbox turned out to
/// be there before, so that its owner's password stays and none is in the Secret.
pub const PASSWORD: &str = "email.askrobots.com/password";

/// The definitions of all four kinds, in the order people read them.
///
/// # Errors
/// Never in practice: the definitions are plain data.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [EmailDomain::crd(), EmailMailbox::crd(), EmailAlias::crd(), EmailForwardingRule::crd()].iter().map(known).collect()
}

/// The definition as the API server and people like it.
fn known(crd: &CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut value = serde_json::to_value(crd)?;
    tidy(&mut value);
    for version in value["spec"]["versions"].as_array_mut().into_iter().flatten() {
        version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] = unseen();
    }
    serde_json::from_value(value)
}

/// The status of an object that the operator has not seen. Tools for deployment take an object without a status for
/// ready, and one whose last observed generation is another than the current for one in progress.
fn unseen() -> Value {
    serde_json::json!({"observedGeneration": -1})
}

/// The API server warns of integer formats that it does not know, such as `uint32`: bounds say it all. Descriptions lose
/// the line breaks of the sources.
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

/// A text whose lines `kubectl explain` may break where it likes; paragraphs stay.
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
