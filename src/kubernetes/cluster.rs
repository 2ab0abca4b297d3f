//! Which cluster to use: the one that the operator runs in, or the one of a given kubeconfig. A kubeconfig at its
//! default path is never used.

use std::ffi::OsStr;
use std::path::PathBuf;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Why the cluster is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Outside a cluster, and none is given.
    #[error("no cluster is given, and this is not a pod: use --kubeconfig FILE, or set KUBECONFIG ({0})")]
    NotNamed(#[source] kube::config::InClusterError),
    /// A kubeconfig is missing or invalid.
    #[error("the kubeconfig {file} can't be used: {error}")]
    Kubeconfig {
        /// Its path; of all files as given when they don't fit together.
        file: String,
        /// What is wrong with it.
        error: Box<KubeconfigError>,
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
    let kubeconfig = kubeconfig_of(files)?;
    let bad = unusable(files);
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(bad)
}

/// The kubeconfig of one file, or of several as in kubectl's variable `KUBECONFIG`.
///
/// # Errors
/// [`Error::Kubeconfig`].
pub(crate) fn kubeconfig_of(files: &OsStr) -> Result<Kubeconfig, Error> {
    let files = std::env::split_paths(files).filter(|file| !file.as_os_str().is_empty());
    Ok(merged(files)?.unwrap_or_default())
}

/// The kubeconfigs of several files as one: the first that names something counts. `None` without a file.
///
/// # Errors
/// [`Error::Kubeconfig`] with the file.
pub(crate) fn merged(files: impl IntoIterator<Item = PathBuf>) -> Result<Option<Kubeconfig>, Error> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files {
        let read = Kubeconfig::read_from(&file).map_err(unusable(file.as_os_str()))?;
        merged = Some(match merged {
            None => read,
            Some(before) => before.merge(read).map_err(unusable(file.as_os_str()))?,
        });
    }
    Ok(merged)
}

fn unusable(file: &OsStr) -> impl Fn(KubeconfigError) -> Error {
    let file = file.to_string_lossy().into_owned();
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
