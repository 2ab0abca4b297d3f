//! Which driver is woken by what.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use super::context::Context;
use super::drive::{Driver, Running, Wakes, drive};
use super::patch::Object;
use super::poll::{Heard, woken};
use super::stores::{Change, Changes, scoped};
use super::wake::{self, Names, Refers, domain_of, gathered, in_turn, when_changed_since_start};
use super::{alias, domain, mailbox, provision, rule, ruleset, script, secret_watch};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, StatusCondition as Condition};
use crate::gates::Gate;
use crate::inventory::Moved;

/// How long a domain waits for more to be attached before it counts again.
const DOMAIN_DEBOUNCE: Duration = Duration::from_millis(300);
/// So many changes at once are looked at together.
const BATCH: usize = 1000;
/// Domains count what is attached to them five times a second at most, all together.
const RECOUNT: Duration = Duration::from_millis(200);

/// Objects of which another driver has something new to tell.
pub(super) type Told<K> = UnboundedReceiver<ObjectRef<K>>;

/// Subscriptions to the four kinds, one for each driver that is woken by it.
pub(super) struct Handles {
    pub(super) domains: Vec<Changes<EmailDomain>>,
    pub(super) mailboxes: Vec<Changes<EmailMailbox>>,
    pub(super) aliases: Vec<Changes<EmailAlias>>,
    pub(super) rules: Vec<Changes<EmailForwardingRule>>,
    /// What is said of namespaces.
    pub(super) namespaces: Vec<Changes<PartialObjectMeta<Namespace>>>,
    /// Rules whose scripts have something new to tell.
    pub(super) scripts: Told<EmailForwardingRule>,
    /// Domains whose own mailboxes have something new to tell.
    pub(super) provisions: Option<Told<EmailDomain>>,
    /// Changes on Mailcow itself.
    pub(super) heard: Vec<Heard>,
}

/// Runs every driver until the process is told to end.
pub(super) async fn all(handles: Handles, ctx: &Arc<Context>) {
    if !ctx.has(Gate::EmailHosting) {
        // What nobody takes out would pile up.
        drop(handles);
        return super::run::ended(ctx.ending.clone()).await;
    }
    // A pass before that would say of everything that it has no server. Drivers listen to connections from then on.
    tokio::select! {
        () = ctx.servers.known() => {}
        () = super::run::ended(ctx.ending.clone()) => return,
    }
    futures::future::join_all(drivers(handles, ctx)).await;
}

fn drivers(mut handles: Handles, ctx: &Arc<Context>) -> Vec<Running> {
    let mut drivers: Vec<Running> = Vec::new();
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
        return drivers;
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
    drivers
}

/// Domains count what is attached to them, and wait for rivals to go.
fn domain_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailDomain>> {
    let conditions_of_mailbox = |m: &EmailMailbox| conditions_hash(m.status.as_ref().map(|s| s.conditions.as_slice()));
    let conditions_of_alias = |a: &EmailAlias| conditions_hash(a.status.as_ref().map(|s| s.conditions.as_slice()));
    let mailboxes = stream::iter(handles.mailboxes.pop()).flatten();
    let mailboxes =
        when_changed_since_start(mailboxes, conditions_of_mailbox).map(|mailbox| domain_of(mailbox.as_ref()));
    let aliases = stream::iter(handles.aliases.pop()).flatten();
    let aliases = when_changed_since_start(aliases, conditions_of_alias).map(|alias| domain_of(alias.as_ref()));
    let attached = stream::select(mailboxes, aliases).filter_map(std::future::ready);
    let moved = moved(handles, &ctx.stores.domains, |moved, domain| {
        domain
            .status
            .as_ref()
            .and_then(|status| status.domain.as_ref())
            .is_some_and(|name| moved.domains.contains(name))
    });
    let rivals = handles.domains.pop().map(|handle| {
        let name = |domain: &EmailDomain| Some(domain.spec.domain.clone());
        let is_rival = |names: &HashSet<String>, domain: &EmailDomain| names.contains(&domain.spec.domain);
        all_matching((handle, wake::own), ctx.stores.domains.clone(), (name, is_rival))
    });
    let of_namespaces = of_namespaces(handles, &ctx.stores.domains);
    let provisions = handles.provisions.take().map(StreamExt::boxed);
    let recount = [gathered(attached, RECOUNT)];
    recount.into_iter().chain(moved).chain(rivals).chain(of_namespaces).chain(provisions).collect()
}

/// The objects of a namespace whose labels or annotations changed.
fn of_namespaces<K: Object + 'static>(handles: &mut Handles, store: &Store<K>) -> Option<Wakes<K>> {
    let handle = handles.namespaces.pop()?;
    let name = |namespace: &PartialObjectMeta<Namespace>| namespace.metadata.name.clone();
    let is_in = |names: &HashSet<String>, object: &K| object.namespace().is_some_and(|of| names.contains(&of));
    Some(all_matching((handle, wake::namespace), store.clone(), (name, is_in)))
}

/// An object's namespace and name.
fn name_of(object: &impl ResourceExt) -> Option<(String, String)> {
    Some((object.namespace()?, object.name_any()))
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
        let provides = |_: &Vec<()>, domain: &EmailDomain| domain.spec.auto_provision.is_some();
        all_matching((handle, wake::namespace_for_provision), domains.clone(), (|_| Some(()), provides))
    });
    let mailboxes = handles
        .mailboxes
        .pop()
        .map(|handle| all_matching((handle, wake::mailbox_for_provision), domains.clone(), (home_of, makes_in)));
    let aliases =
        handles.aliases.pop().map(|handle| all_matching((handle, wake::own), domains.clone(), (home_of, makes_in)));
    namespaces.into_iter().chain(mailboxes).chain(aliases).collect()
}

/// Namespace and name of the domain that an object belongs to.
fn home_of(object: &impl Refers) -> Option<(String, String)> {
    let domain = object.domain()?;
    let own = object.meta().namespace.as_deref()?;
    Some((domain.namespace_from(own).to_owned(), domain.name.clone()))
}

/// Whether it is a domain that makes mailboxes, and one of those that were named.
fn makes_in(names: &Names, domain: &EmailDomain) -> bool {
    let name = domain.metadata.name.as_deref().unwrap_or_default();
    domain.spec.auto_provision.is_some() && names.hold(domain.metadata.namespace.as_deref(), name)
}

/// Mailboxes wait for their domain and take its defaults, and for the Secrets with their passwords.
fn mailbox_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailMailbox>> {
    let mailboxes = ctx.stores.mailboxes.clone();
    let domains = handles
        .domains
        .pop()
        .map(|handle| all_matching((handle, wake::domain_for_others), mailboxes, (name_of, Names::hold_domain_of)));
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
    let turns = in_turn(ctx.stores.mailboxes.clone(), ctx.settings.resync);
    domains.into_iter().chain(given).chain([generated, turns]).chain(moved).chain(of_namespaces).collect()
}

/// Aliases wait for their domain and for the mailboxes they go to.
fn alias_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailAlias>> {
    let aliases = ctx.stores.aliases.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching((handle, wake::domain_for_others), aliases.clone(), (name_of, Names::hold_domain_of))
    });
    let mailboxes = handles
        .mailboxes
        .pop()
        .map(|handle| all_matching((handle, wake::mailbox_for_others), aliases, (name_of, Names::hold_mailbox_of)));
    let moved = moved(handles, &ctx.stores.aliases, |moved, alias| {
        let address = alias.status.as_ref().and_then(|status| status.address.as_ref());
        address.is_some_and(|address| moved.aliases.contains(address))
    });
    let of_namespaces = of_namespaces(handles, &ctx.stores.aliases);
    let turns = in_turn(ctx.stores.aliases.clone(), ctx.settings.resync);
    domains.into_iter().chain(mailboxes).chain([turns]).chain(moved).chain(of_namespaces).collect()
}

/// Scripts are made from the rules, and wait for domains and for the installation's sinks.
fn script_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailMailbox>> {
    let mailboxes = ctx.stores.mailboxes.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching((handle, wake::domain_for_others), mailboxes.clone(), (name_of, Names::hold_domain_of))
    });
    let (scripts, of_rule) = (ctx.clone(), mailboxes.clone());
    let rules = handles.rules.pop().map(|handle| {
        let changed = when_changed_since_start(handle, wake::rule_for_scripts);
        changed.flat_map(move |rule| stream::iter(scripts_of(&rule, &scripts, &of_rule))).boxed()
    });
    let mut sinks = ctx.sinks.clone();
    sinks.mark_unchanged();
    let sinks = stream::unfold(sinks, |mut sinks| async { sinks.changed().await.ok().map(|()| ((), sinks)) });
    let all = move |()| {
        let objects: Vec<_> = mailboxes.state().iter().map(|m| ObjectRef::from_obj(m.as_ref())).collect();
        stream::iter(objects)
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
    let changed = stream::iter(domains).flatten();
    all_matching((changed, wake::domain_for_others), rules, (name_of, Names::hold_domain_of))
}

/// What an object is called by those that refer to it.
type NameOf<O, T> = fn(&O) -> Option<T>;
/// Whether an object refers to one of many.
type Matters<C, K> = fn(&C, &K) -> bool;

/// When `what` of objects of another kind changes, those objects of ours that it matters to: many changes at once are one look.
fn all_matching<K, O, T, C>(
    (events, what): (impl Stream<Item = Change<O>> + Send + 'static, fn(&O) -> u64),
    store: Store<K>,
    (name, matters): (NameOf<O, T>, Matters<C, K>),
) -> Wakes<K>
where
    K: Object + 'static,
    O: Resource<DynamicType = ()> + Send + Sync + 'static,
    T: 'static,
    C: FromIterator<T> + 'static,
{
    let found = move |changed: Vec<Arc<O>>| {
        let names = changed.iter().filter_map(|other| name(other)).collect();
        let objects = store.state_filter(|object| matters(&names, object));
        stream::iter(objects.into_iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect::<Vec<_>>())
    };
    when_changed_since_start(events, what).ready_chunks(BATCH).flat_map(found).boxed()
}
