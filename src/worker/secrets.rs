//! The sinks with the values of their Secrets, followed: from the file with the sinks, and from Secrets that are read by
//! name, so that the worker needs no right to list Secrets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::sync::watch;

use super::sinks::{SecretState, needed, resolve};
use crate::intake::sink::Sink;
use crate::mail::{self, Sinks};

/// How often the Secrets are read: a rotated key is used after this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// The sinks at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resolved {
    /// As configured.
    pub(crate) sinks: Arc<Sinks>,
    /// Those that can be used.
    pub(crate) usable: BTreeMap<String, Arc<Sink>>,
    /// What is wrong with the others.
    pub(crate) invalid: BTreeMap<String, String>,
    /// A hash of the configuration of each that can be used: of its fields and the versions of its Secrets, not of their
    /// values.
    pub(crate) configurations: BTreeMap<String, String>,
}

/// Follows the sinks for ever. Sends the first time, and when something changed.
pub(crate) async fn follow(
    api: Api<Secret>,
    mut sinks: watch::Receiver<Arc<Sinks>>,
    sender: watch::Sender<Option<Arc<Resolved>>>,
) {
    let mut known: BTreeMap<String, SecretState> = BTreeMap::new();
    loop {
        let now = sinks.borrow_and_update().clone();
        known = read(&api, &now, known).await;
        send(&sender, resolve_all(&now, &known));
        // An error only says that the file is not followed any more, because the process ends.
        let _ = tokio::time::timeout(INTERVAL, sinks.changed()).await;
    }
}

/// Sends what differs: each new value makes the work anew.
fn send(sender: &watch::Sender<Option<Arc<Resolved>>>, resolved: Resolved) {
    sender.send_if_modified(|last| {
        if last.as_deref() == Some(&resolved) {
            return false;
        }
        report(last.as_ref().map_or(&BTreeMap::new(), |last| &last.invalid), &resolved.invalid);
        *last = Some(Arc::new(resolved));
        true
    });
}

/// The Secrets that the sinks need; one that can't be read now stays as it was.
async fn read(
    api: &Api<Secret>,
    sinks: &Sinks,
    mut known: BTreeMap<String, SecretState>,
) -> BTreeMap<String, SecretState> {
    let mut secrets = BTreeMap::new();
    for name in sinks.iter().flat_map(needed) {
        if !secrets.contains_key(name) {
            let state = after_read(api.get_opt(name).await, name, known.remove(name));
            secrets.insert(name.to_owned(), state);
        }
    }
    secrets
}

fn after_read(result: Result<Option<Secret>, kube::Error>, name: &str, before: Option<SecretState>) -> SecretState {
    match result {
        Ok(Some(secret)) => SecretState::Found(Box::new(secret)),
        Ok(None) => SecretState::Missing,
        Err(kube::Error::Api(error)) if error.is_forbidden() => SecretState::Forbidden,
        Err(error) => {
            tracing::warn!(%error, secret = name, "the Secret of a sink can't be read; the worker retries");
            match before {
                None | Some(SecretState::Unknown(_)) => SecretState::Unknown(error.to_string()),
                Some(before) => before,
            }
        }
    }
}

fn resolve_all(sinks: &Arc<Sinks>, secrets: &BTreeMap<String, SecretState>) -> Resolved {
    let mut resolved = Resolved { sinks: sinks.clone(), ..Resolved::default() };
    for sink in sinks.iter() {
        match resolve(sink, |name| secrets.get(name)) {
            Ok(Some(usable)) => {
                resolved.configurations.insert(sink.name.clone(), configuration(sink, secrets));
                resolved.usable.insert(sink.name.clone(), Arc::new(usable));
            }
            Ok(None) => {}
            Err(why) => {
                let message = format!("the sink {} can't be used: {why}. Copies wait in the mailbox", sink.name);
                resolved.invalid.insert(sink.name.clone(), message);
            }
        }
    }
    resolved
}

/// What tells one configuration of a sink from another, also after a restart.
fn configuration(sink: &mail::Sink, secrets: &BTreeMap<String, SecretState>) -> String {
    let version = |name: &str| match secrets.get(name) {
        Some(SecretState::Found(secret)) => secret.metadata.resource_version.clone(),
        _ => None,
    };
    let versions: Vec<Option<String>> = needed(sink).into_iter().map(version).collect();
    let mut hash = mail::sha256(&format!("{:?} {versions:?}", sink.kind));
    hash.truncate(16);
    hash
}

/// Logs what became wrong, and what is right again.
fn report(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) {
    for (sink, message) in now.iter().filter(|(sink, message)| before.get(*sink) != Some(message)) {
        tracing::error!(sink, "{message}");
    }
    for sink in before.keys().filter(|sink| !now.contains_key(*sink)) {
        tracing::info!(sink, "the sink can be used again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_cannot_be_used_takes_no_other_down() {
        let yaml = "[{name: a, webhook: {url: 'https://a.example'}, namespaces: ['*']},
            {name: b, webhook: {url: 'https://b.example', signingKeys: [{secretName: s}]}, namespaces: ['*']},
            {name: c, email: {address: in@c.example}, namespaces: ['*']}]";
        let resolved = resolve_all(&Arc::new(Sinks::parse(yaml).unwrap()), &BTreeMap::new());
        assert_eq!(resolved.usable.keys().collect::<Vec<_>>(), ["a"]);
        assert!(resolved.invalid["b"].contains("the Secret s was not read yet"), "{:?}", resolved.invalid);
    }

    fn refused(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status::failure("etcd is slow", "x").with_code(code)))
    }

    #[test]
    fn a_secret_that_could_not_be_read_is_not_missing() {
        let yaml = "[{name: b, webhook: {url: 'https://b.example', bearerToken: {secretName: s}}, namespaces: ['*']}]";
        let sinks = Arc::new(Sinks::parse(yaml).unwrap());
        let invalid = |state: SecretState| {
            resolve_all(&sinks, &BTreeMap::from([("s".to_owned(), state)])).invalid.remove("b").unwrap_or_default()
        };
        let first = after_read(Err(refused(500)), "s", None);
        let message = invalid(first.clone());
        assert!(message.contains("can't be read now") && !message.contains("does not exist"), "{message}");
        assert!(invalid(after_read(Ok(None), "s", None)).contains("does not exist"));
        let forbidden = kube::core::Status::failure("no", "Forbidden").with_code(403);
        let forbidden = after_read(Err(kube::Error::Api(Box::new(forbidden))), "s", None);
        assert!(invalid(forbidden).contains("may not be read"));
        let data = BTreeMap::from([("token".to_owned(), k8s_openapi::ByteString(b"t".to_vec()))]);
        let found = after_read(Ok(Some(Secret { data: Some(data), ..Secret::default() })), "s", Some(first));
        assert_eq!(invalid(after_read(Err(refused(500)), "s", Some(found))), "", "it stays as it was");
    }

    #[test]
    fn a_configuration_is_known_again_and_differs_with_the_versions_of_its_secrets() {
        let yaml = "[{name: b, webhook: {url: 'https://b.example', bearerToken: {secretName: s}}, namespaces: ['*']}]";
        let of = |yaml: &str, version: &str| {
            let data = BTreeMap::from([("token".to_owned(), k8s_openapi::ByteString(b"t".to_vec()))]);
            let mut secret = Secret { data: Some(data), ..Secret::default() };
            secret.metadata.resource_version = Some(version.to_owned());
            let secrets = BTreeMap::from([("s".to_owned(), SecretState::Found(Box::new(secret)))]);
            resolve_all(&Arc::new(Sinks::parse(yaml).unwrap()), &secrets).configurations["b"].clone()
        };
        assert_eq!(of(yaml, "1"), of(yaml, "1"));
        assert_ne!(of(yaml, "1"), of(yaml, "2"));
        assert_ne!(of(yaml, "1"), of(&yaml.replace("b.example", "c.example"), "1"));
    }

    #[test]
    fn only_a_difference_is_sent() {
        let yaml = "[{name: a, webhook: {url: 'https://a.example'}, namespaces: ['*']}]";
        let resolved = || resolve_all(&Arc::new(Sinks::parse(yaml).unwrap()), &BTreeMap::new());
        let (sender, mut receiver) = watch::channel(None);
        send(&sender, Resolved::default());
        assert!(receiver.has_changed().unwrap(), "the first one always");
        receiver.borrow_and_update();
        send(&sender, resolved());
        assert!(receiver.has_changed().unwrap());
        receiver.borrow_and_update();
        send(&sender, resolved());
        assert!(!receiver.has_changed().unwrap());
    }
}
