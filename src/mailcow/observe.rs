//! Reads Mailcow into mail types: all normalisation is here.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Value, json};

use super::client::{Client, Question};
use super::error::Error;
use super::identity::{Answer, Named, is_found_by_address, is_found_by_name};
use super::reply::is_nothing;
use super::wire::{WireAlias, WireDkim, WireDomain, WireFilter, WireMailbox, WirePage, WireRate};
use crate::crd::{Per, Protocol};
use crate::mail::{
    Access, Address, AliasHave, Catch, DkimKey, DomainHave, DomainName, Filter, Limits, Login, MailboxHave, Quota,
    RateLimit, Relay, Tls,
};

/// The switch of each protocol among a mailbox's attributes.
pub(super) const PROTOCOLS: [(Protocol, &str); 7] = [
    (Protocol::Imap, "imap_access"),
    (Protocol::Pop3, "pop3_access"),
    (Protocol::Smtp, "smtp_access"),
    (Protocol::Sieve, "sieve_access"),
    (Protocol::Eas, "eas_access"),
    (Protocol::Dav, "dav_access"),
    (Protocol::Sogo, "sogo_access"),
];

/// How much longer a list may take for each mailbox in it: up to 6 ms were measured, and other machines are slower.
pub(super) const TIME_FOR_A_MAILBOX: Duration = Duration::from_millis(25);
/// The same for an alias: up to 1.2 ms.
pub(super) const TIME_FOR_AN_ALIAS: Duration = Duration::from_millis(5);
/// Number of mailboxes in a page: a second's work for Mailcow.
const PAGE: u32 = 200;
/// Two pages overlap by this number, because deletions in between move later entries up.
const OVERLAP: u32 = 10;

/// Some mailboxes of a domain.
#[derive(Clone, Debug)]
pub struct MailboxPage {
    /// The mailboxes, by address.
    pub mailboxes: Vec<(Address, MailboxHave)>,
    /// The number that the next page starts with; `None` when this is the last.
    pub next: Option<u32>,
}

impl Client {
    /// Reads a domain, without its DKIM key; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn domain(&self, name: &DomainName) -> Result<Option<DomainHave>, Error> {
        match self.ask("get/domain", name.as_str(), name).await? {
            Answer::Asked(domain) => Ok(Some(domain_have(name.clone(), domain))),
            // An alias domain answers with its target's object (recording `05_alias/ad_get_domain_of_alias`).
            Answer::Nothing | Answer::Other(_) => Ok(None),
        }
    }

    /// Whether an alias domain of this name exists: it answers with its target's object.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn is_alias_domain(&self, name: &DomainName) -> Result<bool, Error> {
        Ok(matches!(self.ask::<WireDomain>("get/domain", name.as_str(), name).await?, Answer::Other(_)))
    }

    /// Every domain, without the DKIM keys.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn domains(&self) -> Result<Vec<(DomainName, DomainHave)>, Error> {
        let all: Vec<WireDomain> = self.list_readable(&Question::of("get/domain", &["all"])).await?;
        let named = all.into_iter().filter_map(|wire| {
            let name = wire.name()?;
            Some((name.clone(), domain_have(name, wire)))
        });
        Ok(named.collect())
    }

    /// The DKIM key of a domain; `None` when it has none. There is no list of them (recording
    /// `03_dkim/get_all_is_not_a_list`).
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn dkim(&self, name: &DomainName) -> Result<Option<DkimKey>, Error> {
        // The answer does not say whose key it is; a domain name has no character that Mailcow would read otherwise.
        let value = self.get("get/dkim", &[name.as_str()]).await?;
        if is_nothing(&value) {
            return Ok(None);
        }
        self.shaped("get/dkim", value).map(|wire| Some(dkim_key(wire)))
    }

    /// Reads a mailbox; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Refused`] for a half-deleted one.
    pub async fn mailbox(&self, address: &Address) -> Result<Option<MailboxHave>, Error> {
        if !is_found_by_name(address) {
            // With a list, which must be complete.
            let all =
                self.list::<WireMailbox>(&Question::of("get/mailbox", &["all", address.domain().as_str()])).await?;
            let all = of_domain(all, address.domain());
            return Ok(all.into_iter().find(|(found, _)| found == address).map(|(_, mailbox)| mailbox));
        }
        match self.ask::<WireMailbox>("get/mailbox", &address.to_string(), address).await? {
            Answer::Nothing => Ok(None),
            Answer::Asked(mailbox) => Ok(Some(mailbox_have(address.clone(), mailbox))),
            Answer::Other(mailbox) if mailbox.username.is_none() => Err(Error::Refused {
                action: format!("show the mailbox {address}"),
                code: "half_deleted".to_owned(),
                message: "a deletion stopped half-way; delete the mailbox again in Mailcow".to_owned(),
            }),
            Answer::Other(_) => Err(self.other_thing("get/mailbox", address)),
        }
    }

    /// Looks an alias up; `None` when it does not exist. `number` is the one that it was last seen with: some can't be
    /// asked for by their address, and all of their domain have to be listed when the number is not known.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn alias(&self, catch: &Catch, number: Option<u64>) -> Result<Option<AliasHave>, Error> {
        match catch {
            Catch::One(address) if is_found_by_address(address) => {
                let found = self.ask_by_name::<WireAlias>("get/alias", catch).await?;
                return Ok(found.map(|alias| alias_have(catch.clone(), alias)));
            }
            // A list is the only recorded way to a catch-all by name.
            Catch::One(_) | Catch::All(_) => {}
        }
        if let Some(number) = number
            && let Answer::Asked(alias) = self.ask("get/alias", &number.to_string(), catch).await?
        {
            return Ok(Some(alias_have(catch.clone(), alias)));
        }
        // The list must be complete.
        let parts = ["all", catch.domain().as_str()];
        let all: Vec<WireAlias> = self.list(&Question::of("get/alias", &parts)).await?;
        let found = all.into_iter().find(|alias| alias.name().as_ref() == Some(catch));
        Ok(found.map(|alias| alias_have(catch.clone(), alias)))
    }

    /// Every mailbox of a domain that exists, of which about `expected` are known. A list of an unknown domain would be
    /// that of all domains (recording `04_mailbox/list_all_unknown_domain`), which is slow, but of which nothing is taken; a
    /// half-deleted mailbox has no name to be listed by.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn mailboxes(&self, domain: &DomainName, expected: u32) -> Result<Vec<(Address, MailboxHave)>, Error> {
        let parts = ["all", domain.as_str()];
        let more_time = TIME_FOR_A_MAILBOX * expected;
        let all: Vec<WireMailbox> =
            self.list_readable(&Question { more_time, ..Question::of("get/mailbox", &parts) }).await?;
        Ok(of_domain(all, domain))
    }

    /// Some mailboxes of a domain, by their addresses: those from number `start` on. Since 2026-03. It takes Mailcow a time
    /// that grows with the page and not with the domain (recordings `29_big_lists/search_*`).
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn mailbox_page(&self, domain: &DomainName, start: u32) -> Result<MailboxPage, Error> {
        let question = Question { body: Some(page_body(domain, start)), ..Question::of("search/mailbox", &[]) };
        let parse = |body: &[u8], path: &str| {
            self.not_empty(body, path)?;
            self.parsed_as::<WirePage>(question.action, body, path)
        };
        let page = self.read(&question, parse).await?;
        let shown = u32::try_from(page.data.len()).unwrap_or(u32::MAX);
        let readable = self.readable(question.action, page.data);
        let other_shape = || self.unexpected(question.action, "it has another format".to_owned());
        Ok(MailboxPage {
            next: (shown == PAGE).then(|| start.saturating_add(shown - OVERLAP)),
            mailboxes: of_domain(readable.ok_or_else(other_shape)?, domain),
        })
    }

    /// Every alias of a domain, of which about `expected` are known.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn aliases(&self, domain: &DomainName, expected: u32) -> Result<Vec<(Catch, AliasHave)>, Error> {
        let parts = ["all", domain.as_str()];
        let more_time = TIME_FOR_AN_ALIAS * expected;
        let all: Vec<WireAlias> =
            self.list_readable(&Question { more_time, ..Question::of("get/alias", &parts) }).await?;
        Ok(aliases_of(all, domain))
    }

    /// The prefilters of a mailbox, by id.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn prefilters(&self, mailbox: &Address) -> Result<Vec<Filter>, Error> {
        let mut all: Vec<WireFilter> = if is_found_by_name(mailbox) {
            self.list_of("get/filters", mailbox).await?
        } else {
            self.list(&Question::of("get/filters", &["all"])).await?
        };
        all.retain(|filter| filter.name().as_ref() == Some(mailbox));
        let of_our_type = all.into_iter().filter(|filter| filter.filter_type == "prefilter");
        Ok(of_our_type.map(filter).collect())
    }

    /// An object in the expected format.
    pub(super) fn shaped<T: DeserializeOwned>(&self, action: &'static str, value: Value) -> Result<T, Error> {
        serde_json::from_value(value).map_err(|error| self.unexpected(action, shape(&error)))
    }

    /// A list; Mailcow writes `{}` for an empty one. It is parsed without a tree of all values, which would need many
    /// times the memory of a long list.
    pub(super) async fn list<T: DeserializeOwned>(&self, question: &Question<'_>) -> Result<Vec<T>, Error> {
        let parse = |body: &[u8], path: &str| {
            self.not_empty(body, path)?;
            if body.trim_ascii() == b"{}" {
                return Ok(Vec::new());
            }
            self.parsed_as(question.action, body, path)
        };
        self.read(question, parse).await
    }

    /// The same without unreadable entries: one odd domain must not hide all others.
    pub(super) async fn list_readable<T: DeserializeOwned>(&self, question: &Question<'_>) -> Result<Vec<T>, Error> {
        let parse = |body: &[u8], path: &str| {
            self.not_empty(body, path)?;
            if body.trim_ascii() == b"{}" {
                return Ok(Vec::new());
            }
            self.parsed_as(question.action, body, path).or_else(|error| {
                let items = serde_json::from_slice(body).map_err(|_| error.clone())?;
                self.readable(question.action, items).ok_or(error)
            })
        };
        self.read(question, parse).await
    }

    /// The readable entries of a list; `None` if there are none. A question for one of the others reads it singly and
    /// gets the error.
    fn readable<T: DeserializeOwned>(&self, action: &str, items: Vec<Value>) -> Option<Vec<T>> {
        let is_empty = items.is_empty();
        let read = |item: Value| {
            let name = ["domain_name", "username", "address"].iter().find_map(|key| item.get(key)?.as_str());
            let name = name.unwrap_or("nameless").to_owned();
            let read = serde_json::from_value(item);
            let is_odd = |error: &serde_json::Error| {
                tracing::warn!(
                    server = self.server(),
                    action,
                    name,
                    why = shape(error),
                    "ignoring an unreadable entry of a list"
                );
            };
            read.inspect_err(is_odd).ok()
        };
        let readable: Vec<T> = items.into_iter().filter_map(read).collect();
        (is_empty || !readable.is_empty()).then_some(readable)
    }

    /// An answer in the expected format.
    pub(super) fn parsed_as<T: DeserializeOwned>(&self, action: &str, body: &[u8], path: &str) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => self.unexpected(action, shape(&error)),
            Category::Io | Category::Syntax | Category::Eof => self.not_the_api(path, "it is not JSON".to_owned()),
        })
    }
}

/// Those of a list that are in a domain.
fn of_domain(all: Vec<WireMailbox>, domain: &DomainName) -> Vec<(Address, MailboxHave)> {
    let named = all.into_iter().filter_map(|wire| {
        let address = wire.name().filter(|address| address.domain() == domain)?.sharing(domain);
        Some((address.clone(), mailbox_have(address, wire)))
    });
    named.collect()
}

/// The same for aliases.
fn aliases_of(all: Vec<WireAlias>, domain: &DomainName) -> Vec<(Catch, AliasHave)> {
    let named = all.into_iter().filter_map(|wire| {
        let catch = wire.name().filter(|catch| catch.domain() == domain)?.sharing(domain);
        Some((catch.clone(), alias_have(catch, wire)))
    });
    named.collect()
}

/// The request of Mailcow's own page for its table of mailboxes: the address is column 2, and the search covers it, the
/// display name and the tags (recordings `29_big_lists/search_*`).
fn page_body(domain: &DomainName, start: u32) -> Value {
    let column = |n: u32| {
        let is_searched = [2, 7, 23].contains(&n);
        json!({"data": n, "name": "", "searchable": is_searched, "orderable": true, "search": {"value": "", "regex": false}})
    };
    json!({
        "draw": 1, "columns": (0..25).map(column).collect::<Vec<_>>(), "order": [{"column": 2, "dir": "asc"}],
        "start": start, "length": PAGE, "search": {"value": format!("@{domain}"), "regex": false},
    })
}

/// What is wrong with an answer's format, without any of its values.
fn shape(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once("missing field") {
        Some((_, field)) => format!("the key{} is missing", field.split(" at line").next().unwrap_or_default()),
        None => "it has another format".to_owned(),
    }
}

fn dkim_key(wire: WireDkim) -> DkimKey {
    DkimKey {
        selector: wire.dkim_selector,
        key_size: u16::try_from(wire.length).unwrap_or_default(),
        record: unsplit(&wire.dkim_txt),
        public_key: wire.pubkey,
    }
}

fn domain_have(name: DomainName, wire: WireDomain) -> DomainHave {
    DomainHave {
        name,
        description: wire.description,
        active: wire.active != 0,
        limits: Limits {
            mailboxes: count(wire.max_num_mboxes_for_domain),
            aliases: count(wire.max_num_aliases_for_domain),
            default_quota: Quota::bytes(wire.def_quota_for_mbox),
            mailbox_quota: Quota::bytes(wire.max_quota_for_mbox),
            total_quota: Quota::bytes(wire.max_quota_for_domain),
        },
        rate_limit: rate(&wire.rl),
        address_list: wire.gal != 0,
        relay: Relay {
            backup_mx: wire.backupmx != 0,
            all_recipients: wire.relay_all_recipients != 0,
            unknown_only: wire.relay_unknown_only != 0,
            host: count(wire.relayhost),
        },
        tags: wire.tags,
        dkim: None,
        mailboxes: count(wire.mboxes_in_domain),
        aliases: count(wire.aliases_in_domain),
        quota_left: Quota::bytes(wire.max_new_mailbox_quota),
        used: Quota::bytes(wire.bytes_total),
        messages: wire.msgs_total,
    }
}

/// Mailcow may be configured to cut the record at 255 bytes into quoted texts.
fn unsplit(text: &str) -> String {
    let text = text.trim();
    if !text.starts_with('"') {
        return text.to_owned();
    }
    text.split('"').skip(1).step_by(2).collect()
}

pub(super) fn mailbox_have(address: Address, wire: WireMailbox) -> MailboxHave {
    let own_limit = wire.rl_scope.as_deref().is_none_or(|scope| scope == "mailbox");
    let time = |seconds: u64| i64::try_from(seconds).unwrap_or_default();
    let is_on = |key: &str| wire.attributes.get(key).is_some_and(|value| value == "1");
    let protocols = PROTOCOLS.into_iter().filter(|(_, key)| is_on(key)).map(|(protocol, _)| protocol);
    let hidden = PROTOCOLS.into_iter().filter(|(_, key)| !wire.attributes.contains_key(*key));
    let senders = wire.sender_acl.as_ref().map(|acl| acl.iter().map(|sender| sender.to_lowercase()).collect());
    MailboxHave {
        address,
        protocols: protocols.collect(),
        hidden_protocols: hidden.map(|(protocol, _)| protocol).collect(),
        tls: Tls { incoming: is_on("tls_enforce_in"), outgoing: is_on("tls_enforce_out") },
        force_password_change: is_on("force_pw_update"),
        login: match wire.authsource.as_deref() {
            None | Some("" | "mailcow") => Login::Mailcow,
            Some(_) => Login::Elsewhere,
        },
        sender_acl: senders,
        tags: shrunk(wire.tags),
        name: wire.name.unwrap_or_default(),
        quota: Quota::bytes(wire.quota),
        access: match wire.active {
            0 => Access::Inactive,
            2 => Access::LoginDisabled,
            _ => Access::Active,
        },
        rate_limit: if own_limit { rate(&wire.rl) } else { RateLimit::Unlimited },
        attributes: shrunk(wire.custom_attributes.into_iter().collect()),
        used: Quota::bytes(wire.quota_used),
        messages: wire.messages,
        last_logins: [time(wire.last_imap_login), time(wire.last_smtp_login), time(wire.last_pop3_login)],
    }
}

/// Without room for more: a list of one entry is made with room for four.
fn shrunk<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}

pub(super) fn alias_have(catch: Catch, wire: WireAlias) -> AliasHave {
    let goto: BTreeSet<String> =
        wire.goto.split(',').map(|to| to.trim().to_lowercase()).filter(|to| !to.is_empty()).collect();
    AliasHave {
        id: wire.id,
        catch,
        goto: goto.into_iter().collect(),
        active: wire.active != 0,
        visible_in_sogo: wire.sogo_visible != 0,
        sender_allowed: wire.sender_allowed.is_none_or(|value| value == 1 || value == "1" || value == true),
        public_comment: wire.public_comment.unwrap_or_default(),
        private_comment: wire.private_comment.unwrap_or_default(),
    }
}

pub(super) fn filter(wire: WireFilter) -> Filter {
    Filter { id: wire.id, active: wire.active == 1, script: wire.script_data, description: wire.script_desc }
}

/// `false`, or an object with a value and a frame.
fn rate(value: &Value) -> RateLimit {
    let Ok(rate) = WireRate::deserialize_value(value) else { return RateLimit::Unlimited };
    let per = match rate.frame.as_str() {
        "s" => Per::Second,
        "m" => Per::Minute,
        "h" => Per::Hour,
        _ => Per::Day,
    };
    match count(rate.value) {
        0 => RateLimit::Unlimited,
        messages => RateLimit::Limit { messages, per },
    }
}

impl WireRate {
    fn deserialize_value(value: &Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(value.clone())
    }
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_limit_of_the_domain_is_not_the_mailboxs_own() {
        let wire = |scope: &str| {
            serde_json::from_value::<WireMailbox>(json!({
                "username": "a@e.com", "active": 1, "quota": 1_048_576, "percent_in_use": "- ",
                "rl": {"value": "5", "frame": "h"}, "rl_scope": scope, "custom_attributes": []
            }))
            .unwrap()
        };
        let address = Address::parse("a@e.com").unwrap();
        let own = RateLimit::Limit { messages: 5, per: Per::Hour };
        assert_eq!(mailbox_have(address.clone(), wire("mailbox")).rate_limit, own);
        assert_eq!(mailbox_have(address, wire("domain")).rate_limit, RateLimit::Unlimited);
    }

    #[test]
    fn a_record_cut_at_255_bytes_is_put_together_again() {
        assert_eq!(unsplit(r#""v=DKIM1;k=rsa;p=AB" "CD""#), "v=DKIM1;k=rsa;p=ABCD");
        assert_eq!(unsplit("v=DKIM1;p=A"), "v=DKIM1;p=A");
    }

    #[test]
    fn goto_lists_are_sorted_and_lower_case() {
        let wire = serde_json::from_value::<WireAlias>(json!({
            "id": 7, "address": "s@e.com", "goto": "Z@e.com,a@e.com", "active": 1, "private_comment": null
        }))
        .unwrap();
        let goto = alias_have(Catch::parse("s@e.com").unwrap(), wire).goto;
        assert_eq!(goto, ["a@e.com", "z@e.com"].map(String::from).into());
    }

    #[test]
    fn numbers_come_in_every_form() {
        let wire = serde_json::from_value::<WireDomain>(json!({
            "domain_name": "e.com", "active": "1", "max_num_mboxes_for_domain": "5", "max_num_aliases_for_domain": 1,
            "def_quota_for_mbox": 1, "max_quota_for_mbox": 1, "max_quota_for_domain": 1, "msgs_total": "17", "rl": false
        }))
        .unwrap();
        let have = domain_have(DomainName::parse("e.com").unwrap(), wire);
        assert!(have.active && have.limits.mailboxes == 5 && have.messages == 17 && have.tags.is_empty());
    }
}
