//! Which namespaces the operator can read: a deleted namespace in the list must not block the others.

use std::time::Duration;

use futures::future::select_all;
use kube::Api;
use kube::api::ListParams;

use crate::kubernetes::object::Object;
use crate::kubernetes::stores::in_namespaces;

/// How often an inaccessible namespace is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Namespaces that the operator can't read.
pub(crate) struct Inaccessible<K>(Vec<Api<K>>);

/// One cheap list in each namespace, which fails with a clear reason where watches would only retry. Listed namespaces
/// that are not accessible, for example because they don't exist, are removed from the list.
///
/// # Errors
/// When the kinds are not there, or none of the namespaces may be looked at.
pub(crate) async fn check<K: Object>(
    kube: &kube::Client,
    listed: &mut Vec<String>,
) -> Result<Inaccessible<K>, kube::Error> {
    let namespaces: Vec<Api<K>> = in_namespaces(kube, listed);
    let (mut open, mut closed) = (0, Vec::new());
    let mut refusal = None;
    for place in namespaces {
        match list_one(&place).await {
            Ok(()) => open += 1,
            Err(error) if is_forbidden(&error) => {
                refusal = Some(error);
                closed.push(place);
            }
            Err(error) => return Err(error),
        }
    }
    match refusal {
        Some(error) if open == 0 => Err(error),
        _ => Ok(left_out(closed, listed)),
    }
}

fn left_out<K: Object>(closed: Vec<Api<K>>, listed: &mut Vec<String>) -> Inaccessible<K> {
    for namespace in closed.iter().filter_map(Api::namespace) {
        tracing::error!(
            namespace,
            "the operator ignores this namespace, because it may not list objects there. Create the namespace, or remove it from watchNamespaces, and upgrade the release"
        );
        listed.retain(|listed| listed != namespace);
    }
    Inaccessible(closed)
}

impl<K: Object + 'static> Inaccessible<K> {
    /// Waits until one of them is accessible; for ever if there is none. Its objects are known only after a restart,
    /// which lists all kinds first.
    pub(crate) async fn wait_until_accessible(self) {
        let opening = self.0.into_iter().map(|place| Box::pin(accessible(place)));
        let opening: Vec<_> = opening.collect();
        if opening.is_empty() {
            return std::future::pending().await;
        }
        let (namespace, ..) = select_all(opening).await;
        tracing::info!(namespace, "the operator can read this namespace now, and restarts to include it");
    }
}

async fn accessible<K: Object>(place: Api<K>) -> String {
    loop {
        tokio::time::sleep(RETRY).await;
        if list_one(&place).await.is_ok() {
            return place.namespace().unwrap_or_default().to_owned();
        }
    }
}

async fn list_one<K: Object>(place: &Api<K>) -> Result<(), kube::Error> {
    place.list(&ListParams::default().limit(1)).await.map(|_| ())
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}
