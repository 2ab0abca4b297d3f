//! Mailboxes that a domain makes by itself: one for each namespace that is entitled to one.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::USERNAME;
use super::tenancy::NamespaceSelector;

/// One mailbox for each namespace that is entitled to one: an `EmailMailbox` in that namespace, which may attach to the
/// domain whatever `allowedNamespaces` says. Taken back, the mailboxes stay as they are, and nothing more is written for
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.namespaceSelector.matchLabels) && self.namespaceSelector.matchLabels.size() > 0) || (has(self.namespaceSelector.matchExpressions) && self.namespaceSelector.matchExpressions.size() > 0)").message("namespaceSelector must not be empty: every namespace of the cluster would get a mailbox"))]
pub struct AutoProvision {
    /// Labels of the namespaces that are entitled.
    pub namespace_selector: NamespaceSelector,
    /// The annotation of a namespace that holds the local part of its address, compared in lower case; default
    /// `email.askrobots.com/username`. Without it, it is the namespace's name.
    #[serde(default = "username")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub local_part_annotation: String,
    /// What becomes of the mailbox of a namespace that is no longer entitled; default `Deactivate`. It is never deleted.
    #[serde(default)]
    pub when_revoked: WhenRevoked,
}

fn username() -> String {
    USERNAME.to_owned()
}

/// What becomes of the mailbox of a namespace that is no longer entitled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenRevoked {
    /// Nobody can log in; mail still comes in, and what is in it stays.
    #[default]
    Deactivate,
    /// It stays as it is.
    Keep,
}

/// What became of the namespaces that are entitled to a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionedStatus {
    /// Namespaces that are entitled.
    pub entitled: u32,
    /// Those of them that have their `EmailMailbox`.
    pub mailboxes: u32,
    /// Mailboxes of namespaces that are no longer entitled.
    pub revoked: u32,
    /// Entitled namespaces that get none.
    pub refused_count: u32,
    /// The first 20 of them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedNamespace>,
}

/// An entitled namespace that gets no mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RefusedNamespace {
    /// Its name.
    pub namespace: String,
    /// Why, in a word.
    pub reason: RefusedReason,
    /// Why, and what to do.
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
    /// The namespace has an `EmailMailbox` of the name that the provisioned one would get.
    NameInUse,
    /// The Kubernetes API does not take the object.
    NotCreated,
}
