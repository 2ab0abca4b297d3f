//! Writing: whatever a change touches on Mailcow beside the thing it names is out of date at once, and is published as
//! changed, so that the objects that share it are triggered.

use std::sync::PoisonError;
use std::time::Instant;

use secrecy::SecretString;

use super::refresh::{Moved, texts};
use super::{Inventory, all, known_page};
use crate::mail::{Address, Alias, DomainName, Mailbox};
use crate::mailcow::Error;
use crate::plan::Change;
use crate::shrink::shrink;

impl Inventory {
    /// Carries changes out in order and stops at the first that fails. What they touch beside the things they name is
    /// asked for again, published, and remembered as the operator's own doing ([`Inventory::touched`]), also where
    /// it is not known whether they were done.
    ///
    /// # Errors
    /// As [`crate::mailcow::Client::execute`].
    pub async fn execute(&self, changes: &[Change], password: Option<&SecretString>) -> Result<(), Error> {
        let done = self.client.execute(changes, password).await;
        let mut moved = Moved::default();
        for change in changes {
            // What is not known to be done is found out by whoever asks next, and published.
            if done.is_ok() {
                self.written(change);
            }
            self.outdate_shared(change, &mut moved);
        }
        if moved != Moved::default() {
            self.remember_touched(&moved);
        }
        self.publish(moved);
        done
    }

    /// Notes that a difference of the thing which a change names is our own doing.
    fn written(&self, change: &Change) {
        match change {
            Change::AddDomain { name, .. }
            | Change::EditDomain { name, .. }
            | Change::UnmarkDomain { name, .. }
            | Change::UntagDomain { name, .. }
            | Change::LimitDomain { name, .. }
            | Change::AddDkim { name, .. }
            | Change::DeleteDomain(name) => {
                self.domains.written(name);
                self.dkim.written(name);
            }
            Change::AddMailbox(Mailbox { address, .. })
            | Change::EditMailbox { address, .. }
            | Change::UnmarkMailbox { address, .. }
            | Change::LimitMailbox { address, .. }
            | Change::EncryptMailbox { address, .. }
            | Change::UntagMailbox { address, .. }
            | Change::SetAttributes { address, .. }
            | Change::SetPassword(address)
            | Change::DeleteMailbox(address) => self.mailbox_page(address.domain()).written(address),
            Change::AddAlias(Alias { catch, .. })
            | Change::EditAlias { catch, .. }
            | Change::DeleteAlias { catch, .. } => self.alias_page(catch.domain()).written(catch),
            Change::AddFilter { .. }
            | Change::EditFilter { .. }
            | Change::ActivateFilter { .. }
            | Change::DeleteFilter { .. } => {}
        }
    }

    /// When a write to something else last touched the mailbox or alias of this address; `None` where no write did since
    /// it was last seen to be as its object wants it.
    pub fn touched(&self, address: &impl ToString) -> Option<Instant> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).get(&address.to_string()).copied()
    }

    /// The mailbox or alias of this address is as its object wants it, by what was read after it was touched `at`.
    pub fn settle(&self, address: &impl ToString, at: Option<Instant>) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.to_string();
        if at.is_some() && touched.get(&address).copied() == at {
            touched.remove(&address);
            shrink(&mut *touched);
        }
    }

    fn remember_touched(&self, moved: &Moved) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        // Things that no object of ours wants are never settled.
        touched.retain(|_, at| at.elapsed() < self.forget);
        let now = Instant::now();
        touched.extend(moved.mailboxes.iter().chain(&moved.aliases).map(|address| (address.clone(), now)));
    }

    /// Outdates what a change touches beside the thing it names.
    fn outdate_shared(&self, change: &Change, moved: &mut Moved) {
        match change {
            Change::DeleteMailbox(address) => self.outdate_deleted_mailbox(address, moved),
            Change::DeleteDomain(name) => self.outdate_deleted_domain(name, moved),
            // With every edit of an alias Mailcow forgets that the mailboxes it goes to may send as it (recordings
            // `17_sender_acl/get_after_*`), and with its deletion that anybody may.
            Change::EditAlias { catch, .. } | Change::DeleteAlias { catch, .. } => {
                self.outdate_senders(&catch.to_string(), moved);
            }
            Change::AddDomain { .. }
            | Change::EditDomain { .. }
            | Change::UnmarkDomain { .. }
            | Change::UntagDomain { .. }
            | Change::LimitDomain { .. }
            | Change::AddDkim { .. }
            | Change::AddMailbox(_)
            | Change::EditMailbox { .. }
            | Change::UnmarkMailbox { .. }
            | Change::LimitMailbox { .. }
            | Change::EncryptMailbox { .. }
            | Change::UntagMailbox { .. }
            | Change::SetAttributes { .. }
            | Change::SetPassword(_)
            | Change::AddAlias(_)
            | Change::AddFilter { .. }
            | Change::EditFilter { .. }
            | Change::ActivateFilter { .. }
            | Change::DeleteFilter { .. } => {}
        }
    }

    /// A mailbox goes with its filters, out of every alias that leads to it, with the aliases that lead to it alone, and
    /// out of what others may send as (recordings `04_mailbox/aliases_after_delete`, `filters_after_delete`).
    fn outdate_deleted_mailbox(&self, address: &Address, moved: &mut Moved) {
        let text = address.to_string();
        for (_, page) in all(&self.aliases) {
            let leads_there = page.outdate_where(|_, alias| alias.goto.contains(&text));
            moved.aliases.extend(texts(&leads_there));
        }
        self.outdate_senders(&text, moved);
        if let Some(page) = known_page(&self.mailboxes, address.domain()) {
            page.outdate(address);
        }
        self.domains.outdate(address.domain());
        moved.mailboxes.insert(text);
    }

    /// A domain goes with its aliases (recording `02_domain/delete_with_only_aliases`).
    fn outdate_deleted_domain(&self, name: &DomainName, moved: &mut Moved) {
        if let Some(page) = known_page(&self.aliases, name) {
            moved.aliases.extend(texts(&page.outdate_where(|_, _| true)));
        }
        if let Some(page) = known_page(&self.mailboxes, name) {
            moved.mailboxes.extend(texts(&page.outdate_where(|_, _| true)));
        }
        self.domains.outdate(name);
    }

    /// Mailboxes that may send as this address.
    fn outdate_senders(&self, sender: &str, moved: &mut Moved) {
        for (_, page) in all(&self.mailboxes) {
            let may_send = page.outdate_where(|_, mailbox| {
                mailbox.sender_acl.as_ref().is_some_and(|senders| senders.contains(sender))
            });
            moved.mailboxes.extend(texts(&may_send));
        }
    }
}
