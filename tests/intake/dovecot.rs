//! A Dovecot of its own: IMAP, LMTP and Sieve as Mailcow has them, in a folder that goes away with the value.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

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
    folder: PathBuf,
    process: Child,
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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("intake-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        for part in ["", "mail", "scripts", "run"] {
            fs::create_dir_all(folder.join(part)).unwrap();
            fs::set_permissions(folder.join(part), Permissions::from_mode(0o777)).unwrap();
        }
        fs::write(folder.join("users"), "").unwrap();
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), certified.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        let (port, tls_port) = (free_port(), free_port());
        fs::write(folder.join("dovecot.conf"), config(&folder, port, tls_port)).unwrap();
        let process = run(&folder);
        let server = Self { folder, process, port, tls_port, ca: certified.cert.pem() };
        server.wait();
        server
    }

    fn wait(&self) {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || UnixStream::connect(self.socket()).is_err() {
            assert!(since.elapsed() < Duration::from_secs(30), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("run/lmtp")
    }

    /// What the server wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends all processes of the server at once, without a word to anybody, and starts it again.
    pub(crate) fn crash(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.process.wait();
        let _ = fs::remove_file(self.folder.join("run/master.pid"));
        std::thread::sleep(Duration::from_millis(100));
        self.process = run(&self.folder);
        self.wait();
    }

    /// Sets the password of a mailbox; `None` removes the mailbox.
    pub(crate) fn set_password(&self, user: &str, password: Option<&str>) {
        let path = self.folder.join("users");
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with(&format!("{user}:"))).map(str::to_owned).collect();
        lines.extend(password.map(|password| format!("{user}:{{PLAIN}}{password}::::::")));
        let new = self.folder.join("users.new");
        fs::write(&new, lines.join("\n") + "\n").unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Sets the script that sorts a mailbox's mail.
    pub(crate) fn set_script(&self, user: &str, script: &str) {
        fs::write(self.folder.join(format!("scripts/{user}.sieve")), script).unwrap();
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
        self.folder.join("mail").join(user).join("Maildir")
    }

    /// Delivers a message by LMTP to each recipient.
    pub(crate) fn deliver(&self, from: &str, to: &[&str], message: &[u8]) {
        let mut lmtp = Lmtp::open(self);
        lmtp.deliver(from, to, message);
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A session of LMTP.
pub(crate) struct Lmtp {
    stream: UnixStream,
    lines: std::io::Lines<BufReader<UnixStream>>,
}

impl Lmtp {
    /// Opens one.
    pub(crate) fn open(server: &Dovecot) -> Self {
        let stream = UnixStream::connect(server.socket()).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut session = Self { stream, lines };
        session.expect("220");
        session.say("LHLO test", "250");
        session
    }

    fn expect(&mut self, code: &str) {
        let line = self.lines.find(|line| line.as_ref().is_ok_and(|line| line.as_bytes().get(3) != Some(&b'-')));
        let line = line.unwrap().unwrap();
        assert!(line.starts_with(code), "{line}");
    }

    fn say(&mut self, line: &str, code: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.expect(code);
    }

    /// Delivers a message.
    pub(crate) fn deliver(&mut self, from: &str, to: &[&str], message: &[u8]) {
        self.say(&format!("MAIL FROM:<{from}>"), "250");
        for one in to {
            self.say(&format!("RCPT TO:<{one}>"), "250");
        }
        self.say("DATA", "354");
        let text = message.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut bytes = Vec::new();
        for line in text {
            if line.starts_with(b".") {
                bytes.push(b'.');
            }
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b".\r\n");
        self.stream.write_all(&bytes).unwrap();
        for _ in to {
            self.expect("250");
        }
    }
}

fn run(folder: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("dovecot");
    command.arg("-F").arg("-c").arg(folder.join("dovecot.conf"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().unwrap()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn config(folder: &Path, port: u16, tls_port: u16) -> String {
    let owner = fs::metadata("/proc/self").unwrap();
    let (uid, gid) = if owner.uid() == 0 { (65534, 65534) } else { (owner.uid(), owner.gid()) };
    let (user, group) = (name(uid, "/etc/passwd"), name(gid, "/etc/group"));
    let home = folder.display();
    format!(
        "base_dir = {home}/run
state_dir = {home}/run
log_path = /dev/stderr
ssl = yes
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
protocols = imap lmtp
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_process_limit = 2000
default_client_limit = 4000
first_valid_uid = 1
mail_location = maildir:{home}/mail/%u/Maildir
mail_uid = {uid}
mail_gid = {gid}
mail_plugins = quota listescape
mail_max_userip_connections = 500
auth_failure_delay = 0
postmaster_address = postmaster@acme.test
recipient_delimiter = +
mail_fsync = never
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/mail/%u allow_all_users=yes
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {home}/users
}}
namespace inbox {{
  inbox = yes
  separator = /
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
service lmtp {{
  chroot =
  process_limit = 20
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
