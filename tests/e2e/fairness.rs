//! A calm tenant beside a hostile one: how long it waits, and what it would wait alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ground::wait_until;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};
use mailcow_simulator::{CostModel, Options, Simulator};
use nameserver::Fault;
use serde_json::{Value, json};

use crate::figures::row_of_time;
use crate::world::{Email, World, is_current, says};

/// How much both tenants do.
#[derive(Clone, Copy)]
struct Load {
    /// Acts of the calm one in each part.
    acts: usize,
    /// Aliases that the hostile one toggles, each of which rebuilds.
    aliases: usize,
    /// Domains of the hostile one whose name servers never answer.
    tarpits: usize,
}

/// What a loaded machine adds.
const SLACK: Duration = Duration::from_secs(1);

fn domain(name: &str, domain: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {{name: {name}}}\nspec: {{domain: {domain}}}\n---\n"
    )
}

fn alias(n: usize) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: out{n}}}\n\
         spec: {{localPart: out{n}, domainRef: {{name: own}}, goto: [x@away.example]}}\n---\n"
    )
}

struct Tenants {
    load: Load,
    world: World,
    calm: String,
    hostile: String,
}

impl Tenants {
    /// With a Mailcow that takes half a second to rebuild its view, and one operator for all.
    async fn new(load: Load) -> Self {
        let mut world = World::everywhere("fairness").await;
        let cost = CostModel { rebuild_pair_nanos: 50_000, ..CostModel::hash_only(Duration::from_millis(5)) };
        world.mailcow = Simulator::start(Options { latency: Some(cost), ..Options::default() }).await.unwrap();
        world.mailcow.edit(|state| state.seed_bulk(1, 100));
        world.connect().await;
        world.start_operator(&[]);
        let calm = world.plane.namespace("calm").await.unwrap();
        let hostile = world.plane.namespace("hostile").await.unwrap();
        world.dns.zone("calm.example", "@ MX 10 mail.host.test.\n").unwrap();
        let ada = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {name: ada}\n\
             spec: {localPart: ada, domainRef: {name: own}}\n---\n";
        let all = domain("own", "calm.example") + ada + &(0..load.acts).map(alias).collect::<String>();
        world.plane.apply(&all, &calm).await.unwrap();
        let tenants = Self { load, world, calm, hostile };
        for n in 0..load.acts {
            tenants.until::<EmailAlias>(&format!("out{n}"), |alias| says(alias, "Ready", "True")).await;
        }
        tenants.until::<EmailMailbox>("ada", |ada| says(ada, "Ready", "True")).await;
        tenants
    }

    async fn until<K: Email>(&self, name: &str, is_so: impl Fn(&K) -> bool) {
        let api: Api<K> = Api::namespaced(self.world.kube.clone(), &self.calm);
        let found = wait_until(Duration::from_mins(2), name, async || {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            if is_so(&object) { Ok(()) } else { Err(format!("{:#?}", object.conditions())) }
        });
        if let Err(error) = found.await {
            panic!("{error}\n{}", self.world.logs());
        }
    }

    /// How long it takes from a change until the status says that it is done.
    async fn timed<K: Email>(&self, name: &str, patch: &Value, is_so: impl Fn(&K) -> bool) -> Duration {
        let api: Api<K> = Api::namespaced(self.world.kube.clone(), &self.calm);
        let started = Instant::now();
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        let generation = patched.meta().generation;
        self.until(name, |now: &K| now.meta().generation == generation && is_so(now)).await;
        started.elapsed()
    }

    /// What the calm tenant waits for: a mailbox and an alias to be changed, and DNS to be looked at.
    async fn measured(&self, round: &str) -> (Vec<Duration>, Vec<Duration>) {
        let (mut mailcow, mut dns) = (Vec::new(), Vec::new());
        for n in 0..self.load.acts {
            let name = json!({"spec": {"displayName": format!("{round} {n}")}});
            let is_done = |now: &EmailMailbox| is_current(now) && says(now, "Ready", "True");
            mailcow.push(self.timed::<EmailMailbox>("ada", &name, is_done).await);
            let comment = json!({"spec": {"publicComment": format!("{round} {n}")}});
            let is_done = |now: &EmailAlias| is_current(now) && says(now, "Ready", "True");
            mailcow.push(self.timed::<EmailAlias>(&format!("out{n}"), &comment, is_done).await);
            if n % 4 == 0 {
                let request = format!("{round}-{n}");
                let ask = json!({"metadata": {"annotations": {"email.askrobots.com/reconcile-requested-at": request}}});
                let is_done = |now: &EmailDomain| {
                    now.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some(&request)
                };
                dns.push(self.timed::<EmailDomain>("own", &ask, is_done).await);
                // The next request is handled a second later.
                tokio::time::sleep(Duration::from_millis(1100)).await;
            }
        }
        (mailcow, dns)
    }

    /// Toggles aliases and asks for checks of domains whose servers don't answer, until it is told to stop.
    fn attack(&self, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
        let (kube, namespace, stop) = (self.world.kube.clone(), self.hostile.clone(), stop.clone());
        let Load { aliases: toggled, tarpits, .. } = self.load;
        tokio::spawn(async move {
            let aliases: Api<EmailAlias> = Api::namespaced(kube.clone(), &namespace);
            let domains: Api<EmailDomain> = Api::namespaced(kube, &namespace);
            let mut writes = 0;
            while !stop.load(Ordering::Relaxed) {
                let comment = json!({"spec": {"publicComment": format!("toggled {writes}")}});
                let name = format!("out{}", writes % toggled);
                let _ = aliases.patch(&name, &PatchParams::default(), &Patch::Merge(&comment)).await;
                let request = json!({"metadata": {"annotations": {
                    "email.askrobots.com/reconcile-requested-at": format!("{writes}"),
                }}});
                let name = format!("tarpit{}", writes % tarpits);
                let _ = domains.patch(&name, &PatchParams::default(), &Patch::Merge(&request)).await;
                writes += 1;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            writes
        })
    }
}

/// The 50th and the 99th of a hundred.
fn percentiles(times: &[Duration]) -> (Duration, Duration) {
    let mut times = times.to_vec();
    times.sort();
    (times[times.len() / 2], times[(times.len() * 99).div_ceil(100) - 1])
}

/// A calm tenant waits no more than twice as long beside a hostile one as alone.
async fn is_fair(load: Load) {
    let tenants = Tenants::new(load).await;
    let tarpit = |n: usize| {
        let name = format!("tarpit{n}.example");
        tenants.world.dns.zone(&name, "").unwrap();
        for below in ["", "_dmarc.", "dkim._domainkey."] {
            tenants.world.dns.authority.fault(&format!("{below}{name}"), None, Fault::Silent);
        }
        domain(&format!("tarpit{n}"), &name)
    };
    let all: String = [domain("own", "hostile.example")]
        .into_iter()
        .chain((0..load.tarpits).map(tarpit))
        .chain((0..load.aliases).map(alias))
        .collect();
    tenants.world.plane.apply(&all, &tenants.hostile).await.unwrap();
    let hostile: Api<EmailAlias> = Api::namespaced(tenants.world.kube.clone(), &tenants.hostile);
    let settled = wait_until(Duration::from_mins(5), "the hostile tenant's aliases", async || {
        let all = hostile.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        let ready = all.iter().filter(|alias| says(*alias, "Ready", "True")).count();
        if ready == load.aliases { Ok(()) } else { Err(format!("{ready} are ready")) }
    });
    settled.await.unwrap();
    // Mailcow then holds as much as in the other part: a rebuild takes as long.
    let alone = tenants.measured("alone").await;
    let stop = Arc::new(AtomicBool::new(false));
    let attack = tenants.attack(&stop);
    // Until its queues are full.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let beside = tenants.measured("beside").await;
    stop.store(true, Ordering::Relaxed);
    let writes = attack.await.unwrap();
    for (what, alone, beside) in [("Mailcow", &alone.0, &beside.0), ("DNS", &alone.1, &beside.1)] {
        let ((alone50, alone99), (beside50, beside99)) = (percentiles(alone), percentiles(beside));
        let hostile = format!("beside {writes} changes of a hostile tenant");
        for (how, median, slow) in [("alone", alone50, alone99), (hostile.as_str(), beside50, beside99)] {
            row_of_time(&format!("a calm tenant's change of {what} is done, {how}, median"), median);
            row_of_time(&format!("the same {how}, 99 of 100"), slow);
        }
        assert!(beside99 <= 2 * alone99 + SLACK, "{what}: {alone99:?} alone and {beside99:?} beside");
    }
}

#[tokio::test]
async fn a_calm_tenant_does_not_wait_for_a_hostile_one() {
    is_fair(Load { acts: 4, aliases: 16, tarpits: 16 }).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_a_calm_tenant_beside_a_hostile_one() {
    is_fair(Load { acts: 24, aliases: 100, tarpits: 40 }).await;
}
