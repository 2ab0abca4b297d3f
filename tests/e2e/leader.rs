//! Two replicas: one works, the other takes over, and never do both write.

#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::time::{Duration, Instant};

use ground::{Operator, wait_until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use mailcow_operator::crd::EmailDomain;
use mailcow_simulator::{Access, ApiKey, Fault, Trouble};

use crate::world::{DOMAIN, LIMIT, World, many};

/// Of the Lease.
const DURATION: Duration = Duration::from_secs(6);
const MAILBOXES: usize = 40;

/// A replica with an API key of its own, so that Mailcow can tell who wrote.
struct Replica {
    process: Operator,
    key: String,
}

impl Replica {
    fn start(world: &World, name: &str) -> Self {
        let key = format!("{name}11-{name}22");
        world.mailcow.add_key(ApiKey::new(&key, Access::ReadWrite));
        let file = world.plane.folder().path().join(format!("{}-{name}.key", world.namespace));
        std::fs::write(&file, &key).unwrap();
        let (url, file, duration) =
            (world.mailcow.url(), file.display().to_string(), format!("{}s", DURATION.as_secs()));
        let args = ["--mailcow-url", &url, "--mailcow-api-key-file", &file, "--pod-name", name];
        let election = ["--lease-duration", &duration];
        Self { process: world.another_operator(&[&args[..], &election[..]].concat()), key }
    }

    /// How many of the writes are its own.
    fn writes(&self, world: &World) -> usize {
        world.mailcow.requests().iter().filter(|request| request.is_write() && request.key == self.key).count()
    }

    async fn leads(&self, limit: Duration) {
        self.process.logged("this instance is the leader lease", limit).await.unwrap();
    }

    /// What its server says.
    async fn says(&self, path: &str) -> String {
        let line = self.process.logged("serving metrics", LIMIT).await.unwrap();
        let address = line.split("address=").nth(1).unwrap().trim();
        reqwest::get(format!("http://{address}/{path}")).await.unwrap().text().await.unwrap()
    }

    /// Waits until the process has ended, and gives its last words.
    async fn ends(&mut self, limit: Duration) -> String {
        let ended = wait_until(limit, "the replica to end", async || match self.process.exit_status().unwrap() {
            Some(status) => Ok(status),
            None => Err("it runs"),
        });
        let status = ended.await.unwrap_or_else(|error| panic!("{error}\n{}", self.process.logs()));
        assert!(!status.success(), "{status:?}");
        self.process.logs()
    }
}

/// A leader at work on many mailboxes, each of whose writes takes its time, and a standby.
async fn at_work(name: &str) -> (World, Replica, Replica) {
    let world = World::without_mailcow(name).await;
    prepared(world).await
}

async fn prepared(world: World) -> (World, Replica, Replica) {
    let late = Trouble::LateAnswer(Duration::from_millis(300));
    world.mailcow.fault(Fault { times: 10_000, method: "POST".to_owned(), path: String::new(), trouble: late });
    let first = Replica::start(&world, "FIRST");
    first.leads(LIMIT).await;
    let second = Replica::start(&world, "SECOND");
    second.process.logged("another instance is the leader", LIMIT).await.unwrap();
    world.apply(&many(MAILBOXES)).await;
    writing(&world, &first).await;
    (world, first, second)
}

async fn writing(world: &World, replica: &Replica) {
    wait_until(LIMIT, "some writes", async || match replica.writes(world) {
        0..4 => Err("too few"),
        _ => Ok(()),
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", replica.process.logs()));
}

/// Waits until everything is done by whoever leads.
async fn done(world: &World) {
    world.mailcow.clear_faults();
    let limit = LIMIT * 2;
    wait_until(limit, "all mailboxes", async || match world.mailcow.inspect(|state| state.mailboxes.len()) {
        MAILBOXES => Ok(()),
        n => Err(n),
    })
    .await
    .unwrap();
    world.ready::<EmailDomain>("example").await;
}

/// Every write of the first came before every write of the second.
fn one_after_the_other(world: &World, first: &Replica, second: &Replica) {
    let writes: Vec<_> = world.mailcow.requests().into_iter().filter(mailcow_simulator::Request::is_write).collect();
    let last = writes.iter().filter(|write| write.key == first.key).map(|write| write.at).max().unwrap();
    let next = writes.iter().filter(|write| write.key == second.key).map(|write| write.at).min().unwrap();
    assert!(last < next, "{last:?} {next:?}");
    println!("from the last write of the one to the first of the other: {:?}", next.saturating_sub(last));
}

async fn holder(world: &World) -> Option<String> {
    let leases: Api<Lease> = world.api();
    leases.get("mailcow-operator").await.unwrap().spec.unwrap().holder_identity
}

#[tokio::test]
async fn one_writes_and_the_other_is_ready_and_takes_over_after_a_kill_within_the_lease() {
    let (world, mut first, second) = at_work("leaderkill").await;
    assert_eq!((first.says("readyz").await, second.says("readyz").await), ("ok".to_owned(), "ok".to_owned()));
    assert!(first.says("metrics").await.contains("mailcow_operator_leader 1"));
    assert!(second.says("metrics").await.contains("mailcow_operator_leader 0"));
    assert_eq!((second.writes(&world), holder(&world).await.as_deref()), (0, Some("FIRST")));
    first.process.kill();
    let killed = Instant::now();
    second.leads(DURATION + Duration::from_secs(1)).await;
    println!("taken over {:?} after the kill, lease of {DURATION:?}", killed.elapsed());
    done(&world).await;
    one_after_the_other(&world, &first, &second);
    assert!(second.says("metrics").await.contains("mailcow_operator_leader 1"));
}

#[tokio::test]
async fn a_leader_that_is_told_to_end_finishes_its_writes_and_hands_over_at_once() {
    let (world, mut first, second) = at_work("leaderterm").await;
    let told = Instant::now();
    let status = first.process.stop(LIMIT).await.unwrap();
    let ended = told.elapsed();
    second.leads(Duration::from_secs(2)).await;
    println!("ended after {ended:?}, taken over {:?} after the signal", told.elapsed());
    assert!(status.success() && first.process.logs().contains("the Lease is released"), "{}", first.process.logs());
    let cut = world.mailcow.requests().iter().filter(|request| request.is_write() && request.status != 200).count();
    assert_eq!(cut, 0);
    done(&world).await;
    one_after_the_other(&world, &first, &second);
    let adds = world.mailcow.requests().iter().filter(|request| request.path == "add/mailbox").count();
    assert_eq!(adds, MAILBOXES, "each mailbox was added once");
}

#[tokio::test]
async fn a_leader_that_was_frozen_past_its_lease_writes_nothing_more() {
    let (world, mut first, second) = at_work("leaderfrozen").await;
    first.process.pause().unwrap();
    second.leads(DURATION + Duration::from_secs(1)).await;
    done(&world).await;
    let before = first.writes(&world);
    first.process.resume().unwrap();
    let words = first.ends(LIMIT).await;
    assert!(words.contains("this instance is no longer the leader"), "{words}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(first.writes(&world), before, "{}", first.process.logs());
    one_after_the_other(&world, &first, &second);
}

#[tokio::test]
async fn a_leader_without_the_kubernetes_api_stops_by_its_own_clock() {
    let (world, mut first, mut second) = prepared(World::alone("leaderalone").await).await;
    // It hangs: connections are taken, and nothing is answered.
    let api_server = world.plane.pids().api_server.unwrap().to_string();
    let signal = |name: &str| std::process::Command::new("kill").args([name, &api_server]).status().unwrap();
    signal("-STOP");
    let cut = Instant::now();
    let words = first.ends(DURATION).await;
    println!("stopped {:?} after the API server hung, lease of {DURATION:?}", cut.elapsed());
    assert!(words.contains("this instance is no longer the leader"), "{words}");
    assert!(second.process.exit_status().unwrap().is_none() && second.writes(&world) == 0);
    signal("-CONT");
    second.leads(LIMIT).await;
    done(&world).await;
    one_after_the_other(&world, &first, &second);
}

#[tokio::test]
async fn a_standby_that_may_not_read_the_lease_says_so_and_is_not_ready() {
    let world = World::without_mailcow("leaderrights").await;
    world.kubectl(&["delete", "rolebinding", "leases"]).await;
    let replica = Replica::start(&world, "FIRST");
    let said = replica.process.logged("it needs get, create and update on leases", LIMIT).await.unwrap();
    assert!(said.contains("mailcow-operator"), "{said}");
    assert_ne!(replica.says("readyz").await, "ok");
    world.plane.grant_lease(&world.namespace).await.unwrap();
    world.apply(DOMAIN).await;
    replica.leads(LIMIT).await;
    wait_until(LIMIT, "readiness", async || match replica.says("readyz").await.as_str() {
        "ok" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await
    .unwrap();
}
