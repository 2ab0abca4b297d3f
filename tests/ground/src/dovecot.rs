//! A Dovecot as processes of a test: what all tests configure alike, LMTP, and a crash. It ends with the process that
//! started it.

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::last_will::LastWill;
use crate::{Error, Folder, Result};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test configures itself; the rest is the same for all.
#[derive(Clone, Copy, Debug)]
pub struct DovecotConfig<'a> {
    /// Protocols, such as `imap lmtp`.
    pub protocols: &'a str,
    /// `mail_location`
    pub mail_location: &'a str,
    /// Home of a mailbox, with `%u` for its name.
    pub home: &'a str,
    /// Everything else, in Dovecot's syntax.
    pub more: &'a str,
}

/// A running server.
#[derive(Debug)]
pub struct Dovecot {
    process: Child,
    /// `None` only while it is replaced.
    last_will: Option<LastWill>,
    folder: Folder,
}

impl Dovecot {
    /// A folder for a server, with folders in it, that Dovecot's own user may write to.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn folder(parts: &[&str]) -> Result<Folder> {
        let folder = Folder::new("dovecot", false)?;
        for part in [""].iter().chain(parts) {
            let path = folder.path().join(part);
            let made =
                fs::create_dir_all(&path).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o777)));
            made.map_err(Error::system(format!("make the folder {}", path.display())))?;
        }
        Ok(folder)
    }

    /// Starts one, and waits until LMTP answers.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn start(folder: Folder, config: DovecotConfig<'_>) -> Result<Self> {
        folder.write("dovecot.conf", written(folder.path(), config)?)?;
        let (process, last_will) = run(folder.path())?;
        let server = Self { process, last_will: Some(last_will), folder };
        server.wait()?;
        Ok(server)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Ends all its processes at once, as a power failure does, and starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn crash(&mut self) -> Result<()> {
        self.kill();
        if let Some(last_will) = self.last_will.take() {
            last_will.revoke();
        }
        let _ = fs::remove_file(self.path().join("run/master.pid"));
        std::thread::sleep(Duration::from_millis(100));
        let (process, last_will) = run(self.path())?;
        (self.process, self.last_will) = (process, Some(last_will));
        self.wait()
    }

    /// Delivers a message to each recipient by LMTP, in a session of its own.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn deliver(&self, from: &str, to: &[&str], message: &[u8]) -> Result<()> {
        Lmtp::open(self)?.deliver(from, to, message)
    }

    fn socket(&self) -> PathBuf {
        self.path().join("run/lmtp")
    }

    fn wait(&self) -> Result<()> {
        let since = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            if since.elapsed() > PATIENCE {
                return Err(Error::Ended { component: "dovecot", log: self.log() });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn kill(&mut self) {
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.kill();
        if let Some(last_will) = self.last_will.take() {
            last_will.revoke();
        }
    }
}

/// A session of LMTP (RFC 2033).
#[derive(Debug)]
pub struct Lmtp {
    stream: UnixStream,
    lines: Lines<BufReader<UnixStream>>,
}

impl Lmtp {
    /// Opens one.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn open(server: &Dovecot) -> Result<Self> {
        let connected = UnixStream::connect(server.socket()).and_then(|stream| Ok((stream.try_clone()?, stream)));
        let (reader, stream) = connected.map_err(Error::system("connect to LMTP"))?;
        let mut session = Self { stream, lines: BufReader::new(reader).lines() };
        session.expect("220")?;
        session.send(b"LHLO test\r\n", "250")?;
        Ok(session)
    }

    /// Delivers a message; its lines may end with LF alone.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn deliver(&mut self, from: &str, to: &[&str], message: &[u8]) -> Result<()> {
        self.send(format!("MAIL FROM:<{from}>\r\n").as_bytes(), "250")?;
        for one in to {
            self.send(format!("RCPT TO:<{one}>\r\n").as_bytes(), "250")?;
        }
        self.send(b"DATA\r\n", "354")?;
        let mut bytes = Vec::new();
        for line in message.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
            let dot: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
            bytes.extend([dot, line, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b".\r\n");
        self.send(&bytes, "250")?;
        // One answer for each recipient.
        to.iter().skip(1).try_for_each(|_| self.expect("250"))
    }

    fn send(&mut self, bytes: &[u8], code: &str) -> Result<()> {
        self.stream.write_all(bytes).map_err(Error::system("write to LMTP"))?;
        self.expect(code)
    }

    fn expect(&mut self, code: &str) -> Result<()> {
        let is_last =
            |line: &std::io::Result<String>| line.as_ref().map_or(true, |line| line.as_bytes().get(3) != Some(&b'-'));
        let line =
            self.lines.find(is_last).unwrap_or_else(|| Ok(String::new())).map_err(Error::system("read from LMTP"))?;
        if line.starts_with(code) {
            return Ok(());
        }
        Err(Error::Unreadable { what: "the answer of LMTP".to_owned(), message: format!("{line:?} is not {code}") })
    }
}

fn run(folder: &Path) -> Result<(Child, LastWill)> {
    let log =
        File::options().create(true).append(true).open(folder.join("log")).map_err(Error::system("open a log"))?;
    let mut command = Command::new("dovecot");
    command.arg("-F").arg("-c").arg(folder.join("dovecot.conf"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    let process = command.spawn().map_err(Error::system("start dovecot"))?;
    let last_will = LastWill::write(r#"kill -KILL -- "-$1""#, process.id().to_string())?;
    Ok((process, last_will))
}

fn written(folder: &Path, config: DovecotConfig<'_>) -> Result<String> {
    let owner = fs::metadata("/proc/self").map_err(Error::system("find out who this is"))?;
    // Dovecot refuses to be root, so root becomes nobody.
    let (uid, gid) = if owner.uid() == 0 { (65534, 65534) } else { (owner.uid(), owner.gid()) };
    let (user, group) = (name(uid, "/etc/passwd")?, name(gid, "/etc/group")?);
    let (own, DovecotConfig { protocols, mail_location, home, more }) = (folder.display(), config);
    Ok(format!(
        "base_dir = {own}/run
state_dir = {own}/run
log_path = /dev/stderr
listen = 127.0.0.1
protocols = {protocols}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_location = {mail_location}
mail_uid = {uid}
mail_gid = {gid}
auth_failure_delay = 0
postmaster_address = postmaster@acme.test
recipient_delimiter = +
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home} allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
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
{more}
"
    ))
}

/// The name that a file of the system gives to a number.
fn name(id: u32, file: &'static str) -> Result<String> {
    let text = fs::read_to_string(file).map_err(Error::system(format!("read {file}")))?;
    let id = id.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id));
    Ok(line.and_then(|line| line.split(':').next()).unwrap_or("nobody").to_owned())
}
