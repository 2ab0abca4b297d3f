//! The sinks with the values of their Secrets, followed: from the file with the sinks, and from Secrets that are read by
//! name, so that the worker needs no right to list Secrets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::sync::watch;

use super::sinks::{needed, resolve};
use crate::intake::sink::Sink;
use crate::mail::Sinks;

/// How often the Secrets are read: a rotated key is used after this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// The sinks at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolved {
    /// As configured.
    pub(crate) sinks: Arc<Sinks>,
    /// Those that can be used.
    pub(crate) usable: BTreeMap<String, Arc<Sink>>,
    /// What is wrong with the others.
    pub(crate) invalid: BTreeMap<String, String>,
}

/// Follows the sinks for ever.
pub(crate) async fn follow(
    api: Api<Secret>,
    mut sinks: watch::Receiver<Arc<Sinks>>,
    sender: watch::Sender<Arc<Resolved>>,
) {
    let mut known: BTreeMap<String, Option<Secret>> = BTreeMap::new();
    loop {
        let now = sinks.borrow_and_update().clone();
        known = read(&api, &now, known).await;
        let resolved = resolve_all(&now, &known);
        report(&sender.borrow().invalid, &resolved.invalid);
        sender.send_replace(Arc::new(resolved));
        // An error only says that the file is not followed any more, because the process ends.
        let _ = tokio::time::timeout(INTERVAL, sinks.changed()).await;
    }
}

/// The Secrets that the sinks need; one that can't be read now stays as it was.
async fn read(
    api: &Api<Secret>,
    sinks: &Sinks,
    known: BTreeMap<String, Option<Secret>>,
) -> BTreeMap<String, Option<Secret>> {
    let mut secrets = BTreeMap::new();
    for name in sinks.iter().flat_map(needed) {
        if secrets.contains_key(name) {
            continue;
        }
        let secret = match api.get_opt(name).await {
            Ok(secret) => secret,
            Err(kube::Error::Api(error)) if error.is_forbidden() => None,
            Err(error) => {
                tracing::warn!(%error, secret = name, "the Secret of a sink can't be read; the operator retries");
                known.get(name).cloned().flatten()
            }
        };
        secrets.insert(name.to_owned(), secret);
    }
    secrets
}

fn resolve_all(sinks: &Arc<Sinks>, secrets: &BTreeMap<String, Option<Secret>>) -> Resolved {
    let mut resolved = Resolved { sinks: sinks.clone(), ..Resolved::default() };
    for sink in sinks.iter() {
        match resolve(sink, |name| secrets.get(name)?.as_ref()) {
            Ok(Some(usable)) => drop(resolved.usable.insert(sink.name.clone(), Arc::new(usable))),
            Ok(None) => {}
            Err(why) => {
                let message = format!("the sink {} can't be used: {why}. Copies wait in the mailbox", sink.name);
                resolved.invalid.insert(sink.name.clone(), message);
            }
        }
    }
    resolved
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
        assert!(resolved.invalid["b"].contains("the Secret s does not exist"), "{:?}", resolved.invalid);
    }
}
