//! `completion`: scripts for shells and for kubectl, and the names of objects that they ask for.

use std::ffi::OsStr;
use std::time::Duration;

use clap::ValueEnum;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use kube::ResourceExt;

use super::cluster::{Cluster, Scope};
use super::failure::Failure;
use super::flags::ClusterFlags;
use super::kinds::{Kind, list};
use super::show::Show;

/// How long a shell may wait for names.
const LIMIT: Duration = Duration::from_secs(3);
/// The variable that a shell's script sets when it asks for candidates.
pub(super) const VARIABLE: &str = "COMPLETE";
/// The program that kubectl (1.26 or newer) runs to complete `kubectl email …`.
const FOR_KUBECTL: &str = "#!/bin/sh
# Save it as kubectl_complete-email in a folder of PATH, and make it executable.
exec kubectl-email __complete \"$@\"
";

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
    /// PowerShell.
    Powershell,
    /// The program kubectl_complete-email, which kubectl 1.26 or newer runs.
    Kubectl,
}

/// Prints a script.
pub(super) fn script(shell: Shell) -> Result<(), Failure> {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Kubectl => return Ok(Show::write(FOR_KUBECTL)?),
    };
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(name) else {
        return Err(Failure::wrong(format!("there is no completion for {name}")));
    };
    let mut text = Vec::new();
    let program = "kubectl-email";
    let written = completer.write_registration(VARIABLE, program, program, program, &mut text);
    written.map_err(|error| Failure::wrong(error.to_string()))?;
    Ok(Show::write(&String::from_utf8_lossy(&text))?)
}

/// Completes the names of domains.
pub(super) fn domains() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let current = current.to_string_lossy().into_owned();
        named(&[Kind::Domain], |name, shown| vec![name, shown], &current)
    })
}

/// Completes mailboxes by the names of their objects and their addresses.
pub(super) fn mailboxes() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let current = current.to_string_lossy().into_owned();
        named(&[Kind::Mailbox], |name, shown| vec![name, shown], &current)
    })
}

/// Completes the names of rules.
pub(super) fn rules() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let current = current.to_string_lossy().into_owned();
        named(&[Kind::Rule], |name, _| vec![name], &current)
    })
}

/// Completes KIND/NAME.
pub(super) fn objects() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let current = current.to_string_lossy().into_owned();
        match current.split_once('/') {
            None => {
                let kinds = Kind::ALL.iter().map(|kind| format!("{}/", kind.short()));
                kinds.filter(|kind| kind.starts_with(&current)).map(CompletionCandidate::new).collect()
            }
            Some((word, _)) => {
                let kinds = Kind::parse(word).unwrap_or_default();
                let word = word.to_owned();
                named(&kinds, move |name, _| vec![format!("{word}/{name}")], &current)
            }
        }
    })
}

/// The objects of some kinds, each by the `texts` for its name and its address, as candidates that begin with what was typed. None if the cluster does not answer.
fn named(kinds: &[Kind], texts: impl Fn(String, String) -> Vec<String>, current: &str) -> Vec<CompletionCandidate> {
    let flags = flags(&std::env::args().collect::<Vec<_>>());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let asked = async {
        let cluster = Cluster::connect(&flags).await?;
        let mut found = Vec::new();
        for kind in kinds {
            for target in list(&cluster, *kind, &Scope::In(cluster.namespace.clone()), None).await? {
                let pointer = if *kind == Kind::Domain { "/spec/domain" } else { "/status/address" };
                let shown = target.object.data.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
                found.extend(texts(target.object.name_any(), shown.to_owned()));
            }
        }
        Ok::<_, Failure>(found)
    };
    let found = runtime.block_on(async { tokio::time::timeout(LIMIT, asked).await });
    let mut found = found.ok().and_then(Result::ok).unwrap_or_default();
    found.retain(|text| !text.is_empty() && text.starts_with(current));
    found.sort();
    found.dedup();
    found.into_iter().map(CompletionCandidate::new).collect()
}

/// kubectl's options among words that may not be complete yet.
fn flags(words: &[String]) -> ClusterFlags {
    let value = |names: &[&str]| {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            for name in names {
                if word == name {
                    return words.next().cloned();
                }
                if let Some(value) = word.strip_prefix(&format!("{name}=")) {
                    return Some(value.to_owned());
                }
            }
        }
        None
    };
    ClusterFlags {
        kubeconfig: value(&["--kubeconfig"]).map(Into::into),
        context: value(&["--context"]),
        namespace: value(&["-n", "--namespace"]),
        request_timeout: LIMIT,
        ..ClusterFlags::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_among_the_words_before_the_cursor() {
        let words = ["kubectl-email", "status", "-n", "mail", "--context=prod", ""].map(ToOwned::to_owned);
        let flags = flags(&words);
        assert_eq!((flags.namespace.as_deref(), flags.context.as_deref()), (Some("mail"), Some("prod")));
    }

    #[test]
    fn every_shell_has_a_script() {
        for name in ["bash", "zsh", "fish", "powershell"] {
            assert!(Shells::builtins().completer(name).is_some(), "{name}");
        }
        assert!(FOR_KUBECTL.starts_with("#!/bin/sh\n"));
    }
}
