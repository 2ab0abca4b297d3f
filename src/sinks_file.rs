//! The file with the installation's sinks, read repeatedly: a change needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::mail::Sinks;

/// How often the file is read.
const INTERVAL: Duration = Duration::from_secs(5);

/// Follows the file for ever; without a file there are no sinks. If a later version is invalid, the last valid one
/// stays.
///
/// # Errors
/// When the file can't be used from the start: rules must not lose their sinks by a typing error.
pub(crate) fn follow(file: Option<PathBuf>) -> Result<watch::Receiver<Arc<Sinks>>, String> {
    let first = match &file {
        Some(path) => parsed(std::fs::read_to_string(path)).map_err(|error| format!("{}: {error}", path.display()))?,
        None => Sinks::default(),
    };
    let (sender, receiver) = watch::channel(Arc::new(first));
    tokio::spawn(look_again(file, sender));
    Ok(receiver)
}

fn parsed(text: std::io::Result<String>) -> Result<Sinks, String> {
    text.map_err(|error| error.to_string()).and_then(|text| Sinks::parse(&text).map_err(|e| e.to_string()))
}

async fn look_again(file: Option<PathBuf>, sender: watch::Sender<Arc<Sinks>>) {
    let Some(file) = file else {
        // The receiver needs its sender to wait for changes.
        return sender.closed().await;
    };
    let mut last = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let text = tokio::fs::read_to_string(&file).await;
        let now = text.as_ref().ok().cloned();
        if last == Some(now.clone()) {
            continue;
        }
        last = Some(now);
        let Some(sinks) = read(&file, text) else { continue };
        sender.send_if_modified(|known| {
            let differs = **known != sinks;
            *known = Arc::new(sinks);
            differs
        });
    }
}

fn read(file: &Path, text: std::io::Result<String>) -> Option<Sinks> {
    match parsed(text) {
        Ok(sinks) => Some(sinks),
        Err(error) => {
            tracing::error!(file = %file.display(), error, "the sinks file is invalid");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_starts_on_a_file_that_cannot_be_used() {
        let error = follow(Some("/nowhere/sinks.yaml".into())).unwrap_err();
        assert!(error.starts_with("/nowhere/sinks.yaml: "), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_used_says_nothing() {
        let file = Path::new("sinks.yaml");
        assert_eq!(read(file, Ok("nonsense".into())), None);
        assert_eq!(read(file, Err(std::io::Error::other("gone"))), None);
        assert_eq!(read(file, Ok("[]".into())), Some(Sinks::default()));
    }
}
