//! The programs of the control plane, and those that judge objects, built once per machine by the scripts in
//! `tests/controlplane` and `tests/judges`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::{Error, Result};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../controlplane");

/// The folder with `etcd`, `kube-apiserver`, `kube-controller-manager` and `kubectl`; minutes the first time, then
/// instant.
///
/// # Errors
/// [`Error::Command`] with the script's words, as when Go is missing.
pub async fn kubernetes() -> Result<PathBuf> {
    build("build.sh").await
}

/// The `helm` program; minutes the first time, then instant.
///
/// # Errors
/// As [`kubernetes`].
pub async fn helm() -> Result<PathBuf> {
    build("helm.sh").await
}

/// The folder with the program `judges` and the CRDs of Argo CD's and Flux's kinds; minutes the first time, then instant.
///
/// # Errors
/// As [`kubernetes`].
pub async fn judges() -> Result<PathBuf> {
    build("../judges/build.sh").await
}

async fn build(script: &str) -> Result<PathBuf> {
    let path = Path::new(SCRIPTS).join(script);
    let output = run(Command::new(&path)).await?;
    Ok(PathBuf::from(output.trim_end()))
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// [`Error::Command`] with its standard error when it fails.
pub(crate) async fn run(mut command: Command) -> Result<String> {
    let name = describe(&command);
    let output = command.kill_on_drop(true).output().await.map_err(Error::system(format!("run {name}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Command { command: name, output })
    }
}

fn describe(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
