//! What the worker reports. Reports carry no content of mail except a subject, cut, and never a Secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::queue::Replay;
use super::rule_ref::RuleRef;
use crate::mail::Address;

/// One report. They come in order through one channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// A folder was scanned.
    Folder(FolderReport),
    /// A scan of a mailbox ended, or failed.
    Scan(ScanReport),
    /// A sink answered, or did not.
    Attempt(AttemptReport),
    /// Something that a person should see at a rule.
    Event(RuleEvent),
    /// The queue folders of a mailbox that are not in the work, and have messages: all of them, each time.
    Orphaned {
        /// The mailbox.
        mailbox: Address,
        /// The folders.
        folders: Vec<OrphanedFolder>,
    },
    /// A replay request of [`super::queue::QueueFolder::replay`] is done.
    Replayed {
        /// The rule.
        rule: RuleRef,
        /// The mailbox.
        mailbox: Address,
        /// The queue folder.
        folder: String,
        /// The request.
        request: Replay,
        /// Messages that are tried again.
        messages: u64,
    },
}

/// What a scan found in a queue folder and in its `Failed` and `Done`. All counts are those of the server at `at`; none
/// is counted up by the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderReport {
    /// The mailbox.
    pub mailbox: Address,
    /// The rule.
    pub rule: RuleRef,
    /// The queue folder.
    pub folder: String,
    /// The sink.
    pub sink: String,
    /// When this was read.
    pub at: Time,
    /// Messages that wait, including those that are tried right now.
    pub waiting: u64,
    /// When the oldest of them arrived.
    pub oldest_waiting: Option<Time>,
    /// Messages in `Failed`.
    pub failed: u64,
    /// Messages in `Skipped`: automatic mail that makes no task.
    pub skipped: u64,
    /// Messages that ever arrived in `Done`, since the folder exists (its next UID).
    pub delivered: u64,
    /// Why messages wait that could be tried; `None` when nothing holds them up.
    pub blocked: Option<Failure>,
}

/// A queue folder that is not in the work: perhaps of a rule that was deleted or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanedFolder {
    /// Its name.
    pub folder: String,
    /// Messages that wait in it.
    pub waiting: u64,
    /// Messages in its `Failed`.
    pub failed: u64,
}

/// The result of a scan of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanReport {
    /// The mailbox.
    pub mailbox: Address,
    /// When it ended.
    pub at: Time,
    /// Why it failed; `None` when all folders were scanned.
    pub failure: Option<Failure>,
}

/// Why a scan failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub reason: EventReason,
    /// What is wrong, and what to do.
    pub message: String,
}

/// One try of one message at a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptReport {
    /// The mailbox.
    pub mailbox: Address,
    /// The rule.
    pub rule: RuleRef,
    /// The queue folder.
    pub folder: String,
    /// The sink.
    pub sink: String,
    /// When the answer came.
    pub at: Time,
    /// What came of it.
    pub result: AttemptResult,
    /// Time from the message's arrival in the folder to the answer, in seconds.
    pub age_seconds: f64,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttemptResult {
    /// The sink has it.
    Delivered,
    /// It is tried again later.
    Retry,
    /// It went to `Failed`.
    Failed,
}

impl AttemptResult {
    /// A label for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Failed => "failed",
        }
    }
}

/// An Event for a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEvent {
    /// The rule.
    pub rule: RuleRef,
    /// The mailbox.
    pub mailbox: Address,
    /// Whether it needs a person.
    pub warning: bool,
    /// The kind.
    pub reason: EventReason,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Why something is reported: one CamelCase word each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventReason {
    /// A message went to `Failed`.
    DeliveryFailed,
    /// Messages went back from `Failed` to the queue.
    Replayed,
    /// Automatic mail went to `Skipped`.
    AutomaticMailSkipped,
    /// More mail than the limit of the rule or the sender: the rest waits.
    RateLimited,
    /// A replay could not reach all mailboxes of the rule.
    ReplayIncomplete,
    /// Copies lie in a queue folder that no rule names any more.
    OrphanedCopies,
    /// The sink answered 410; nothing is sent to it until it changes.
    SinkDisabled,
    /// The sink does not answer, or with errors. Messages wait.
    SinkFailing,
    /// The sink can't be used as it is configured.
    SinkInvalid,
    /// The worker has no sink with this name.
    SinkNotFound,
    /// The mailbox's IMAP server does not answer.
    MailboxUnreachable,
    /// The server's certificate is not valid for its name and CA.
    CertificateRejected,
    /// The server refuses the app password, or IMAP is off for the mailbox.
    LoginRejected,
    /// The server refused a command or broke the protocol.
    MailboxRefused,
    /// The server lacks an extension that the worker needs.
    MailboxUnsupported,
}

impl EventReason {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeliveryFailed => "DeliveryFailed",
            Self::Replayed => "Replayed",
            Self::AutomaticMailSkipped => "AutomaticMailSkipped",
            Self::RateLimited => "RateLimited",
            Self::ReplayIncomplete => "ReplayIncomplete",
            Self::OrphanedCopies => "OrphanedCopies",
            Self::SinkDisabled => "SinkDisabled",
            Self::SinkFailing => "SinkFailing",
            Self::SinkInvalid => "SinkInvalid",
            Self::SinkNotFound => "SinkNotFound",
            Self::MailboxUnreachable => "MailboxUnreachable",
            Self::CertificateRejected => "CertificateRejected",
            Self::LoginRejected => "LoginRejected",
            Self::MailboxRefused => "MailboxRefused",
            Self::MailboxUnsupported => "MailboxUnsupported",
        }
    }
}
