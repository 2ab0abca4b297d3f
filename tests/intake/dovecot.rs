//! A Dovecot with IMAP, LMTP and Sieve as Mailcow has them, whose mailboxes and scripts a test sets.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ground::{DovecotConfig, Lmtp};

const PROGRAMS: [&str; 3] = ["/usr/lib/dovecot/imap", "/usr/lib/dovecot/lmtp", "/usr/bin/sievec"];

/// Whether Dovecot is there; reports when it is not.
pub(crate) fn is_there() -> bool {
    let missing = PROGRAMS.iter().find(|program| !Path::new(program).exists());
    if let Some(missing) = missing {
        assert!(std::env::var_os("CI").is_none(), "{missing} is missing: run `make sieve`");
        println!("skipped: {missing} is missing; install dovecot-imapd, dovecot-lmtpd and dovecot-sieve");
    }
    missing.is_none()
}

/// A running server.
pub(crate) struct Dovecot {
    server: ground::Dovecot,
    /// Port of IMAP without TLS.
    pub(crate) port: u16,
    /// Port of IMAP with TLS.
    pub(crate) tls_port: u16,
    /// The certificate's authority, PEM.
    pub(crate) ca: String,
}

impl Dovecot {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let folder = ground::Dovecot::folder(&["mail", "scripts"]).unwrap();
        folder.write("users", "").unwrap();
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        folder.write("cert.pem", certified.cert.pem()).unwrap();
        folder.write("key.pem", certified.signing_key.serialize_pem()).unwrap();
        let (port, tls_port) = (free_port(), free_port());
        let home = folder.path().display().to_string();
        let config = DovecotConfig {
            protocols: "imap lmtp",
            mail_location: &format!("maildir:{home}/mail/%u/Maildir"),
            home: &format!("{home}/mail/%u"),
            more: &config(&home, port, tls_port),
        };
        let server = ground::Dovecot::start(folder, config).unwrap();
        let server = Self { server, port, tls_port, ca: certified.cert.pem() };
        server.wait();
        server
    }

    fn wait(&self) {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(since.elapsed() < Duration::from_secs(30), "{}", self.server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends all processes of the server at once, without a word to anybody, and starts it again.
    pub(crate) fn crash(&mut self) {
        self.server.crash().unwrap();
        self.wait();
    }

    /// A session of LMTP.
    pub(crate) fn lmtp(&self) -> Lmtp {
        Lmtp::open(&self.server).unwrap()
    }

    /// Sets the password of a mailbox; `None` removes the mailbox.
    pub(crate) fn set_password(&self, user: &str, password: Option<&str>) {
        let path = self.server.path().join("users");
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with(&format!("{user}:"))).map(str::to_owned).collect();
        lines.extend(password.map(|password| format!("{user}:{{PLAIN}}{password}::::::")));
        let new = self.server.path().join("users.new");
        fs::write(&new, lines.join("\n") + "\n").unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Sets the script that sorts a mailbox's mail.
    pub(crate) fn set_script(&self, user: &str, script: &str) {
        fs::write(self.server.path().join(format!("scripts/{user}.sieve")), script).unwrap();
    }

    /// A mailbox whose mail is copied to a queue folder.
    pub(crate) fn add_mailbox(&self, user: &str, folders: &[&str]) {
        self.set_password(user, Some("secret"));
        let actions: Vec<String> =
            folders.iter().map(|folder| format!("fileinto :copy :create \"{folder}\";\n")).collect();
        self.set_script(user, &format!("require [\"fileinto\", \"copy\", \"mailbox\"];\n{}", actions.concat()));
    }

    /// Where the mail of a mailbox lies.
    pub(crate) fn maildir(&self, user: &str) -> PathBuf {
        self.server.path().join("mail").join(user).join("Maildir")
    }

    /// Delivers a message by LMTP to each recipient.
    pub(crate) fn deliver(&self, from: &str, to: &[&str], message: &[u8]) {
        self.server.deliver(from, to, message).unwrap();
    }
}

pub(crate) fn free_port() -> u16 {
    ground::free_port().unwrap()
}

fn config(home: &str, port: u16, tls_port: u16) -> String {
    format!(
        "ssl = yes
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
default_process_limit = 2000
default_client_limit = 4000
mail_plugins = quota listescape
mail_max_userip_connections = 500
mail_fsync = never
passdb {{
  driver = passwd-file
  args = username_format=%u {home}/users
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
protocol imap {{
  mail_max_userip_connections = 500
  mail_plugins = quota listescape imap_quota
}}
protocol lmtp {{
  mail_plugins = quota listescape sieve
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=0
  sieve = file:{home}/scripts/%u.sieve
  sieve_max_redirects = 100
  sieve_max_actions = 101
}}"
    )
}
