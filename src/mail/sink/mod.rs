//! Sinks: external tools that make tasks and notes from messages. The installation configures them; rules use their
//! names.

mod http;

use serde::Deserialize;

use self::http::{WrittenCaldav, WrittenWebhook};
use super::rule::Target;

pub use self::http::{Authorization, Caldav, Reach, SecretKey, Webhook};

/// Every sink of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sinks(Vec<Sink>);

/// One sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// How to reach it.
    pub kind: SinkKind,
    /// Namespaces whose rules may use it; `*`: all.
    namespaces: Vec<String>,
}

/// How to reach a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// By HTTP; copies wait in a folder for the worker.
    Webhook(Webhook),
    /// Into a `CalDAV` collection; copies wait in a folder for the worker.
    Caldav(Caldav),
    /// By email: the message is forwarded.
    Email {
        /// The address.
        address: Target,
    },
}

/// Why a rule can't use a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSink {
    /// There is no sink with this name.
    Unknown,
    /// The namespace may not use it.
    NotAllowed,
}

/// Why the list of sinks is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of sinks is invalid: {0}")]
pub struct InvalidSinks(String);

/// A sink in the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    name: String,
    webhook: Option<WrittenWebhook>,
    caldav: Option<WrittenCaldav>,
    email: Option<Email>,
    namespaces: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Email {
    address: String,
}

impl Sinks {
    /// Reads a list in YAML: each with `name`, one of `webhook: {url, …}`, `caldav: {url, …}` and `email: {address}`, and
    /// `namespaces`.
    ///
    /// # Errors
    /// When it is no such list, or a name is there twice.
    pub fn parse(yaml: &str) -> Result<Self, InvalidSinks> {
        if yaml.trim().is_empty() {
            return Ok(Self::default());
        }
        let invalid = |error: serde_yaml::Error| InvalidSinks(without_value(&error.to_string()));
        let written: Vec<Written> = serde_yaml::from_str(yaml).map_err(invalid)?;
        let mut sinks: Vec<Sink> = Vec::new();
        for (i, one) in written.into_iter().enumerate() {
            let sink = read(one).map_err(|why| InvalidSinks(format!("[{i}]{why}")))?;
            if sinks.iter().any(|known| known.name == sink.name) {
                return Err(InvalidSinks(format!("[{i}].name: {:?} is in the list twice", sink.name)));
            }
            sinks.push(sink);
        }
        Ok(Self(sinks))
    }

    /// The sink with this name, for a rule of this namespace.
    ///
    /// # Errors
    /// [`NoSink`].
    pub fn find(&self, name: &str, namespace: &str) -> Result<&Sink, NoSink> {
        let sink = self.0.iter().find(|sink| sink.name == name).ok_or(NoSink::Unknown)?;
        let may = sink.namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace);
        if may { Ok(sink) } else { Err(NoSink::NotAllowed) }
    }

    /// All sinks, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Sink> {
        self.0.iter()
    }

    /// The names of the sinks that rules of the namespace may use, in the order of the file.
    pub fn names_for(&self, namespace: &str) -> Vec<&str> {
        let may = |sink: &&Sink| sink.namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace);
        self.0.iter().filter(may).map(|sink| sink.name.as_str()).collect()
    }
}

/// An error about a value of the wrong type, without the value: a URL may have a password.
fn without_value(complaint: &str) -> String {
    let value = complaint.split_once("string \"").and_then(|(head, rest)| Some((head, rest.rsplit_once('"')?.1)));
    value.map_or_else(|| complaint.to_owned(), |(head, tail)| format!("{head}a text{tail}"))
}

fn read(written: Written) -> Result<Sink, String> {
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=63).contains(&written.name.len()) || !written.name.bytes().all(is_name) {
        let name = &written.name;
        return Err(format!(".name: {name:?} is not a name: write 1 to 63 characters of a to z, 0 to 9 and -"));
    }
    let kind = match (written.webhook, written.caldav, written.email) {
        (Some(webhook), None, None) => SinkKind::Webhook(webhook.checked().map_err(|why| format!(".webhook{why}"))?),
        (None, Some(caldav), None) => SinkKind::Caldav(caldav.checked().map_err(|why| format!(".caldav{why}"))?),
        (None, None, Some(email)) => {
            let address = Target::parse(&email.address).map_err(|error| format!(".email.address: {error}"))?;
            SinkKind::Email { address }
        }
        _ => return Err(": write exactly one of webhook, caldav and email".to_owned()),
    };
    Ok(Sink { name: written.name, kind, namespaces: written.namespaces })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINKS: &str = "
- {name: tracker, webhook: {url: https://tracker.example/hook}, namespaces: [mail]}
- {name: board, email: {address: In@Board.example}, namespaces: ['*']}
";

    #[test]
    fn a_sink_is_found_by_those_who_may_use_it() {
        let sinks = Sinks::parse(SINKS).unwrap();
        assert!(matches!(sinks.find("tracker", "mail").unwrap().kind, SinkKind::Webhook(_)));
        let board = sinks.find("board", "any").unwrap();
        assert_eq!(board.kind, SinkKind::Email { address: Target::parse("In@board.example").unwrap() });
        assert_eq!(sinks.find("tracker", "other"), Err(NoSink::NotAllowed));
        assert_eq!(sinks.find("nothing", "mail"), Err(NoSink::Unknown));
    }

    #[test]
    fn no_list_is_no_sinks() {
        assert_eq!(Sinks::parse(" \n").unwrap(), Sinks::default());
        assert_eq!(Sinks::parse("[]").unwrap(), Sinks::default());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_not_repeated() {
        let error = Sinks::parse("- {name: a, webhook: 'https://u:\"hidden\"@a', namespaces: []}").unwrap_err();
        let error = error.to_string();
        assert!(!error.contains("hidden") && error.contains("a text, expected struct WrittenWebhook"), "{error}");
    }

    #[test]
    fn a_bad_list_is_refused_with_the_place() {
        for (yaml, why) in [
            ("[{name: a, namespaces: []}]", "[0]: write exactly one of"),
            ("[{name: A, webhook: {url: 'https://a'}, namespaces: []}]", "[0].name: \"A\" is not a name"),
            ("[{name: a, webhook: {url: 'ftp://a'}, namespaces: []}]", "[0].webhook.url"),
            (
                "[{name: a, webhook: {url: 'https://a'}, caldav: {url: 'https://a'}, namespaces: []}]",
                "[0]: write exactly",
            ),
            ("[{name: a, caldav: {url: 'https://a/x'}, namespaces: []}]", "[0].caldav.url: end it with /"),
            ("[{name: a, webhook: {url: 'https://u:p@a'}, namespaces: []}]", "without user or password"),
            ("[{name: a, email: {address: nobody}, namespaces: []}]", "[0].email.address"),
            ("[{name: a, email: {address: a@b.org}}]", "namespaces"),
            ("[{name: a, secret: x, email: {address: a@b.org}, namespaces: []}]", "secret"),
        ] {
            let error = Sinks::parse(yaml).unwrap_err().to_string();
            assert!(error.contains(why), "{yaml}: {error}");
        }
        let twice = format!("{SINKS}{}", SINKS.trim_start());
        assert!(Sinks::parse(&twice).unwrap_err().to_string().contains("twice"));
    }
}
