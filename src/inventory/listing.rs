//! How to list all mailboxes of a domain.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::held;
use super::held::Held;
use crate::mail::{Address, DomainName, MailboxHave, Version};
use crate::mailcow::{Client, Error};

/// A domain with at least this many mailboxes is listed in pages. In a list of all, Mailcow needs 2 to 6 ms for each
/// mailbox, more with their number, until it takes longer than any time limit; on a page it needs 1.2 to 4.6 ms
/// (recordings `29_big_lists/all_domain`, `search_paging_whole`).
const MANY: u32 = 400;

/// Unfinished lists: the next try continues there.
#[derive(Debug)]
pub(super) struct Listings {
    keep: Duration,
    begun: Mutex<HashMap<DomainName, Listing>>,
}

#[derive(Debug)]
struct Listing {
    began: Instant,
    found: Vec<(Address, Held<MailboxHave>)>,
    next: u32,
}

impl Listings {
    /// None yet; entries stay valid for `keep`.
    pub(super) fn keep_for(keep: Duration) -> Self {
        Self { keep, begun: Mutex::default() }
    }

    /// Lists the mailboxes of a domain that exists and has `expected` of them.
    ///
    /// # Errors
    /// Any [`Error`]; what was seen until then is not asked for again.
    pub(super) async fn mailboxes(
        &self,
        client: &Client,
        domain: &DomainName,
        expected: u32,
    ) -> Result<Vec<(Address, Held<MailboxHave>)>, Error> {
        if expected < MANY || !has_pages(client).await? {
            return Ok(held(client.mailboxes(domain, expected).await?).await);
        }
        let mut listing = self.take(domain);
        loop {
            match client.mailbox_page(domain, listing.next).await {
                Ok(page) => {
                    listing.found.extend(held(page.mailboxes).await);
                    match page.next {
                        Some(next) => listing.next = next,
                        None => return Ok(listing.found),
                    }
                }
                Err(error) => {
                    self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.clone(), listing);
                    return Err(error);
                }
            }
        }
    }

    fn take(&self, domain: &DomainName) -> Listing {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(domain);
        let new = || Listing { began: Instant::now(), found: Vec::new(), next: 0 };
        begun.filter(|listing| listing.began.elapsed() < self.keep).unwrap_or_else(new)
    }
}

async fn has_pages(client: &Client) -> Result<bool, Error> {
    Ok(Version::parse(&client.known_version().await?).is_some_and(Version::has_pages))
}
