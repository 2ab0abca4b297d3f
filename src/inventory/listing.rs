//! How all mailboxes of a domain are listed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::mail::{Address, DomainName, MailboxHave, Version};
use crate::mailcow::{Client, Error};

/// From so many mailboxes on a domain is listed page by page. Mailcow takes 2 to 6 ms for each mailbox in a list of all, the
/// longer the more there are, until it takes longer than anybody waits; and 1.2 to 4.6 ms on a page (recordings
/// `29_big_lists/all_domain`, `search_paging_whole`).
const MANY: u32 = 400;

/// Lists that could not be brought to their ends: the next try goes on from there.
#[derive(Debug)]
pub(super) struct Listings {
    keep: Duration,
    begun: Mutex<HashMap<DomainName, Listing>>,
}

#[derive(Debug)]
struct Listing {
    began: Instant,
    found: Vec<(Address, MailboxHave)>,
    next: u32,
}

impl Listings {
    /// None yet; what was seen is good for `keep`.
    pub(super) fn keep_for(keep: Duration) -> Self {
        Self { keep, begun: Mutex::default() }
    }

    /// Lists the mailboxes of a domain that exists and holds `expected` of them.
    ///
    /// # Errors
    /// Any [`Error`]; what was seen until then is not asked for again.
    pub(super) async fn mailboxes(
        &self,
        client: &Client,
        domain: &DomainName,
        expected: u32,
    ) -> Result<Vec<(Address, MailboxHave)>, Error> {
        if expected < MANY || !has_pages(client).await? {
            return client.mailboxes(domain, expected).await;
        }
        let mut listing = self.take(domain);
        loop {
            match client.mailbox_page(domain, listing.next).await {
                Ok(page) => {
                    listing.found.extend(page.mailboxes);
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
