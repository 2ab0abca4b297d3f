//! A day by a fast clock: as many resyncs and polls as a day has, with objects that come and go all the time. What the
//! process holds at the end of each round stays what it was: memory, sockets, watches, threads.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::campaign::{OPERATOR, Outcome};
use crate::ledger::Oracle;
use crate::pace;
use crate::schedule::{Resync, Schedule};
use crate::story::CHURN;
use crate::world::{PATIENCE, World};

/// Objects of each kind in one round.
const EACH: usize = 40;
/// Rounds before the process has all that it ever needs.
const WARM: usize = 2;
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
}

fn held(world: &World) -> Held {
    let Some(pid) = world.process.pid() else { return Held::default() };
    let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
    Held {
        memory_kib: ground::rss_kib(pid).unwrap_or_default(),
        files: count("fd"),
        threads: count("task"),
        watches: world.watches(),
    }
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

/// Rounds of objects made and deleted, for so long and for four rounds at least.
pub(crate) async fn run(limit: Duration) -> (Outcome, Vec<Held>) {
    let started = Instant::now();
    let schedule = Schedule::quiet(CHURN.name, Resync::Fast);
    let world = World::new(&CHURN, &schedule, Vec::new(), (Path::new(OPERATOR.0), PATIENCE)).await;
    let mut rounds: Vec<Held> = Vec::new();
    while world.ledger.alarms().is_empty() && (rounds.len() < WARM + 2 || started.elapsed() < limit) {
        world.apply(0, &manifests(rounds.len())).await;
        until(&world, "all to be Ready", |world| world.unsettled().is_empty() && world.not_ready().is_empty()).await;
        world.kubectl(0, &["delete", "email", "--all", "--wait=false"], "").await;
        world
            .kubectl(0, &["delete", "secret", "-l", "!keep", "--field-selector", "metadata.name!=mailcow-default"], "")
            .await;
        until(&world, "all to be gone", World::is_empty).await;
        tokio::time::sleep(Duration::from_secs(3)).await; // what goes with a resync has gone
        rounds.push(held(&world));
    }
    grown(&world, &rounds);
    world.finish_quietly();
    world.clear().await;
    (Outcome::of(&schedule, &world, started.elapsed()), rounds)
}

/// Alarms for what the last round holds more than the first half of the warm ones did at most: connections are kept for
/// the most that was ever needed at once, which a busy machine reaches late.
fn grown(world: &World, rounds: &[Held]) {
    let (Some(warm), Some(last)) = (rounds.get(WARM..), rounds.last()) else { return };
    let first = &warm[..warm.len().div_ceil(2)];
    let most = |of: fn(&Held) -> u64| first.iter().map(of).max().unwrap_or_default();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let [memory, files] = [most(|held| held.memory_kib), most(|held| u64::try_from(held.files).unwrap_or(u64::MAX))];
    let warm = warm[0];
    let told = format!("from {warm:?} to {last:?} in {} rounds", rounds.len() - WARM);
    // Memory that was given back to the allocator comes and goes by some megabytes.
    if last.memory_kib > memory * 5 / 4 + 4096 {
        world.ledger.alarm(Oracle::Healthy, format!("memory grows: {told}"));
    }
    if count(last.files) > files + 6 || last.watches > warm.watches + 2 || last.threads > warm.threads + 2 {
        world.ledger.alarm(Oracle::Healthy, format!("sockets, watches or threads grow: {told}"));
    }
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
