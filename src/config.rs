//! Options of the programs: parsed once, here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Longest time between two looks at what Mailcow holds when it is not configured.
const LONGEST_POLL: Duration = Duration::from_mins(5);

/// Declarative email hosting on Mailcow.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `run` when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `run`.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controllers.
    Run(Box<Settings>),
    /// Print the custom resource definitions as YAML.
    Crds,
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// URL of Mailcow, such as `https://mail.example.com`. Without it and without `--mailcow-secret` everything works
    /// up to Mailcow.
    #[arg(long, env = "MAILCOW_URL", conflicts_with = "mailcow_secret", requires = "mailcow_api_key_file")]
    pub mailcow_url: Option<String>,
    /// File with the read-write API key; read again when it changes.
    #[arg(long, env = "MAILCOW_API_KEY_FILE", requires = "mailcow_url")]
    pub mailcow_api_key_file: Option<PathBuf>,
    /// Secret in the operator's namespace with the keys `url`, `apiKey` and optionally `ca.crt`; watched.
    #[arg(long, env = "MAILCOW_SECRET")]
    pub mailcow_secret: Option<String>,
    /// The operator's own namespace, where `--mailcow-secret` lives.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub operator_namespace: String,
    /// Only look at objects in this namespace; all when left out.
    #[arg(long, env = "WATCH_NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Name of this cluster in the ownership mark on Mailcow. Left out: taken from the uid of the namespace kube-system.
    #[arg(long, env = "CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Time between two passes over an object that is in sync.
    #[arg(long, env = "RESYNC", default_value = "10m", value_parser = duration)]
    pub resync: Duration,
    /// How often Mailcow is looked at for changes made by hand. Left out: half of `--resync`, and 5 minutes at most.
    #[arg(long, env = "POLL_INTERVAL", value_parser = duration)]
    pub poll_interval: Option<Duration>,
    /// Address of the server for `/metrics`, `/healthz` and `/readyz`.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// How logs are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,mailcow_operator=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// File with the sinks of the installation, in YAML; read again when it changes. Each has `name`, one of
    /// `webhook: {url}` and `email: {address}`, and the `namespaces` whose rules may use it (`*` for all).
    #[arg(long, env = "SINKS_FILE")]
    pub sinks_file: Option<PathBuf>,
    /// Options of DNS verification.
    #[command(flatten)]
    pub dns: DnsSettings,
    /// Options of several replicas.
    #[command(flatten)]
    pub leader: LeaderSettings,
}

impl Settings {
    /// Time between two looks at what Mailcow holds.
    pub fn poll_interval(&self) -> Duration {
        self.poll_interval.unwrap_or((self.resync / 2).min(LONGEST_POLL))
    }
}

/// Options of DNS verification.
#[derive(Clone, Debug, Args)]
pub struct DnsSettings {
    /// Host name of the mail server, as MX records name it. Left out: the host of Mailcow's URL.
    #[arg(long, env = "MAIL_HOST")]
    pub mail_host: Option<String>,
    /// Addresses that mail is sent from, separated by commas. Left out: the addresses of the mail host.
    #[arg(long, env = "EGRESS_IPS", value_delimiter = ',')]
    pub egress_ips: Vec<IpAddr>,
    /// Recursive resolvers as `address` or `address:port`, separated by commas. Left out: those of the system.
    #[arg(long, env = "DNS_RESOLVERS", value_delimiter = ',', value_parser = resolver)]
    pub dns_resolvers: Vec<SocketAddr>,
    /// Whom to ask: the zones' own name servers, or only the recursive resolvers.
    #[arg(long, env = "DNS_MODE", value_enum, default_value_t = DnsMode::Authoritative)]
    pub dns_mode: DnsMode,
    /// Demand of every domain that its ownership is proven by a TXT record before anything is created on Mailcow.
    #[arg(long, env = "REQUIRE_OWNERSHIP")]
    pub require_ownership: bool,
    /// The certificate authority of Mailcow's certificates, as CAA records name it.
    #[arg(long, env = "CERTIFICATE_AUTHORITY", default_value = "letsencrypt.org")]
    pub certificate_authority: String,
    /// Port of authoritative name servers; other than 53 only in tests.
    #[arg(long, env = "DNS_AUTHORITATIVE_PORT", default_value_t = 53, hide = true)]
    pub dns_authoritative_port: u16,
    /// Port that MTA-STS policies are fetched from; other than 443 only in tests.
    #[arg(long, env = "POLICY_PORT", default_value_t = 443, hide = true)]
    pub policy_port: u16,
    /// Port that mail arrives at; other than 25 only in tests.
    #[arg(long, env = "SMTP_PORT", default_value_t = 25, hide = true)]
    pub smtp_port: u16,
    /// File with a certificate authority in PEM for MTA-STS policies, beside the public ones; only in tests.
    #[arg(long, env = "POLICY_CA_FILE", hide = true)]
    pub policy_ca_file: Option<PathBuf>,
}

/// Options of several replicas.
#[derive(Clone, Debug, Args)]
pub struct LeaderSettings {
    /// Work only while holding a Lease in the operator's namespace: of several replicas one works and the others wait.
    #[arg(long, env = "LEADER_ELECTION")]
    pub leader_election: bool,
    /// Name of the Lease.
    #[arg(long, env = "LEASE_NAME", default_value = "mailcow-operator")]
    pub lease_name: String,
    /// How long after its last renewal the Lease of a leader that is gone passes on; 5s to 10m. A leader that can't
    /// renew it stops after two thirds of that time.
    #[arg(long, env = "LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,
    /// Who this replica is in the Lease. Left out: the host's name with some random letters.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whom DNS verification asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DnsMode {
    /// The zones' own name servers, found through a recursive resolver.
    Authoritative,
    /// Only the recursive resolvers: for clusters without a way out to port 53.
    Recursive,
}

/// Reads `30s`, `10m` or `6h`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a time: write a whole number of s, m or h, such as 10m");
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

/// Reads a time between 5 seconds and 10 minutes.
fn lease_duration(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(5)..=Duration::from_mins(10);
    let bad = || format!("{text:?} is too short or too long for a lease: write a time between 5s and 10m");
    duration(text).and_then(|duration| range.contains(&duration).then_some(duration).ok_or_else(bad))
}

/// Reads `1.1.1.1`, `1.1.1.1:53` or `[::1]:53`.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)).ok();
    address.or_else(|| text.parse().ok()).ok_or_else(|| format!("{text:?} is neither an address nor address:port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("mailcow-operator").chain(args.iter().copied()))
    }

    #[test]
    fn nothing_is_needed() {
        let cli = parse(&[]).unwrap();
        assert!(cli.command.is_none() && cli.settings.mailcow_url.is_none());
        assert_eq!(cli.settings.resync, Duration::from_mins(10));
    }

    #[test]
    fn mailcow_is_looked_at_at_half_the_resync_and_every_five_minutes_at_least() {
        let interval = |args: &[&str]| parse(args).unwrap().settings.poll_interval();
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
    fn resolvers_come_with_and_without_a_port() {
        let cli = parse(&["--dns-resolvers", "1.1.1.1,[::1]:5353"]).unwrap();
        let shown: Vec<String> = cli.settings.dns.dns_resolvers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["1.1.1.1:53", "[::1]:5353"]);
        assert!(parse(&["--dns-resolvers", "dns.example"]).is_err());
    }

    #[test]
    fn a_lease_is_neither_short_nor_for_ever() {
        assert_eq!(parse(&[]).unwrap().settings.leader.lease_duration, Duration::from_secs(15));
        assert!(parse(&["--lease-duration", "5s"]).is_ok());
        for bad in ["4s", "11m", "x"] {
            assert!(parse(&["--lease-duration", bad]).is_err(), "{bad}");
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
