//! Dovecot as the judge: `sievec` compiles, `dovecot-lda` delivers into a folder of its own.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::world::MAILBOX;

const DELIVERY: &str = "/usr/lib/dovecot/dovecot-lda";

/// Whether the judge is there; says so when it is not.
pub(crate) fn is_there() -> bool {
    let found = Path::new(DELIVERY).exists() && Command::new("sievec").arg("-?").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "install dovecot-core and dovecot-sieve");
        println!("skipped: install dovecot-sieve");
    }
    found
}

/// A folder that goes away with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one that everybody may write to.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sieve-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Compiles a script.
pub(crate) fn compile(script: &str) -> Result<(), String> {
    let folder = Folder::new();
    let output = Command::new("sievec").arg(folder.write("rules.sieve", script)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && folder.0.join("rules.svbin").exists() { Ok(()) } else { Err(said) }
}

/// Where a message comes from and goes to.
pub(crate) struct Envelope<'a> {
    /// MAIL FROM; empty for a bounce.
    pub(crate) from: &'a str,
    /// RCPT TO
    pub(crate) to: &'a str,
}

/// What became of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Where it was sent on to, sorted.
    pub(crate) forwards: Vec<String>,
    /// Copies in the inbox.
    pub(crate) inbox: usize,
    /// Copies in the folder Trash.
    pub(crate) trash: usize,
}

/// Delivers a message through a script in the place of Mailcow's prefilter; a script of the person's comes after it.
pub(crate) fn deliver(script: &str, envelope: &Envelope<'_>, message: &[u8]) -> Delivered {
    deliver_all(script, envelope, &[message])
}

/// Delivers messages one after the other, and says what became of all of them.
pub(crate) fn deliver_all(script: &str, envelope: &Envelope<'_>, messages: &[&[u8]]) -> Delivered {
    let folder = Folder::new();
    let home = folder.0.display().to_string();
    let before = folder.write("before.sieve", script);
    let compiled = Command::new("sievec").arg(&before).output().unwrap();
    assert!(compiled.status.success(), "{script}\n{}", String::from_utf8_lossy(&compiled.stderr));
    folder.write("personal.sieve", "keep;\n");
    let sendmail =
        folder.write("sendmail", &format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> {home}/sent\ncat > /dev/null\n"));
    fs::set_permissions(&sendmail, Permissions::from_mode(0o755)).unwrap();
    let config = folder.write("dovecot.conf", &config(&home));
    for message in messages {
        run(&config, &home, envelope, message);
    }
    Delivered {
        forwards: sent(&folder.0.join("sent")),
        inbox: count(&folder.0.join("Maildir/new")),
        trash: count(&folder.0.join("Maildir/.Trash/new")),
    }
}

/// What Mailcow sets, and folders of our own.
fn config(home: &str) -> String {
    format!(
        "base_dir = {home}/run
mail_location = maildir:{home}/Maildir
log_path = /dev/stderr
sendmail_path = {home}/sendmail
ssl = no
postmaster_address = postmaster@acme.test
recipient_delimiter = +
namespace inbox {{
  inbox = yes
}}
protocol lda {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:{home}/personal.sieve
  sieve_before = {home}/before.sieve
  sieve_extensions = +vacation-seconds +editheader
  sieve_max_redirects = 100
  sieve_max_actions = 101
  sieve_max_script_size = 1M
  sieve_redirect_envelope_from = recipient
}}
"
    )
}

/// A program of Dovecot's. They refuse to be root, so root becomes nobody.
pub(crate) fn as_nobody(program: &str) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", program]);
        command
    } else {
        Command::new(program)
    }
}

/// Says a count although the test passes: only what `println!` writes is held back.
pub(crate) fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

/// Runs the delivery.
fn run(config: &Path, home: &str, envelope: &Envelope<'_>, message: &[u8]) {
    let mut command = as_nobody(DELIVERY);
    command.arg("-c").arg(config).args(["-e", "-f", envelope.from, "-a", envelope.to, "-r", envelope.to]);
    command.env("HOME", home).env("USER", MAILBOX);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !log.contains("Error:"), "{log}");
}

/// The address is the last word of each call, which a blank in quotes does not part.
pub(crate) fn sent(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut to: Vec<String> =
        text.lines().filter_map(|line| line.split_once(" -- ")).map(|(_, to)| to.into()).collect();
    to.sort();
    to
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
