//! Events. `Normal` events report success; a `Warning` names what was lost, or what somebody must check.

use std::fmt;

use super::conditions::{is_true, ready};
use crate::crd::StatusCondition as Condition;
use crate::intake::report::EventReason;
use crate::outcome::Reason;

/// The longest note in characters: Kubernetes allows 1024 bytes.
const LONGEST: usize = 1000;

/// An event before it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether it is of type `Warning` and not `Normal`.
    pub is_warning: bool,
    /// The reason, in CamelCase.
    pub reason: &'static str,
    /// The action at that time.
    pub action: &'static str,
    /// The note; never has a secret.
    pub note: String,
}

/// Events in addition to a change of `Ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// A change by hand on Mailcow was corrected; the fields of the spec.
    DriftCorrected(String),
    /// An alias vanished from Mailcow and was recreated; nothing is lost.
    MadeAgain(String),
    /// An entry that stores mail vanished from Mailcow and was recreated, empty.
    Recreated(String),
    /// The DKIM key of a domain vanished from Mailcow, and another one was created.
    DkimKeyLost(String),
    /// An entry was deleted on Mailcow, as its object asked, with its content.
    Deleted {
        /// The domain or the address.
        thing: String,
        /// Its content, such as `12 messages`.
        lost: String,
    },
    /// An object was deleted while Mailcow still has its entry.
    Orphaned,
    /// Many entries of a server vanished at once; how many, and what to do.
    VanishedFromMailcow(String),
    /// Kubernetes refuses a status; its own message.
    StatusRefused(String),
    /// The app password of the worker of task delivery was replaced; the mailbox and why.
    AppPasswordReplaced {
        /// The mailbox.
        mailbox: String,
        /// Why.
        why: &'static str,
    },
    /// What the worker of task delivery reports.
    Delivery {
        /// The kind.
        reason: EventReason,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// The type, the reason and the action of the event for what the worker of task delivery reports.
fn of_delivery(reason: EventReason) -> (bool, &'static str, &'static str) {
    match reason {
        EventReason::DeliveryFailed => (true, "DeliveryFailed", "Deliver"),
        EventReason::Replayed => (false, "Replayed", "Deliver"),
        EventReason::AutomaticMailSkipped => (false, "AutomaticMailSkipped", "Deliver"),
        EventReason::RateLimited => (true, "RateLimited", "Deliver"),
        EventReason::ReplayIncomplete => (true, "ReplayIncomplete", "Deliver"),
        EventReason::OrphanedCopies => (true, "OrphanedCopies", "Deliver"),
        EventReason::SinkDisabled => (true, "SinkDisabled", "Deliver"),
        EventReason::SinkFailing => (true, "SinkFailing", "Deliver"),
        EventReason::SinkInvalid => (true, "SinkInvalid", "Deliver"),
        EventReason::SinkNotFound => (true, "SinkNotFound", "Deliver"),
        EventReason::MailboxUnreachable => (true, "MailboxUnreachable", "Deliver"),
        EventReason::CertificateRejected => (true, "CertificateRejected", "Deliver"),
        EventReason::LoginRejected => (true, "LoginRejected", "Deliver"),
        EventReason::MailboxRefused => (true, "MailboxRefused", "Deliver"),
        EventReason::MailboxUnsupported => (true, "MailboxUnsupported", "Deliver"),
    }
}

impl Occurrence {
    /// The event for it.
    pub fn event(&self) -> Event {
        let (is_warning, reason, action) = match self {
            Self::DriftCorrected(_) => (false, "DriftCorrected", "Reconcile"),
            Self::MadeAgain(_) => (false, "MadeAgain", "Reconcile"),
            Self::Recreated(_) => (true, "Recreated", "Reconcile"),
            Self::DkimKeyLost(_) => (true, "DkimKeyLost", "Reconcile"),
            Self::Deleted { .. } => (true, "Deleted", "Delete"),
            Self::Orphaned => (true, "Orphaned", "Delete"),
            Self::VanishedFromMailcow(_) => (true, Reason::VanishedFromMailcow.as_str(), "Reconcile"),
            Self::StatusRefused(_) => (true, Reason::RefusedByKubernetes.as_str(), "WriteStatus"),
            Self::AppPasswordReplaced { .. } => (false, "AppPasswordReplaced", "Reconcile"),
            Self::Delivery { reason, .. } => of_delivery(*reason),
        };
        Event { is_warning, reason, action, note: shortened(&self.to_string()) }
    }
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DriftCorrected(fields) => write!(f, "corrected after a change by hand on Mailcow: {fields}"),
            Self::MadeAgain(thing) => write!(f, "{thing} vanished from Mailcow; the operator created it again"),
            Self::Recreated(thing) => {
                write!(f, "{thing} vanished from Mailcow with its mail; the operator created a new, empty one")
            }
            Self::DkimKeyLost(domain) => write!(
                f,
                "the DKIM key of {domain} vanished from Mailcow, which now signs mail with a new key; publish the record in status.dkim"
            ),
            Self::Deleted { thing, lost } => write!(f, "{thing} was deleted on Mailcow with {lost}"),
            Self::Orphaned => f.write_str(
                "the finalizer was removed because of the annotation email.askrobots.com/force-orphan; everything on Mailcow stays there",
            ),
            Self::VanishedFromMailcow(note) => f.write_str(note),
            Self::StatusRefused(why) => write!(f, "the status can't be written: {why}"),
            Self::AppPasswordReplaced { mailbox, why } => {
                write!(f, "task delivery has a new app password for {mailbox}, because {why}")
            }
            Self::Delivery { message, .. } => f.write_str(message),
        }
    }
}

/// The event for a change of `Ready`, if it changed.
pub fn ready_changed(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let now = ready(after)?;
    // A change of the drifted fields is news too.
    let drifted = |c: &Condition| (c.reason == Reason::Drifted.as_str()).then(|| c.message.clone());
    let shown = |c: &Condition| (c.status.clone(), c.reason.clone(), drifted(c));
    let reason = Reason::parse(&now.reason)?;
    if ready(before).map(shown) == Some(shown(now)) || reason == Reason::Pending {
        return None;
    }
    let is_normal = match now.status.as_str() {
        "True" => true,
        "False" if !is_true(after, "Stalled") => is_in_order(reason, is_true(before, "Ready")),
        _ => false,
    };
    let note = shortened(&now.message);
    Some(Event { is_warning: !is_normal, reason: reason.as_str(), action: "Reconcile", note })
}

/// Whether the missing part is on its way, or was requested, and nothing but time is lost.
fn is_in_order(reason: Reason, was_ready: bool) -> bool {
    match reason {
        Reason::Paused | Reason::WrittenLately => true,
        Reason::Pending | Reason::MailcowNotConfigured | Reason::DomainNotReady | Reason::MailboxNotReady => !was_ready,
        _ => false,
    }
}

fn shortened(note: &str) -> String {
    note.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::super::conditions::{common, settled, tests::request};
    use super::*;
    use crate::outcome::{Outcome, Why};

    fn conditions_of(outcome: &Outcome) -> Vec<Condition> {
        settled(&[], common(outcome, false), &request(1))
    }

    fn kind(before: &Outcome, after: &Outcome) -> &'static str {
        match ready_changed(&conditions_of(before), &conditions_of(after)) {
            None => "none",
            Some(event) if event.is_warning => "Warning",
            Some(_) => "Normal",
        }
    }

    #[test]
    fn events_come_on_change_only() {
        let pending = Outcome::Unknown(Why::new(Reason::Pending, "seen"));
        assert!(ready_changed(&[], &conditions_of(&pending)).is_none());
        assert!(ready_changed(&conditions_of(&pending), &conditions_of(&Outcome::InSync)).is_some());
        assert!(ready_changed(&conditions_of(&Outcome::InSync), &conditions_of(&Outcome::InSync)).is_none());
        let drifted = |fields: &str| Outcome::stalled(Reason::Drifted, fields);
        assert_eq!(kind(&drifted("quota"), &drifted("quota, state")), "Warning", "more has drifted");
    }

    #[test]
    fn normal_is_for_what_goes_well() {
        let pending = Outcome::Unknown(Why::new(Reason::Pending, "seen"));
        let (ready, waits) = (Outcome::InSync, |reason| Outcome::waiting(reason, "m"));
        // Of an object that is new, and of one that was ready.
        for (outcome, new, was_ready) in [
            (ready.clone(), "Normal", "none"),
            (waits(Reason::DomainNotReady), "Normal", "Warning"),
            (waits(Reason::MailboxNotReady), "Normal", "Warning"),
            (waits(Reason::MailcowNotConfigured), "Normal", "Warning"),
            (waits(Reason::Paused), "Normal", "Normal"),
            (waits(Reason::WrittenLately), "Normal", "Normal"),
            (waits(Reason::DomainNotFound), "Warning", "Warning"),
            (waits(Reason::NamespaceNotAllowed), "Warning", "Warning"),
            (waits(Reason::MailboxNotFound), "Warning", "Warning"),
            (waits(Reason::SenderNotFound), "Warning", "Warning"),
            (waits(Reason::SecretNotFound), "Warning", "Warning"),
            (waits(Reason::SecretKeyInvalid), "Warning", "Warning"),
            (waits(Reason::SinkNotFound), "Warning", "Warning"),
            (waits(Reason::OwnershipNotVerified), "Warning", "Warning"),
            (waits(Reason::DomainNotEmpty), "Warning", "Warning"),
            (Outcome::stalled(Reason::RefusedByMailcow, "m"), "Warning", "Warning"),
            (Outcome::stalled(Reason::DomainNotReady, "m"), "Warning", "Warning"),
            (Outcome::Unknown(Why::new(Reason::MailcowUnreachable, "m")), "Warning", "Warning"),
            (Outcome::Unknown(Why::new(Reason::KubernetesApiError, "m")), "Warning", "Warning"),
        ] {
            assert_eq!((kind(&pending, &outcome), kind(&ready, &outcome)), (new, was_ready), "{outcome:?}");
        }
        for reason in Reason::ALL {
            let stalled = kind(&ready, &Outcome::stalled(reason, "m"));
            assert_eq!(stalled, if reason == Reason::Pending { "none" } else { "Warning" }, "{reason:?}");
            assert_eq!(kind(&Outcome::stalled(reason, "m"), &ready), "Normal", "{reason:?}");
        }
    }

    #[test]
    fn what_was_lost_is_a_warning_that_names_it() {
        let thing = || "ada@example.com".to_owned();
        for (occurrence, is_warning, words) in [
            (Occurrence::DriftCorrected("quota".into()), false, "by hand on Mailcow: quota"),
            (Occurrence::MadeAgain(thing()), false, "ada@example.com vanished from Mailcow"),
            (Occurrence::Recreated(thing()), true, "ada@example.com vanished from Mailcow with its mail"),
            (Occurrence::DkimKeyLost("example.com".into()), true, "DKIM key of example.com vanished"),
            (Occurrence::Deleted { thing: thing(), lost: "3 messages".into() }, true, "with 3 messages"),
            (Occurrence::Orphaned, true, "stays there"),
            (Occurrence::VanishedFromMailcow("9 of 10".into()), true, "9 of 10"),
            (Occurrence::StatusRefused("denied".into()), true, "can't be written: denied"),
            (Occurrence::AppPasswordReplaced { mailbox: thing(), why: "it was lost" }, false, "because it was lost"),
            (Occurrence::Delivery { reason: EventReason::SinkFailing, message: "tracker".into() }, true, "tracker"),
        ] {
            let event = occurrence.event();
            assert!(event.is_warning == is_warning && event.note.contains(words), "{event:?}");
        }
        assert_eq!(Occurrence::StatusRefused("ü".repeat(2000)).event().note.chars().count(), LONGEST);
    }
}
