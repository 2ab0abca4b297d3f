//! Domains, mailboxes, aliases and limits.

use std::collections::BTreeSet;

use crate::json::{Json, obj};

/// A domain; sizes are in MiB, as in its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// Name in lower case and punycode.
    pub name: String,
    /// Free text.
    pub description: String,
    /// How many aliases it may have.
    pub max_aliases: i64,
    /// How many mailboxes it may have.
    pub max_mailboxes: i64,
    /// Quota of a mailbox that asks for none, MiB.
    pub default_quota: i64,
    /// Largest quota of a mailbox, MiB.
    pub max_quota: i64,
    /// Quota of all its mailboxes together, MiB.
    pub quota: i64,
    /// Id of the relay host; Mailcow does not check it.
    pub relayhost: String,
    /// 1 when this server only relays for it.
    pub backupmx: i64,
    /// 1 when it has a global address list.
    pub gal: i64,
    /// 1 when mail to any recipient is relayed.
    pub relay_all_recipients: i64,
    /// 1 when only mail to unknown recipients is relayed.
    pub relay_unknown_only: i64,
    /// 1 when it is active; any number is stored.
    pub active: i64,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// When it was created.
    pub created: String,
    /// When a field last changed.
    pub modified: Option<String>,
}

/// Another name for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasDomain {
    /// Name in lower case and punycode.
    pub name: String,
    /// The domain it stands for.
    pub target: String,
    /// 1 when it is active.
    pub active: i64,
    /// When it was created.
    pub created: String,
    /// When it last changed.
    pub modified: Option<String>,
}

/// The attributes of a mailbox; Mailcow keeps the switches as the strings "0" and "1".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Switches by name, in the order they are shown.
    pub switches: Vec<(&'static str, String)>,
    /// Id of the relay host.
    pub relayhost: String,
    /// When the password was last set.
    pub passwd_update: String,
    /// `never`, `hourly`, `daily` or `weekly`.
    pub quarantine_notification: String,
    /// `add_header`, `reject` or `all`.
    pub quarantine_category: String,
    /// Reset by every edit that does not send it.
    pub attribute_hash: String,
    /// Unknown until the first edit, null until it is set.
    pub recovery_email: Option<Option<String>>,
}

/// The switches of a mailbox in the order they are shown.
pub(crate) const SWITCHES: [&str; 11] = [
    "force_pw_update",
    "force_tfa",
    "tls_enforce_in",
    "tls_enforce_out",
    "sogo_access",
    "imap_access",
    "pop3_access",
    "smtp_access",
    "sieve_access",
    "eas_access",
    "dav_access",
];

impl Attributes {
    /// The attributes of a mailbox made from the default template.
    pub fn new(now: &str) -> Self {
        let on = |name: &str| if name.ends_with("_access") { "1" } else { "0" };
        Self {
            switches: SWITCHES.map(|name| (name, on(name).to_owned())).to_vec(),
            relayhost: "0".to_owned(),
            passwd_update: now.to_owned(),
            quarantine_notification: "hourly".to_owned(),
            quarantine_category: "reject".to_owned(),
            attribute_hash: String::new(),
            recovery_email: None,
        }
    }

    /// Sets a switch; unknown names change nothing.
    pub fn switch(&mut self, name: &str, on: i64) {
        if let Some(pair) = self.switches.iter_mut().find(|(n, _)| *n == name) {
            pair.1 = on.to_string();
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        let mut json = obj! {};
        for (name, value) in &self.switches {
            json.set(name, value);
        }
        json.set("relayhost", &self.relayhost);
        json.set("passwd_update", &self.passwd_update);
        json.set("mailbox_format", "maildir:");
        json.set("quarantine_notification", &self.quarantine_notification);
        json.set("quarantine_category", &self.quarantine_category);
        json.set("attribute_hash", &self.attribute_hash);
        if let Some(email) = &self.recovery_email {
            json.set("recovery_email", email.clone());
        }
        json
    }
}

/// A mailbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Mailbox {
    /// Its address.
    pub username: String,
    /// The part before the `@`.
    pub local_part: String,
    /// The part after the `@`.
    pub domain: String,
    /// The name of its owner.
    pub name: String,
    /// Quota in bytes; 0 is no limit.
    pub quota: i64,
    /// 0 off, 1 on, 2 receives only.
    pub active: i64,
    /// Its attributes.
    pub attributes: Attributes,
    /// Attributes of the administrator's own making.
    pub custom_attributes: Vec<(String, Json)>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Addresses it may also send from.
    pub sender_acl: Vec<String>,
    /// Addresses elsewhere it may also send from; never shown.
    pub external_senders: Vec<String>,
    /// What its owner may change; not readable through the API.
    pub acl: BTreeSet<String>,
    /// Mails in it.
    pub messages: i64,
    /// Bytes in it.
    pub quota_used: i64,
    /// Where its password is checked: `mailcow`, `ldap`, `keycloak` or `generic-oidc`.
    pub authsource: String,
    /// How often its password was set. Passwords are not kept.
    pub password_changes: u32,
    /// A deletion broke off: only this row is left, and reads show it without a name.
    pub half_deleted: bool,
    /// When it was created.
    pub created: String,
    /// When a field last changed.
    pub modified: Option<String>,
}

impl Mailbox {
    /// A mailbox as the default template makes it.
    pub fn new(local_part: &str, domain: &str, now: &str) -> Self {
        Self {
            username: format!("{local_part}@{domain}"),
            local_part: local_part.to_owned(),
            domain: domain.to_owned(),
            name: String::new(),
            quota: 0,
            active: 1,
            attributes: Attributes::new(now),
            custom_attributes: Vec::new(),
            tags: BTreeSet::new(),
            sender_acl: Vec::new(),
            external_senders: Vec::new(),
            acl: BTreeSet::new(),
            messages: 0,
            quota_used: 0,
            authsource: MAILCOW.to_owned(),
            password_changes: 1,
            half_deleted: false,
            created: now.to_owned(),
            modified: Some(now.to_owned()),
        }
    }
}

/// Mailcow itself as the place where a password is checked.
pub(crate) const MAILCOW: &str = "mailcow";

/// An alias, or the hidden row of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its id, never used again.
    pub id: i64,
    /// Its address; `@domain` for a catch-all.
    pub address: String,
    /// Where mail goes, separated by commas.
    pub goto: String,
    /// The domain of its address.
    pub domain: String,
    /// Comment shown to users.
    pub public_comment: Option<String>,
    /// Comment shown to administrators.
    pub private_comment: Option<String>,
    /// 1 when only local senders may use it.
    pub internal: i64,
    /// 1 when it is active.
    pub active: i64,
    /// 1 when `SOGo` shows it as a sender.
    pub sogo_visible: i64,
    /// 1 when its targets may send from it.
    pub sender_allowed: i64,
    /// When it was created.
    pub created: String,
    /// When it last changed.
    pub modified: Option<String>,
}

impl Alias {
    /// Whether this is the hidden row a mailbox has.
    pub fn is_own_row(&self) -> bool {
        self.address.eq_ignore_ascii_case(&self.goto)
    }

    /// Its targets.
    pub fn gotos(&self) -> impl Iterator<Item = &str> {
        self.goto.split(',').filter(|g| !g.is_empty())
    }
}

/// How many mails in which time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The number.
    pub value: i64,
    /// `s`, `m`, `h` or `d`.
    pub frame: String,
}

impl RateLimit {
    pub(crate) fn to_json(&self) -> Json {
        obj! { "value" => self.value.to_string(), "frame" => &self.frame }
    }
}
