//! Which driver is woken by what.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::watch;

use super::connection::{self, Server};
use super::context::Context;
use super::patch::Object;
use super::poll::{Heard, census, woken};
use super::stores::{Changes, scoped};
use super::sync::{Failed, after_failure};
use super::wake::{self, belongs_to, domain_of, needs, when_changed};
use super::{alias, domain, mailbox, pass, rule, ruleset, script, secret_watch};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::inventory::Moved;
use crate::outcome::Outcome;

/// Passes of one kind at a time.
const CONCURRENCY: u16 = 8;
/// How long a domain waits for more to be attached before it counts again.
const DOMAIN_DEBOUNCE: Duration = Duration::from_millis(300);

/// Subscriptions to the four kinds, one for each driver that is woken by it.
pub(super) struct Handles {
    pub(super) domains: Vec<Changes<EmailDomain>>,
    pub(super) mailboxes: Vec<Changes<EmailMailbox>>,
    pub(super) aliases: Vec<Changes<EmailAlias>>,
    pub(super) rules: Vec<Changes<EmailForwardingRule>>,
    /// Rules whose scripts have something new to tell.
    pub(super) scripts: UnboundedReceiver<ObjectRef<EmailForwardingRule>>,
    /// Changes on Mailcow itself.
    pub(super) heard: Vec<Heard>,
}

/// What a driver is, beside its passes.
struct Driver<K: Object> {
    /// For metrics.
    kind: &'static str,
    /// What of its own objects it acts on.
    matters: fn(&K) -> u64,
    wakes: Vec<Wakes<K>>,
    debounce: Duration,
}

impl<K: Object> Driver<K> {
    fn new(wakes: Vec<Wakes<K>>) -> Self {
        Self { kind: K::KIND, matters: wake::own, wakes, debounce: Duration::ZERO }
    }
}

/// A stream of objects to look at.
type Wakes<K> = BoxStream<'static, ObjectRef<K>>;
/// One pass over an object.
type Reconcile<K, F> = fn(Arc<K>, Arc<Context>) -> F;
/// A driver that runs until the process is told to end.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs every driver until the process is told to end.
pub(super) async fn all(mut handles: Handles, ctx: &Arc<Context>, server: &watch::Receiver<Server>) {
    let mut drivers: Vec<Running> = Vec::new();
    if let Some(own) = handles.domains.pop() {
        let driver = Driver { debounce: DOMAIN_DEBOUNCE, ..Driver::new(domain_wakes(&mut handles, ctx)) };
        drivers.push(drive((own, &ctx.stores.domains), (ctx, server), driver, domain::reconcile));
    }
    if let Some(own) = handles.mailboxes.pop() {
        let driver = Driver::new(mailbox_wakes(&mut handles, ctx));
        drivers.push(drive((own, &ctx.stores.mailboxes), (ctx, server), driver, mailbox::reconcile));
    }
    if let Some(own) = handles.aliases.pop() {
        let driver = Driver::new(alias_wakes(&mut handles, ctx));
        drivers.push(drive((own, &ctx.stores.aliases), (ctx, server), driver, alias::reconcile));
    }
    if let Some(own) = handles.mailboxes.pop() {
        let wakes = script_wakes(&mut handles, ctx);
        let driver = Driver { kind: "Script", matters: wake::mailbox_for_script, ..Driver::new(wakes) };
        drivers.push(drive((own, &ctx.stores.mailboxes), (ctx, server), driver, script::reconcile));
    }
    if let Some(own) = handles.rules.pop() {
        let domains = handles.domains.pop();
        let wakes = vec![rules_of_domains(domains, ctx), handles.scripts.boxed()];
        drivers.push(drive((own, &ctx.stores.rules), (ctx, server), Driver::new(wakes), rule::reconcile));
    }
    futures::future::join_all(drivers).await;
}

/// Domains count what is attached to them.
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
    mailboxes.into_iter().chain(aliases).chain(moved).collect()
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
    domains.into_iter().chain(given).chain([generated]).chain(moved).collect()
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
    domains.into_iter().chain(mailboxes).chain(moved).collect()
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
    domains.into_iter().chain(rules).chain([sinks.flat_map(all).boxed()]).chain(moved).collect()
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

/// Runs a driver: woken by changes of its own objects, by `wakes`, and for all of them by a change of the connection.
fn drive<K, F>(
    (own, store): (Changes<K>, &Store<K>),
    (ctx, server): (&Arc<Context>, &watch::Receiver<Server>),
    driver: Driver<K>,
    reconcile: Reconcile<K, F>,
) -> Running
where
    K: Object + 'static,
    F: Future<Output = Result<(Action, Outcome), Failed>> + Send + 'static,
{
    let mut server = server.clone();
    server.mark_unchanged();
    let connection_changed =
        futures::stream::unfold(server, |mut server| async { server.changed().await.ok().map(|()| ((), server)) });
    let config = controller::Config::default().concurrency(CONCURRENCY).debounce(driver.debounce);
    let kind = driver.kind;
    let pass = move |object: Arc<K>, ctx: Arc<Context>| measured(object, ctx, (kind, reconcile));
    let (own, metrics) = (when_changed(own, driver.matters), ctx.metrics.clone());
    let running = Controller::for_shared_stream(pass::noted_own(&metrics, kind, own), store.clone())
        .with_config(config)
        .reconcile_on(pass::noted(&metrics, kind, select_all(driver.wakes)))
        .reconcile_all_on(pass::noted_all(&metrics, kind, (store.clone(), connection_changed)))
        .graceful_shutdown_on(super::run::ended(ctx.ending.clone()))
        .run(pass, |object, _, ctx| after_failure(object.as_ref(), &ctx), ctx.clone())
        .for_each(move |result| pass::ended(&metrics, kind, result.map(|_| ())));
    Box::pin(running)
}

/// Counts and times a pass, once everything that it leans on is there.
async fn measured<K, F>(
    object: Arc<K>,
    ctx: Arc<Context>,
    (kind, reconcile): (&'static str, Reconcile<K, F>),
) -> Result<Action, Failed>
where
    K: Object,
    F: Future<Output = Result<(Action, Outcome), Failed>>,
{
    // What is not listed yet must not be taken for missing.
    ctx.stores.ready().await;
    connection::known(&ctx.server).await;
    if let Ok(inventory) = &*ctx.server.borrow() {
        inventory.prepare(|| census(&ctx.stores));
    }
    pass::counted((&ctx.metrics, kind), object.as_ref(), reconcile(object.clone(), ctx.clone())).await
}
