//! Folders of a mailbox in which copies wait until an external tool has made tasks or notes from them.

use super::super::digest::cut;

/// The longest rule name that is used unchanged in a folder's name. On disk the whole path of a folder is one name of
/// at most 255 bytes, and the worker's own folders are below it.
const LONGEST_NAME: usize = 80;

/// A folder and what happens to its messages. Each action of each rule has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// What they become.
    pub kind: QueueKind,
    /// Name of the folder; `/` parts it from the folders above.
    pub folder: String,
    /// Name of the sink that gets them.
    pub sink: String,
    /// The title with `{subject}`, `{sender}` and `{recipient}` to fill in; `None` for the subject.
    pub title: Option<String>,
    /// Whether automatic mail (RFC 3834) becomes one too.
    pub automatic: bool,
    /// Labels for the tool.
    pub labels: Vec<String>,
    /// Whether the action leaves the copy in the inbox.
    pub keep_copy: bool,
}

/// What a message becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Something to do.
    Task,
    /// Something to know.
    Note,
}

impl QueueKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Task, Self::Note];

    /// The folder above all folders of this kind.
    pub fn above(self) -> &'static str {
        match self {
            Self::Task => "Ops/Tasks",
            Self::Note => "Ops/Notes",
        }
    }

    /// Whether a folder is one of this rule, whatever its kind and its sink.
    pub fn is_of_rule(folder: &str, rule: &str) -> bool {
        Self::ALL.iter().any(|kind| {
            folder.strip_prefix(&kind.folder(rule, "")).is_some_and(|sink| !sink.is_empty() && !sink.contains('/'))
        })
    }

    /// Whether a folder is a queue folder: not one above it, and none of those below it.
    pub fn is_queue(folder: &str) -> bool {
        let parts: Vec<&str> = folder.split('/').collect();
        let is_below = |kind: &Self| folder.strip_prefix(kind.above()).is_some_and(|rest| rest.starts_with('/'));
        parts.len() == 4 && parts[3].contains('@') && Self::ALL.iter().any(is_below)
    }

    /// The folder of an action: `Ops/Tasks/<namespace>/<rule>@<sink>`. Two actions that differ in rule, kind or sink
    /// have two folders. A dot, which Dovecot may keep for itself, becomes `_`; a long name is cut and gets a hash.
    pub fn folder(self, rule: &str, sink: &str) -> String {
        let above = self.above();
        let (namespace, name) = rule.split_once('/').unwrap_or(("", rule));
        format!("{above}/{namespace}/{}@{sink}", cut(name, LONGEST_NAME).replace('.', "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_kind_and_sink_has_a_folder_of_its_own() {
        assert_eq!(QueueKind::Task.folder("mail/invoices", "tracker"), "Ops/Tasks/mail/invoices@tracker");
        assert_eq!(QueueKind::Note.folder("mail/a.b", "wiki"), "Ops/Notes/mail/a_b@wiki");
    }

    #[test]
    fn the_rule_of_a_folder_is_known_by_its_name() {
        let is_of = |folder: &str| QueueKind::is_of_rule(folder, "mail/a.b");
        assert!(is_of("Ops/Tasks/mail/a_b@tracker") && is_of("Ops/Notes/mail/a_b@wiki"));
        for other in
            ["Ops/Tasks/mail/a_b@tracker/Done", "Ops/Tasks/mail/a_bc@tracker", "Ops/Tasks/other/a_b@t", "INBOX"]
        {
            assert!(!is_of(other), "{other}");
        }
        assert!(QueueKind::is_queue("Ops/Tasks/mail/a_b@tracker"));
        for other in ["Ops/Tasks/mail/a_b@tracker/Failed", "Ops/Tasks/mail", "Ops/Tasks/mail/x", "A/Tasks/mail/a@b"] {
            assert!(!QueueKind::is_queue(other), "{other}");
        }
    }

    #[test]
    fn a_long_name_fits_and_stays_apart() {
        let folder = |last| QueueKind::Task.folder(&format!("{}/{}{last}", "n".repeat(63), "x".repeat(252)), "s");
        assert_ne!(folder("a"), folder("b"));
        assert!(folder("a").len() + "@".len() + 62 + "/Skipped".len() < 255);
    }
}
