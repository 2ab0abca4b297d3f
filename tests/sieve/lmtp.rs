//! Mailcow's whole way of a message into a mailbox: a Dovecot of its own, LMTP, and the chain of scripts.
//!
//! Mailcow's global scripts are written anew here from what they do; `chain.rs` holds them to what was recorded.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use ground::DovecotConfig;

use super::dovecot::{Envelope, sent};

const LMTP: &str = "/usr/lib/dovecot/lmtp";

/// Before the prefilter: mail of a messenger goes its own way, past every rule.
const BEFORE: &str = r#"require ["fileinto", "mailbox"];
if header :contains "Chat-Version" ["1.0"] {
  fileinto :create "DeltaChat";
}
"#;

/// After the postfilter: spam, tags, and what came a moment ago.
const AFTER: &str = r#"require ["fileinto", "mailbox", "variables", "duplicate"];
if header :contains "X-Spam-Flag" "YES" {
  fileinto :create "Junk";
} elsif header :matches "X-Moo-Tag" "YES" {
  fileinto :create "INBOX/Tag";
}
if duplicate {
  discard;
}
"#;

/// The scripts of a mailbox.
#[derive(Clone, Copy, Default)]
pub(crate) struct Chain<'a> {
    /// Mailcow's prefilter.
    pub(crate) before: Option<&'a str>,
    /// The person's own.
    pub(crate) personal: Option<&'a str>,
    /// Mailcow's postfilter.
    pub(crate) after: Option<&'a str>,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Messages by folder.
    pub(crate) folders: BTreeMap<String, usize>,
    /// Where it was sent on to, sorted.
    pub(crate) forwards: Vec<String>,
}

/// Whether LMTP is there; reports when it is not.
pub(crate) fn is_there() -> bool {
    let found = super::dovecot::is_there() && Path::new(LMTP).exists();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "install dovecot-lmtpd");
        println!("skipped: install dovecot-lmtpd");
    }
    found
}

/// A running server; it ends with the value.
pub(crate) struct Server {
    server: ground::Dovecot,
    mailboxes: usize,
}

impl Server {
    /// Starts one that looks for mailboxes as they come.
    pub(crate) fn start() -> Self {
        let folder = ground::Dovecot::folder(&[]).unwrap();
        let home = folder.path().display().to_string();
        for (name, script) in [("global_before.sieve", BEFORE), ("global_after.sieve", AFTER)] {
            let path = folder.write(name, script).unwrap();
            assert!(Command::new("sievec").arg(path).status().unwrap().success());
        }
        let sendmail = format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> {home}/sent\ncat > /dev/null\n");
        let sendmail = folder.write("sendmail", sendmail).unwrap();
        fs::set_permissions(&sendmail, Permissions::from_mode(0o755)).unwrap();
        let config = DovecotConfig {
            protocols: "lmtp",
            mail_location: &format!("maildir:{home}/current/Maildir"),
            home: &format!("{home}/current"),
            more: &config(&home),
        };
        Self { server: ground::Dovecot::start(folder, config).unwrap(), mailboxes: 0 }
    }

    /// Delivers a message to a mailbox that nothing was delivered to before.
    pub(crate) fn deliver(&mut self, chain: Chain<'_>, envelope: &Envelope<'_>, message: &[u8]) -> Arrived {
        self.mailboxes += 1;
        let home = self.server.path().display().to_string();
        // All scripts and folders are named by a number that the configuration reads from a link.
        let place = format!("{home}/m{}", self.mailboxes);
        for (name, script) in [("before", chain.before), ("personal", chain.personal), ("after", chain.after)] {
            fs::create_dir_all(&place).unwrap();
            if let Some(script) = script {
                fs::write(format!("{place}/{name}.sieve"), script).unwrap();
            }
        }
        fs::set_permissions(&place, Permissions::from_mode(0o777)).unwrap();
        let link = format!("{home}/current");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&place, &link).unwrap();
        let _ = fs::remove_file(format!("{home}/sent"));
        let delivered = self.server.deliver(envelope.from, &[envelope.to], message);
        assert!(delivered.is_ok(), "{delivered:?}\n{}", self.server.log());
        Arrived { folders: folders(Path::new(&place)), forwards: sent(&self.server.path().join("sent")) }
    }
}

/// Messages by folder, as IMAP names them.
fn folders(place: &Path) -> BTreeMap<String, usize> {
    let mail = place.join("Maildir");
    let count = |folder: &Path| {
        let of = |part: &str| fs::read_dir(folder.join(part)).map_or(0, Iterator::count);
        of("new") + of("cur")
    };
    let named = fs::read_dir(&mail).into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?.strip_prefix('.')?.replace('.', "/");
        Some((name, count(&path)))
    });
    named.chain([("INBOX".to_owned(), count(&mail))]).filter(|(_, count)| *count > 0).collect()
}

/// What Mailcow sets, in a folder of our own.
fn config(home: &str) -> String {
    format!(
        "sendmail_path = {home}/sendmail
ssl = no
passdb {{
  driver = static
  args = nopassword=y
}}
lmtp_save_to_detail_mailbox = no
{}",
        chain(home)
    )
}

/// The scripts and limits as Mailcow has them.
fn chain(home: &str) -> String {
    format!(
        "protocol lmtp {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:{home}/current/personal.sieve
  sieve_before = {home}/global_before.sieve
  sieve_before2 = {home}/current/before.sieve
  sieve_after = {home}/current/after.sieve
  sieve_after2 = {home}/global_after.sieve
  sieve_extensions = +vacation-seconds +editheader
  sieve_max_redirects = 100
  sieve_max_actions = 101
  sieve_max_script_size = 1M
  sieve_redirect_envelope_from = recipient
  sieve_duplicate_default_period = 1m
}}
"
    )
}
