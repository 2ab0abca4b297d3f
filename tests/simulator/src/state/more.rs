//! DKIM keys, app passwords, templates and the parts behind the API.

use std::time::Duration;

use crate::json::{Json, list, obj};

/// The public half of a DKIM key; there is no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// The selector.
    pub selector: String,
    /// The public key, base64 of its DER form.
    pub pubkey: String,
}

/// A password for one application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    /// Its id.
    pub id: i64,
    /// Its name, escaped for HTML as Mailcow keeps it. It is shown escaped once more.
    pub name: String,
    /// The mailbox.
    pub mailbox: String,
    /// The domain of the mailbox.
    pub domain: String,
    /// A made-up hash.
    pub hash: String,
    /// The password, for the password check of the mail services.
    pub secret: AppSecret,
    /// Protocols it opens: `imap_access` and so on.
    pub protocols: Vec<String>,
    /// 1 when it is active.
    pub active: i64,
    /// When it was created.
    pub created: String,
    /// When it last changed.
    pub modified: Option<String>,
}

/// The password itself, which no answer and no `Debug` form shows.
#[derive(Clone, PartialEq, Eq)]
pub struct AppSecret(pub(crate) String);

impl std::fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppSecret")
    }
}

/// Defaults for new domains or mailboxes.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `domain` or `mailbox`.
    pub kind: &'static str,
    /// Its attributes as shown; sizes in bytes.
    pub attributes: Json,
    /// When it was created.
    pub created: String,
    /// When it last changed.
    pub modified: Option<String>,
}

/// What a mailbox's owner may change.
pub(crate) const ACLS: [&str; 15] = [
    "spam_alias",
    "tls_policy",
    "spam_score",
    "spam_policy",
    "delimiter_action",
    "syncjobs",
    "eas_reset",
    "sogo_profile_reset",
    "pushover",
    "quarantine",
    "quarantine_attachments",
    "quarantine_notification",
    "quarantine_category",
    "app_passwds",
    "pw_reset",
];

/// What a domain administrator may do, and whether a new one may.
pub(crate) const DOMAIN_ADMIN_ACLS: [(&str, bool); 18] = [
    ("syncjobs", true),
    ("quarantine", true),
    ("login_as", true),
    ("sogo_access", true),
    ("app_passwds", true),
    ("bcc_maps", true),
    ("pushover", false),
    ("filters", true),
    ("ratelimit", true),
    ("spam_policy", true),
    ("extend_sender_acl", false),
    ("unlimited_quota", false),
    ("protocol_access", true),
    ("smtp_ip_access", true),
    ("alias_domains", false),
    ("mailbox_relayhost", true),
    ("domain_relayhost", true),
    ("domain_desc", false),
];

const GIB: i64 = 1 << 30;

impl Template {
    pub(crate) fn default_domain() -> Self {
        let attributes = obj! {
            "tags" => list![],
            "max_num_aliases_for_domain" => 400,
            "max_num_mboxes_for_domain" => 10,
            "def_quota_for_mbox" => 3 * GIB,
            "max_quota_for_mbox" => 10 * GIB,
            "max_quota_for_domain" => 10 * GIB,
            "rl_frame" => "s",
            "rl_value" => "",
            "active" => 1,
            "gal" => 1,
            "backupmx" => 0,
            "relay_all_recipients" => 0,
            "relay_unknown_only" => 0,
            "dkim_selector" => "dkim",
            "key_size" => 2048,
        };
        Self::shipped(1, "domain", attributes)
    }

    pub(crate) fn default_mailbox() -> Self {
        let mut attributes = obj! {
            "tags" => list![],
            "quota" => 0,
            "quarantine_notification" => "hourly",
            "quarantine_category" => "reject",
            "rl_frame" => "s",
            "rl_value" => "",
            "force_pw_update" => 0,
            "force_tfa" => 0,
            "sogo_access" => 1,
            "active" => 1,
            "tls_enforce_in" => 0,
            "tls_enforce_out" => 0,
        };
        for protocol in PROTOCOLS {
            attributes.set(&format!("{protocol}_access"), 1);
        }
        for acl in ACLS.iter().filter(|acl| **acl != "pw_reset") {
            let off = matches!(*acl, "syncjobs" | "sogo_profile_reset");
            attributes.set(&format!("acl_{acl}"), i64::from(!off));
        }
        Self::shipped(2, "mailbox", attributes)
    }

    fn shipped(id: i64, kind: &'static str, attributes: Json) -> Self {
        Self { id, name: "Default".to_owned(), kind, attributes, created: crate::clock::now(), modified: None }
    }
}

/// The protocols of `protocol_access`.
pub(crate) const PROTOCOLS: [&str; 6] = ["imap", "pop3", "smtp", "sieve", "eas", "dav"];

/// What a new password must have; Mailcow keeps these as strings.
#[expect(clippy::struct_excessive_bools, reason = "Mailcow has these four switches")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Least number of characters.
    pub length: usize,
    /// Whether it needs a letter.
    pub chars: bool,
    /// Whether it needs a character that is neither letter nor digit.
    pub special_chars: bool,
    /// Whether it needs both cases.
    pub lowerupper: bool,
    /// Whether it needs a digit.
    pub numbers: bool,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { length: 6, chars: false, special_chars: false, lowerupper: false, numbers: false }
    }
}

/// How the parts behind the API are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Backend {
    /// All is well.
    #[default]
    Up,
    /// dockerapi answers, but every command fails.
    DockerapiFails,
    /// dockerapi takes that long for a command.
    DockerapiSlow(Duration),
    /// dockerapi cannot be reached: every request fails.
    DockerapiDown,
    /// Redis cannot be reached: every request fails.
    RedisDown,
    /// The database cannot be reached: every request fails.
    DatabaseDown,
    /// nginx has nobody behind it.
    PhpDown,
}

/// One login as the mail services logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslLogin {
    /// The mailbox.
    pub username: String,
    /// `imap`, `smtp` or `pop3`.
    pub service: String,
    /// The address it came from.
    pub address: String,
    /// When, in seconds since 1970.
    pub at: i64,
}
