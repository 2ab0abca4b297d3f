//! Manifests as text.

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
