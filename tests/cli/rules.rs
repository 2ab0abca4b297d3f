//! `rules`: the real program, files, exit codes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const MAILBOX: &str = "apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: acme, namespace: mail}
spec: {domain: acme.test}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: box, namespace: mail}
spec: {localPart: box, domainRef: {name: acme}}
---
";

/// A folder that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kubectl-email-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The exit code and the output of a call.
struct Finished {
    code: i32,
    out: String,
    err: String,
}

impl Finished {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

fn call(arguments: &[&str], input: &str) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-email"));
    command.arg("rules").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A call that is refused early reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Finished { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn rule(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {{name: {name}, namespace: mail}}\n\
         spec: {{mailboxRef: {{name: box}}, {spec}}}\n---\n"
    )
}

fn invoices() -> String {
    let when = "match: {all: [{field: Subject, operator: Contains, values: [invoice]}]}";
    rule(
        "invoices",
        &format!("{when}, actions: [{{forward: {{to: [ap@dest.test]}}}}, {{createTask: {{sink: tracker}}}}]"),
    )
}

fn bad() -> String {
    rule("bad", r"match: {all: [{field: Subject, operator: Regex, values: ['\d']}]}, actions: [{ignore: {}}]")
}

#[test]
fn check_says_of_each_rule_whether_it_is_valid_and_fails_when_one_is_not() {
    let done = call(&["check", "-f", "-"], &format!("{MAILBOX}{}", invoices()));
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (0, "RULE            VALID   WHY NOT\nmail/invoices   yes\n", "")
    );
    let done = call(&["check", "-f", "-", "-o", "json"], &format!("{MAILBOX}{}{}", invoices(), bad()));
    assert_eq!(done.code, 1);
    assert_eq!(
        done.json()[0],
        json!({"rule": "mail/invoices", "mailboxes": ["box@acme.test"], "valid": true, "problems": []})
    );
    let why = done.json()[1]["problems"][0].as_str().unwrap().to_owned();
    assert!(why.starts_with("spec.match.all[0].values[0]: \"\\\\d\" has \\d"), "{why}");
    assert_eq!(done.err, "error: 1 of 2 rules are invalid\n");
}

#[test]
fn what_the_schema_does_not_know_is_named_with_its_place() {
    for (spec, why) in [
        ("actions: [{ignore: {mode: Shred}}]", "spec.actions[0].ignore.mode: unknown variant `Shred`"),
        ("actions: [{forward: {to: [a@b.test], keep: true}}]", "unknown field `keep`"),
        (
            "actions: [{forward: {to: [box@acme.test]}}]",
            "spec.actions[0].forward.to[0]: \"box@acme.test\" is the mailbox",
        ),
        ("domainRef: {name: acme}, actions: [{ignore: {}}]", "exactly one of mailboxRef and domainRef"),
    ] {
        let done = call(&["check", "-f", "-"], &format!("{MAILBOX}{}", rule("r", spec)));
        assert_eq!(done.code, 1, "{spec}");
        assert!(done.out.contains(why), "{spec}: {}", done.out);
    }
}

#[test]
fn a_rule_that_closes_a_loop_is_wrong() {
    let other = MAILBOX.replace("name: box", "name: other").replace("localPart: box", "localPart: other");
    let there = rule("there", "actions: [{forward: {to: [other@acme.test]}}]");
    let back = rule("back", "actions: [{forward: {to: [box@acme.test]}}]").replace("{name: box}", "{name: other}");
    let done = call(&["check", "-f", "-"], &format!("{MAILBOX}{other}{there}{back}"));
    assert_eq!(done.code, 1);
    let why = "mail/there   no      spec.actions: forwarding loop with mail/back: ";
    assert!(done.out.contains(why), "{}", done.out);
}

#[test]
fn a_rule_whose_mail_comes_back_through_an_alias_of_the_files_is_wrong() {
    let alias = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: all, namespace: mail}\n\
                 spec: {localPart: all, domainRef: {name: acme}, gotoMailboxRefs: [{name: box}]}\n---\n";
    let there = rule("there", "actions: [{forward: {to: [all@acme.test], keepCopy: false}}]");
    let done = call(&["check", "-f", "-"], &format!("{MAILBOX}{alias}{there}"));
    let why = "forwarding loop with mail/all: box@acme.test → all@acme.test → box@acme.test";
    assert!(done.code == 1 && done.out.contains(why), "{}", done.out);
    let of_domain = there.replace("mailboxRef: {name: box}", "domainRef: {name: acme}");
    let done = call(&["check", "-f", "-"], &format!("{MAILBOX}{alias}{of_domain}"));
    assert_eq!(done.code, 0, "it leaves the mailbox alone: {}", done.out);
}

#[test]
fn compile_prints_the_script_that_the_operator_writes() {
    let done = call(&["compile", "-f", "-"], &format!("{MAILBOX}{}", invoices()));
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(done.out.contains("\n# rule mail/invoices\nif allof ("), "{}", done.out);
    let json = call(&["compile", "-f", "-", "-o", "json"], &format!("{MAILBOX}{}", invoices())).json();
    assert_eq!(json["script"], done.out);
    let queue = json!({"rule": "mail/invoices", "action": "CreateTask", "sink": "tracker"});
    assert_eq!(json["queues"], json!({"Ops/Tasks/mail/invoices@tracker": queue}));
}

#[test]
fn an_invalid_rule_is_named_and_nothing_is_printed_unless_it_may_be_left_out() {
    let files = format!("{MAILBOX}{}{}", invoices(), bad());
    let done = call(&["compile", "-f", "-", "-o", "json"], &files);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(done.err.starts_with("error: mail/bad: spec.match.all[0].values[0]:"), "{}", done.err);
    let done = call(&["compile", "-f", "-", "--skip-invalid"], &files);
    assert_eq!(done.code, 0);
    assert!(done.out.contains("mail/invoices") && !done.out.contains("mail/bad") && done.err.contains("mail/bad"));
}

#[test]
fn rules_without_their_mailbox_take_the_given_one_and_several_need_one() {
    let done = call(&["compile", "-f", "-", "--mailbox", "ap@dest.test"], &invoices());
    assert!(done.code == 1 && done.err.contains("is the mailbox ap@dest.test itself"), "{}", done.err);
    assert_eq!(call(&["compile", "-f", "-", "--mailbox", "x@acme.test"], &invoices()).code, 0);
    assert_eq!(call(&["compile", "-f", "-"], &invoices()).code, 0);
    let other = rule("other", "actions: [{ignore: {}}]").replace("{name: box}", "{name: other}");
    let done = call(&["compile", "-f", "-"], &format!("{MAILBOX}{}{other}", invoices()));
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(
        done.err.contains("several mailboxes (box@acme.test, mail/other); choose one with --mailbox"),
        "{}",
        done.err
    );
    let done = call(&["compile", "-f", "-", "--mailbox", "box@acme.test"], &format!("{MAILBOX}{}", invoices()));
    assert_eq!(done.code, 0, "{}", done.err);
}

#[test]
fn test_says_which_rules_match_and_what_would_happen() {
    let folder = Folder::new("test");
    let message = folder.write("m.eml", "From: a@vendor.test\r\nSubject: =?utf-8?q?Your_invoice?=\r\n\r\nhello\r\n");
    let rest = rule("rest", "priority: 200, actions: [{ignore: {}}]");
    folder.write("box.yaml", MAILBOX);
    folder.write("rules.yml", &format!("{}{rest}", invoices()));
    folder.write("notes.txt", "no: [yaml");
    let files = folder.0.display().to_string();
    let arguments = ["test", "-f", &files, "--from", "a@vendor.test", "--to", "box+x@acme.test", &message];
    let done = call(&arguments, "");
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert_eq!(
        done.out,
        "RULE            MATCHES\nmail/invoices   yes\nmail/rest       not reached: mail/invoices stops\n\n\
         box@acme.test: forwarded to ap@dest.test; CreateTask for tracker, from the folder \
         Ops/Tasks/mail/invoices@tracker; a copy in the inbox\n\
         then: the user's own filters (SOGo, ManageSieve) and postfilters may file the copy elsewhere\n\
         then: Mailcow files the copy into a folder named after the tag, if the user chose that\n"
    );
    let json = call(&[&arguments[..], &["-o", "json"]].concat(), "").json();
    assert_eq!(json["matched"], json!(["mail/invoices"]));
    assert_eq!(
        (&json["forwards"], &json["inbox"], &json["trash"]),
        (&json!(["ap@dest.test"]), &json!(true), &json!(false))
    );
}

#[test]
fn an_alias_is_seen_as_the_recipient_and_a_chat_message_is_warned_of() {
    let folder = Folder::new("alias");
    let when = "match: {all: [{field: Recipient, operator: Equals, values: [sales@acme.test]}]}";
    let files =
        folder.write("r.yaml", &format!("{MAILBOX}{}", rule("r", &format!("{when}, actions: [{{ignore: {{}}}}]"))));
    let arguments = ["test", "-f", &files, "--from", "", "--to", "sales@acme.test", "-", "-o", "json"];
    let done = call(&arguments, "X-Original-To: box@acme.test\nChat-Version: 1.0\n\nhello\n");
    assert_eq!((&done.json()["matched"], &done.json()["mailbox"]), (&json!(["mail/r"]), &json!("box@acme.test")));
    assert!(done.err.starts_with("warning: ") && done.err.contains("DeltaChat"), "{}", done.err);
}

#[test]
fn mail_that_came_back_is_warned_of_and_stays() {
    let folder = Folder::new("back");
    let moved = rule("r", "actions: [{forward: {to: [a@b.test], keepCopy: false}}]");
    let files = folder.write("r.yaml", &format!("{MAILBOX}{moved}"));
    let arguments = ["test", "-f", &files, "--from", "", "--to", "box@acme.test", "-", "-o", "json"];
    let done = call(&arguments, "X-Sieve-Redirected-From: box@acme.test\n\nhello\n");
    let json = done.json();
    assert_eq!((&json["forwards"], &json["inbox"], &json["cameBack"]), (&json!([]), &json!(true), &json!(true)));
    assert!(done.err.contains("X-Sieve-Redirected-From"), "{}", done.err);
}

#[test]
fn sinks_of_the_installation_are_known_when_they_are_given() {
    let folder = Folder::new("sinks");
    let sinks = folder.write("sinks.yaml", "[{name: tracker, email: {address: in@board.test}, namespaces: [mail]}]");
    let arguments = ["compile", "-f", "-", "-o", "json", "--sinks", &sinks];
    let json = call(&arguments, &format!("{MAILBOX}{}", invoices())).json();
    assert!(json["queues"] == json!({}) && json["script"].as_str().unwrap().contains("in@board.test"));
    let done = call(&arguments, &format!("{MAILBOX}{}", invoices().replace("sink: tracker", "sink: wiki")));
    assert!(done.code == 1 && done.err.contains("no sink \"wiki\""), "{}", done.err);
}

#[test]
fn all_problems_of_a_rule_are_shown() {
    let when = "match: {all: [{field: Subject, operator: Regex, values: ['\\d']}], any: [{field: Sender, operator: Domain, values: ['-']}]}";
    let bad =
        rule("bad", &format!("{when}, actions: [{{forward: {{to: [nobody]}}}}, {{forward: {{to: [box@acme.test]}}}}]"));
    let done = call(&["check", "-f", "-", "-o", "json"], &format!("{MAILBOX}{bad}"));
    let json = done.json();
    let problems: Vec<&str> = json[0]["problems"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let fields =
        ["spec.match.all[0]", "spec.match.any[0]", "spec.actions[0].forward.to[0]", "spec.actions[1].forward.to[0]"];
    assert_eq!(problems.len(), 4, "{problems:#?}");
    for (problem, field) in problems.iter().zip(fields) {
        assert!(problem.starts_with(field), "{field}: {problem}");
    }
}

#[test]
fn spam_goes_to_junk_after_the_rules() {
    let folder = Folder::new("spam");
    let files = folder.write("r.yaml", &format!("{MAILBOX}{}", invoices()));
    let arguments = ["test", "-f", &files, "--from", "", "--to", "box@acme.test", "-", "-o", "json"];
    let done = call(&arguments, "X-Spam-Flag: YES\nSubject: invoice\n\nhello\n");
    assert_eq!(done.json()["matched"], json!([]), "rules don't see spam unless they ask for it");
    assert!(done.json()["then"][1].as_str().unwrap().contains("Junk"), "{}", done.out);
}

#[test]
fn wrong_usage_is_2_and_wrong_input_1() {
    assert_eq!(call(&["compile"], "").code, 2);
    assert_eq!(call(&["check", "-f", "-", "name"], "").code, 2);
    assert_eq!(call(&["compile", "-f", "-", "-o", "xml"], "").code, 2);
    assert_eq!(call(&["check", "-f", "/nowhere.yaml"], "").code, 1);
    assert_eq!(call(&["check", "-f", "-"], "a: [").code, 1);
    assert_eq!(call(&["check", "-f", "-"], MAILBOX).code, 1);
    assert_eq!(call(&["check", "--help"], "").code, 0);
}

#[test]
fn the_examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").display().to_string();
    let done = call(&["check", "-f", &examples, "-n", "mail"], "");
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
}
