//! Measurements of DNS verification against the test's own servers: `cargo test --release --test dns_bench -- --ignored
//! --nocapture --test-threads=1`.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]
#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use mailcow_operator::crd::{DnsRecordKind, DnsSpec, DnsVerdict};
use mailcow_operator::dns::{Expected, Kind, Lookup, Options, Question, Verdict, Wanted, check, expected};
use mailcow_operator::mail::DomainName;
use nameserver::{Fault, Server};

/// Checks at once.
const OUTSTANDING: usize = 64;

struct World {
    resolver: Server,
    authority: Server,
}

impl World {
    /// A world with so many domains, each with every record that can be published.
    async fn start(domains: usize) -> Self {
        let resolver = Server::start_recursive("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let authority = Server::start("127.0.0.2:0".parse().unwrap()).await.unwrap();
        let world = Self { resolver, authority };
        world.zone("host.test", "@ NS ns1.host.test.\nns1 A 127.0.0.2\nmail A 192.0.2.1\n");
        world.zone("2.0.192.in-addr.arpa", "@ NS ns1.host.test.\n1 PTR mail.host.test.\n");
        let lines = (0..domains).flat_map(|n| expected(&wanted(n, &ALL))).map(|record| Expected::zone_line(&record));
        let lines = lines.collect::<Vec<_>>().join("\n");
        world.zone("test", &format!("@ NS ns1.host.test.\nhost NS ns1.host.test.\n{lines}\n"));
        world
    }

    fn zone(&self, origin: &str, text: &str) {
        for server in [&self.resolver, &self.authority] {
            server.set_zone(origin, text).unwrap();
        }
    }

    fn lookup(&self) -> Lookup {
        let resolvers: Vec<SocketAddr> = vec![self.resolver.address()];
        let authoritative_port = self.authority.address().port();
        Lookup::new(Options { resolvers, authoritative_port, allow_private: true, ..Options::default() }).unwrap()
    }

    fn questions(&self) -> usize {
        self.resolver.seen().len() + self.authority.seen().len()
    }
}

/// The rows that need nothing but DNS.
const ALL: [DnsRecordKind; 10] = [
    DnsRecordKind::Mx,
    DnsRecordKind::Spf,
    DnsRecordKind::Dkim,
    DnsRecordKind::Dmarc,
    DnsRecordKind::Autodiscover,
    DnsRecordKind::Autoconfig,
    DnsRecordKind::Srv,
    DnsRecordKind::TlsRpt,
    DnsRecordKind::Ptr,
    DnsRecordKind::Caa,
];

fn wanted(n: usize, required: &[DnsRecordKind]) -> Wanted {
    Wanted {
        domain: DomainName::parse(&format!("d{n}.test")).unwrap(),
        mail_host: DomainName::parse("mail.host.test").unwrap(),
        egress: Vec::new(),
        certificate_authority: "letsencrypt.org".into(),
        dkim: None,
        spec: DnsSpec { required: required.to_vec(), ..DnsSpec::default() },
    }
}

fn is_good(found: &[Verdict]) -> bool {
    found.iter().all(|v| v.verdict == DnsVerdict::Verified || v.kind == DnsRecordKind::Dkim)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measurement"]
async fn bench_a_full_check_takes_little_more_than_its_slowest_chain() {
    let world = World::start(1).await;
    for latency in [0, 20, 50] {
        for server in [&world.resolver, &world.authority] {
            server.fault_everywhere(Fault::Slow(Duration::from_millis(latency)));
        }
        let before = world.questions();
        let started = Instant::now();
        let found = check(&world.lookup(), &wanted(0, &ALL)).await;
        let took = started.elapsed();
        assert!(is_good(&found), "{found:#?}");
        let asked = world.questions() - before;
        row(&format!("every DNS record of a domain, {latency} ms a lookup"), took, asked);
    }
}

/// A row of the table of `make bench`; lookups stand where reads of Mailcow do.
fn row(what: &str, took: Duration, lookups: usize) {
    println!("| {what} | {:.3} s | {lookups} lookups | | | |", took.as_secs_f64());
}

/// Checks domains, and gives how long it took and how many questions were asked.
async fn checks(world: &World, domains: usize, required: &'static [DnsRecordKind]) -> (Duration, usize) {
    let lookup = Arc::new(world.lookup());
    let before = world.questions();
    let good = AtomicUsize::new(0);
    let started = Instant::now();
    let all = futures::stream::iter(0..domains).map(|n| {
        let lookup = Arc::clone(&lookup);
        tokio::spawn(async move {
            let found = check(&lookup, &wanted(n, required)).await;
            is_good(&found)
        })
    });
    all.buffer_unordered(OUTSTANDING)
        .for_each(async |found| {
            good.fetch_add(usize::from(found.unwrap()), Ordering::Relaxed);
        })
        .await;
    let took = started.elapsed();
    assert_eq!(good.load(Ordering::Relaxed), domains);
    (took, world.questions() - before)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measurement"]
async fn bench_checks_a_second_beside_a_bare_loop_of_the_same_questions() {
    let world = World::start(1000).await;
    let (took, lookups) = checks(&world, 1000, &ALL[..4]).await;
    row("four DNS records of 1,000 domains", took, lookups);
    let (took, lookups) = checks(&world, 1000, &ALL).await;
    row("ten DNS records of 1,000 domains", took, lookups);
    let lookup = Arc::new(world.lookup());
    let count = 20_000;
    let before = world.questions();
    let started = Instant::now();
    let bare = futures::stream::iter(0..count).map(|n| {
        let lookup = Arc::clone(&lookup);
        tokio::spawn(async move { lookup.ask(&Question::new(&format!("_dmarc.d{}.test", n % 1000), Kind::Txt)).await })
    });
    bare.buffer_unordered(OUTSTANDING * 8).for_each(async |found| drop(found.unwrap())).await;
    row("a bare loop of lookups", started.elapsed(), world.questions() - before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measurement"]
async fn bench_five_thousand_domains_with_bounded_outstanding_checks() {
    let world = World::start(5000).await;
    let (took, lookups) = checks(&world, 5000, &ALL[..4]).await;
    row(&format!("four DNS records of 5,000 domains, {OUTSTANDING} at once"), took, lookups);
}
