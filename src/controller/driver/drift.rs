//! Drift: a difference that no change of the spec explains.

use std::fmt::Display;

use kube::Resource;

use crate::controller::driver::context::Context;
use crate::controller::driver::converge::fields;
use crate::crd::{CORRECT, DriftPolicy, RECONCILE_REQUESTED_AT};
use crate::kubernetes::object::Object;
use crate::kubernetes::object::request;
use crate::outcome::{Outcome, Reason, Why};
use crate::plan::Change;
use crate::status::Occurrence;

/// Whether Mailcow matched this spec before, so that a difference is a change by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drift {
    policy: DriftPolicy,
    was_in_sync: bool,
    /// Whether a request asks to write the spec once.
    is_correction_asked: bool,
}

impl Drift {
    /// For an object that was last in sync at generation `synced`, and whose last handled request is `handled`. A new
    /// request only checks; with a value that begins with [`CORRECT`] it ignores `Report` once.
    pub(crate) fn new(
        object: &impl Resource<DynamicType = ()>,
        policy: DriftPolicy,
        synced: Option<i64>,
        handled: Option<&str>,
    ) -> Self {
        let request = request(object);
        // Removing the annotation, as GitOps tools do, requests nothing.
        let asked = request.requested_at.as_deref().filter(|asked| handled != Some(*asked));
        let was_in_sync = synced.is_some() && synced == request.generation;
        Self { policy, was_in_sync, is_correction_asked: asked.is_some_and(|asked| asked.starts_with(CORRECT)) }
    }

    /// The same, if inherited or shared settings may have changed.
    pub(crate) fn and(self, is_unchanged: bool) -> Self {
        Self { was_in_sync: self.was_in_sync && is_unchanged, ..self }
    }

    /// What to write, and the outcome for what is not written.
    pub(crate) fn separate(self, changes: Vec<Change>) -> (Vec<Change>, Option<Outcome>) {
        let is_written = !self.was_in_sync || self.is_correction_asked || self.policy == DriftPolicy::Correct;
        if changes.is_empty() || is_written {
            return (changes, None);
        }
        let ask = format!("set the annotation {RECONCILE_REQUESTED_AT} to a new value that begins with {CORRECT}");
        let message = if changes.iter().any(Change::makes_a_store_of_mail) {
            format!("vanished from Mailcow with its mail, and driftPolicy is Report; to recreate it empty, {ask}")
        } else {
            format!(
                "changed by hand on Mailcow, and driftPolicy is Report: {}; to write the spec once, {ask}",
                fields(&changes)
            )
        };
        (Vec::new(), Some(Outcome::Stalled(Why::new(Reason::Drifted, message))))
    }

    /// Whether a request asks to write this object's spec.
    pub(crate) fn is_correction_asked(self) -> bool {
        self.is_correction_asked
    }

    /// Reports the corrected fields in an event.
    pub(crate) async fn report_correction<K: Object>(
        self,
        ctx: &Context,
        object: &K,
        thing: &impl Display,
        changes: &[Change],
    ) {
        if !self.was_in_sync {
            return;
        }
        // A lost DKIM key has its own event.
        let put_back: Vec<Change> =
            changes.iter().filter(|change| !matches!(change, Change::AddDkim { .. })).cloned().collect();
        let occurrence = match put_back.first() {
            None => return,
            Some(Change::AddAlias(_)) => Occurrence::MadeAgain(thing.to_string()),
            Some(_) => Occurrence::DriftCorrected(fields(&put_back)),
        };
        ctx.writer.publish(object, &occurrence.event()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailMailbox;
    use crate::mail::Address;

    fn mailbox() -> EmailMailbox {
        let mut mailbox = EmailMailbox::new("m", serde_yaml::from_str("{localPart: a, domainRef: {name: d}}").unwrap());
        mailbox.metadata.generation = Some(2);
        mailbox
    }

    fn change() -> Vec<Change> {
        vec![Change::DeleteMailbox(Address::parse("a@e.com").unwrap())]
    }

    #[test]
    fn only_a_spec_that_was_in_sync_can_drift() {
        let rows = [
            (Some(2), None, None, false),
            (Some(1), None, None, true),
            (None, None, None, true),
            (Some(2), Some("x"), Some("x"), false),
            (Some(2), Some("x"), Some("y"), false),
            (Some(2), None, Some("y"), false),
            (Some(2), Some("x"), Some("correct 12:00"), true),
            (Some(2), None, Some("correct"), true),
            (Some(2), Some("correct"), Some("correct"), false),
            (Some(2), Some("x"), None, false),
        ];
        for (synced, handled, asked, is_written) in rows {
            let mut mailbox = mailbox();
            let asked = asked.map(|asked| (crate::crd::RECONCILE_REQUESTED_AT.to_owned(), asked.to_owned()));
            mailbox.metadata.annotations = Some(asked.clone().into_iter().collect());
            let (written, told) = Drift::new(&mailbox, DriftPolicy::Report, synced, handled).separate(change());
            let said = (written.is_empty(), told.is_some());
            assert_eq!(said, (!is_written, !is_written), "{synced:?} {handled:?} {asked:?}");
        }
    }

    #[test]
    fn drift_is_put_back_unless_it_is_only_to_be_reported() {
        let drift = Drift::new(&mailbox(), DriftPolicy::Correct, Some(2), None);
        assert!(matches!(drift.separate(change()), (changes, None) if changes == change()));
        let report = Drift::new(&mailbox(), DriftPolicy::Report, Some(2), None);
        assert!(report.and(false).separate(change()).1.is_none() && report.separate(Vec::new()).1.is_none());
        let told = report.separate(change()).1.unwrap();
        assert!(told.why().unwrap().message.contains("localPart"));
    }
}
