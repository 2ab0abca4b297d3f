//! What an `EmailForwardingRule` does with a message.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to a message: exactly one of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.forward), has(self.createTask), has(self.createNote), has(self.ignore)].filter(i, i).size() == 1").message("an action is exactly one of forward, createTask, createNote and ignore"))]
pub struct Action {
    /// Send it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Make a task of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_task: Option<ToSink>,
    /// Make a note of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_note: Option<ToSink>,
    /// Keep it out of the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Ignore>,
}

/// Send the message on to other addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// Where to.
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 254)))]
    #[x_kube(validation = Rule::new("self.all(a, a.matches('^([^@\\\\s,;\"]+|\"[^\"]+\")@[^@\\\\s,;]+[.][^@\\\\s,;]+$'))").message("each address must be one address, such as info@example.com"))]
    pub to: Vec<String>,
    /// Whether the mailbox keeps a copy; default true.
    #[serde(default = "yes")]
    pub keep_copy: bool,
}

fn yes() -> bool {
    true
}

/// Hand the message to a tool outside, which makes a task or a note of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToSink {
    /// The tool: the name of a sink that the installation configured and allows in this namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub sink: String,
    /// The title; default the subject. `{subject}`, `{sender}` and `{recipient}` are filled in. Sinks that take email
    /// get the message as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub title: Option<String>,
    /// Labels for the tool. Sinks that take email get none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub labels: Vec<String>,
    /// Whether the mailbox keeps a copy; default true.
    #[serde(default = "yes")]
    pub keep_copy: bool,
}

/// Keep the message out of the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// Where it goes; default `Trash`.
    #[serde(default)]
    pub mode: IgnoreMode,
}

/// Where an ignored message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IgnoreMode {
    /// Into the folder Trash.
    #[default]
    Trash,
    /// Nowhere: it is lost.
    Discard,
}
