//! Replays recordings of a real Mailcow server, line by line, and compares every answer.
//!
//! The recordings are one file of JSON lines for each topic, in the folder that `MAILCOW_RECORDINGS`
//! names. Without it there is nothing to compare with, and the test says so.

#![expect(clippy::expect_used, reason = "a test stops where something is not as it must be")]

mod client;
mod compare;
mod database;
mod exceptions;
mod measured;
mod recording;
mod replay;
mod setup;
mod setup_races;
mod setup_second;

use std::io::Write;
use std::path::Path;

use recording::Topic;
use replay::Outcome;

/// How many lines of each topic agree. Raise a number when the simulator gets better; the test fails
/// when one gets worse.
const FLOOR: &[(&str, usize)] = &[
    ("01_auth", 83),
    ("02_domain", 168),
    ("03_dkim", 44),
    ("04_mailbox", 264),
    ("05_alias", 162),
    ("06_ratelimit", 74),
    ("07_sieve", 103),
    ("08_others", 120),
    ("09_quirks", 71),
    ("10_backend_trouble", 23),
    ("11_contention", 9),
    ("12_deadlocks", 42),
    ("13_orphan_race", 11),
    ("14_half_deleted", 10),
    ("15_alias_id_lookup", 87),
    ("16_path_encoding", 385),
    ("17_sender_acl", 164),
    ("18_templates", 114),
    ("19_authsource", 153),
    ("20_protocols", 124),
    ("21_app_passwords", 100),
    ("22_bcc_policy_relay", 200),
    ("23_alias_domains", 82),
    ("24_rename_mailbox", 82),
    ("25_time_limited_alias", 56),
    ("26_sync_jobs", 66),
    ("27_quarantine_release", 51),
    ("29_big_lists", 26),
    ("30_php_down", 11),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_the_recordings_say() {
    let Some(folder) = std::env::var_os("MAILCOW_RECORDINGS") else {
        tell("MAILCOW_RECORDINGS is not set: there is nothing to compare with, the test is skipped");
        return;
    };
    let topics = recording::read_all(Path::new(&folder));
    assert!(!topics.is_empty(), "no recordings in the folder");
    let mut worse = Vec::new();
    let mut table = vec![format!("{:<22} {:>7} {:>5} {:>14}", "topic", "agreed", "all", "not comparable")];
    let mut total = [0, 0];
    let mut details = Vec::new();
    for topic in &topics {
        let outcomes = replay::replay(topic).await;
        let agreed = count(&outcomes, |o| matches!(o, Outcome::Agreed));
        let all = count(&outcomes, |o| !matches!(o, Outcome::Changed));
        let left_out = count(&outcomes, |o| matches!(o, Outcome::LeftOut(_)));
        table.push(format!("{:<22} {:>7} {:>5} {:>14}", topic.name, agreed, all, left_out));
        total = [total[0] + agreed, total[1] + all];
        details.extend(report(topic, &outcomes));
        let floor = FLOOR.iter().find(|(name, _)| *name == topic.name).map_or(0, |(_, n)| *n);
        if agreed < floor {
            worse.push(format!("{}: {agreed} agree, there were {floor}", topic.name));
        }
    }
    let [agreed, all] = total;
    tell(&format!("{}\n{agreed} of {all} recorded lines agree", table.join("\n")));
    println!("\n{}", details.join("\n"));
    assert!(worse.is_empty(), "fewer lines agree than before: {worse:?}");
}

/// Says something that shows although the test passes: only what `println!` writes is held back.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

fn count(outcomes: &[Outcome], is: impl Fn(&Outcome) -> bool) -> usize {
    outcomes.iter().filter(|outcome| is(outcome)).count()
}

fn report(topic: &Topic, outcomes: &[Outcome]) -> Vec<String> {
    let lines = topic.lines.iter().zip(outcomes);
    lines
        .filter_map(|(line, outcome)| match outcome {
            Outcome::Agreed | Outcome::Changed => None,
            Outcome::LeftOut(reason) => Some(format!("- {} {}: {reason}", topic.name, line.name)),
            Outcome::Differs(how) => Some(format!("! {} {}: {how}", topic.name, line.name)),
        })
        .collect()
}
