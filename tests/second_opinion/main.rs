//! A second opinion on DNS records, by Python libraries that mail operators use. Where they and we differ the RFC decides:
//! each kind of difference is kept in [`kinds::KINDS`], with the section that is against them.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod cases;
mod kinds;
mod ours;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use kinds::KINDS;

/// The folder of the test's own files.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/second_opinion")
}

/// Where the libraries are installed; `None` when they are not.
fn libraries() -> Option<String> {
    let output = Command::new(folder().join("build.sh")).arg("--ready").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the libraries answer, in the order of the questions.
fn ask(libraries: &str, questions: &[Value]) -> Vec<Value> {
    let mut child = Command::new(format!("{libraries}/bin/python"))
        .arg(folder().join("judge.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = questions.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "the judges have failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// One record before one judge: what we say of it, and what they do.
struct Opinion {
    judge: &'static str,
    text: String,
    ours: String,
    theirs: String,
    why: String,
}

fn opinions(libraries: &str) -> Vec<Opinion> {
    let mut questions = Vec::new();
    let mut asked = Vec::new();
    for (judge, family) in ours::JUDGES {
        for text in cases::texts(family) {
            questions.push(json!({"judge": judge, "text": text}));
            asked.push((judge, text.clone(), ours::validity(family, &text)));
        }
    }
    for text in cases::texts("spf") {
        questions.push(json!({"judge": "pyspf spf", "ip": ours::CLIENT, "zone": ours::zone_for_judge(&text)}));
        asked.push(("pyspf spf", text.clone(), ours::spf(&text)));
    }
    let answers = ask(libraries, &questions);
    let opinion = |((judge, text, ours), answer): ((&'static str, String, String), Value)| Opinion {
        judge,
        text,
        ours,
        theirs: match answer["result"].as_str() {
            Some(result) => result.to_owned(),
            None => if answer["valid"] == true { "valid" } else { "invalid" }.to_owned(),
        },
        why: answer["why"].as_str().unwrap_or_default().to_owned(),
    };
    asked.into_iter().zip(answers).map(opinion).collect()
}

#[test]
fn where_other_libraries_differ_the_rfc_is_with_us() {
    let Some(libraries) = libraries() else {
        println!("skipped: the Python libraries are not installed (make opinions)");
        return;
    };
    let all = opinions(&libraries);
    let differing: Vec<_> = all.iter().filter(|opinion| opinion.ours != opinion.theirs).collect();
    let mut met = BTreeSet::new();
    let mut unexplained = Vec::new();
    for opinion in &differing {
        let kind = KINDS.iter().position(|kind| kind.judge == opinion.judge && (kind.is_it)(&opinion.text));
        let decided = kind.filter(|place| KINDS[*place].ours == opinion.ours);
        match decided {
            Some(place) => {
                met.insert(place);
            }
            None => unexplained.push(format!(
                "{}: {:?} is {} to us, {} to them: {}",
                opinion.judge, opinion.text, opinion.ours, opinion.theirs, opinion.why
            )),
        }
    }
    // Shows although the test passes: only what `println!` writes is held back.
    let _ = writeln!(
        std::io::stderr(),
        "\nsecond opinion: {} records before {} judges, {} differences of {} kinds; the RFC is against us in {}",
        all.len(),
        ours::JUDGES.len() + 1,
        differing.len(),
        met.len(),
        unexplained.len()
    );
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
    let gone: Vec<_> = (0..KINDS.len()).filter(|place| !met.contains(place)).map(|place| KINDS[place].rule).collect();
    assert!(gone.is_empty(), "these kinds of differences are gone: {gone:#?}");
    assert!(all.len() > 1_000, "only {} records", all.len());
}
