//! The right to write, asked at both doors: before each write to Mailcow and before each to the Kubernetes API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::client::{Body, ClientBuilder};
use tower::filter::FilterLayer;

/// Until when this process may write. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Permit(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    Always,
    Never,
    Then(Instant),
}

impl Permit {
    /// The right of one that is alone.
    pub(crate) fn always() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// Gives it until then.
    pub(crate) fn grant(&self, until: Instant) {
        self.set(Until::Then(until));
    }

    /// Takes it back.
    pub(crate) fn revoke(&self) {
        self.set(Until::Never);
    }

    /// Whether this process may write.
    pub(crate) fn holds(&self) -> bool {
        self.left().is_some()
    }

    /// How long it may still write; `None` when it may not.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Until::Always => Some(Duration::MAX),
            Until::Never => None,
            Until::Then(then) => then.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()),
        }
    }

    fn set(&self, until: Until) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Said of what was not sent.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent: another instance may lead by now")]
struct NotLeading;

/// A client of the Kubernetes API that sends writes only while `permit` holds.
///
/// # Errors
/// When the configuration can't be used.
pub(crate) fn client(config: kube::Config, permit: Permit) -> Result<kube::Client, kube::Error> {
    let check = move |request: http::Request<Body>| {
        if *request.method() == http::Method::GET || permit.holds() { Ok(request) } else { Err(NotLeading) }
    };
    Ok(ClientBuilder::try_from(config)?.with_layer(&FilterLayer::new(check)).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_the_clock_and_by_hand() {
        let permit = Permit::always();
        assert!(permit.holds());
        permit.grant(Instant::now() + Duration::from_mins(1));
        let interner = permit.clone();
        assert!(interner.holds() && interner.left().is_some_and(|left| left <= Duration::from_mins(1)));
        interner.revoke();
        assert!(!permit.holds());
        permit.grant(Instant::now());
        assert!(!permit.holds(), "the time is over");
    }

    #[tokio::test]
    async fn without_it_the_kubernetes_api_is_read_and_not_written() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Nobody listens there: what is sent ends in another error.
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let permit = Permit::always();
        let leases: kube::Api<k8s_openapi::api::coordination::v1::Lease> =
            kube::Api::namespaced(client(config, permit.clone()).unwrap(), "n");
        let is_held_back = async |lease: &str| {
            let (read, written) =
                (leases.get(lease).await, leases.delete(lease, &kube::api::DeleteParams::default()).await);
            let said = [read.unwrap_err().to_string(), written.unwrap_err().to_string()];
            said.map(|error| error.contains("nothing was sent"))
        };
        assert_eq!(is_held_back("a").await, [false, false]);
        permit.revoke();
        assert_eq!(is_held_back("a").await, [false, true]);
    }
}
