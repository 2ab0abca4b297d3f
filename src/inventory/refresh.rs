//! The second look: everything that is remembered is asked for again, and what changed is told.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::page::{Again, Page};
use super::{Inventory, all};
use crate::mail::{Address, AliasHave, Catch, DkimKey, DomainHave, DomainName, MailboxHave};
use crate::mailcow::Error;

/// What is not as it was at the last look: names and addresses as a status has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Names of domains.
    pub domains: HashSet<String>,
    /// Addresses of mailboxes.
    pub mailboxes: HashSet<String>,
    /// What aliases catch.
    pub aliases: HashSet<String>,
    /// Names of domains that were missing and are made again: what is in them waits for that.
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

impl Inventory {
    /// Looks at everything that is remembered again, one request at a time, and tells `moved` what is not as it was:
    /// settings, not how much mail there is. A list answers for all of it, and what nobody asked for in a long time
    /// is forgotten.
    ///
    /// # Errors
    /// The first [`Error`] that keeps from going on, or a list that could not be read, after everything else; what could
    /// not be seen keeps its age.
    pub async fn refresh(&self, moved: impl Fn(Moved)) -> Result<(), Error> {
        let mut lists = Lists { unread: Ok(()) };
        self.refresh_domains(&moved, &mut lists).await?;
        self.refresh_mailboxes(&moved, &mut lists).await?;
        self.refresh_aliases(&moved, &mut lists).await?;
        lists.unread
    }

    async fn refresh_domains(&self, moved: &impl Fn(Moved), lists: &mut Lists) -> Result<(), Error> {
        let tell = |names: Vec<DomainName>| moved(Moved { domains: texts(&names), ..Moved::default() });
        let single = async |name: DomainName| self.client.domain(&name).await;
        let look = Look { page: &self.domains, forget: self.forget, is_same: DomainHave::same_settings };
        lists.go_on(look.again(async || self.client.domains().await, single, &tell).await)?;
        let single = async |name: DomainName| self.client.dkim(&name).await;
        let look = Look { page: &self.dkim, forget: self.forget, is_same: DkimKey::eq };
        look.again(async || Ok(Vec::new()), single, &tell).await
    }

    async fn refresh_mailboxes(&self, moved: &impl Fn(Moved), lists: &mut Lists) -> Result<(), Error> {
        let tell = |names: Vec<Address>| moved(Moved { mailboxes: texts(&names), ..Moved::default() });
        for (domain, page) in all(&self.mailboxes) {
            let single = async |address: Address| self.client.mailbox(&address).await;
            let look = Look { page: &page, forget: self.forget, is_same: MailboxHave::same_settings };
            lists.go_on(look.again(async || self.mailboxes_of(&domain).await, single, &tell).await)?;
        }
        Ok(())
    }

    async fn refresh_aliases(&self, moved: &impl Fn(Moved), lists: &mut Lists) -> Result<(), Error> {
        let tell = |names: Vec<Catch>| moved(Moved { aliases: texts(&names), ..Moved::default() });
        for (domain, page) in all(&self.aliases) {
            let single = async |catch: Catch| {
                let number = page.remembered(&catch, |have| have.id);
                self.client.alias(&catch, number).await
            };
            let look = Look { page: &page, forget: self.forget, is_same: AliasHave::eq };
            lists.go_on(look.again(async || self.aliases_of(&domain).await, single, &tell).await)?;
        }
        Ok(())
    }
}

/// Whether a list could not be read: it must not keep the others from being looked at.
struct Lists {
    unread: Result<(), Error>,
}

impl Lists {
    /// Goes on after a list that could not be read.
    ///
    /// # Errors
    /// What keeps from going on.
    fn go_on(&mut self, seen: Result<(), Error>) -> Result<(), Error> {
        match seen {
            Err(error) if is_odd(&error) => {
                warn(&error);
                self.unread = Err(error);
                Ok(())
            }
            seen => seen,
        }
    }
}

/// A second look at a page.
struct Look<'a, K, V> {
    page: &'a Page<K, V>,
    forget: Duration,
    is_same: fn(&V, &V) -> bool,
}

impl<K: Clone + Eq + Hash, V: Clone + PartialEq> Look<'_, K, V> {
    /// Looks again and tells what changed, also when it could not go on to the end. What can't be read is left out, and
    /// counts as changed, so that its objects say so: it must not keep the rest from being looked at.
    async fn again(
        &self,
        list: impl AsyncFn() -> Result<Vec<(K, V)>, Error>,
        single: impl AsyncFn(K) -> Result<Option<V>, Error>,
        tell: &impl Fn(Vec<K>),
    ) -> Result<(), Error> {
        let keys = match self.page.again(self.forget) {
            Again::Singles(keys) => keys,
            Again::List => {
                let _turn = self.page.turn().await;
                self.page.begin_list();
                tell(self.page.fill(list().await?, self.is_same));
                return Ok(());
            }
        };
        let mut changed = Vec::new();
        let mut seen = Ok(());
        for key in keys {
            match single(key.clone()).await {
                Ok(thing) => {
                    let is_same = self.page.enter(key.clone(), thing.as_ref(), self.is_same);
                    // Whoever asked for it while it could not be read waits.
                    changed.extend((self.page.reread(&key) || !is_same).then_some(key));
                }
                // What can't be shown, such as a half-deleted mailbox, is something to look at.
                Err(Error::Refused { .. }) => changed.push(key),
                Err(error) if is_odd(&error) => {
                    warn(&error);
                    self.page.misread(&key);
                    changed.push(key);
                }
                Err(error) => {
                    seen = Err(error);
                    break;
                }
            }
        }
        tell(changed);
        seen
    }
}

/// Whether Mailcow answered, and with something that can't be read.
fn is_odd(error: &Error) -> bool {
    matches!(error, Error::Unexpected { .. } | Error::OtherThing { .. })
}

fn warn(error: &Error) {
    tracing::warn!(%error, "left out of the poll; everything else is polled");
}

pub(super) fn texts(things: &[impl ToString]) -> HashSet<String> {
    things.iter().map(ToString::to_string).collect()
}
