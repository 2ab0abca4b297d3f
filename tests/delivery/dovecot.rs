//! A Dovecot with IMAP and LMTP whose password check is that of the simulated Mailcow, and whose prefilters are those that
//! the operator wrote there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use ground::{DovecotConfig, free_port};
use mailcow_simulator::Simulator;

/// Whether all of Dovecot that is needed is there; reports when it is not.
pub(crate) fn is_there() -> bool {
    let parts = ["/usr/lib/dovecot/lmtp", "/usr/lib/dovecot/imap-login", "/usr/lib/dovecot/checkpassword-reply"];
    let found = parts.iter().all(|part| Path::new(part).exists()) && Command::new("sievec").arg("-?").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "install dovecot-imapd, dovecot-lmtpd and dovecot-sieve");
        println!("skipped: install dovecot-imapd, dovecot-lmtpd and dovecot-sieve");
    }
    found
}

/// A running server; it ends with the value.
pub(crate) struct Dovecot {
    server: ground::Dovecot,
    /// Where IMAP is, without encryption.
    pub(crate) port: u16,
}

impl Dovecot {
    /// Starts one that asks this Mailcow for passwords.
    pub(crate) fn start(mailcow: &Simulator) -> Self {
        let folder = ground::Dovecot::folder(&["before", "mail", "home"]).unwrap();
        let port = free_port().unwrap();
        let check = folder.write("checkpassword", check_password(&mailcow.password_check_url())).unwrap();
        fs::set_permissions(&check, Permissions::from_mode(0o755)).unwrap();
        let own = folder.path().display().to_string();
        let config = DovecotConfig {
            protocols: "imap lmtp",
            mail_location: &format!("maildir:{own}/mail/%u"),
            home: &format!("{own}/home/%u"),
            more: &configuration(&own, port),
        };
        Self { server: ground::Dovecot::start(folder, config).unwrap(), port }
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    /// Takes over the active prefilters of a Mailcow, as Mailcow's own Dovecot does by its dictionary.
    pub(crate) fn take_filters(&self, mailcow: &Simulator) {
        let filters: Vec<(String, String)> = mailcow.inspect(|state| {
            let active = state.filters.values().filter(|filter| filter.active);
            active.map(|filter| (filter.username.clone(), filter.script.clone())).collect()
        });
        for (mailbox, script) in filters {
            let file = self.server.path().join("before").join(format!("{mailbox}.sieve"));
            fs::write(&file, script).unwrap();
            assert!(Command::new("sievec").arg(&file).status().unwrap().success());
        }
    }

    /// Delivers a message to a mailbox by LMTP.
    pub(crate) fn deliver(&self, to: &str, message: &str) {
        let delivered = self.server.deliver("alice@vendor.test", &[to], message.as_bytes());
        assert!(delivered.is_ok(), "{delivered:?}\n{}", self.log());
    }
}

/// Dovecot's interface for password checks by a program: user and password come on descriptor 3, and a program to go on
/// with as arguments.
fn check_password(url: &str) -> String {
    format!(
        r"#!/usr/bin/perl
use strict;
use HTTP::Tiny;
use JSON::PP;
open(my $in, '<&=', 3) or exit 111;
local $/;
my ($user, $password) = split /\0/, <$in>;
my $asked = encode_json({{username => $user, password => $password, service => 'imap'}});
my $answer = HTTP::Tiny->new(timeout => 10)->post('{url}', {{content => $asked}});
exit 111 unless $answer->{{status}} == 200;
exit 1 unless decode_json($answer->{{content}})->{{success}};
$ENV{{USER}} = $user;
exec @ARGV;
exit 111;
"
    )
}

fn configuration(home: &str, port: u16) -> String {
    format!(
        "auth_verbose = yes
ssl = no
disable_plaintext_auth = no
passdb {{
  driver = checkpassword
  args = {home}/checkpassword
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
protocol lmtp {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:{home}/home/%u/personal.sieve
  sieve_before = {home}/before/%u.sieve
  sieve_max_redirects = 100
  sieve_max_actions = 101
}}"
    )
}
