//! What is to be done once this process is gone, however it went: the last will is a small shell that waits for the
//! end of its standard input, which comes when this process dies, even by `kill -9`.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::{Error, Result};

/// A waiting shell command; dropped, it is carried out at once.
#[derive(Debug)]
pub struct LastWill(Child);

impl LastWill {
    /// Writes the will: `script` will run with `argument` as its `$1`.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn write(script: &str, argument: impl AsRef<OsStr>) -> Result<Self> {
        Command::new("/bin/sh")
            .args(["-c", &format!("trap '' INT TERM HUP; cat >/dev/null; {script}"), "last-will"])
            .arg(argument)
            .process_group(0) // Ctrl-C is for the parent alone
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .map_err(Error::system("start the shell of a last will"))
    }

    /// Tears the will up: nothing will be done.
    pub fn revoke(mut self) {
        let _ = self.0.kill();
    }
}

impl Drop for LastWill {
    fn drop(&mut self) {
        let _ = self.0.wait(); // closes its standard input first
    }
}
