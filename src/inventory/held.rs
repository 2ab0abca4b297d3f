//! How an entry of Mailcow is held in memory, and what it is searched by.

use std::sync::LazyLock;

use crate::crd::Protocol;
use crate::hash::hashed;
use crate::mail::{
    Access, Address, AliasHave, Catch, DkimKey, DomainHave, DomainName, Limits, Login, MailboxHave, Quota, RateLimit,
    Relay, Tls,
};
use crate::packed::{Packable, Packed};

/// An entry on Mailcow.
pub(super) trait Entry: Packable + Clone {
    /// A hash of all but its figures, such as the amount of mail.
    fn settings(&self) -> u64;

    /// The keys by which it is searched.
    fn keys(&self) -> Keys {
        Keys::default()
    }
}

/// What an entry can be searched by.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Key<'a> {
    /// An address that an alias forwards to.
    Target(&'a str),
    /// An address that a mailbox sends as.
    Sender(&'a str),
    /// The local part without the detail after `+` (RFC 5233), in lower case.
    Base(&'a str),
    /// The owner of a mailbox.
    Owner(&'a str),
}

/// Keys of an entry: two bits of 64 for each (a Bloom filter).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Keys(u64);

impl From<Key<'_>> for Keys {
    fn from(key: Key<'_>) -> Self {
        let hash = hashed(&key);
        Self(1 << (hash % 64) | 1 << (hash / 64 % 64))
    }
}

impl<'a> FromIterator<Key<'a>> for Keys {
    fn from_iter<I: IntoIterator<Item = Key<'a>>>(keys: I) -> Self {
        Self(keys.into_iter().fold(0, |all, key| all | Self::from(key).0))
    }
}

/// A held entry: packed, with its keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held<V> {
    keys: Keys,
    settings: u64,
    packed: Packed<V>,
}

impl<V: Entry> Held<V> {
    /// Holds an entry.
    pub(super) fn of(entry: &V) -> Self {
        Self { keys: entry.keys(), settings: entry.settings(), packed: Packed::pack(entry) }
    }

    /// The entry.
    pub(super) fn entry(&self) -> V {
        self.packed.unpack()
    }

    /// Whether it may have all of these keys.
    pub(super) fn may_have(&self, keys: Keys) -> bool {
        self.keys.0 & keys.0 == keys.0
    }

    /// Whether both differ only in figures.
    pub(super) fn same_settings(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

/// The key of an address with a detail after `+`.
fn base(address: &Address) -> Option<Key<'_>> {
    address.local().split_once('+').map(|(base, _)| Key::Base(base))
}

impl Entry for MailboxHave {
    fn settings(&self) -> u64 {
        hashed(&Self { used: Quota::default(), messages: 0, last_logins: [0; 3], ..self.clone() })
    }

    fn keys(&self) -> Keys {
        let mark = self.mark();
        let senders = self.sender_acl.iter().flatten().map(|sender| Key::Sender(sender));
        senders.chain(mark.as_ref().map(|mark| Key::Owner(mark.owner()))).chain(base(&self.address)).collect()
    }
}

impl Entry for AliasHave {
    fn settings(&self) -> u64 {
        hashed(self)
    }

    fn keys(&self) -> Keys {
        let own = match &self.catch {
            Catch::One(address) => base(address),
            Catch::All(_) => None,
        };
        self.goto.iter().map(|to| Key::Target(to)).chain(own).collect()
    }
}

impl Entry for DomainHave {
    fn settings(&self) -> u64 {
        let none = Quota::default();
        hashed(&Self { mailboxes: 0, aliases: 0, quota_left: none, used: none, messages: 0, ..self.clone() })
    }
}

impl Entry for DkimKey {
    fn settings(&self) -> u64 {
        hashed(self)
    }
}

/// Values as they are in most cases, as JSON.
fn json(typical: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(typical).unwrap_or_default()
}

/// A mark as long as most.
const MARK: &str = "mailcow-operator/00000000/team/person/00000000-0000-0000-0000-000000000000";

impl Packable for MailboxHave {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let Ok(address) = Address::parse("person@example.com") else { return Vec::new() };
            let protocols = [Protocol::Imap, Protocol::Pop3, Protocol::Smtp, Protocol::Sieve];
            json(&MailboxHave {
                address,
                name: "A Person".to_owned(),
                quota: Quota::gib(1),
                access: Access::Active,
                rate_limit: RateLimit::Unlimited,
                protocols: protocols.into(),
                hidden_protocols: [].into(),
                tls: Tls { incoming: false, outgoing: false },
                force_password_change: false,
                login: Login::Mailcow,
                sender_acl: Some([].into()),
                tags: vec![MARK.to_owned()],
                attributes: vec![(MailboxHave::MARK.to_owned(), MARK.to_owned())],
                used: Quota::default(),
                messages: 0,
                last_logins: [0; 3],
            })
        });
        &TYPICAL
    }
}

impl Packable for AliasHave {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let Ok(catch) = Catch::parse("person@example.com") else { return Vec::new() };
            json(&AliasHave {
                id: 1,
                catch,
                goto: [String::from("person@example.com")].into(),
                active: true,
                visible_in_sogo: true,
                sender_allowed: true,
                public_comment: String::new(),
                private_comment: MARK.to_owned(),
            })
        });
        &TYPICAL
    }
}

impl Packable for DomainHave {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let Ok(name) = DomainName::parse("example.com") else { return Vec::new() };
            json(&DomainHave {
                name,
                description: "example.com".to_owned(),
                active: true,
                limits: Limits::default(),
                rate_limit: RateLimit::Unlimited,
                address_list: true,
                relay: Relay::default(),
                tags: vec![MARK.to_owned()],
                dkim: None,
                mailboxes: 0,
                aliases: 0,
                quota_left: Quota::default(),
                used: Quota::default(),
                messages: 0,
            })
        });
        &TYPICAL
    }
}

impl Packable for DkimKey {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
            json(&DkimKey::of_record(
                "dkim",
                2048,
                "v=DKIM1;k=rsa;t=s;s=email;p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA",
            ))
        });
        &TYPICAL
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hash;

    use super::*;
    use crate::inventory::page::Page;

    const MARK: &str = "mailcow-operator/1b4e28ba/team-blue/person-0000/1b4e28ba-2fa1-11d2-883f-0016d3cca427";

    fn mailbox(n: usize) -> MailboxHave {
        let mut mailbox: MailboxHave = serde_json::from_slice(MailboxHave::typical()).unwrap();
        mailbox.address = Address::parse(&format!("person-{n:04}@blue.example.com")).unwrap();
        mailbox.attributes[0].1 = MARK.replace("0000", &format!("{n:04}"));
        mailbox.tags = vec![mailbox.attributes[0].1.clone()];
        mailbox
    }

    fn alias(n: usize) -> AliasHave {
        let mut alias: AliasHave = serde_json::from_slice(AliasHave::typical()).unwrap();
        alias.catch = Catch::parse(&format!("alias-{n:04}@blue.example.com")).unwrap();
        alias.goto = [format!("person-{n:04}@blue.example.com")].into();
        alias.private_comment = MARK.replace("0000", &format!("{n:04}"));
        alias.id = n as u64;
        alias
    }

    /// The heap of a page with a list, in bytes for each entry.
    fn heap_per_entry<K: Clone + Eq + Hash, V: Entry>(entry: impl Fn(usize) -> (K, V)) -> i64 {
        // As many as a map of 2,048 places takes.
        const ENTRIES: usize = 1792;
        let page = Page::of(3);
        page.count_ours(ENTRIES);
        let measured = allocation_counter::measure(|| {
            page.fill((0..ENTRIES).map(entry).map(|(key, entry)| (key, Held::of(&entry))).collect());
        });
        measured.bytes_current / i64::try_from(ENTRIES).unwrap()
    }

    #[test]
    fn a_cached_entry_takes_little_heap() {
        let domain = DomainName::parse("blue.example.com").unwrap();
        let mailbox = heap_per_entry(|n| {
            let mailbox = mailbox(n);
            (mailbox.address.clone().sharing(&domain), mailbox)
        });
        let alias = heap_per_entry(|n| {
            let alias = alias(n);
            (alias.catch.clone().sharing(&domain), alias)
        });
        assert!(mailbox <= 230 && alias <= 230, "bytes of heap: {mailbox} for a mailbox, {alias} for an alias");
    }

    #[test]
    fn an_entry_is_found_by_each_of_its_keys() {
        let mut sender = mailbox(1);
        sender.address = Address::parse("ada+news@e.com").unwrap();
        sender.sender_acl = Some(["team@e.com".to_owned(), "*".to_owned()].into());
        let owner = sender.mark().unwrap();
        let held = Held::of(&sender);
        for key in [Key::Sender("team@e.com"), Key::Sender("*"), Key::Base("ada"), Key::Owner(owner.owner())] {
            assert!(held.may_have(key.into()), "{key:?}");
        }
        assert!(held.may_have(Keys::default()) && held.entry() == sender);
        let alias = Held::of(&alias(7));
        assert!(alias.may_have(Key::Target("person-0007@blue.example.com").into()));
        let others = (0..1000).filter(|n| alias.may_have(Key::Target(&format!("other-{n}@e.com")).into())).count();
        assert!(others < 20, "{others} of 1,000 other keys");
    }

    #[test]
    fn figures_are_no_settings() {
        let one = mailbox(1);
        let more = MailboxHave { messages: 7, ..one.clone() };
        let other = MailboxHave { name: "B".to_owned(), ..one.clone() };
        let [one, more, other] = [&one, &more, &other].map(Held::of);
        assert!(one != more && one.same_settings(&more) && !one.same_settings(&other));
    }
}
