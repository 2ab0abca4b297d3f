//! The Secrets with the app passwords of task delivery, in the release's namespace. The operator writes them, and the
//! worker reads them.
//!
//! There is a fixed number of Secrets with known names, so that RBAC can name them: the worker must not read the other
//! Secrets there, such as the one with Mailcow's API key. Each mailbox has one entry, by the uid of its object.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::kubernetes::refusal::without_values;
use crate::kubernetes::writer::MANAGER;
use crate::publisher::Publisher;

/// Number of Secrets. One has room for about 4,000 entries.
const SECRETS: u8 = 8;
/// When they are not listed after this time, the reason is looked for: a watch only tries again.
const LISTING: Duration = Duration::from_secs(2);

/// What is stored of a mailbox.
#[derive(Clone)]
pub(crate) struct AppPasswordEntry {
    /// Its address.
    pub(crate) address: String,
    /// Its Mailcow server, as `spec.server` of the domain names it.
    pub(crate) server: String,
    /// The host name of that server's mail services.
    pub(crate) host: String,
    /// The version in the name of the app password on Mailcow.
    pub(crate) version: String,
    /// The app password.
    pub(crate) password: SecretString,
    /// The last value of the annotation that asks for another one.
    pub(crate) replaced_for: Option<String>,
}

/// An entry as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    address: String,
    server: String,
    host: String,
    version: String,
    password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced_for: Option<String>,
}

impl PartialEq for AppPasswordEntry {
    fn eq(&self, other: &Self) -> bool {
        let all = |entry: &Self| {
            let Self { address, server, host, version, replaced_for, .. } = entry.clone();
            (address, server, host, version, replaced_for)
        };
        all(self) == all(other) && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl fmt::Debug for AppPasswordEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppPasswordEntry").field("address", &self.address).finish_non_exhaustive()
    }
}

impl AppPasswordEntry {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            address: written.address,
            server: written.server,
            host: written.host,
            version: written.version,
            password: SecretString::from(written.password),
            replaced_for: written.replaced_for,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let written = Written {
            address: self.address.clone(),
            server: self.server.clone(),
            host: self.host.clone(),
            version: self.version.clone(),
            password: self.password.expose_secret().to_owned(),
            replaced_for: self.replaced_for.clone(),
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }
}

/// The entries of one Secret, by the uid of the mailbox.
type Entries = BTreeMap<String, Arc<AppPasswordEntry>>;

/// One Secret.
#[derive(Debug, Default)]
struct Shard {
    /// Its version, to leave out news that come late.
    version: Option<u64>,
    entries: Entries,
}

/// All entries, as they were last seen or written. Clones share them.
#[derive(Clone)]
pub(crate) struct AppPasswords {
    secrets: Api<Secret>,
    prefix: String,
    shards: Arc<Mutex<Vec<Shard>>>,
    changes: Publisher<String>,
    /// Number of Secrets that were not listed yet.
    unlisted: watch::Receiver<u8>,
}

impl AppPasswords {
    /// Follows the Secrets `<prefix>-0`, `<prefix>-1` and so on.
    pub(crate) fn follow(secrets: Api<Secret>, prefix: &str) -> Self {
        let (listed, unlisted) = watch::channel(SECRETS);
        let shards = Arc::new(Mutex::new((0..SECRETS).map(|_| Shard::default()).collect()));
        let all = Self { secrets, prefix: prefix.to_owned(), shards, changes: Publisher::default(), unlisted };
        let listed = Arc::new(listed);
        for n in 0..SECRETS {
            tokio::spawn(all.clone().follow_one(n, listed.clone()));
        }
        all
    }

    /// No entries, and no Secret is read.
    pub(crate) fn none(secrets: Api<Secret>) -> Self {
        let (_, unlisted) = watch::channel(0);
        Self { secrets, prefix: String::new(), shards: Arc::default(), changes: Publisher::default(), unlisted }
    }

    /// Waits until all Secrets are listed.
    ///
    /// # Errors
    /// When Kubernetes refuses to list them.
    pub(crate) async fn ready(&self) -> Result<(), kube::Error> {
        let mut unlisted = self.unlisted.clone();
        loop {
            // An error only says that the watches have ended with the process.
            if tokio::time::timeout(LISTING, unlisted.wait_for(|unlisted| *unlisted == 0)).await.is_ok() {
                return Ok(());
            }
            for n in 0..SECRETS {
                let only = ListParams::default().fields(&format!("metadata.name={}", self.name(n)));
                self.secrets.list_metadata(&only).await?;
            }
        }
    }

    /// Publishes the uid of each mailbox whose entry changed.
    pub(crate) fn changes(&self) -> &Publisher<String> {
        &self.changes
    }

    /// The entry of the mailbox with this uid.
    pub(crate) fn get(&self, uid: &str) -> Option<Arc<AppPasswordEntry>> {
        self.shards().get(usize::from(shard_of(uid)))?.entries.get(uid).cloned()
    }

    /// The uids of all mailboxes with an entry.
    pub(crate) fn uids(&self) -> Vec<String> {
        self.shards().iter().flat_map(|shard| shard.entries.keys().cloned()).collect()
    }

    /// Writes or removes the entry of a mailbox.
    ///
    /// # Errors
    /// When the Kubernetes API fails; the error has nothing of the entry.
    pub(crate) async fn write(&self, uid: &str, entry: Option<&AppPasswordEntry>) -> Result<(), kube::Error> {
        if entry.is_none() && self.get(uid).is_none() {
            return Ok(());
        }
        let n = shard_of(uid);
        let name = self.name(n);
        let bytes = entry.map(AppPasswordEntry::bytes);
        let data = bytes.as_ref().map(|bytes| (uid.to_owned(), ByteString(bytes.clone())));
        let sent = Secret { data: Some(data.into_iter().collect()), ..Secret::default() };
        let patch = serde_json::json!({"data": {uid: bytes.map(|bytes| STANDARD.encode(bytes))}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let done = match self.secrets.patch(&name, &params, &patch).await {
            Err(kube::Error::Api(error)) if error.is_not_found() && entry.is_none() => return Ok(()),
            Err(kube::Error::Api(error)) if error.is_not_found() => match self.create(&name, sent.clone()).await {
                // Another reconcile has created it meanwhile.
                Err(kube::Error::Api(error)) if error.is_already_exists() => {
                    self.secrets.patch(&name, &params, &patch).await
                }
                done => done,
            },
            done => done,
        };
        let written = done.map_err(|error| without_entry(error, &sent, entry))?;
        self.note(n, Some(&written));
        Ok(())
    }

    async fn create(&self, name: &str, secret: Secret) -> Result<Secret, kube::Error> {
        let labels = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())]);
        let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
        let secret = Secret { metadata, type_: Some("Opaque".to_owned()), ..secret };
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        self.secrets.create(&params, &secret).await
    }

    async fn follow_one(self, n: u8, listed: Arc<watch::Sender<u8>>) {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.name(n)));
        let mut events = watcher(self.secrets.clone(), only).default_backoff().boxed();
        let (mut is_listed, mut is_there) = (false, false);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret)) => {
                    is_there = true;
                    self.note(n, Some(&secret));
                }
                Ok(watcher::Event::Delete(_)) => self.note(n, None),
                Ok(watcher::Event::Init) => is_there = false,
                Ok(watcher::Event::InitDone) => {
                    if !is_there {
                        self.note(n, None);
                    }
                    if !is_listed {
                        is_listed = true;
                        listed.send_modify(|unlisted| *unlisted -= 1);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, secret = self.name(n), "a Secret with app passwords can't be watched");
                }
            }
        }
    }

    /// Stores what a Secret has, and publishes the differences.
    fn note(&self, n: u8, secret: Option<&Secret>) {
        let version = secret.and_then(|secret| secret.resource_version()?.parse().ok());
        let data = secret.and_then(|secret| secret.data.as_ref()).into_iter().flatten();
        let entries: Entries =
            data.filter_map(|(uid, value)| Some((uid.clone(), Arc::new(AppPasswordEntry::parse(&value.0)?)))).collect();
        let mut shards = self.shards();
        let Some(shard) = shards.get_mut(usize::from(n)) else { return };
        // Versions grow with time; an answer may overtake the watch.
        if secret.is_some() && version.zip(shard.version).is_some_and(|(new, known)| new < known) {
            return;
        }
        let before = std::mem::replace(shard, Shard { version, entries }).entries;
        let after = &shard.entries;
        let mut differ: Vec<String> =
            before.iter().filter(|(uid, entry)| after.get(*uid) != Some(*entry)).map(|(uid, _)| uid.clone()).collect();
        differ.extend(after.keys().filter(|uid| !before.contains_key(*uid)).cloned());
        drop(shards);
        for uid in differ {
            self.changes.publish(&uid);
        }
    }

    fn name(&self, n: u8) -> String {
        format!("{}-{n}", self.prefix)
    }

    fn shards(&self) -> MutexGuard<'_, Vec<Shard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Secret that has the entry of a mailbox: uids are random.
fn shard_of(uid: &str) -> u8 {
    let sum = uid.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    sum % SECRETS
}

/// The error without the entry, and without the password in it.
fn without_entry(error: kube::Error, sent: &Secret, entry: Option<&AppPasswordEntry>) -> kube::Error {
    let password = entry.map(|entry| entry.password.expose_secret().as_bytes().to_vec());
    let password = password.map(|password| ("password".to_owned(), ByteString(password)));
    let alone = Secret { data: Some(password.into_iter().collect()), ..Secret::default() };
    without_values(without_values(error, sent), &alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AppPasswordEntry {
        AppPasswordEntry {
            address: "ada@example.com".into(),
            server: "default".into(),
            host: "mail.example.com".into(),
            version: "v1".into(),
            password: SecretString::from("s3cret-Word"),
            replaced_for: Some("1".into()),
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_shows_no_password() {
        assert_eq!(AppPasswordEntry::parse(&entry().bytes()), Some(entry()));
        assert!(!format!("{:?}", entry()).contains("s3cret"));
        assert_eq!(AppPasswordEntry::parse(b"nonsense"), None);
    }

    #[test]
    fn the_entries_spread_over_all_secrets() {
        let uids = (0..400).map(|n| format!("7d0a2f0e-58a4-4f6e-9a6b-{n:012x}"));
        let mut counts = [0; SECRETS as usize];
        for uid in uids {
            counts[usize::from(shard_of(&uid))] += 1;
        }
        assert!(counts.iter().all(|count| (20..90).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_refusal_shows_nothing_of_the_entry() {
        let sent = Secret {
            data: Some(BTreeMap::from([("uid".to_owned(), ByteString(entry().bytes()))])),
            ..Secret::default()
        };
        let said = format!("denied: {} {}", String::from_utf8(entry().bytes()).unwrap(), "s3cret-Word");
        let error = kube::Error::Api(Box::new(kube::core::Status::failure(&said, "Forbidden").with_code(403)));
        let shown = without_entry(error, &sent, Some(&entry())).to_string();
        assert!(shown.contains("denied") && !shown.contains("s3cret"), "{shown}");
    }
}
