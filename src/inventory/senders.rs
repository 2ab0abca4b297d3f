//! Which sender addresses of a mailbox Mailcow keeps.

use std::collections::BTreeSet;

use super::{Age, Inventory};
use crate::mail::{Address, Catch};
use crate::mailcow::Error;

/// What Mailcow does with an entry.
enum Entry {
    /// It keeps the entry.
    Kept,
    /// An alias allows the sender already: Mailcow keeps nothing.
    Redundant,
    /// It is not a mailbox, alias or domain: Mailcow refuses it.
    Missing,
}

impl Inventory {
    /// The entries that Mailcow would keep for the mailbox, and those that don't exist yet. Entries that an alias allows
    /// anyway are in neither.
    ///
    /// # Errors
    /// When Mailcow can't be asked.
    pub async fn kept_senders(
        &self,
        wanted: &BTreeSet<String>,
        mailbox: &Address,
    ) -> Result<(BTreeSet<String>, BTreeSet<String>), Error> {
        let (mut kept, mut missing) = (BTreeSet::new(), BTreeSet::new());
        for entry in wanted {
            match self.sender(entry, mailbox).await? {
                Entry::Kept => kept.insert(entry.clone()),
                Entry::Missing => missing.insert(entry.clone()),
                Entry::Redundant => continue,
            };
        }
        Ok((kept, missing))
    }

    async fn sender(&self, entry: &str, mailbox: &Address) -> Result<Entry, Error> {
        let found = |is_there: bool| if is_there { Entry::Kept } else { Entry::Missing };
        match Catch::parse(entry) {
            // `*` is not an address.
            Err(_) => Ok(Entry::Kept),
            Ok(Catch::All(domain)) => Ok(found(self.has_domain_or_alias_domain(&domain).await?)),
            Ok(Catch::One(address)) if address == *mailbox => Ok(Entry::Redundant),
            Ok(Catch::One(address)) => match self.alias(&Catch::One(address.clone()), Age::Recent).await? {
                Some(alias) if alias.lets_send(mailbox) => Ok(Entry::Redundant),
                Some(_) => Ok(Entry::Kept),
                None => match self.mailbox(&address, Age::Recent).await {
                    Ok(found_there) => Ok(found(found_there.is_some())),
                    // A half-deleted mailbox doesn't count.
                    Err(Error::Refused { .. }) => Ok(Entry::Missing),
                    Err(error) => Err(error),
                },
            },
        }
    }
}
