//! Automatic mailboxes of a domain: one for each entitled namespace.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::USERNAME;
use super::tenancy::NamespaceSelector;

/// One mailbox for each entitled namespace. The operator creates an `EmailMailbox` in that namespace, whatever
/// `allowedNamespaces` says. If you remove `autoProvision`, the mailboxes stay as they are, and the operator writes
/// nothing more for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.namespaceSelector.matchLabels) && self.namespaceSelector.matchLabels.size() > 0) || (has(self.namespaceSelector.matchExpressions) && self.namespaceSelector.matchExpressions.size() > 0)").message("namespaceSelector must not be empty, because every namespace of the cluster would get a mailbox"))]
pub struct AutoProvision {
    /// Selects the entitled namespaces by their labels.
    pub namespace_selector: NamespaceSelector,
    /// The annotation of a namespace with the local part of its address, in lower case. Default:
    /// `email.askrobots.com/username`. Without this annotation, the local part is the name of the namespace.
    #[serde(default = "username")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub local_part_annotation: String,
    /// What happens to the mailbox of a namespace that is no longer entitled. Default: `Deactivate`. The operator never
    /// deletes it.
    #[serde(default)]
    pub when_revoked: WhenRevoked,
}

fn username() -> String {
    USERNAME.to_owned()
}

/// What happens to the mailbox of a namespace that is no longer entitled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenRevoked {
    /// Nobody can log in. The mailbox still receives mail, and existing mail stays.
    #[default]
    Deactivate,
    /// It stays as it is.
    Keep,
}

/// Result of `spec.autoProvision` for the entitled namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionedStatus {
    /// Number of entitled namespaces.
    pub entitled: u32,
    /// Number of entitled namespaces that have their `EmailMailbox`.
    pub mailboxes: u32,
    /// Number of mailboxes of namespaces that are no longer entitled.
    pub revoked: u32,
    /// Number of entitled namespaces that get no mailbox.
    pub refused_count: u32,
    /// The first 20 entitled namespaces that get no mailbox, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedNamespace>,
}

/// An entitled namespace that gets no mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RefusedNamespace {
    /// Its name.
    pub namespace: String,
    /// The reason.
    pub reason: RefusedReason,
    /// The cause, and what to do.
    pub message: String,
}

/// Why an entitled namespace gets no mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefusedReason {
    /// The name can't be the local part of an address.
    Invalid,
    /// The name is reserved in this installation.
    Reserved,
    /// Another namespace, mailbox or alias has the address.
    Taken,
    /// The namespace already has another `EmailMailbox` with the name of the automatic one.
    NameInUse,
    /// The Kubernetes API refuses the object.
    NotCreated,
}
