//! Where the connection to Mailcow comes from, and how it follows changes without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use secrecy::SecretString;
use tokio::sync::watch;

use crate::config::Settings;
use crate::controller::servers::vanished::ConnectionSecret;
use crate::crd::RECREATE_VANISHED;
use crate::inventory::{Inventory, Moved};
use crate::leader::permit::Permit;
use crate::mailcow::{Client, Connection, Observer};
use crate::outcome::{Outcome, Reason, Why};
use crate::publisher::Publisher;
use crate::telemetry::Metrics;

/// How often the key file is read.
const FILE_INTERVAL: Duration = Duration::from_secs(5);

/// The message if no connection is configured.
const NOTHING: &str =
    "no Mailcow server is configured: set mailcow.url and mailcow.apiKey (or mailcow.existingSecret) in the chart";

/// A server, or why there is none.
pub(crate) type Server = Result<Arc<Inventory>, Outcome>;

/// Where the connection to a server is configured.
pub(crate) enum Origin {
    /// In a Secret of this name.
    Secret(String),
    /// The URL in an option, the key in a file.
    File(String, PathBuf),
    /// Nowhere.
    None,
}

/// Creates clients from connections, and keeps the client while its connection stays the same.
pub(crate) struct Source {
    name: String,
    current: Option<Connection>,
    sender: watch::Sender<Server>,
    secret: watch::Sender<Option<ConnectionSecret>>,
    metrics: Metrics,
    permit: Permit,
    poll_interval: Duration,
    forget: Duration,
    changes: Publisher<Arc<Moved>>,
}

impl Source {
    /// Publishes to `changes` what the operator's own writes affect.
    pub(crate) fn new(
        name: &str,
        metrics: Metrics,
        permit: Permit,
        settings: &Settings,
        changes: Publisher<Arc<Moved>>,
    ) -> (Self, watch::Receiver<Server>, watch::Receiver<Option<ConnectionSecret>>) {
        let why = "the operator has not read the connection to Mailcow yet";
        let (sender, receiver) = watch::channel(Err(Outcome::waiting(Reason::Pending, why)));
        let (secret, secret_receiver) = watch::channel(None);
        let poll_interval = settings.poll_interval();
        // An object reads this at each reconcile; a deleted one no more.
        let forget = (settings.resync + poll_interval) * 2;
        let name = name.to_owned();
        let source = Self { name, current: None, sender, secret, metrics, permit, poll_interval, forget, changes };
        (source, receiver, secret_receiver)
    }

    /// Follows the origin for ever.
    pub(crate) async fn follow(mut self, origin: Origin, secrets: Api<Secret>) {
        match origin {
            Origin::Secret(name) => self.follow_secret(&secrets, &name).await,
            Origin::File(url, file) => self.follow_file(url, &file).await,
            Origin::None => {
                self.missing(NOTHING.to_owned());
                // The receiver needs its sender to wait for changes.
                self.sender.closed().await;
            }
        }
    }

    async fn follow_file(&mut self, url: String, file: &std::path::Path) {
        loop {
            match tokio::fs::read_to_string(file).await {
                Ok(key) => {
                    let api_key = SecretString::from(key.trim());
                    self.set(Some(Connection { url: url.clone(), api_key, ca: None, mail_host: None }));
                }
                Err(error) => self.missing(format!("the API key file {} can't be read: {error}", file.display())),
            }
            tokio::time::sleep(FILE_INTERVAL).await;
        }
    }

    async fn follow_secret(&mut self, secrets: &Api<Secret>, name: &str) {
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = watcher(secrets.clone(), only).default_backoff().boxed();
        let mut seen = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret)) => {
                    seen = true;
                    self.note(&secret);
                    match Connection::of_secret(&secret) {
                        Ok(connection) => self.set(Some(connection)),
                        Err(why) => self.missing(why),
                    }
                }
                Ok(watcher::Event::Init) => seen = false,
                Ok(watcher::Event::Delete(_)) => {
                    self.secret.send_replace(None);
                    self.missing(missing_secret(name));
                }
                Ok(watcher::Event::InitDone) if !seen => self.missing(missing_secret(name)),
                Ok(watcher::Event::InitDone) => {}
                Err(error) => {
                    tracing::warn!(%error, secret = name, "the Secret with the connection can't be watched");
                    self.unknown(format!("the Secret {name} with the connection to Mailcow can't be watched: {error}"));
                }
            }
        }
    }

    /// Stores what the Secret has beside the connection; a new confirmation triggers everything.
    fn note(&self, secret: &Secret) {
        let now = ConnectionSecret {
            name: secret.name_any(),
            uid: secret.uid(),
            consent: secret.annotations().get(RECREATE_VANISHED).cloned(),
        };
        let before = self.secret.send_replace(Some(now.clone()));
        if now.consent.is_some() && before.is_some_and(|before| before.consent != now.consent) {
            self.sender.send_modify(|_| ());
        }
    }

    /// It is unknown whether there is a connection. Other servers must not wait for that; a known connection stays.
    fn unknown(&self, why: String) {
        let outcome = Outcome::Unknown(Why::new(Reason::KubernetesApiError, why));
        self.sender.send_if_modified(|server| {
            let is_first = is_pending(server);
            if is_first {
                *server = Err(outcome);
            }
            is_first
        });
    }

    fn missing(&mut self, why: String) {
        self.current = None;
        self.metrics.configured(&self.name, false);
        let outcome = Outcome::waiting(Reason::MailcowNotConfigured, why);
        self.sender.send_if_modified(|server| {
            let changed = !matches!(server, Err(before) if *before == outcome);
            *server = Err(outcome);
            changed
        });
    }

    fn set(&mut self, connection: Option<Connection>) {
        if connection == self.current {
            return;
        }
        let Some(new) = &connection else { return };
        let metrics = self.metrics.clone();
        let name = self.name.clone();
        let observer: Observer =
            Arc::new(move |action, outcome, took| metrics.asked_mailcow(&name, action, outcome, took));
        let permit = self.permit.clone();
        let client = Client::new(new, observer);
        let client = client.map(|client| Arc::new(client.with_permit(Arc::new(move || permit.holds()))));
        let inventory = |client| {
            let inventory = Inventory::new(client, self.poll_interval, self.forget);
            Arc::new(inventory.publishing_to(self.changes.clone()))
        };
        let server = client.map(inventory).map_err(|error| {
            tracing::error!(%error, "the connection to Mailcow is invalid");
            Outcome::Stalled(Why::new(error.reason(), error.to_string()))
        });
        if let Ok(inventory) = &server {
            tracing::info!(name = self.name, server = inventory.client().server(), "connection to Mailcow configured");
            tokio::spawn(first_request(inventory.client().clone(), self.name.clone(), self.metrics.clone()));
            tokio::spawn(trigger_on_recovery(inventory.client().recoveries(), self.sender.clone()));
        }
        self.metrics.configured(&self.name, server.is_ok());
        self.current = connection;
        self.sender.send_modify(|current| *current = server);
    }
}

/// Waits until it is known whether there is a server: an earlier reconcile would report for every object that there is
/// none.
pub(crate) async fn known(server: &watch::Receiver<Server>) {
    // An error only says that the process ends.
    let _ = server.clone().wait_for(|server| !is_pending(server)).await;
}

/// Whether nothing was read yet.
fn is_pending(server: &Server) -> bool {
    matches!(server, Err(Outcome::Waiting(why)) if why.reason == Reason::Pending)
}

/// Triggers everything when the server answers again; ends with the client.
async fn trigger_on_recovery(mut recoveries: watch::Receiver<u64>, sender: watch::Sender<Server>) {
    while recoveries.changed().await.is_ok() {
        sender.send_modify(|_| ());
    }
}

/// A read that logs at once whether URL and key are right.
async fn first_request(client: Arc<Client>, name: String, metrics: Metrics) {
    match client.known_version().await {
        Ok(version) => {
            metrics.mailcow_version(&name, &version);
            tracing::info!(server = client.server(), version, "Mailcow answers");
        }
        Err(error) => tracing::warn!(%error, "the first request to Mailcow failed"),
    }
}

fn missing_secret(name: &str) -> String {
    format!("the Secret {name} with the connection to Mailcow does not exist in the operator's namespace; create it")
}
