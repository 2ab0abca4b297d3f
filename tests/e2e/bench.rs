//! Figures, not tests: `make bench` prints them. What they stand on: a real API server, the simulator of Mailcow, and
//! two cores shared by all of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};
use mailcow_operator::mail::DomainName;
use mailcow_operator::mailcow::{Client, Connection};
use mailcow_simulator::{CostModel, Request};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::figures::{
    ApiWrites, Samples, cpu_of_api_server, one_look, print_routes, row, row_of_time, secret_reads, settled,
    settled_once,
};
use crate::world::{Email, LIMIT, World, says};

/// Of an operator that goes over nothing by itself while a benchmark lasts.
pub(crate) const OPTIONS: [&str; 4] = ["--resync", "2h", "--dns-mode", "recursive"];
/// Of one that does not look at Mailcow by itself either.
pub(crate) const NO_LOOK: [&str; 2] = ["--poll-interval", "1h"];

/// How many of what.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) domains: usize,
    pub(crate) mailboxes: usize,
    pub(crate) aliases: usize,
}

impl Size {
    /// The passes that go over everything once.
    pub(crate) fn passes(self) -> [(&'static str, usize); 4] {
        let Self { domains, mailboxes, aliases } = self;
        [("EmailDomain", domains), ("EmailMailbox", mailboxes), ("Script", mailboxes), ("EmailAlias", aliases)]
    }

    pub(crate) fn domain(self, n: usize) -> String {
        format!("d{}", n % self.domains)
    }

    pub(crate) fn yaml_of_domain(self, n: usize) -> String {
        let (mailboxes, aliases) = (self.mailboxes, self.aliases);
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {{name: d{n}}}\nspec: {{domain: d{n}.example, limits: {{mailboxes: {mailboxes}, aliases: {}, mailboxQuota: 1Gi, totalQuota: {mailboxes}Gi}}}}",
            aliases.max(1)
        )
    }

    pub(crate) fn yaml_of_mailbox(self, n: usize) -> String {
        let domain = self.domain(n);
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: m{n}}}\nspec: {{localPart: m{n}, domainRef: {{name: {domain}}}, displayName: Number {n}}}"
        )
    }

    pub(crate) fn yaml_of_alias(self, n: usize) -> String {
        let domain = self.domain(n);
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: a{n}}}\nspec: {{localPart: a{n}, domainRef: {{name: {domain}}}, gotoMailboxRefs: [{{name: m{n}}}]}}"
        )
    }
}

pub(crate) async fn create<K: Email + Serialize>(world: &World, count: usize, yaml: impl Fn(usize) -> String) {
    let api = world.api::<K>();
    let objects: Vec<K> = (0..count).map(|n| serde_yaml::from_str(&yaml(n)).unwrap()).collect();
    let (api, none) = (&api, PostParams::default());
    let done = stream::iter(&objects).map(|object| api.create(&none, object)).buffer_unordered(16);
    done.for_each(|created| async { drop(created.unwrap()) }).await;
}

/// The longest time that everything may take until it is Ready.
const PATIENCE: Duration = Duration::from_mins(20);
/// One of so many objects is asked for before all are listed.
const STRIDE: usize = 100;

/// The names of those of a kind that are not Ready.
async fn not_ready<K: Email + DeserializeOwned>(world: &World, count: usize) -> Vec<String> {
    let list = world.api::<K>().list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), count, "{}", K::kind(&()));
    list.items.iter().filter(|object| !says(*object, "Ready", "True")).map(ResourceExt::name_any).collect()
}

/// Asks for one object after the other until it is Ready.
async fn each_ready<K: Email + DeserializeOwned>(world: &mut World, names: &[String]) {
    let (api, started) = (world.api::<K>(), Instant::now());
    for name in names {
        while !says(&api.get(name).await.unwrap(), "Ready", "True") {
            assert!(started.elapsed() < PATIENCE, "{name} is not Ready: {}", world.logs());
            let ended = world.operator.as_mut().unwrap().exit_status().unwrap();
            assert!(
                ended.is_none(),
                "the operator ended, an older one perhaps for an option that it lacks: {}",
                world.logs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// When everything became Ready, and how much processor time the API server had used by then. Lists of everything, one after
/// the other, would be a part of what is measured, so few objects are asked for one by one, the last ones first, and then
/// those that a list shows as not Ready.
async fn all_ready(world: &mut World, size: Size) -> (Instant, Duration) {
    let few = |letter: char, count: usize| -> Vec<String> {
        (0..count).rev().step_by(STRIDE).map(|n| format!("{letter}{n}")).collect()
    };
    let mut domains = few('d', size.domains);
    let mut mailboxes = few('m', size.mailboxes);
    let mut aliases = few('a', size.aliases);
    loop {
        each_ready::<EmailAlias>(world, &aliases).await;
        each_ready::<EmailMailbox>(world, &mailboxes).await;
        each_ready::<EmailDomain>(world, &domains).await;
        let now = (Instant::now(), cpu_of_api_server(world).await);
        domains = not_ready::<EmailDomain>(world, size.domains).await;
        mailboxes = not_ready::<EmailMailbox>(world, size.mailboxes).await;
        aliases = not_ready::<EmailAlias>(world, size.aliases).await;
        if [&domains, &mailboxes, &aliases].iter().all(|names| names.is_empty()) {
            return now;
        }
    }
}

async fn everything(world: &World, size: Size) {
    create::<EmailDomain>(world, size.domains, |n| size.yaml_of_domain(n)).await;
    create::<EmailMailbox>(world, size.mailboxes, |n| size.yaml_of_mailbox(n)).await;
    create::<EmailAlias>(world, size.aliases, |n| size.yaml_of_alias(n)).await;
}

/// The cheapest complete look that a bare client can take: one list of the domains, and for each its key and two lists.
pub(crate) async fn bare_look(world: &mut World, size: Size) -> usize {
    world.operator = None;
    let client = bare(world);
    world.mailcow.clear_log();
    let started = Instant::now();
    assert_eq!(client.domains().await.unwrap().len(), size.domains);
    for n in 0..size.domains {
        let name = DomainName::parse(&format!("d{n}.example")).unwrap();
        client.dkim(&name).await.unwrap();
        client.mailboxes(&name, 0).await.unwrap();
        client.aliases(&name, 0).await.unwrap();
    }
    row(world, "a bare client's look at the same", started.elapsed());
    world.mailcow.reads()
}

fn bare(world: &World) -> Client {
    let api_key = SecretString::from(world.mailcow.api_key());
    let connection = Connection { url: world.mailcow.url(), api_key, ca: None, mail_host: None };
    Client::new(&connection, Arc::new(|_, _, _| ())).unwrap()
}

/// Another build of the operator, to be measured beside this one.
fn base() -> Option<PathBuf> {
    std::env::var_os("BASE_OPERATOR").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Everything is created in one go while the operator runs. Gives its world.
async fn created(size: Size) -> World {
    let of = format!("{}+{}+{}", size.domains, size.mailboxes, size.aliases);
    create_everything(size, &format!("{of} created, all Ready"), None).await
}

/// The same by another build, where one is given, which is then started again.
async fn created_by_base(size: Size) {
    let of = format!("{}+{}+{}", size.domains, size.mailboxes, size.aliases);
    if let Some(base) = base() {
        let mut world = create_everything(size, &format!("{of} created by the base, all Ready"), Some(base)).await;
        start_again(&mut world, size, &format!("{of}, the base")).await;
    }
}

async fn create_everything(size: Size, what: &str, binary: Option<PathBuf>) -> World {
    // On a control plane of its own: an API server keeps what others made, and must not run out of memory.
    let mut world = World::alone("bench").await;
    world.binary = binary.unwrap_or(world.binary);
    world.connect().await;
    world.start_operator(&[&OPTIONS[..], &NO_LOOK].concat());
    let (before, cpu) = (ApiWrites::now(&world).await, cpu_of_api_server(&world).await);
    let started = Instant::now();
    everything(&world, size).await;
    let (ended, cpu_then) = all_ready(&mut world, size).await;
    row(&world, what, ended - started);
    row_of_time(&format!("{what}: processor time of the API server"), cpu_then.saturating_sub(cpu));
    let own = world.operator.as_ref().unwrap().cpu_time().unwrap();
    row_of_time(&format!("{what}: processor time of the operator"), own);
    print_routes(&world);
    before.print_since(&world).await;
    world
}

/// The same objects without an operator: what their creation alone costs.
async fn created_by_nobody(size: Size) {
    let world = World::alone("bench").await;
    let (cpu, started) = (cpu_of_api_server(&world).await, Instant::now());
    everything(&world, size).await;
    let what = format!("{}+{}+{} created without an operator", size.domains, size.mailboxes, size.aliases);
    row(&world, &what, started.elapsed());
    let cpu = cpu_of_api_server(&world).await.saturating_sub(cpu);
    row_of_time(&format!("{what}: processor time of the API server"), cpu);
}

/// A restart with everything in sync; gives how much was read of Mailcow.
pub(crate) async fn restart(world: &mut World, size: Size, of: &str) -> usize {
    // A domain counts again a second after the last change.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = ApiWrites::now(world).await;
    let read = start_again(world, size, of).await;
    let mut written = before.since(world).await;
    // Missing DNS records are checked again after a while, and the status says when that was.
    let checks = Samples::of_operator(world).await.dns_checks();
    let domains = f64::from(u32::try_from(size.domains).unwrap());
    assert!(checks < domains / 2.0, "{checks} of {domains} domains were checked: a restart is no reason for that");
    written.retain(|what, count| what.contains("email") && !(what == "APPLY emaildomains/status" && *count <= checks));
    assert!(written.is_empty(), "a restart with nothing to do writes {written:?}, with {checks} checks of DNS");
    assert!(read < 0.2 * f64::from(u32::try_from(size.mailboxes).unwrap()), "{read} reads of unchanged Secrets");
    assert_eq!(world.mailcow.writes(), 0);
    world.mailcow.reads()
}

/// The rows of a restart; gives how many Secrets were read.
async fn start_again(world: &mut World, size: Size, of: &str) -> f64 {
    world.operator = None;
    world.mailcow.clear_log();
    let before = secret_reads(world).await;
    world.start_operator(&[&OPTIONS[..], &NO_LOOK].concat());
    let took = settled(world, &size.passes()).await;
    let read = secret_reads(world).await - before;
    row(world, &format!("{of}: a restart, nothing to do, {read} Secrets read"), took);
    row_of_time(&format!("{of}: the API server lists the same objects"), listed(world).await);
    print_routes(world);
    read
}

/// How long the API server needs to list everything, as for `kubectl get --raw`.
async fn listed(world: &World) -> Duration {
    let started = Instant::now();
    for kind in ["emaildomains", "emailmailboxes", "emailaliases"] {
        let path = format!("/apis/email.askrobots.com/v1alpha1/namespaces/{}/{kind}", world.namespace);
        let question = axum::http::Request::get(path).body(Vec::new()).unwrap();
        drop(world.kube.request_text(question).await.unwrap());
    }
    started.elapsed()
}

/// How long new aliases take until they are Ready: while nothing else is done, and while everything is gone over again
/// and again.
pub(crate) async fn new_ones(world: &mut World, size: Size, of: &str) {
    world.operator = None;
    world.start_operator(&[&OPTIONS[..], &NO_LOOK].concat());
    settled(world, &size.passes()).await;
    let [middle, slow] = latencies(world, size, "idle").await;
    row_of_time(&format!("{of}: a new alias is Ready, idle, median"), middle);
    row_of_time(&format!("{of}: the same, 99 of 100"), slow);
    world.operator = None;
    world.start_operator(&["--resync", "1m", "--dns-mode", "recursive", "--poll-interval", "1h"]);
    settled_once(world, &size.passes()).await;
    let [middle, slow] = latencies(world, size, "busy").await;
    row_of_time(&format!("{of}: a new alias is Ready during a resync each minute, median"), middle);
    row_of_time(&format!("{of}: the same, 99 of 100"), slow);
}

/// The median and the 99th percentile of a hundred new aliases, one after the other.
async fn latencies(world: &World, size: Size, name: &str) -> [Duration; 2] {
    let api = world.api::<EmailAlias>();
    let mut all = Vec::new();
    for n in 0..100 {
        let name = format!("{name}-{n}");
        let yaml = size.yaml_of_alias(n).replace(&format!("{{name: a{n}}}"), &format!("{{name: {name}}}"));
        let yaml = yaml.replace(&format!("localPart: a{n},"), &format!("localPart: {name},"));
        let started = Instant::now();
        api.create(&PostParams::default(), &serde_yaml::from_str(&yaml).unwrap()).await.unwrap();
        while !says(&api.get(&name).await.unwrap(), "Ready", "True") {
            assert!(started.elapsed() < LIMIT, "{name}: {}", world.logs());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        all.push(started.elapsed());
    }
    all.sort_unstable();
    [all[all.len() / 2], all[all.len() - 2]]
}

/// A look at Mailcow with everything in sync; gives how much was read of it.
pub(crate) async fn look(world: &mut World, size: Size, of: &str) -> usize {
    world.operator = None;
    world.start_operator(&[&OPTIONS[..], &["--poll-interval", "15s"]].concat());
    settled(world, &size.passes()).await;
    let took = one_look(world).await;
    row(world, &format!("{of}: a look, nothing to do"), took);
    assert_eq!(world.mailcow.writes(), 0);
    world.mailcow.reads()
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_one_domain_and_five_thousand_mailboxes() {
    created(Size { domains: 1, mailboxes: 5000, aliases: 0 }).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_ten_thousand_of_each() {
    let size = Size { domains: 100, mailboxes: 10_000, aliases: 10_000 };
    created_by_nobody(size).await;
    created_by_base(size).await;
    let (mut world, of) = (created(size).await, "100+10000+10000");
    let asked = [restart(&mut world, size, of).await, look(&mut world, size, of).await];
    let bare = bare_look(&mut world, size).await;
    for reads in asked {
        assert!(reads * 10 <= bare * 12, "{reads} reads where a bare client needs {bare}");
    }
    new_ones(&mut world, size, of).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_a_thousand_new_mailboxes_at_the_real_server_s_pace() {
    let size = Size { domains: 10, mailboxes: 1000, aliases: 0 };
    let mut world = World::costly("burst", CostModel::measured()).await;
    world.connect().await;
    world.start_operator(&[&OPTIONS[..], &NO_LOOK].concat());
    create::<EmailDomain>(&world, size.domains, |n| size.yaml_of_domain(n)).await;
    all_ready(&mut world, Size { mailboxes: 0, ..size }).await;
    world.operator = None;
    create::<EmailMailbox>(&world, size.mailboxes, |n| size.yaml_of_mailbox(n)).await;
    beside_bare_writers(&mut world, size, "1,000 new mailboxes", size.domains).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_fifty_new_domains_and_two_thousand_objects_at_the_real_server_s_pace() {
    let size = Size { domains: 50, mailboxes: 1000, aliases: 1000 };
    let mut world = World::costly("newfleet", CostModel::measured()).await;
    world.connect().await;
    everything(&world, size).await;
    beside_bare_writers(&mut world, size, "50 new domains, 1,000 mailboxes and 1,000 aliases", 0).await;
}

/// Starts the operator on objects that Mailcow does not have yet, and sends the same writes again by two bare writers.
async fn beside_bare_writers(world: &mut World, size: Size, what: &str, domains_before: usize) {
    world.mailcow.clear_log();
    world.start_operator(&[&OPTIONS[..], &NO_LOOK].concat());
    let started = Instant::now();
    let (ended, _) = all_ready(world, size).await;
    row(world, &format!("{what} at a real server's pace, Ready"), ended - started);
    print_routes(world);
    let written: Vec<_> = world.mailcow.requests().into_iter().filter(|request| request.method == "POST").collect();
    let (first, last) = (written.first().unwrap(), written.last().unwrap());
    let busy = (last.at + last.took).saturating_sub(first.at);
    let bare = two_bare_writers(written, domains_before, size).await;
    row_of_time("from the first write to the last", busy);
    row_of_time("the same writes by two bare writers", bare);
}

/// Sends the same writes to a fresh server of the same pace, two at a time; domains first, then mailboxes.
async fn two_bare_writers(written: Vec<Request>, domains_before: usize, size: Size) -> Duration {
    let options = mailcow_simulator::Options { latency: Some(CostModel::measured()), ..Default::default() };
    let server = mailcow_simulator::Simulator::start(options).await.unwrap();
    server.edit(|state| {
        for n in 0..domains_before {
            state.seed_domain(&format!("d{n}.example"));
        }
    });
    let http = reqwest::Client::new();
    let send = async |request: Request| {
        let call = http.post(format!("{}/api/v1/{}", server.url(), request.path)).body(request.body);
        let call = call.header("content-type", "application/json").header("x-api-key", server.api_key());
        call.send().await.unwrap().bytes().await.unwrap()
    };
    let (domains, others) = written.into_iter().partition::<Vec<_>, _>(|request| request.path == "add/domain");
    let (mailboxes, others) = others.into_iter().partition::<Vec<_>, _>(|request| request.path == "add/mailbox");
    let started = Instant::now();
    for step in [domains, mailboxes, others] {
        stream::iter(step).map(&send).buffered(2).for_each(|_| std::future::ready(())).await;
    }
    let took = started.elapsed();
    let made = server.inspect(|state| (state.domains.len(), state.mailboxes.len()));
    assert_eq!(made, (size.domains, size.mailboxes), "the bare writers did the same");
    took
}
