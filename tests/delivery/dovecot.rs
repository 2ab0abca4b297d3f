//! A Dovecot with IMAP and LMTP whose password check is that of the simulated Mailcow, and whose prefilters are those that
//! the operator wrote there.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ground::free_port;
use mailcow_simulator::Simulator;

/// Whether all of Dovecot that is needed is there; says so when it is not.
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
    folder: PathBuf,
    process: Child,
    /// Where IMAP is, without encryption.
    pub(crate) port: u16,
}

impl Dovecot {
    /// Starts one that asks this Mailcow for passwords.
    pub(crate) fn start(mailcow: &Simulator) -> Self {
        let folder = std::env::temp_dir().join(format!("dovecot-{:08x}", rand::random::<u32>()));
        for part in ["", "before", "mail", "home"] {
            fs::create_dir_all(folder.join(part)).unwrap();
            fs::set_permissions(folder.join(part), Permissions::from_mode(0o777)).unwrap();
        }
        let port = free_port().unwrap();
        let check = folder.join("checkpassword");
        fs::write(&check, check_password(&mailcow.password_check_url())).unwrap();
        fs::set_permissions(&check, Permissions::from_mode(0o755)).unwrap();
        let config = folder.join("dovecot.conf");
        fs::write(&config, configuration(&folder.display().to_string(), port)).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(&config).stdout(Stdio::null()).stderr(log);
        let server = Self { process: command.spawn().unwrap(), folder, port };
        let since = Instant::now();
        while UnixStream::connect(server.lmtp()).is_err() {
            assert!(since.elapsed() < Duration::from_secs(20), "{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn lmtp(&self) -> PathBuf {
        self.folder.join("run/lmtp")
    }

    /// Takes over the active prefilters of a Mailcow, as Mailcow's own Dovecot does by its dictionary.
    pub(crate) fn take_filters(&self, mailcow: &Simulator) {
        let filters: Vec<(String, String)> = mailcow.inspect(|state| {
            let active = state.filters.values().filter(|filter| filter.active);
            active.map(|filter| (filter.username.clone(), filter.script.clone())).collect()
        });
        for (mailbox, script) in filters {
            let file = self.folder.join("before").join(format!("{mailbox}.sieve"));
            fs::write(&file, script).unwrap();
            assert!(Command::new("sievec").arg(&file).status().unwrap().success());
        }
    }

    /// Delivers a message to a mailbox by LMTP.
    pub(crate) fn deliver(&self, to: &str, message: &str) {
        let mut stream = UnixStream::connect(self.lmtp()).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut expect = |code: &str| {
            let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.as_bytes().get(3) == Some(&b' ')));
            let line = line.unwrap().unwrap();
            assert!(line.starts_with(code), "{line}\n{}", self.log());
        };
        expect("220");
        for (line, code) in [
            ("LHLO test".to_owned(), "250"),
            ("MAIL FROM:<alice@vendor.test>".to_owned(), "250"),
            (format!("RCPT TO:<{to}>"), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            expect(code);
        }
        for line in message.lines() {
            let dot = if line.starts_with('.') { "." } else { "" };
            stream.write_all(format!("{dot}{line}\r\n").as_bytes()).unwrap();
        }
        stream.write_all(b".\r\n").unwrap();
        expect("250");
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
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
    let owner = fs::metadata("/proc/self").unwrap();
    let (uid, gid) = if owner.uid() == 0 { (65534, 65534) } else { (owner.uid(), owner.gid()) };
    let (user, group) = (name(uid, "/etc/passwd"), name(gid, "/etc/group"));
    format!(
        "base_dir = {home}/run
state_dir = {home}/run
log_path = /dev/stderr
auth_verbose = yes
ssl = no
disable_plaintext_auth = no
protocols = imap lmtp
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_location = maildir:{home}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
postmaster_address = postmaster@example.com
recipient_delimiter = +
auth_failure_delay = 0
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/home/%u allow_all_users=yes
}}
passdb {{
  driver = checkpassword
  args = {home}/checkpassword
}}
namespace inbox {{
  inbox = yes
  separator = /
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
service lmtp {{
  chroot =
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
protocol lmtp {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:{home}/home/%u/personal.sieve
  sieve_before = {home}/before/%u.sieve
  sieve_max_redirects = 100
  sieve_max_actions = 101
}}
"
    )
}

/// The name that a file of the system gives to a number.
fn name(id: u32, file: &str) -> String {
    let (id, text) = (id.to_string(), fs::read_to_string(file).unwrap());
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id)).unwrap();
    line.split(':').next().unwrap().to_owned()
}
