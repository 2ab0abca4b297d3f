//! The connection to a Mailcow server: what a failed request means, and what mends it.

use std::time::Duration;

use super::clock;
use super::finding::Findings;
use crate::cli::mailcow::client;
use crate::mail::{Feature, Version};
use crate::mailcow::{Client, Connection, Error};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The oldest version whose answers the operator understands in every respect: since then Mailcow says who checks a
/// mailbox's password.
const OLDEST: &str = "2025-03";

/// Where the connection was configured, for remedies.
pub(super) enum Source {
    /// The Secret of an operator.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The flags of this program.
    Flags,
}

impl Source {
    /// Whether it is the connection of an installed operator.
    const fn is_operators(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }

    /// How a key gets another value. `value` may be in words.
    fn set(&self, key: &str, value: &str) -> String {
        match self {
            Self::Secret { namespace, name } => format!(
                "kubectl -n {namespace} patch secret {name} --type=merge -p '{{\"stringData\":{{\"{key}\":\"{value}\"}}}}'"
            ),
            Self::Flags => match key {
                "url" => format!("give --mailcow-url {value}"),
                "ca.crt" => format!("give --mailcow-ca-file {value}"),
                _ => format!("write {value} into the file of --mailcow-api-key-file"),
            },
        }
    }

    /// How the certificate authority is set to the content of a file, which has several lines.
    fn set_authority(&self, file: &str) -> String {
        match self {
            Self::Secret { .. } => {
                let content = format!("'\"$(base64 < {file} | tr -d '\\n')\"'");
                self.set("ca.crt", &content).replace("stringData", "data")
            }
            Self::Flags => self.set("ca.crt", file),
        }
    }
}

/// Checks a connection.
pub(super) async fn check(found: &mut Findings, connection: &Connection, source: &Source) {
    let client = match client(connection) {
        Ok(client) => client.with_limits(LIMIT, LIMIT),
        Err(failure) => {
            let why = failure.problems().join("; ");
            let key = if why.contains("ca.crt") {
                "ca.crt"
            } else if why.contains("API key") {
                "apiKey"
            } else {
                "url"
            };
            let value = match key {
                "url" => "https://mail.example.com",
                "ca.crt" => "ca.pem",
                _ => "the key from Mailcow",
            };
            return found.bad("Mailcow connection", why, source.set(key, value));
        }
    };
    let version = match client.version().await {
        Ok(version) => version,
        Err(error) => {
            let (message, remedy) = cause(&error, &client, source);
            return found.bad("Mailcow connection", message, remedy);
        }
    };
    found.good("Mailcow connection", format!("{} answers", client.server()));
    check_version(found, &version);
    match client.may_write().await {
        Ok(true) => found.good("Mailcow API key", "it may read and write"),
        Ok(false) if source.is_operators() => found.bad(
            "Mailcow API key",
            "the key is read-only, so that the operator can change nothing",
            source.set("apiKey", "the read-write key (Mailcow: System, Configuration, Access, API)"),
        ),
        Ok(false) => found.warn(
            "Mailcow API key",
            "the key is read-only: enough for plan and export, not for the operator",
            "use the read-write key (Mailcow: System, Configuration, Access, API)",
        ),
        Err(error) => {
            let (message, remedy) = cause(&error, &client, source);
            found.bad("Mailcow API key", message, remedy);
        }
    }
    check_clock(found, &client);
}

fn check_version(found: &mut Findings, version: &str) {
    let update = "update Mailcow: ./update.sh on its host";
    match (Version::parse(version), Version::parse(OLDEST)) {
        (None, _) => found.warn("Mailcow version", format!("{version} is not a release"), "run a release of Mailcow"),
        (Some(known), Some(oldest)) if known < oldest => {
            found.bad("Mailcow version", format!("{version} is too old: the operator needs {OLDEST} or newer"), update);
        }
        (Some(known), _) if !known.has(Feature::SenderAllowed) => found.warn(
            "Mailcow version",
            format!(
                "{version} is older than {}: {} and {} don't work",
                Feature::SenderAllowed.since(),
                Feature::SenderAllowed.field(),
                Feature::EasAndDav.field()
            ),
            update,
        ),
        (Some(_), _) => found.good("Mailcow version", version),
    }
}

fn check_clock(found: &mut Findings, client: &Client) {
    if let Some(there) = client.clock() {
        clock::check(found, "Mailcow clock", "Mailcow", there, "certificates and times of mail depend on it");
    }
}

/// The cause of a failed request, and what mends it.
fn cause(error: &Error, client: &Client, source: &Source) -> (String, String) {
    let server = client.server();
    match error {
        Error::KeyRejected { why, .. } if why.contains("denied for ip") => (
            format!("Mailcow does not allow this address: {why}"),
            "allow it in Mailcow: System, Configuration, Access, API, Allow API access from these IPs; the operator's own address must be there too".to_owned(),
        ),
        Error::KeyRejected { why, .. } => (
            format!("Mailcow refuses the API key: {why}"),
            source.set("apiKey", "the key from Mailcow (System, Configuration, Access, API), where it must be active"),
        ),
        Error::ReadOnlyKey { .. } => (error.to_string(), source.set("apiKey", "the read-write key")),
        Error::NotTheApi { why, .. } => (
            format!("what answers at {server} is not Mailcow's API ({why})"),
            source.set("url", "the URL of Mailcow's own UI, without a login page or another proxy before it"),
        ),
        Error::Unexpected { .. } | Error::OtherThing { .. } => {
            (error.to_string(), "update Mailcow and the operator".to_owned())
        }
        Error::Unreachable { why, .. } => unreachable(why, &server, source),
        Error::InvalidUrl { .. }
        | Error::InvalidConnection { .. }
        | Error::Refused { .. }
        | Error::OutcomeUnknown { .. }
        | Error::Busy { .. } => (error.to_string(), format!("look at Mailcow's logs: docker compose logs nginx-mailcow php-fpm-mailcow ({server})")),
    }
}

fn unreachable(why: &str, server: &str, source: &Source) -> (String, String) {
    let lower = why.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (cause, remedy) = if has(&["unknownissuer", "unknown issuer"]) {
        (
            "its certificate comes from a certificate authority that is not public",
            format!("{} (ca.pem: the certificate of that authority)", source.set_authority("ca.pem")),
        )
    } else if has(&["expired"]) {
        ("its certificate has expired", "renew it on Mailcow's host: docker compose restart acme-mailcow".to_owned())
    } else if has(&["notvalidyet", "not valid yet"]) {
        (
            "its certificate is not valid yet, so that a clock is wrong",
            "set the clocks: timedatectl set-ntp true".to_owned(),
        )
    } else if has(&["notvalidforname", "not valid for name"]) {
        (
            "its certificate is for another host name",
            source.set("url", "https:// and the name in the certificate (MAILCOW_HOSTNAME)"),
        )
    } else if has(&["status 429"]) {
        (
            "something before Mailcow limits the rate of requests",
            "exempt the operator's address in that proxy or firewall; Mailcow itself has no such limit".to_owned(),
        )
    } else if has(&["php", "its connection to"]) {
        (
            "a container of Mailcow does not work",
            "on Mailcow's host: docker compose ps; docker compose restart php-fpm-mailcow".to_owned(),
        )
    } else if has(&["lookup", "dns error", "name or service", "failed to resolve", "nodename"]) {
        ("its host name does not exist in DNS", source.set("url", "https:// and the right host name"))
    } else if has(&["refused"]) {
        (
            "nothing listens there",
            format!("start Mailcow: docker compose up -d on its host; or {}", source.set("url", "the right URL")),
        )
    } else if has(&["no answer", "timed out", "timeout", "closed", "reset", "connection error", "eof"]) {
        (
            "it does not answer: a firewall drops the packets, or Mailcow's netfilter has banned this address after failed logins",
            "unban it in Mailcow: System, Configuration, Options, Fail2ban parameters; or on its host: docker compose exec netfilter-mailcow iptables -L MAILCOW; and allow the address in firewalls".to_owned(),
        )
    } else {
        ("it can't be reached", "look at Mailcow's logs: docker compose logs nginx-mailcow".to_owned())
    };
    (format!("{server}: {cause} ({why})"), remedy)
}
