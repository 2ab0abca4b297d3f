//! The only part that sends queries: to the zone's own servers, or to a resolver when those are not reachable.
//!
//! The resolver is asked for the way to the zone (NS and the servers' addresses), and for records that the zone's own
//! servers already have; a question about a record that is not there yet would fill its negative cache (RFC 2308) and
//! delay what the user waits for.

mod ask;
mod budget;
mod check;
mod cuts;
mod exchange;
mod https;
mod propagation;
mod public;
mod reply;
mod smtp;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use hickory_resolver::system_conf::read_system_conf;
use tokio::time::Instant;

pub use check::{check, check_host};
use cuts::Cut;
pub(crate) use public::is_public;

use crate::fair::FairSemaphore;

/// How long a server that is not asked for DNS may take in all.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Which servers to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The zone's own servers; a resolver when none of them answers.
    Authoritative,
    /// A resolver only.
    Recursive,
}

/// Options of lookups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Resolvers, asked in order until one answers. Empty: those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// Which servers to ask.
    pub mode: Mode,
    /// Port of the zones' own servers: 53, except in tests.
    pub authoritative_port: u16,
    /// Port of MTA-STS policies: 443, except in tests.
    pub https_port: u16,
    /// Port of mail servers: 25, except in tests.
    pub smtp_port: u16,
    /// Additional certificate authority in PEM for policy hosts; for tests.
    pub certificate_authority: Option<String>,
    /// Whether name servers, policy hosts and mail hosts may have private addresses, such as those of the cluster's own
    /// network: for split-horizon DNS and for tests. The resolvers may have any address.
    pub allow_private: bool,
    /// How many queries may run at once, so that thousands of domains don't overload a server or lose datagrams; at
    /// least 1. While several namespaces have domains, each gets at most a quarter.
    pub outstanding: usize,
    /// How long one question to one server may take.
    pub timeout: Duration,
    /// How often a server is asked before it counts as silent; at least 1.
    pub tries: u32,
    /// How long a whole check may take.
    pub check_timeout: Duration,
    /// How long a silent server is not asked again, and the servers of a zone are cached (or their TTL, if that is
    /// shorter).
    pub memory: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            mode: Mode::Authoritative,
            authoritative_port: 53,
            https_port: 443,
            smtp_port: 25,
            certificate_authority: None,
            allow_private: false,
            outstanding: 256,
            timeout: Duration::from_secs(2),
            tries: 2,
            check_timeout: Duration::from_secs(15),
            memory: Duration::from_mins(1),
        }
    }
}

/// The system's resolver configuration can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BadResolvers {
    /// The file is missing or malformed.
    #[error("can't read the system's resolvers: {0}")]
    Unreadable(String),
    /// The file names no server.
    #[error("the system's resolver configuration names no server")]
    None,
}

/// Sends DNS queries. Cheap to share; never caches negative answers.
#[derive(Debug)]
pub struct Lookup {
    options: Options,
    resolvers: Vec<SocketAddr>,
    outstanding: FairSemaphore,
    cuts: Mutex<HashMap<String, (Instant, Cut)>>,
    /// Addresses that were silent when asked about a zone, and until when they are not asked again.
    silent: Mutex<HashMap<(String, IpAddr), Instant>>,
}

impl Lookup {
    /// Prepares lookups; sends nothing yet.
    ///
    /// # Errors
    /// When no resolver is given and the system names none.
    pub fn new(options: Options) -> Result<Self, BadResolvers> {
        let resolvers = if options.resolvers.is_empty() { system_resolvers()? } else { options.resolvers.clone() };
        Ok(Self {
            outstanding: FairSemaphore::new(options.outstanding, options.outstanding / 4),
            options,
            resolvers,
            cuts: Mutex::default(),
            silent: Mutex::default(),
        })
    }

    /// Whether records that others publish may lead to this address.
    fn may_reach(&self, ip: IpAddr) -> bool {
        self.options.allow_private || is_public(ip)
    }
}

/// The servers of `/etc/resolv.conf`; its search list is not used, all names are absolute.
fn system_resolvers() -> Result<Vec<SocketAddr>, BadResolvers> {
    let (config, _) = read_system_conf().map_err(|error| BadResolvers::Unreadable(error.to_string()))?;
    let servers = config.name_servers().iter().map(|server| {
        let port = server.connections.first().map_or(53, |connection| connection.port);
        SocketAddr::new(server.ip, port)
    });
    let mut servers = servers.collect::<Vec<_>>();
    servers.dedup();
    if servers.is_empty() { Err(BadResolvers::None) } else { Ok(servers) }
}
