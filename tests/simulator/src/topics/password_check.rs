//! The password check of the mail services, beside the API: Dovecot asks it at each login.
//!
//! Only app passwords are checked: the simulator keeps no other. Where nothing is recorded it refuses: a mailbox that is
//! not active or has the protocol off opens with no app password, and neither does a mailbox of an inactive domain.

use crate::answer::Reply;
use crate::json::Json;
use crate::state::{AppPassword, State};

/// The path, outside of the API.
pub(crate) const PATH: &str = "/mailcowauth.php";

/// Answers one check.
pub(crate) fn answer(state: &State, body: &str) -> Reply {
    let asked = Json::parse(body).unwrap_or_default();
    let text = |key: &str| asked.get(key).to_text();
    let opens = opens(state, &text("username"), &text("password"), &text("service"));
    Reply::json(200, format!("{{\"success\": {opens}}}"))
}

/// Whether the password opens the mailbox with this protocol (`imap`, `smtp`, …).
pub(crate) fn opens(state: &State, username: &str, password: &str, service: &str) -> bool {
    let Some(mailbox) = state.mailbox(username).filter(|_| state.has_mailbox(username)) else { return false };
    let switch = format!("{service}_access");
    let is_on = mailbox.attributes.switches.iter().any(|(name, on)| *name == switch && on == "1");
    let is_active = mailbox.active == 1 && state.domain(&mailbox.domain).is_some_and(|domain| domain.active == 1);
    let matches = |p: &AppPassword| {
        p.mailbox.eq_ignore_ascii_case(username)
            && p.active == 1
            && p.protocols.contains(&switch)
            && !password.is_empty()
            && p.secret.0 == password
    };
    is_on && is_active && state.app_passwords.values().any(matches)
}
