//! The rooms of `src/` keep what they promise: who is pure, who may use which library.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::{Path, PathBuf};

/// A production file: its path below `src/` and its text without its unit tests.
struct Source {
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &mut found);
    let is_test = |path: &Path| path.file_name().is_some_and(|name| name == "tests.rs");
    found
        .into_iter()
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("\n#[cfg(test)]").next().unwrap().to_owned();
            Source { path: path.strip_prefix(&root).unwrap().display().to_string(), text }
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines that are code, not comment.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

/// Every file outside `allowed` whose code holds one of the words.
fn offenders(words: &[&str], is_watched: impl Fn(&str) -> bool) -> Vec<String> {
    let holds = |source: &Source| code(&source.text).any(|line| words.iter().any(|word| line.contains(word)));
    sources().iter().filter(|source| is_watched(&source.path) && holds(source)).map(|s| s.path.clone()).collect()
}

fn is_pure(path: &str) -> bool {
    let rooms = [
        "mail/",
        "desired/",
        "plan/",
        "sieve/",
        "evaluate/",
        "forwarding.rs",
        "status/",
        "dns/",
        "crd/",
        "tenancy/",
        "outcome.rs",
        "gates.rs",
    ];
    let is_pure_intake = path.starts_with("intake/")
        && !["intake/imap/", "intake/worker/", "intake/http.rs"].iter().any(|room| path.starts_with(room));
    rooms.iter().any(|room| path.starts_with(room)) && !path.starts_with("dns/lookup")
        || is_pure_intake
        || path == "intake/imap/wire.rs"
}

#[test]
fn pure_rooms_neither_wait_nor_call_nor_look_at_a_clock() {
    let words =
        ["async ", ".await", "tokio::", "reqwest", "kube::Client", "kube::Api", "clock::now", "rand::", "tracing::"];
    assert_eq!(offenders(&words, is_pure), Vec::<String>::new());
}

#[test]
fn each_foreign_system_has_one_door() {
    // Mailcow is one system; the hosts of MTA-STS policies are others, and part of what DNS verification looks up; the
    // sinks of tasks and notes are the third kind.
    let http = |path: &str| path.starts_with("mailcow/") || ["dns/lookup/https.rs", "intake/http.rs"].contains(&path);
    assert_eq!(offenders(&["reqwest"], |path| !http(path)), Vec::<String>::new());
    let tls = ["dns/lookup/smtp.rs", "intake/imap/connection.rs"];
    assert_eq!(offenders(&["tokio_rustls"], |path| !tls.contains(&path)), Vec::<String>::new());
    assert_eq!(offenders(&["imap_codec"], |path| !path.starts_with("intake/imap/")), Vec::<String>::new());
    assert_eq!(
        offenders(&["mail_parser", "html2text"], |path| !path.starts_with("intake/mime/")),
        Vec::<String>::new()
    );
    assert_eq!(offenders(&["hickory"], |path| !path.starts_with("dns/lookup")), Vec::<String>::new());
    assert_eq!(offenders(&["Timestamp::now", "SystemTime::now"], |path| path != "clock.rs"), Vec::<String>::new());
    assert_eq!(offenders(&["api/v1", "\"add/", "\"edit/"], |path| !path.starts_with("mailcow/")), Vec::<String>::new());
}

#[test]
fn status_is_written_in_one_place() {
    assert_eq!(
        offenders(&["patch_status", "replace_status"], |path| path != "kubernetes/writer.rs"),
        Vec::<String>::new()
    );
}

#[test]
fn dependencies_point_one_way() {
    let may_use = |room: &str, others: &[&str]| {
        let words: Vec<String> = others.iter().map(|other| format!("crate::{other}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(offenders(&words, |path| path.starts_with(room)), Vec::<String>::new(), "{room}");
    };
    may_use("crd/", &["mail::", "desired", "plan", "mailcow", "dns", "status", "controller", "telemetry"]);
    may_use("mail/", &["desired", "plan", "mailcow", "dns", "sieve", "status", "controller", "telemetry"]);
    may_use("desired/", &["plan", "mailcow", "dns", "status", "controller", "telemetry"]);
    may_use("plan/", &["desired", "mailcow", "dns", "sieve", "status", "controller", "telemetry"]);
    may_use("sieve/", &["desired", "plan", "mailcow", "dns", "status", "controller", "telemetry"]);
    may_use("evaluate/", &["desired", "plan", "mailcow", "dns", "sieve", "status", "controller", "telemetry", "cli"]);
    may_use("cli/", &["controller", "leader", "telemetry"]);
    may_use("mcp/", &["plan", "mailcow", "inventory", "dns", "controller", "leader", "sieve"]);
    may_use("dns/", &["desired", "plan", "mailcow", "sieve", "status", "controller", "telemetry"]);
    may_use("mailcow/", &["desired", "dns", "sieve", "status", "controller", "telemetry"]);
    may_use("inventory/", &["desired", "dns", "sieve", "status", "controller", "telemetry"]);
    may_use(
        "intake/",
        &["desired", "plan", "mailcow", "sieve", "status", "controller", "kubernetes", "telemetry", "cli", "config"],
    );
    may_use("status/", &["desired", "plan", "mailcow", "sieve", "controller", "telemetry"]);
}

#[test]
fn files_begin_with_a_promise() {
    for Source { path, text } in sources() {
        assert!(text.starts_with("//!"), "{path} begins with no promise");
    }
}

/// The files that a file uses: those that the paths in its `use` lines name.
fn uses(source: &Source, all: &[Source]) -> Vec<String> {
    let lines = code(&source.text).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for path in lines.split("use crate::").skip(1).map(|rest| rest.split(';').next().unwrap()) {
        let (prefix, names) = path.split_once("::{").unwrap_or((path, ""));
        let names = names.trim_end_matches('}').split(',').map(|name| format!("{prefix}::{}", name.trim()));
        for full in names.chain([prefix.to_owned()]) {
            let parts: Vec<&str> = full.split("::").filter(|part| !part.is_empty()).collect();
            let file = (1..=parts.len()).rev().find_map(|n| {
                let stem = parts[..n].join("/");
                let is =
                    |source: &&Source| source.path == format!("{stem}.rs") || source.path == format!("{stem}/mod.rs");
                all.iter().find(is)
            });
            found.extend(file.filter(|file| file.path != source.path).map(|file| file.path.clone()));
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn no_file_of_the_shell_uses_itself_by_way_of_others() {
    let all = sources();
    let is_shell = |path: &str| ["controller/", "kubernetes/", "leader/"].iter().any(|room| path.starts_with(room));
    let mut left: Vec<(String, Vec<String>)> =
        all.iter().filter(|source| is_shell(&source.path)).map(|s| (s.path.clone(), uses(s, &all))).collect();
    // What uses nothing that is left, or is used by nothing that is left, is no part of a circle.
    loop {
        let names: Vec<String> = left.iter().map(|(path, _)| path.clone()).collect();
        let used: Vec<String> = left.iter().flat_map(|(_, uses)| uses.clone()).collect();
        let before = left.len();
        left.retain(|(path, uses)| used.contains(path) && uses.iter().any(|used| names.contains(used)));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "in circles, or between two: {left:#?}");
}

#[test]
fn nothing_panics_in_production() {
    let words = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("];
    assert_eq!(offenders(&words, |_| true), Vec::<String>::new());
}
