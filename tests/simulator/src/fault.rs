//! Faults a test can order for the requests to come.

use std::time::Duration;

use crate::call::Call;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The database gives up a deadlock: edits answer `danger` with its text, adds and deletes an
    /// empty body. Nothing is done.
    Deadlock,
    /// The same after waiting for a lock for too long.
    LockTimeout,
    /// An empty answer; the write is done or not.
    Empty {
        /// Whether the write was done all the same.
        done: bool,
    },
    /// A deletion of mailboxes breaks off half-way: empty answer, half-deleted mailboxes.
    HalfDelete,
    /// The write is done, but the refresh of `SOGo`'s view meets a locked row: an entry of type
    /// `success` holds the text of the error.
    SogoLockTimeout,
    /// 500 with a page of HTML. Nothing is done.
    ServerError,
    /// 502 with a page of HTML. Nothing is done.
    BadGateway,
    /// 504 with a page of HTML, because the answer took too long. The request was carried out.
    GatewayTimeout,
    /// The connection ends in the middle of the answer. The request was carried out.
    Reset,
    /// The connection ends with an empty answer; the write is done or not.
    Cut {
        /// Whether the write was done all the same.
        done: bool,
    },
    /// A list lacks its second half, as if it had been read while a database was being filled.
    HalfList,
    /// The answer takes that long.
    Slow(Duration),
    /// The request is carried out at once, and the answer comes that much later.
    LateAnswer(Duration),
    /// 401, as if the key were wrong. Nothing is done.
    Unauthorized,
    /// The answer given here. Nothing is done.
    Text {
        /// Status.
        status: u16,
        /// Body, sent as HTML.
        body: String,
    },
}

/// A fault for the next requests that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How many requests it still hits.
    pub times: u32,
    /// The method it hits; any when empty.
    pub method: String,
    /// What the path behind `/api/v1/` must begin with.
    pub path: String,
    /// What goes wrong.
    pub trouble: Trouble,
}

impl Fault {
    /// A fault for the next request of any method whose path behind `/api/v1/` begins so.
    pub fn once(path: &str, trouble: Trouble) -> Self {
        Self::times(1, path, trouble)
    }

    /// The same for several requests.
    pub fn times(times: u32, path: &str, trouble: Trouble) -> Self {
        Self { times, method: String::new(), path: path.to_owned(), trouble }
    }

    fn hits(&self, call: &Call) -> bool {
        self.times > 0 && (self.method.is_empty() || self.method == call.method) && call.route().starts_with(&self.path)
    }
}

/// Takes the fault that the oldest matching order has for this request.
pub(crate) fn take(faults: &mut Vec<Fault>, call: &Call) -> Option<Trouble> {
    let fault = faults.iter_mut().find(|fault| fault.hits(call))?;
    fault.times -= 1;
    let trouble = fault.trouble.clone();
    faults.retain(|fault| fault.times > 0);
    Some(trouble)
}
