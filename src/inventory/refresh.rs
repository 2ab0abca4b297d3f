//! Polling: reads all cached entries again and publishes the changed ones.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::held::{Entry, Held};
use super::page::{Again, Page};
use super::{Inventory, all, held};
use crate::mail::{Address, Catch, DomainName};
use crate::mailcow::{Client, Error};

/// Changed entries: names and addresses as in statuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Names of domains.
    pub domains: HashSet<String>,
    /// Addresses of mailboxes.
    pub mailboxes: HashSet<String>,
    /// Addresses of aliases.
    pub aliases: HashSet<String>,
    /// Names of domains that were missing and were recreated: their mailboxes and aliases wait for this.
    pub made: HashSet<String>,
}

impl Extend<Arc<Self>> for Moved {
    fn extend<T: IntoIterator<Item = Arc<Self>>>(&mut self, more: T) {
        for Self { domains, mailboxes, aliases, made } in more.into_iter().map(Arc::unwrap_or_clone) {
            self.domains.extend(domains);
            self.mailboxes.extend(mailboxes);
            self.aliases.extend(aliases);
            self.made.extend(made);
        }
    }
}

impl Moved {
    /// Of domains.
    pub(super) fn domains(names: &[DomainName]) -> Self {
        Self { domains: texts(names), ..Self::default() }
    }

    /// Of mailboxes.
    pub(super) fn mailboxes(addresses: &[Address]) -> Self {
        Self { mailboxes: texts(addresses), ..Self::default() }
    }

    /// Of aliases.
    pub(super) fn aliases(catches: &[Catch]) -> Self {
        Self { aliases: texts(catches), ..Self::default() }
    }
}

/// What to read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All cached entries.
    All,
    /// Entries that were not readable.
    Unread,
}

impl Inventory {
    /// Asks again for everything that is remembered, one request at a time, and publishes what is not as it was:
    /// settings, not how much mail there is. A list answers for all of it, and what nobody asked for in a long time is
    /// forgotten.
    ///
    /// # Errors
    /// The first [`Error`] that keeps from going on, or a list that could not be read, after everything else; what could
    /// not be seen keeps its age.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.ask_again(Extent::All).await
    }

    /// Asks again for what could not be read when it was last asked for: what waits for it is triggered once it can be.
    /// A server in trouble is asked for its version, which ends the trouble when it answers.
    ///
    /// # Errors
    /// As [`Inventory::refresh`].
    pub async fn refresh_unread(&self) -> Result<(), Error> {
        if self.client.is_in_trouble() {
            self.client.version().await?;
        }
        self.ask_again(Extent::Unread).await
    }

    async fn ask_again(&self, extent: Extent) -> Result<(), Error> {
        let mut lists = Lists { client: &self.client, unread: Ok(()) };
        self.refresh_domains(extent, &mut lists).await?;
        self.refresh_mailboxes(extent, &mut lists).await?;
        self.refresh_aliases(extent, &mut lists).await?;
        lists.unread
    }

    async fn refresh_domains(&self, extent: Extent, lists: &mut Lists<'_>) -> Result<(), Error> {
        let publish = |names: Vec<DomainName>| self.publish(Moved::domains(&names));
        let single = async |name: DomainName| self.client.domain(&name).await;
        let poll = Poll { page: &self.domains, extent, forget: self.forget };
        lists.go_on(poll.run(async || Ok(held(self.client.domains().await?).await), single, &publish).await)?;
        let single = async |name: DomainName| self.client.dkim(&name).await;
        let poll = Poll { page: &self.dkim, extent, forget: self.forget };
        poll.run(async || Ok(Vec::new()), single, &publish).await
    }

    async fn refresh_mailboxes(&self, extent: Extent, lists: &mut Lists<'_>) -> Result<(), Error> {
        let publish = |addresses: Vec<Address>| self.publish(Moved::mailboxes(&addresses));
        for (domain, page) in all(&self.mailboxes) {
            let single = async |address: Address| self.client.mailbox(&address).await;
            let poll = Poll { page: &page, extent, forget: self.forget };
            lists.go_on(poll.run(async || self.mailboxes_of(&domain).await, single, &publish).await)?;
        }
        Ok(())
    }

    async fn refresh_aliases(&self, extent: Extent, lists: &mut Lists<'_>) -> Result<(), Error> {
        let publish = |catches: Vec<Catch>| self.publish(Moved::aliases(&catches));
        for (domain, page) in all(&self.aliases) {
            let single = async |catch: Catch| {
                let number = page.remembered(&catch, |have| have.id);
                self.client.alias(&catch, number).await
            };
            let poll = Poll { page: &page, extent, forget: self.forget };
            lists.go_on(poll.run(async || Ok(held(self.aliases_of(&domain).await?).await), single, &publish).await)?;
        }
        Ok(())
    }
}

/// Whether a list was not readable: the others must still be read.
struct Lists<'a> {
    client: &'a Client,
    unread: Result<(), Error>,
}

impl Lists<'_> {
    /// Continues after a list that was not readable, unless nothing is.
    ///
    /// # Errors
    /// What keeps from going on.
    fn go_on(&mut self, seen: Result<(), Error>) -> Result<(), Error> {
        match seen {
            Err(error) if error.is_unreadable() && !self.client.is_in_trouble() => {
                warn(&error);
                self.unread = Err(error);
                Ok(())
            }
            seen => seen,
        }
    }
}

/// A poll of a page.
struct Poll<'a, K, V> {
    page: &'a Page<K, V>,
    extent: Extent,
    forget: Duration,
}

impl<K: Clone + Eq + Hash, V: Entry> Poll<'_, K, V> {
    /// Asks again and publishes what is not as it was, also when it could not go on to the end. What can't be read is
    /// left out, and counts as changed, so that its objects report it: it must not keep the rest from being asked for.
    async fn run(
        &self,
        list: impl AsyncFn() -> Result<Vec<(K, Held<V>)>, Error>,
        single: impl AsyncFn(K) -> Result<Option<V>, Error>,
        publish: &impl Fn(Vec<K>),
    ) -> Result<(), Error> {
        let again = match self.extent {
            Extent::All => Some(self.page.again(self.forget)),
            Extent::Unread => self.page.again_unread(),
        };
        let keys = match again {
            None => return Ok(()),
            Some(Again::Singles(keys)) => keys,
            Some(Again::Abandoned(keys)) => {
                publish(keys);
                return Ok(());
            }
            Some(Again::List) => {
                let _right = self.page.right_to_list().await;
                self.page.begin_list();
                publish(self.page.fill(list().await?));
                return Ok(());
            }
        };
        let mut changed = Vec::new();
        let mut seen = Ok(());
        for key in keys {
            let reading = self.page.begin_read(key.clone());
            match single(key.clone()).await {
                // What a write of ours affected meanwhile is read by whoever asks next.
                Ok(thing) => {
                    let entered = self.page.finish_read(&reading, thing.as_ref());
                    changed.extend(entered.filter(|entered| entered.is_news).map(|_| key));
                }
                // An entry that can't be shown, such as a half-deleted mailbox, must be reported.
                Err(Error::Refused { .. }) => changed.push(key),
                Err(error) if error.is_unreadable() => {
                    warn(&error);
                    self.page.outdate(&key);
                    self.page.unread(&key);
                    // Objects that wait for it know this already.
                    changed.extend((self.extent == Extent::All).then_some(key));
                }
                Err(error) => {
                    seen = Err(error);
                    break;
                }
            }
        }
        publish(changed);
        seen
    }
}

fn warn(error: &Error) {
    tracing::warn!(%error, "not polled; everything else is polled");
}

pub(super) fn texts(things: &[impl ToString]) -> HashSet<String> {
    things.iter().map(ToString::to_string).collect()
}
