//! Writing: everything that a change affects on Mailcow, in addition to its own entry, is outdated at once and is
//! published as changed, so that the objects concerned are triggered.

use std::sync::PoisonError;
use std::time::Instant;

use secrecy::SecretString;

use super::held::Key;
use super::refresh::{Moved, texts};
use super::{Inventory, all, known_page};
use crate::mail::{Address, Alias, DomainName, Mailbox};
use crate::mailcow::Error;
use crate::plan::Change;
use crate::shrink::shrink;

impl Inventory {
    /// Applies changes in order and stops at the first failure. Other entries that they affect are read again,
    /// published, and remembered as the operator's own change ([`Inventory::touched`]), also when the result is
    /// unknown.
    ///
    /// # Errors
    /// As [`crate::mailcow::Client::execute`].
    pub async fn execute(&self, changes: &[Change], password: Option<&SecretString>) -> Result<(), Error> {
        let done = self.client.execute(changes, password).await;
        let mut moved = Moved::default();
        for change in changes {
            self.mark(change, done.is_ok());
            self.outdate_shared(change, &mut moved);
        }
        if moved != Moved::default() {
            self.remember_touched(&moved);
        }
        self.publish(moved);
        done
    }

    /// Notes that a difference of the change's entry is our own change. If the change failed, the next question reads
    /// the entry, and publishes a difference: the change may have had an effect all the same.
    fn mark(&self, change: &Change, is_done: bool) {
        match change {
            Change::AddDomain { name, .. }
            | Change::EditDomain { name, .. }
            | Change::UnmarkDomain { name, .. }
            | Change::UntagDomain { name, .. }
            | Change::LimitDomain { name, .. }
            | Change::AddDkim { name, .. }
            | Change::DeleteDomain(name) => {
                self.domains.mark(name, is_done);
                self.dkim.mark(name, is_done);
            }
            Change::AddMailbox(Mailbox { address, .. })
            | Change::EditMailbox { address, .. }
            | Change::UnmarkMailbox { address, .. }
            | Change::LimitMailbox { address, .. }
            | Change::EncryptMailbox { address, .. }
            | Change::UntagMailbox { address, .. }
            | Change::SetAttributes { address, .. }
            | Change::SetPassword(address)
            | Change::DeleteMailbox(address) => self.mailbox_page(address.domain()).mark(address, is_done),
            Change::AddAlias(Alias { catch, .. })
            | Change::EditAlias { catch, .. }
            | Change::DeleteAlias { catch, .. } => self.alias_page(catch.domain()).mark(catch, is_done),
            Change::AddFilter { .. }
            | Change::EditFilter { .. }
            | Change::ActivateFilter { .. }
            | Change::DeleteFilter { .. }
            | Change::AddAppPassword { .. }
            | Change::DeleteAppPassword { .. } => {}
        }
    }

    /// When a write to another entry last affected the mailbox or alias with this address; `None` if no write did since
    /// it last matched its object.
    pub fn touched(&self, address: &impl ToString) -> Option<Instant> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).get(&address.to_string()).copied()
    }

    /// Notes that the mailbox or alias with this address matches its object, by a read after it was affected `at`.
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
        // Entries that no object of ours manages are never settled.
        touched.retain(|_, at| at.elapsed() < self.forget);
        let now = Instant::now();
        touched.extend(moved.mailboxes.iter().chain(&moved.aliases).map(|address| (address.clone(), now)));
    }

    /// Outdates the other entries that a change affects.
    fn outdate_shared(&self, change: &Change, moved: &mut Moved) {
        match change {
            Change::DeleteMailbox(address) => self.outdate_deleted_mailbox(address, moved),
            Change::DeleteDomain(name) => self.outdate_deleted_domain(name, moved),
            // At every edit of an alias, Mailcow forgets that its target mailboxes may send as it (recordings
            // `17_sender_acl/get_after_*`), and at its deletion that anybody may.
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
            | Change::DeleteFilter { .. }
            | Change::AddAppPassword { .. }
            | Change::DeleteAppPassword { .. } => {}
        }
    }

    /// A deleted mailbox takes its filters along. Mailcow also removes it from every alias, deletes the aliases that
    /// forward only to it, and removes it from the senders of others (recordings `04_mailbox/aliases_after_delete`,
    /// `filters_after_delete`).
    fn outdate_deleted_mailbox(&self, address: &Address, moved: &mut Moved) {
        let text = address.to_string();
        for (_, page) in all(&self.aliases) {
            let leads_there = page.outdate_where(Key::Target(&text), |alias| alias.goto.contains(&text));
            moved.aliases.extend(texts(&leads_there));
        }
        self.outdate_senders(&text, moved);
        if let Some(page) = known_page(&self.mailboxes, address.domain()) {
            page.outdate(address);
        }
        self.domains.outdate(address.domain());
        moved.mailboxes.insert(text);
    }

    /// A deleted domain takes its aliases along (recording `02_domain/delete_with_only_aliases`).
    fn outdate_deleted_domain(&self, name: &DomainName, moved: &mut Moved) {
        if let Some(page) = known_page(&self.aliases, name) {
            moved.aliases.extend(texts(&page.outdate_all()));
        }
        if let Some(page) = known_page(&self.mailboxes, name) {
            moved.mailboxes.extend(texts(&page.outdate_all()));
        }
        self.domains.outdate(name);
    }

    /// Mailboxes that may send as this address.
    fn outdate_senders(&self, sender: &str, moved: &mut Moved) {
        for (_, page) in all(&self.mailboxes) {
            let may_send = page.outdate_where(Key::Sender(sender), |mailbox| {
                mailbox.sender_acl.as_ref().is_some_and(|senders| senders.contains(sender))
            });
            moved.mailboxes.extend(texts(&may_send));
        }
    }
}
