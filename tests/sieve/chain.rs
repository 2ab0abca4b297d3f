//! Recorded facts from a folder named by `SIEVE_FACTS`: what Mailcow's check of scripts says, and what its chain of
//! scripts does with a message. The judges of the other tests are held to them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::dovecot::Envelope;
use super::lmtp::{self, Chain, Server};
use super::world::{MAILBOX, rules, script};

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

const MESSAGE: &[u8] = b"X-Spam-Flag: NO\r\nMessage-ID: <1@x.test>\r\nFrom: a@b.test\r\nSubject: x\r\n\r\nx\r\n";

/// Delivers the message through the rules, which all fit.
fn arrives(server: &mut Server, yaml: &str, message: &[u8]) -> lmtp::Arrived {
    let script = script(&rules(yaml));
    let chain = Chain { before: Some(&script), ..Chain::default() };
    server.deliver(chain, &Envelope { from: "a@b.test", to: MAILBOX }, message)
}

fn forwards(from: usize, count: usize, more: &str) -> String {
    let to: Vec<String> = (from..from + count).map(|i| format!("a{i}@dest.test")).collect();
    format!("{{actions: [{{forward: {{to: [{}]}}}}], {more}}}", to.join(", "))
}

#[test]
fn what_counts_is_what_one_message_meets_and_not_what_the_script_holds() {
    if !lmtp::is_there() {
        return;
    }
    let mut server = Server::start();
    let never = "match: {all: [{field: Subject, operator: Equals, values: [never]}]}";
    let mut all: Vec<String> = (0..10).map(|i| forwards(i * 30, 30, never)).collect();
    all.push(forwards(1000, 32, "onMatch: Continue"));
    let found = arrives(&mut server, &format!("[{}]", all.join(", ")), MESSAGE);
    assert_eq!((found.forwards.len(), found.folders.get("INBOX")), (32, Some(&1)), "{found:?}");
}

#[test]
fn ninety_nine_targets_and_copies_leave_room_for_mailcows_own_scripts() {
    if !lmtp::is_there() {
        return;
    }
    let mut server = Server::start();
    let spam = [b"X-Spam-Flag: YES\r\n", &MESSAGE[17..]].concat();
    let any = "match: {spam: Any}, onMatch: Continue";
    let mut all: Vec<String> = (0..3).map(|i| forwards(i * 32, 32, any)).collect();
    let task = |kind: &str| format!("{{actions: [{{{kind}: {{sink: tracker}}}}], {any}}}");
    all.extend([forwards(96, 1, any), task("createTask"), task("createNote")]);
    let found = arrives(&mut server, &format!("[{}]", all.join(", ")), &spam);
    let expected = [("Junk", 1), ("Ops/Notes/n/r5@tracker", 1), ("Ops/Tasks/n/r4@tracker", 1)];
    let folders: Vec<(&str, usize)> = found.folders.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!((found.forwards.len(), folders), (97, expected.to_vec()));
}
