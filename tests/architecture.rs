//! The rooms of `src/` keep what they promise: who is pure, who may use which library.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::collections::BTreeMap;
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

/// The paths of a `use` line, each written out: `a::{b, c::{d, e}}` names `a::b`, `a::c::d` and `a::c::e`.
fn written_out(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inner = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    let named = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    named.flat_map(|part| written_out(&format!("{prefix}{part}"))).collect()
}

/// The path of the module that a file is.
fn module(file: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts
}

/// The files by their modules, such as `cli/show` and `cli`.
type Files<'a> = BTreeMap<String, &'a str>;

fn files(all: &[Source]) -> Files<'_> {
    all.iter().map(|source| (module(&source.path).join("/"), source.path.as_str())).collect()
}

/// The file of a module or of something in it.
fn file_of<'a>(path: &[&str], all: &Files<'a>) -> Option<&'a str> {
    (1..=path.len()).rev().find_map(|n| all.get(&path[..n].join("/")).copied())
}

/// The file that a path such as `super::show::Show` in a file leads to.
fn target<'a>(path: &str, source: &Source, all: &Files<'a>) -> Option<&'a str> {
    let parts: Vec<&str> = path.split(" as ").next().unwrap().split("::").map(str::trim).collect();
    let own = module(&source.path);
    let full: Vec<&str> = match parts[0] {
        "crate" => parts[1..].to_vec(),
        "self" => [&own[..], &parts[1..]].concat(),
        "super" => {
            let up = parts.iter().take_while(|part| **part == "super").count();
            [&own[..own.len().saturating_sub(up)], &parts[up..]].concat()
        }
        // A module below this one; anything else is of a library, or of this file.
        child => {
            all.get(&[&own[..], &[child]].concat().join("/"))?;
            [&own[..], &parts[..]].concat()
        }
    };
    file_of(&full, all)
}

/// The files that a file uses: those that its paths lead to, in `use` lines and elsewhere.
fn uses(source: &Source, all: &Files<'_>) -> Vec<String> {
    let text = code(&source.text).collect::<Vec<_>>().join(" ");
    let mut paths: Vec<String> = Vec::new();
    for line in text.split("use ").skip(1) {
        let tree = line.split(';').next().unwrap();
        if tree.chars().all(|c| c.is_alphanumeric() || " _:{},*".contains(c)) {
            paths.extend(written_out(tree));
        }
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("::") {
        let start = text[..at].rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
        // Only where a path begins.
        if start < at && !text[..start].ends_with(':') {
            let end = text[at..].find(|c| !is_word(c) && c != ':').map_or(text.len(), |end| at + end);
            // A tree is that of a `use` line.
            if !text[end..].starts_with(['{', '*']) {
                paths.push(text[start..end].trim_end_matches(':').to_owned());
            }
        }
    }
    let mut found: Vec<String> = paths.iter().filter_map(|path| target(path, source, all)).map(str::to_owned).collect();
    found.retain(|file| *file != source.path);
    found.sort();
    found.dedup();
    found
}

/// The rooms without circles between their files.
const WITHOUT_CIRCLES: [&str; 6] = ["controller/", "kubernetes/", "leader/", "worker/", "cli/", "mcp/"];

#[test]
fn no_file_uses_itself_by_way_of_others() {
    let all = sources();
    let files = files(&all);
    let is_watched = |path: &str| WITHOUT_CIRCLES.iter().any(|room| path.starts_with(room));
    let mut left: Vec<(String, Vec<String>)> =
        all.iter().filter(|source| is_watched(&source.path)).map(|s| (s.path.clone(), uses(s, &files))).collect();
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
fn circles_are_found_however_a_path_is_written() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let all = [
        file("cli/mod.rs", "mod a; fn run() { a::run() }"),
        file("cli/a.rs", "use super::{b::{self, B}, Flags as F};"),
        file("cli/b.rs", "fn f() { super::deep::inner::g(crate::mail::Address) }"),
        file("cli/deep/mod.rs", "mod inner; use inner::g;"),
        file("cli/deep/inner.rs", "use crate::cli::a; pub(super) fn g() { std::mem::drop(a::run) }"),
        file("mail/mod.rs", ""),
    ];
    let files = files(&all);
    let of = |path: &str| uses(all.iter().find(|one| one.path == path).unwrap(), &files);
    assert_eq!(of("cli/mod.rs"), ["cli/a.rs"]);
    assert_eq!(of("cli/a.rs"), ["cli/b.rs", "cli/mod.rs"]);
    assert_eq!(of("cli/b.rs"), ["cli/deep/inner.rs", "mail/mod.rs"]);
    assert_eq!(of("cli/deep/mod.rs"), ["cli/deep/inner.rs"]);
    assert_eq!(of("cli/deep/inner.rs"), ["cli/a.rs"]);
}

#[test]
fn nothing_panics_in_production() {
    let words = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("];
    assert_eq!(offenders(&words, |_| true), Vec::<String>::new());
}
