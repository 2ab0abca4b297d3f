//! Whether Mailcow's answer is about the entry in question. This is not trusted: Mailcow compares names as its database
//! does, so an alias of another domain may answer for `3rd@example.com` (recording `15_alias_id_lookup`).

use serde::de::DeserializeOwned;

use super::client::{Client, Question};
use super::error::Error;
use super::reply::is_nothing;
use super::wire::{WireAlias, WireDomain, WireFilter, WireMailbox};
use crate::mail::{Address, Catch, DomainName};

/// An object with its own name.
pub(super) trait Named {
    /// The name in a question.
    type Name: PartialEq;

    /// Its own name; `None` when it is not a valid name.
    fn name(&self) -> Option<Self::Name>;
}

impl Named for WireDomain {
    type Name = DomainName;

    fn name(&self) -> Option<DomainName> {
        DomainName::parse(&self.domain_name).ok()
    }
}

impl Named for WireMailbox {
    type Name = Address;

    fn name(&self) -> Option<Address> {
        Address::parse(self.username.as_deref()?).ok()
    }
}

impl Named for WireAlias {
    type Name = Catch;

    fn name(&self) -> Option<Catch> {
        Catch::parse(&self.address).ok()
    }
}

impl Named for WireFilter {
    /// The mailbox: filters are read by mailbox.
    type Name = Address;

    fn name(&self) -> Option<Address> {
        Address::parse(&self.username).ok()
    }
}

/// Mailcow's answer to a question for one entry.
pub(super) enum Answer<T> {
    /// The entry does not exist.
    Nothing,
    /// The entry.
    Asked(T),
    /// Another entry.
    Other(T),
}

impl Client {
    /// Asks for one thing as `key`, which is its name or its number.
    pub(super) async fn ask<T: Named + DeserializeOwned>(
        &self,
        action: &'static str,
        key: &str,
        name: &T::Name,
    ) -> Result<Answer<T>, Error> {
        let value = self.get(action, &[key]).await?;
        if is_nothing(&value) {
            return Ok(Answer::Nothing);
        }
        let found: T = self.shaped(action, value)?;
        Ok(if found.name().as_ref() == Some(name) { Answer::Asked(found) } else { Answer::Other(found) })
    }

    /// Asks for one thing by its name.
    ///
    /// # Errors
    /// [`Error::OtherThing`] when Mailcow answers with something else.
    pub(super) async fn ask_by_name<T>(&self, action: &'static str, name: &T::Name) -> Result<Option<T>, Error>
    where
        T: Named + DeserializeOwned,
        T::Name: ToString,
    {
        match self.ask(action, &name.to_string(), name).await? {
            Answer::Nothing => Ok(None),
            Answer::Asked(found) => Ok(Some(found)),
            Answer::Other(_) => Err(self.other_thing(action, name)),
        }
    }

    /// Lists what belongs to one thing.
    ///
    /// # Errors
    /// [`Error::OtherThing`] when Mailcow lists what belongs to something else.
    pub(super) async fn list_of<T>(&self, action: &'static str, name: &T::Name) -> Result<Vec<T>, Error>
    where
        T: Named + DeserializeOwned,
        T::Name: ToString,
    {
        let all: Vec<T> = self.list(&Question::of(action, &[&name.to_string()])).await?;
        if all.iter().all(|found| found.name().as_ref() == Some(name)) {
            return Ok(all);
        }
        Err(self.other_thing(action, name))
    }

    /// The error for an answer about another entry.
    pub(super) fn other_thing(&self, action: &str, name: &impl ToString) -> Error {
        Error::OtherThing { server: self.server(), asked: format!("{action} {}", name.to_string()) }
    }
}

/// Whether Mailcow finds the alias of an address by it. It looks for `id = address OR address = address`, and its database
/// compares a number with the one that the text begins with (recordings `15_alias_id_lookup/get_missing_*`); a slash has
/// no way through its web server (recordings `16_path_encoding/get_alias_slash_*`).
pub(super) fn is_found_by_address(address: &Address) -> bool {
    let local = address.local();
    !local.contains('/') && !local.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
}

/// Whether Mailcow finds a mailbox, and what belongs to it, by its address.
pub(super) fn is_found_by_name(address: &Address) -> bool {
    !address.local().contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_reads_as_a_number_finds_another_alias() {
        let found = |local: &str| {
            let domain = DomainName::parse("one.test").unwrap();
            is_found_by_address(&Address::new(local, domain).unwrap())
        };
        // Recordings 15_alias_id_lookup/get_missing_*: each of these answers with alias 4 of another domain, or would.
        for local in ["4th", "4", "4e0", "04", "+4", "-4", "4.0", "2024-team", "a/b"] {
            assert!(!found(local), "{local}");
        }
        for local in ["x4", "sales", "a+4", "_4", "e4"] {
            assert!(found(local), "{local}");
        }
    }
}
