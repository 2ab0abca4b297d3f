//! `plan`: what an apply of manifests would change on Mailcow, without writing anything. The operator's own modules
//! decide: what should exist, what exists, and what differs.

mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use super::cluster::{Cluster, Scope};
use super::failure::Failure;
use super::flags::{ClusterFlags, Output};
use super::kinds::Kind;
use super::live::{Live, add_live_objects};
use super::mailcow::{MailcowFlags, client, failed};
use super::manifests::{Manifests, Object, RuleSpec};
use super::operator::{self, Installed};
use super::rule_set::{RuleSet, sinks};
use super::show::{Show, Tone, head, plain};
use crate::crd::{
    AdoptionPolicy, DnsGate, DnsPublish, DomainRef, EmailAliasSpec, EmailDomainSpec, EmailMailboxSpec, NamespacesFrom,
    PAUSED, Ref,
};
use crate::desired;
use crate::gates::{Gate, Gates};
use crate::inventory::{Age, Inventory, ObjectCounts};
use crate::mail::{Address, Catch, Feature, Mark, Sinks, Tags, Version};
use crate::mailcow::Error;
use crate::plan::{self, Change};
use crate::sieve;
use crate::tenancy::{self, Defaults, Given, Held, Holdings, MaySend};
use fields::{FieldChange, MARK};

/// Requests to the API server at once.
const AT_ONCE: usize = 16;

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanFlags {
    /// Manifests: files, folders of .yaml, .yml and .json files, or `-` for standard input.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Which Mailcow.
    #[command(flatten)]
    pub mailcow: MailcowFlags,
}

/// What would happen to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
enum Action {
    /// Nothing, because something has to be mended first.
    Refuse,
    /// It would be created.
    Create,
    /// Fields would change.
    Update,
    /// Only the ownership mark would be written.
    Adopt,
    /// Nothing, because the object is paused.
    Paused,
    /// Nothing.
    None,
}

/// An object and what its apply would change.
#[derive(Clone, Debug, Serialize)]
struct Planned {
    action: Action,
    kind: &'static str,
    #[serde(skip)]
    short: &'static str,
    namespace: String,
    name: String,
    address: String,
    fields: Vec<FieldChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Everything that decisions need besides Mailcow.
struct Facts {
    manifests: Manifests,
    live: Live,
    /// Annotations of namespaces.
    annotations: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels of namespaces; missing for those that may not be read.
    labels: BTreeMap<String, BTreeMap<String, String>>,
    /// What the API server says against manifests.
    refused: BTreeMap<(Kind, String, String), String>,
    defaults: Defaults,
    /// Namespaces that may send as anybody.
    platform: BTreeSet<String>,
    sinks: Sinks,
    /// The feature gates of the installation, if it is known.
    gates: Option<Gates>,
    version: Option<Version>,
}

/// Runs the command.
pub(super) async fn run(flags: &ClusterFlags, plan: &PlanFlags, show: &Show) -> Result<(), Failure> {
    let cluster = Cluster::connect(flags).await?;
    let manifests = Manifests::read(&plan.files, &cluster.namespace).map_err(Failure::wrong)?;
    if manifests.rules.is_empty()
        && manifests.domains.is_empty()
        && manifests.mailboxes.is_empty()
        && manifests.aliases.is_empty()
    {
        let files: Vec<String> = plan.files.iter().map(|file| file.display().to_string()).collect();
        return Err(Failure::wrong(format!(
            "no object of a kind of email.askrobots.com found in {}",
            files.join(", ")
        )));
    }
    let given = plan.mailcow.given()?;
    let flags = &plan.mailcow;
    let installed = operator::of_namespace(&cluster, flags.operator_namespace.as_deref(), &flags.server).await;
    let (connection, installed) = match (given, installed) {
        (Some(connection), installed) => (connection, installed.ok()),
        (None, installed) => {
            let installed = installed?;
            (plan.mailcow.of_operator(&cluster, &installed).await?, Some(installed))
        }
    };
    let client = Arc::new(client(&connection)?);
    show.progress("reading the cluster");
    let mut facts = facts(&cluster, manifests, installed.as_ref(), show).await?;
    show.progress("reading Mailcow");
    facts.version = Version::parse(&client.known_version().await.map_err(|error| failed(&error))?);
    let inventory = Inventory::new(client, Duration::from_mins(10), Duration::from_mins(10));
    inventory.count_ours(&facts.counts());
    let mut planned = Vec::new();
    for object in facts.manifests.domains.iter().filter(|object| !object.is_live) {
        show.progress(&format!("domain {}", object.spec.domain));
        planned.push(facts.domain(object, &inventory).await?);
    }
    for (number, object) in facts.manifests.mailboxes.iter().filter(|object| !object.is_live).enumerate() {
        show.progress(&format!("mailbox {}", number + 1));
        planned.push(facts.mailbox(object, &inventory).await?);
    }
    for (number, object) in facts.manifests.aliases.iter().filter(|object| !object.is_live).enumerate() {
        show.progress(&format!("alias {}", number + 1));
        planned.push(facts.alias(object, &inventory).await?);
    }
    planned.extend(facts.rules(&inventory).await?);
    show.progress("");
    planned.sort_by(|a, b| (a.action, a.kind, &a.namespace, &a.name).cmp(&(b.action, b.kind, &b.namespace, &b.name)));
    report(&planned, plan.output, show)?;
    let is_change = |one: &Planned| matches!(one.action, Action::Refuse | Action::Create | Action::Update);
    if planned.iter().any(is_change) { Err(Failure::No) } else { Ok(()) }
}

/// Reads what the cluster knows about the manifests.
async fn facts(
    cluster: &Cluster,
    mut manifests: Manifests,
    installed: Option<&Installed>,
    show: &Show,
) -> Result<Facts, Failure> {
    let settings = installed.map(Installed::options).transpose()?;
    manifests.cluster = match installed {
        Some(installed) => installed.cluster_id(cluster).await?,
        None => None,
    };
    let refused = refused_by_kubernetes(cluster, &manifests, show).await?;
    let namespaces = manifests.namespaces();
    let live = add_live_objects(cluster, &mut manifests, &namespaces).await?;
    for why in &live.unreadable {
        show.warning(&format!("left out, because this version can't read it: {why}"));
    }
    let (mut annotations, mut labels) = (BTreeMap::new(), BTreeMap::new());
    let all: Api<Namespace> = Api::all(cluster.client.clone());
    for namespace in &namespaces {
        // Without the right to read it, its default policies are unknown.
        if let Ok(found) = all.get(namespace).await {
            annotations.insert(namespace.clone(), found.metadata.annotations.unwrap_or_default());
            labels.insert(namespace.clone(), found.metadata.labels.unwrap_or_default());
        }
    }
    let given = match installed {
        Some(installed) => installed.sinks(cluster).await,
        None => None,
    };
    let sinks = match given {
        Some(sinks) => sinks,
        // Every sink that a rule names, as an allowed one.
        None => sinks(None, &manifests).map_err(Failure::wrong)?,
    };
    let platform =
        namespaces.into_iter().filter(|name| settings.is_some_and(|settings| settings.is_platform(Some(name))));
    Ok(Facts {
        live,
        annotations,
        labels,
        refused,
        defaults: settings.map(|settings| settings.defaults.into()).unwrap_or_default(),
        platform: platform.collect(),
        sinks,
        gates: settings.map(|settings| settings.feature_gates.clone()),
        version: None,
        manifests,
    })
}

/// What the API server says against the manifests, from applies that it does not store.
async fn refused_by_kubernetes(
    cluster: &Cluster,
    manifests: &Manifests,
    show: &Show,
) -> Result<BTreeMap<(Kind, String, String), String>, Failure> {
    let params = PatchParams { dry_run: true, force: true, ..PatchParams::apply("kubectl-email") };
    let applies = manifests.manifests().map(|(kind, namespace, name, manifest)| {
        let api = kind.api(cluster, &Scope::In(namespace.to_owned()));
        let (key, params) = ((kind, namespace.to_owned(), name.to_owned()), &params);
        async move { (key, api.patch(name, params, &Patch::Apply(manifest)).await) }
    });
    let mut verdicts = stream::iter(applies).buffer_unordered(AT_ONCE);
    let mut refused = BTreeMap::new();
    let mut may_not = false;
    while let Some((key, result)) = verdicts.next().await {
        match result {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(" cannot ") => {
                may_not = true;
            }
            Err(kube::Error::Api(status)) => drop(refused.insert(key, status.message.clone())),
            Err(error) => {
                let call = super::failure::ApiCall { verb: "patch", resource: key.0.plural(), namespace: Some(&key.1) };
                return Err(call.failed(&error));
            }
        }
    }
    if may_not {
        show.note(
            "you may not apply these manifests, so that the API server's schema and policies are not part of the plan",
        );
    }
    Ok(refused)
}

impl Facts {
    /// How many entries the manifests have in each domain, so that Mailcow is read in the cheapest way.
    fn counts(&self) -> ObjectCounts {
        let mut counts = ObjectCounts { domains: self.manifests.domains.len(), ..ObjectCounts::default() };
        let name = |spec: &EmailDomainSpec| desired::domain_name(spec).ok();
        for object in &self.manifests.mailboxes {
            let domain = self.manifests.domain(&object.spec.domain_ref, &object.namespace);
            if let Some(name) = domain.and_then(|domain| name(&domain.spec)) {
                *counts.mailboxes.entry(name).or_default() += 1;
            }
        }
        for object in &self.manifests.aliases {
            let domain = self.manifests.domain(&object.spec.domain_ref, &object.namespace);
            if let Some(name) = domain.and_then(|domain| name(&domain.spec)) {
                *counts.aliases.entry(name).or_default() += 1;
            }
        }
        counts
    }

    /// The mark that the operator would write for an object. `there` is the mark on Mailcow: without a known cluster, a
    /// mark of an object of this name counts as ours.
    fn mark(&self, kind: Kind, namespace: &str, name: &str, there: Option<&Mark>) -> Mark {
        let uid = self.live.object(kind, namespace, name).map_or("0", |live| live.uid.as_str());
        match (&self.manifests.cluster, there) {
            (None, Some(mark)) if mark.object().is_some_and(|(_, ns, n)| ns == namespace && n == name) => mark.clone(),
            (cluster, _) => Mark::new(cluster.as_deref().unwrap_or("unknown"), namespace, name, uid),
        }
    }

    /// Why a namespace may not use a domain, if it is known that it may not.
    fn not_admitted(&self, domain: &Object<EmailDomainSpec>, namespace: &str) -> Option<String> {
        let allowed = domain.spec.allowed_namespaces.as_ref();
        let labels = self.labels.get(namespace);
        let is_unknown = labels.is_none() && allowed.is_some_and(|allowed| allowed.from == NamespacesFrom::Selector);
        let may = domain.namespace == namespace || is_unknown || tenancy::admits(allowed, labels);
        (!may).then(|| {
            format!("spec.domainRef: the EmailDomain {} does not allow this namespace (allowedNamespaces)", domain.name)
        })
    }

    fn adoption(&self, namespace: &str, spec: Option<AdoptionPolicy>) -> AdoptionPolicy {
        let of_kind = crate::crd::DeletionPolicy::Retain;
        let given = Given { deletion: None, adoption: spec, drift: None, of_kind };
        tenancy::policies(given, self.annotations.get(namespace), self.defaults).adoption.value
    }

    /// Tags that an earlier spec placed.
    fn placed_tags(&self, kind: Kind, namespace: &str, name: &str) -> Vec<String> {
        let tags = self.live.object(kind, namespace, name).and_then(|live| live.status.get("tags"));
        tags.and_then(|tags| serde_json::from_value(tags.clone()).ok()).unwrap_or_default()
    }

    async fn domain(&self, object: &Object<EmailDomainSpec>, server: &Inventory) -> Result<Planned, Failure> {
        let mut planned = Planned::of(Kind::Domain, object, object.spec.domain.clone());
        if let Some(why) = self.refusal(Kind::Domain, object) {
            return Ok(planned.refused(why));
        }
        let name = match desired::domain_name(&object.spec) {
            Ok(name) => name,
            Err(invalid) => return Ok(planned.refused(invalid.to_string())),
        };
        planned.address = name.to_string();
        let have = server.domain(&name, Age::Recent).await.map_err(|error| failed(&error))?;
        let there = have.as_ref().and_then(crate::mail::DomainHave::mark);
        let mark = self.mark(Kind::Domain, &object.namespace, &object.name, there.as_ref());
        let mut want = match desired::domain(&object.spec, mark) {
            Ok(want) => want,
            Err(invalid) => return Ok(planned.refused(invalid.to_string())),
        };
        want.tags = Tags {
            wanted: object.spec.tags.clone(),
            placed: self.placed_tags(Kind::Domain, &object.namespace, &object.name),
        };
        let is_gated = object.spec.dns.as_ref().is_some_and(|dns| dns.gate == DnsGate::Activate)
            && self
                .live
                .object(Kind::Domain, &object.namespace, &object.name)
                .is_none_or(|live| live.status.get("dnsVerifiedAt").is_none());
        // An active domain is never deactivated because of DNS.
        want.active &= !is_gated || have.as_ref().is_some_and(|have| have.active);
        let policy = self.adoption(&object.namespace, object.spec.adoption_policy);
        let changes = match plan::domain(&want, have.as_ref(), policy) {
            Ok(changes) => changes,
            Err(refusal) => return Ok(planned.refused(refusal.to_string())),
        };
        if let Err(outcome) = plan::dkim_agrees(&want, have.as_ref()) {
            let why = outcome.why().map_or_else(String::new, |why| why.message.clone());
            return Ok(planned.refused(why));
        }
        let planned = match &have {
            None => planned.created(&object.manifest, None),
            Some(have) => planned.changed(fields::of_domain(&changes, have)),
        };
        Ok(planned.noting(self.disabled(&object.spec)))
    }

    async fn mailbox(&self, object: &Object<EmailMailboxSpec>, server: &Inventory) -> Result<Planned, Failure> {
        let mut planned = Planned::of(Kind::Mailbox, object, format!("{}@…", object.spec.local_part));
        if let Some(why) = self.refusal(Kind::Mailbox, object) {
            return Ok(planned.refused(why));
        }
        let Some(domain) = self.manifests.domain(&object.spec.domain_ref, &object.namespace) else {
            return Ok(planned.refused(self.no_domain(&object.spec.domain_ref, &object.namespace)));
        };
        if let Some(why) = self.not_admitted(domain, &object.namespace) {
            return Ok(planned.refused(why));
        }
        let address = match desired::mailbox_address(&object.spec, &domain.spec) {
            Ok(address) => address,
            Err(invalid) => return Ok(planned.refused(invalid.to_string())),
        };
        planned.address = address.to_string();
        let have = match server.mailbox(&address, Age::Recent).await {
            Ok(have) => have,
            Err(error @ Error::Refused { .. }) => return Ok(planned.refused(error.to_string())),
            Err(error) => return Err(failed(&error)),
        };
        let there = have.as_ref().and_then(crate::mail::MailboxHave::mark);
        let mark = self.mark(Kind::Mailbox, &object.namespace, &object.name, there.as_ref());
        let mut want = match desired::mailbox(&object.spec, &domain.spec, mark) {
            Ok(want) => want,
            Err(invalid) => return Ok(planned.refused(invalid.to_string())),
        };
        want.tags = Tags {
            wanted: object.spec.tags.clone(),
            placed: self.placed_tags(Kind::Mailbox, &object.namespace, &object.name),
        };
        let left_out = self.leave_out_senders(&object.namespace, &mut want.sender_acl, &address);
        if let Some(wanted) = &want.sender_acl {
            let (kept, missing) = server.kept_senders(wanted, &address).await.map_err(|error| failed(&error))?;
            // Those that the manifests create are there when the operator writes the others.
            let made = missing.into_iter().filter(|entry| self.manifests.has_entry(entry));
            want.sender_acl = Some(kept.into_iter().chain(made).collect());
        }
        let live = self.live.object(Kind::Mailbox, &object.namespace, &object.name);
        let is_password_known = live.is_some_and(|live| live.status.get("passwordVersion").is_some());
        let sets_password = object.spec.password_secret_ref.is_some() && !is_password_known;
        let policy = self.adoption(&object.namespace, object.spec.adoption_policy);
        let changes = match plan::mailbox(&want, have.as_ref(), policy, sets_password) {
            Ok(changes) => changes,
            Err(refusal) => return Ok(planned.refused(refusal.to_string())),
        };
        let planned = match &have {
            None => {
                let secret = object.spec.password_secret_ref.as_ref().map_or_else(
                    || "a new password is generated into a Secret".to_owned(),
                    |secret| format!("the password comes from the Secret {}", secret.name),
                );
                planned.created(&object.manifest, Some(secret))
            }
            Some(have) => planned.changed(fields::of_mailbox(&changes, have)),
        };
        Ok(planned.noting(left_out))
    }

    /// Takes out sender addresses that the operator would not grant, and says so.
    fn leave_out_senders(&self, namespace: &str, acl: &mut Option<BTreeSet<String>>, own: &Address) -> Option<String> {
        let acl = acl.as_mut().filter(|acl| !acl.is_empty())?;
        let mut holdings = Holdings { is_platform: self.platform.contains(namespace), ..Holdings::default() };
        for domain in self.manifests.domains.iter().filter(|domain| domain.namespace == namespace) {
            if let Ok(name) = desired::domain_name(&domain.spec) {
                holdings.add_domain(name, Held::Surely);
            }
        }
        for mailbox in self.manifests.mailboxes.iter().filter(|mailbox| mailbox.namespace == namespace) {
            let domain = self.manifests.domain(&mailbox.spec.domain_ref, namespace);
            if let Some(address) = domain.and_then(|domain| desired::mailbox_address(&mailbox.spec, &domain.spec).ok())
            {
                holdings.add_address(address, Held::Surely);
            }
        }
        for alias in self.manifests.aliases.iter().filter(|alias| alias.namespace == namespace) {
            let domain = self.manifests.domain(&alias.spec.domain_ref, namespace);
            if let Some(Catch::One(address)) =
                domain.and_then(|domain| desired::alias_catch(&alias.spec, &domain.spec).ok())
            {
                holdings.add_address(address, Held::Surely);
            }
        }
        let refused: Vec<String> =
            acl.iter().filter(|entry| holdings.may_send(entry, own, false) == MaySend::No).cloned().collect();
        acl.retain(|entry| !refused.contains(entry));
        (!refused.is_empty())
            .then(|| format!("senderAcl: {} is not of this namespace and is left out", refused.join(", ")))
    }

    async fn alias(&self, object: &Object<EmailAliasSpec>, server: &Inventory) -> Result<Planned, Failure> {
        let local = object.spec.local_part.clone().unwrap_or_default();
        let mut planned = Planned::of(Kind::Alias, object, format!("{local}@…"));
        if let Some(why) = self.refusal(Kind::Alias, object) {
            return Ok(planned.refused(why));
        }
        let Some(domain) = self.manifests.domain(&object.spec.domain_ref, &object.namespace) else {
            return Ok(planned.refused(self.no_domain(&object.spec.domain_ref, &object.namespace)));
        };
        if let Some(why) = self.not_admitted(domain, &object.namespace) {
            return Ok(planned.refused(why));
        }
        let catch = match desired::alias_catch(&object.spec, &domain.spec) {
            Ok(catch) => catch,
            Err(invalid) => return Ok(planned.refused(invalid.to_string())),
        };
        planned.address = catch.to_string();
        let mut targets = Vec::new();
        for to in object.spec.goto_mailbox_refs.iter().flatten() {
            let Some(address) = self.manifests.mailbox_address(&object.namespace, to) else {
                let why = self.no_address(&object.namespace, to);
                return Ok(planned.refused(format!("spec.gotoMailboxRefs: {why}")));
            };
            targets.push(address);
        }
        let have = server.alias(&catch, Age::Recent).await.map_err(|error| failed(&error))?;
        let there = have.as_ref().and_then(crate::mail::AliasHave::mark);
        let mark = self.mark(Kind::Alias, &object.namespace, &object.name, there.as_ref());
        let mut want = match desired::alias(&object.spec, catch, &targets, mark) {
            Ok(want) => want,
            Err(invalid) => return Ok(planned.refused(invalid.to_string())),
        };
        let is_supported = self.version.is_none_or(|version| version.has(Feature::SenderAllowed));
        let left_out = want
            .sender_allowed
            .filter(|_| !is_supported)
            .map(|_| "senderAllowed: this version of Mailcow does not have it".to_owned());
        want.sender_allowed = want.sender_allowed.filter(|_| is_supported);
        let policy = self.adoption(&object.namespace, object.spec.adoption_policy);
        let changes = match plan::alias(&want, have.as_ref(), policy) {
            Ok(changes) => changes,
            Err(refusal) => return Ok(planned.refused(refusal.to_string())),
        };
        let planned = match &have {
            None => planned.created(&object.manifest, None),
            Some(have) => planned.changed(fields::of_alias(&changes, have)),
        };
        Ok(planned.noting(left_out))
    }

    /// Rules: each that can't be in force, and the scripts that would change.
    async fn rules(&self, server: &Inventory) -> Result<Vec<Planned>, Failure> {
        let given: Vec<&Object<RuleSpec>> = self.manifests.rules.iter().filter(|rule| !rule.is_live).collect();
        let mut planned = Vec::new();
        if given.is_empty() {
            return Ok(planned);
        }
        let rule_set = RuleSet::of(&self.manifests, None, &self.sinks, self.gates.as_ref());
        for rule in &given {
            let one = Planned::of(Kind::Rule, rule, String::new());
            let verdict = rule_set.verdicts.iter().find(|verdict| verdict.id == rule.id());
            let wrong = verdict.map(|verdict| verdict.wrong.join("; ")).filter(|wrong| !wrong.is_empty());
            match self.refusal(Kind::Rule, rule).or(wrong).or_else(|| self.no_mailbox(rule)) {
                Some(why) => planned.push(one.refused(why)),
                None => planned.push(Planned {
                    address: verdict.map_or_else(String::new, |verdict| {
                        verdict.mailboxes.iter().cloned().collect::<Vec<_>>().join(", ")
                    }),
                    ..one
                }),
            }
        }
        for group in rule_set.groups.values().filter(|group| group.owner.is_known) {
            let is_given = |rule: &crate::mail::rule::Rule| given.iter().any(|given| given.id() == rule.id);
            if !group.rules.iter().any(is_given) {
                continue;
            }
            planned.push(self.script(group, server).await?);
        }
        Ok(planned)
    }

    /// The script of a mailbox.
    async fn script(&self, group: &super::rule_set::Group, server: &Inventory) -> Result<Planned, Failure> {
        let (owner, address) = (&group.owner, &group.owner.address);
        let (namespace, name, _) = &owner.object;
        let compiled = sieve::compile(&owner.mark(), address, &group.rules);
        let mut planned = Planned {
            action: Action::None,
            kind: "script",
            short: "script of embx",
            namespace: namespace.clone(),
            name: name.clone(),
            address: address.to_string(),
            fields: Vec::new(),
            message: None,
        };
        if let Some((id, why)) = compiled.refused.first() {
            return Ok(planned.refused(format!("{id}: {why}")));
        }
        let have = match server.mailbox(address, Age::Recent).await.map_err(|error| failed(&error))? {
            Some(_) => server.client().prefilters(address).await.map_err(|error| failed(&error))?,
            None => Vec::new(),
        };
        let Some(script) = &compiled.script else { return Ok(planned) };
        let forces = |rule: &Object<RuleSpec>| {
            let spec = rule.spec.as_ref().ok();
            let is_placed = compiled.placed.iter().any(|placed| placed.id == rule.id());
            is_placed
                && self.adoption(&rule.namespace, spec.and_then(|spec| spec.adoption_policy)) == AdoptionPolicy::Force
        };
        let may_displace = self.manifests.rules.iter().any(forces);
        let mark = owner.mark();
        let changes = match plan::filter(address, &script.text, &script.description, &have, &mark, may_displace) {
            Ok(changes) => changes,
            Err(outcome) => {
                let why = outcome.why().map_or_else(String::new, |why| why.message.clone());
                return Ok(planned.refused(why));
            }
        };
        if changes.is_empty() {
            return Ok(planned);
        }
        let ours: Vec<&str> = have
            .iter()
            .filter(|filter| filter.mark().is_some_and(|there| there.same_owner(&mark)))
            .map(|filter| filter.script.as_str())
            .collect();
        let ids = |is_in: &dyn Fn(&str) -> bool| {
            let names: Vec<&str> = group.rules.iter().map(|rule| rule.id.as_str()).filter(|id| is_in(id)).collect();
            if names.is_empty() { "no rule".to_owned() } else { names.join(", ") }
        };
        let from = ids(&|id| ours.iter().any(|script| sieve::holds(script, id)));
        let to = ids(&|id| compiled.placed.iter().any(|placed| placed.id == id));
        let is_new = changes.iter().any(|change| matches!(change, Change::AddFilter { .. }));
        planned.action = if is_new { Action::Create } else { Action::Update };
        planned.fields.push(FieldChange { field: "rules".to_owned(), from, to, destructive: may_displace });
        Ok(planned)
    }

    /// What speaks against an object before its spec is looked at.
    fn refusal<T>(&self, kind: Kind, object: &Object<T>) -> Option<String> {
        let (namespace, name) = (&object.namespace, &object.name);
        if let Some(why) = self.refused.get(&(kind, namespace.clone(), name.clone())) {
            return Some(format!("Kubernetes refuses it: {why}"));
        }
        if self.live.object(kind, namespace, name).is_some_and(|live| live.is_deleting) {
            return Some(
                "the object of this name in the cluster is being deleted; apply it when that is gone".to_owned(),
            );
        }
        let is_off = self.gates.as_ref().is_some_and(|gates| !gates.has(Gate::EmailHosting));
        is_off.then(|| {
            "the feature gate EmailHosting is off in this installation, so that the operator changes nothing; set featureGates.EmailHosting: true in the chart".to_owned()
        })
    }

    fn no_domain(&self, to: &DomainRef, own: &str) -> String {
        format!("spec.domainRef: {}", self.live.no_domain(to.namespace_from(own), &to.name))
    }

    /// Why the address of a mailbox is unknown.
    fn no_address(&self, namespace: &str, to: &Ref) -> String {
        let Some(mailbox) = self.manifests.mailboxes.iter().find(|mailbox| mailbox.is(namespace, &to.name)) else {
            let is_deleting =
                self.live.object(Kind::Mailbox, namespace, &to.name).is_some_and(|mailbox| mailbox.is_deleting);
            return if is_deleting {
                format!("the EmailMailbox {} is being deleted", to.name)
            } else {
                format!("there is no EmailMailbox {} in this namespace", to.name)
            };
        };
        let domain = &mailbox.spec.domain_ref;
        let why = match self.manifests.domain(domain, namespace) {
            None => self.live.no_domain(domain.namespace_from(namespace), &domain.name),
            Some(domain) => match desired::mailbox_address(&mailbox.spec, &domain.spec) {
                Ok(address) => address.to_string(),
                Err(invalid) => invalid.to_string(),
            },
        };
        format!("the address of the EmailMailbox {} is unknown: {why}", to.name)
    }

    /// Why the mailbox of a rule is unknown, if it is.
    fn no_mailbox(&self, rule: &Object<RuleSpec>) -> Option<String> {
        let to = rule.spec.as_ref().ok()?.mailbox_ref.as_ref()?;
        let is_known = self.manifests.mailbox_address(&rule.namespace, to).is_some();
        (!is_known).then(|| format!("spec.mailboxRef: {}", self.no_address(&rule.namespace, to)))
    }

    /// Parts of a domain that need a feature which is off.
    fn disabled(&self, spec: &EmailDomainSpec) -> Option<String> {
        let gates = self.gates.as_ref()?;
        let publishes = spec.dns.as_ref().is_some_and(|dns| dns.publish != DnsPublish::None);
        let parts = [
            (Gate::DnsPublishing, "DNSPublishing", publishes, "spec.dns.publish"),
            (Gate::AutoProvisioning, "AutoProvisioning", spec.auto_provision.is_some(), "spec.autoProvision"),
        ];
        let off = parts.iter().filter(|(gate, _, is_used, _)| *is_used && !gates.has(*gate));
        let notes: Vec<String> = off
            .map(|(_, gate, _, field)| format!("{field}: nothing happens, because the feature gate {gate} is off"))
            .collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Planned {
    fn of<T>(kind: Kind, object: &Object<T>, address: String) -> Self {
        let is_paused = object.annotations.get(PAUSED).is_some_and(|value| value == "true");
        Self {
            action: if is_paused { Action::Paused } else { Action::None },
            kind: kind.name(),
            short: kind.short(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            address,
            fields: Vec::new(),
            message: None,
        }
    }

    fn refused(self, why: String) -> Self {
        Self { action: Action::Refuse, message: Some(why), ..self }
    }

    fn created(self, manifest: &Value, message: Option<String>) -> Self {
        let action = if self.action == Action::Paused { Action::Paused } else { Action::Create };
        Self { action, fields: fields::of_new(&manifest["spec"]), message, ..self }
    }

    fn changed(self, mut fields: Vec<FieldChange>) -> Self {
        let is_adopted = fields.iter().any(|field| field.field == MARK);
        fields.retain(|field| field.field != MARK);
        let action = match (self.action, fields.is_empty()) {
            (Action::Paused, _) => Action::Paused,
            (_, false) => Action::Update,
            (_, true) if is_adopted => Action::Adopt,
            (_, true) => Action::None,
        };
        Self { action, fields, ..self }
    }

    fn noting(self, note: Option<String>) -> Self {
        let message = [self.message.clone(), note].into_iter().flatten().collect::<Vec<_>>();
        Self { message: (!message.is_empty()).then(|| message.join("; ")), ..self }
    }
}

/// Prints the plan.
fn report(planned: &[Planned], output: Output, show: &Show) -> Result<(), Failure> {
    // A script that stays as it is is not worth a count: its rules are counted.
    let is_counted = |one: &&Planned| one.kind != "script" || one.action != Action::None;
    let count = |action| planned.iter().filter(is_counted).filter(|one| one.action == action).count();
    let value = json!({
        "changes": planned.iter().filter(|one| one.action != Action::None).collect::<Vec<_>>(),
        "summary": {
            "refuse": count(Action::Refuse), "create": count(Action::Create), "update": count(Action::Update),
            "adopt": count(Action::Adopt), "paused": count(Action::Paused), "unchanged": count(Action::None),
        },
    });
    let text = || {
        let mut text = String::new();
        let shown = |one: &&Planned| {
            matches!(one.action, Action::Refuse | Action::Create | Action::Update)
                || one.action == Action::Paused && !one.fields.is_empty()
        };
        let mut rows = vec![head(&["", "OBJECT", "ADDRESS", "FIELD", "FROM", "TO"])];
        for one in planned.iter().filter(shown) {
            rows.extend(lines(one));
        }
        if rows.len() > 1 {
            text = show.table(&rows);
            text.push('\n');
        }
        let destructive = planned.iter().flat_map(|one| &one.fields).filter(|field| field.destructive).count();
        let parts = [
            (count(Action::Refuse), "refused"),
            (count(Action::Create), "to create"),
            (count(Action::Update), "to change"),
            (count(Action::Adopt), "to adopt (only the ownership mark)"),
            (count(Action::Paused), "paused"),
            (count(Action::None), "unchanged"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        text.push_str("plan: ");
        text.push_str(&parts.join(", "));
        text.push('\n');
        if destructive > 0 {
            let words = "of these changes take mail or access away: they are marked with !";
            text.extend([destructive.to_string().as_str(), " ", words, "\n"]);
        }
        text
    };
    Ok(Show::answer(output, &value, text)?)
}

/// The lines of one object.
fn lines(one: &Planned) -> Vec<Vec<super::show::Cell>> {
    let (sign, tone) = match one.action {
        Action::Refuse => ("x", Tone::Bad),
        Action::Create => ("+", Tone::Good),
        Action::Update => ("~", Tone::Doubtful),
        Action::Adopt | Action::Paused | Action::None => (" ", Tone::Plain),
    };
    let mut rows = Vec::new();
    let mut first =
        vec![(sign.to_owned(), tone), plain(format!("{}/{}", one.short, one.name)), plain(one.address.clone())];
    let blank = |mark: &str, tone| vec![(mark.to_owned(), tone), plain(""), plain("")];
    let paused = (one.action == Action::Paused).then(|| "paused: nothing is written until it is resumed".to_owned());
    for message in one.message.iter().cloned().chain(paused) {
        let mut row = std::mem::replace(&mut first, blank("", Tone::Plain));
        row.push((message, if one.action == Action::Refuse { Tone::Bad } else { Tone::Plain }));
        rows.push(row);
    }
    for field in &one.fields {
        let mut row = std::mem::replace(&mut first, blank("", Tone::Plain));
        if field.destructive {
            row[0] = (format!("{}!", row[0].0), Tone::Bad);
        }
        let tone = if field.destructive { Tone::Bad } else { Tone::Plain };
        row.extend([(field.field.clone(), tone), (field.from.clone(), tone), (field.to.clone(), tone)]);
        rows.push(row);
    }
    rows
}
