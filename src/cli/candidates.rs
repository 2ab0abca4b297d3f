//! Answers shells and kubectl that ask what the word at the cursor may be.

use std::ffi::OsString;
use std::io::Write as _;

use clap::CommandFactory;
use clap_complete::engine::complete;
use clap_complete::env::CompleteEnv;

use super::command::Email;
use super::completion::VARIABLE;
use super::failure::Failure;
use super::show::Show;

/// Answers a shell that asks for candidates, and ends the program then.
pub fn answer_shells() {
    CompleteEnv::with_factory(Email::command).bin("kubectl-email").var(VARIABLE).complete();
}

/// Answers kubectl: a candidate on each line, a tab and its description, and a last line with what to do besides
/// (0: complete files, 4: don't).
pub(super) fn answer_kubectl(words: &[OsString]) -> Result<(), Failure> {
    let mut all = vec![OsString::from("kubectl-email")];
    all.extend(words.iter().cloned());
    let index = all.len() - 1;
    let folder = std::env::current_dir().ok();
    let found = complete(&mut Email::command(), all, index, folder.as_deref());
    let found = found.map_err(|error| Failure::wrong(error.to_string()))?;
    let mut text = Vec::new();
    for candidate in found.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        // Nothing else can be done when memory is full.
        let _ = writeln!(text, "{value}\t{help}");
    }
    let _ = writeln!(text, ":{}", if found.is_empty() { 0 } else { 4 });
    Ok(Show::write(&String::from_utf8_lossy(&text))?)
}
