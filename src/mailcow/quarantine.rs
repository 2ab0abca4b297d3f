//! Quarantined mail: listed, released, deleted (recordings `08_others/q*`).

use serde_json::json;

use super::client::{Client, Question};
use super::error::Error;
use super::reply::is_nothing;
use super::request::Request;
use super::wire::WireQuarantined;
use super::writers::quarantine_lane;

/// A quarantined mail.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// Its number.
    pub id: u64,
    /// The queue id under which it came in.
    pub queue_id: String,
    /// Its subject; a stranger wrote it.
    pub subject: String,
    /// The spam filter's score.
    pub score: f64,
    /// The address it was for.
    pub recipient: String,
    /// The envelope sender, as it was given.
    pub sender: String,
    /// The action of the spam filter: `reject`, `add header` and similar.
    pub action: String,
    /// When it came in, in seconds since 1970.
    pub created: u64,
}

impl Client {
    /// All quarantined mail of all domains, by number.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn quarantine(&self) -> Result<Vec<Quarantined>, Error> {
        let all: Vec<WireQuarantined> = self.list(&Question::of("get/quarantine", &["all"])).await?;
        let mut all: Vec<Quarantined> = all.into_iter().map(quarantined).collect();
        all.sort_by_key(|mail| mail.id);
        Ok(all)
    }

    /// A quarantined mail and its text, as a stranger wrote it; `None` when it does not exist.
    ///
    /// # Errors
    /// [`Error::OtherThing`] when Mailcow answers with another mail, or any other of a call but a refusal.
    pub async fn quarantined(&self, id: u64) -> Result<Option<(Quarantined, String)>, Error> {
        let value = self.get("get/quarantine", &[&id.to_string()]).await?;
        if is_nothing(&value) {
            return Ok(None);
        }
        let mut wire: WireQuarantined = self.shaped("get/quarantine", value)?;
        if wire.id != id {
            return Err(self.other_thing("get/quarantine", &id));
        }
        let text = wire.msg.take().unwrap_or_default();
        Ok(Some((quarantined(wire), text)))
    }

    /// Delivers a mail to its recipient and removes it from the quarantine.
    ///
    /// # Errors
    /// [`Error::Refused`] with the code `access_denied` when it is not there, or `release_send_failed` when it could not
    /// be handed over: it is still held back then. Or any other of a call.
    pub async fn release_quarantined(&self, id: u64) -> Result<(), Error> {
        let request = Request {
            route: "edit/qitem",
            name: None,
            body: json!({"items": [id], "attr": {"action": "release"}}),
            success: "item_released",
            about: id.to_string(),
            action: format!("release the quarantined mail {id}"),
        };
        self.write(&request, &quarantine_lane(id)).await
    }

    /// Deletes a quarantined mail. A missing one counts as deleted.
    ///
    /// # Errors
    /// Any of a call.
    pub async fn delete_quarantined(&self, id: u64) -> Result<(), Error> {
        let request = Request {
            route: "delete/qitem",
            name: None,
            body: json!([id]),
            success: "item_deleted",
            about: id.to_string(),
            action: format!("delete the quarantined mail {id}"),
        };
        self.write(&request, &quarantine_lane(id)).await
    }
}

fn quarantined(wire: WireQuarantined) -> Quarantined {
    Quarantined {
        id: wire.id,
        queue_id: wire.qid,
        subject: wire.subject.unwrap_or_default(),
        score: wire.score.unwrap_or_default(),
        recipient: wire.rcpt,
        sender: wire.sender.unwrap_or_default(),
        action: wire.action.unwrap_or_default(),
        created: wire.created,
    }
}
