//! The program under test as a process: its log lines, its memory, its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::last_will::LastWill;
use crate::{Error, Result, wait_until};

/// A running operator; dropped, it is killed, and it is killed too when this process is.
#[derive(Debug)]
pub struct Operator {
    child: Child,
    log: Log,
    last_will: Option<LastWill>,
}

impl Operator {
    /// Starts a program with `env` added to this process's environment, and collects what it writes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(binary: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        Self::start_logging_to(None, binary, args, env)
    }

    /// As [`start`](Self::start); what it writes is appended to a file as well.
    ///
    /// # Errors
    /// When it cannot be started, or the file cannot be written.
    pub fn start_logging_to(file: Option<&Path>, binary: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let log = Log::new(file)?;
        let mut child = Command::new(binary)
            .args(args)
            .envs(env.iter().copied())
            .process_group(0) // Ctrl-C is for the parent alone
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::system(format!("start {}", binary.display())))?;
        log.collect(child.stdout.take());
        log.collect(child.stderr.take());
        let mut operator = Self { child, log, last_will: None };
        operator.last_will = Some(LastWill::write(r#"kill -KILL "$1""#, operator.pid().to_string())?);
        Ok(operator)
    }

    /// What it wrote until now, standard output and standard error line by line.
    pub fn logs(&self) -> String {
        self.log.text()
    }

    /// Waits until a line it wrote contains `text`, and gives that line.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the end of the log.
    pub async fn logged(&self, text: &str, limit: Duration) -> Result<String> {
        wait_until(limit, &format!("a log line with {text:?}"), async || {
            let logs = self.logs();
            let line = logs.lines().find(|line| line.contains(text)).map(str::to_owned);
            line.ok_or_else(|| tail(&logs))
        })
        .await
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().map_err(Error::system("ask for the operator's end"))?;
        if status.is_some() {
            self.revoke_last_will();
        }
        Ok(status)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it still runs after `limit`.
    pub async fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.exit_status()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        self.ended(limit).await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it still runs after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = wait_until(limit, "the operator to end", async || match self.exit_status() {
            Ok(None) => Err("it still runs"),
            Ok(Some(status)) => Ok(Ok(status)),
            Err(error) => Ok(Err(error)),
        });
        end.await?
    }

    /// Ends it at once (SIGKILL), without a chance to put things in order.
    pub fn kill(&mut self) {
        self.revoke_last_will(); // before the process id can be somebody else's
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Freezes it (SIGSTOP), like a machine that hangs, until [`resume`](Self::resume).
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it run on (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// When it has ended.
    pub fn rss_kib(&self) -> Result<u64> {
        rss_kib(self.pid())
    }

    /// The part of its resident memory that is not mapped from a file, in KiB.
    ///
    /// # Errors
    /// When it has ended.
    pub fn private_kib(&self) -> Result<u64> {
        private_kib(self.pid())
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.pid())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(std::io::Error::from)
            .map_err(Error::system(format!("send {signal:?} to the operator")))
    }

    fn revoke_last_will(&mut self) {
        if let Some(will) = self.last_will.take() {
            will.revoke();
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The resident memory of a process in KiB.
///
/// # Errors
/// When there is no such process.
pub fn rss_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, "VmRSS")
}

/// The part of [`rss_kib`] that is not mapped from a file, as the program's code is.
///
/// # Errors
/// When there is no such process.
pub fn private_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, "RssAnon")
}

/// A figure in KiB by its name in `proc_pid_status(5)`.
fn memory_kib(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(Error::system(format!("read {path}")))?;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok();
    text.lines().find_map(value).ok_or_else(|| Error::Unreadable { what: path, message: format!("it has no {name}") })
}

/// The processor time that a process has used, in user and kernel mode: two fields of `proc_pid_stat(5)`, in hundredths of
/// a second, which are the unit of that file on all machines that the operator is built for.
///
/// # Errors
/// When there is no such process.
fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(Error::system(format!("read {path}")))?;
    // The name, in parentheses, may have spaces.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
    let hundredths: Option<Vec<u64>> = fields.into_iter().flatten().map(|field| field.parse().ok()).collect();
    let of = hundredths.filter(|fields| fields.len() == 2).map(|fields| fields.iter().sum::<u64>());
    let unreadable = || Error::Unreadable { what: path, message: "it has no times".to_owned() };
    of.map(|hundredths| Duration::from_millis(hundredths * 10)).ok_or_else(unreadable)
}

/// Lines as they come, from two streams.
#[derive(Debug, Clone)]
struct Log(Arc<Mutex<Sinks>>);

#[derive(Debug)]
struct Sinks {
    text: String,
    file: Option<File>,
}

impl Log {
    fn new(file: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.map_err(Error::system(format!("open {}", path.display())))
        };
        let file = file.map(open).transpose()?;
        Ok(Self(Arc::new(Mutex::new(Sinks { text: String::new(), file }))))
    }

    /// Reads a stream to its end on a thread of its own.
    fn collect(&self, stream: Option<impl Read + Send + 'static>) {
        let (log, Some(stream)) = (self.clone(), stream) else { return };
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                log.append(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
    }

    fn append(&self, line: &str) {
        let mut sinks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.text.push_str(line);
        if let Some(file) = &mut sinks.file {
            let _ = file.write_all(line.as_bytes()); // the text in memory is what tests read
        }
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}

/// The last lines of a log, for a message.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    format!("\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
}
