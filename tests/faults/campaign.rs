//! Runs schedules, many at a time, and makes a failure short.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::sync::OnceCell;

use crate::ledger::{Alarm, Oracle};
use crate::schedule::{Act, Fault, KINDS, Place, Resync, Schedule, When};
use crate::snapshot::Facts;
use crate::story::{self, STORIES, Story};
use crate::world::{PATIENCE, World};

/// So many schedules are run at once: most of their time they wait.
const AT_ONCE: usize = 12;

/// Alarms whose cause is known and being fixed: the story, a part of the text, and why it is here. To be empty.
const EXPECTED: [(&str, &str, &str); 0] = [];

/// What came of a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) schedule: Schedule,
    pub(crate) alarms: Vec<Alarm>,
    /// The faults of the schedule that struck.
    pub(crate) fired: Vec<Fault>,
    /// How often each place was met.
    pub(crate) counts: BTreeMap<String, u32>,
    pub(crate) status_writes: u64,
    pub(crate) took: Duration,
    pub(crate) rests: Vec<Facts>,
    logs: String,
}

impl Outcome {
    /// What came of it in a world that has seen its end.
    pub(crate) fn of(schedule: &Schedule, world: &World, took: Duration) -> Self {
        let outcome = Self {
            schedule: schedule.clone(),
            alarms: world.ledger.alarms(),
            fired: world.ledger.fired(),
            counts: world.ledger.counts(),
            status_writes: world.ledger.status_writes(),
            took,
            rests: world.rests(),
            logs: world.process.logs(),
        };
        if outcome.alarms.is_empty() { outcome } else { note(&outcome) }
    }

    /// Alarms that nobody expected.
    pub(crate) fn unexplained(&self) -> Vec<&Alarm> {
        let is_known = |alarm: &Alarm| {
            EXPECTED.iter().any(|(story, text, _)| {
                (story.is_empty() || *story == self.schedule.story) && alarm.text.contains(text)
            })
        };
        self.alarms.iter().filter(|alarm| !is_known(alarm)).collect()
    }
}

/// Runs a schedule once.
pub(crate) async fn run(schedule: &Schedule) -> Outcome {
    let story = story::named(&schedule.story).unwrap_or_else(|| panic!("no story is called {:?}", schedule.story));
    let reference = reference(&story, schedule.resync).await;
    run_against(&story, schedule, reference.rests.clone(), OPERATOR).await
}

/// Stories that look at every namespace are in each other's way.
static EVERYWHERE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The program under test, and how long a rest may take.
pub(crate) const OPERATOR: (&str, Duration) = (env!("CARGO_BIN_EXE_mailcow-operator"), PATIENCE);

/// Runs a story against what it left behind before; with nothing to compare with, that is found out.
pub(crate) async fn run_against(
    story: &Story,
    schedule: &Schedule,
    reference: Vec<Facts>,
    (binary, patience): (&str, Duration),
) -> Outcome {
    let alone = if story.everywhere { Some(EVERYWHERE.lock().await) } else { None };
    let started = Instant::now();
    let world = World::new(story, schedule, reference, (Path::new(binary), patience)).await;
    (story.run)(&world).await;
    world.finish().await;
    world.clear().await;
    drop(alone);
    Outcome::of(schedule, &world, started.elapsed())
}

/// The story without faults, told once in a run of this program.
pub(crate) async fn reference(story: &Story, resync: Resync) -> Arc<Outcome> {
    type Told = HashMap<(&'static str, Resync), Arc<OnceCell<Arc<Outcome>>>>;
    static TOLD: std::sync::LazyLock<Mutex<Told>> = std::sync::LazyLock::new(Mutex::default);
    let cell = {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(told.entry((story.name, resync)).or_default())
    };
    let tell = async { Arc::new(run_against(story, &Schedule::quiet(story.name, resync), Vec::new(), OPERATOR).await) };
    Arc::clone(cell.get_or_init(|| tell).await)
}

/// Where logs of runs with alarms are kept.
fn notes() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    drop(std::fs::create_dir_all(&folder));
    folder
}

/// Keeps the log of a run with alarms.
fn note(outcome: &Outcome) -> Outcome {
    let digest = outcome.schedule.to_string().bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
    let file = notes().join(format!("{}-{:x}-{digest:x}.log", outcome.schedule.story, outcome.schedule.seed));
    let alarms: String = outcome.alarms.iter().fold(String::new(), |text, alarm| text + "# " + &alarm.line());
    drop(std::fs::write(file, format!("{}{alarms}\n{}", outcome.schedule, outcome.logs)));
    outcome.clone()
}

/// What a campaign did, as a line of the table.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) name: String,
    pub(crate) schedules: usize,
    pub(crate) planned: usize,
    pub(crate) struck: usize,
    pub(crate) statuses: u64,
    pub(crate) failures: Vec<Outcome>,
    pub(crate) took: Duration,
}

impl Tally {
    pub(crate) const HEAD: &str = "| campaign | schedules | faults that struck | statuses judged | with alarms | time |\n|---|---|---|---|---|---|";

    /// That of one run.
    pub(crate) fn of(name: &str, outcome: &Outcome, rounds: usize) -> Self {
        let mut tally = Self { name: name.to_owned(), schedules: rounds, planned: rounds, ..Self::default() };
        tally.add(outcome.clone());
        tally
    }

    /// Counts what came of a run.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.struck += outcome.fired.len();
        self.statuses += outcome.status_writes;
        self.took = self.took.max(outcome.took);
        if !outcome.unexplained().is_empty() {
            println!("--- alarms after {:?}\n{}", outcome.took, report(&outcome));
            self.failures.push(outcome);
        }
    }

    pub(crate) fn line(&self) -> String {
        let Self { name, schedules, planned, struck, statuses, failures, took } = self;
        format!(
            "| {name} | {schedules} of {planned} | {struck} | {statuses} | {} | {} s |",
            failures.len(),
            took.as_secs()
        )
    }
}

/// Runs schedules until they or the time are at an end.
pub(crate) async fn many(name: &str, schedules: Vec<Schedule>, limit: Duration) -> Tally {
    let started = Instant::now();
    let mut tally = Tally { name: name.to_owned(), planned: schedules.len(), ..Tally::default() };
    let runs = schedules
        .into_iter()
        .map(|schedule| async move { if started.elapsed() > limit { None } else { Some(run(&schedule).await) } });
    let mut runs = futures::stream::iter(runs).buffer_unordered(AT_ONCE);
    while let Some(outcome) = runs.next().await {
        let Some(outcome) = outcome else { continue };
        tally.schedules += 1;
        tally.add(outcome);
    }
    tally.took = started.elapsed();
    println!("{}", tally.line());
    tally
}

/// Each story without faults.
pub(crate) fn plain(stories: &[&str]) -> Vec<Schedule> {
    let both = |story: &&str| [Resync::Fast, Resync::Never].map(|resync| Schedule::quiet(story, resync));
    stories.iter().flat_map(both).collect()
}

/// A crash before and after each write of a story, to either side.
pub(crate) async fn crashes(story: &Story, resync: Resync) -> Vec<Schedule> {
    let counts = reference(story, resync).await.counts.clone();
    let mut schedules = Vec::new();
    for place in [Place::KubeWrite, Place::MailcowWrite] {
        let count = counts.get(&place.to_string()).copied().unwrap_or_default();
        for nth in 1..=count {
            for when in [When::Before, When::After] {
                schedules.push(Schedule::one(story.name, resync, Fault { place, nth, act: Act::Kill(when) }));
            }
        }
    }
    schedules
}

/// Each event of each watch of a story once dropped, delayed, and before a stale list.
pub(crate) async fn events(story: &Story, resync: Resync) -> Vec<Schedule> {
    let counts = reference(story, resync).await.counts.clone();
    let mut schedules = Vec::new();
    for kind in KINDS {
        let place = Place::KubeWatch(kind);
        let count = counts.get(&place.to_string()).copied().unwrap_or_default();
        let lists = counts.get(&Place::KubeList(kind).to_string()).copied().unwrap_or_default();
        for nth in 1..=count {
            for act in [Act::Drop, Act::Hold(1500)] {
                schedules.push(Schedule::one(story.name, resync, Fault { place, nth, act }));
            }
            let gone = Fault { place, nth, act: Act::Gone };
            let stale = Fault { place: Place::KubeList(kind), nth: lists + 1, act: Act::Stale };
            schedules.push(Schedule { faults: vec![gone, stale], ..Schedule::quiet(story.name, resync) });
        }
    }
    schedules
}

/// The same in an order from a seed: where time is short, some of each.
pub(crate) fn shuffled(mut schedules: Vec<Schedule>, seed: u64) -> Vec<Schedule> {
    schedules.shuffle(&mut StdRng::seed_from_u64(seed));
    schedules
}

/// Random schedules from seeds that follow each other.
pub(crate) fn random(from: u64, count: usize) -> Vec<Schedule> {
    let names: Vec<&str> = STORIES.iter().filter(|story| !story.everywhere).map(|story| story.name).collect();
    (from..).take(count).map(|seed| Schedule::random(&names, seed)).collect()
}

/// Leaves faults out as long as an alarm of the same kind stays.
pub(crate) async fn shrink(outcome: &Outcome) -> Outcome {
    let mut best = outcome.clone();
    let oracles = |outcome: &Outcome| outcome.unexplained().iter().map(|alarm| alarm.oracle).min();
    let wanted: Option<Oracle> = oracles(&best);
    'again: loop {
        for shorter in best.schedule.shorter().collect::<Vec<_>>() {
            let outcome = run(&shorter).await;
            if oracles(&outcome).is_some() && oracles(&outcome) == wanted {
                best = outcome;
                continue 'again;
            }
        }
        return best;
    }
}

/// What a person needs to see a failure again.
pub(crate) fn report(outcome: &Outcome) -> String {
    let alarms = outcome.unexplained();
    let lines: String = alarms.iter().fold(String::new(), |text, alarm| text + "  " + &alarm.line());
    format!("{}{lines}", outcome.schedule)
}

/// The folder of schedules that once failed.
pub(crate) fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/regressions")
}

/// Makes failures short, keeps them as regressions, and gives the words for the test that fails.
pub(crate) async fn keep(failures: &[Outcome]) -> String {
    let mut words = String::new();
    let mut seen: Vec<(String, Option<Oracle>)> = Vec::new();
    for failure in failures {
        let kind = (failure.schedule.story.clone(), failure.unexplained().iter().map(|alarm| alarm.oracle).min());
        if seen.contains(&kind) {
            continue; // one of a kind is enough to begin with
        }
        seen.push(kind);
        if story::named(&failure.schedule.story).is_none() {
            words += &report(failure); // no story tells it again
            continue;
        }
        let short = if failure.schedule.faults.len() > 1 { shrink(failure).await } else { failure.clone() };
        let text = report(&short);
        let kept: String = text
            .lines()
            .map(|line| if line.starts_with(' ') { format!("#{line}\n") } else { format!("{line}\n") })
            .collect();
        let file = regressions().join(short.schedule.file_name());
        let place = match std::fs::write(&file, kept) {
            Ok(()) => file.display().to_string(),
            Err(error) => format!("not kept: {error}"),
        };
        words = words + &text + "  kept as " + &place + "\n";
    }
    words
}
