//! How the process is told to stop: SIGTERM, Ctrl-C, or a namespace that has become accessible.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::kubernetes::access::Inaccessible;
use crate::kubernetes::object::Object;

/// Becomes true at SIGTERM or Ctrl-C, or when a restart is needed.
pub(crate) fn listen<K: Object + 'static>(inaccessible: Inaccessible<K>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let terminated = async {
            match signal(SignalKind::terminate()) {
                Ok(mut terminate) => terminate.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminated => tracing::info!("stopping: finishing current work first"),
            _ = tokio::signal::ctrl_c() => tracing::info!("stopping: finishing current work first"),
            () = inaccessible.wait_until_accessible() => {}
        }
        sender.send_replace(true);
    });
    receiver
}

/// Waits until the process must stop.
pub(crate) async fn requested(mut ending: watch::Receiver<bool>) {
    // Without its sender no stop can be requested.
    if ending.wait_for(|ending| *ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}
