//! One message on its way to its sink, in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::TaskTracker;

use super::folder::Due;
use super::sinks::{Change, Outlet};
use crate::clock;
use crate::intake::answer::Verdict;
use crate::intake::mime::{self, Mail};
use crate::intake::payload::Delivery;
use crate::intake::queue::QueueFolder;
use crate::mail::Address;

/// From this size on a message is read in a thread of its own, in bytes.
const LONG_READ: usize = 128 * 1024;

/// What mailboxes learn while they wait.
#[derive(Debug)]
pub(super) enum Notice {
    /// A try is over.
    Finished(Box<Finished>),
    /// A folder got the place at its sink that it waited for.
    PlaceFree,
}

/// A try that is over.
#[derive(Debug)]
pub(super) struct Finished {
    /// The folder.
    pub(super) folder: String,
    /// Validity of its UIDs.
    pub(super) uid_validity: u32,
    /// The message's UID.
    pub(super) uid: u32,
    /// The message.
    pub(super) due: Due,
    /// Its title, for events.
    pub(super) title: String,
    /// What came of it.
    pub(super) verdict: Verdict,
    /// What changed with the sink.
    pub(super) change: Change,
}

/// What is known of a message when it is sent.
pub(super) struct Parcel {
    /// The mailbox.
    pub(super) mailbox: Address,
    /// The id in Mailcow's own `Authentication-Results`.
    pub(super) authserv_id: Option<String>,
    /// The queue folder.
    pub(super) queue: QueueFolder,
    /// Validity of its UIDs.
    pub(super) uid_validity: u32,
    /// The message's UID.
    pub(super) uid: u32,
    /// The message.
    pub(super) due: Due,
    /// Its bytes.
    pub(super) raw: Vec<u8>,
    /// Whether these are only its beginning.
    pub(super) is_cut: bool,
}

/// Sends it, and reports what came of it in any case.
pub(super) fn send(
    parcel: Parcel,
    outlet: Arc<Outlet>,
    places: Vec<OwnedSemaphorePermit>,
    notices: mpsc::UnboundedSender<Notice>,
    deliveries: &TaskTracker,
) {
    deliveries.spawn(async move {
        let Parcel { queue, uid_validity, uid, due, .. } = &parcel;
        let (folder, uid_validity, uid, due) = (queue.folder.clone(), *uid_validity, *uid, due.clone());
        let tried = AssertUnwindSafe(tried(parcel, &outlet)).catch_unwind().await;
        let (title, verdict) = tried.unwrap_or_else(|_| {
            let why = "the worker could not read the message or the answer; please report this with its log".to_owned();
            (String::new(), Verdict::Temporary { why, retry_after: None })
        });
        let change = outlet.learn(&verdict, clock::now().0.as_second());
        drop(places);
        let finished = Finished { folder, uid_validity, uid, due, title, verdict, change };
        // Without a receiver the process ends; the next one tries again.
        let _ = notices.send(Notice::Finished(Box::new(finished)));
    });
}

async fn tried(mut parcel: Parcel, outlet: &Outlet) -> (String, Verdict) {
    let Ok(door) = &outlet.door else {
        let why = "it can't be used as it is configured".to_owned();
        return (String::new(), Verdict::Temporary { why, retry_after: None });
    };
    let (mail, raw) = read(std::mem::take(&mut parcel.raw), parcel.is_cut, parcel.due.size).await;
    let delivery = Delivery {
        identity: &parcel.due.identity,
        mailbox: &parcel.mailbox,
        queue: &parcel.queue,
        mail: &mail,
        raw: &raw,
        arrived: parcel.due.arrived,
        attempt: parcel.due.number,
        authserv_id: parcel.authserv_id.as_deref(),
    };
    (delivery.title(), door.deliver(&delivery, &outlet.sink).await)
}

/// Reads the message. What could not be fetched whole is known by its header.
async fn read(raw: Vec<u8>, is_cut: bool, size: u32) -> (Mail, Vec<u8>) {
    if is_cut {
        let why = format!("it has {} MiB, and stays in the mailbox", size / 1024 / 1024);
        return (Mail { incomplete: Some(why), ..mime::read_header(&raw) }, Vec::new());
    }
    if raw.len() < LONG_READ {
        return (mime::read(&raw), raw);
    }
    let reading = tokio::task::spawn_blocking(move || (mime::read(&raw), raw)).await;
    reading.unwrap_or_default()
}
