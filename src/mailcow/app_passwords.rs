//! App passwords of a mailbox, listed (recordings `08_others/app_*`, `21_app_passwords`).

use super::client::{Client, Question};
use super::error::Error;
use super::identity::is_found_by_name;
use super::wire::WireAppPassword;
use crate::mail::{Address, AppPassword};

impl Client {
    /// The app passwords of a mailbox, by number; none if Mailcow can't be asked for its address. A single one can't be
    /// read (recording `08_others/app_get_id`).
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn app_passwords(&self, mailbox: &Address) -> Result<Vec<AppPassword>, Error> {
        if !is_found_by_name(mailbox) {
            return Ok(Vec::new());
        }
        let name = mailbox.to_string();
        let all: Vec<WireAppPassword> = self.list(&Question::of("get/app-passwd", &["all", &name])).await?;
        if !all.iter().all(|found| found.mailbox.eq_ignore_ascii_case(&name)) {
            return Err(self.other_thing("get/app-passwd", mailbox));
        }
        let mut all: Vec<AppPassword> = all.iter().map(app_password).collect();
        all.sort_by_key(|password| password.id);
        Ok(all)
    }
}

fn app_password(wire: &WireAppPassword) -> AppPassword {
    let others = [wire.smtp_access, wire.pop3_access, wire.sieve_access, wire.dav_access, wire.eas_access];
    AppPassword {
        id: wire.id,
        name: unescaped(&unescaped(&wire.name)),
        is_imap_only: wire.imap_access == 1 && others.iter().all(|on| *on == 0),
        active: wire.active == 1,
        was_changed: wire.modified.is_some(),
    }
}

/// A text without PHP's escapes for HTML.
fn unescaped(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#039;", "'");
    plain.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_escaped_twice() {
        // Recording `08_others/app_get_all_mailbox`.
        assert_eq!(unescaped(&unescaped("k8s &amp;amp; &amp;lt;x&amp;gt;")), "k8s & <x>");
    }
}
