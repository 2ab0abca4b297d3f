//! A day by a fast clock: as many resyncs and polls as a day has, with objects that come and go all the time. What the
//! process holds at the end of each round stays what it was: memory, sockets, watches, threads, tasks.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::campaign::Outcome;
use crate::ledger::Oracle;
use crate::pace;
use crate::schedule::{Resync, Schedule};
use crate::story::CHURN;
use crate::world::{PATIENCE, World};

/// Objects of each kind in one round.
const EACH: usize = 40;
/// Rounds before the process has all that it ever needs.
const WARM: usize = 2;
/// Objects made in one round: a domain, and mailboxes with an alias, a rule and a Secret each.
const OBJECTS_PER_ROUND: usize = 1 + 4 * EACH;
/// So many warm rounds tell what grows from what comes and goes.
const JUDGED_ROUNDS: usize = 6;
/// So many bytes may stay of each object that was made and deleted: less than any of them takes.
const LEAK_LIMIT: f64 = 2048.0;
/// A resync every 10 minutes makes 144 a day; the fast clock has one every 2 s.
pub(crate) const DAY: Duration = Duration::from_secs(144 * 2);

/// What the process holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) memory_kib: u64,
    pub(crate) files: usize,
    pub(crate) threads: usize,
    /// Watches open at the API server.
    pub(crate) watches: usize,
    /// Asynchronous tasks that have not ended.
    pub(crate) tasks: usize,
}

async fn held(world: &World) -> Held {
    let Some(pid) = world.process.pid() else { return Held::default() };
    let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
    Held {
        memory_kib: ground::rss_kib(pid).unwrap_or_default(),
        files: count("fd"),
        threads: count("task"),
        watches: world.watches(),
        tasks: alive_tasks(world).await.unwrap_or_else(|| {
            world.ledger.alarm(Oracle::Healthy, "the operator doesn't say how many tasks it has");
            0
        }),
    }
}

/// What the operator's metrics say of its tasks; `None` when it doesn't say.
async fn alive_tasks(world: &World) -> Option<usize> {
    let logs = world.process.logs();
    let line = logs.lines().rfind(|line| line.contains("serving metrics"))?;
    let address = line.split("address=").nth(1)?.trim();
    let metrics = reqwest::get(format!("http://{address}/metrics")).await.ok()?.text().await.ok()?;
    metrics.lines().find_map(|line| line.strip_prefix("mailcow_operator_alive_tasks "))?.parse().ok()
}

/// A round's manifests: names of their own each time, so that whatever is kept by name grows.
fn manifests(round: usize) -> String {
    let email = crate::story::email;
    let domain = format!("d{round}");
    let mut all = email(
        "Domain",
        &domain,
        &format!("domain: {domain}.example, deletionPolicy: Delete, limits: {{mailboxes: 100, totalQuota: 1Ti}}"),
    );
    for n in 0..EACH {
        let name = format!("r{round}n{n}");
        let within = format!("domainRef: {{name: {domain}}}");
        let secret = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: Given-Password-{n}}}\n---\n"
        );
        let given = if n % 2 == 0 { String::new() } else { format!(", passwordSecretRef: {{name: {name}}}") };
        all += &secret;
        all += &email("Mailbox", &name, &format!("localPart: {name}, {within}, deletionPolicy: Delete{given}"));
        all += &email("Alias", &name, &format!("localPart: a{name}, {within}, gotoMailboxRefs: [{{name: {name}}}]"));
        all += &email(
            "ForwardingRule",
            &name,
            &format!("mailboxRef: {{name: {name}}}, actions: [{{forward: {{to: [x{n}@other.example]}}}}]"),
        );
    }
    all
}

/// Rounds of objects made and deleted, for so long, and for as many rounds as it takes to judge them.
pub(crate) async fn run(binary: &str, limit: Duration) -> (Outcome, Vec<Held>) {
    let started = Instant::now();
    let schedule = Schedule::quiet(CHURN.name, Resync::Fast);
    let world = World::new(&CHURN, &schedule, Vec::new(), (Path::new(binary), PATIENCE)).await;
    let mut rounds: Vec<Held> = Vec::new();
    while world.ledger.alarms().is_empty() && (rounds.len() < WARM + JUDGED_ROUNDS || started.elapsed() < limit) {
        world.apply(0, &manifests(rounds.len())).await;
        until(&world, "all to be Ready", |world| world.unsettled().is_empty() && world.not_ready().is_empty()).await;
        world.kubectl(0, &["delete", "email", "--all", "--wait=false"], "").await;
        world
            .kubectl(0, &["delete", "secret", "-l", "!keep", "--field-selector", "metadata.name!=mailcow-default"], "")
            .await;
        until(&world, "all to be gone", World::is_empty).await;
        tokio::time::sleep(Duration::from_secs(3)).await; // what goes with a resync has gone
        rounds.push(held(&world).await);
    }
    for text in grown(&rounds) {
        world.ledger.alarm(Oracle::Healthy, text);
    }
    world.finish_quietly();
    world.clear().await;
    (Outcome::of(&schedule, &world, started.elapsed()), rounds)
}

/// What grows: memory by a little with each object, or what the last round holds more than the first half of the warm ones
/// did at most: connections are kept for the most that was ever needed at once, which a busy machine reaches late.
fn grown(rounds: &[Held]) -> Vec<String> {
    let (Some(warm), Some(last)) = (rounds.get(WARM..).filter(|warm| !warm.is_empty()), rounds.last()) else {
        return Vec::new();
    };
    let first = &warm[..warm.len().div_ceil(2)];
    let most = |of: fn(&Held) -> usize| first.iter().map(of).max().unwrap_or_default();
    let memory = first.iter().map(|held| held.memory_kib).max().unwrap_or_default();
    let told = format!("from {:?} to {last:?} in {} rounds", warm[0], warm.len());
    let mut alarms = Vec::new();
    // Memory that was given back to the allocator comes and goes by some megabytes.
    if last.memory_kib > memory * 5 / 4 + 4096 {
        alarms.push(format!("memory grows: {told}"));
    }
    if let Some(bytes) = leaked_per_object(warm).filter(|bytes| *bytes > LEAK_LIMIT) {
        alarms.push(format!("{bytes:.0} bytes stay of each object: {told}"));
    }
    let is_more = last.files > most(|held| held.files) + 6;
    if is_more || last.watches > warm[0].watches + 2 || last.threads > warm[0].threads + 2 {
        alarms.push(format!("sockets, watches or threads grow: {told}"));
    }
    if last.tasks > most(|held| held.tasks) + 12 {
        alarms.push(format!("tasks grow: {told}"));
    }
    alarms
}

/// How many bytes stay of each object: from the median of the first half of rounds to that of the second.
fn leaked_per_object(warm: &[Held]) -> Option<f64> {
    let half = warm.len() / 2;
    let median = |rounds: &[Held]| {
        let mut memory: Vec<u64> = rounds.iter().map(|held| held.memory_kib).collect();
        memory.sort_unstable();
        u32::try_from(memory[memory.len() / 2]).map_or(f64::INFINITY, f64::from)
    };
    let made = u32::try_from((warm.len() - half) * OBJECTS_PER_ROUND).ok()?;
    (warm.len() >= JUDGED_ROUNDS)
        .then(|| (median(&warm[warm.len() - half..]) - median(&warm[..half])) * 1024.0 / f64::from(made))
}

async fn until(world: &World, what: &str, is_so: impl Fn(&World) -> bool) {
    let started = Instant::now();
    while !is_so(world) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.judge();
        if pace::elapsed(started) > PATIENCE * 2 {
            let rest = [world.unsettled(), world.not_ready()].concat();
            return world.ledger.alarm(Oracle::End, format!("waited in vain for {what}: {}", rest.join("\n    ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds with so much memory each, in KiB, after those that warm up.
    fn rounds(warm: impl IntoIterator<Item = u64>) -> Vec<Held> {
        let held = |memory_kib| Held { memory_kib, files: 20, threads: 5, watches: 6, tasks: 80 };
        [20_000, 38_000].into_iter().chain(warm).map(held).collect()
    }

    #[test]
    fn a_little_of_each_object_that_stays_is_found() {
        let leak = 3 * u64::try_from(OBJECTS_PER_ROUND).unwrap();
        let noise = [0, 700, 200, 900, 100, 500, 300, 800, 0, 600];
        let grows = rounds((0..10).map(|n| 40_000 + n * leak + noise[usize::try_from(n).unwrap()]));
        assert!(matches!(&grown(&grows)[..], [one] if one.contains("stay of each object")), "{:?}", grown(&grows));
        let stays = rounds(noise.map(|more| 40_000 + more));
        assert_eq!(grown(&stays), Vec::<String>::new());
        let once = rounds([40_000, 40_000, 40_000, 43_000, 40_000, 40_000, 42_000, 40_000]);
        assert_eq!(grown(&once), Vec::<String>::new(), "what comes and goes");
        assert_eq!(leaked_per_object(&grows[..5]), None, "too few to tell");
    }

    #[test]
    fn a_jump_of_memory_and_more_sockets_watches_threads_or_tasks_are_found() {
        assert!(grown(&rounds([40_000, 40_000, 40_000, 60_000]))[0].starts_with("memory grows"));
        for more in [
            Held { files: 7, ..Held::default() },
            Held { threads: 3, ..Held::default() },
            Held { watches: 3, ..Held::default() },
        ] {
            let mut grows = rounds([40_000; 6]);
            let last = grows.last_mut().unwrap();
            last.files += more.files;
            last.threads += more.threads;
            last.watches += more.watches;
            assert!(matches!(&grown(&grows)[..], [one] if one.starts_with("sockets")), "{more:?}");
        }
        let mut grows = rounds([40_000; 6]);
        grows.last_mut().unwrap().tasks += 13;
        assert!(matches!(&grown(&grows)[..], [one] if one.starts_with("tasks")));
        assert!(grown(&rounds([])).is_empty());
    }
}
