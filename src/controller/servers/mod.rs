//! The configured Mailcow servers, by their name in `spec.server`.

pub(crate) mod connection;
pub(crate) mod poll;
pub(crate) mod vanished;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::Api;
use tokio::sync::watch;

use crate::config::{Served, Settings};
use crate::controller::servers::connection::{Origin, Server, Source};
use crate::controller::servers::vanished::ConnectionSecret;
use crate::crd::DEFAULT_SERVER;
use crate::inventory::{Inventory, Moved};
use crate::leader::permit::Permit;
use crate::outcome::{Outcome, Reason};
use crate::publisher::Publisher;
use crate::telemetry::Metrics;

/// The servers that this instance serves; cloning shares them.
#[derive(Clone)]
pub(crate) struct Servers {
    by_name: Arc<BTreeMap<String, watch::Receiver<Server>>>,
    /// The names of the servers that other instances serve.
    others: Arc<BTreeSet<String>>,
    /// The Secrets that connections were read from, by the server's name.
    secrets: Arc<BTreeMap<String, watch::Receiver<Option<ConnectionSecret>>>>,
}

impl Servers {
    #[cfg(test)]
    pub(crate) fn new(by_name: impl IntoIterator<Item = (String, watch::Receiver<Server>)>) -> Self {
        Self { by_name: Arc::new(by_name.into_iter().collect()), others: Arc::default(), secrets: Arc::default() }
    }

    /// The Secret that the connection to a server was read from; `None` where there is none.
    pub(crate) fn secret(&self, name: &str) -> Option<ConnectionSecret> {
        self.secrets.get(name).and_then(|secret| secret.borrow().clone())
    }

    /// The server of a name.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn get(&self, name: &str) -> Server {
        match self.by_name.get(name) {
            Some(server) => server.borrow().clone(),
            // Not a reason to let anything go.
            None if self.is_of_another(name) => {
                let message = format!("another instance of the operator serves the Mailcow server {name}");
                Err(Outcome::waiting(Reason::Pending, message))
            }
            None => Err(self.unknown(name, |_| false)),
        }
    }

    /// Whether another instance serves this server.
    pub(crate) fn is_of_another(&self, name: &str) -> bool {
        self.others.contains(name)
    }

    /// The message for a server that does not exist or that the domain's namespace may not use. Both get the same text,
    /// and it names no server of others.
    pub(crate) fn unknown(&self, name: &str, may_use: impl Fn(&str) -> bool) -> Outcome {
        let known: BTreeSet<&String> = self.by_name.keys().chain(self.others.iter()).collect();
        let known: Vec<&str> = known.into_iter().map(String::as_str).filter(|name| may_use(name)).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!(
            "spec.server of the EmailDomain: the server {name} is not configured for this namespace, which may use: {known}; use one of these, or add it to mailcow.servers in the chart, or the namespace to its namespaces"
        );
        Outcome::stalled(Reason::ServerNotFound, message)
    }

    /// Whether a server is not configured, or its name is unknown.
    pub(crate) fn is_not_configured(&self, name: &str) -> bool {
        let none = [Reason::MailcowNotConfigured, Reason::ServerNotFound];
        self.get(name).is_err_and(|outcome| outcome.why().is_some_and(|why| none.contains(&why.reason)))
    }

    /// The names, and the servers that can be asked.
    pub(crate) fn reachable(&self) -> Vec<(String, Arc<Inventory>)> {
        self.by_name.iter().filter_map(|(name, server)| Some((name.clone(), server.borrow().clone().ok()?))).collect()
    }

    /// The names of those that this instance serves.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Waits until it is known for each server whether it is configured: an earlier reconcile would report that there
    /// is none.
    pub(crate) async fn known(&self) {
        for server in self.by_name.values() {
            connection::known(server).await;
        }
    }

    /// Reports whenever a connection changes, or a server answers again.
    pub(crate) fn changes(&self) -> BoxStream<'static, ()> {
        let each = self.by_name.values().map(|server| {
            let mut server = server.clone();
            server.mark_unchanged();
            futures::stream::unfold(server, next_change).boxed()
        });
        select_all(each).boxed()
    }

    /// The host name of the mail server: from its connection, from the configuration of the default server, or the host
    /// of its URL.
    pub(crate) fn mail_host(&self, name: &str, configured: Option<&str>) -> Option<String> {
        let server = self.get(name).ok();
        let said = server.as_ref().and_then(|server| server.client().mail_host().map(ToOwned::to_owned));
        let configured = configured.filter(|_| name == DEFAULT_SERVER).map(ToOwned::to_owned);
        said.or(configured).or_else(|| server.map(|server| server.client().host().to_owned()))
    }
}

/// Starts to follow the connection of every server that this instance serves.
pub(crate) fn follow_all(
    kube: &kube::Client,
    settings: &Settings,
    serving: &Served,
    metrics: &Metrics,
    permit: &Permit,
    changes: &Publisher<Arc<Moved>>,
) -> Servers {
    let default = match (&settings.mailcow_secret, &settings.mailcow_url, &settings.mailcow_api_key_file) {
        (Some(name), _, _) => Origin::Secret(name.clone()),
        (None, Some(url), Some(file)) => Origin::File(url.clone(), file.clone()),
        _ => Origin::None,
    };
    let further = settings.mailcow_servers.iter().map(|server| (&*server.name, Origin::Secret(server.secret.clone())));
    let mut servers = BTreeMap::new();
    let mut secrets = BTreeMap::new();
    let all = [(DEFAULT_SERVER, default)].into_iter().chain(further);
    for (name, origin) in all.filter(|(name, _)| serving.has(name)) {
        let (source, server, secret) = Source::new(name, metrics.clone(), permit.clone(), settings, changes.clone());
        tokio::spawn(source.follow(origin, Api::namespaced(kube.clone(), &settings.operator_namespace)));
        servers.insert(name.to_owned(), server);
        secrets.insert(name.to_owned(), secret);
    }
    let others = serving.others().map(ToOwned::to_owned).collect();
    Servers { by_name: Arc::new(servers), others: Arc::new(others), secrets: Arc::new(secrets) }
}

async fn next_change(mut server: watch::Receiver<Server>) -> Option<((), watch::Receiver<Server>)> {
    server.changed().await.ok().map(|()| ((), server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Servers {
        let (_, none) = watch::channel(Err(Outcome::waiting(Reason::MailcowNotConfigured, "none yet")));
        Servers::new([(DEFAULT_SERVER.to_owned(), none.clone()), ("internal".to_owned(), none)])
    }

    #[test]
    fn an_unknown_server_is_told_with_those_that_the_namespace_may_use() {
        let told = |may_use: fn(&str) -> bool| match servers().unknown("elsewhere", may_use) {
            Outcome::Stalled(why) if why.reason == Reason::ServerNotFound => why.message,
            other => panic!("{other:?}"),
        };
        assert!(told(|_| true).contains("which may use: default, internal;"));
        let narrow = told(|name| name == "default");
        assert!(narrow.contains("which may use: default;") && !narrow.contains("internal"));
        assert!(told(|_| false).contains("which may use: none;"));
        assert!(matches!(servers().get("elsewhere"), Err(Outcome::Stalled(_))));
        assert!(matches!(servers().get("internal"), Err(Outcome::Waiting(_))));
    }

    #[test]
    fn a_server_of_another_instance_is_neither_unknown_nor_unconfigured() {
        let others = Arc::new(BTreeSet::from(["elsewhere".to_owned()]));
        let servers = Servers { others, ..servers() };
        assert!(matches!(servers.get("elsewhere"), Err(Outcome::Waiting(why)) if why.reason == Reason::Pending));
        assert!(servers.is_of_another("elsewhere") && !servers.is_not_configured("elsewhere"));
        assert!(!servers.names().any(|name| name == "elsewhere"), "it is not asked");
        let Outcome::Stalled(why) = servers.unknown("x", |_| true) else { unreachable!("the server is unknown") };
        assert!(why.message.contains("which may use: default, elsewhere, internal;"), "{}", why.message);
    }

    #[test]
    fn nothing_is_held_for_a_server_that_is_not_there() {
        assert!(servers().is_not_configured("default") && servers().is_not_configured("elsewhere"));
        let (_, down) = watch::channel(Err(Outcome::stalled(Reason::UnexpectedAnswer, "bad URL")));
        assert!(!Servers::new([("default".to_owned(), down)]).is_not_configured("default"));
    }

    #[test]
    fn the_configured_mail_host_is_the_default_servers() {
        assert_eq!(servers().mail_host("default", Some("mx.example")).as_deref(), Some("mx.example"));
        assert_eq!(servers().mail_host("internal", Some("mx.example")), None);
    }
}
