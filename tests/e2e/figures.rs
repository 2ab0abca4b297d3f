//! What the figures are taken from: what the operator, the API server and Mailcow count of themselves.

#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ground::wait_until;

use crate::world::{LIMIT, World};

/// How often counters are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing may be counted before it is believed that nothing is to come: longer than a domain waits for more
/// to be attached.
const STILL: Duration = Duration::from_secs(4);

/// Samples of a server's metrics, as it writes them.
pub(crate) struct Samples(String);

impl Samples {
    /// The operator's.
    pub(crate) async fn of_operator(world: &World) -> Self {
        let line = world.operator.as_ref().unwrap().logged("serving metrics", LIMIT).await.unwrap();
        let address = line.split("address=").nth(1).unwrap().trim();
        Self(reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap())
    }

    /// The API server's.
    async fn of_api_server(world: &World) -> Self {
        let question = axum::http::Request::get("/metrics").body(Vec::new()).unwrap();
        Self(world.kube.request_text(question).await.unwrap())
    }

    /// Labels and value of each sample with this name.
    fn named(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
        })
    }

    /// How many reconciles of a kind the operator has done.
    fn passes(&self, kind: &str) -> f64 {
        self.sum("mailcow_operator_reconciles_total", &format!("kind=\"{kind}\""))
    }

    /// How often the operator has checked the DNS records of a domain.
    pub(crate) fn dns_checks(&self) -> f64 {
        self.sum("mailcow_operator_dns_verdicts_total", "record=\"MX\"")
    }

    /// The sum of the samples with this name and, where one is given, this label.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        self.named(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }
}

/// Waits until the operator has gone over at least so many objects of each kind.
pub(crate) async fn settled_once(world: &World, wanted: &[(&str, usize)]) {
    let done = wait_until(Duration::from_mins(10), "a pass over everything", async || {
        let samples = Samples::of_operator(world).await;
        if wanted.iter().all(|(kind, count)| samples.passes(kind) >= as_f64(*count)) { Ok(()) } else { Err("not yet") }
    });
    done.await.unwrap();
}

/// Processor time of the API server since its start.
pub(crate) async fn cpu_of_api_server(world: &World) -> Duration {
    Duration::from_secs_f64(Samples::of_api_server(world).await.sum("process_cpu_seconds_total", ""))
}

/// Waits until the operator has gone over at least so many objects of each kind, has nothing in hand and does not begin
/// anything more. Gives the time up to its last pass.
pub(crate) async fn settled(world: &World, wanted: &[(&str, usize)]) -> Duration {
    let started = Instant::now();
    let (mut busy, mut last, mut since) = (Duration::ZERO, 0.0, Instant::now());
    loop {
        let samples = Samples::of_operator(world).await;
        // Other drivers may go on: DNS is asked again and again where it isn't as it should be.
        let all: f64 = wanted.iter().map(|(kind, _)| samples.passes(kind)).sum();
        if all > last {
            (last, since, busy) = (all, Instant::now(), started.elapsed());
        }
        let is_over = |(kind, count): &(&str, usize)| samples.passes(kind) >= as_f64(*count);
        let in_hand = samples.sum("mailcow_operator_reconciles_in_progress", "");
        if wanted.iter().all(is_over) && in_hand == 0.0 && since.elapsed() > STILL {
            return busy;
        }
        assert!(started.elapsed() < Duration::from_mins(10), "{in_hand} in hand: {}", samples.0);
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits for a whole look of the operator at Mailcow that begins after this call, with nothing else going on; gives how
/// long it took. Mailcow's log then holds it alone.
pub(crate) async fn one_look(world: &World) -> Duration {
    const COUNT: &str = "mailcow_operator_poll_seconds_count";
    const SUM: &str = "mailcow_operator_poll_seconds_sum";
    let next = async |before: &Samples| {
        let looked = wait_until(Duration::from_mins(2), "a look at Mailcow", async || {
            let now = Samples::of_operator(world).await;
            if now.sum(COUNT, "") > before.sum(COUNT, "") { Ok(now) } else { Err("not yet") }
        });
        looked.await.unwrap()
    };
    let first = next(&Samples::of_operator(world).await).await;
    world.mailcow.clear_log();
    let second = next(&first).await;
    assert!(second.sum(COUNT, "") < first.sum(COUNT, "") + 1.5, "more than one look");
    Duration::from_secs_f64(second.sum(SUM, "") - first.sum(SUM, ""))
}

/// Writes to the API server up to now, by verb and resource.
pub(crate) struct ApiWrites(BTreeMap<String, f64>);

impl ApiWrites {
    /// As the API server counts them.
    pub(crate) async fn now(world: &World) -> Self {
        let samples = Samples::of_api_server(world).await;
        let mut writes = BTreeMap::new();
        for (labels, value) in samples.named("apiserver_request_total") {
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split('"').next().filter(|value| !value.is_empty())
            };
            let is_ours = label("group") == Some("email.askrobots.com")
                || ["events", "secrets"].contains(&label("resource").unwrap_or_default());
            let Some(verb) = label("verb").filter(|verb| is_ours && ["POST", "APPLY", "PATCH", "PUT"].contains(verb))
            else {
                continue;
            };
            let what = [label("resource"), label("subresource")].into_iter().flatten().collect::<Vec<_>>().join("/");
            *writes.entry(format!("{verb} {what}")).or_default() += value;
        }
        Self(writes)
    }

    /// How often what was written since, as `PATCH emailaliases/status`.
    pub(crate) async fn since(&self, world: &World) -> BTreeMap<String, f64> {
        let now = Self::now(world).await.0;
        let new = now.into_iter().map(|(what, count)| {
            let before = self.0.get(&what).unwrap_or(&0.0);
            (what, count - before)
        });
        new.filter(|(_, count)| *count > 0.0).collect()
    }

    /// Prints what was written since.
    pub(crate) async fn print_since(&self, world: &World) {
        let written = self.since(world).await;
        let lines: Vec<_> = written.iter().map(|(what, count)| format!("{what} {count}")).collect();
        println!("  writes to the API server, the benchmark's own among them: {}", lines.join(", "));
    }
}

/// Number of Secrets that the API server was asked for up to now.
pub(crate) async fn secret_reads(world: &World) -> f64 {
    let samples = Samples::of_api_server(world).await;
    let is_read = |labels: &str| labels.contains("resource=\"secrets\"") && labels.contains("verb=\"GET\"");
    samples.named("apiserver_request_total").filter(|(labels, _)| is_read(labels)).map(|(_, value)| value).sum()
}

/// Prints what Mailcow was asked, by route.
pub(crate) fn print_routes(world: &World) {
    let mut routes: BTreeMap<String, usize> = BTreeMap::new();
    for request in world.mailcow.requests() {
        let is_list = request.path.split('/').nth(2) == Some("all");
        let depth = if is_list { 3 } else { 2 };
        let route = request.path.split('/').take(depth).collect::<Vec<_>>().join("/");
        *routes.entry(route).or_default() += 1;
    }
    let lines: Vec<_> = routes.into_iter().map(|(route, count)| format!("{route} {count}")).collect();
    println!("  requests to Mailcow: {}", lines.join(", "));
}

/// Prints a row of the table: what, time, reads, writes, the operator's memory, the load of the machine. Of the memory,
/// what is not private is the program's code, which the kernel drops when it needs room.
pub(crate) fn row(world: &World, what: &str, took: Duration) {
    let memory = world.operator.as_ref().map(|operator| {
        let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap()) / 1024.0;
        let [all, private] = [operator.rss_kib(), operator.private_kib()].map(|kib| mib(kib.unwrap()));
        format!("{all:.1} MiB, {private:.1} private")
    });
    let memory = memory.unwrap_or_default();
    let (reads, writes) = (world.mailcow.reads(), world.mailcow.writes());
    println!("| {what} | {:.1} s | {reads} | {writes} | {memory} | {} |", took.as_secs_f64(), load());
}

/// Prints a row that has nothing but a time.
pub(crate) fn row_of_time(what: &str, took: Duration) {
    let seconds = took.as_secs_f64();
    let time = if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") };
    println!("| {what} | {time} | | | | |");
}

/// The load of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
