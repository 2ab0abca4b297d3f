//! Who may write when. A write that rebuilds the groupware's view keeps every other one waiting inside Mailcow, two on
//! one object lose each other's fields, limits are check-then-insert, and parallel deletions leave halves (recordings
//! `09_quirks/parallel_*`, `11_contention`, `12_deadlocks`).

use tokio::sync::{OwnedMutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit};

use crate::fair::{self, FairPermit, FairSemaphore};
use crate::keyed_lock::KeyedLock;
use crate::mail::{Access, Alias, Goto};
use crate::plan::Change;

/// Number of parallel writes; more gain nothing.
const WRITERS: usize = 2;

/// What a write does to the groupware's view of all mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// Nothing.
    Leaves,
    /// Refreshes single lines.
    Touches,
    /// May build all of it anew: half a minute at 5,000 mailboxes.
    Rebuilds,
}

/// The queues of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    view: View,
    /// Keys that no other write may use: objects, and a domain because of its limits.
    things: Vec<String>,
}

/// Whether a change may make Mailcow rebuild the groupware view of all mailboxes.
pub fn rebuilds(change: &Change) -> bool {
    lane(change).view == View::Rebuilds
}

/// The queue of a write that changes nothing.
pub(super) fn probe_lane() -> Lane {
    Lane { view: View::Leaves, things: Vec::new() }
}

/// The queue of an action on a quarantined mail.
pub(super) fn quarantine_lane(id: u64) -> Lane {
    Lane { view: View::Leaves, things: vec![format!("quarantined mail {id}")] }
}

/// The queue of a change.
pub(super) fn lane(change: &Change) -> Lane {
    let (view, things) = match change {
        Change::AddDomain { name, .. } | Change::UntagDomain { name, .. } | Change::UnmarkDomain { name, .. } => {
            (View::Touches, vec![name.to_string()])
        }
        Change::EditDomain { name, .. } | Change::DeleteDomain(name) => (View::Rebuilds, vec![name.to_string()]),
        Change::LimitDomain { name, .. } | Change::AddDkim { name, .. } => (View::Leaves, vec![name.to_string()]),
        Change::AddMailbox(mailbox) => (View::Touches, vec![mailbox.address.domain().to_string()]),
        Change::EditMailbox { address, edit } if edit.access == Some(Access::Inactive) => {
            (View::Rebuilds, vec![address.to_string()])
        }
        Change::EditMailbox { address, .. }
        | Change::EncryptMailbox { address, .. }
        | Change::UnmarkMailbox { address, .. }
        | Change::UntagMailbox { address, .. }
        | Change::SetAttributes { address, .. }
        | Change::SetPassword(address) => (View::Touches, vec![address.to_string()]),
        Change::LimitMailbox { address, .. } => (View::Leaves, vec![address.to_string()]),
        Change::DeleteMailbox(address) => (View::Rebuilds, vec![address.domain().to_string(), address.to_string()]),
        Change::AddAlias(alias) => (of_alias(alias), vec![alias.catch.domain().to_string()]),
        Change::EditAlias { id, .. } | Change::DeleteAlias { id, .. } => (View::Rebuilds, vec![format!("alias {id}")]),
        Change::AddFilter { mailbox, .. }
        | Change::EditFilter { mailbox, .. }
        | Change::ActivateFilter { mailbox, .. }
        | Change::DeleteFilter { mailbox, .. }
        | Change::AddAppPassword { mailbox, .. }
        | Change::DeleteAppPassword { mailbox, .. } => (View::Leaves, vec![mailbox.to_string()]),
    };
    Lane { view, things }
}

/// An alias that goes anywhere but to an active mailbox of the server rebuilds; beyond its own domain that is likely.
fn of_alias(alias: &Alias) -> View {
    let is_local = match &alias.goto {
        Goto::Addresses(goto) => goto.iter().all(|to| to.domain() == alias.catch.domain()),
        Goto::Sink(_) => false,
    };
    if is_local { View::Touches } else { View::Rebuilds }
}

/// The queue of all writes to one server.
#[derive(Debug)]
pub(super) struct Writers {
    things: KeyedLock,
    /// Namespaces take turns with rebuilds, and only one rebuild at a time waits for the view. So a change that only touches
    /// the view waits for at most one rebuild, and no namespace waits for all rebuilds of another.
    rebuilds: FairSemaphore,
    view: RwLock<()>,
    slots: Semaphore,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _things: Vec<OwnedMutexGuard<()>>,
    _touches: Option<RwLockReadGuard<'a, ()>>,
    _rebuilds: Option<RwLockWriteGuard<'a, ()>>,
    _first: Option<FairPermit>,
    /// `None` only when the queue was closed, which it never is.
    _slot: Option<SemaphorePermit<'a>>,
}

impl Default for Writers {
    fn default() -> Self {
        Self {
            things: KeyedLock::default(),
            rebuilds: FairSemaphore::new(1, 1),
            view: RwLock::default(),
            slots: Semaphore::new(WRITERS),
        }
    }
}

impl Writers {
    /// Waits for the turn: a rebuild first waits for other rebuilds and holds nothing meanwhile. Then come things, the view
    /// and a slot, in this order, so that no task holds a slot while it waits for something else.
    pub(super) async fn turn(&self, lane: &Lane) -> Turn<'_> {
        let first = match lane.view {
            View::Leaves | View::Touches => None,
            View::Rebuilds => self.rebuilds.acquire(&fair::tenant()).await,
        };
        let mut things = Vec::new();
        for thing in &lane.things {
            things.push(self.things.lock(thing).await);
        }
        let (touches, rebuilds) = match lane.view {
            View::Leaves => (None, None),
            View::Touches => (Some(self.view.read().await), None),
            View::Rebuilds => (None, Some(self.view.write().await)),
        };
        Turn {
            _things: things,
            _touches: touches,
            _rebuilds: rebuilds,
            _first: first,
            _slot: self.slots.acquire().await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::mail::{Address, Catch, Mark};
    use crate::plan::{AliasEdit, MailboxEdit};
    use futures::FutureExt;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn edit(text: &str) -> Lane {
        lane(&Change::EditMailbox { address: address(text), edit: MailboxEdit::default() })
    }

    fn filter(text: &str) -> Lane {
        lane(&Change::DeleteFilter { id: 1, mailbox: address(text) })
    }

    fn may_go(writers: &Writers, lane: &Lane) -> bool {
        writers.turn(lane).now_or_never().is_some()
    }

    #[tokio::test]
    async fn two_writes_go_at_once_and_a_third_waits() {
        let writers = Writers::default();
        let _one = writers.turn(&edit("a@e.com")).await;
        assert!(!may_go(&writers, &edit("a@e.com")), "never two on one object");
        let two = writers.turn(&edit("b@e.com")).await;
        assert!(!may_go(&writers, &edit("c@e.com")));
        drop(two);
        assert!(may_go(&writers, &edit("c@e.com")));
    }

    #[tokio::test]
    async fn beside_a_rebuild_goes_only_what_leaves_the_view_alone() {
        let writers = Writers::default();
        let _rebuild = writers.turn(&lane(&Change::DeleteMailbox(address("a@e.com")))).await;
        assert!(!may_go(&writers, &edit("b@e.com")));
        assert!(may_go(&writers, &filter("b@e.com")) && !may_go(&writers, &filter("a@e.com")));
    }

    #[tokio::test]
    async fn whoever_rebuilds_waits_for_one_of_each_other_namespace_and_whoever_touches_for_one_at_all() {
        let writers = Arc::new(Writers::default());
        let (order, started) = (Arc::new(Mutex::new(Vec::new())), writers.turn(&delete("first@e.com")).await);
        let write = |tenant: &str, name: String, lane: Lane| {
            let (writers, order) = (writers.clone(), order.clone());
            let work = async move {
                let _turn = writers.turn(&lane).await;
                order.lock().unwrap().push(name);
            };
            tokio::spawn(fair::as_tenant(tenant.to_owned(), work))
        };
        let mut all = Vec::new();
        for n in 0..5 {
            all.push(write("hostile", format!("hostile {n}"), delete(&format!("h{n}@h{n}.com"))));
            tokio::task::yield_now().await;
        }
        all.push(write("calm", "calm rebuild".into(), delete("c@c.com")));
        tokio::task::yield_now().await;
        all.push(write("calm", "calm touch".into(), edit("t@c.com")));
        tokio::task::yield_now().await;
        drop(started);
        for task in all {
            task.await.unwrap();
        }
        let order = order.lock().unwrap();
        let place = |name: &str| order.iter().position(|done| done == name).unwrap();
        assert!(place("calm touch") <= 1 && place("calm rebuild") <= 3, "{order:?}");
    }

    fn delete(text: &str) -> Lane {
        lane(&Change::DeleteMailbox(address(text)))
    }

    #[tokio::test]
    async fn a_domain_is_not_deleted_while_something_is_added_to_it() {
        let writers = Writers::default();
        let name = address("a@e.com").domain().clone();
        let added = Alias { catch: Catch::All(name.clone()), ..alias("b@e.com") };
        let _adding = writers.turn(&lane(&Change::AddAlias(added))).await;
        assert!(!may_go(&writers, &lane(&Change::DeleteDomain(name))));
        assert!(!may_go(&writers, &lane(&Change::AddAlias(alias("c@e.com")))), "limits are check-then-insert");
    }

    fn alias(to: &str) -> Alias {
        let mark = Mark::new("c", "n", "a", "u");
        Alias {
            catch: Catch::parse("sales@e.com").unwrap(),
            goto: Goto::Addresses([address(to)].into()),
            active: true,
            visible_in_sogo: None,
            sender_allowed: None,
            public_comment: None,
            mark,
        }
    }

    #[test]
    fn what_may_rebuild_is_known() {
        let off = MailboxEdit { access: Some(Access::Inactive), ..MailboxEdit::default() };
        let view = |change: Change| lane(&change).view;
        assert_eq!(view(Change::EditMailbox { address: address("a@e.com"), edit: off }), View::Rebuilds);
        assert_eq!(edit("a@e.com").view, View::Touches);
        assert_eq!(view(Change::AddAlias(alias("x@other.org"))), View::Rebuilds);
        assert_eq!(view(Change::AddAlias(alias("x@e.com"))), View::Touches);
        assert_eq!(
            view(Change::EditAlias { id: 1, catch: alias("x@e.com").catch, edit: AliasEdit::default() }),
            View::Rebuilds
        );
        assert_eq!(filter("a@e.com").view, View::Leaves);
    }
}
