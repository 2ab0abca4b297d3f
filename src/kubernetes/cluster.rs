//! Which cluster to work on: the one that the operator runs in, or the one of a kubeconfig that somebody names. A
//! kubeconfig that merely lies around is never used.

use std::ffi::OsStr;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Why it is not known which cluster to work on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Outside of a cluster, and none is named.
    #[error("no cluster is given, and this is not a pod: use --kubeconfig FILE, or set KUBECONFIG ({0})")]
    NotNamed(#[source] kube::config::InClusterError),
    /// A kubeconfig can't be used.
    #[error("the kubeconfig {file} is invalid: {error}")]
    Kubeconfig {
        /// As it was named.
        file: String,
        /// What is wrong with it.
        error: Box<kube::config::KubeconfigError>,
    },
}

/// The cluster of the kubeconfig, or the one that this process runs in.
///
/// # Errors
/// [`Error`].
pub(crate) async fn config(kubeconfig: Option<&OsStr>) -> Result<Config, Error> {
    let Some(files) = kubeconfig.filter(|files| !files.is_empty()) else {
        return Config::incluster().map_err(Error::NotNamed);
    };
    let bad = |error| Error::Kubeconfig { file: files.to_string_lossy().into_owned(), error: Box::new(error) };
    let mut merged = Kubeconfig::default();
    for file in std::env::split_paths(files).filter(|file| !file.as_os_str().is_empty()) {
        merged = merged.merge(Kubeconfig::read_from(file).map_err(bad)?).map_err(bad)?;
    }
    Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await.map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_cluster_is_guessed() {
        let error = config(None).await.unwrap_err().to_string();
        assert!(error.contains("--kubeconfig"), "{error}");
        let error = config(Some(OsStr::new("/nowhere/at/all"))).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
