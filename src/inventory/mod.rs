//! What Mailcow holds, remembered for a while, so that ten thousand objects in sync don't cost ten thousand requests.
//!
//! What is remembered is only good for doing nothing: a driver that finds a difference asks again, for now, before it
//! writes. A domain's first few questions are asked one by one; when more come, the whole domain is listed once, and
//! every write's read-back is entered as it is seen.

mod page;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::mail::{Address, AliasHave, Catch, DomainName, MailboxHave};
use crate::mailcow::{Client, Error};
use page::{Next, Page};

/// How recent an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Asked now.
    Now,
    /// Asked now or within the inventory's time.
    Recent,
}

/// What one Mailcow server holds.
#[derive(Debug)]
pub struct Inventory {
    client: Arc<Client>,
    keep: Duration,
    mailboxes: Pages<Address, MailboxHave>,
    aliases: Pages<Catch, AliasHave>,
}

/// A page for each domain.
type Pages<K, V> = Mutex<HashMap<DomainName, Arc<Page<K, V>>>>;

impl Inventory {
    /// An empty inventory that remembers for `keep`.
    pub fn new(client: Arc<Client>, keep: Duration) -> Self {
        Self { client, keep, mailboxes: Mutex::default(), aliases: Mutex::default() }
    }

    /// The server itself, for writing and for what is not remembered.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// A mailbox; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Refused`] for a half-deleted one.
    pub async fn mailbox(&self, address: &Address, age: Age) -> Result<Option<MailboxHave>, Error> {
        let page = page_of(&self.mailboxes, address.domain());
        if age == Age::Recent {
            let list = || self.client.mailboxes(address.domain());
            if let Some(known) = self.recent(&page, address, list).await? {
                return Ok(known);
            }
        }
        let have = self.client.mailbox(address).await?;
        page.enter(address.clone(), have.clone());
        Ok(have)
    }

    /// An alias; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn alias(&self, catch: &Catch, age: Age) -> Result<Option<AliasHave>, Error> {
        let page = page_of(&self.aliases, catch.domain());
        if age == Age::Recent {
            let list = || self.client.aliases(catch.domain());
            if let Some(known) = self.recent(&page, catch, list).await? {
                return Ok(known);
            }
        }
        let have = self.client.alias(catch).await?;
        page.enter(catch.clone(), have.clone());
        Ok(have)
    }

    /// What is remembered, after listing the domain when that is the cheaper way; `None` when it has to be asked for by
    /// itself. One list at a time: whoever comes meanwhile waits for it.
    async fn recent<K, V, F>(
        &self,
        page: &Page<K, V>,
        key: &K,
        list: impl Fn() -> F,
    ) -> Result<Option<Option<V>>, Error>
    where
        K: Clone + Eq + Hash,
        V: Clone,
        F: Future<Output = Result<Vec<(K, V)>, Error>>,
    {
        match page.next(key, self.keep) {
            Next::Known(known) => return Ok(Some(known)),
            Next::Single => return Ok(None),
            Next::List => {}
        }
        let _turn = page.turn().await;
        if let Next::Known(known) = page.next(key, self.keep) {
            return Ok(Some(known));
        }
        page.fill(list().await?);
        Ok(match page.next(key, self.keep) {
            Next::Known(known) => Some(known),
            Next::Single | Next::List => None,
        })
    }
}

fn page_of<K, V>(pages: &Pages<K, V>, domain: &DomainName) -> Arc<Page<K, V>> {
    let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
    pages.entry(domain.clone()).or_insert_with(|| Arc::new(Page::default())).clone()
}
