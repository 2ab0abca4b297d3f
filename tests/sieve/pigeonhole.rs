//! Pigeonhole's own interpreter (`sieve-test`), which says what it would do: eight milliseconds a message.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::dovecot::{Envelope, Folder};

/// What Pigeonhole would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Would {
    /// Where it would send the message on to.
    pub(crate) forwards: BTreeSet<String>,
    /// Which folders would get a copy.
    pub(crate) folders: BTreeSet<String>,
    /// Whether the inbox would get one.
    pub(crate) inbox: bool,
}

/// A place to run scripts in.
pub(crate) struct Judge {
    folder: Folder,
    config: PathBuf,
}

impl Judge {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let home = folder.path().display();
        let text = format!(
            "base_dir = {home}/run
mail_location = maildir:{home}/Maildir
ssl = no
plugin {{
  sieve_extensions = +vacation-seconds +editheader
  sieve_max_redirects = 100
  sieve_max_actions = 0
}}
"
        );
        let config = folder.write("dovecot.conf", &text);
        Self { folder, config }
    }

    /// What a script would do with a message.
    pub(crate) fn ask(&self, script: &str, envelope: &Envelope<'_>, message: &[u8]) -> Would {
        let script_file = self.folder.write("rules.sieve", script);
        let _ = fs::remove_file(self.folder.path().join("rules.svbin"));
        let file = self.folder.path().join("message.eml");
        fs::write(&file, message).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let mut command = super::dovecot::as_nobody("sieve-test");
        command.arg("-c").arg(&self.config).args(["-f", envelope.from, "-r", envelope.to, "-a", envelope.to]);
        command.arg(script_file).arg(file).env("HOME", self.folder.path());
        said(&mut command, script)
    }
}

fn said(command: &mut Command, script: &str) -> Would {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr);
    let is_done = output.status.success() && log.contains("final result: success") && !log.contains("rror:");
    assert!(is_done, "{script}\n{text}\n{log}");
    let mut would = Would::default();
    let (actions, keep) = text.split_once("Implicit keep:").unwrap_or((&text, ""));
    for line in actions.lines().map(str::trim) {
        if let Some(to) = line.strip_prefix("* redirect message to: ") {
            would.forwards.insert(to.trim_matches(['<', '>']).to_owned());
        }
        would.folders.extend(line.strip_prefix("* store message in folder: ").map(ToOwned::to_owned));
    }
    would.inbox = keep.contains("store message in folder: INBOX");
    would
}
