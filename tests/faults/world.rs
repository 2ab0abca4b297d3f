//! Where a story is run: namespaces of its own, servers, an operator behind a proxy, and the book of what passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ground::{ControlPlane, Dns, Folder, Installation};
use mailcow_simulator::{Options, Simulator, State};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::ledger::{CLUSTER, Kube, Ledger, Mailcow, Oracle, Servers};
use crate::mirror::{Mirror, OURS};
use crate::pace;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::schedule::{Resync, Schedule};
use crate::snapshot::{self, Facts};
use crate::story::Story;

/// How long a story may take to come to rest after each of its steps.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// A resync of the operator in fast form, as an option and as a time that surely holds one whole.
const FAST: (&str, &str, Duration) = ("2s", "1s", Duration::from_millis(2600));
/// The DNS of a new domain is asked again after so long, at the earliest.
const CHECKED: Duration = Duration::from_secs(20);
/// The operator tries again after 2 to 2.5 s.
const TRIED_AGAIN: Duration = Duration::from_secs(3);
/// So many kilobytes are more than the operator ever needs for a story.
const MEMORY_KIB: u64 = 300_000;

/// What all runs share.
pub(crate) struct Site {
    pub(crate) plane: ControlPlane,
    pub(crate) kube: kube::Client,
    pub(crate) mirror: Arc<Mirror>,
    account: (String, String),
    _dns: Dns,
    dns_args: Vec<String>,
}

/// The one runtime of this program, so that what is shared outlives each test.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap())
}

/// The control plane with the chart, started by whoever comes first; another one for operators that look everywhere, so
/// that they are in nobody's way.
pub(crate) async fn site(everywhere: bool) -> &'static Site {
    static SITES: [OnceCell<Site>; 2] = [const { OnceCell::const_new() }; 2];
    SITES[usize::from(everywhere)].get_or_init(start_site).await
}

async fn start_site() -> Site {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plane = ControlPlane::start(ground::Options::default()).await.unwrap();
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator");
    let gates = [("featureGates.DNSPublishing", "true"), ("featureGates.AutoProvisioning", "true")];
    let Installation { namespace, account, .. } = plane.install_operator(&chart, &gates, "release").await.unwrap();
    let kube = plane.admin().await.unwrap();
    let mirror = Mirror::follow(&kube);
    let dns = Dns::start().await.unwrap();
    let dns_args = dns.operator_args();
    Site { plane, kube, mirror, account: (namespace, account), _dns: dns, dns_args }
}

/// The place of one run.
pub(crate) struct World {
    pub(crate) site: &'static Site,
    pub(crate) namespaces: Vec<String>,
    pub(crate) servers: Vec<Arc<Simulator>>,
    pub(crate) process: Arc<Process>,
    pub(crate) ledger: Arc<Ledger>,
    proxy: Proxy,
    names: Vec<String>,
    resync: Resync,
    /// What a story decides by chance follows from it.
    pub(crate) seed: u64,
    everywhere: bool,
    /// What the story left behind at each of its rests, without faults; empty while that is being found out.
    reference: Vec<Facts>,
    rests: std::sync::Mutex<Vec<Facts>>,
    pub(crate) accomplice: Option<for<'a> fn(&'a Self) -> futures::future::BoxFuture<'a, ()>>,
    /// How long a rest may take.
    patience: Duration,
    /// By way of the proxy, with the operator's rights.
    pub(crate) kubeconfig: PathBuf,
    _folder: Folder,
}

impl World {
    /// Everything in place, and `binary` started as the operator.
    pub(crate) async fn new(
        story: &Story,
        schedule: &Schedule,
        reference: Vec<Facts>,
        (binary, patience): (&Path, Duration),
    ) -> Self {
        let site = site(story.everywhere).await;
        let mut namespaces = vec![site.plane.operator_namespace("faults0").await.unwrap()];
        for n in 1..story.namespaces {
            namespaces.push(site.plane.namespace(&format!("faults{n}")).await.unwrap());
        }
        let names: Vec<String> =
            ["default", "second"].iter().take(story.servers).map(|name| (*name).to_owned()).collect();
        let folder = Folder::new("faults", false).unwrap();
        let sinks = "- {name: desk, email: {address: desk@tools.example}, namespaces: ['*']}\n\
                     - {name: tracker, webhook: {url: 'https://tracker.example/hook'}, namespaces: ['*']}\n";
        let sinks = folder.write("sinks.yaml", sinks).unwrap();
        let process = Arc::new(Process::new(binary.to_owned()));
        let ledger = Arc::new(Ledger::new(
            Arc::clone(&site.mirror),
            namespaces.clone(),
            names.clone(),
            Arc::clone(&process),
            schedule.faults.clone(),
        ));
        let mut servers = Vec::new();
        for server in 0..story.servers {
            let simulator = Simulator::start(Options::default()).await.unwrap();
            simulator.edit(|state| (story.seed)(server, state));
            simulator.inspect(|state| ledger.changed_by_hand(server, state));
            simulator.observe(Arc::new(Mailcow { ledger: Arc::clone(&ledger), server }));
            servers.push(Arc::new(simulator));
        }
        let looked_at = Servers::default();
        let _ = looked_at.set(servers.clone());
        let script = Arc::new(Kube { ledger: Arc::clone(&ledger), servers: looked_at });
        let proxy = Proxy::start(site.plane.api_server(), script).await;
        let (namespace, account) = &site.account;
        let kubeconfig =
            site.plane.service_account_kubeconfig_by_way_of(proxy.way(), namespace, account).await.unwrap();
        let world = Self {
            site,
            namespaces,
            servers,
            process,
            ledger,
            proxy,
            names,
            resync: if story.by_hand { Resync::Fast } else { schedule.resync },
            seed: schedule.seed,
            everywhere: story.everywhere,
            reference,
            rests: std::sync::Mutex::default(),
            accomplice: story.accomplice,
            patience,
            kubeconfig,
            _folder: folder,
        };
        world.connect().await;
        world.process.set(
            world.arguments(story, &sinks),
            vec![
                ("KUBECONFIG".to_owned(), world.kubeconfig.display().to_string()),
                ("MALLOC_ARENA_MAX".to_owned(), "1".to_owned()),
            ],
        );
        world.process.start();
        world
    }

    fn arguments(&self, story: &Story, sinks: &Path) -> Vec<String> {
        let (resync, poll) = match self.resync {
            Resync::Fast => (FAST.0, FAST.1),
            Resync::Never => ("1h", "1h"),
        };
        let operator = &self.namespaces[0];
        // The Lease is taken once and lasts longer than a run: its renewals are not among the writes that schedules count.
        let text = format!(
            "run --operator-namespace {operator} --pod-name the-pod --lease-duration 10m --listen 127.0.0.1:0 --cluster-id {CLUSTER} --resync {resync} \
             --poll-interval {poll} --mailcow-secret mailcow-default --sinks-file {}",
            sinks.display()
        );
        let mut args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        for name in self.names.iter().filter(|name| *name != "default") {
            args.extend(["--mailcow-server".to_owned(), format!("{name}=mailcow-{name}")]);
        }
        if !story.everywhere {
            args.extend(["--watch-namespaces".to_owned(), self.namespaces.join(",")]);
        }
        let more = if story.everywhere { ",AutoProvisioning=true" } else { "" };
        args.extend(["--feature-gates".to_owned(), format!("DNSPublishing=true,TaskDelivery=true{more}")]);
        args.extend(self.site.dns_args.iter().cloned());
        args
    }

    /// Makes the Secrets with the connections.
    async fn connect(&self) {
        for (name, server) in self.names.iter().zip(&self.servers) {
            let (url, key) = (server.url(), server.api_key());
            self.apply(
                0,
                &format!(
                    "apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow-{name}}}\n\
                     stringData: {{url: {url:?}, apiKey: {key:?}, mailHost: mail.host.test}}"
                ),
            )
            .await;
        }
    }

    /// A text with the real namespaces in place of `{0}`, `{1}`.
    pub(crate) fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (n, namespace) in self.namespaces.iter().enumerate() {
            text = text.replace(&format!("{{{n}}}"), namespace);
        }
        text
    }

    /// Applies manifests into a namespace, as one owner of fields; they have to be taken.
    pub(crate) async fn apply(&self, namespace: usize, manifests: &str) {
        for (path, body) in self.requests(namespace, manifests) {
            let path = format!("{path}?fieldManager=story&force=true");
            let request = http::Request::patch(path).header("Content-Type", "application/apply-patch+yaml");
            let request = request.body(body.to_string().into_bytes()).unwrap();
            if let Err(error) = self.site.kube.request_text(request).await {
                panic!("{error}\n{body}");
            }
        }
    }

    /// Paths and bodies of manifests.
    fn requests(&self, namespace: usize, manifests: &str) -> Vec<(String, Value)> {
        let manifests = self.named(manifests);
        let mut requests = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&manifests) {
            let mut object = Value::deserialize(document).unwrap();
            if object.is_null() {
                continue;
            }
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            let plural = OURS.iter().find(|(ours, _)| *ours == kind).map(|(_, plural)| *plural);
            let own = self.namespaces[namespace].clone();
            let within = object["metadata"]["namespace"].as_str().map_or(own, str::to_owned);
            object["metadata"]["namespace"] = within.clone().into();
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let path = match plural {
                Some(plural) => format!("/apis/email.askrobots.com/v1alpha1/namespaces/{within}/{plural}/{name}"),
                None => format!("/api/v1/namespaces/{within}/{}s/{name}", kind.to_lowercase()),
            };
            requests.push((path, object));
        }
        requests
    }

    /// Runs kubectl in a namespace as the administrator; gives what it wrote. Where it fails the story can't end well.
    pub(crate) async fn kubectl(&self, namespace: usize, args: &[&str], input: &str) -> String {
        let args: Vec<String> = args.iter().map(|arg| self.named(arg)).collect();
        let args: Vec<&str> =
            ["-n", &self.namespaces[namespace]].into_iter().chain(args.iter().map(String::as_str)).collect();
        let output = self.site.plane.kubectl_with(&args, &self.named(input)).await.unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            self.ledger.alarm(Oracle::End, format!("kubectl {} failed: {told}", args.join(" ")));
        }
        told
    }

    /// Deletes objects, as `EmailMailbox/ada`, without waiting.
    pub(crate) async fn delete(&self, namespace: usize, objects: &[&str]) {
        for object in objects {
            let (kind, name) = object.split_once('/').unwrap();
            let within = &self.namespaces[namespace];
            let path = match OURS.iter().find(|(ours, _)| *ours == kind) {
                Some((_, plural)) => format!("/apis/email.askrobots.com/v1alpha1/namespaces/{within}/{plural}/{name}"),
                None => format!("/api/v1/namespaces/{within}/{}s/{name}", kind.to_lowercase()),
            };
            let request = http::Request::delete(path).body(Vec::new()).unwrap();
            if let Err(error) = self.site.kube.request_text(request).await {
                panic!("{error}: delete {object}");
            }
        }
    }

    /// Changes a spec, which the API server has to refuse.
    pub(crate) async fn refused(&self, namespace: usize, object: &str, spec: Value) {
        let (kind, name) = object.split_once('/').unwrap();
        let Some((_, plural)) = OURS.iter().find(|(ours, _)| *ours == kind) else { panic!("{kind} is none of ours") };
        let within = &self.namespaces[namespace];
        let path = format!("/apis/email.askrobots.com/v1alpha1/namespaces/{within}/{plural}/{name}");
        let request = http::Request::patch(path).header("Content-Type", "application/merge-patch+json");
        let request = request.body(serde_json::json!({ "spec": spec }).to_string().into_bytes()).unwrap();
        let answer = self.site.kube.request_text(request).await;
        if !matches!(answer, Err(kube::Error::Api(error)) if error.code == 422) {
            self.ledger.alarm(Oracle::Never, format!("{object} was not refused: {spec}"));
        }
    }

    /// Changes a server by hand.
    pub(crate) fn by_hand(&self, server: usize, change: impl FnOnce(&mut State)) {
        self.servers[server].edit(|state| {
            change(state);
            self.ledger.changed_by_hand(server, state);
        });
    }

    /// What there is now, as far as the mirror and the servers show it.
    fn near(&self) -> Facts {
        let mut facts = Facts::new();
        for (name, server) in self.names.iter().zip(&self.servers) {
            server.inspect(|state| snapshot::mailcow(&mut facts, name, state));
        }
        for (kind, _) in OURS {
            for (_, life) in self.site.mirror.there(kind, &self.namespaces) {
                snapshot::object(&mut facts, kind, &life.object);
            }
        }
        self.nameless(facts)
    }

    fn nameless(&self, facts: Facts) -> Facts {
        facts.into_iter().map(|(place, value)| (self.ledger.nameless(&place), self.ledger.nameless(&value))).collect()
    }

    /// What there is now.
    pub(crate) async fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        for namespace in &self.namespaces {
            for (kind, plural) in [("Secret", "secrets"), ("ConfigMap", "configmaps")] {
                self.objects(&mut facts, kind, &format!("/api/v1/namespaces/{namespace}/{plural}")).await;
            }
        }
        let mut facts = self.nameless(facts);
        facts.extend(self.near());
        facts
    }

    async fn objects(&self, facts: &mut Facts, kind: &str, path: &str) {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let list: Value = self.site.kube.request(request).await.unwrap();
        // What only waits to be collected is gone: that takes the garbage collector its own time.
        let is_orphan = |object: &Value| {
            let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten().peekable();
            owners.peek().is_some()
                && owners.all(|owner| !self.site.mirror.has(owner["uid"].as_str().unwrap_or_default()))
        };
        for object in list["items"].as_array().into_iter().flatten().filter(|object| !is_orphan(object)) {
            if object["metadata"]["name"] != "kube-root-ca.crt" {
                snapshot::object(facts, kind, object);
            }
        }
    }

    /// Judges what is in force on every server.
    pub(crate) fn judge(&self) {
        for (n, server) in self.servers.iter().enumerate() {
            server.inspect(|state| self.ledger.judge(n, state));
        }
    }

    /// Waits until the story has come to rest. With a reference that is when everything is as it was there; without
    /// one, when nothing was written for a while and every object says something about its spec.
    pub(crate) async fn rest(&self) {
        let number = self.rests.lock().unwrap().len();
        if self.ledger.alarms().iter().any(|alarm| alarm.oracle == Oracle::End) {
            return; // what follows from that is no news
        }
        let started = Instant::now();
        let mut looked_at = None;
        let (facts, told) = loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let late = pace::elapsed(started).min(self.ledger.untroubled()) > self.patience;
            // Where nothing has changed there is nothing new to see, but time goes on for what is in doubt.
            let version = self.ledger.version();
            if looked_at == Some(version) && !self.reference.is_empty() && !self.ledger.is_in_doubt() && !late {
                continue;
            }
            looked_at = Some(version);
            self.judge();
            let mut unrest = if self.reference.is_empty() { self.unrest(started) } else { Vec::new() };
            unrest.extend(self.ledger.wrong_passwords());
            if (!unrest.is_empty() || self.ledger.is_in_doubt()) && !late {
                continue;
            }
            // What needs no request is looked at first.
            let near = self.near();
            let far = |wanted: &Facts| -> Facts {
                wanted
                    .iter()
                    .filter(|(place, _)| !is_far(place))
                    .map(|(place, value)| (place.clone(), value.clone()))
                    .collect()
            };
            let told = self.reference.get(number).map(|wanted| snapshot::difference(&far(wanted), &near, 12));
            if !late && told.as_ref().is_some_and(|told| !told.is_empty()) {
                continue;
            }
            let facts = self.facts().await;
            looked_at = None; // Secrets and ConfigMaps change unseen
            let wanted = self.reference.get(number);
            let mut told = wanted.map_or(unrest, |wanted| snapshot::difference(wanted, &facts, 12));
            told.extend(self.ledger.wrong_passwords());
            if told.is_empty() || late {
                break (facts, told);
            }
        };
        if !told.is_empty() {
            let place = format!("at rest {number}");
            self.ledger.alarm(Oracle::End, format!("{place}, after {:?}:\n    {}", self.patience, told.join("\n    ")));
        }
        self.rests.lock().unwrap().push(facts);
    }

    /// Why the story, which waits since then, has not come to rest yet.
    fn unrest(&self, since: Instant) -> Vec<String> {
        let mut told = Vec::new();
        for (kind, _) in OURS {
            for ((_, name), life) in self.site.mirror.there(kind, &self.namespaces) {
                let ready = life.condition("Ready");
                // What waits for a moment to pass goes on by itself.
                let goes_on = ready.is_none_or(|(status, reason)| status == "Unknown" || reason == "WrittenLately");
                if life.deleting.is_none() && (!life.is_current() || goes_on) {
                    told.push(format!("{kind} {name}: {ready:?}, current: {}", life.is_current()));
                }
            }
        }
        let quiet = match self.resync {
            Resync::Fast => FAST.2 + Duration::from_millis(500),
            Resync::Never => Duration::from_millis(2500),
        };
        if pace::elapsed(self.ledger.quiet_since().max(since)) < quiet {
            told.push("it is still writing".to_owned());
        }
        told
    }

    /// Judges the end: nothing is written in a whole resync, nothing broke, and the operator ends when asked to.
    pub(crate) async fn finish(&self) {
        // What a fault made fail is tried again, and may change nothing that is compared, such as the version of a
        // password. An operator that was stopped between a status and its event publishes the event when it goes on.
        while self.ledger.untroubled() < TRIED_AGAIN {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let since = Instant::now();
        let before = self.facts().await;
        let watched = Instant::now();
        while pace::elapsed(watched) < FAST.2 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.judge();
        }
        self.ledger.close();
        let mut writes = self.ledger.writes_since(since);
        // DNS is asked on a clock of its own; its answer is no news when nothing but times has changed, which is seen
        // below. As often as it may be, that is.
        let may = 1 + since.elapsed().as_secs() / CHECKED.as_secs();
        let mut checked: BTreeMap<String, u64> = BTreeMap::new();
        writes.retain(|write| {
            let is_check = write.what.starts_with("PATCH emaildomains/") && write.what.ends_with(" status");
            let times = checked.entry(write.what.clone()).or_default();
            *times += 1;
            !is_check || *times > may
        });
        let is_done = !self.ledger.alarms().iter().any(|alarm| alarm.oracle == Oracle::End);
        if !writes.is_empty() && is_done {
            let mut what: Vec<String> = writes.into_iter().map(|write| write.what).collect();
            what.sort();
            what.dedup();
            self.ledger.alarm(Oracle::Stays, format!("after all was done: {}", what.join(", ")));
        }
        let mut told = snapshot::difference(&before, &self.facts().await, 8);
        told.extend(self.ledger.wrong_passwords());
        if !told.is_empty() && is_done {
            self.ledger
                .alarm(Oracle::Stays, format!("things changed after all was done:\n    {}", told.join("\n    ")));
        }
        if let Some(status) = self.process.ended() {
            self.ledger.alarm(Oracle::Healthy, format!("the operator ended by itself: {status}"));
        }
        let memory = self.process.pid().and_then(|pid| ground::rss_kib(pid).ok()).unwrap_or_default();
        if memory > MEMORY_KIB {
            self.ledger.alarm(Oracle::Healthy, format!("the operator has {memory} KiB"));
        }
        self.process.kill();
        let logs = self.process.logs();
        for line in logs.lines().filter(|line| line.contains("panicked at")) {
            self.ledger.alarm(Oracle::Healthy, line.to_owned());
        }
    }

    /// As [`finish`](Self::finish), but for what is written: there is no end that stays.
    pub(crate) fn finish_quietly(&self) {
        if let Some(status) = self.process.ended() {
            self.ledger.alarm(Oracle::Healthy, format!("the operator ended by itself: {status}"));
        }
        self.ledger.close();
        self.process.kill();
        let logs = self.process.logs();
        for line in logs.lines().filter(|line| line.contains("panicked at")) {
            self.ledger.alarm(Oracle::Healthy, line.to_owned());
        }
    }

    /// Watches that the operator has open.
    pub(crate) fn watches(&self) -> usize {
        self.proxy.watches()
    }

    /// Whether no object of ours is left.
    pub(crate) fn is_empty(&self) -> bool {
        OURS.iter().all(|(kind, _)| self.site.mirror.there(kind, &self.namespaces).is_empty())
    }

    /// Objects whose status does not speak of their spec yet, or says that it does not know, or neither that it goes on
    /// nor that a person must act.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        self.objects_that(|life| {
            let (status, reason) = life.condition("Ready")?;
            let is = |kind: &str| life.condition(kind).is_some_and(|(status, _)| status == "True");
            let said = status == "True" || is("Stalled") || is("Reconciling");
            (!life.is_current() || status == "Unknown" || !said).then(|| format!("{status} {reason}"))
        })
    }

    /// Objects that are not Ready.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        self.objects_that(|life| match life.condition("Ready") {
            Some(("True", _)) => None,
            other => Some(format!("{other:?}")),
        })
    }

    fn objects_that(&self, are: impl Fn(&crate::mirror::Life) -> Option<String>) -> Vec<String> {
        let mut told = Vec::new();
        for (kind, _) in OURS {
            for ((_, name), life) in self.site.mirror.there(kind, &self.namespaces) {
                let never_seen = life.condition("Ready").is_none().then(|| "no status".to_owned());
                told.extend(never_seen.or_else(|| are(&life)).map(|why| format!("{kind} {name}: {why}")));
            }
        }
        told
    }

    /// Statuses that say True while Mailcow differs, now.
    pub(crate) fn untrue(&self) -> Vec<String> {
        let all = self.servers.iter().enumerate();
        all.flat_map(|(n, server)| server.inspect(|state| self.ledger.untrue(n, state))).collect()
    }

    /// What was found at each rest.
    pub(crate) fn rests(&self) -> Vec<Facts> {
        self.rests.lock().unwrap().clone()
    }

    /// Takes all objects of ours away. The namespaces stay, as their end is much work for the API server, but where an
    /// operator would look at them.
    pub(crate) async fn clear(&self) {
        self.process.kill();
        for namespace in &self.namespaces {
            for (kind, plural) in OURS {
                for ((_, name), _) in self.site.mirror.there(kind, std::slice::from_ref(namespace)) {
                    let path = format!("/apis/email.askrobots.com/v1alpha1/namespaces/{namespace}/{plural}/{name}");
                    let request = http::Request::patch(&path).header("Content-Type", "application/merge-patch+json");
                    let request = request.body(br#"{"metadata":{"finalizers":null}}"#.to_vec()).unwrap();
                    drop(self.site.kube.request_text(request).await);
                    self.remove(&path).await;
                }
            }
        }
        self.site.mirror.forget(&self.namespaces);
        if self.everywhere {
            for namespace in &self.namespaces {
                self.remove(&format!("/api/v1/namespaces/{namespace}")).await;
            }
            let started = Instant::now();
            while self.any_namespace().await && started.elapsed() < Duration::from_secs(30) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Deletes what may be gone already.
    async fn remove(&self, path: &str) {
        let request = http::Request::delete(path).body(Vec::new()).unwrap();
        drop(self.site.kube.request_text(request).await);
    }

    async fn any_namespace(&self) -> bool {
        for namespace in &self.namespaces {
            let request = http::Request::get(format!("/api/v1/namespaces/{namespace}")).body(Vec::new()).unwrap();
            if self.site.kube.request_text(request).await.is_ok() {
                return true;
            }
        }
        false
    }
}

/// Whether a fact is about what only a request shows.
fn is_far(place: &str) -> bool {
    place.starts_with("Secret ") || place.starts_with("ConfigMap ")
}

/// What stories do with other programs.
impl World {
    /// Waits until an object is gone; one that never goes is found by the rest that follows.
    pub(crate) async fn gone(&self, kind: &'static str, namespace: usize, name: &str) {
        let started = Instant::now();
        let there =
            || self.site.mirror.newest(kind, &self.namespaces[namespace], name).is_some_and(|life| life.is_there());
        while there() && pace::elapsed(started) < crate::story::LONG {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Installs or upgrades a chart of these files.
    pub(crate) async fn helm(&self, namespace: usize, release: &str, files: &[(&str, &str)]) {
        let folder = Folder::new("helm", false).unwrap();
        std::fs::create_dir_all(folder.path().join("templates")).unwrap();
        folder.write("Chart.yaml", format!("apiVersion: v2\nname: {release}\nversion: 0.1.0\n")).unwrap();
        for (name, text) in files {
            folder.write(name, self.named(text)).unwrap();
        }
        let path = folder.path().display().to_string();
        let args = ["upgrade", "--install", release, &path, "-n", &self.namespaces[namespace]];
        self.site.plane.helm(&args).await.unwrap();
    }

    /// Applies a kustomization of these files.
    pub(crate) async fn kustomize(&self, namespace: usize, files: &[(&str, &str)]) {
        let folder = Folder::new("kustomize", false).unwrap();
        for (name, text) in files {
            folder.write(name, self.named(text)).unwrap();
        }
        let path = folder.path().display().to_string();
        self.kubectl(namespace, &["apply", "-k", &path], "").await;
    }
}
