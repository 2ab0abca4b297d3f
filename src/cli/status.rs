//! `status`: how things are, what is wrong first.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use futures::stream::select_all;
use futures::{FutureExt, StreamExt};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;

use super::cluster::{Cluster, Object, Scope};
use super::failure::{Failure, nearest};
use super::flags::{Output, Selection};
use super::fleet::{Domain, Fleet, Health, Node, Objects, counted};
use super::show::{Cell, Show, Tone, head, plain};
use crate::crd::{DnsVerdict, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::mail::DomainName;

/// Objects of a kind that are well and shown without `-v`.
const SHOWN_GOOD: usize = 10;
/// Problems that are shown without `-v`.
const SHOWN_WRONG: usize = 20;
/// How long changes are gathered before the next screen.
const GATHER: Duration = Duration::from_millis(500);

/// Options of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusFlags {
    /// The domain name, or the name of its object. Default: all domains.
    #[arg(add = super::completion::domains())]
    pub domain: Option<String>,
    /// Which domains.
    #[command(flatten)]
    pub selection: Selection,
    /// Show every object, and the conditions of the domains.
    #[arg(short, long)]
    pub verbose: bool,
    /// Show it again after each change.
    #[arg(short, long)]
    pub watch: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Runs the command.
pub(super) async fn run(cluster: &Cluster, flags: &StatusFlags, show: &Show) -> Result<(), Failure> {
    let scope = cluster.scope(&flags.selection);
    show.progress("reading the objects");
    let objects = objects(cluster, &scope, flags.selection.selector.as_deref()).await;
    show.progress("");
    let fleet = selected(Fleet::of(&objects?), flags, &scope)?;
    if fleet.nodes().next().is_none() && flags.output == Output::Text {
        let place = scope.namespace().map_or("any namespace".to_owned(), |name| format!("the namespace {name}"));
        show.note(&format!("there is no EmailDomain in {place}; look elsewhere with -n or -A"));
    }
    print(&fleet, flags, &scope, show)?;
    if flags.watch { follow(cluster, flags, &scope, show, fleet).await } else { Ok(()) }
}

/// The objects of all four kinds.
async fn objects(cluster: &Cluster, scope: &Scope, selector: Option<&str>) -> Result<Objects, Failure> {
    let (domains, mailboxes, aliases, rules) = tokio::try_join!(
        cluster.list::<EmailDomain>(scope, selector),
        cluster.list::<EmailMailbox>(scope, None),
        cluster.list::<EmailAlias>(scope, None),
        cluster.list::<EmailForwardingRule>(scope, None),
    )?;
    Ok(Objects { domains, mailboxes, aliases, rules })
}

/// The fleet, or of it what was asked for.
fn selected(mut fleet: Fleet, flags: &StatusFlags, scope: &Scope) -> Result<Fleet, Failure> {
    if flags.selection.selector.is_some() {
        // Objects of domains that were not selected.
        fleet.without_domain.clear();
    }
    let Some(asked) = flags.domain.as_deref() else { return Ok(fleet) };
    let name = DomainName::parse(asked).ok();
    let is_it = |domain: &Domain| {
        domain.node.name == asked || name.as_ref().is_some_and(|name| name.as_str() == domain.node.address)
    };
    let known: Vec<String> =
        fleet.domains.iter().flat_map(|domain| [domain.node.address.clone(), domain.node.name.clone()]).collect();
    fleet.domains.retain(is_it);
    fleet.without_domain.clear();
    if fleet.domains.is_empty() {
        let near = nearest(asked, known.iter().map(String::as_str));
        let place = scope.namespace().map_or("any namespace".to_owned(), |name| format!("the namespace {name}"));
        return Err(Failure::wrong(format!("there is no EmailDomain {asked} in {place}{near}")));
    }
    Ok(fleet)
}

fn print(fleet: &Fleet, flags: &StatusFlags, scope: &Scope, show: &Show) -> Result<(), Failure> {
    let value = if flags.output == Output::Text { Value::Null } else { json(fleet)? };
    Ok(Show::answer(flags.output, &value, || screen(fleet, flags, scope, show))?)
}

fn json(fleet: &Fleet) -> Result<Value, Failure> {
    serde_json::to_value(fleet).map_err(|error| Failure::wrong(error.to_string()))
}

/// Shows the fleet again after each change, until the user ends it.
async fn follow(
    cluster: &Cluster,
    flags: &StatusFlags,
    scope: &Scope,
    show: &Show,
    mut shown: Fleet,
) -> Result<(), Failure> {
    let selector = flags.selection.selector.as_deref();
    let (domains, a) = watched::<EmailDomain>(cluster, scope, selector);
    let (mailboxes, b) = watched::<EmailMailbox>(cluster, scope, None);
    let (aliases, c) = watched::<EmailAlias>(cluster, scope, None);
    let (rules, d) = watched::<EmailForwardingRule>(cluster, scope, None);
    let mut changes = select_all([a, b, c, d]);
    let mut failed = None;
    while let Some(change) = changes.next().await {
        let mut last = change;
        let pause = tokio::time::sleep(GATHER);
        tokio::pin!(pause);
        loop {
            if let Err(why) = &last
                && failed.as_ref() != Some(why)
            {
                show.warning(&format!("the cluster can't be watched, and is tried again: {why}"));
                failed = Some(why.clone());
            }
            tokio::select! {
                () = &mut pause => break,
                Some(next) = changes.next() => last = next,
            }
        }
        let is_ready = [
            domains.wait_until_ready().now_or_never().is_some(),
            mailboxes.wait_until_ready().now_or_never().is_some(),
            aliases.wait_until_ready().now_or_never().is_some(),
            rules.wait_until_ready().now_or_never().is_some(),
        ];
        if is_ready.contains(&false) {
            continue;
        }
        let objects =
            Objects { domains: all(&domains), mailboxes: all(&mailboxes), aliases: all(&aliases), rules: all(&rules) };
        // A domain that was deleted is no error while it is watched.
        let now = selected(Fleet::of(&objects), flags, scope).unwrap_or_default();
        if json(&now)? == json(&shown)? {
            continue;
        }
        if flags.output == Output::Text {
            Show::write(if show.is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "\n" })?;
        } else if flags.output == Output::Yaml {
            Show::write("---\n")?;
        }
        print(&now, flags, scope, show)?;
        shown = now;
    }
    Ok(())
}

type Changes = futures::stream::BoxStream<'static, Result<(), String>>;

/// A store of a kind that follows the cluster while its stream is read.
fn watched<K: Object + Sync>(cluster: &Cluster, scope: &Scope, selector: Option<&str>) -> (Store<K>, Changes) {
    let (store, writer) = reflector::store();
    let config = watcher::Config { label_selector: selector.map(ToOwned::to_owned), ..watcher::Config::default() };
    let events = watcher(cluster.api_in::<K>(scope), config).default_backoff().reflect(writer);
    let changes = events.map(|event| event.map(drop).map_err(|error| super::failure::root_cause(&error)));
    (store, changes.boxed())
}

fn all<K: Object + Sync>(store: &Store<K>) -> Vec<K> {
    store.state().iter().map(|object| object.as_ref().clone()).collect()
}

/// The screen.
fn screen(fleet: &Fleet, flags: &StatusFlags, scope: &Scope, show: &Show) -> String {
    if fleet.nodes().next().is_none() {
        return String::new();
    }
    let own = scope.namespace();
    let mut text = summary(fleet);
    text.push_str(&wrong(fleet, own, flags.verbose, show));
    text.push('\n');
    if let [domain] = fleet.domains.as_slice() {
        text.push_str(&tree(domain, own, flags.verbose, show));
    } else if !fleet.domains.is_empty() {
        text.push_str(&table(&fleet.domains, own, show));
    }
    if flags.verbose {
        for domain in &fleet.domains {
            text.push_str(&conditions(domain, show));
        }
    }
    text
}

fn summary(fleet: &Fleet) -> String {
    let count = |health| fleet.nodes().filter(|node| node.health() == health).count() as u64;
    let objects = counted(fleet.nodes().count() as u64, "object", "objects");
    let parts = [(Health::Wrong, "wrong"), (Health::Unsure, "waiting or unknown"), (Health::Warned, "with a warning")];
    let parts = parts.map(|(health, words)| (count(health), words));
    let bad: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    let place = match fleet.domains.as_slice() {
        [domain] => domain.node.address.clone(),
        domains => counted(domains.len() as u64, "domain", "domains"),
    };
    if bad.is_empty() {
        format!("{place}: {objects}, all ready\n")
    } else {
        format!("{place}: {objects}, {}\n", bad.join(", "))
    }
}

/// What is wrong, the worst first. Objects with the same problem share a line.
fn wrong(fleet: &Fleet, own: Option<&str>, is_verbose: bool, show: &Show) -> String {
    let mut groups: BTreeMap<(Health, &str, String), Vec<&Node>> = BTreeMap::new();
    for node in fleet.nodes().filter(|node| node.health() != Health::Good) {
        let remedy = node.remedy.as_ref().map_or(String::new(), |remedy| format!("; run: {remedy}"));
        groups.entry((node.health(), &node.reason, format!("{}{remedy}", node.message))).or_default().push(node);
    }
    if groups.is_empty() {
        return String::new();
    }
    let mut rows = vec![head(&["PROBLEM OF", "REASON", "WHAT TO DO"])];
    let shown = if is_verbose { usize::MAX } else { SHOWN_WRONG };
    for ((health, reason, message), nodes) in groups.iter().take(shown) {
        let more = match nodes.len() {
            1 => String::new(),
            several => format!(" and {} more", several - 1),
        };
        let first = nodes.first().map_or(String::new(), |node| node.reference(own));
        rows.push(vec![
            (format!("{first}{more}"), tone(*health)),
            ((*reason).to_owned(), tone(*health)),
            plain(message.clone()),
        ]);
    }
    let more = groups.len().saturating_sub(shown);
    let more = if more > 0 { format!("{more} more problems: -v shows all\n") } else { String::new() };
    format!("\n{}{more}", show.table(&rows))
}

fn tone(health: Health) -> Tone {
    match health {
        Health::Wrong => Tone::Bad,
        Health::Unsure | Health::Warned => Tone::Doubtful,
        Health::Good => Tone::Good,
    }
}

/// The state in one word.
fn state(node: &Node) -> Cell {
    let word = match node.health() {
        _ if node.paused => "Paused".to_owned(),
        Health::Good => "Ready".to_owned(),
        Health::Warned => format!("Ready, {}", node.reason),
        Health::Wrong | Health::Unsure => node.reason.clone(),
    };
    (word, tone(node.health()))
}

/// The DNS records of a domain as a row of marks.
fn marks(domain: &Domain, show: &Show) -> String {
    let mark = |verdict| match verdict {
        DnsVerdict::Verified => show.glyph("✓", "ok"),
        DnsVerdict::TempError => "?",
        DnsVerdict::Missing | DnsVerdict::Mismatch | DnsVerdict::Multiple | DnsVerdict::Invalid => {
            show.glyph("✗", "BAD")
        }
    };
    let marks = domain.dns.iter().map(|record| format!("{} {}", record.kind, mark(record.verdict)));
    marks.collect::<Vec<_>>().join("  ")
}

/// Several domains, a line for each.
fn table(domains: &[Domain], own: Option<&str>, show: &Show) -> String {
    let mut rows = vec![head(&["DOMAIN", "NAME", "STATE", "MAILBOXES", "ALIASES", "RULES", "DNS"])];
    for domain in domains {
        let ready = |nodes: &[Node]| {
            let ready = nodes.iter().filter(|node| node.ready == "True").count();
            let tone = if ready == nodes.len() { Tone::Plain } else { Tone::Doubtful };
            (if nodes.is_empty() { "0".to_owned() } else { format!("{ready}/{}", nodes.len()) }, tone)
        };
        let (mailboxes, aliases, rules) = (ready(&domain.mailboxes), ready(&domain.aliases), ready(&domain.rules));
        let name = if own.is_some() {
            domain.node.name.clone()
        } else {
            format!("{}/{}", domain.node.namespace, domain.node.name)
        };
        let state = state(&domain.node);
        rows.push(vec![
            plain(domain.node.address.clone()),
            plain(name),
            state,
            mailboxes,
            aliases,
            rules,
            plain(marks(domain, show)),
        ]);
    }
    show.table(&rows)
}

/// One domain as a tree.
fn tree(domain: &Domain, own: Option<&str>, is_verbose: bool, show: &Show) -> String {
    let mut rows = vec![head(&["NAME", "OBJECT", "STATE", "DETAILS"])];
    let (branch, bar) = (show.glyph("├─ ", "|- "), show.glyph("│  ", "|  "));
    let row = |prefix: &str, node: &Node, name: &str| {
        vec![plain(format!("{prefix}{name}")), plain(node.reference(own)), state(node), plain(node.detail.clone())]
    };
    rows.push(row("", &domain.node, &domain.node.address));
    if !domain.dns.is_empty() {
        rows.push(vec![plain(format!("{branch}DNS")), plain(""), plain(""), plain(marks(domain, show))]);
    }
    for rule in domain.rules.iter().filter(|rule| rule.is_of_domain()) {
        rows.push(row(branch, rule, "rule of all mailboxes"));
    }
    for (nodes, what) in [(&domain.mailboxes, "mailboxes"), (&domain.aliases, "aliases")] {
        let has_bad_rule =
            |node: &Node| domain.rules.iter().any(|rule| rule.is_of(node) && rule.health() != Health::Good);
        let (bad, good): (Vec<&Node>, Vec<&Node>) =
            nodes.iter().partition(|node| node.health() != Health::Good || has_bad_rule(node));
        let room = if is_verbose { usize::MAX } else { SHOWN_GOOD };
        for node in bad.iter().take(room.max(SHOWN_WRONG)).chain(good.iter().take(room)) {
            rows.push(row(branch, node, &node.address));
            for rule in domain.rules.iter().filter(|rule| rule.is_of(node)) {
                rows.push(row(&format!("{bar}{branch}"), rule, "rule"));
            }
        }
        let left = bad.len().saturating_sub(room.max(SHOWN_WRONG)) + good.len().saturating_sub(room);
        if left > 0 {
            rows.push(vec![plain(format!("{branch}{left} more {what}: -v shows all"))]);
        }
    }
    show.table(&rows)
}

/// All conditions of a domain.
fn conditions(domain: &Domain, show: &Show) -> String {
    let mut rows = vec![head(&["CONDITION", "STATUS", "REASON", "MESSAGE"])];
    for condition in &domain.node.conditions {
        let is_abnormal = ["Drifted", "Stalled", "Paused", "Reconciling"].contains(&condition.kind.as_str());
        let tone = if (condition.status == "True") == is_abnormal { Tone::Doubtful } else { Tone::Good };
        rows.push(vec![
            plain(condition.kind.clone()),
            (condition.status.clone(), tone),
            plain(condition.reason.clone()),
            plain(condition.message.clone()),
        ]);
    }
    format!("\n{}\n{}", domain.node.address, show.table(&rows))
}
