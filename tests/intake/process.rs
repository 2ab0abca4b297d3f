//! A worker in a process of its own, that can be killed.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::world::{mailbox, options, queue, webhook, work};

/// What the process works on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Port of IMAP.
    pub(crate) port: u16,
    /// Mailboxes.
    pub(crate) users: Vec<String>,
    /// Rules with their sinks and the sinks' URLs.
    pub(crate) rules: Vec<(String, String, String)>,
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Seconds between two scans.
    pub(crate) scan_seconds: u64,
}

const VARIABLE: &str = "INTAKE_WORKER_TASK";

/// The other process: it works until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by other tests, in a process of its own"]
async fn worker_process() {
    let Some(text) = std::env::var_os(VARIABLE).and_then(|text| text.into_string().ok()) else { return };
    let task: Task = serde_json::from_str(&text).unwrap();
    let queues: Vec<_> = task.rules.iter().map(|(rule, sink, _)| queue(rule, sink)).collect();
    let mailboxes = task.users.iter().map(|user| mailbox(user, task.port, queues.clone())).collect();
    let sinks = task.rules.iter().map(|(_, sink, url)| webhook(sink, url)).collect();
    let mut options = options();
    options.connections = task.connections;
    options.scan_interval = std::time::Duration::from_secs(task.scan_seconds);
    let mut worker = super::world::Worker::start(work(mailboxes, sinks), options);
    while let Some(report) = worker.next().await {
        if let mailcow_operator::intake::report::Report::Event(event) = report {
            println!("event {:?}: {}", event.reason, event.message);
        }
    }
}

/// A process that can be killed and started again.
#[derive(Clone)]
pub(crate) struct Process(Arc<Mutex<State>>);

struct State {
    child: Option<Child>,
    kills: usize,
    log: std::path::PathBuf,
}

impl Process {
    /// None yet; its output goes into this file.
    pub(crate) fn new(log: std::path::PathBuf) -> Self {
        let _ = std::fs::remove_file(&log);
        Self(Arc::new(Mutex::new(State { child: None, kills: 0, log })))
    }

    /// Starts it, unless it runs.
    pub(crate) fn ensure(&self, task: &Task) {
        let mut state = self.0.lock().unwrap();
        let runs = state.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if runs {
            return;
        }
        let log = std::fs::File::options().create(true).append(true).open(&state.log).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::worker_process", "--ignored", "--nocapture", "--test-threads", "1"]);
        command.env(VARIABLE, serde_json::to_string(task).unwrap()).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        state.child = Some(command.spawn().unwrap());
    }

    /// Kills it at once.
    pub(crate) fn kill(&self) {
        let mut state = self.0.lock().unwrap();
        if let Some(mut child) = state.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            state.kills += 1;
        }
    }

    /// How often it was killed.
    pub(crate) fn kills(&self) -> usize {
        self.0.lock().unwrap().kills
    }

    /// Its id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.0.lock().unwrap().child.as_ref().map(Child::id)
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.0.lock().unwrap().log).unwrap_or_default()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
