//! The app password of a mailbox in the mailbox's status.

use crate::crd::{DeliveryStatus, ScriptState};
use crate::outcome::Outcome;

/// The status after a reconcile; `None` when no app password is needed and none is left.
pub fn delivery(is_needed: bool, outcome: &Outcome) -> Option<DeliveryStatus> {
    let state = match outcome {
        Outcome::InSync if !is_needed => return None,
        Outcome::InSync => ScriptState::InSync,
        Outcome::Waiting(_) => ScriptState::Waiting,
        Outcome::Unknown(_) => ScriptState::Unknown,
        Outcome::Stalled(_) => ScriptState::Stalled,
    };
    let (reason, message) = outcome.why().map(|why| (why.reason.as_str().to_owned(), why.message.clone())).unzip();
    Some(DeliveryStatus { state, reason, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    #[test]
    fn it_goes_when_none_is_needed_and_none_is_left() {
        assert_eq!(delivery(false, &Outcome::InSync), None);
        assert_eq!(delivery(true, &Outcome::InSync), Some(DeliveryStatus::default()));
        let refused = delivery(false, &Outcome::stalled(Reason::PasswordRejected, "m")).unwrap();
        assert_eq!((refused.state, refused.reason.as_deref()), (ScriptState::Stalled, Some("PasswordRejected")));
    }
}
