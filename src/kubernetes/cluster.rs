//! Which cluster to use: the one that the operator runs in, or the one of a given kubeconfig. A kubeconfig at its
//! default path is never used.

use std::ffi::OsStr;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Why the cluster is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Outside a cluster, and none is given.
    #[error("no cluster is given, and this is not a pod: use --kubeconfig FILE, or set KUBECONFIG ({0})")]
    NotNamed(#[source] kube::config::InClusterError),
    /// A kubeconfig is invalid.
    #[error("the kubeconfig {file} is invalid: {error}")]
    Kubeconfig {
        /// As given.
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
    Config::from_custom_kubeconfig(kubeconfig_of(files)?, &KubeConfigOptions::default()).await.map_err(bad(files))
}

/// The kubeconfig of one file, or of several as in kubectl's variable `KUBECONFIG`.
///
/// # Errors
/// [`Error::Kubeconfig`].
pub(crate) fn kubeconfig_of(files: &OsStr) -> Result<Kubeconfig, Error> {
    let mut merged = Kubeconfig::default();
    for file in std::env::split_paths(files).filter(|file| !file.as_os_str().is_empty()) {
        merged = merged.merge(Kubeconfig::read_from(file).map_err(bad(files))?).map_err(bad(files))?;
    }
    Ok(merged)
}

fn bad(files: &OsStr) -> impl Fn(kube::config::KubeconfigError) -> Error {
    let file = files.to_string_lossy().into_owned();
    move |error| Error::Kubeconfig { file: file.clone(), error: Box::new(error) }
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
