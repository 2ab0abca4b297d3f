//! Starting, steering and inspecting a simulated server.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cost::CostModel;
use crate::fault::Fault;
use crate::http;
use crate::journal::Request;
use crate::observer::Observer;
use crate::server::Shared;
use crate::state::{Access, ApiKey, Backend, State};
use crate::topics::password_check;

/// How a server is to be started.
#[derive(Clone)]
pub struct Options {
    /// The port; 0 takes any.
    pub port: u16,
    /// The key with rights to write.
    pub api_key: String,
    /// The key that may only read.
    pub read_only_key: String,
    /// Public keys (base64 of their DER form) that new DKIM keys take first; then come random ones.
    pub dkim_keys: Vec<String>,
    /// The costs of requests; `None` answers at once.
    pub latency: Option<CostModel>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            api_key: "SIMRW1-SIMRW2-SIMRW3-SIMRW4-SIMRW5".to_owned(),
            read_only_key: "SIMRO1-SIMRO2-SIMRO3-SIMRO4-SIMRO5".to_owned(),
            dkim_keys: Vec::new(),
            latency: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("port", &self.port).field("latency", &self.latency).finish_non_exhaustive()
    }
}

/// A running server; it stops when this is dropped.
pub struct Simulator {
    address: SocketAddr,
    options: Options,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts a server on this machine, empty but for its templates and keys.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let mut state = State::fresh();
        state.api_keys = vec![
            ApiKey::new(&options.api_key, Access::ReadWrite),
            ApiKey::new(&options.read_only_key, Access::ReadOnly),
        ];
        state.dkim_pool = options.dkim_keys.iter().cloned().collect();
        let shared = Arc::new(Shared::new(state, options.latency.clone()));
        let acceptor = Mutex::new(Some(tokio::spawn(http::accept(listener, Arc::clone(&shared)))));
        Ok(Self { address, options, shared, acceptor })
    }

    /// `http://127.0.0.1:port`, without a slash behind.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key with rights to write.
    pub fn api_key(&self) -> &str {
        &self.options.api_key
    }

    /// The key that may only read.
    pub fn read_only_key(&self) -> &str {
        &self.options.read_only_key
    }

    /// Where Dovecot asks whether an app password opens a mailbox: `POST {"username", "password", "service"}` is answered
    /// with `{"success": true}` or `{"success": false}`.
    pub fn password_check_url(&self) -> String {
        format!("{}{}", self.url(), password_check::PATH)
    }

    /// Looks at the state.
    pub fn inspect<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state())
    }

    /// Changes the state by hand, as a person in the UI would, or seeds it.
    pub fn edit<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state())
    }

    /// Adds an API key.
    pub fn add_key(&self, key: ApiKey) {
        self.edit(|state| state.api_keys.push(key));
    }

    /// Orders a fault for requests to come.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults().push(fault);
    }

    /// Forgets all faults that were ordered.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Has every request shown to somebody, who may order trouble for it.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        *self.shared.observer() = Some(observer);
    }

    /// Sets which part behind the API is down or failing.
    pub fn set_backend(&self, backend: Backend) {
        self.edit(|state| state.backend = backend);
    }

    /// Every request answered so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.journal().requests.clone()
    }

    /// How many requests asked for a change.
    pub fn writes(&self) -> usize {
        self.shared.journal().requests.iter().filter(|r| r.is_write()).count()
    }

    /// How many requests only read.
    pub fn reads(&self) -> usize {
        self.shared.journal().requests.iter().filter(|r| !r.is_write()).count()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.shared.journal().requests.clear();
    }

    /// Closes the socket and all connections, or opens it again on the same port.
    pub async fn set_down(&self, down: bool) -> io::Result<()> {
        let running = self.acceptor().take();
        if let Some(running) = running {
            running.abort();
            // It ends as cancelled; what counts is that its sockets are closed.
            drop(running.await);
        }
        if !down {
            let listener = TcpListener::bind(self.address).await?;
            let acceptor = tokio::spawn(http::accept(listener, Arc::clone(&self.shared)));
            *self.acceptor() = Some(acceptor);
        }
        Ok(())
    }

    fn acceptor(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(running) = self.acceptor().take() {
            running.abort();
        }
    }
}
