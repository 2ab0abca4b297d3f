//! Recorded facts from a folder named by `SIEVE_FACTS`: what Mailcow's check of scripts says, and what its chain of
//! scripts does with a message. The judges of the other tests are held to them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::dovecot::Envelope;
use super::lmtp::{self, Chain, Server};

fn facts(file: &str, list: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("SIEVE_FACTS").map(PathBuf::from) else {
        println!("skipped: SIEVE_FACTS names no folder with {file}");
        return None;
    };
    let all: Value = serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap();
    Some(all[list].as_array().unwrap().clone())
}

#[test]
fn the_simulated_check_of_scripts_says_what_mailcow_said() {
    let Some(facts) = facts("sieve-gate.json", "cases") else { return };
    let differs = |fact: &&Value| {
        let script = fact["script"].as_str().unwrap();
        let said = fact["mailcowPhpParser"].as_str().unwrap();
        let is_taken = mailcow_simulator::check_sieve(script).is_ok();
        if is_taken != (said == "OK") {
            println!("{script}: {is_taken}, and Mailcow said {said}");
        }
        is_taken != (said == "OK")
    };
    assert_eq!(facts.iter().filter(differs).count(), 0);
    let _ = writeln!(std::io::stderr(), "\nMailcow's check of scripts: {0}/{0} facts agreed", facts.len());
}

/// Facts about a second delivery, a program or a setting that the judge has not.
fn is_beyond(fact: &Value) -> bool {
    let title = fact["title"].as_str().unwrap();
    let scripts = ["prefilter", "personal", "postfilter"].map(|name| fact[name].as_str().unwrap_or_default());
    title.contains("2nd delivery")
        || title.starts_with("redelivery 2")
        || scripts.iter().any(|script| script.contains("vnd.dovecot") || script.contains("notify"))
}

#[test]
fn the_chain_of_scripts_does_what_mailcows_did() {
    let Some(facts) = facts("sieve-pipeline.json", "facts").filter(|_| lmtp::is_there()) else { return };
    let mut server = Server::start();
    let (mut agreed, mut differing) = (0, 0);
    for fact in facts.iter().filter(|fact| !is_beyond(fact)) {
        let text = |name: &str| fact[name].as_str();
        let chain = Chain { before: text("prefilter"), personal: text("personal"), after: text("postfilter") };
        let envelope = Envelope { from: text("mailFrom").unwrap(), to: text("rcptTo").unwrap() };
        let found = server.deliver(chain, &envelope, text("message").unwrap().as_bytes());
        let observed = &fact["observed"];
        let folders: BTreeMap<String, usize> = observed["folders"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, messages)| (name.clone(), messages.as_array().unwrap().len()))
            .collect();
        let redirects = usize::try_from(observed["redirectCount"].as_u64().unwrap()).unwrap();
        if (&found.folders, found.forwards.len()) == (&folders, redirects) {
            agreed += 1;
        } else {
            differing += 1;
            println!("{}: {found:?}, and Mailcow {folders:?} and {redirects} forwards", fact["title"]);
        }
    }
    let _ = writeln!(std::io::stderr(), "\nMailcow's chain of scripts: {agreed}/{} facts agreed", agreed + differing);
    assert_eq!(differing, 0);
}
