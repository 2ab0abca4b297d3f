//! Which driver is woken by what.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::watch;

use super::connection::Server;
use super::context::Context;
use super::drive::{Driver, Running, Wakes, drive};
use super::patch::Object;
use super::poll::{Heard, woken};
use super::stores::{Changes, scoped};
use super::wake::{self, Names, domain_of, gathered, in_turn, when_changed_since_start};
use super::{alias, domain, mailbox, rule, ruleset, script, secret_watch};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, StatusCondition as Condition};
use crate::inventory::Moved;

/// How long a domain waits for more to be attached before it counts again.
const DOMAIN_DEBOUNCE: Duration = Duration::from_millis(300);
/// So many changes at once are looked at together.
const BATCH: usize = 1000;
/// Domains count what is attached to them five times a second at most, all together.
const RECOUNT: Duration = Duration::from_millis(200);

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
    [gathered(attached, RECOUNT)].into_iter().chain(moved).collect()
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
        all_matching(when_changed_since_start(handle, wake::domain_for_others), mailboxes, Names::hold_domain_of)
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
    let turns = in_turn(ctx.stores.mailboxes.clone(), ctx.settings.resync);
    domains.into_iter().chain(given).chain([generated, turns]).chain(moved).collect()
}

/// Aliases wait for their domain and for the mailboxes they go to.
fn alias_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailAlias>> {
    let aliases = ctx.stores.aliases.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching(when_changed_since_start(handle, wake::domain_for_others), aliases.clone(), Names::hold_domain_of)
    });
    let mailboxes = handles.mailboxes.pop().map(|handle| {
        all_matching(when_changed_since_start(handle, wake::mailbox_for_others), aliases, Names::hold_mailbox_of)
    });
    let moved = moved(handles, &ctx.stores.aliases, |moved, alias| {
        let address = alias.status.as_ref().and_then(|status| status.address.as_ref());
        address.is_some_and(|address| moved.aliases.contains(address))
    });
    let turns = in_turn(ctx.stores.aliases.clone(), ctx.settings.resync);
    domains.into_iter().chain(mailboxes).chain([turns]).chain(moved).collect()
}

/// Scripts are made from the rules, and wait for domains and for the installation's sinks.
fn script_wakes(handles: &mut Handles, ctx: &Arc<Context>) -> Vec<Wakes<EmailMailbox>> {
    let mailboxes = ctx.stores.mailboxes.clone();
    let domains = handles.domains.pop().map(|handle| {
        all_matching(
            when_changed_since_start(handle, wake::domain_for_others),
            mailboxes.clone(),
            Names::hold_domain_of,
        )
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
    let changed = stream::iter(domains).flatten();
    all_matching(when_changed_since_start(changed, wake::domain_for_others), rules, Names::hold_domain_of)
}

/// When objects of another kind change, those objects of ours that it matters to.
fn all_matching<K, O>(
    events: impl Stream<Item = Arc<O>> + Send + 'static,
    store: Store<K>,
    matters: fn(&Names, &K) -> bool,
) -> Wakes<K>
where
    K: Object + 'static,
    O: Object + 'static,
{
    let found = move |changed: Vec<Arc<O>>| {
        let names = changed.iter().filter_map(|other| Some((other.namespace()?, other.name_any()))).collect();
        let objects = store.state_filter(|object| matters(&names, object));
        stream::iter(objects.into_iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect::<Vec<_>>())
    };
    events.ready_chunks(BATCH).flat_map(found).boxed()
}
