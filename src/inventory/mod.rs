//! A cache of what Mailcow has, so that ten thousand objects in sync don't cost ten thousand requests.
//!
//! What is remembered is only good for doing nothing: a driver that finds a difference asks again, for now, before it
//! writes. Where few of our objects belong they are asked for one by one, where many do all is listed once, and every
//! write's read-back is entered as it is seen. [`Inventory::refresh`] asks for all of it again. Whatever is found not to be
//! as it was, by a poll or by a read for another object, is published, so that its own objects are triggered.

mod execute;
mod held;
mod listing;
mod page;
mod refresh;
mod senders;

pub use refresh::Moved;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use crate::mail::{Address, AliasHave, Catch, DkimKey, DomainHave, DomainName, MailboxHave, Mark};
use crate::mailcow::{Client, Error};
use crate::publisher::Publisher;
use crate::shrink::shrink;
use held::{Entry, Held, Key};
use listing::Listings;
use page::{Entered, Next, Page};

/// Mailcow needs as long for this many mailboxes in a list as for a single request: 4.6 ms each on a page against 13 ms
/// (recordings `29_big_lists/search_paging_whole`, `single_get`), 2.3 against 7 on another machine.
const MAILBOXES_FOR_ONE: usize = 3;
/// The same for aliases: 5 to 8 ms against 0.2 to 0.7 ms.
const ALIASES_FOR_ONE: usize = 20;
/// The same for domains, whose list counts the entries of each.
const DOMAINS_FOR_ONE: usize = 4;

/// How recent an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Read now.
    Now,
    /// Read now or within the inventory's time.
    Recent,
}

/// Number of our objects, by domain.
#[derive(Clone, Debug, Default)]
pub struct ObjectCounts {
    /// Domains.
    pub domains: usize,
    /// Mailboxes of each domain.
    pub mailboxes: BTreeMap<DomainName, usize>,
    /// Aliases of each domain.
    pub aliases: BTreeMap<DomainName, usize>,
}

/// What one Mailcow server has.
#[derive(Debug)]
pub struct Inventory {
    client: Arc<Client>,
    /// Time between two polls; the cache is valid for twice as long.
    interval: Duration,
    /// Entries that nobody asked for within this time are not polled.
    forget: Duration,
    domains: Page<DomainName, DomainHave>,
    dkim: Page<DomainName, DkimKey>,
    mailboxes: Pages<Address, MailboxHave>,
    aliases: Pages<Catch, AliasHave>,
    listings: Listings,
    prepared: Once,
    /// Changed entries, except those that our own writes changed.
    changes: Publisher<Arc<Moved>>,
    /// Entries that our own writes affected, by address, and when.
    touched: Mutex<HashMap<String, Instant>>,
}

/// A page for each domain.
type Pages<K, V> = Mutex<HashMap<DomainName, Arc<Page<K, V>>>>;

impl Inventory {
    /// An empty inventory whose [`Inventory::refresh`] is called every `interval`; it skips entries that nobody asked
    /// for within `forget`.
    pub fn new(client: Arc<Client>, interval: Duration, forget: Duration) -> Self {
        Self {
            client,
            interval,
            forget,
            domains: Page::of(DOMAINS_FOR_ONE),
            dkim: Page::without_list(),
            mailboxes: Mutex::default(),
            aliases: Mutex::default(),
            listings: Listings::keep_for(interval * 2),
            prepared: Once::new(),
            changes: Publisher::default(),
            touched: Mutex::default(),
        }
    }

    /// Publishes changed entries.
    #[must_use]
    pub fn publishing_to(self, changes: Publisher<Arc<Moved>>) -> Self {
        Self { changes, ..self }
    }

    /// The server itself, for writes and for data that is not cached.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Sets, before the first question, the number of our objects, so that the cheapest way to read is used from the
    /// start. Counts only once.
    pub fn prepare(&self, counts: impl FnOnce() -> ObjectCounts) {
        self.prepared.call_once(|| self.count_ours(&counts()));
    }

    /// Sets the number of our objects.
    pub fn count_ours(&self, counts: &ObjectCounts) {
        self.domains.count_ours(counts.domains);
        counts.mailboxes.keys().for_each(|domain| drop(self.mailbox_page(domain)));
        counts.aliases.keys().for_each(|domain| drop(self.alias_page(domain)));
        count_ours(&self.mailboxes, &counts.mailboxes);
        count_ours(&self.aliases, &counts.aliases);
    }

    /// A domain with its DKIM key; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn domain(&self, name: &DomainName, age: Age) -> Result<Option<DomainHave>, Error> {
        let Some(mut have) = self.domain_alone(name, age).await? else { return Ok(None) };
        let question = Question { page: &self.dkim, key: name, age, moved: Moved::domains };
        (have.dkim, _) = self.single(&question, || self.client.dkim(name)).await?;
        Ok(Some(have))
    }

    async fn domain_alone(&self, name: &DomainName, age: Age) -> Result<Option<DomainHave>, Error> {
        let question = Question { page: &self.domains, key: name, age, moved: Moved::domains };
        let (found, _) = self
            .thing(&question, async || Ok(held(self.client.domains().await?).await), || self.client.domain(name))
            .await?;
        Ok(found)
    }

    /// Whether a domain was last seen to exist; sends nothing.
    pub fn knows_domain(&self, name: &DomainName) -> bool {
        self.domains.is_known(name)
    }

    /// Whether a domain was last seen to be missing; sends nothing.
    pub fn misses_domain(&self, name: &DomainName) -> bool {
        self.domains.is_missing(name)
    }

    /// Whether a domain, or an alias domain, with this name exists.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn has_domain_or_alias_domain(&self, name: &DomainName) -> Result<bool, Error> {
        Ok(self.domain_alone(name, Age::Recent).await?.is_some() || self.client.is_alias_domain(name).await?)
    }

    /// Another mailbox of the same domain with the mark, as far as all of them are cached.
    pub fn marked_mailbox(&self, address: &Address, mark: &Mark) -> Option<Address> {
        let page = known_page(&self.mailboxes, address.domain())?;
        let found =
            page.find(Key::Owner(mark.owner()), |have| have.mark().is_some_and(|there| there.same_owner(mark)))?;
        (found != *address).then_some(found)
    }

    /// A mailbox or an alias whose local part begins with `local` and `+`, and whose mark passes the check. Reads the lists
    /// of the domain if they are not cached.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn subaddress(
        &self,
        local: &str,
        domain: &DomainName,
        is_it: impl Fn(&Mark) -> bool,
    ) -> Result<Option<Address>, Error> {
        let base = local.to_lowercase();
        let is_below = |address: &Address| {
            let base = address.local().split_once('+').map(|(base, _)| base);
            base.is_some_and(|base| base.eq_ignore_ascii_case(local))
        };
        let is_marked = |mark: Option<Mark>| mark.is_some_and(|mark| is_it(&mark));
        let is_mailbox = |have: &MailboxHave| is_below(&have.address) && is_marked(have.mark());
        let mailbox = match known_page(&self.mailboxes, domain).filter(|page| page.has_list()) {
            Some(page) => page.find(Key::Base(&base), is_mailbox),
            None => self.all_mailboxes(domain).await?.find(|(_, have)| is_mailbox(have)).map(|(at, _)| at),
        };
        if mailbox.is_some() {
            return Ok(mailbox);
        }
        let is_alias = |have: &AliasHave| {
            let is_below = matches!(&have.catch, Catch::One(address) if is_below(address));
            is_below && is_marked(have.mark())
        };
        let alias = match known_page(&self.aliases, domain).filter(|page| page.has_list()) {
            Some(page) => page.find(Key::Base(&base), is_alias),
            None => self.all_aliases(domain).await?.find(|(_, have)| is_alias(have)).map(|(at, _)| at),
        };
        Ok(alias.and_then(|catch| match catch {
            Catch::One(address) => Some(address),
            Catch::All(_) => None,
        }))
    }

    /// The figures of a domain are outdated when an entry in it changed.
    fn counted<V>(&self, domain: &DomainName, found: Result<(V, bool), Error>) -> Result<V, Error> {
        let (thing, is_same) = found?;
        if !is_same {
            self.domains.outdate_figures(domain);
        }
        Ok(thing)
    }

    /// A mailbox; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Refused`] for a half-deleted one.
    pub async fn mailbox(&self, address: &Address, age: Age) -> Result<Option<MailboxHave>, Error> {
        let page = self.mailbox_page(address.domain());
        if let Some(total) = self.domains.remembered(address.domain(), |domain| domain.mailboxes) {
            page.expect_total(usize::try_from(total).unwrap_or(usize::MAX));
        }
        let question = Question { page: &page, key: address, age, moved: Moved::mailboxes };
        let list = || self.mailboxes_of(address.domain());
        self.counted(address.domain(), self.thing(&question, list, || self.client.mailbox(address)).await)
    }

    fn mailbox_page(&self, domain: &DomainName) -> Arc<Page<Address, MailboxHave>> {
        page_of(&self.mailboxes, domain, || Page::of(MAILBOXES_FOR_ONE))
    }

    fn alias_page(&self, domain: &DomainName) -> Arc<Page<Catch, AliasHave>> {
        page_of(&self.aliases, domain, || Page::of(ALIASES_FOR_ONE))
    }

    /// Every mailbox of a domain. The list of an unknown domain would be that of all domains (recording
    /// `04_mailbox/list_all_unknown_domain`).
    async fn mailboxes_of(&self, domain: &DomainName) -> Result<Vec<(Address, Held<MailboxHave>)>, Error> {
        match self.mailboxes_in(domain).await? {
            Some(expected) => self.listings.mailboxes(&self.client, domain, expected).await,
            None => Ok(Vec::new()),
        }
    }

    /// About how many mailboxes a domain has; `None` if it does not exist. Our own writes outdate the number of a known
    /// domain, which is no reason to read it before its list.
    async fn mailboxes_in(&self, domain: &DomainName) -> Result<Option<u32>, Error> {
        match self.domains.valid(domain, self.interval * 2, |have| have.mailboxes) {
            Some(expected) => Ok(Some(expected)),
            None => Ok(self.domain_alone(domain, Age::Recent).await?.map(|have| have.mailboxes)),
        }
    }

    /// Reads all mailboxes of a domain from Mailcow now.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn all_mailboxes(
        &self,
        domain: &DomainName,
    ) -> Result<impl Iterator<Item = (Address, MailboxHave)> + use<>, Error> {
        Ok(self.mailboxes_of(domain).await?.into_iter().map(|(address, held)| (address, held.entry())))
    }

    /// Reads all aliases of a domain from Mailcow now; none if the domain does not exist.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn all_aliases(
        &self,
        domain: &DomainName,
    ) -> Result<impl Iterator<Item = (Catch, AliasHave)> + use<>, Error> {
        let found = match self.domain_alone(domain, Age::Recent).await? {
            Some(_) => self.aliases_of(domain).await?,
            None => Vec::new(),
        };
        Ok(found.into_iter())
    }

    async fn aliases_of(&self, domain: &DomainName) -> Result<Vec<(Catch, AliasHave)>, Error> {
        let expected = self.domains.remembered(domain, |have| have.aliases).unwrap_or_default();
        self.client.aliases(domain, expected).await
    }

    /// An alias; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn alias(&self, catch: &Catch, age: Age) -> Result<Option<AliasHave>, Error> {
        let page = self.alias_page(catch.domain());
        let before = page.remembered(catch, AliasHave::clone);
        let question = Question { page: &page, key: catch, age, moved: Moved::aliases };
        let list = async || Ok(held(self.aliases_of(catch.domain()).await?).await);
        let single = || self.client.alias(catch, before.as_ref().map(|have| have.id));
        let (have, is_same) = self.thing(&question, list, single).await?;
        // A new alias changes no senders.
        if before.is_some() && !is_same {
            self.outdate_targets(before.iter().chain(&have));
        }
        self.counted(catch.domain(), Ok((have, is_same)))
    }

    /// At every edit of an alias, Mailcow forgets that its target mailboxes may send as it (recordings
    /// `17_sender_acl/get_after_*`), and their `modified` does not change.
    fn outdate_targets<'a>(&self, aliases: impl Iterator<Item = &'a AliasHave>) {
        for address in aliases.flat_map(|alias| &alias.goto).filter_map(|goto| Address::parse(goto).ok()) {
            if let Some(page) = known_page(&self.mailboxes, address.domain()) {
                page.outdate(&address);
            }
        }
    }

    /// Whether the mailbox with this address was last seen to be missing; sends nothing.
    pub fn misses_mailbox(&self, catch: &Catch) -> bool {
        let Catch::One(address) = catch else { return false };
        known_page(&self.mailboxes, address.domain())
            .is_some_and(|page| page.is_missing_within(address, self.interval * 2))
    }

    /// The same for an alias.
    pub fn misses_alias(&self, catch: &Catch) -> bool {
        known_page(&self.aliases, catch.domain()).is_some_and(|page| page.is_missing_within(catch, self.interval * 2))
    }

    /// Like [`Inventory::single`], but lists all first when that is cheaper. One list at a time: others wait for it.
    async fn thing<K, V, L, S>(
        &self,
        question: &Question<'_, K, V>,
        list: impl Fn() -> L,
        single: impl Fn() -> S,
    ) -> Result<(Option<V>, bool), Error>
    where
        K: Clone + Eq + Hash,
        V: Entry,
        L: Future<Output = Result<Vec<(K, Held<V>)>, Error>>,
        S: Future<Output = Result<Option<V>, Error>>,
    {
        let (Question { page, key, age, moved }, keep) = (*question, self.interval * 2);
        let note = |error: &Error| {
            if error.is_unreadable() {
                page.unread(key);
            }
        };
        let is_list = || matches!(page.next(key, keep), Next::List);
        if age == Age::Recent && is_list() {
            let _right = page.right_to_list().await;
            if is_list() {
                page.begin_list();
                self.publish(moved(&page.fill(list().await.inspect_err(note)?)));
            }
        }
        self.single(question, single).await
    }

    /// The cached entry, otherwise a read now, and whether it has changed.
    async fn single<K, V, S>(
        &self,
        question: &Question<'_, K, V>,
        single: impl Fn() -> S,
    ) -> Result<(Option<V>, bool), Error>
    where
        K: Clone + Eq + Hash,
        V: Entry,
        S: Future<Output = Result<Option<V>, Error>>,
    {
        let Question { page, key, age, moved } = *question;
        if age == Age::Recent
            && let Next::Known(known) = page.next(key, self.interval * 2)
        {
            return Ok((known.as_ref().map(Held::entry), true));
        }
        loop {
            let reading = page.begin_read(key.clone());
            let have = single().await.inspect_err(|error| {
                if error.is_transient() {
                    page.doubt(key);
                }
                if error.is_unreadable() {
                    page.unread(key);
                }
            })?;
            // A write of ours that affected it meanwhile is in the next answer.
            let Some(Entered { is_same, is_news }) = page.finish_read(&reading, have.as_ref()) else { continue };
            if is_news {
                self.publish(moved(std::slice::from_ref(key)));
            }
            return Ok((have, is_same));
        }
    }

    /// Publishes changed entries, if there are any.
    fn publish(&self, moved: Moved) {
        if moved != Moved::default() {
            self.changes.publish(&Arc::new(moved));
        }
    }
}

/// A list, held. Others go on meanwhile: a long one takes a second.
async fn held<K, V: Entry>(list: Vec<(K, V)>) -> Vec<(K, Held<V>)> {
    let mut held = Vec::with_capacity(list.len());
    for (key, entry) in list {
        held.push((key, Held::of(&entry)));
        if held.len() % 256 == 0 {
            tokio::task::yield_now().await;
        }
    }
    held
}

/// A question for one entry.
struct Question<'a, K, V> {
    page: &'a Page<K, V>,
    key: &'a K,
    age: Age,
    /// How entries of this kind are published.
    moved: fn(&[K]) -> Moved,
}

impl<K, V> Clone for Question<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Question<'_, K, V> {}

fn page_of<K, V>(pages: &Pages<K, V>, domain: &DomainName, new: impl FnOnce() -> Page<K, V>) -> Arc<Page<K, V>> {
    let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
    pages.entry(domain.clone()).or_insert_with(|| Arc::new(new())).clone()
}

fn known_page<K, V>(pages: &Pages<K, V>, domain: &DomainName) -> Option<Arc<Page<K, V>>> {
    pages.lock().unwrap_or_else(PoisonError::into_inner).get(domain).cloned()
}

/// The current page of every domain.
fn all<K, V>(pages: &Pages<K, V>) -> Vec<(DomainName, Arc<Page<K, V>>)> {
    let pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
    pages.iter().map(|(domain, page)| (domain.clone(), page.clone())).collect()
}

fn count_ours<K, V>(pages: &Pages<K, V>, counts: &BTreeMap<DomainName, usize>)
where
    K: Clone + Eq + Hash,
    V: Entry,
{
    for (domain, page) in all(pages) {
        page.count_ours(counts.get(&domain).copied().unwrap_or_default());
    }
    // Forgets domains that nobody asks about any more.
    let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
    pages.retain(|domain, page| counts.contains_key(domain) || !page.is_empty());
    shrink(&mut *pages);
}
