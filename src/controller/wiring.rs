//! Which driver is woken by what.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};

use super::context::Context;
use super::drive::{Driver, Running, Wakes, drive};
use super::patch::Object;
use super::poll::{Heard, woken};
use super::stores::{Changes, scoped};
use super::wake::{self, Refers, belongs_to, domain_of, needs, when_changed};
use super::{alias, domain, mailbox, provision, rule, ruleset, script, secret_watch};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::gates::Gate;
use crate::inventory::Moved;

/// How long a domain waits for more to be attached before it counts again.
const DOMAIN_DEBOUNCE: Duration = Duration::from_millis(300);

/// Subscriptions to the four kinds, one for each driver that is woken by it.
pub(super) struct Handles {
    pub(super) domains: Vec<Changes<EmailDomain>>,
    pub(super) mailboxes: Vec<Changes<EmailMailbox>>,
    pub(super) aliases: Vec<Changes<EmailAlias>>,
    pub(super) rules: Vec<Changes<EmailForwardingRule>>,
    /// What is said of namespaces.
    pub(super) namespaces: Vec<Changes<PartialObjectMeta<Namespace>>>,
    /// Rules whose scripts have something new to tell.
    pub(super) scripts: UnboundedReceiver<ObjectRef<EmailForwardingRule>>,
    /// Domains whose own mailboxes have something new to tell.
    pub(super) provisions: Option<UnboundedReceiver<ObjectRef<EmailDomain>>>,
    /// Changes on Mailcow itself.
    pub(super) heard: Vec<Heard>,
}

/// Runs every driver until the process is told to end.
pub(super) async fn all(mut handles: Handles, ctx: &Arc<Context>) {
    let mut drivers: Vec<Running> = Vec::new();
    if !ctx.has(Gate::EmailHosting) {
        return super::run::ended(ctx.ending.clone()).await;
    }
    if let Some(own) = handles.domains.pop() {
        let driver = Driver { debounce: DOMAIN_DEBOUNCE, ..Driver::new(domain_wakes(&mut handles, ctx)) };
        drivers.push(drive((own, &ctx.stores.domains), ctx, driver, domain::reconcile));
    }
    if let Some(own) = handles.mailboxes.pop() {
        let driver = Driver::new(mailbox_wakes(&mut handles, ctx));
        drivers.push(drive((own, &ctx.stores.mailboxes), ctx, driver, mailbox::reconcile));
    }
    if let Some(own) = handles.aliases.pop() {
        let driver = Driver::new(alias_wakes(&mut handles, ctx));
        drivers.push(drive((own, &ctx.stores.aliases), ctx, driver, alias::reconcile));
    }
    if let Some(own) = ctx.has(Gate::AutoProvisioning).then(|| handles.domains.pop()).flatten() {
        let driver = Driver { kind: "Provisioning", ..Driver::new(provision_wakes(&mut handles, ctx)) };
        drivers.push(drive((own, &ctx.stores.domains), ctx, driver, provision::reconcile));
    }
    if !ctx.has(Gate::ForwardingRules) {
        return run(drivers).await;
    }
    if let Some(own) = handles.mailboxes.pop() {
        let wakes = script_wakes(&mut handles, ctx);
        let driver = Driver { kind: "Script", matters: wake::mailbox_for_script, ..Driver::new(wakes) };
        drivers.push(drive((own, &ctx.stores.mailboxes), ctx, driver, script::reconcile));
    }
    if let Some(own) = handles.rules.pop() {
        let domains = handles.domains.pop();
        let of_namespaces = of_namespaces(&mut handles, &ctx.stores.rules);
        let wakes =
            [rules_of_domains(domains, ctx), handles.scripts.boxed()].into_iter().chain(of_namespaces).collect();
        drivers.push(drive((own, &ctx.stores.rules), ctx, Driver::new(wakes), rule::reconcile));
    }
    run(drivers).await;
}

async fn run(drivers: Vec<Running>) {
    futures::future::join_all(drivers).await;
}

/// Domains count what is attached to them, and wait for rivals to go.
fn domain_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailDomain>> {
    let conditions_of_mailbox = |m: &EmailMailbox| conditions_hash(m.status.as_ref().map(|s| s.conditions.as_slice()));
    let conditions_of_alias = |a: &EmailAlias| conditions_hash(a.status.as_ref().map(|s| s.conditions.as_slice()));
    let mailboxes = handles.mailboxes.pop().map(|handle| {
        let changed = when_changed(handle, conditions_of_mailbox);
        changed.filter_map(|m| std::future::ready(domain_of(m.as_ref()))).boxed()
    });
    let aliases = handles.aliases.pop().map(|handle| {
        let changed = when_changed(handle, conditions_of_alias);
        changed.filter_map(|a| std::future::ready(domain_of(a.as_ref()))).boxed()
    });
    let moved = moved(handles, &ctx.stores.domains, |moved, domain| {
        domain
            .status
            .as_ref()
            .and_then(|status| status.domain.as_ref())
            .is_some_and(|name| moved.domains.contains(name))
    });
    let rivals = handles.domains.pop().map(|handle| {
        all_matching(when_changed(handle, wake::own), ctx.stores.domains.clone(), |domain, other| {
            domain.spec.domain == other.spec.domain && domain.metadata.uid != other.metadata.uid
        })
    });
    let of_namespaces = of_namespaces(handles, &ctx.stores.domains);
    let provisions = handles.provisions.take().map(StreamExt::boxed);
    mailboxes.into_iter().chain(aliases).chain(moved).chain(rivals).chain(of_namespaces).chain(provisions).collect()
}

/// The objects of a namespace whose labels or annotations changed.
fn of_namespaces<K: Object + 'static>(handles: &mut Handles, store: &Store<K>) -> Option<Wakes<K>> {
    let changed = when_changed(handles.namespaces.pop()?, wake::namespace);
    Some(all_matching(changed, store.clone(), |object, namespace| object.meta().namespace == namespace.metadata.name))
}

/// What was changed on Mailcow itself.
fn moved<K: Object + 'static>(
    handles: &mut Handles,
    store: &Store<K>,
    is_about: fn(&Moved, &K) -> bool,
) -> Option<Wakes<K>> {
    Some(woken(handles.heard.pop()?, store.clone(), is_about).boxed())
}

fn conditions_hash(conditions: Option<&[Condition]>) -> u64 {
    wake::ready_for_domain(conditions.unwrap_or_default())
}

/// Domains that make mailboxes by themselves look at namespaces, and at what bears names in the domain.
fn provision_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailDomain>> {
    let domains = &ctx.stores.domains;
    let namespaces = handles.namespaces.pop().map(|handle| {
        let changed = when_changed(handle, wake::namespace_for_provision);
        all_matching(changed, domains.clone(), |domain, _| domain.spec.auto_provision.is_some())
    });
    let mailboxes = handles.mailboxes.pop().map(|handle| {
        let changed = when_changed(handle, wake::mailbox_for_provision);
        all_matching(changed, domains.clone(), makes_beside)
    });
    let aliases = handles
        .aliases
        .pop()
        .map(|handle| all_matching(when_changed(handle, wake::own), domains.clone(), makes_beside));
    namespaces.into_iter().chain(mailboxes).chain(aliases).collect()
}

fn makes_beside(domain: &EmailDomain, object: &impl Refers) -> bool {
    domain.spec.auto_provision.is_some() && belongs_to(object, domain.namespace().as_deref(), &domain.name_any())
}

/// Mailboxes wait for their domain and take its defaults, and for the Secrets with their passwords.
fn mailbox_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailMailbox>> {
    let mailboxes = ctx.stores.mailboxes.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching(when_changed(handle, wake::domain_for_others), mailboxes, |mailbox, domain| {
            belongs_to(mailbox, domain.namespace().as_deref(), &domain.name_any())
        })
    });
    let given = handles
        .mailboxes
        .pop()
        .map(|handle| secret_watch::given(ctx.kube.clone(), handle, ctx.stores.mailboxes.clone()));
    let generated = secret_watch::generated(scoped(&ctx.kube, &ctx.settings), ctx.stores.mailboxes.clone());
    let moved = moved(handles, &ctx.stores.mailboxes, |moved, mailbox| {
        let address = mailbox.status.as_ref().and_then(|status| status.address.as_ref());
        address.is_some_and(|address| moved.mailboxes.contains(address))
    });
    let of_namespaces = of_namespaces(handles, &ctx.stores.mailboxes);
    domains.into_iter().chain(given).chain([generated]).chain(moved).chain(of_namespaces).collect()
}

/// Aliases wait for their domain and for the mailboxes they go to.
fn alias_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailAlias>> {
    let aliases = ctx.stores.aliases.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching(when_changed(handle, wake::domain_for_others), aliases.clone(), |alias, domain| {
            belongs_to(alias, domain.namespace().as_deref(), &domain.name_any())
        })
    });
    let mailboxes = handles.mailboxes.pop().map(|handle| {
        all_matching(when_changed(handle, wake::mailbox_for_others), aliases, |alias, mailbox| {
            needs(alias, mailbox.namespace().as_deref(), &mailbox.name_any())
        })
    });
    let moved = moved(handles, &ctx.stores.aliases, |moved, alias| {
        let address = alias.status.as_ref().and_then(|status| status.address.as_ref());
        address.is_some_and(|address| moved.aliases.contains(address))
    });
    let of_namespaces = of_namespaces(handles, &ctx.stores.aliases);
    domains.into_iter().chain(mailboxes).chain(moved).chain(of_namespaces).collect()
}

/// Scripts are made from the rules, and wait for domains and for the installation's sinks.
fn script_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailMailbox>> {
    let mailboxes = ctx.stores.mailboxes.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching(when_changed(handle, wake::domain_for_others), mailboxes.clone(), |mailbox, domain| {
            belongs_to(mailbox, domain.namespace().as_deref(), &domain.name_any())
        })
    });
    let (scripts, of_rule) = (ctx.clone(), mailboxes.clone());
    let rules = handles.rules.pop().map(|handle| {
        let changed = when_changed(handle, wake::rule_for_scripts);
        changed.flat_map(move |rule| futures::stream::iter(scripts_of(&rule, &scripts, &of_rule))).boxed()
    });
    let mut sinks = ctx.sinks.clone();
    sinks.mark_unchanged();
    let sinks = futures::stream::unfold(sinks, |mut sinks| async { sinks.changed().await.ok().map(|()| ((), sinks)) });
    let all = move |()| {
        let objects: Vec<_> = mailboxes.state().iter().map(|m| ObjectRef::from_obj(m.as_ref())).collect();
        futures::stream::iter(objects)
    };
    let doubts = ctx.clone();
    let moved = moved(handles, &ctx.stores.mailboxes, |moved, mailbox| {
        let address = mailbox.status.as_ref().and_then(|status| status.address.as_ref());
        address.is_some_and(|address| moved.mailboxes.contains(address))
    });
    let moved = moved.map(|moved| moved.inspect(move |mailbox| doubts.scripts.doubt(mailbox)).boxed());
    let of_namespaces = of_namespaces(handles, &ctx.stores.mailboxes);
    let sinks = sinks.flat_map(all).boxed();
    domains.into_iter().chain(rules).chain([sinks]).chain(moved).chain(of_namespaces).collect()
}

/// The mailboxes whose script a change of the rule matters to: its own, and those with rules that may close a ring.
fn scripts_of(
    rule: &EmailForwardingRule,
    ctx: &Context,
    mailboxes: &Store<EmailMailbox>,
) -> Vec<ObjectRef<EmailMailbox>> {
    let is_of = |m: &EmailMailbox| m.metadata.namespace == rule.metadata.namespace && ruleset::applies(rule, m);
    let own = mailboxes.state_filter(is_of);
    let linked = ctx.scripts.linked(rule.metadata.namespace.as_deref().unwrap_or_default());
    own.iter().map(|mailbox| ObjectRef::from_obj(mailbox.as_ref())).chain(linked).collect()
}

/// A domain's rules wait for the domain. What else they wait for, their scripts tell.
fn rules_of_domains(domains: Option<Changes<EmailDomain>>, ctx: &Arc<Context>) -> Wakes<EmailForwardingRule> {
    let rules = ctx.stores.rules.clone();
    let changed = futures::stream::iter(domains).flatten();
    all_matching(when_changed(changed, wake::domain_for_others), rules, |rule, domain| {
        belongs_to(rule, domain.namespace().as_deref(), &domain.name_any())
    })
}

/// For each event of another kind, those objects of ours that it matters to.
fn all_matching<K, O>(
    events: impl Stream<Item = Arc<O>> + Send + 'static,
    store: Store<K>,
    matters: fn(&K, &O) -> bool,
) -> Wakes<K>
where
    K: Object + 'static,
    O: Send + Sync + 'static,
{
    let found = move |other: Arc<O>| {
        let objects = store.state_filter(|object| matters(object, &other));
        futures::stream::iter(
            objects.into_iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect::<Vec<_>>(),
        )
    };
    events.flat_map(found).boxed()
}
