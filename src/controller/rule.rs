//! The driver of `EmailForwardingRule`: each pass brings the script of the rule's whole mailbox up to date, and then
//! says how this rule fares in it.

use std::collections::HashSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::context::{self, Context};
use super::patch;
use super::references;
use super::sync::{Failed, Stop, bring, gone, may_remove, outcome, read_back, server};
use super::wake::needs;
use crate::crd::{EmailForwardingRule, EmailForwardingRuleStatus, RemovalPolicy};
use crate::desired;
use crate::mail::rule::Rule;
use crate::mail::{Address, Filter, Mark};
use crate::outcome::{Outcome, Reason, Why};
use crate::plan::{self, Change};
use crate::sieve::{self, Compiled, Loop};
use crate::status::{self, RuleSeen};

/// One pass over a rule.
///
/// # Errors
/// When the Kubernetes API fails.
pub(super) async fn reconcile(
    object: Arc<EmailForwardingRule>,
    ctx: Arc<Context>,
) -> Result<(Action, Outcome), Failed> {
    let before = patch::before(&ctx, object.as_ref()).await?;
    let mut seen = RuleSeen::default();
    if object.metadata.deletion_timestamp.is_some() {
        let steps = remove(&object, &ctx).await;
        let Some(left) = gone(&ctx, object.as_ref(), steps).await? else {
            return Ok((Action::await_change(), Outcome::InSync));
        };
        seen.outcome = left;
    } else {
        seen.outcome = outcome(steps((&object, &before), &ctx, &mut seen).await)?;
    }
    let after = status::rule(&before, &seen, &context::pass(object.as_ref()));
    patch::say(&ctx, object.as_ref(), &before, &after).await?;
    Ok((Action::requeue(ctx.next(object.as_ref(), &seen.outcome)), seen.outcome))
}

async fn steps(
    (object, before): (&EmailForwardingRule, &EmailForwardingRuleStatus),
    ctx: &Context,
    seen: &mut RuleSeen,
) -> Result<(), Stop> {
    let (mailbox, address) = references::mailbox(ctx, object, reference(object))?;
    seen.mailbox = Some(address.clone());
    let loops = loops(object, ctx);
    seen.refused = refused(object, &loops, &address);
    let _turn = ctx.turns.take(&address.to_string()).await;
    let server = server(ctx)?.client().clone();
    let have = server.prefilters(&address).await?;
    let mark = ctx.mark(mailbox.as_ref());
    let compiled = sieve::compile(&mark, &in_force(object, ctx, (&loops, &address)));
    let changes = changes(&address, &compiled, &have, &mark)?;
    if changes.iter().any(|change| matches!(change, Change::AddFilter { .. })) {
        references::mailbox_is_there(&mailbox)?;
    }
    if bring(ctx, (object, &before.conditions), &changes, None).await? {
        let have = server.prefilters(&address).await?;
        read_back(&self::changes(&address, &compiled, &have, &mark)?)?;
    }
    place(object, &compiled, seen);
    seen.refused.clone().map_or(Ok(()), |why| Err(Outcome::Stalled(why).into()))
}

/// Why the rule itself can't be taken, if so.
fn refused(object: &EmailForwardingRule, loops: &[Loop], address: &Address) -> Option<Why> {
    let rule = match rule(object, address) {
        Err(invalid) => return Some(Why::new(invalid.reason(), invalid.to_string())),
        Ok(rule) => rule,
    };
    // The younger of the two is left out.
    let found = loops.iter().find(|found| found.other == rule.id)?;
    let message =
        format!("spec.actions: it forwards to a mailbox whose rule {} forwards back: mail would go round", found.one);
    Some(Why::new(Reason::Conflict, message))
}

fn rule(object: &EmailForwardingRule, address: &Address) -> Result<Rule, desired::Unusable> {
    let created = object.creation_timestamp().map(|time| time.0.as_second()).unwrap_or_default();
    desired::rule(&id(object), created, &object.spec, address, &crate::mail::Sinks::default())
}

fn id(object: &EmailForwardingRule) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Pairs of rules of the namespace that send to each other's mailboxes, the older one first.
fn loops(object: &EmailForwardingRule, ctx: &Context) -> Vec<Loop> {
    let namespace = object.namespace();
    let all = ctx.stores.rules.state_filter(|r| r.namespace() == namespace && r.metadata.deletion_timestamp.is_none());
    let addressed = all.iter().filter_map(|other| {
        let (_, address) = references::mailbox(ctx, other.as_ref(), reference(other)).ok()?;
        let rule = rule(other, &address).ok().filter(|rule| rule.enabled)?;
        Some((address, rule))
    });
    let mut rules: Vec<(Address, Rule)> = addressed.collect();
    let mailboxes: HashSet<Address> = rules.iter().map(|(address, _)| address.clone()).collect();
    rules.retain(|(_, rule)| rule.forwards().iter().any(|(to, _)| mailboxes.iter().any(|mailbox| to.is_in(mailbox))));
    rules.sort_by(|(_, a), (_, b)| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let by_mailbox: Vec<(Address, Vec<Rule>)> =
        rules.into_iter().map(|(address, rule)| (address, vec![rule])).collect();
    sieve::loops(&by_mailbox)
}

/// The mailbox's valid rules, but for those that are going and those that would make mail go round.
fn in_force(object: &EmailForwardingRule, ctx: &Context, (loops, address): (&[Loop], &Address)) -> Vec<Rule> {
    let namespace = object.namespace();
    let mates = ctx.stores.rules.state_filter(|mate| {
        needs(mate, namespace.as_deref(), mailbox_name(object)) && mate.metadata.deletion_timestamp.is_none()
    });
    let valid = mates.iter().filter(|mate| refused(mate, loops, address).is_none());
    valid.filter_map(|mate| rule(mate, address).ok()).collect()
}

fn changes(address: &Address, compiled: &Compiled, have: &[Filter], mark: &Mark) -> Result<Vec<Change>, Stop> {
    match &compiled.script {
        Some(script) => Ok(plan::filter(address, (&script.text, &script.description), have, mark)?),
        None => Ok(plan::filter_removal(address, have, mark)),
    }
}

/// Where the rule stands in the script.
fn place(object: &EmailForwardingRule, compiled: &Compiled, seen: &mut RuleSeen) {
    let id = id(object);
    let placed = compiled.placed.iter().find(|placed| placed.id == id);
    seen.position = placed.map(|placed| placed.position);
    seen.shadowed_by = placed.and_then(|placed| placed.shadowed_by.clone());
    seen.script_hash = compiled.script.as_ref().map(|script| script.hash.clone());
    if let Some((_, why)) = compiled.refused.iter().find(|(refused, _)| *refused == id) {
        seen.refused = Some(Why::new(Reason::DoesNotFit, why.clone()));
    }
}

/// Takes the rule out of the script; works without its mailbox object and on an invalid spec.
async fn remove(object: &EmailForwardingRule, ctx: &Context) -> Result<(), Stop> {
    if object.spec.deletion_policy == RemovalPolicy::Retain || !patch::is_held(object) {
        return Ok(());
    }
    let Some(address) = known_address(object, ctx) else { return Ok(()) };
    let _turn = ctx.turns.take(&address.to_string()).await;
    let server = server(ctx)?.client().clone();
    let have = server.prefilters(&address).await?;
    let namespace = object.namespace().unwrap_or_default();
    // The uid plays no part in who owns a mark, and the mailbox object may be gone.
    let uid = references::mailbox(ctx, object, reference(object)).ok().and_then(|(mailbox, _)| mailbox.uid());
    let mark = Mark::new(&ctx.cluster, &namespace, mailbox_name(object), &uid.unwrap_or_default());
    if plan::filter_removal(&address, &have, &mark).is_empty() {
        return Ok(());
    }
    let compiled = sieve::compile(&mark, &in_force(object, ctx, (&loops(object, ctx), &address)));
    let changes = changes(&address, &compiled, &have, &mark)?;
    may_remove(object, false, &changes)?;
    server.execute(&changes, None).await?;
    let have = server.prefilters(&address).await?;
    read_back(&self::changes(&address, &compiled, &have, &mark)?)
}

/// The mailbox's address, from the references or the status.
fn known_address(object: &EmailForwardingRule, ctx: &Context) -> Option<Address> {
    let found = references::mailbox(ctx, object, reference(object)).map(|(_, address)| address).ok();
    let said = || object.status.as_ref().and_then(|status| Address::parse(status.mailboxes.first()?).ok());
    found.or_else(said)
}

static NONE: crate::crd::Ref = crate::crd::Ref { name: String::new() };
fn reference(object: &EmailForwardingRule) -> &crate::crd::Ref {
    object.spec.mailbox_ref.as_ref().unwrap_or(&NONE)
}

fn mailbox_name(object: &EmailForwardingRule) -> &str {
    &reference(object).name
}
