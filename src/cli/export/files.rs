//! Manifests as text, and files that are complete or not there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::manifest::Document;
use crate::cli::failure::Failure;
use crate::cli::show::clean;

/// The documents as YAML, each with its comments above it.
pub(super) fn yaml(head: &[String], documents: &[Document]) -> Result<String, Failure> {
    let mut text: String = head.iter().map(|line| comment(line)).collect();
    for document in documents {
        text.push_str("---\n");
        text.extend(document.comments.iter().map(|line| comment(line)));
        let manifest = serde_yaml::to_string(&document.manifest);
        text.push_str(&manifest.map_err(|error| Failure::wrong(error.to_string()))?);
    }
    Ok(text)
}

fn comment(line: &str) -> String {
    format!("# {}\n", clean(line))
}

/// Writes a file next to its final name and then renames it: an interruption leaves the file as it was before.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    let failed = |error: &dyn std::fmt::Display| Failure::wrong(format!("{}: {error}", path.display()));
    let mut file = NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    make_readable(file.as_file()).map_err(|error| failed(&error))?;
    file.persist(&path).map_err(|error| failed(&error.error))?;
    Ok(path)
}

/// Temporary files are for their owner alone; manifests have no secrets and get the usual rights.
#[cfg(unix)]
fn make_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}
