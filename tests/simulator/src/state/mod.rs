//! Everything the simulated server remembers. Fields are public, so that a test can change any of
//! them behind the API's back, as a person in Mailcow's UI would.

mod access;
mod extras;
mod mail;
mod more;
mod quarantine;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use access::{Access, ApiKey};
pub use extras::{FilterKind, Resource, SieveFilter, TimedAlias};
pub use mail::{Alias, AliasDomain, Attributes, Domain, Mailbox, RateLimit};
pub(crate) use mail::{MAILCOW, SWITCHES};
pub(crate) use more::{ACLS, DOMAIN_ADMIN_ACLS, PROTOCOLS};
pub use more::{AppPassword, AppSecret, Backend, DkimKey, PasswordPolicy, SaslLogin, Template};
pub use quarantine::{Postfix, QuarantineItem, Release, ReleaseFormat, Rspamd};

pub(crate) use access::Sessions;

use crate::netfilter::Netfilter;
use crate::php;
use crate::topics::tables::Tables;

/// The state of one simulated Mailcow.
#[derive(Default)]
pub struct State {
    /// `MAILCOW_HOSTNAME`, which no domain may have as its name.
    pub hostname: String,
    /// API keys.
    pub api_keys: Vec<ApiKey>,
    /// Domains by upper-case name; use [`State::domain`].
    pub domains: BTreeMap<String, Domain>,
    /// Alias domains by upper-case name; use [`State::alias_domain`].
    pub alias_domains: BTreeMap<String, AliasDomain>,
    /// Mailboxes by upper-case address; use [`State::mailbox`].
    pub mailboxes: BTreeMap<String, Mailbox>,
    /// Aliases by id, among them the hidden one of each mailbox (address = goto).
    pub aliases: BTreeMap<i64, Alias>,
    /// The id the next alias or mailbox takes.
    pub next_alias_id: i64,
    /// Rate limits by the name as it was sent: case matters.
    pub rate_limits: BTreeMap<String, RateLimit>,
    /// DKIM keys by domain; they outlive it.
    pub dkim: BTreeMap<String, DkimKey>,
    /// Public keys (base64 of their DER form) that new DKIM keys take first, before random ones.
    pub dkim_pool: VecDeque<String>,
    /// Sieve filters by id.
    pub filters: BTreeMap<i64, SieveFilter>,
    /// The id the next filter takes.
    pub next_filter_id: i64,
    /// The two files of global filters: before and after the user's.
    pub global_filters: [String; 2],
    /// App passwords by id.
    pub app_passwords: BTreeMap<i64, AppPassword>,
    /// The id the next app password takes.
    pub next_app_password_id: i64,
    /// Quarantined mails by id.
    pub quarantine: BTreeMap<i64, QuarantineItem>,
    /// The id the next quarantined mail takes.
    pub next_quarantine_id: i64,
    /// What takes part in the release of a quarantined mail.
    pub release: Release,
    /// Templates of domains and mailboxes by id.
    pub templates: BTreeMap<i64, Template>,
    /// The id the next template takes.
    pub next_template_id: i64,
    /// Resources (rooms and things) by address.
    pub resources: BTreeMap<String, Resource>,
    /// Addresses that new time-limited aliases take first, before made-up ones.
    pub timed_address_pool: VecDeque<String>,
    /// Time-limited aliases by address.
    pub timed_aliases: BTreeMap<String, TimedAlias>,
    /// Domain administrators: name and domains.
    pub domain_admins: BTreeMap<String, Vec<String>>,
    /// What each domain administrator may do in the UI.
    pub domain_admin_acls: BTreeMap<String, BTreeSet<String>>,
    /// The settings of the identity provider as its table holds them; `authsource` says which kind it is.
    /// Empty when there is none.
    pub identity_provider: BTreeMap<String, String>,
    /// Logins as the mail services logged them.
    pub logins: Vec<SaslLogin>,
    /// What a password must look like.
    pub password_policy: PasswordPolicy,
    /// What shuts addresses out that fail to authenticate; `None` on a server without it.
    pub netfilter: Option<Netfilter>,
    /// Which part behind the API is down or failing.
    pub backend: Backend,
    pub(crate) sessions: Sessions,
    pub(crate) tables: Tables,
}

impl State {
    /// A server as it is just after its installation.
    pub fn fresh() -> Self {
        let templates = [Template::default_domain(), Template::default_mailbox()];
        Self {
            hostname: "mail.mailcow.test".to_owned(),
            next_alias_id: 1,
            next_filter_id: 1,
            next_app_password_id: 1,
            next_quarantine_id: 1,
            netfilter: Some(Netfilter::default()),
            templates: templates.into_iter().map(|t| (t.id, t)).collect(),
            next_template_id: 3,
            ..Self::default()
        }
    }

    /// The domain of that name, whatever the case.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.get(&php::collated(name))
    }

    /// The alias domain of that name, whatever the case.
    pub fn alias_domain(&self, name: &str) -> Option<&AliasDomain> {
        self.alias_domains.get(&php::collated(name))
    }

    /// The mailbox of that address, whatever the case.
    pub fn mailbox(&self, address: &str) -> Option<&Mailbox> {
        self.mailboxes.get(&php::collated(address))
    }

    /// The same, to change it.
    pub fn mailbox_mut(&mut self, address: &str) -> Option<&mut Mailbox> {
        self.mailboxes.get_mut(&php::collated(address))
    }

    /// The same, to change it.
    pub fn domain_mut(&mut self, name: &str) -> Option<&mut Domain> {
        self.domains.get_mut(&php::collated(name))
    }

    /// The alias of that address, whatever the case; hidden rows of mailboxes do not count.
    pub fn alias(&self, address: &str) -> Option<&Alias> {
        self.aliases.values().find(|a| a.address.eq_ignore_ascii_case(address) && !a.is_own_row())
    }

    /// Whether a domain or an alias domain of that name exists.
    pub fn knows_domain(&self, name: &str) -> bool {
        self.domain(name).is_some() || self.alias_domain(name).is_some()
    }

    /// Whether a mailbox can be reached: it and its domain exist, and it is not half deleted.
    pub fn has_mailbox(&self, address: &str) -> bool {
        self.mailbox(address).is_some_and(|m| !m.half_deleted && self.domain(&m.domain).is_some())
    }

    /// The mailboxes whose row names that domain, half-deleted ones included.
    pub fn mailboxes_of<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a Mailbox> {
        self.mailboxes.values().filter(move |m| m.domain == domain)
    }

    pub(crate) fn take_alias_id(&mut self) -> i64 {
        self.next_alias_id += 1;
        self.next_alias_id - 1
    }
}
