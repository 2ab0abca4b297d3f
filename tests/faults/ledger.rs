//! Everything that passes between the operator and its servers in one run of a story: it is counted, broken as the
//! schedule says, and judged at once by what must never happen on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mailcow_simulator::{Alias, Asked, DkimKey, Domain, Mailbox, Observer, SieveFilter, State, Trouble};
use serde_json::Value;

use crate::mirror::{Life, Mirror, OURS, condition};
use crate::pace;
use crate::process::Process;
use crate::proxy::{Call, Script};
use crate::schedule::{Act, Fault, Place, When};
use crate::truth::{self, Owner, Scene};

/// Cluster in the operator's marks.
pub(crate) const CLUSTER: &str = "testing";
/// What a status says may lag behind Mailcow by so much: the time of one reconcile. All times are those of [`pace`].
const SETTLING: Duration = Duration::from_millis(1500);
/// The mirror has seen by then what the operator saw.
const MIRRORED: Duration = Duration::from_secs(3);
/// A status that is untrue for longer, while nothing is written and no fault is under way, is false.
const UNTRUE: Duration = Duration::from_secs(8);
/// After quiet, a forward that no rule asks for may be in force no longer.
const STRAY: Duration = Duration::from_secs(10);
/// So many tries of one failing write in ten seconds are more than any back-off makes.
const LOOP: usize = 8;

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oracle {
    /// The end is the same as without faults.
    End,
    /// Nothing is written once all is done.
    Stays,
    /// What must never happen on the way.
    Never,
    /// No panic, no loop, no growth.
    Healthy,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) oracle: Oracle,
    pub(crate) text: String,
}

impl Alarm {
    /// As one line, or several with the later ones indented.
    pub(crate) fn line(&self) -> String {
        format!("{:?}: {}\n", self.oracle, self.text)
    }
}

/// One write of the operator.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) at: Instant,
    /// `PATCH emailmailboxes/ada status` or `mailcow 0: edit/mailbox`.
    pub(crate) what: String,
    /// What tells one try from another.
    digest: u64,
    /// Whether it was refused or failed.
    failed: bool,
}

/// The book of one run.
pub(crate) struct Ledger {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) namespaces: Vec<String>,
    /// Names of the servers, in the order of their observers.
    servers: Vec<String>,
    process: Arc<Process>,
    faults: Vec<Fault>,
    runtime: tokio::runtime::Handle,
    inner: Mutex<Inner>,
}

struct Inner {
    counts: HashMap<String, u32>,
    fired: Vec<Fault>,
    /// When the last fault ends.
    troubled_until: Instant,
    writes: Vec<Write>,
    kills_after: Vec<Asked>,
    shots: Vec<Shot>,
    /// When each server last changed.
    changed: Vec<Instant>,
    passwords: BTreeMap<(usize, String), Password>,
    untrue: BTreeMap<String, Instant>,
    suspicions: Vec<(Instant, Suspicion)>,
    alarms: Vec<Alarm>,
    status_writes: u64,
    /// How often a server may have changed.
    changes: u64,
}

impl Inner {
    /// When the operator last wrote anything, or a fault was under way.
    fn quiet_since(&self) -> Instant {
        self.writes.last().map_or(self.troubled_until, |last| last.at.max(self.troubled_until))
    }
}

/// The password of a mailbox that was last sent, and whether the operator can know that it is set.
struct Password {
    text: String,
    acknowledged: bool,
    starts: u32,
    at: Instant,
}

/// Something that the operator did, whose reason the mirror may not have seen yet.
#[derive(Clone)]
enum Suspicion {
    Removed { kind: &'static str, server: usize, thing: String },
    Touched { kind: &'static str, server: usize, thing: String, before: Option<Owner>, after: Option<Owner> },
    Forwards { server: usize, stray: String },
}

/// What of a server is looked at.
#[derive(Clone, Default)]
struct Shot {
    domains: BTreeMap<String, Domain>,
    mailboxes: BTreeMap<String, Mailbox>,
    aliases: BTreeMap<i64, Alias>,
    filters: BTreeMap<i64, SieveFilter>,
    dkim: BTreeMap<String, DkimKey>,
}

impl Shot {
    fn of(state: &State) -> Self {
        Self {
            domains: state.domains.clone(),
            mailboxes: state.mailboxes.clone(),
            aliases: state.aliases.clone(),
            filters: state.filters.clone(),
            dkim: state.dkim.clone(),
        }
    }
}

fn digest(text: &str) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Ledger {
    pub(crate) fn new(
        mirror: Arc<Mirror>,
        namespaces: Vec<String>,
        servers: Vec<String>,
        process: Arc<Process>,
        faults: Vec<Fault>,
    ) -> Self {
        let now = Instant::now();
        let inner = Inner {
            counts: HashMap::new(),
            fired: Vec::new(),
            troubled_until: now,
            writes: Vec::new(),
            kills_after: Vec::new(),
            shots: vec![Shot::default(); servers.len()],
            changed: vec![now; servers.len()],
            passwords: BTreeMap::new(),
            untrue: BTreeMap::new(),
            suspicions: Vec::new(),
            alarms: Vec::new(),
            status_writes: 0,
            changes: 0,
        };
        let runtime = tokio::runtime::Handle::current();
        Self { mirror, namespaces, servers, process, faults, runtime, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene { mirror: &self.mirror, namespaces: &self.namespaces }
    }

    /// Notes a broken promise, each text once.
    pub(crate) fn alarm(&self, oracle: Oracle, text: impl Into<String>) {
        let alarm = Alarm { oracle, text: self.nameless(&text.into()) };
        let mut inner = self.inner();
        if !inner.alarms.contains(&alarm) {
            inner.alarms.push(alarm);
        }
    }

    /// A text with `{0}`, `{1}` in place of the namespaces of this run.
    pub(crate) fn nameless(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (n, namespace) in self.namespaces.iter().enumerate() {
            text = text.replace(namespace, &format!("{{{n}}}"));
        }
        text
    }

    pub(crate) fn alarms(&self) -> Vec<Alarm> {
        self.inner().alarms.clone()
    }

    /// The faults that struck.
    pub(crate) fn fired(&self) -> Vec<Fault> {
        self.inner().fired.clone()
    }

    /// How often each place was met.
    pub(crate) fn counts(&self) -> BTreeMap<String, u32> {
        self.inner().counts.iter().map(|(place, count)| (place.clone(), *count)).collect()
    }

    /// How many statuses were judged as they were written.
    pub(crate) fn status_writes(&self) -> u64 {
        self.inner().status_writes
    }

    /// Raises the alarm for all that is still unexplained at the end.
    pub(crate) fn close(&self) {
        self.charge_suspects(Duration::ZERO);
    }

    /// The writes since a moment.
    pub(crate) fn writes_since(&self, moment: Instant) -> Vec<Write> {
        self.inner().writes.iter().filter(|write| write.at >= moment).cloned().collect()
    }

    /// When the operator last wrote anything, or a fault was under way.
    pub(crate) fn quiet_since(&self) -> Instant {
        self.inner().quiet_since()
    }

    /// Whether something looks wrong that time may explain, and no alarm was raised for it yet.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let inner = self.inner();
        let is_known = |text: &String| {
            let text = text.split_once(' ').map_or(text.as_str(), |(_, text)| text);
            let text = format!("{}, for long", self.nameless(text));
            inner.alarms.iter().any(|alarm| alarm.text == text)
        };
        !inner.suspicions.is_empty() || !inner.untrue.keys().all(is_known)
    }

    /// A number that is another one after everything that passes, and after each change of a server.
    pub(crate) fn version(&self) -> (u64, u64, usize) {
        let (changes, writes) = {
            let inner = self.inner();
            (inner.changes, inner.writes.len())
        };
        (self.mirror.version(&self.namespaces), changes, writes)
    }

    /// How much time has passed since the last fault ended; none while one is under way.
    pub(crate) fn untroubled(&self) -> Duration {
        pace::elapsed(self.inner().troubled_until)
    }

    /// Somebody else has changed a server: that is nobody's fault.
    pub(crate) fn changed_by_hand(&self, server: usize, state: &State) {
        let mut inner = self.inner();
        inner.shots[server] = Shot::of(state);
        inner.changes += 1;
        inner.changed[server] = Instant::now();
        // A new password may be needed for what was made anew.
        inner.passwords.retain(|(on, _), _| *on != server);
    }

    /// The fault that strikes when this place is met once more.
    fn meet(&self, place: Place) -> Option<Act> {
        let mut inner = self.inner();
        let count = inner.counts.entry(place.to_string()).or_default();
        *count += 1;
        let nth = *count;
        let fault = self.faults.iter().find(|fault| fault.place == place && fault.nth == nth).copied()?;
        inner.fired.push(fault);
        let time = match fault.act {
            Act::Stop(ms) | Act::Silence(ms) | Act::Hold(ms) => Duration::from_millis(ms.into()),
            Act::Drop => Duration::from_secs(1),
            _ => Duration::ZERO,
        };
        inner.troubled_until = inner.troubled_until.max(Instant::now() + time);
        Some(fault.act)
    }

    fn note(&self, what: &str, digest: u64, failed: bool, injected: bool) {
        let now = Instant::now();
        let looping = {
            let mut inner = self.inner();
            inner.writes.push(Write { at: now, what: what.to_owned(), digest, failed: failed && !injected });
            let recent = inner.writes.iter().rev().take_while(|write| now - write.at < Duration::from_secs(10));
            recent.filter(|write| write.failed && write.digest == digest).count()
        };
        if looping > LOOP {
            self.alarm(Oracle::Healthy, format!("{what} fails again and again, {LOOP} times in 10 s"));
        }
    }

    /// Judges what is in force now: statuses that say True, and forwards. To be called every now and then.
    pub(crate) fn judge(&self, server: usize, state: &State) {
        self.charge_suspects(MIRRORED);
        let now = Instant::now();
        let mut seen = self.untrue(server, state);
        let strays = self.scene().stray_forwards(state, (&self.servers[server], false));
        seen.extend(strays.into_iter().map(|stray| format!("no rule asks for the forward {stray}")));
        let mut late = Vec::new();
        {
            let mut inner = self.inner();
            let prefix = format!("{server} ");
            inner.untrue.retain(|text, _| text.strip_prefix(&prefix).is_none_or(|text| seen.contains(text)));
            let quiet = inner.quiet_since();
            for text in seen {
                let limit = if text.starts_with("no rule") { STRAY } else { UNTRUE };
                let since = *inner.untrue.entry(format!("{prefix}{text}")).or_insert(now);
                if pace::elapsed(since.max(quiet)) > limit {
                    late.push(text);
                }
            }
        }
        for text in late {
            self.alarm(Oracle::Never, format!("{text}, for long"));
        }
    }

    /// Statuses that say True while Mailcow differs.
    pub(crate) fn untrue(&self, server: usize, state: &State) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let scene = self.scene();
        for (kind, _) in OURS {
            for ((namespace, name), life) in self.mirror.there(kind, &self.namespaces) {
                let is_true = life.condition("Ready").is_some_and(|(status, _)| status == "True");
                let on = scene.server(kind, life.spec(), &namespace);
                if !is_true
                    || !life.is_current()
                    || life.deleting.is_some()
                    || on.as_ref() != Some(&self.servers[server])
                {
                    continue;
                }
                let differences = scene.differences(kind, (&namespace, &name), life.spec(), state);
                if !differences.is_empty() {
                    seen.insert(format!("{kind} {namespace}/{name} says Ready=True: {}", differences.join(", ")));
                }
            }
        }
        seen
    }

    /// A status that the operator is about to write, against Mailcow as it is.
    fn judge_status(&self, call: &Call, server_state: impl Fn(usize, &dyn Fn(&State))) {
        let Some((kind, _)) = OURS.iter().find(|(_, plural)| *plural == call.kind) else { return };
        let Ok(body) = serde_json::from_str::<Value>(&call.body) else { return };
        let status = &body["status"];
        self.inner().status_writes += 1;
        if condition(status, "Ready").is_none_or(|(status, _)| status != "True") {
            return;
        }
        let life = self.mirror.newest(kind, &call.namespace, &call.name);
        let generation = status["observedGeneration"].as_i64().unwrap_or_default();
        let Some(spec) = life.as_ref().and_then(|life| life.specs.get(&generation)) else { return };
        let Some(name) = self.scene().server(kind, spec, &call.namespace) else { return };
        let Some(server) = self.servers.iter().position(|server| *server == name) else { return };
        server_state(server, &|state| {
            let recently = {
                let inner = self.inner();
                pace::elapsed(inner.changed[server].max(inner.troubled_until)) < SETTLING
            };
            let differences = self.scene().differences(kind, (&call.namespace, &call.name), spec, state);
            if !recently && !differences.is_empty() {
                let (namespace, name) = (&call.namespace, &call.name);
                let text = format!("{kind} {namespace}/{name} is told Ready=True: {}", differences.join(", "));
                self.alarm(Oracle::Never, text);
            }
        });
    }

    /// What a write of the operator has changed on a server, against what it may change.
    fn judge_change(&self, server: usize, asked: &Asked, state: &State) {
        let after = Shot::of(state);
        let before = std::mem::replace(&mut self.inner().shots[server], after.clone());
        let mut changed = false;
        let sweeps = asked.path.starts_with("delete/");
        for (key, domain) in &before.domains {
            match after.domains.get(key) {
                None => {
                    changed = true;
                    self.removed("EmailDomain", server, &domain.name);
                }
                Some(now) if now != domain => {
                    changed = true;
                    let marks = |domain: &Domain| domain.tags.iter().find_map(|tag| truth::owner(tag));
                    self.touched("EmailDomain", server, &domain.name, (marks(domain), marks(now)));
                }
                Some(_) => {}
            }
        }
        for (key, mailbox) in &before.mailboxes {
            match after.mailboxes.get(key) {
                None => {
                    changed = true;
                    self.removed("EmailMailbox", server, &mailbox.username);
                }
                Some(now) if now != mailbox => {
                    changed = true;
                    let marks = |mailbox: &Mailbox| truth::marks(mailbox).iter().find_map(|mark| truth::owner(mark));
                    self.touched("EmailMailbox", server, &mailbox.username, (marks(mailbox), marks(now)));
                }
                Some(_) => {}
            }
        }
        for (id, alias) in before.aliases.iter().filter(|(_, alias)| !alias.is_own_row()) {
            match after.aliases.get(id) {
                None => {
                    changed = true;
                    if !sweeps || asked.path.starts_with("delete/alias") {
                        self.removed("EmailAlias", server, &alias.address);
                    }
                }
                Some(now) if now != alias => {
                    changed = true;
                    // The deletion of a mailbox takes it out of every alias.
                    if !asked.path.starts_with("delete/mailbox") {
                        let marks = |alias: &Alias| alias.private_comment.as_deref().and_then(truth::owner);
                        self.touched("EmailAlias", server, &alias.address, (marks(alias), marks(now)));
                    }
                }
                Some(_) => {}
            }
        }
        for (domain, key) in &before.dkim {
            if after.dkim.get(domain) != Some(key) && after.domains.contains_key(&domain.to_uppercase()) {
                changed = true;
                self.alarm(Oracle::Never, format!("the DKIM key of {domain} was replaced or deleted"));
            }
        }
        if before.filters != after.filters {
            changed = true;
            for stray in self.scene().stray_forwards(state, (&self.servers[server], true)) {
                self.suspect(Suspicion::Forwards { server, stray });
            }
        }
        let grown = before.domains.len() != after.domains.len()
            || before.mailboxes.len() != after.mailboxes.len()
            || before.aliases.len() != after.aliases.len()
            || before.dkim.len() != after.dkim.len();
        if changed || grown {
            self.inner().changed[server] = Instant::now();
        }
        let gone = before.mailboxes.keys().filter(|key| !after.mailboxes.contains_key(*key));
        for gone in gone {
            self.inner().passwords.remove(&(server, gone.to_lowercase()));
        }
        self.password(server, asked);
    }

    /// Every object that ever asked for a thing.
    fn claimants(&self, kind: &'static str, server: usize, thing: &str) -> Vec<((String, String), Arc<Life>)> {
        let scene = self.scene();
        let mut all = self.mirror.all(kind, &self.namespaces);
        all.retain(|((namespace, _), life)| {
            let its = match kind {
                "EmailDomain" => Some(Scene::domain_name(life.spec())),
                _ => scene.address(life.spec(), namespace),
            };
            let on = scene.server(kind, life.spec(), namespace);
            its.is_some_and(|its| its.eq_ignore_ascii_case(thing)) && on.as_ref() == Some(&self.servers[server])
        });
        all
    }

    /// Notes that a thing went, which somebody must have wanted.
    fn removed(&self, kind: &'static str, server: usize, thing: &str) {
        self.suspect(Suspicion::Removed { kind, server, thing: thing.to_owned() });
    }

    fn touched(&self, kind: &'static str, server: usize, thing: &str, (before, after): (Option<Owner>, Option<Owner>)) {
        self.suspect(Suspicion::Touched { kind, server, thing: thing.to_owned(), before, after });
    }

    fn suspect(&self, suspicion: Suspicion) {
        if self.charge(&suspicion).is_some() {
            self.inner().suspicions.push((Instant::now(), suspicion));
        }
    }

    /// Raises the alarm for what is still unexplained after a moment, in which the mirror sees what the operator saw.
    fn charge_suspects(&self, patience: Duration) {
        let due: Vec<Suspicion> = {
            let mut inner = self.inner();
            let (due, rest) = std::mem::take(&mut inner.suspicions)
                .into_iter()
                .partition(|(since, _)| pace::elapsed(*since) >= patience);
            inner.suspicions = rest;
            let due: Vec<(Instant, Suspicion)> = due;
            due.into_iter().map(|(_, suspicion)| suspicion).collect()
        };
        for text in due.iter().filter_map(|suspicion| self.charge(suspicion)) {
            self.alarm(Oracle::Never, text);
        }
    }

    /// What is wrong with what was seen, as far as is known.
    fn charge(&self, suspicion: &Suspicion) -> Option<String> {
        match suspicion {
            Suspicion::Removed { kind, server, thing } => {
                let default = if *kind == "EmailAlias" { "Delete" } else { "Retain" };
                let may = |life: &Life| {
                    life.deleting.is_some() && life.spec()["deletionPolicy"].as_str().unwrap_or(default) == "Delete"
                };
                let allowed = self.claimants(kind, *server, thing).iter().any(|(_, life)| may(life));
                (!allowed).then(|| format!("{kind} {thing} was deleted on Mailcow, which no policy allows"))
            }
            Suspicion::Forwards { server, stray } => {
                let servers = self.servers.get(*server)?;
                let scene = self.scene();
                let asked = stray.split_once(" -> ").is_some_and(|(from, to)| scene.ever_asked(servers, from, to));
                (!asked).then(|| format!("a script forwards as no rule ever asked: {stray}"))
            }
            Suspicion::Touched { kind, server, thing, before, after } => {
                self.charge_touch(kind, *server, thing, (before.as_ref(), after.as_ref()))
            }
        }
    }

    fn charge_touch(
        &self,
        kind: &'static str,
        server: usize,
        thing: &str,
        (before, after): (Option<&Owner>, Option<&Owner>),
    ) -> Option<String> {
        let claimants = self.claimants(kind, server, thing);
        if claimants.is_empty() {
            return Some(format!("{thing} was touched, and no {kind} asks for it"));
        }
        let forced = claimants.iter().any(|(_, life)| life.spec()["adoptionPolicy"] == "Force");
        match (before, after) {
            (Some((cluster, _)), _) if cluster != CLUSTER && !forced => {
                Some(format!("{thing} was touched, which another cluster owns"))
            }
            (Some((_, before)), Some((_, after))) if before != after => {
                let (namespace, name) = before.split_once('/').unwrap_or_default();
                let lives = |((of, its), life): &((String, String), Arc<Life>)| {
                    of == namespace && its == name && life.is_there() && life.deleting.is_none()
                };
                let taken = claimants.iter().any(lives);
                taken.then(|| format!("{thing} went from {before}, which still exists, to {after}"))
            }
            (None, Some(_)) => {
                let never = claimants.iter().all(|(_, life)| life.spec()["adoptionPolicy"] == "Never");
                never.then(|| format!("{thing} was adopted under adoptionPolicy: Never"))
            }
            _ => None,
        }
    }

    /// The same password is not sent twice when the operator can know that it is set.
    fn password(&self, server: usize, asked: &Asked) {
        let Ok(body) = serde_json::from_str::<Value>(&asked.body) else { return };
        let (address, text) = match asked.path.as_str() {
            "add/mailbox" => {
                let part = |field: &str| body[field].as_str().unwrap_or_default();
                (format!("{}@{}", part("local_part"), part("domain")), body["password"].as_str())
            }
            "edit/mailbox" => {
                (body["items"][0].as_str().unwrap_or_default().to_owned(), body["attr"]["password"].as_str())
            }
            _ => return,
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let key = (server, address.to_lowercase());
        let starts = self.process.starts();
        let mut inner = self.inner();
        let before = inner.passwords.get(&key);
        let again = before.is_some_and(|before| before.text == text && before.acknowledged && before.starts == starts);
        let at = Instant::now();
        inner.passwords.insert(key, Password { text: text.to_owned(), acknowledged: false, starts, at });
        drop(inner);
        if again {
            self.alarm(Oracle::Never, format!("the password of {address} was set twice without a change"));
        }
    }

    /// A status with a version of the password is stored: from now on the operator can know that it is set.
    fn acknowledged(&self, call: &Call) {
        if call.kind != "emailmailboxes" || call.subresource != "status" {
            return;
        }
        let Ok(body) = serde_json::from_str::<Value>(&call.body) else { return };
        let (Some(address), Some(_)) = (body["status"]["address"].as_str(), body["status"]["passwordVersion"].as_str())
        else {
            return;
        };
        let address = address.to_lowercase();
        let mut inner = self.inner();
        let troubled = inner.troubled_until;
        for ((_, of), password) in &mut inner.passwords {
            if *of == address && password.at.max(troubled).elapsed() > Duration::from_millis(50) {
                password.acknowledged = true;
            }
        }
    }

    fn strike_operator(&self, act: Act) {
        match act {
            Act::Kill(_) => self.process.kill_and_start(),
            Act::Stop(ms) => {
                self.process.pause();
                let process = Arc::clone(&self.process);
                self.runtime.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms.into())).await;
                    process.resume();
                });
            }
            _ => {}
        }
    }
}

/// Looks at the state of a server by its number.
pub(crate) type Servers = Arc<std::sync::OnceLock<Vec<Arc<mailcow_simulator::Simulator>>>>;

/// The book as the proxy's script.
pub(crate) struct Kube {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) servers: Servers,
}

impl Kube {
    fn describe(call: &Call) -> String {
        format!("{} {}/{} {}", call.method, call.kind, call.name, call.subresource).trim_end().to_owned()
    }
}

impl Script for Kube {
    fn write(&self, call: &Call) -> Option<Act> {
        if call.kind == "leases" || call.kind == "events" {
            return None;
        }
        if call.subresource == "status" {
            self.ledger.judge_status(call, |server, look| {
                if let Some(servers) = self.servers.get() {
                    servers[server].inspect(|state| look(state));
                }
            });
        }
        self.ledger.meet(Place::KubeWrite)
    }

    fn written(&self, call: &Call, status: u16, act: Option<Act>) {
        if call.kind == "leases" {
            return;
        }
        let is_ok = (200..300).contains(&status);
        if is_ok && act.is_none() {
            self.ledger.acknowledged(call);
        }
        let told = digest(&format!("{}{}", call.path, call.method));
        self.ledger.note(&Self::describe(call), told, !is_ok, act.is_some());
    }

    fn list(&self, call: &Call) -> Option<Act> {
        let kind = crate::schedule::KINDS.iter().find(|kind| **kind == call.kind)?;
        self.ledger.meet(Place::KubeList(kind))
    }

    fn event(&self, call: &Call) -> Option<Act> {
        let kind = crate::schedule::KINDS.iter().find(|kind| **kind == call.kind)?;
        self.ledger.meet(Place::KubeWatch(kind))
    }

    fn strike(&self, act: Act) {
        self.ledger.strike_operator(act);
    }
}

/// The book as the observer of one server.
pub(crate) struct Mailcow {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) server: usize,
}

impl Observer for Mailcow {
    fn before(&self, asked: &Asked, _: &State) -> Option<Trouble> {
        let place = if asked.is_write() { Place::MailcowWrite } else { Place::MailcowRead };
        let act = self.ledger.meet(place)?;
        match act {
            Act::Fail(When::Before) => Some(Trouble::ServerError),
            Act::Fail(When::After) => Some(Trouble::GatewayTimeout),
            Act::Cut(When::Before) => Some(Trouble::Cut { done: false }),
            Act::Cut(When::After) => Some(Trouble::Reset),
            Act::Empty(when) => Some(Trouble::Empty { done: when == When::After }),
            Act::Deadlock => Some(Trouble::Deadlock),
            Act::Half => Some(Trouble::HalfList),
            Act::Hold(ms) => Some(Trouble::Slow(Duration::from_millis(ms.into()))),
            Act::Kill(When::Before) => {
                self.ledger.strike_operator(act);
                Some(Trouble::Cut { done: false })
            }
            Act::Kill(When::After) => {
                self.ledger.inner().kills_after.push(asked.clone());
                None
            }
            Act::Stop(_) => {
                self.ledger.strike_operator(act);
                None
            }
            _ => None,
        }
    }

    fn after(&self, asked: &Asked, status: u16, state: &State) {
        if asked.is_write() {
            self.ledger.inner().changes += 1;
            self.ledger.judge_change(self.server, asked, state);
            let told = digest(&format!("{}{}", asked.path, asked.body));
            let what = format!("mailcow {}: {}", self.server, asked.path);
            // A refusal is a 200 too, and what succeeds need not be sent eight times either.
            self.ledger.note(&what, told, true, status != 200);
        }
        let kill = {
            let mut inner = self.ledger.inner();
            let found = inner.kills_after.iter().position(|kill| kill == asked);
            found.map(|found| inner.kills_after.remove(found))
        };
        if kill.is_some() {
            self.ledger.strike_operator(Act::Kill(When::After));
        }
    }
}
