//! What an `EmailForwardingRule` does with a message.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An action on a message. Give exactly one of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.forward), has(self.createTask), has(self.createNote), has(self.ignore)].filter(i, i).size() == 1").message("give exactly one of forward, createTask, createNote and ignore"))]
pub struct Action {
    /// Forward the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Create a task from the message. Needs the feature gate `TaskDelivery`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_task: Option<ToSink>,
    /// Create a note from the message. Needs the feature gate `TaskDelivery`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_note: Option<ToSink>,
    /// Keep the message out of the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Ignore>,
}

/// Forward the message to other addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// The target addresses.
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 254)))]
    #[x_kube(validation = Rule::new("self.all(a, a.matches('^([^@\\\\s,;\"]+|\"[^\"]+\")@[^@\\\\s,;]+[.][^@\\\\s,;]+$'))").message("each address must be one address, such as info@example.com"))]
    pub to: Vec<String>,
    /// Whether the mailbox keeps a copy. Default: true.
    #[serde(default = "yes")]
    pub keep_copy: bool,
}

fn yes() -> bool {
    true
}

/// Send the message to an external tool, which creates a task or a note from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToSink {
    /// Name of the tool: a sink that the installation configures and allows for this namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub sink: String,
    /// The title. Default: the subject. `{subject}`, `{sender}` and `{recipient}` are replaced. Email sinks get the
    /// message unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub title: Option<String>,
    /// Whether automatic mail, such as out-of-office replies and bounces, becomes a task or note too (RFC 3834). Default:
    /// false. Email sinks get all mail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic_mail: bool,
    /// Labels for the tool. Email sinks get no labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub labels: Vec<String>,
    /// Whether the mailbox keeps a copy. Default: true.
    #[serde(default = "yes")]
    pub keep_copy: bool,
}

/// Keep the message out of the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// Where the message goes. Default: `Trash`.
    #[serde(default)]
    pub mode: IgnoreMode,
}

/// Where an ignored message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IgnoreMode {
    /// Into the folder Trash.
    #[default]
    Trash,
    /// Nowhere. The message is lost.
    Discard,
}
