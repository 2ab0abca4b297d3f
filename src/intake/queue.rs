//! What the worker is given: mailboxes, their queue folders, and the sinks, all resolved.
//!
//! The values come from rules and Secrets through a watch channel. A new value replaces the previous one as a whole;
//! the worker keeps nothing of its own that a new process would miss.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::breaker::Pauses;
use super::rule_ref::RuleRef;
use super::sink::Sink;
use super::state::Waits;
use crate::mail::Address;
pub use crate::mail::rule::QueueKind;

/// Everything to do at a time.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Mailboxes with at least one queue folder. Each address is here at most once.
    pub mailboxes: Vec<MailboxQueues>,
    /// The sinks by name. A folder whose sink is missing here waits, and the worker reports it.
    pub sinks: BTreeMap<String, Arc<Sink>>,
    /// Those of them that answered 410 as they are configured now, as an earlier process reported. They get nothing.
    pub disabled: BTreeSet<String>,
}

/// A mailbox and its queue folders.
#[derive(Clone, Debug)]
pub struct MailboxQueues {
    /// The mailbox's address. It is a part of the identity of each delivery.
    pub address: Address,
    /// Where its IMAP server is.
    pub server: Arc<ImapServer>,
    /// Name to log in with.
    pub login: String,
    /// The app password.
    pub password: SecretString,
    /// Its queue folders. Each folder name is here at most once.
    pub folders: Vec<QueueFolder>,
    /// The id in the `Authentication-Results` of this Mailcow, usually its host name; `None`: none is believed.
    pub authserv_id: Option<String>,
}

impl MailboxQueues {
    /// Whether the same session serves both.
    pub fn has_same_login(&self, other: &Self) -> bool {
        self.server == other.server
            && self.login == other.login
            && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl PartialEq for MailboxQueues {
    fn eq(&self, other: &Self) -> bool {
        self.has_same_login(other)
            && self.address == other.address
            && self.folders == other.folders
            && self.authserv_id == other.authserv_id
    }
}

/// An IMAP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImapServer {
    /// Host name or IP address. The certificate must be for it.
    pub host: String,
    /// Usually 993, or 143 with [`ImapTls::StartTls`].
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: ImapTls,
    /// Certificates of a private CA, PEM; empty for the public roots alone.
    pub ca: Vec<u8>,
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImapTls {
    /// From the first byte (RFC 8314).
    #[default]
    Implicit,
    /// After the command STARTTLS (RFC 9051, section 6.2.1). A server without it is an error.
    StartTls,
    /// Not at all; only for an address of this machine. Any other is an error, and the password is not sent.
    Plaintext,
}

impl ImapTls {
    /// The usual port (RFC 8314, section 3.3, and RFC 9051, section 2.1).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Implicit => 993,
            Self::StartTls | Self::Plaintext => 143,
        }
    }
}

/// A folder and what its messages become: one action of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFolder {
    /// The folder's name, from [`QueueKind::folder`](crate::mail::rule::QueueKind::folder).
    pub folder: String,
    /// What the messages become.
    pub kind: QueueKind,
    /// Name of the sink in [`Work::sinks`].
    pub sink: String,
    /// The rule.
    pub rule: RuleRef,
    /// The title with `{subject}`, `{sender}` and `{recipient}`; `None` for the subject.
    pub title: Option<String>,
    /// Labels for the tool.
    pub labels: Vec<String>,
    /// Whether automatic mail (RFC 3834), and mail with a null sender, becomes a task too.
    pub automatic: bool,
    /// Limits of this folder.
    pub limits: Limits,
    /// Messages in `Done` are deleted after this time; `None` keeps them.
    pub keep_done: Option<Duration>,
    /// Requests to try what is in `Failed` again. The worker answers with
    /// [`Report::Replayed`](super::report::Report::Replayed); the same values are then ignored, until the process ends.
    pub replay: Replay,
}

/// Requests to try again, that are not handled yet: values of annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Of the rule.
    pub rule: Option<String>,
    /// Of the mailbox.
    pub mailbox: Option<String>,
}

impl Replay {
    /// Whether nothing is asked for that `done` does not have.
    pub fn is_done(&self, done: &Self) -> bool {
        let is_in = |asked: &Option<String>, done: &Option<String>| asked.is_none() || asked == done;
        is_in(&self.rule, &done.rule) && is_in(&self.mailbox, &done.mailbox)
    }

    /// What is done after `self` too.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self { rule: self.rule.or(before.rule), mailbox: self.mailbox.or(before.mailbox) }
    }
}

/// Limits of a queue folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages of one sender that are delivered in an hour; the others wait.
    pub per_sender_and_hour: u32,
    /// Messages of the whole folder that are delivered in an hour; the others wait.
    pub per_hour: u32,
    /// How often a message is tried before it goes to `Failed`; at most [`super::state::MOST_TRIES`].
    pub tries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_sender_and_hour: 60, per_hour: 1_000, tries: super::state::MOST_TRIES }
    }
}

/// Options of the whole worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// IMAP connections at a time, over all servers. With more mailboxes than that, one waits for another's connection.
    pub connections: usize,
    /// Time between two scans of a mailbox, whatever IDLE reports.
    pub scan_interval: Duration,
    /// How long one command to the IMAP server may take.
    pub imap_timeout: Duration,
    /// How long one request to a sink may take.
    pub sink_timeout: Duration,
    /// Waits between the tries of a message.
    pub waits: Waits,
    /// Pauses of a sink that fails.
    pub pauses: Pauses,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 200,
            scan_interval: Duration::from_mins(1),
            imap_timeout: Duration::from_secs(30),
            sink_timeout: Duration::from_secs(30),
            waits: Waits::default(),
            pauses: Pauses::default(),
        }
    }
}
