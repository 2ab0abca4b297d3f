//! A connection to Dovecot that breaks where a test wants it: before or after the effect of a command.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What happens at a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The connection breaks before the server gets the command.
    CutBefore,
    /// The connection breaks after the server did the command, before the worker knows.
    CutAfter,
    /// The worker is killed before the server gets the command.
    KillBefore,
    /// The worker is killed after the server did the command, before it knows.
    KillAfter,
}

type Plan = dyn Fn(usize, &str) -> Fault + Send + Sync;

/// A running proxy.
pub(crate) struct Proxy {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    task: AbortHandle,
}

struct Shared {
    to: u16,
    plan: Box<Plan>,
    kill: Box<dyn Fn() + Send + Sync>,
    commands: AtomicUsize,
}

impl Proxy {
    /// Starts one. `plan` decides by the number of a command and its text; `kill` kills the worker.
    pub(crate) async fn start(
        to: u16,
        plan: impl Fn(usize, &str) -> Fault + Send + Sync + 'static,
        kill: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared { to, plan: Box::new(plan), kill: Box::new(kill), commands: AtomicUsize::new(0) };
        let shared = Arc::new(shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        let _ = relay(client, &shared).await;
                    });
                }
            }
        });
        Self { port, task: task.abort_handle() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(("127.0.0.1", shared.to)).await?;
    server.set_nodelay(true)?;
    let (from_server, mut to_server) = server.into_split();
    let (from_client, mut to_client) = client.into_split();
    let mut commands = BufReader::new(from_client);
    let mut answers = from_server;
    let mut chunk = vec![0; 32 * 1024];
    let mut line = Vec::new();
    loop {
        tokio::select! {
            read = commands.read_until(b'\n', &mut line) => {
                if read? == 0 {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                let fault = if is_command(&text) {
                    let number = shared.commands.fetch_add(1, Ordering::Relaxed);
                    (shared.plan)(number, &text)
                } else {
                    Fault::None
                };
                match fault {
                    Fault::None => to_server.write_all(&line).await?,
                    Fault::CutBefore => return Ok(()),
                    Fault::KillBefore => {
                        (shared.kill)();
                        return Ok(());
                    }
                    Fault::CutAfter | Fault::KillAfter => {
                        to_server.write_all(&line).await?;
                        done(&mut answers, text.split(' ').next().unwrap_or_default()).await?;
                        if fault == Fault::KillAfter {
                            (shared.kill)();
                        }
                        return Ok(());
                    }
                }
                line.clear();
            }
            read = answers.read(&mut chunk) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                to_client.write_all(&chunk[..count]).await?;
            }
        }
    }
}

/// Whether a line begins with a tag of the worker.
fn is_command(line: &str) -> bool {
    let tag = line.split(' ').next().unwrap_or_default();
    tag.len() > 1 && tag.starts_with('m') && tag[1..].bytes().all(|b| b.is_ascii_digit())
}

/// Reads until the server did the command; nothing of it reaches the worker.
async fn done(answers: &mut tokio::net::tcp::OwnedReadHalf, tag: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(answers);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = lines.read_until(b'\n', &mut line).await?;
        if count == 0 || line.starts_with(format!("{tag} ").as_bytes()) || line.starts_with(b"+ ") {
            return Ok(());
        }
    }
}
