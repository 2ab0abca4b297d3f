//! Options of the program, parsed once.

mod mcp;
pub(crate) mod served;

pub use mcp::McpSettings;
pub use served::Served;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, OsStr, Resettable};
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use serde::de::DeserializeOwned;

use crate::crd::{AdoptionPolicy, DEFAULT_SERVER, DeletionPolicy, DriftPolicy};
use crate::gates::Gates;
use crate::intake::queue::ImapTls;
use crate::tenancy::Defaults;

/// Longest default time between two polls of Mailcow.
const LONGEST_POLL: Duration = Duration::from_mins(5);
/// Beginning of the names of the Secrets with app passwords.
const APP_PASSWORD_SECRET: &str = "mailcow-operator-app-passwords";
/// The certificate authority that Mailcow uses, as CAA records name it.
pub(crate) const CERTIFICATE_AUTHORITY: &str = "letsencrypt.org";

/// Declarative email hosting on Mailcow.
#[derive(Debug, Parser)]
#[command(version, about, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controllers.
    Run(Box<Settings>),
    /// Deliver the copies of mail in queue folders to sinks, as tasks and notes. It needs the feature gate `TaskDelivery` of
    /// the operator.
    Intake(Box<IntakeSettings>),
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Serve tools for AI agents with the Model Context Protocol, on standard input and output or as streamable HTTP.
    Mcp(Box<McpSettings>),
}

/// Options of `intake`.
#[derive(Clone, Debug, Args)]
pub struct IntakeSettings {
    /// Kubeconfig of the cluster. Default: the cluster that the worker runs in. Required outside a cluster.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,
    /// The operator's own namespace, with the Secrets of app passwords and sinks.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub operator_namespace: String,
    /// Watch only these namespaces, separated by commas. Default: all.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub watch_namespaces: Vec<String>,
    /// File with the sinks of the installation, as for the operator. The worker reads it again when it changes.
    #[arg(long, env = "SINKS_FILE")]
    pub sinks_file: Option<PathBuf>,
    /// Beginning of the names of the Secrets with the app passwords, as for the operator.
    #[arg(long, env = "APP_PASSWORD_SECRET", default_value = APP_PASSWORD_SECRET)]
    pub app_password_secret: String,
    /// Work only on mailboxes on these Mailcow servers, separated by commas: the list of the operator that writes the app
    /// passwords. Default: all.
    #[arg(long, env = "SERVE", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub serve: Vec<String>,
    /// IMAP server of a Mailcow server, as `server=host` or `server=host:port`. Can be repeated. Default: the mail host.
    /// Without a port: 993, or 143 with `--imap-tls start-tls`.
    #[arg(long, env = "IMAP", value_delimiter = ',', value_parser = named_imap)]
    pub imap: Vec<NamedImap>,
    /// How connections to IMAP servers are encrypted.
    #[arg(long, env = "IMAP_TLS", value_enum, default_value_t = TlsMode::Implicit)]
    pub imap_tls: TlsMode,
    /// File with the certificate authority of the IMAP servers in PEM, if it is private.
    #[arg(long, env = "IMAP_CA_FILE")]
    pub imap_ca_file: Option<PathBuf>,
    /// IMAP connections at a time. With more mailboxes than that, they share them.
    #[arg(long, env = "IMAP_CONNECTIONS", default_value_t = 200, value_parser = connections)]
    pub connections: usize,
    /// Time between two scans of a mailbox, in addition to IMAP's own notifications.
    #[arg(long, env = "SCAN_INTERVAL", default_value = "1m", value_parser = duration)]
    pub scan_interval: Duration,
    /// How long the folders `Done` keep messages.
    #[arg(long, env = "KEEP_DONE", default_value = "720h", value_parser = duration)]
    pub keep_done: Duration,
    /// Address of the server for `/metrics`, `/healthz` and `/readyz`.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// A separate address for probes (`/healthz` and `/readyz` only). Default: none.
    #[arg(long, env = "HEALTH_LISTEN")]
    pub health_listen: Option<SocketAddr>,
    /// Format of the logs.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log level: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,mailcow_operator=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Name of the Lease in the operator's namespace. Only its holder works; other workers are on standby. Workers for
    /// different servers need one each.
    #[arg(long, env = "LEASE_NAME", default_value = "mailcow-operator-intake")]
    pub lease_name: String,
    /// How long the Lease is valid after its last renewal; 5s to 10m.
    #[arg(long, env = "LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,
    /// Name of this replica in the Lease. Default: the host name with random letters.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
}

impl IntakeSettings {
    /// The options of leader election.
    pub fn leader(&self) -> LeaderSettings {
        LeaderSettings {
            lease_name: self.lease_name.clone(),
            lease_duration: self.lease_duration,
            pod_name: self.pod_name.clone(),
        }
    }
}

/// The IMAP server of a Mailcow server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImap {
    /// The Mailcow server's name in `spec.server` of domains.
    pub server: String,
    /// Its host.
    pub host: String,
    /// Its port; `None` for the usual one of the encryption.
    pub port: Option<u16>,
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsMode {
    /// From the first byte, usually on port 993.
    Implicit,
    /// With STARTTLS, usually on port 143.
    StartTls,
    /// Not at all; only to this machine.
    #[value(hide = true)]
    Plaintext,
}

impl From<TlsMode> for ImapTls {
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Implicit => Self::Implicit,
            TlsMode::StartTls => Self::StartTls,
            TlsMode::Plaintext => Self::Plaintext,
        }
    }
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Kubeconfig of the cluster. Default: the cluster that the operator runs in. Required outside a cluster. Separate
    /// several files as in kubectl's variable `KUBECONFIG`.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,
    /// URL of Mailcow, such as `https://mail.example.com`. Without it and without `--mailcow-secret` the operator does
    /// everything except the work on Mailcow.
    #[arg(long, env = "MAILCOW_URL", conflicts_with = "mailcow_secret", requires = "mailcow_api_key_file")]
    pub mailcow_url: Option<String>,
    /// File with the read-write API key. The operator reads it again when it changes.
    #[arg(long, env = "MAILCOW_API_KEY_FILE", requires = "mailcow_url")]
    pub mailcow_api_key_file: Option<PathBuf>,
    /// Secret in the operator's namespace with the keys `url`, `apiKey` and optionally `ca.crt`. The operator watches
    /// it.
    #[arg(long, env = "MAILCOW_SECRET")]
    pub mailcow_secret: Option<String>,
    /// Another server, as `name=secret`. Can be repeated. Domains select it with `spec.server`; the default is the
    /// server `default` of the options above.
    #[arg(long = "mailcow-server", env = "MAILCOW_SERVERS", value_delimiter = ',', value_parser = named_server)]
    pub mailcow_servers: Vec<NamedServer>,
    /// Serve only these of the configured servers, separated by commas, and what is on them; for several instances, each with
    /// servers of its own. All instances need the same servers, `--lease-name` and `--operator-namespace`. One of them serves
    /// `default`; it also reports objects of unknown servers and without a domain. Default: all.
    #[arg(long, env = "SERVE", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub serve: Vec<String>,
    /// Namespaces that may use a server for their domains, as `server=namespace,namespace`; can be repeated. The first
    /// server is `default`. In the variable, separate servers by `;`. A server that is not listed, or has `*`, is for
    /// all namespaces.
    #[arg(long, env = "SERVER_NAMESPACES", value_delimiter = ';', value_parser = server_namespaces)]
    pub server_namespaces: Vec<ServerNamespaces>,
    /// The operator's own namespace, with the Secrets of the connections.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub operator_namespace: String,
    /// Watch only these namespaces, separated by commas. Default: all.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub watch_namespaces: Vec<String>,
    /// Name of this cluster in the ownership marks on Mailcow. Default: from the uid of the namespace kube-system.
    #[arg(long, env = "CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Time between two reconciles of an object that is in sync.
    #[arg(long, env = "RESYNC", default_value = "10m", value_parser = duration)]
    pub resync: Duration,
    /// How often the operator polls Mailcow for changes made by hand. Default: half of `--resync`, at most 5 minutes.
    #[arg(long, env = "POLL_INTERVAL", value_parser = duration)]
    pub poll_interval: Option<Duration>,
    /// The minimum time between two new values of the annotation `reconcile-requested-at` of one object.
    #[arg(long, env = "REQUEST_INTERVAL", default_value = "10s", value_parser = duration)]
    pub request_interval: Duration,
    /// Address of the server for `/metrics`, `/healthz` and `/readyz`.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// A separate address for probes (`/healthz` and `/readyz` only), which a flood of requests at the other address
    /// does not block. Default: none.
    #[arg(long, env = "HEALTH_LISTEN")]
    pub health_listen: Option<SocketAddr>,
    /// Format of the logs.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log level: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,mailcow_operator=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// File with the sinks of the installation, in YAML. The operator reads it again when it changes. Each sink has
    /// `name`, one of `webhook`, `caldav` and `email`, and the `namespaces` whose rules may use it (`*`: all).
    #[arg(long, env = "SINKS_FILE")]
    pub sinks_file: Option<PathBuf>,
    /// Beginning of the names of the Secrets in the operator's namespace with the app passwords of task delivery. The operator
    /// and `mailcow-operator intake` need the same value.
    #[arg(long, env = "APP_PASSWORD_SECRET", default_value = APP_PASSWORD_SECRET)]
    pub app_password_secret: String,
    /// Features to turn on or off, as `Name=true,Other=false`: `EmailHosting` (everything), `ForwardingRules`,
    /// `TaskDelivery` (default off), `DNSPublishing` (default off) and `AutoProvisioning` (default off).
    #[arg(long, env = "FEATURE_GATES", default_value_t)]
    pub feature_gates: Gates,
    /// Local parts that `spec.autoProvision` gives to no namespace, in addition to the names that are always reserved,
    /// separated by commas.
    #[arg(long, env = "RESERVED_NAMES", value_delimiter = ',')]
    pub reserved_names: Vec<String>,
    /// Namespaces whose domains may create mailboxes in other namespaces with `spec.autoProvision`, separated by
    /// commas. Default: all.
    #[arg(long, env = "PROVISIONING_NAMESPACES", value_delimiter = ',')]
    pub provisioning_namespaces: Vec<String>,
    /// The platform's own namespaces, separated by commas. Mailboxes in them may send as anybody (`senderAcl`).
    /// Default: the operator's own namespace. `*` means all.
    #[arg(long, env = "PLATFORM_NAMESPACES", value_delimiter = ',')]
    pub platform_namespaces: Vec<String>,
    /// Default policies.
    #[command(flatten)]
    pub defaults: DefaultPolicies,
    /// Options of DNS verification.
    #[command(flatten)]
    pub dns: DnsSettings,
    /// Options of leader election.
    #[command(flatten)]
    pub leader: LeaderSettings,
}

impl Settings {
    /// The options of another process: from its arguments (beginning with `run`) and variables, not from those of this
    /// process.
    ///
    /// # Errors
    /// When they are not those of this version of the operator.
    pub fn of_process(arguments: &[String], variables: &[(String, String)]) -> Result<Self, clap::Error> {
        let mut arguments = arguments.to_vec();
        let alone = Cli::command().mut_subcommand("run", |run| {
            run.mut_args(|arg| {
                let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                let value = variables.iter().find(|(name, _)| Some(name) == variable.as_ref()).map(|(_, value)| value);
                arguments.extend(value.and_then(|value| argument(&arg, value, &arguments)));
                arg.env(Resettable::<OsStr>::Reset)
            })
        });
        let name = "mailcow-operator".to_owned();
        let matches = alone.try_get_matches_from([name].into_iter().chain(arguments))?;
        match Cli::from_arg_matches(&matches)?.command {
            Command::Run(settings) => Ok(*settings),
            Command::Crds | Command::Intake(_) | Command::Mcp(_) => {
                Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand))
            }
        }
    }

    /// Time between two polls of Mailcow.
    pub fn poll_interval(&self) -> Duration {
        self.poll_interval.unwrap_or((self.resync / 2).min(LONGEST_POLL))
    }

    /// The servers that this instance serves.
    ///
    /// # Errors
    /// A name in `--serve` is not that of a configured server.
    pub fn served(&self) -> Result<Served, String> {
        let further = self.mailcow_servers.iter().map(|server| server.name.as_str());
        Served::new(further.chain([DEFAULT_SERVER]), &self.serve)
    }

    /// Whether the domains of a namespace may be on a server.
    pub fn may_use_server(&self, server: &str, namespace: Option<&str>) -> bool {
        let mut listed = self.server_namespaces.iter().filter(|listed| listed.server == server).peekable();
        let is_it = |name: &String| name == "*" || Some(name.as_str()) == namespace;
        listed.peek().is_none() || listed.any(|listed| listed.namespaces.iter().any(is_it))
    }

    /// Whether a namespace belongs to the platform.
    pub fn is_platform(&self, namespace: Option<&str>) -> bool {
        match self.platform_namespaces.as_slice() {
            [] => namespace == Some(self.operator_namespace.as_str()),
            listed => listed.iter().any(|name| name == "*" || Some(name.as_str()) == namespace),
        }
    }
}

/// Policies for objects without a policy in their spec or namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct DefaultPolicies {
    /// What happens on Mailcow when an object is deleted: `Retain`, `Deactivate` or `Delete`. Default: `Retain` for
    /// domains and mailboxes, `Delete` for aliases and rules (which treat `Deactivate` as `Retain`).
    #[arg(long, env = "DEFAULT_DELETION_POLICY", value_parser = word::<DeletionPolicy>)]
    pub default_deletion_policy: Option<DeletionPolicy>,
    /// What to do with entries that already exist on Mailcow: `Never`, `IfUnowned` or `Force`. Default: `IfUnowned`.
    #[arg(long, env = "DEFAULT_ADOPTION_POLICY", value_parser = word::<AdoptionPolicy>)]
    pub default_adoption_policy: Option<AdoptionPolicy>,
    /// What to do about changes made by hand on Mailcow: `Correct` or `Report`. Default: `Correct`.
    #[arg(long, env = "DEFAULT_DRIFT_POLICY", value_parser = word::<DriftPolicy>)]
    pub default_drift_policy: Option<DriftPolicy>,
}

impl From<DefaultPolicies> for Defaults {
    fn from(options: DefaultPolicies) -> Self {
        Self {
            deletion: options.default_deletion_policy,
            adoption: options.default_adoption_policy,
            drift: options.default_drift_policy,
        }
    }
}

/// Another Mailcow server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedServer {
    /// Its name in `spec.server` of domains.
    pub name: String,
    /// Name of the Secret with its connection, in the operator's namespace.
    pub secret: String,
}

/// Which namespaces may use a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNamespaces {
    /// The server's name in `spec.server` of domains.
    pub server: String,
    /// Namespaces whose domains may use it; `*` means all.
    pub namespaces: Vec<String>,
}

/// Options of DNS verification.
#[derive(Clone, Debug, Args)]
pub struct DnsSettings {
    /// Host name of the mail server in MX records. Default: the host of Mailcow's URL. For other servers: the key
    /// `mailHost` of their Secret.
    #[arg(long, env = "MAIL_HOST")]
    pub mail_host: Option<String>,
    /// IP addresses that mail leaves from, separated by commas. Default, and for other servers: the addresses of the
    /// mail host.
    #[arg(long, env = "EGRESS_IPS", value_delimiter = ',')]
    pub egress_ips: Vec<IpAddr>,
    /// Recursive resolvers as `address` or `address:port`, separated by commas. Default: the resolvers of the system.
    #[arg(long, env = "DNS_RESOLVERS", value_delimiter = ',', value_parser = resolver)]
    pub dns_resolvers: Vec<SocketAddr>,
    /// Which servers to ask: the zones' own name servers, or only the recursive resolvers.
    #[arg(long, env = "DNS_MODE", value_enum, default_value_t = DnsMode::Authoritative)]
    pub dns_mode: DnsMode,
    /// Also connect to name servers and hosts with private addresses, such as 10.0.0.0/8, for split-horizon DNS. The
    /// published records of a domain can then make the operator connect to addresses inside the cluster.
    #[arg(long, env = "DNS_ALLOW_PRIVATE")]
    pub dns_allow_private: bool,
    /// Require a TXT record that proves the ownership of every domain before anything is created on Mailcow.
    #[arg(long, env = "REQUIRE_OWNERSHIP")]
    pub require_ownership: bool,
    /// Name of the certificate authority of Mailcow's certificates in CAA records.
    #[arg(long, env = "CERTIFICATE_AUTHORITY", default_value = CERTIFICATE_AUTHORITY)]
    pub certificate_authority: String,
    /// Port of authoritative name servers. Not 53 only in tests.
    #[arg(long, env = "DNS_AUTHORITATIVE_PORT", default_value_t = 53, hide = true)]
    pub dns_authoritative_port: u16,
    /// Port of MTA-STS policies. Not 443 only in tests.
    #[arg(long, env = "POLICY_PORT", default_value_t = 443, hide = true)]
    pub policy_port: u16,
    /// Port of mail servers. Not 25 only in tests.
    #[arg(long, env = "SMTP_PORT", default_value_t = 25, hide = true)]
    pub smtp_port: u16,
    /// File with an additional certificate authority in PEM for MTA-STS policies; only in tests.
    #[arg(long, env = "POLICY_CA_FILE", hide = true)]
    pub policy_ca_file: Option<PathBuf>,
}

/// Options of leader election.
#[derive(Clone, Debug, Args)]
pub struct LeaderSettings {
    /// Name of the Lease in the operator's namespace. Only its holder works; other operators are on standby. It is that of
    /// the default server; each further server has one of its own, `<name>-<server>-server`.
    #[arg(long, env = "LEASE_NAME", default_value = "mailcow-operator")]
    pub lease_name: String,
    /// How long the Lease is valid after its last renewal; 5s to 10m. A leader that can't renew it stops after two
    /// thirds of that time.
    #[arg(long, env = "LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,
    /// Name of this replica in the Lease. Default: the host name with random letters.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
}

/// Format of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object for each line.
    Json,
}

/// Which servers DNS verification asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DnsMode {
    /// The zones' own name servers, found through a recursive resolver.
    Authoritative,
    /// Only the recursive resolvers, for clusters that can't reach port 53 outside.
    Recursive,
}

/// The value of a variable as an argument; `None` if the arguments have the option, or it has no value.
fn argument(arg: &Arg, value: &str, arguments: &[String]) -> Option<String> {
    let given = format!("--{}", arg.get_long()?);
    let is_given = |one: &String| *one == given || one.starts_with(&format!("{given}="));
    let has_value = !matches!(arg.get_action(), ArgAction::SetTrue);
    (has_value && !arguments.iter().any(is_given)).then(|| format!("{given}={value}"))
}

/// Reads `30s`, `10m` or `6h`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: write a whole number with s, m or h, such as 10m");
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(seconds).filter(|s| *s > 0).map(Duration::from_secs).ok_or_else(bad)
}

/// Reads a word as manifests write it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

/// Reads `name=secret`.
fn named_server(text: &str) -> Result<NamedServer, String> {
    let bad = || format!("{text:?} is not name=secret, such as internal=mailcow-internal");
    let (name, secret) = text.split_once('=').ok_or_else(bad)?;
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_label) || secret.is_empty() {
        return Err(bad());
    }
    if name == DEFAULT_SERVER {
        return Err(format!(
            "the server {DEFAULT_SERVER} is configured with --mailcow-secret or --mailcow-url; choose another name"
        ));
    }
    Ok(NamedServer { name: name.to_owned(), secret: secret.to_owned() })
}

/// Reads `server=host` or `server=host:port`; an IPv6 address is in brackets.
fn named_imap(text: &str) -> Result<NamedImap, String> {
    let bad = || format!("{text:?} is not server=host:port, such as default=dovecot.mail.svc:993");
    let (server, place) = text.split_once('=').ok_or_else(bad)?;
    let authority: http::uri::Authority = place.parse().map_err(|_| bad())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = match place.strip_prefix(authority.host()) {
        Some("") => None,
        Some(port) => Some(port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(bad)?),
        None => return Err(bad()),
    };
    if server.is_empty() || host.is_empty() {
        return Err(bad());
    }
    Ok(NamedImap { server: server.to_owned(), host, port })
}

/// Reads a number of connections: Dovecot allows 500 of one user and address.
fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number of connections from 1 to 10000"))
}

/// Parses `name=namespace,namespace`. An empty list means that no namespace may use the server.
fn server_namespaces(text: &str) -> Result<ServerNamespaces, String> {
    let bad = || format!("{text:?} is not name=namespace,namespace, such as internal=team-a,team-b");
    let (server, namespaces) = text.split_once('=').ok_or_else(bad)?;
    if server.is_empty() || namespaces.split(',').any(str::is_empty) && !namespaces.is_empty() {
        return Err(bad());
    }
    let namespaces = namespaces.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
    Ok(ServerNamespaces { server: server.to_owned(), namespaces })
}

/// Reads a time between 5 seconds and 10 minutes.
fn lease_duration(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(5)..=Duration::from_mins(10);
    let bad = || format!("{text:?} is too short or too long for a lease: write a duration between 5s and 10m");
    duration(text).and_then(|duration| range.contains(&duration).then_some(duration).ok_or_else(bad))
}

/// Reads `1.1.1.1`, `1.1.1.1:53` or `[::1]:53`.
pub(crate) fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)).ok();
    address.or_else(|| text.parse().ok()).ok_or_else(|| format!("{text:?} is neither an address nor address:port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
        match Cli::try_parse_from(["mailcow-operator", "run"].iter().chain(args))?.command {
            Command::Run(settings) => Ok(*settings),
            other => unreachable!("run was asked for: {other:?}"),
        }
    }

    #[test]
    fn without_a_command_it_shows_help_and_starts_nothing() {
        for args in [&["mailcow-operator"][..], &["mailcow-operator", "--resync", "1m"]] {
            let error = Cli::try_parse_from(args).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains("Usage"), "{error}");
        }
    }

    #[test]
    fn nothing_is_needed() {
        let settings = parse(&[]).unwrap();
        assert!(settings.mailcow_url.is_none());
        assert_eq!(settings.resync, Duration::from_mins(10));
    }

    #[test]
    fn mailcow_is_looked_at_at_half_the_resync_and_every_five_minutes_at_least() {
        let interval = |args: &[&str]| parse(args).unwrap().poll_interval();
        assert_eq!(interval(&[]), Duration::from_mins(5));
        assert_eq!(interval(&["--resync", "1h"]), Duration::from_mins(5));
        assert_eq!(interval(&["--resync", "4s"]), Duration::from_secs(2));
        assert_eq!(interval(&["--resync", "4s", "--poll-interval", "1h"]), Duration::from_hours(1));
    }

    #[test]
    fn a_url_needs_a_key_and_excludes_a_secret() {
        assert!(parse(&["--mailcow-url", "https://m"]).is_err());
        assert!(parse(&["--mailcow-url", "https://m", "--mailcow-api-key-file", "/k"]).is_ok());
        assert!(parse(&["--mailcow-url", "x", "--mailcow-api-key-file", "/k", "--mailcow-secret", "s"]).is_err());
    }

    #[test]
    fn the_options_of_another_process_come_from_its_arguments_and_variables() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = [variable("POD_NAMESPACE", "there"), variable("RESYNC", "1h"), variable("OTHER", "x")];
        let arguments = texts(&["run", "--mailcow-secret=s", "--resync=5m"]);
        let settings = Settings::of_process(&arguments, &variables).unwrap();
        assert_eq!((settings.operator_namespace.as_str(), settings.resync), ("there", Duration::from_mins(5)));
        assert_eq!(settings.mailcow_secret.as_deref(), Some("s"));
        assert!(Settings::of_process(&texts(&["run", "--of-the-future"]), &[]).is_err());
    }

    #[test]
    fn resolvers_come_with_and_without_a_port() {
        let settings = parse(&["--dns-resolvers", "1.1.1.1,[::1]:5353"]).unwrap();
        let shown: Vec<String> = settings.dns.dns_resolvers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["1.1.1.1:53", "[::1]:5353"]);
        assert!(parse(&["--dns-resolvers", "dns.example"]).is_err());
    }

    #[test]
    fn further_servers_have_a_name_and_a_secret() {
        let settings = parse(&["--mailcow-server", "internal=a,b=c", "--mailcow-server", "d=e"]).unwrap();
        let named: Vec<_> = settings.mailcow_servers.iter().map(|s| (s.name.as_str(), s.secret.as_str())).collect();
        assert_eq!(named, [("internal", "a"), ("b", "c"), ("d", "e")]);
        for bad in ["internal", "=s", "Internal=s", "internal=", "default=s"] {
            assert!(parse(&["--mailcow-server", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instance_serves_configured_servers_only() {
        let servers = ["--mailcow-server", "a=s,b=t"];
        let leases = |serve: &[&str]| parse(&[&servers[..], serve].concat()).unwrap().served().map(|it| it.leases("l"));
        assert_eq!(leases(&[]).unwrap(), ["l", "l-a-server", "l-b-server"]);
        assert_eq!(leases(&["--serve", "default,b"]).unwrap(), ["l", "l-b-server"]);
        assert!(leases(&["--serve", "c"]).unwrap_err().contains("the server c is not configured"));
        // It must not serve all where somebody meant to list servers.
        assert!(parse(&["--serve", ""]).is_err() && parse(&["--serve=default,"]).is_err());
    }

    #[test]
    fn a_lease_is_neither_short_nor_for_ever() {
        assert_eq!(parse(&[]).unwrap().leader.lease_duration, Duration::from_secs(15));
        assert!(parse(&["--lease-duration", "5s"]).is_ok());
        for bad in ["4s", "11m", "x"] {
            assert!(parse(&["--lease-duration", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let settings = parse(&["--reserved-names", "ceo,legal", "--provisioning-namespaces", "mail"]).unwrap();
        assert_eq!((settings.reserved_names.len(), settings.provisioning_namespaces.len()), (2, 1));
        assert!(parse(&[]).unwrap().reserved_names.is_empty());
    }

    #[test]
    fn a_server_is_for_all_unless_namespaces_are_listed() {
        let args = ["--server-namespaces", "internal=team-a,team-b", "--server-namespaces", "closed="];
        let settings = parse(&args).unwrap();
        let may = |server: &str, namespace: &str| settings.may_use_server(server, Some(namespace));
        assert!(may("internal", "team-b") && !may("internal", "team-c") && !may("closed", "team-a"));
        assert!(may("default", "team-c") && !settings.may_use_server("internal", None));
        assert!(parse(&["--server-namespaces", "internal=*"]).unwrap().may_use_server("internal", Some("x")));
        for bad in ["internal", "=a", "internal=a,", "internal=,a"] {
            assert!(parse(&["--server-namespaces", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_platform_is_the_operators_own_namespace_unless_others_are_named() {
        let is_platform = |args: &[&str], namespace: &str| parse(args).unwrap().is_platform(Some(namespace));
        let own = ["--operator-namespace", "mail-system"];
        assert!(is_platform(&own, "mail-system") && !is_platform(&own, "team-a"));
        let named = [&own[..], &["--platform-namespaces", "mail,infra"]].concat();
        assert!(is_platform(&named, "infra") && !is_platform(&named, "mail-system"));
        assert!(is_platform(&["--platform-namespaces", "*"], "anything"));
        assert!(!parse(&own).unwrap().is_platform(None));
    }

    #[test]
    fn policies_are_words_of_manifests() {
        let defaults = parse(&["--default-deletion-policy", "Deactivate"]).unwrap().defaults;
        assert_eq!(defaults.default_deletion_policy, Some(DeletionPolicy::Deactivate));
        let error = parse(&["--default-deletion-policy", "delete"]).unwrap_err().to_string();
        assert!(error.contains("`Retain`"), "{error}");
    }

    #[test]
    fn namespaces_are_listed_with_commas_and_none_is_empty() {
        let namespaces = |args: &[&str]| parse(args).map(|settings| settings.watch_namespaces);
        assert_eq!(namespaces(&["--watch-namespaces", "a,b"]).unwrap(), ["a", "b"]);
        assert!(namespaces(&[]).unwrap().is_empty());
        // It must not look everywhere where somebody meant to list namespaces.
        assert!(namespaces(&["--watch-namespaces", ""]).is_err() && namespaces(&["--watch-namespaces=a,"]).is_err());
    }

    #[test]
    fn imap_servers_have_a_name_a_host_and_perhaps_a_port() {
        let shown = |text: &str| named_imap(text).map(|imap| format!("{} {} {:?}", imap.server, imap.host, imap.port));
        assert_eq!(shown("default=mail.example.com").as_deref(), Ok("default mail.example.com None"));
        assert_eq!(shown("a=10.0.0.1:1993").as_deref(), Ok("a 10.0.0.1 Some(1993)"));
        assert_eq!(shown("a=[fd00::1]:143").as_deref(), Ok("a fd00::1 Some(143)"));
        for bad in ["mail.example.com", "=m", "a=", "a=m:x", "a=u@m", "a=m:", "a=m/x"] {
            assert!(named_imap(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_worker_has_a_lease_of_its_own() {
        let Command::Intake(settings) = Cli::try_parse_from(["mailcow-operator", "intake"]).unwrap().command else {
            unreachable!("intake was asked for")
        };
        assert_ne!(settings.leader().lease_name, parse(&[]).unwrap().leader.lease_name);
        assert_eq!(settings.app_password_secret, parse(&[]).unwrap().app_password_secret);
        for bad in [&["--connections", "0"][..], &["--imap", "x"]] {
            assert!(Cli::try_parse_from(["mailcow-operator", "intake"].iter().chain(bad)).is_err());
        }
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(duration("6h"), Ok(Duration::from_hours(6)));
        for bad in ["", "0s", "10", "m", "1d", "-1m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
