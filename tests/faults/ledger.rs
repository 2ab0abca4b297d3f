//! Everything that passes between the operator and its servers in one run of a story: it is counted, broken as the
//! schedule says, and judged at once by what must never happen on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mailcow_simulator::{Alias, AppPassword, Asked, DkimKey, Domain, Mailbox, Observer, SieveFilter, State, Trouble};
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
    /// When somebody last changed a server by hand.
    by_hand: Vec<Option<Instant>>,
    /// When an entry of a server was last changed by a write about another kind of thing.
    changed: BTreeMap<(usize, &'static str, String), Instant>,
    passwords: BTreeMap<(usize, String), Password>,
    /// The passwords that mailboxes have.
    current_passwords: BTreeMap<(usize, String), CurrentPassword>,
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

/// A password that a mailbox has, and how often its Secrets had changed when it was set.
struct CurrentPassword {
    text: String,
    changes: usize,
}

/// The passwords in the Secrets of a mailbox: now, and ever; and how often they changed.
#[derive(Default)]
struct Secrets {
    now: BTreeSet<String>,
    ever: BTreeSet<String>,
    changes: usize,
}

/// Something that the operator did, whose reason the mirror may not have seen yet.
#[derive(Clone)]
enum Suspicion {
    Removed { kind: &'static str, server: usize, thing: String },
    Touched { kind: &'static str, server: usize, thing: String, before: Option<Owner>, after: Option<Owner> },
    Forwards { server: usize, stray: String },
    Password { server: usize, address: String, text: String, changes: usize },
}

/// What of a server is looked at.
#[derive(Clone, Default)]
struct Shot {
    domains: BTreeMap<String, Domain>,
    mailboxes: BTreeMap<String, Mailbox>,
    aliases: BTreeMap<i64, Alias>,
    filters: BTreeMap<i64, SieveFilter>,
    app_passwords: BTreeMap<i64, AppPassword>,
    dkim: BTreeMap<String, DkimKey>,
}

impl Shot {
    fn of(state: &State) -> Self {
        Self {
            domains: state.domains.clone(),
            mailboxes: state.mailboxes.clone(),
            aliases: state.aliases.clone(),
            filters: state.filters.clone(),
            app_passwords: state.app_passwords.clone(),
            dkim: state.dkim.clone(),
        }
    }
}

/// The kind of thing that a write to Mailcow is about, by its path.
fn subject(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("domain" | "rl-domain" | "dkim") => "EmailDomain",
        Some("alias") => "EmailAlias",
        Some("filter") => "EmailForwardingRule",
        _ => "EmailMailbox",
    }
}

/// The password that a write to Mailcow sends, and the address of its mailbox.
fn sent_password(asked: &Asked) -> Option<(String, String)> {
    let body: Value = serde_json::from_str(&asked.body).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (address, password) = match asked.path.as_str() {
        "add/mailbox" => (format!("{}@{}", text(&body["local_part"]), text(&body["domain"])), text(&body["password"])),
        "edit/mailbox" => (text(&body["items"][0]), text(&body["attr"]["password"])),
        _ => return None,
    };
    (!password.is_empty()).then(|| (address.to_lowercase(), password))
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
            by_hand: vec![None; servers.len()],
            changed: BTreeMap::new(),
            passwords: BTreeMap::new(),
            current_passwords: BTreeMap::new(),
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
        inner.by_hand[server] = (self.process.starts() > 0).then(Instant::now);
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
            Act::Stop(ms) | Act::Silence(ms) | Act::Hold(ms) | Act::Lag(ms) => Duration::from_millis(ms.into()),
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
        if condition(status, "Ready").is_none_or(|(status, _)| status != "True") {
            return;
        }
        let life = self.mirror.newest(kind, &call.namespace, &call.name);
        let generation = status["observedGeneration"].as_i64().unwrap_or_default();
        let Some(spec) = life.as_ref().and_then(|life| life.specs.get(&generation)) else { return };
        // One that still speaks of an earlier spec says nothing about now: the next one may be under way.
        if life.as_ref().is_some_and(|life| life.specs.keys().any(|newer| *newer > generation)) {
            return;
        }
        let Some(name) = self.scene().server(kind, spec, &call.namespace) else { return };
        let Some(server) = self.servers.iter().position(|server| *server == name) else { return };
        let Some(things) = self.scene().things(kind, spec, &call.namespace) else { return };
        server_state(server, &|state| {
            if self.is_excused(kind, server, &things) {
                return;
            }
            self.inner().status_writes += 1;
            let differences = self.scene().differences(kind, (&call.namespace, &call.name), spec, state);
            if !differences.is_empty() {
                let (namespace, name) = (&call.namespace, &call.name);
                let text = format!("{kind} {namespace}/{name} is told Ready=True: {}", differences.join(", "));
                self.alarm(Oracle::Never, text);
            }
        });
    }

    /// Whether a fault, a change by hand, or a write about another kind of thing has just changed what an object asks for.
    /// What is written for the object itself excuses nothing.
    fn is_excused(&self, kind: &'static str, server: usize, things: &[String]) -> bool {
        let inner = self.inner();
        let changed = things.iter().filter_map(|thing| inner.changed.get(&(server, kind, thing.to_lowercase())));
        let fault = inner.fired.last().map(|_| &inner.troubled_until);
        let excuses = changed.chain(&inner.by_hand[server]).chain(fault);
        excuses.max().is_some_and(|last| pace::elapsed(*last) < SETTLING)
    }

    /// Notes that a write has changed an entry. What is in a script also depends on its mailbox.
    fn changed(&self, kind: &'static str, server: usize, thing: &str, asked: &Asked) {
        let is_other = (subject(&asked.path) != kind).then_some(kind);
        let of_mailbox = (kind == "EmailMailbox").then_some("EmailForwardingRule");
        let mut inner = self.inner();
        for kind in is_other.into_iter().chain(of_mailbox) {
            inner.changed.insert((server, kind, thing.to_lowercase()), Instant::now());
        }
    }

    /// What a write of the operator has changed on a server, against what it may change.
    fn judge_change(&self, server: usize, asked: &Asked, state: &State) {
        let after = Shot::of(state);
        let before = std::mem::replace(&mut self.inner().shots[server], after.clone());
        let sweeps = asked.path.starts_with("delete/");
        for (key, domain) in &before.domains {
            let now = after.domains.get(key);
            if now == Some(domain) {
                continue;
            }
            self.changed("EmailDomain", server, &domain.name, asked);
            let marks = |domain: &Domain| domain.tags.iter().find_map(|tag| truth::owner(tag));
            match now {
                None => self.removed("EmailDomain", server, &domain.name),
                Some(now) => self.touched("EmailDomain", server, &domain.name, (marks(domain), marks(now))),
            }
        }
        for (key, mailbox) in &before.mailboxes {
            let now = after.mailboxes.get(key);
            if now == Some(mailbox) {
                continue;
            }
            self.changed("EmailMailbox", server, &mailbox.username, asked);
            let marks = |mailbox: &Mailbox| truth::marks(mailbox).iter().find_map(|mark| truth::owner(mark));
            match now {
                None => self.removed("EmailMailbox", server, &mailbox.username),
                Some(now) => self.touched("EmailMailbox", server, &mailbox.username, (marks(mailbox), marks(now))),
            }
        }
        for added in after.mailboxes.iter().filter(|(key, _)| !before.mailboxes.contains_key(*key)) {
            self.changed("EmailMailbox", server, &added.1.username, asked);
        }
        for (id, alias) in before.aliases.iter().filter(|(_, alias)| !alias.is_own_row()) {
            let now = after.aliases.get(id);
            if now == Some(alias) {
                continue;
            }
            self.changed("EmailAlias", server, &alias.address, asked);
            let marks = |alias: &Alias| alias.private_comment.as_deref().and_then(truth::owner);
            match now {
                None if sweeps && !asked.path.starts_with("delete/alias") => {}
                None => self.removed("EmailAlias", server, &alias.address),
                // The deletion of a mailbox takes it out of every alias.
                Some(_) if asked.path.starts_with("delete/mailbox") => {}
                Some(now) => self.touched("EmailAlias", server, &alias.address, (marks(alias), marks(now))),
            }
        }
        for (domain, key) in &before.dkim {
            if after.dkim.get(domain) != Some(key) && after.domains.contains_key(&domain.to_uppercase()) {
                self.alarm(Oracle::Never, format!("the DKIM key of {domain} was replaced or deleted"));
            }
        }
        self.judge_persons(&before, &after);
        if before.filters != after.filters {
            for stray in self.scene().stray_forwards(state, (&self.servers[server], true)) {
                self.suspect(Suspicion::Forwards { server, stray });
            }
        }
        for gone in before.mailboxes.keys().filter(|key| !after.mailboxes.contains_key(*key)) {
            let key = (server, gone.to_lowercase());
            let mut inner = self.inner();
            inner.passwords.remove(&key);
            inner.current_passwords.remove(&key);
        }
        if let Some((address, text)) = sent_password(asked) {
            let key = address.to_uppercase();
            let times = |shot: &Shot| shot.mailboxes.get(&key).map(|mailbox| mailbox.password_changes);
            if times(&before) != times(&after) {
                self.password_set(server, &address, &text);
            }
            self.password_sent(server, &address, text);
        }
    }

    /// What persons made in a mailbox stays as it is while the mailbox is there.
    fn judge_persons(&self, before: &Shot, after: &Shot) {
        let is_there = |mailbox: &str| after.mailboxes.contains_key(&mailbox.to_uppercase());
        for (id, filter) in &before.filters {
            let is_persons = truth::owner(&filter.script).is_none() && is_there(&filter.username);
            if is_persons && after.filters.get(id) != Some(filter) {
                self.alarm(Oracle::Never, format!("a person's filter of {} was changed or deleted", filter.username));
            }
        }
        for (id, password) in &before.app_passwords {
            let is_persons = truth::owner(&password.name).is_none() && is_there(&password.mailbox);
            if is_persons && after.app_passwords.get(id) != Some(password) {
                let text = format!("a person's app password of {} was changed or deleted", password.mailbox);
                self.alarm(Oracle::Never, text);
            }
        }
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
        let all = std::mem::take(&mut self.inner().suspicions);
        let (due, mut rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(since, _)| pace::elapsed(*since) >= patience);
        rest.retain(|(_, suspicion)| self.charge(suspicion).is_some());
        self.inner().suspicions.extend(rest);
        for text in due.iter().filter_map(|(_, suspicion)| self.charge(suspicion)) {
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
            Suspicion::Password { server, address, text, changes } => {
                let secrets = self.secrets(*server, address);
                let is_older = secrets.ever.contains(text);
                if secrets.now.contains(text) || is_older && secrets.changes > *changes {
                    return None;
                }
                let what = if is_older {
                    "an older password, while its Secret did not change"
                } else {
                    "a password that its Secret never held"
                };
                Some(format!("{address} got {what}"))
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

    /// The passwords in the Secrets that a mailbox's objects ever named.
    fn secrets(&self, server: usize, address: &str) -> Secrets {
        let mut found = Secrets::default();
        for ((namespace, name), life) in self.claimants("EmailMailbox", server, address) {
            let names: BTreeSet<String> = life.specs.values().map(|spec| truth::secret(spec, &name).0).collect();
            let passwords = |data: &Value| -> BTreeSet<String> {
                data.as_object().into_iter().flat_map(|data| data.values()).filter_map(truth::password).collect()
            };
            for ((_, its), secret) in self.mirror.all("Secret", &[namespace]) {
                if names.contains(&its) {
                    found.changes += secret.specs.len();
                    found.ever.extend(secret.specs.values().flat_map(passwords));
                    found.now.extend(secret.specs.last_key_value().into_iter().flat_map(|(_, data)| passwords(data)));
                }
            }
        }
        found
    }

    /// The password that a mailbox has from now on comes from its Secret.
    fn password_set(&self, server: usize, address: &str, text: &str) {
        let changes = self.secrets(server, address).changes;
        let set = CurrentPassword { text: text.to_owned(), changes };
        let before = self.inner().current_passwords.insert((server, address.to_owned()), set);
        if before.as_ref().is_none_or(|before| before.text != text) {
            let changes = before.map_or(0, |before| before.changes);
            self.suspect(Suspicion::Password { server, address: address.to_owned(), text: text.to_owned(), changes });
        }
    }

    /// Mailboxes that are told to be Ready, but have another password than the Secret that their status names.
    pub(crate) fn wrong_passwords(&self) -> Vec<String> {
        let scene = self.scene();
        let wrong = |((namespace, name), life): ((String, String), Arc<Life>)| {
            let is_ready = life.condition("Ready").is_some_and(|(status, _)| status == "True");
            if !is_ready || !life.is_current() || life.deleting.is_some() {
                return None;
            }
            let named = life.object["status"]["credentialsSecretName"].as_str()?;
            let (secret, key) = truth::secret(life.spec(), &name);
            let object = &self.mirror.newest("Secret", &namespace, &secret).filter(|life| life.is_there())?.object;
            // Of a prepared Secret, and of one whose password the user keeps, no password is set.
            if !object["metadata"]["annotations"]["email.askrobots.com/password"].is_null() {
                return None;
            }
            let wanted = truth::password(&object["data"][key])?;
            let server = scene.server("EmailMailbox", life.spec(), &namespace)?;
            let server = self.servers.iter().position(|its| *its == server)?;
            let address = scene.address(life.spec(), &namespace)?;
            let is_set = self.inner().current_passwords.get(&(server, address)).is_some_and(|set| set.text == wanted);
            let is_right = is_set && named == secret;
            (!is_right).then(|| format!("EmailMailbox {namespace}/{name} has not the password of the Secret {secret}"))
        };
        self.mirror.there("EmailMailbox", &self.namespaces).into_iter().filter_map(wrong).collect()
    }

    /// The same password is not sent twice when the operator can know that it is set.
    fn password_sent(&self, server: usize, address: &str, text: String) {
        let key = (server, address.to_owned());
        let starts = self.process.starts();
        let mut inner = self.inner();
        let before = inner.passwords.get(&key);
        let again = before.is_some_and(|before| before.text == text && before.acknowledged && before.starts == starts);
        let at = Instant::now();
        inner.passwords.insert(key, Password { text, acknowledged: false, starts, at });
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
