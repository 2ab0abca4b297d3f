//! Fault injection: the operator between an API server and a Mailcow that fail as a schedule says, judged by what
//! must hold whatever goes wrong. See "Fault injection" in `docs/development.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]
#![expect(clippy::print_stdout, reason = "people who run a campaign want to see how it goes")]

mod campaign;
mod churn;
mod ledger;
mod mirror;
mod mutation;
mod oracles;
mod pace;
mod planted;
mod process;
mod proxy;
mod schedule;
mod snapshot;
mod story;
mod truth;
mod world;

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use campaign::{Outcome, Tally};
use schedule::{Resync, Schedule};
use story::STORIES;

/// The schedule in the file that `FAULTS_REPLAY` names, or in that variable itself.
#[test]
#[ignore = "for people: FAULTS_REPLAY=file cargo test --test faults -- --ignored --nocapture replay"]
fn replay() {
    let given = option("FAULTS_REPLAY").unwrap_or_default();
    let text = std::fs::read_to_string(&given).unwrap_or(given).replace(';', "\n");
    let schedule: Schedule = text.parse().unwrap();
    let outcome = world::runtime().block_on(campaign::run(&schedule));
    println!("{}counts: {:#?}", campaign::report(&outcome), outcome.counts);
    assert!(outcome.alarms.is_empty());
}

/// What the environment says; there are no command lines for tests.
#[expect(clippy::disallowed_methods, reason = "options of people who run tests")]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How long the short form may begin new random schedules.
const SHORT: Duration = Duration::from_secs(80);
/// Where its fixed seeds begin.
const FIXED: u64 = 1;

/// Ends a test with alarms: they are made short, kept and told.
async fn judged(tallies: Vec<Tally>) {
    let failures: Vec<Outcome> = tallies.into_iter().flat_map(|tally| tally.failures).collect();
    let words = campaign::keep(&failures).await;
    assert!(words.is_empty(), "\n{words}");
}

/// Files of regressions that end so.
fn kept(end: &str) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(campaign::regressions()).unwrap().map(|file| file.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|its| its == end)).collect()
}

#[test]
fn what_once_failed_stays_mended() {
    world::runtime().block_on(async {
        let mut schedules: Vec<Schedule> = Vec::new();
        for path in kept("txt") {
            let text = std::fs::read_to_string(&path).unwrap();
            schedules.push(text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        }
        for file in kept("changes") {
            let lines: Vec<String> = std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
            let outcome = mutation::replay(&lines).await;
            assert!(outcome.unexplained().is_empty(), "{}: {}", file.display(), campaign::report(&outcome));
        }
        judged(vec![campaign::many("regressions", schedules, Duration::MAX).await]).await;
    });
}

#[test]
fn random_schedules_of_fixed_seeds_and_of_a_fresh_one_raise_no_alarm() {
    world::runtime().block_on(async {
        let fresh = u64::from(rand::random::<u32>());
        println!("the fresh seed is {fresh}");
        // A second control plane is too dear here.
        let names: Vec<&str> = STORIES.iter().filter(|story| !story.everywhere).map(|story| story.name).collect();
        let schedules = [FIXED, fresh].map(|seed| campaign::random(&names, seed, 12)).concat();
        judged(vec![campaign::many("random", schedules, SHORT).await]).await;
    });
}

/// Runs of changing specs beside each other, one for each seed; an alarm ends the test.
async fn mutations(seeds: [u64; 3], time: Duration) -> Tally {
    let runs = seeds.map(|seed| mutation::run(seed, time));
    let mut tally = Tally { name: "changing specs".to_owned(), ..Tally::default() };
    let mut fields = std::collections::BTreeSet::new();
    let mut refused = 0;
    let mut words = String::new();
    for (seed, (outcome, changes)) in seeds.into_iter().zip(futures::future::join_all(runs).await) {
        if !outcome.unexplained().is_empty() {
            words += &campaign::report(&outcome);
            words += &mutation::keep(seed, &changes).await;
        }
        tally.schedules += changes.taken + changes.refused;
        refused += changes.refused;
        fields.extend(changes.fields);
        tally.add(outcome);
    }
    assert!(words.is_empty(), "\n{words}");
    tally.planned = tally.schedules;
    println!(
        "{} changes of {} fields from the seeds {seeds:?}, {refused} refused by the API server",
        tally.schedules,
        fields.len()
    );
    tally
}

/// Specs that change at random, for a moment, from fixed seeds and a fresh one; `make faults` goes on with it.
#[test]
fn changing_specs_raise_no_alarm() {
    world::runtime().block_on(async {
        let fresh = u64::from(rand::random::<u32>());
        println!("the fresh seed is {fresh}");
        judged(vec![mutations([FIXED, FIXED + 1, fresh], Duration::from_secs(20)).await]).await;
    });
}

/// `make faults SECONDS=…`: each part of it in turn, as long as there is time.
#[test]
#[ignore = "long: make faults SECONDS=3600"]
fn long_form() {
    let seconds = option("FAULTS_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(900);
    let only = option("FAULTS_ONLY").unwrap_or_default();
    let seed =
        option("FAULTS_SEED").and_then(|text| text.parse().ok()).unwrap_or_else(|| u64::from(rand::random::<u32>()));
    world::runtime().block_on(long(Duration::from_secs(seconds), &only, seed));
}

async fn long(time: Duration, only: &str, seed: u64) {
    let started = Instant::now();
    let left = |part: f64| time.mul_f64(part).min(time.saturating_sub(started.elapsed()));
    let share = |part: f64| if only.is_empty() { left(part) } else { time };
    let wanted = |name: &str| only.is_empty() || name.starts_with(only);
    let story = option("FAULTS_STORY").unwrap_or_default();
    if only == "planted" {
        return planted::all_found(&story).await;
    }
    let stories: Vec<_> = STORIES.iter().filter(|its| story.is_empty() || its.name == story).collect();
    assert!(!stories.is_empty(), "no story is called {story}; there are: {}", STORIES.map(|its| its.name).join(", "));
    let names: Vec<&str> = stories.iter().map(|story| story.name).collect();
    let mut tallies = Vec::new();
    if wanted("stories") {
        tallies.push(campaign::many("stories without faults", campaign::plain(&names), time).await);
    }
    for (name, part) in [("crashes", 0.3), ("events", 0.3)] {
        if !wanted(name) {
            continue;
        }
        let mut groups = Vec::new();
        let references = stories.iter().map(|story| campaign::reference(story, Resync::Never));
        futures::future::join_all(references).await;
        for story in &stories {
            let schedules = match name {
                "crashes" => campaign::crashes(story, Resync::Never).await,
                _ => campaign::events(story, Resync::Never).await,
            };
            groups.extend(campaign::together(&schedules));
        }
        tallies.extend(campaign::each(name, groups, seed, share(part)).await);
    }
    if wanted("lags") {
        let all = stories.iter().map(|story| campaign::lags(story, Resync::Never));
        let mut schedules = futures::future::join_all(all).await.concat();
        schedules.shuffle(&mut StdRng::seed_from_u64(seed)); // where time is short, some of each
        tallies.push(campaign::many("long lags", schedules, share(0.1)).await);
    }
    if wanted("random") {
        println!("random schedules from seed {seed}");
        tallies.push(campaign::many("random", campaign::random(&names, seed, 100_000), left(1.0)).await);
    }
    if wanted("mutation") {
        let time = if only.is_empty() { time.mul_f64(0.2) } else { time };
        tallies.push(mutations([seed, seed + 1, seed + 2], time).await);
    }
    if wanted("churn") {
        let (outcome, rounds) = churn::run(campaign::OPERATOR.0, if only.is_empty() { churn::DAY } else { time }).await;
        for (n, held) in rounds.iter().enumerate() {
            println!("round {n}: {held:?}");
        }
        tallies.push(Tally::of("a day with churn", &outcome, rounds.len()));
    }
    println!("\n{}", Tally::HEAD);
    for tally in &tallies {
        println!("{}", tally.line());
        print!("{}", tally.part_lines());
    }
    judged(tallies).await;
}
