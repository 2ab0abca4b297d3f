//! `check`: whether everything that email hosting needs is there, and the command that mends what is not.

mod clock;
mod finding;
mod rights;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::SignedDuration;
use k8s_openapi::jiff::fmt::rfc2822;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::cluster::{Cluster, Scope};
use super::failure::{Failure, nearest, root_cause};
use super::flags::{ClusterFlags, Output};
use super::fleet::{Fleet, Node, Objects, counted};
use super::mailcow::MailcowFlags;
use super::operator::{self, Installed};
use super::show::Show;
use crate::config::{DnsMode, Served, Settings};
use crate::crd::{DEFAULT_SERVER, DnsPublish, DnsVerdict, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::dns::{Answer, Kind, Lookup, Mode, Options, Question};
use crate::gates::Gate;
use crate::kubernetes::served::missing_fields;
use crate::listing::first_of;
use crate::mail::SinkKind;
use crate::mailcow::Connection;
use finding::Findings;
use server::Source;

/// How long a sink may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The oldest minor version of Kubernetes that the chart takes.
const OLDEST_KUBERNETES: u32 = 29;
/// Names in a message, at most.
const NAMED: usize = 5;

/// Options of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckFlags {
    /// Before the installation: what the chart needs, and with --mailcow-url whether Mailcow can be used.
    #[arg(long)]
    pub pre: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Which Mailcow.
    #[command(flatten)]
    pub mailcow: MailcowFlags,
}

/// Runs the command.
pub(super) async fn run(flags: &ClusterFlags, check: &CheckFlags, show: &Show) -> Result<(), Failure> {
    let cluster = Cluster::connect(flags).await?;
    let mut found = Findings::default();
    show.progress("checking the cluster");
    kubernetes(&cluster, &mut found).await?;
    definitions(&cluster, check.pre, &mut found).await?;
    if check.pre {
        before(&cluster, check, &mut found, show).await?;
    } else {
        after(&cluster, check, &mut found, show).await?;
    }
    show.progress("");
    found.print(check.output, show)?;
    if found.has_bad() { Err(Failure::No) } else { Ok(()) }
}

/// The version and the clock of the API server.
async fn kubernetes(cluster: &Cluster, found: &mut Findings) -> Result<(), Failure> {
    let call = super::failure::ApiCall { verb: "get", resource: "version", namespace: None };
    let version = cluster.client.apiserver_version().await.map_err(|error| call.failed(&error))?;
    let minor: u32 = version.minor.trim_end_matches('+').parse().unwrap_or(u32::MAX);
    if minor < OLDEST_KUBERNETES {
        found.bad(
            "Kubernetes",
            format!("version {} is too old: the CRDs need 1.{OLDEST_KUBERNETES} or newer", version.git_version),
            "upgrade the cluster",
        );
    } else {
        found.good("Kubernetes", format!("{} at {}", version.git_version, cluster.url));
    }
    let request = http::Request::get("/version").body(kube::client::Body::empty());
    let Ok(request) = request else { return Ok(()) };
    let answer = cluster.client.send(request).await.map_err(|error| call.failed(&error))?;
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    if let Some(there) = date.and_then(|date| rfc2822::parse(date).ok()) {
        clock::check(found, "clock", "the cluster", there.timestamp(), "Leases and certificates depend on it");
    }
    Ok(())
}

/// Whether the CRDs are there and as new as this program.
async fn definitions(cluster: &Cluster, is_before: bool, found: &mut Findings) -> Result<(), Failure> {
    let call = super::failure::ApiCall { verb: "get", resource: "the OpenAPI schema", namespace: None };
    let kinds = missing_fields(&cluster.client).await.map_err(|error| call.failed(&error))?;
    let absent: Vec<&str> = kinds.iter().filter(|(_, fields)| fields.is_none()).map(|(kind, _)| *kind).collect();
    let apply = "kubectl apply --server-side -f crds/ (the chart does that with crds.install: true)";
    if absent.len() == kinds.len() && is_before {
        found.good("CRDs", "none yet; the chart installs them");
    } else if !absent.is_empty() {
        found.bad("CRDs", format!("the cluster does not have {}", absent.join(", ")), apply);
    }
    let mut is_old = false;
    for (kind, fields) in &kinds {
        let fields = fields.as_deref().unwrap_or_default();
        if !fields.is_empty() {
            is_old = true;
            let message = format!("the CRD of {kind} is older than this program and lacks {}", first_of(fields, NAMED));
            found.bad("CRDs", message, apply);
        }
    }
    if absent.is_empty() && !is_old {
        found.good("CRDs", "all four, as new as this program");
    }
    Ok(())
}

/// Before the installation.
async fn before(cluster: &Cluster, check: &CheckFlags, found: &mut Findings, show: &Show) -> Result<(), Failure> {
    let namespace = check.mailcow.operator_namespace.clone().unwrap_or_else(|| "mailcow-operator".to_owned());
    show.progress("checking your rights");
    match rights::lacking(cluster, None, rights::of_installer(&namespace)).await {
        Ok(lacking) if lacking.is_empty() => {
            found.good("rights", format!("you may install the chart into the namespace {namespace}"));
        }
        Ok(lacking) => {
            let words: Vec<String> = lacking.iter().map(rights::Right::words).collect();
            found.bad(
                "rights",
                format!("you may not {}", words.join(", ")),
                "ask a cluster administrator to install the chart, or for the ClusterRole cluster-admin",
            );
        }
        Err(error) => found.skip("rights", format!("they can't be asked for: {}", root_cause(&error))),
    }
    match operator::all(cluster, None).await {
        Ok(there) => {
            if let Some(first) = there.first() {
                found.warn(
                    "operator",
                    format!("{} is installed already", first.name()),
                    "use kubectl email check without --pre, and helm upgrade",
                );
            }
        }
        Err(unreachable @ Failure::Unreachable(_)) => return Err(unreachable),
        Err(failure) => {
            let why = failure.problems().join("; ");
            found.skip("operator", format!("whether one is installed already is not known: {why}"));
        }
    }
    match check.mailcow.given()? {
        Some(connection) => {
            let host = given_connection(&connection, found, show).await;
            names(&host, &[], DnsMode::Authoritative, found, show).await;
        }
        None => found.skip("Mailcow connection", "give --mailcow-url and --mailcow-api-key-file to check it"),
    }
    Ok(())
}

/// After the installation.
async fn after(cluster: &Cluster, check: &CheckFlags, found: &mut Findings, show: &Show) -> Result<(), Failure> {
    let given = check.mailcow.given()?;
    let mut hosts = Hosts::new();
    if let Some(connection) = &given {
        let host = given_connection(connection, found, show).await;
        hosts.insert(host, (Vec::new(), DnsMode::Authoritative));
    }
    show.progress("checking the operator");
    let all = operators(cluster, check, found).await?;
    let objects = match objects(cluster).await {
        Ok(objects) => objects,
        Err(unreachable @ Failure::Unreachable(_)) => return Err(unreachable),
        Err(failure) => {
            found.skip("objects", failure.problems().join("; "));
            Objects::default()
        }
    };
    let fleet = Fleet::of(&objects);
    let server = given.is_some().then_some(check.mailcow.server.as_str());
    for installed in &all {
        check_operator(cluster, server, installed, &objects, &fleet, &mut hosts, found, show).await?;
    }
    check_reports(&fleet, &objects, found);
    for (host, (resolvers, mode)) in &hosts {
        names(host, resolvers, *mode, found, show).await;
    }
    Ok(())
}

/// The installed operators; none if there is none, or the user may not look for them.
async fn operators(cluster: &Cluster, check: &CheckFlags, found: &mut Findings) -> Result<Vec<Installed>, Failure> {
    let all = match operator::all(cluster, check.mailcow.operator_namespace.as_deref()).await {
        Ok(all) => all,
        Err(unreachable @ Failure::Unreachable(_)) => return Err(unreachable),
        Err(failure) => {
            let why = failure.problems().join("; ");
            let hint = match check.mailcow.operator_namespace {
                Some(_) => "",
                None => "; if you may list them in its namespace, name that with --operator-namespace",
            };
            found.skip("operator", format!("it can't be looked for: {why}{hint}"));
            return Ok(Vec::new());
        }
    };
    if all.is_empty() {
        found.bad(
            "operator",
            "no Deployment of mailcow-operator is in the cluster",
            "helm install mailcow-operator charts/mailcow-operator -n mailcow-operator --create-namespace",
        );
    }
    check_overlap(&all, found);
    check_all_served(&all, found);
    Ok(all)
}

/// The Mailcow of the flags; returns its host.
async fn given_connection(connection: &Connection, found: &mut Findings, show: &Show) -> String {
    show.progress("checking Mailcow");
    server::check(found, connection, &Source::Flags).await;
    host_of(&connection.url)
}

/// The objects of all namespaces, or of the one that the user may read.
async fn objects(cluster: &Cluster) -> Result<Objects, Failure> {
    let read = async |scope: &Scope| {
        tokio::try_join!(
            cluster.list::<EmailDomain>(scope, None),
            cluster.list::<EmailMailbox>(scope, None),
            cluster.list::<EmailAlias>(scope, None),
            cluster.list::<EmailForwardingRule>(scope, None),
        )
    };
    let (domains, mailboxes, aliases, rules) = match read(&Scope::All).await {
        Err(Failure::Wrong(_)) => read(&Scope::In(cluster.namespace.clone())).await?,
        read => read?,
    };
    Ok(Objects { domains, mailboxes, aliases, rules })
}

/// Two operators that work on the same objects undo each other's work.
fn check_overlap(all: &[Installed], found: &mut Findings) {
    for (number, one) in all.iter().enumerate() {
        for other in all.iter().skip(number + 1) {
            let (Ok(a), Ok(b)) = (&one.settings, &other.settings) else { continue };
            let is_shared = a.watch_namespaces.is_empty()
                || b.watch_namespaces.is_empty()
                || a.watch_namespaces.iter().any(|name| b.watch_namespaces.contains(name));
            let is_served_twice = match (a.served(), b.served()) {
                (Ok(a), Ok(b)) => a.names().any(|server| b.has(server)),
                _ => false,
            };
            if is_shared && is_served_twice {
                found.bad(
                    "operator",
                    format!("two operators work on the same objects: {} and {}", one.name(), other.name()),
                    format!(
                        "helm uninstall {} -n {}, or give each its own watchNamespaces, or its own servers with serve",
                        release_name(other),
                        other.namespace()
                    ),
                );
            }
        }
    }
}

/// A configured server that every instance leaves to others.
fn check_all_served(all: &[Installed], found: &mut Findings) {
    let served: Vec<Served> = all.iter().filter_map(|one| one.settings.as_ref().ok()?.served().ok()).collect();
    let left: BTreeSet<&str> = served.iter().flat_map(Served::others).collect();
    for server in left.into_iter().filter(|server| !served.iter().any(|served| served.has(server))) {
        let message = format!("no operator serves the server {server}: every release leaves it to another one");
        found.bad("operator", message, "add it to serve in the values of one release");
    }
}

/// Mail hosts, with the resolvers and servers to ask about them.
type Hosts = BTreeMap<String, (Vec<SocketAddr>, DnsMode)>;

/// One operator and everything that it needs. `given` is the server that was checked with the connection of the flags.
async fn check_operator(
    cluster: &Cluster,
    given: Option<&str>,
    installed: &Installed,
    objects: &Objects,
    fleet: &Fleet,
    hosts: &mut Hosts,
    found: &mut Findings,
    show: &Show,
) -> Result<(), Failure> {
    let settings = match &installed.settings {
        Ok(settings) => settings,
        Err(why) => {
            found.bad(
                "operator",
                format!("{} has options that this version does not know: {why}", installed.name()),
                "use the kubectl-email of the operator's version, or helm upgrade",
            );
            return Ok(());
        }
    };
    let served = match settings.served() {
        Ok(served) => served,
        Err(why) => {
            found.bad("operator", format!("{} can't start: {why}", installed.name()), upgrade(installed, " (serve)"));
            return Ok(());
        }
    };
    pods(cluster, installed, found).await;
    leader(cluster, installed, &served.leases(&settings.leader.lease_name), found).await;
    show.progress("checking rights");
    operators_rights(cluster, installed, rights::of_operator(settings, &served), found).await;
    policies(cluster, installed, settings, found).await;
    gates(settings, objects, found, installed);
    namespaces(settings, fleet, found, installed);
    show.progress("checking Mailcow");
    let host = connections(cluster, given, installed, settings, &served, objects, found).await;
    if let Some(host) = settings.dns.mail_host.clone().or(host) {
        hosts.insert(host, (settings.dns.dns_resolvers.clone(), settings.dns.dns_mode));
    }
    show.progress("checking sinks");
    sinks(cluster, installed, found).await;
    Ok(())
}

/// Helm's command to change a release.
fn upgrade(installed: &Installed, set: &str) -> String {
    let (release, namespace) = (release_name(installed), installed.namespace());
    format!("helm upgrade {release} charts/mailcow-operator -n {namespace} --reset-then-reuse-values{set}")
}

fn release_name(installed: &Installed) -> String {
    let labels = installed.deployment.labels();
    labels.get("app.kubernetes.io/instance").cloned().unwrap_or_else(|| installed.deployment.name_any())
}

/// Whether a pod of the operator works, and why not.
async fn pods(cluster: &Cluster, installed: &Installed, found: &mut Findings) {
    let (name, namespace) = (installed.deployment.name_any(), installed.namespace());
    let spec = installed.deployment.spec.clone().unwrap_or_default();
    if spec.replicas == Some(0) {
        let remedy = format!("kubectl scale deployment {name} -n {namespace} --replicas=1");
        return found.bad("operator", format!("{} is scaled to 0 replicas", installed.name()), remedy);
    }
    let version = installed.deployment.labels().get("app.kubernetes.io/version").cloned().unwrap_or_default();
    if !version.is_empty() && version != env!("CARGO_PKG_VERSION") {
        found.warn(
            "operator",
            format!("its version is {version}, that of this program {}", env!("CARGO_PKG_VERSION")),
            "use the kubectl-email of the operator's version",
        );
    }
    let ready = installed.deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    if ready > 0 {
        return found.good(
            "operator",
            format!(
                "{} has {}",
                installed.name(),
                counted(u64::try_from(ready).unwrap_or(0), "ready pod", "ready pods")
            ),
        );
    }
    let labels = spec.selector.match_labels.unwrap_or_default();
    let selector = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let why = match cluster.list::<Pod>(&Scope::In(namespace.clone()), Some(&selector)).await {
        Ok(pods) => pods.iter().find_map(why_not_ready).unwrap_or_else(|| "no pod exists".to_owned()),
        Err(failure) => failure.problems().join("; "),
    };
    found.bad(
        "operator",
        format!("{} has no ready pod: {why}", installed.name()),
        format!("kubectl describe pod -n {namespace} -l {selector}; kubectl logs -n {namespace} deploy/{name}"),
    );
}

fn why_not_ready(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let message = waiting.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        Some(format!("{}{message}", waiting.reason.clone().unwrap_or_default()))
    });
    let condition = status.conditions.iter().flatten().find(|condition| condition.status != "True");
    let condition = condition.map(|condition| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{} {}: {}", condition.type_, text(&condition.reason), text(&condition.message))
    });
    waiting.or(condition).or_else(|| status.phase.clone())
}

/// Whether one of the pods holds the Lease and renews it.
async fn leader(cluster: &Cluster, installed: &Installed, leases: &[String], found: &mut Findings) {
    let namespace = installed.namespace();
    let remedy = format!(
        "kubectl logs -n {namespace} deploy/{} (is a pod running, and may it update the Lease?)",
        installed.deployment.name_any()
    );
    let mut holders = BTreeSet::new();
    for name in leases {
        match cluster.find::<Lease>(&namespace, name).await {
            Err(failure) => return found.skip("leader", failure.problems().join("; ")),
            Ok(None) => {
                let message = format!("there is no Lease {namespace}/{name}: no operator has ever worked here");
                return found.bad("leader", message, remedy);
            }
            Ok(Some(lease)) => match holder(lease) {
                Ok(holder) => holders.insert(holder),
                Err(why) => {
                    let message = format!("no operator has held the Lease {namespace}/{name}{why}");
                    return found.bad("leader", message, remedy);
                }
            },
        };
    }
    let all: Vec<String> = holders.into_iter().collect();
    match all.as_slice() {
        [one] => found.good("leader", format!("{one} works")),
        // Each holds some and waits for the rest.
        several => found.bad(
            "leader",
            format!("{} hold one Lease each of {}, so that none works", several.join(" and "), leases.join(", ")),
            "give no server to two releases (serve in the chart)",
        ),
    }
}

/// Who holds a Lease.
///
/// # Errors
/// Since when nobody does, and who was the last.
fn holder(lease: Lease) -> Result<String, String> {
    let spec = lease.spec.unwrap_or_default();
    let duration = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or(15)));
    let age = spec.renew_time.map(|time| crate::clock::now().0.duration_since(time.0));
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    match (holder, age) {
        (Some(holder), Some(age)) if age <= duration * 2 => Ok(holder),
        (holder, age) => {
            let since = age.map_or_else(String::new, |age| format!(" for {} s", age.as_secs()));
            let last = holder.map_or_else(String::new, |holder| format!("; the last one was {holder}"));
            Err(format!("{since}{last}"))
        }
    }
}

async fn operators_rights(cluster: &Cluster, installed: &Installed, needed: Vec<rights::Right>, found: &mut Findings) {
    let user = installed.user();
    match rights::lacking(cluster, Some(&user), needed).await {
        Ok(lacking) if lacking.is_empty() => found.good("rights", format!("{user} has all that it needs")),
        Ok(lacking) => {
            for right in lacking {
                found.bad("rights", format!("the operator may not {}", right.words()), upgrade(installed, ""));
            }
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            found.skip(
                "rights",
                "you may not ask for the rights of others (create subjectaccessreviews); a cluster administrator may",
            );
        }
        Err(error) => found.skip("rights", root_cause(&error)),
    }
}

/// Whether the admission policies are in force where tenants write domains.
async fn policies(cluster: &Cluster, installed: &Installed, settings: &Settings, found: &mut Findings) {
    if !settings.dns.require_ownership {
        return;
    }
    let all: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client.clone());
    let selector = format!("app.kubernetes.io/instance={}", release_name(installed));
    match all.list(&ListParams::default().labels(&selector)).await {
        Ok(list) if list.items.is_empty() => found.bad(
            "admission policies",
            "ownership of domains is required, so that tenants share this installation, but the admission policies are off: tenants may delete mail without a confirmation",
            upgrade(installed, " --set admissionPolicies.enabled=true"),
        ),
        Ok(list) => found.good("admission policies", counted(list.items.len() as u64, "is in force", "are in force")),
        Err(error) => found.skip("admission policies", root_cause(&error)),
    }
}

/// Whether objects ask for something that is off.
fn gates(settings: &Settings, objects: &Objects, found: &mut Findings, installed: &Installed) {
    let gates = &settings.feature_gates;
    let uses_dns = |domain: &&EmailDomain| domain.spec.dns.as_ref().is_some_and(|dns| dns.publish != DnsPublish::None);
    let to_sink = |rule: &&EmailForwardingRule| {
        rule.spec.actions.iter().any(|action| action.create_task.is_some() || action.create_note.is_some())
    };
    let counts = [
        (
            Gate::EmailHosting,
            "EmailHosting",
            objects.domains.len() + objects.mailboxes.len(),
            "domain or mailbox",
            "domains and mailboxes",
        ),
        (Gate::ForwardingRules, "ForwardingRules", objects.rules.len(), "rule", "rules"),
        (
            Gate::TaskDelivery,
            "TaskDelivery",
            objects.rules.iter().filter(to_sink).count(),
            "rule with createTask or createNote",
            "rules with createTask or createNote",
        ),
        (
            Gate::DnsPublishing,
            "DNSPublishing",
            objects.domains.iter().filter(uses_dns).count(),
            "domain with spec.dns.publish",
            "domains with spec.dns.publish",
        ),
        (
            Gate::AutoProvisioning,
            "AutoProvisioning",
            objects.domains.iter().filter(|domain| domain.spec.auto_provision.is_some()).count(),
            "domain with spec.autoProvision",
            "domains with spec.autoProvision",
        ),
    ];
    let mut is_fine = true;
    for (gate, name, count, one, many) in counts {
        if count > 0 && !gates.has(gate) {
            is_fine = false;
            found.bad(
                "feature gates",
                format!("the feature gate {name} is off, but used by {}", counted(count as u64, one, many)),
                upgrade(installed, &format!(" --set featureGates.{name}=true")),
            );
        }
    }
    if is_fine {
        found.good("feature gates", "nothing that is off is used");
    }
}

/// Whether there are objects where the operator does not look.
fn namespaces(settings: &Settings, fleet: &Fleet, found: &mut Findings, installed: &Installed) {
    if settings.watch_namespaces.is_empty() {
        return;
    }
    let mut elsewhere: Vec<String> = fleet.nodes().map(|node| node.namespace.clone()).collect();
    elsewhere.sort();
    elsewhere.dedup();
    elsewhere.retain(|name| !settings.watch_namespaces.contains(name));
    let unseen: Vec<&Node> = fleet
        .nodes()
        .filter(|node| elsewhere.contains(&node.namespace) && node.reason == "Pending" && node.conditions.is_empty())
        .collect();
    if let Some(first) = unseen.first() {
        let all = settings.watch_namespaces.iter().chain([&first.namespace]).cloned().collect::<Vec<_>>().join(",");
        found.warn(
            "namespaces",
            format!(
                "nobody works on {} in the namespace {}: the operator watches {}",
                counted(unseen.len() as u64, "object", "objects"),
                first.namespace,
                settings.watch_namespaces.join(", ")
            ),
            upgrade(installed, &format!(" --set 'watchNamespaces={{{all}}}'")),
        );
    }
}

/// The connections to Mailcow; returns the host of the default one. Of the server `given` only the Secret is checked: the
/// flags say how to connect to it.
async fn connections(
    cluster: &Cluster,
    given: Option<&str>,
    installed: &Installed,
    settings: &Settings,
    served: &Served,
    objects: &Objects,
    found: &mut Findings,
) -> Option<String> {
    let mut servers: BTreeMap<&str, &str> = BTreeMap::new();
    servers.extend(settings.mailcow_secret.as_deref().map(|secret| (DEFAULT_SERVER, secret)));
    servers.extend(settings.mailcow_servers.iter().map(|server| (server.name.as_str(), server.secret.as_str())));
    // What is on the server of another instance is that instance's.
    let is_unknown = |name: &str| !servers.contains_key(name) && served.has(name);
    let mut unknown: Vec<&EmailDomain> =
        objects.domains.iter().filter(|domain| is_unknown(&domain.spec.server)).collect();
    unknown.dedup_by(|a, b| a.spec.server == b.spec.server);
    for domain in unknown {
        let near = nearest(&domain.spec.server, servers.keys().copied());
        found.bad(
            "Mailcow servers",
            format!(
                "the domain {} is on the server {}, which is not configured{near}",
                domain.spec.domain, domain.spec.server
            ),
            upgrade(
                installed,
                &format!(
                    " --set 'mailcow.servers[0].name={0},mailcow.servers[0].existingSecret=mailcow-{0}'",
                    domain.spec.server
                ),
            ),
        );
    }
    if let Some(asked) = given.filter(|asked| *asked != DEFAULT_SERVER && !servers.contains_key(asked)) {
        let near = nearest(asked, servers.keys().copied());
        let message = format!("the operator {} has no server {asked}{near}", installed.name());
        found.warn("Mailcow servers", message, "name one of its servers with --server");
    }
    let mut host = None;
    for (server, secret) in servers.into_iter().filter(|(server, _)| served.has(server)) {
        let is_given = given == Some(server);
        let Some(connection) = connection(cluster, installed, secret, is_given, found).await else { continue };
        if !is_given {
            let source = Source::Secret { namespace: installed.namespace(), name: secret.to_owned() };
            server::check(found, &connection, &source).await;
        }
        if server == DEFAULT_SERVER {
            host = Some(connection.mail_host.clone().unwrap_or_else(|| host_of(&connection.url)));
        }
    }
    host
}

/// The connection in a Secret, or what is wrong with the Secret.
async fn connection(
    cluster: &Cluster,
    installed: &Installed,
    name: &str,
    is_given: bool,
    found: &mut Findings,
) -> Option<Connection> {
    let namespace = installed.namespace();
    let create = format!(
        "kubectl -n {namespace} create secret generic {name} --from-literal=url=https://mail.example.com --from-file=apiKey=api-key"
    );
    let secret = match cluster.find::<Secret>(&namespace, name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            let all = cluster.list::<Secret>(&Scope::In(namespace.clone()), None).await.unwrap_or_default();
            let has = |secret: &&Secret, key: &str| secret.data.as_ref().is_some_and(|data| data.contains_key(key));
            let other = all.iter().find(|secret| has(secret, "url") && has(secret, "apiKey"));
            let (why, remedy) = match other {
                Some(other) => (
                    format!("; the Secret {} has its keys, but another name", other.name_any()),
                    upgrade(installed, &format!(" --set mailcow.existingSecret={}", other.name_any())),
                ),
                None => (String::new(), create),
            };
            found.bad(
                "Mailcow Secret",
                format!("the Secret {name} does not exist in the namespace {namespace}{why}"),
                remedy,
            );
            return None;
        }
        Err(failure) => {
            let hint = if is_given {
                ""
            } else {
                "; with --mailcow-url and --mailcow-api-key-file the connection can be checked without it"
            };
            found.skip("Mailcow Secret", format!("{}{hint}", failure.problems().join("; ")));
            return None;
        }
    };
    match Connection::of_secret(&secret) {
        Ok(connection) => {
            found.good("Mailcow Secret", format!("{namespace}/{name}"));
            Some(connection)
        }
        Err(why) => {
            let keys: Vec<&str> = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
            let known = ["url", "apiKey", "ca.crt", "mailHost"];
            let odd = keys.iter().find(|key| !known.contains(*key));
            let odd = odd.map_or_else(String::new, |key| format!("; it has the key {key}{}", nearest(key, known)));
            let patch = format!(
                "kubectl -n {namespace} patch secret {name} --type=merge -p '{{\"stringData\":{{\"url\":\"https://…\",\"apiKey\":\"…\"}}}}'"
            );
            found.bad("Mailcow Secret", format!("{why}{odd}"), patch);
            None
        }
    }
}

/// What the operator itself reports in the objects.
fn check_reports(fleet: &Fleet, objects: &Objects, found: &mut Findings) {
    let mut by_reason: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for node in fleet.nodes().filter(|node| !node.reason.is_empty()) {
        by_reason.entry(&node.reason).or_default().push(node);
    }
    let of = |reason: &str| by_reason.get(reason).map(Vec::as_slice).unwrap_or_default();
    for (reason, remedy) in [
        (
            "MailcowUnreachable",
            "if Mailcow answers from here: allow the operator's pods to reach it (networkPolicy in the chart, firewalls)",
        ),
        (
            "KeyOrSourceRejected",
            "if the key works from here: allow the address that the cluster's traffic comes from, in Mailcow: System, Configuration, Access, API",
        ),
    ] {
        if let Some(first) = of(reason).first() {
            found.bad(
                "operator and Mailcow",
                format!("{} report {reason}: {}", counted(of(reason).len() as u64, "object", "objects"), first.message),
                remedy,
            );
        }
    }
    let full = of("QuotaNearlyFull");
    if !full.is_empty() {
        let names: Vec<String> = full.iter().map(|node| format!("{} ({})", node.address, node.detail)).collect();
        found.warn(
            "quotas",
            format!("nearly full, and will bounce mail: {}", first_of(&names, NAMED)),
            "raise spec.quota of the EmailMailbox, or ask its user to delete mail",
        );
    }
    let refused: Vec<&Node> = of("RefusedByMailcow").to_vec();
    if let Some(first) = refused.first() {
        found.warn(
            "refusals",
            format!(
                "Mailcow refuses changes of {}: {}: {}",
                counted(refused.len() as u64, "object", "objects"),
                first.address,
                first.message
            ),
            "change the spec, or the limits of the EmailDomain, as the message says",
        );
    }
    let records = objects.domains.iter().filter_map(|domain| domain.status.as_ref()?.dns.as_ref());
    let records: Vec<_> = records.flat_map(|dns| &dns.records).collect();
    if !records.is_empty() && records.iter().all(|record| record.verdict == DnsVerdict::TempError) {
        let why = records.first().map_or("", |record| record.message.as_str());
        found.bad(
            "operator and DNS",
            format!("the operator gets no answer from DNS: {why}"),
            "allow port 53 (UDP and TCP) from its pods, or set dns.mode: recursive in the chart",
        );
    }
}

/// Whether DNS can be asked from here, and knows the mail host.
async fn names(host: &str, resolvers: &[SocketAddr], mode: DnsMode, found: &mut Findings, show: &Show) {
    if host.parse::<std::net::IpAddr>().is_ok() || !host.contains('.') {
        return;
    }
    show.progress("checking DNS");
    let mode = if mode == DnsMode::Authoritative { Mode::Authoritative } else { Mode::Recursive };
    let options = Options { resolvers: resolvers.to_vec(), mode, allow_private: true, ..Options::default() };
    let lookup = match Lookup::new(options) {
        Ok(lookup) => lookup,
        Err(error) => return found.warn("DNS", error.to_string(), "set a resolver in /etc/resolv.conf"),
    };
    let answers = lookup.ask(&Question::new(host, Kind::A)).await;
    if let Some(why) = answers.iter().find_map(Answer::failure) {
        found.warn("DNS", format!("no answer for {host} from here: {why}"), "allow port 53 (UDP and TCP); if that is not possible in the cluster either, set dns.mode: recursive in the chart");
    } else if answers.iter().any(|answer| !answer.addresses().is_empty()) {
        found.good("DNS", format!("{host} has an address"));
    } else {
        found.warn(
            "DNS",
            format!("the mail host {host} has no IPv4 address"),
            "publish an A record for it, or set dns.mailHost in the chart",
        );
    }
}

/// Whether the sinks can be reached from here.
async fn sinks(cluster: &Cluster, installed: &Installed, found: &mut Findings) {
    let Some(sinks) = installed.sinks(cluster).await else {
        return found.skip("sinks", "the ConfigMap with the sinks can't be read");
    };
    for sink in sinks.iter() {
        let reach = match &sink.kind {
            SinkKind::Webhook(webhook) => &webhook.reach,
            SinkKind::Caldav(caldav) => &caldav.reach,
            SinkKind::Email { .. } => continue,
        };
        let Some((host, port)) = address_of(&reach.url) else {
            found.bad("sinks", format!("the sink {} has an invalid URL", sink.name), upgrade(installed, " (sinks)"));
            continue;
        };
        match tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect((host.as_str(), port))).await {
            Ok(Ok(_)) => found.good("sinks", format!("{} accepts connections", sink.name)),
            Ok(Err(error)) => found.warn(
                "sinks",
                format!("the sink {} can't be reached from here: {host}:{port}: {error}", sink.name),
                format!("start the tool, or change its URL: {}", upgrade(installed, " (sinks)")),
            ),
            Err(_) => found.warn(
                "sinks",
                format!("the sink {} does not answer from here: {host}:{port}", sink.name),
                "allow the connection in firewalls and in the chart's networkPolicy",
            ),
        }
    }
}

/// Host and port of a URL.
fn address_of(url: &str) -> Option<(String, u16)> {
    let uri: http::Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    Some((uri.host()?.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(default)))
}

fn host_of(url: &str) -> String {
    address_of(url.trim()).map(|(host, _)| host).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::operator::tests::installed;

    #[test]
    fn operators_with_servers_of_their_own_may_watch_the_same_namespaces() {
        let servers = "--mailcow-server=a=s,b=s";
        let said = |args: &[&[&str]]| {
            let all: Vec<Installed> = args.iter().map(|args| installed("o", &[&[servers], *args].concat())).collect();
            let mut found = Findings::default();
            check_overlap(&all, &mut found);
            check_all_served(&all, &mut found);
            let found = format!("{found:?}");
            (found.contains("work on the same objects"), found.contains("no operator serves the server b"))
        };
        assert_eq!(said(&[&["--serve=default,b"], &["--serve=a"]]), (false, false));
        assert_eq!(said(&[&["--serve=default"], &["--serve=a"]]), (false, true));
        assert_eq!(said(&[&["--serve=default,a"], &["--serve=a,b"]]), (true, false));
        assert_eq!(said(&[&[], &["--serve=a"]]), (true, false));
        assert_eq!(said(&[&["--watch-namespaces=x"], &["--watch-namespaces=y"]]), (false, false));
    }

    #[test]
    fn hosts_and_ports_are_taken_from_urls() {
        assert_eq!(address_of("https://t.example/x"), Some(("t.example".to_owned(), 443)));
        assert_eq!(address_of("http://[::1]:8080"), Some(("::1".to_owned(), 8080)));
        assert_eq!(host_of(" https://mail.example.com/ "), "mail.example.com");
    }
}
