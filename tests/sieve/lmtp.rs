//! Mailcow's whole way of a message into a mailbox: a Dovecot of its own, LMTP, and the chain of scripts.
//!
//! Mailcow's global scripts are written anew here from what they do; `chain.rs` holds them to what was recorded.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dovecot::{Envelope, Folder, sent};

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

/// Whether LMTP is there; says so when it is not.
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
    folder: Folder,
    process: Child,
    mailboxes: usize,
}

impl Server {
    /// Starts one that looks for mailboxes as they come.
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        let home = folder.path().display().to_string();
        let owner = fs::metadata("/proc/self").unwrap();
        let (uid, gid) = if owner.uid() == 0 { (65534, 65534) } else { (owner.uid(), owner.gid()) };
        let before = folder.write("global_before.sieve", BEFORE);
        let after = folder.write("global_after.sieve", AFTER);
        for script in [&before, &after] {
            assert!(Command::new("sievec").arg(script).status().unwrap().success());
        }
        let sendmail =
            folder.write("sendmail", &format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> {home}/sent\ncat > /dev/null\n"));
        fs::set_permissions(&sendmail, Permissions::from_mode(0o755)).unwrap();
        let config = folder.write("dovecot.conf", &config(&home, (uid, gid)));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(&config).stdout(Stdio::null()).stderr(log);
        let server = Self { process: command.spawn().unwrap(), folder, mailboxes: 0 };
        let since = Instant::now();
        while UnixStream::connect(server.socket()).is_err() {
            assert!(since.elapsed() < Duration::from_secs(20), "{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/lmtp")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Delivers a message to a mailbox that nothing was delivered to before.
    pub(crate) fn deliver(&mut self, chain: Chain<'_>, envelope: &Envelope<'_>, message: &[u8]) -> Arrived {
        self.mailboxes += 1;
        let home = self.folder.path().display().to_string();
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
        self.talk(envelope, message);
        Arrived { folders: folders(Path::new(&place)), forwards: sent(&self.folder.path().join("sent")) }
    }

    /// One session of LMTP; the message is taken with 250.
    fn talk(&self, envelope: &Envelope<'_>, message: &[u8]) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut expect = |code: &str| {
            let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.as_bytes().get(3) == Some(&b' ')));
            let line = line.unwrap().unwrap();
            assert!(line.starts_with(code), "{line}\n{}", self.log());
        };
        expect("220");
        for (line, code) in [
            ("LHLO test".to_owned(), "250"),
            (format!("MAIL FROM:<{}>", envelope.from), "250"),
            (format!("RCPT TO:<{}>", envelope.to), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            expect(code);
        }
        let text = message.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        for line in text {
            let dot: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
            stream.write_all(&[dot, line, b"\r\n"].concat()).unwrap();
        }
        stream.write_all(b".\r\n").unwrap();
        expect("250");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
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
fn config(home: &str, (uid, gid): (u32, u32)) -> String {
    let (user, group) = (name(uid, "/etc/passwd"), name(gid, "/etc/group"));
    format!(
        "base_dir = {home}/run
state_dir = {home}/run
log_path = /dev/stderr
sendmail_path = {home}/sendmail
ssl = no
protocols = lmtp
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_location = maildir:{home}/current/Maildir
mail_uid = {uid}
mail_gid = {gid}
postmaster_address = postmaster@acme.test
recipient_delimiter = +
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/current allow_all_users=yes
}}
passdb {{
  driver = static
  args = nopassword=y
}}
namespace inbox {{
  inbox = yes
  separator = /
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

/// The name that a file of the system gives to a number.
fn name(id: u32, file: &str) -> String {
    let (id, text) = (id.to_string(), fs::read_to_string(file).unwrap());
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id)).unwrap();
    line.split(':').next().unwrap().to_owned()
}
