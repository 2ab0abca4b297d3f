//! Options of the programs: parsed once, here.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use serde::de::DeserializeOwned;

use crate::crd::{AdoptionPolicy, DEFAULT_SERVER, DeletionPolicy, DriftPolicy};
use crate::gates::Gates;
use crate::tenancy::Defaults;

/// Longest time between two looks at what Mailcow holds when it is not configured.
const LONGEST_POLL: Duration = Duration::from_mins(5);

/// Declarative email hosting on Mailcow.
#[derive(Debug, Parser)]
#[command(version, about, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
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
    /// Kubeconfig of the cluster to work on. Left out, the operator works on the cluster that it runs in; outside of one
    /// it has to be given. Several files are separated as in the variable `KUBECONFIG` of kubectl.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,
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
    /// A further server as `name=secret`; may be given several times. Domains name it in `spec.server`; what needs no
    /// name is on the server `default`, which the options above describe.
    #[arg(long = "mailcow-server", env = "MAILCOW_SERVERS", value_delimiter = ',', value_parser = named_server)]
    pub mailcow_servers: Vec<NamedServer>,
    /// The operator's own namespace, where the Secrets with connections live.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub operator_namespace: String,
    /// Only look at objects in these namespaces, separated by commas; all when left out.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub watch_namespaces: Vec<String>,
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
    /// Parts to switch on or off, as `Name=true,Other=false`: `EmailHosting` (all of it), `ForwardingRules`,
    /// `TaskDelivery`, `DNSPublishing` (off when left out) and `AutoProvisioning` (off when left out).
    #[arg(long, env = "FEATURE_GATES", default_value_t)]
    pub feature_gates: Gates,
    /// Local parts that no namespace gets by `spec.autoProvision`, beside those that are reserved everywhere, separated
    /// by commas.
    #[arg(long, env = "RESERVED_NAMES", value_delimiter = ',')]
    pub reserved_names: Vec<String>,
    /// Namespaces whose domains may make mailboxes in others by `spec.autoProvision`, separated by commas. Left out: all.
    #[arg(long, env = "PROVISIONING_NAMESPACES", value_delimiter = ',')]
    pub provisioning_namespaces: Vec<String>,
    /// Policies of objects that don't say, and whose namespaces don't.
    #[command(flatten)]
    pub defaults: DefaultPolicies,
    /// Options of DNS verification.
    #[command(flatten)]
    pub dns: DnsSettings,
    /// Options of the election of the one operator that works.
    #[command(flatten)]
    pub leader: LeaderSettings,
}

impl Settings {
    /// Time between two looks at what Mailcow holds.
    pub fn poll_interval(&self) -> Duration {
        self.poll_interval.unwrap_or((self.resync / 2).min(LONGEST_POLL))
    }
}

/// Policies of objects whose spec does not say, and whose namespaces don't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct DefaultPolicies {
    /// What happens on Mailcow when an object is deleted: `Retain`, `Deactivate` or `Delete`. Left out: `Retain` for
    /// domains and mailboxes, `Delete` for aliases and rules (for which `Deactivate` counts as `Retain`).
    #[arg(long, env = "DEFAULT_DELETION_POLICY", value_parser = word::<DeletionPolicy>)]
    pub default_deletion_policy: Option<DeletionPolicy>,
    /// What to do when a thing already exists on Mailcow: `Never`, `IfUnowned` or `Force`. Left out: `IfUnowned`.
    #[arg(long, env = "DEFAULT_ADOPTION_POLICY", value_parser = word::<AdoptionPolicy>)]
    pub default_adoption_policy: Option<AdoptionPolicy>,
    /// What to do when Mailcow was changed by hand: `Correct` or `Report`. Left out: `Correct`.
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

/// A further Mailcow server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedServer {
    /// As domains name it in `spec.server`.
    pub name: String,
    /// Name of the Secret with its connection, in the operator's namespace.
    pub secret: String,
}

/// Options of DNS verification.
#[derive(Clone, Debug, Args)]
pub struct DnsSettings {
    /// Host name of the mail server, as MX records name it. Left out: the host of Mailcow's URL. Further servers take
    /// it from the key `mailHost` of their Secret.
    #[arg(long, env = "MAIL_HOST")]
    pub mail_host: Option<String>,
    /// Addresses that mail is sent from, separated by commas. Left out, and for further servers: the addresses of the
    /// mail host.
    #[arg(long, env = "EGRESS_IPS", value_delimiter = ',')]
    pub egress_ips: Vec<IpAddr>,
    /// Recursive resolvers as `address` or `address:port`, separated by commas. Left out: those of the system.
    #[arg(long, env = "DNS_RESOLVERS", value_delimiter = ',', value_parser = resolver)]
    pub dns_resolvers: Vec<SocketAddr>,
    /// Whom to ask: the zones' own name servers, or only the recursive resolvers.
    #[arg(long, env = "DNS_MODE", value_enum, default_value_t = DnsMode::Authoritative)]
    pub dns_mode: DnsMode,
    /// Also ask name servers, and fetch policies and certificates from hosts, at addresses that are not public, such as
    /// 10.0.0.0/8: for a split horizon. Whoever may publish records of a domain then chooses where the operator connects
    /// to inside the cluster.
    #[arg(long, env = "DNS_ALLOW_PRIVATE")]
    pub dns_allow_private: bool,
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

/// Options of the election of the one operator that works.
#[derive(Clone, Debug, Args)]
pub struct LeaderSettings {
    /// Name of the Lease in the operator's namespace. Whoever holds it works; any other operator waits.
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
        return Err(format!("the server {DEFAULT_SERVER} is described by --mailcow-secret or --mailcow-url"));
    }
    Ok(NamedServer { name: name.to_owned(), secret: secret.to_owned() })
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

    fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
        match Cli::try_parse_from(["mailcow-operator", "run"].iter().chain(args))?.command {
            Command::Run(settings) => Ok(*settings),
            Command::Crds => unreachable!("run was asked for"),
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
    fn times_need_a_unit() {
        assert_eq!(duration("6h"), Ok(Duration::from_hours(6)));
        for bad in ["", "0s", "10", "m", "1d", "-1m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
