//! Clients of kubeconfigs whose credentials come from a program (`exec`). The program runs at the first call and not at the
//! start: it may take long, and must neither hold the protocol up nor read standard input, which is the protocol's.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::Request;
use kube::Config;
use kube::client::Body;
use kube::config::ExecInteractiveMode;

/// The program gives no credentials.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the program of the kubeconfig gives no credentials")]
pub(crate) struct NoCredentials;

/// A client that is made in the background, once for all who wait for it.
type Making = Shared<BoxFuture<'static, Result<kube::Client, NoCredentials>>>;

struct Lazy {
    config: Config,
    making: Mutex<Option<Making>>,
}

/// A client of the configuration. Without a program for its credentials it is made at once.
///
/// # Errors
/// When the configuration can't be used.
pub(crate) fn client(mut config: Config) -> Result<kube::Client, kube::Error> {
    let Some(exec) = &mut config.auth_info.exec else { return kube::Client::try_from(config) };
    exec.interactive_mode = Some(ExecInteractiveMode::Never);
    let lazy = Arc::new(Lazy { config, making: Mutex::default() });
    let service = tower::service_fn(move |request: Request<Body>| {
        let made = lazy.made();
        async move { Ok::<_, tower::BoxError>(made.await?.send(request).await?) }
    });
    Ok(kube::Client::new(service, "default"))
}

impl Lazy {
    /// The client, being made or made. After a failure the next call tries again.
    fn made(&self) -> Making {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = making.as_ref().filter(|known| !matches!(known.peek(), Some(Err(_)))) {
            return known.clone();
        }
        let config = self.config.clone();
        let work = tokio::task::spawn_blocking(move || kube::Client::try_from(config));
        // The words of the program may have secrets, so nobody gets them.
        let new = async move { work.await.ok().and_then(Result::ok).ok_or(NoCredentials) }.boxed().shared();
        *making = Some(new.clone());
        new
    }
}
