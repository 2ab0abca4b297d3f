//! One server of the control plane as a process with a log file, to be killed and started again.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// How many lines of a log an error shows.
const TAIL: usize = 30;

/// A server that may be running. Only `std` is used here: the process may outlive the async runtime of one test.
#[derive(Debug)]
pub(crate) struct Component {
    name: &'static str,
    binary: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Component {
    /// The server `name` from the folder `binaries`, logging into `folder`; not yet started.
    pub(crate) fn new(name: &'static str, binaries: &Path, folder: &Path, args: Vec<String>) -> Self {
        Self {
            name,
            binary: binaries.join(name),
            args,
            log: folder.join(format!("{name}.log")),
            child: Mutex::new(None),
        }
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&self) -> Result<()> {
        let mut child = self.child();
        if child.is_none() {
            *child = Some(self.spawn().map_err(Error::system(format!("start {}", self.name)))?);
        }
        Ok(())
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        Command::new(&self.binary)
            .args(&self.args)
            .env("CONTROLPLANE_WATCH_STDIN", "1") // it ends when we hold the other end no longer
            .env("GOGC", "400") // memory is cheaper here than time
            .process_group(0) // Ctrl-C is for the parent alone
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }

    /// Kills it at once, without a chance to put things in order.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// An error with the end of its log when it ended by itself.
    pub(crate) fn check(&self) -> Result<()> {
        match self.child().as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            None | Some(Ok(Some(_)) | Err(_)) => Err(Error::Ended { component: self.name, log: self.log_tail() }),
        }
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.kill();
    }
}
