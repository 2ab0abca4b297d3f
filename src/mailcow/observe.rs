//! What Mailcow has, as mail types: everything is normalised here and nowhere else.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use super::client::Client;
use super::error::Error;
use super::wire::{WireAlias, WireDkim, WireDomain, WireFilter, WireMailbox, WireRate};
use crate::crd::{Per, Protocol};
use crate::mail::{
    Access, Address, AliasHave, Catch, DkimKey, DomainHave, DomainName, Filter, Limits, MailboxHave, Quota, RateLimit,
    Relay, Tls,
};

/// The switch of each protocol among a mailbox's attributes.
pub(super) const PROTOCOLS: [(Protocol, &str); 4] = [
    (Protocol::Imap, "imap_access"),
    (Protocol::Pop3, "pop3_access"),
    (Protocol::Smtp, "smtp_access"),
    (Protocol::Sieve, "sieve_access"),
];

impl Client {
    /// Looks a domain up, without its DKIM key; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn domain(&self, name: &DomainName) -> Result<Option<DomainHave>, Error> {
        let found = self.one::<WireDomain>("get/domain", name.as_str()).await?;
        // An alias domain answers with its target's object (recording `05_alias/ad_get_domain_of_alias`).
        let found = found.filter(|domain| domain.domain_name == name.as_str());
        Ok(found.map(|domain| domain_have(name.clone(), domain)))
    }

    /// Every domain, without the DKIM keys.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn domains(&self) -> Result<Vec<(DomainName, DomainHave)>, Error> {
        let all: Vec<WireDomain> = self.list("get/domain", &["all"]).await?;
        let named = all.into_iter().filter_map(|wire| {
            let name = DomainName::parse(&wire.domain_name).ok()?;
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
        Ok(self.one::<WireDkim>("get/dkim", name.as_str()).await?.map(dkim_key))
    }

    /// Looks a mailbox up; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Refused`] for a half-deleted one.
    pub async fn mailbox(&self, address: &Address) -> Result<Option<MailboxHave>, Error> {
        let Some(mailbox) = self.one::<WireMailbox>("get/mailbox", &address.to_string()).await? else {
            return Ok(None);
        };
        match &mailbox.username {
            Some(_) => Ok(Some(mailbox_have(address.clone(), mailbox))),
            None => Err(Error::Refused {
                action: format!("show the mailbox {address}"),
                code: "half_deleted".to_owned(),
                message: "a deletion stopped half-way; delete it once more in Mailcow".to_owned(),
            }),
        }
    }

    /// Looks an alias up; `None` when it does not exist.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn alias(&self, catch: &Catch) -> Result<Option<AliasHave>, Error> {
        let found = match catch {
            Catch::One(address) => self.one::<WireAlias>("get/alias", &address.to_string()).await?,
            // A list is the only recorded way to a catch-all by name.
            Catch::All(domain) => {
                let all: Vec<WireAlias> = self.list("get/alias", &["all", domain.as_str()]).await?;
                all.into_iter().find(|alias| alias.address.eq_ignore_ascii_case(&catch.to_string()))
            }
        };
        Ok(found.map(|alias| alias_have(catch.clone(), alias)))
    }

    /// Every mailbox of a domain that exists. A list of an unknown domain would be that of all domains (recording
    /// `04_mailbox/list_all_unknown_domain`), which is slow, but of which nothing is taken; a half-deleted mailbox has
    /// no name to be listed by.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn mailboxes(&self, domain: &DomainName) -> Result<Vec<(Address, MailboxHave)>, Error> {
        let all: Vec<WireMailbox> = self.list("get/mailbox", &["all", domain.as_str()]).await?;
        let named = all.into_iter().filter_map(|wire| {
            let address = Address::parse(wire.username.as_deref()?).ok().filter(|a| a.domain() == domain)?;
            Some((address.clone(), mailbox_have(address, wire)))
        });
        Ok(named.collect())
    }

    /// Every alias of a domain.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn aliases(&self, domain: &DomainName) -> Result<Vec<(Catch, AliasHave)>, Error> {
        let all: Vec<WireAlias> = self.list("get/alias", &["all", domain.as_str()]).await?;
        let named = all.into_iter().filter_map(|wire| {
            let catch = Catch::parse(&wire.address).ok().filter(|catch| catch.domain() == domain)?;
            Some((catch.clone(), alias_have(catch, wire)))
        });
        Ok(named.collect())
    }

    /// The prefilters of a mailbox, by id.
    ///
    /// # Errors
    /// Any [`Error`] but a refusal.
    pub async fn prefilters(&self, mailbox: &Address) -> Result<Vec<Filter>, Error> {
        let all: Vec<WireFilter> = self.list("get/filters", &[&mailbox.to_string()]).await?;
        let of_our_type = all.into_iter().filter(|filter| filter.filter_type == "prefilter");
        Ok(of_our_type
            .map(|filter| Filter {
                id: filter.id,
                active: filter.active == 1,
                script: filter.script_data,
                description: filter.script_desc,
            })
            .collect())
    }

    /// One object; Mailcow writes `{}` (and sometimes `[]`) for one that does not exist.
    async fn one<T: DeserializeOwned>(&self, action: &'static str, name: &str) -> Result<Option<T>, Error> {
        let value = self.get(action, &[name]).await?;
        if is_nothing(&value) {
            return Ok(None);
        }
        serde_json::from_value(value).map(Some).map_err(|error| self.unexpected(action, shape(&error)))
    }

    /// A list; Mailcow writes `{}` for an empty one. It is read without a tree of all its values, which would take many
    /// times the memory of a long list.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        action: &'static str,
        parts: &[&str],
    ) -> Result<Vec<T>, Error> {
        let parse = |body: &[u8], path: &str| {
            self.not_empty(body, path)?;
            if body.trim_ascii() == b"{}" {
                return Ok(Vec::new());
            }
            serde_json::from_slice(body).map_err(|error| match error.classify() {
                Category::Data => self.unexpected(action, shape(&error)),
                Category::Io | Category::Syntax | Category::Eof => self.unexpected(path, "no JSON".to_owned()),
            })
        };
        self.read(action, parts, parse).await
    }
}

fn is_nothing(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// What is wrong with an answer's shape, without any of its values.
fn shape(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once("missing field") {
        Some((_, field)) => format!("the key{} is missing", field.split(" at line").next().unwrap_or_default()),
        None => "an answer of another shape".to_owned(),
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

fn mailbox_have(address: Address, wire: WireMailbox) -> MailboxHave {
    let own_limit = wire.rl_scope.as_deref().is_none_or(|scope| scope == "mailbox");
    let time = |seconds: u64| i64::try_from(seconds).unwrap_or_default();
    let is_on = |key: &str| wire.attributes.get(key).is_some_and(|value| value == "1");
    let protocols = PROTOCOLS.into_iter().filter(|(_, key)| is_on(key)).map(|(protocol, _)| protocol);
    let senders = wire.sender_acl.as_ref().map(|acl| acl.iter().map(|sender| sender.to_lowercase()).collect());
    MailboxHave {
        address,
        protocols: protocols.collect(),
        tls: Tls { incoming: is_on("tls_enforce_in"), outgoing: is_on("tls_enforce_out") },
        force_password_change: is_on("force_pw_update"),
        sender_acl: senders,
        tags: wire.tags,
        name: wire.name.unwrap_or_default(),
        quota: Quota::bytes(wire.quota),
        access: match wire.active {
            0 => Access::Inactive,
            2 => Access::LoginDisabled,
            _ => Access::Active,
        },
        rate_limit: if own_limit { rate(&wire.rl) } else { RateLimit::Unlimited },
        attributes: wire.custom_attributes.into_iter().collect(),
        used: Quota::bytes(wire.quota_used),
        messages: wire.messages,
        last_logins: [time(wire.last_imap_login), time(wire.last_smtp_login), time(wire.last_pop3_login)],
    }
}

fn alias_have(catch: Catch, wire: WireAlias) -> AliasHave {
    let mut goto: Vec<String> =
        wire.goto.split(',').map(|to| to.trim().to_ascii_lowercase()).filter(|to| !to.is_empty()).collect();
    goto.sort();
    AliasHave {
        id: wire.id,
        catch,
        goto,
        active: wire.active != 0,
        visible_in_sogo: wire.sogo_visible != 0,
        sender_allowed: wire.sender_allowed.is_none_or(|value| value == 1 || value == "1" || value == true),
        public_comment: wire.public_comment.unwrap_or_default(),
        private_comment: wire.private_comment.unwrap_or_default(),
    }
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
    use serde_json::json;

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
        assert_eq!(alias_have(Catch::parse("s@e.com").unwrap(), wire).goto, ["a@e.com", "z@e.com"]);
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
