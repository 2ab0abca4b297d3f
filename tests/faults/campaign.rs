//! Runs schedules, many at a time, and makes a failure short.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::sync::OnceCell;

use crate::ledger::{Alarm, Oracle};
use crate::schedule::{Act, Fault, KINDS, Place, Resync, Schedule, When};
use crate::snapshot::{self, Facts};
use crate::story::{self, Story};
use crate::world::{PATIENCE, World};

/// So many schedules are run at once on each core: most of their time they wait.
const AT_ONCE: usize = 6;
/// How often a campaign says how far it is.
const NEWS: Duration = Duration::from_mins(1);

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

    /// What is known of a run that could not go on.
    fn untold(schedule: &Schedule, panic: &(dyn std::any::Any + Send)) -> Self {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let text = format!("the story could not be told: {}", words.unwrap_or("no words"));
        Self {
            schedule: schedule.clone(),
            alarms: vec![Alarm { oracle: Oracle::Healthy, text }],
            fired: Vec::new(),
            counts: BTreeMap::new(),
            status_writes: 0,
            took: Duration::ZERO,
            rests: Vec::new(),
            logs: String::new(),
        }
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
    let told = reference(&story, schedule.resync).await;
    let outcome = run_against(&story, schedule, told.rests.clone(), OPERATOR).await;
    if !outcome.alarms.iter().any(|alarm| alarm.oracle == Oracle::End) {
        return outcome;
    }
    // A rest without faults that was taken too early would be a false witness.
    let confirmed = confirmed(&story, schedule.resync).await;
    if confirmed.rests == told.rests {
        return outcome;
    }
    run_against(&story, schedule, confirmed.rests.clone(), OPERATOR).await
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

/// What stories did without faults, each told once in a run of this program.
type Told = std::sync::LazyLock<Mutex<HashMap<(&'static str, Resync), Arc<OnceCell<Arc<Outcome>>>>>>;
static TOLD: Told = Told::new(Mutex::default);
/// The same for stories that ended so a second time.
static CONFIRMED: Told = Told::new(Mutex::default);

fn cell(of: &Told, story: &Story, resync: Resync) -> Arc<OnceCell<Arc<Outcome>>> {
    let mut told = of.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(told.entry((story.name, resync)).or_default())
}

/// The story without faults.
pub(crate) async fn reference(story: &Story, resync: Resync) -> Arc<Outcome> {
    if let Some(confirmed) = cell(&CONFIRMED, story, resync).get() {
        return Arc::clone(confirmed);
    }
    let cell = cell(&TOLD, story, resync);
    Arc::clone(cell.get_or_init(|| tell(story, resync)).await)
}

async fn tell(story: &Story, resync: Resync) -> Arc<Outcome> {
    Arc::new(run_against(story, &Schedule::quiet(story.name, resync), Vec::new(), OPERATOR).await)
}

/// The story without faults, as it ended twice.
async fn confirmed(story: &Story, resync: Resync) -> Arc<Outcome> {
    let agreed = async {
        let mut before = reference(story, resync).await;
        for _ in 0..5 {
            let again = tell(story, resync).await;
            if again.rests == before.rests {
                break;
            }
            let differs = before.rests.iter().zip(&again.rests).enumerate();
            for (n, (one, other)) in differs {
                for line in snapshot::difference(one, other, 8) {
                    println!("{} without faults differs at rest {n}: {line}", story.name);
                }
            }
            before = again;
        }
        before
    };
    let cell = cell(&CONFIRMED, story, resync);
    Arc::clone(cell.get_or_init(|| agreed).await)
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
    /// What was run, and the faults of it that struck.
    pub(crate) ran: Vec<(Schedule, Vec<Fault>)>,
    /// How many faults there are in what is to be run.
    pub(crate) faults: usize,
    /// The same for each story.
    pub(crate) parts: BTreeMap<String, Part>,
}

/// What a campaign did with one story.
#[derive(Default)]
pub(crate) struct Part {
    planned: usize,
    schedules: usize,
    faults: usize,
    struck: usize,
    failures: usize,
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
        self.ran.push((outcome.schedule.clone(), outcome.fired.clone()));
        let part = self.parts.entry(outcome.schedule.story.clone()).or_default();
        part.schedules += 1;
        part.struck += outcome.fired.len();
        part.failures += usize::from(!outcome.unexplained().is_empty());
        self.struck += outcome.fired.len();
        self.statuses += outcome.status_writes;
        self.took = self.took.max(outcome.took);
        if !outcome.unexplained().is_empty() {
            println!("--- alarms after {:?}\n{}", outcome.took, report(&outcome));
            self.failures.push(outcome);
        }
    }

    pub(crate) fn line(&self) -> String {
        let Self { name, schedules, planned, faults, struck, statuses, failures, took, .. } = self;
        format!(
            "| {name} | {schedules} of {planned} | {struck} of {faults} | {statuses} | {} | {} s |",
            failures.len(),
            took.as_secs()
        )
    }

    /// A line for each story.
    pub(crate) fn part_lines(&self) -> String {
        let line = |(story, part): (&String, &Part)| {
            let Part { planned, schedules, faults, struck, failures } = part;
            format!("| {}: {story} | {schedules} of {planned} | {struck} of {faults} | | {failures} | |\n", self.name)
        };
        self.parts.iter().map(line).collect()
    }
}

/// Stories that look at every namespace run beside the others, one after the other.
fn is_everywhere(schedule: &Schedule) -> bool {
    story::named(&schedule.story).is_some_and(|story| story.everywhere)
}

/// Runs schedules until they or the time are at an end.
pub(crate) async fn many(name: &str, schedules: Vec<Schedule>, limit: Duration) -> Tally {
    let started = Instant::now();
    let mut tally = Tally { name: name.to_owned(), planned: schedules.len(), ..Tally::default() };
    for schedule in &schedules {
        let part = tally.parts.entry(schedule.story.clone()).or_default();
        part.planned += 1;
        part.faults += schedule.faults.len();
        tally.faults += schedule.faults.len();
    }
    let run = |schedule: Schedule| async move {
        if started.elapsed() > limit {
            return None;
        }
        let told = std::panic::AssertUnwindSafe(run(&schedule)).catch_unwind().await;
        Some(told.unwrap_or_else(|panic| Outcome::untold(&schedule, panic.as_ref())))
    };
    let (alone, beside): (Vec<_>, Vec<_>) = schedules.into_iter().partition(is_everywhere);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let alone = futures::stream::iter(alone.into_iter().map(run)).buffer_unordered(1);
    let beside = futures::stream::iter(beside.into_iter().map(run)).buffer_unordered(AT_ONCE * cores);
    let mut runs = futures::stream::select(alone, beside);
    let mut told = Instant::now();
    while let Some(outcome) = runs.next().await {
        let Some(outcome) = outcome else { continue };
        tally.schedules += 1;
        tally.add(outcome);
        tally.took = started.elapsed();
        if told.elapsed() > NEWS {
            told = Instant::now();
            println!("{}", tally.line());
        }
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

/// A crash before and after each write of a story, to either side; each by itself.
pub(crate) async fn crashes(story: &Story, resync: Resync) -> Vec<Schedule> {
    let counts = reference(story, resync).await.counts.clone();
    let mut points = Vec::new();
    for place in [Place::KubeWrite, Place::MailcowWrite] {
        let count = counts.get(&place.to_string()).copied().unwrap_or_default();
        for nth in 1..=count {
            for when in [When::Before, When::After] {
                let fault = Fault { place, nth, act: Act::Kill(when) };
                points.push((f64::from(nth) / f64::from(count), Schedule::one(story.name, resync, fault)));
            }
        }
    }
    in_order(points)
}

/// Each event of each watch of a story once dropped, delayed, and before a stale list; each by itself.
pub(crate) async fn events(story: &Story, resync: Resync) -> Vec<Schedule> {
    let counts = reference(story, resync).await.counts.clone();
    let mut points = Vec::new();
    for kind in KINDS {
        let place = Place::KubeWatch(kind);
        let count = counts.get(&place.to_string()).copied().unwrap_or_default();
        let lists = counts.get(&Place::KubeList(kind).to_string()).copied().unwrap_or_default();
        for nth in 1..=count {
            let at = f64::from(nth) / f64::from(count);
            for act in [Act::Drop, Act::Hold(1500)] {
                points.push((at, Schedule::one(story.name, resync, Fault { place, nth, act })));
            }
            let gone = Fault { place, nth, act: Act::Gone };
            let stale = Fault { place: Place::KubeList(kind), nth: lists + 1, act: Act::Stale };
            points.push((at, Schedule { faults: vec![gone, stale], ..Schedule::quiet(story.name, resync) }));
        }
    }
    in_order(points)
}

/// Faults that last longer than the operator trusts anything: a watch that is held back, an API server that lags behind,
/// silence, a process or a Mailcow that stands still. Each by itself, early or late in the story.
pub(crate) async fn lags(story: &Story, resync: Resync) -> Vec<Schedule> {
    /// Longer than a status that was written wins over the watch; shorter than old data are doubted.
    const LAG: u32 = 15_000;
    /// Longer than a request may take, and than old data are doubted.
    const LONG: u32 = 45_000;
    let counts = reference(story, resync).await.counts.clone();
    let count = |place: Place| counts.get(&place.to_string()).copied().unwrap_or_default();
    let mut points = Vec::new();
    let mut add = |faults: Vec<Fault>| points.push(Schedule { faults, ..Schedule::quiet(story.name, resync) });
    for kind in KINDS {
        let place = Place::KubeWatch(kind);
        let (early, late) = (count(place).div_ceil(3), (2 * count(place)).div_ceil(3));
        if early == 0 {
            continue;
        }
        add(vec![Fault { place, nth: early, act: Act::Hold(LAG) }]);
        add(vec![Fault { place, nth: late, act: Act::Hold(LONG) }]);
        add(vec![Fault { place, nth: late, act: Act::Lag(LAG) }]);
        let lag = Fault { place: Place::KubeList(kind), nth: count(Place::KubeList(kind)) + 1, act: Act::Lag(LAG) };
        add(vec![Fault { place, nth: early, act: Act::Gone }, lag]);
    }
    for (place, act) in [
        (Place::KubeWrite, Act::Stop(LAG)),
        (Place::KubeWrite, Act::Silence(LONG)),
        (Place::MailcowWrite, Act::Hold(LONG)),
        (Place::MailcowRead, Act::Hold(LONG)),
    ] {
        if let nth @ 1.. = count(place).div_ceil(2) {
            add(vec![Fault { place, nth, act }]);
        }
    }
    points
}

/// Schedules in the order in which they strike in their story.
fn in_order(mut points: Vec<(f64, Schedule)>) -> Vec<Schedule> {
    points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    points.into_iter().map(|(_, schedule)| schedule).collect()
}

/// So many faults are put into one telling of a story, each in another part of it.
const TOGETHER: usize = 4;

/// Several schedules as one, and those that it is made of.
pub(crate) struct Group {
    pub(crate) whole: Schedule,
    parts: Vec<Schedule>,
}

impl Group {
    /// The schedules that have not struck as a whole, given the faults that did.
    pub(crate) fn missed(&self, fired: &[Fault]) -> Vec<Schedule> {
        let mut faults = self.whole.faults.iter();
        let mut missed = self.parts.clone();
        missed.retain(|part| {
            let struck = faults.by_ref().take(part.faults.len()).filter(|fault| fired.contains(fault)).count();
            struck < part.faults.len()
        });
        missed
    }
}

/// Puts schedules of one story, in the order in which they strike, into as few tellings as may be: those of one telling
/// are as far from each other as they can be, so that none mends what another has broken.
pub(crate) fn together(schedules: &[Schedule]) -> Vec<Group> {
    let groups = schedules.len().div_ceil(TOGETHER);
    let group = |first: usize| {
        let parts: Vec<Schedule> = schedules.iter().skip(first).step_by(groups).cloned().collect();
        let mut whole = Schedule { faults: Vec::new(), ..parts[0].clone() };
        for fault in parts.iter().flat_map(|part| &part.faults) {
            let mut fault = *fault;
            if let (Place::KubeList(kind), Act::Stale) = (fault.place, fault.act) {
                // Each watch that ended before was followed by a list.
                let ends = |fault: &&Fault| {
                    fault.place == Place::KubeWatch(kind) && matches!(fault.act, Act::Drop | Act::Gone)
                };
                let earlier = whole.faults.iter().filter(ends).count().saturating_sub(1);
                fault.nth += u32::try_from(earlier).unwrap_or_default();
            }
            whole.faults.push(fault);
        }
        Group { whole, parts }
    };
    (0..groups).map(group).collect()
}

/// Runs schedules of one fault together where that goes, and by themselves those that did not strike so.
pub(crate) async fn each(name: &str, mut groups: Vec<Group>, seed: u64, limit: Duration) -> Vec<Tally> {
    let started = Instant::now();
    groups.shuffle(&mut StdRng::seed_from_u64(seed)); // where time is short, some of each
    let wholes = groups.iter().map(|group| group.whole.clone()).collect();
    let tally = many(name, wholes, limit).await;
    let mut missed = Vec::new();
    for (schedule, fired) in &tally.ran {
        let group = groups.iter().find(|group| group.whole == *schedule);
        missed.extend(group.into_iter().flat_map(|group| group.missed(fired)));
    }
    if missed.is_empty() {
        return vec![tally];
    }
    let alone = many(&format!("{name}, one by one"), missed, limit.saturating_sub(started.elapsed())).await;
    vec![tally, alone]
}

/// Random schedules from seeds that follow each other.
pub(crate) fn random(stories: &[&str], from: u64, count: usize) -> Vec<Schedule> {
    (from..).take(count).map(|seed| Schedule::random(stories, seed)).collect()
}

/// A failure is made shorter for so long.
const SHRINKING: Duration = Duration::from_mins(3);

/// Leaves faults out as long as an alarm of the same kind stays, and there is time.
pub(crate) async fn shrink(outcome: &Outcome) -> Outcome {
    let started = Instant::now();
    let mut best = outcome.clone();
    let oracles = |outcome: &Outcome| outcome.unexplained().iter().map(|alarm| alarm.oracle).min();
    let wanted: Option<Oracle> = oracles(&best);
    'again: loop {
        for shorter in best.schedule.shorter().collect::<Vec<_>>() {
            if started.elapsed() > SHRINKING {
                return best;
            }
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
