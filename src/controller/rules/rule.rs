//! The driver of `EmailForwardingRule`: says how the rule fares in the scripts of its mailboxes, which the driver of
//! scripts applies, and holds a deletion until it is out of them.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::controller::Action;

use crate::controller::driver::context::{self, Context};
use crate::controller::driver::converge::{Failed, Stop, finish_deletion, may_remove_all, outcome};
use crate::controller::driver::policies;
use crate::controller::driver::references;
use crate::controller::rules::rule_set::{self, Place};
use crate::controller::rules::script;
use crate::controller::rules::script_state::ScriptState;
use crate::crd::{EmailForwardingRule, EmailForwardingRuleStatus, EmailMailbox, RemovalPolicy};
use crate::kubernetes::object::{has_finalizer, request};
use crate::mail::Address;
use crate::outcome::{Outcome, Reason};
use crate::status::{self, InScript, RuleSeen};

/// One reconcile of a rule.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(
    object: Arc<EmailForwardingRule>,
    ctx: Arc<Context>,
) -> Result<(Action, Outcome), Failed> {
    let request = request(object.as_ref());
    let before = ctx.writer.last_status(object.as_ref(), &request).await?;
    let is_going = object.metadata.deletion_timestamp.is_some();
    let seen = if is_going {
        let steps = remove(&object, &before, &ctx).await;
        let Some(left) = finish_deletion(&ctx, object.as_ref(), steps).await? else {
            return Ok((Action::await_change(), Outcome::InSync));
        };
        RuleSeen { outcome: left, ..RuleSeen::of_before(&before) }
    } else {
        match found(&object, &ctx)? {
            Some(seen) => seen,
            // The scripts are on their way and wake the rule.
            None => return Ok((Action::requeue(context::WAIT), Outcome::waiting(Reason::Pending, "its scripts"))),
        }
    };
    let mut after = status::rule(&before, &seen, &request);
    after.policies = Some(policies::of(&ctx, object.as_ref()));
    ctx.writer.write_status(object.as_ref(), &before, &after).await?;
    // Only a deletion calls Mailcow from here.
    let next = if is_going { ctx.next(object.as_ref(), &seen.outcome) } else { ctx.resync() };
    Ok((Action::requeue(next), seen.outcome))
}

/// How the rule fares; `None` until every script was made from the rule as it is now.
fn found(object: &EmailForwardingRule, ctx: &Context) -> Result<Option<RuleSeen>, Failed> {
    let mailboxes = match mailboxes(object, ctx) {
        Ok(mailboxes) => mailboxes,
        Err(missing) => {
            let refused = rule_set::check(ctx, object, None).err();
            return Ok(Some(RuleSeen { refused, ..RuleSeen::of(outcome(Err(missing))?) }));
        }
    };
    if mailboxes.is_empty() {
        return Ok(Some(RuleSeen::without_mailbox(rule_set::check(ctx, object, None).err())));
    }
    let id = rule_set::id(object);
    let scripts = mailboxes.iter().map(|(mailbox, _)| ctx.scripts.of(mailbox).filter(|script| script.is_of(object)));
    let Some(scripts) = scripts.collect::<Option<Vec<Arc<ScriptState>>>>() else { return Ok(None) };
    Ok(Some(RuleSeen::in_scripts(scripts.iter().map(|script| in_script(&id, script)).collect())))
}

/// The managed mailboxes that the rule is for.
fn mailboxes(object: &EmailForwardingRule, ctx: &Context) -> Result<Vec<(Arc<EmailMailbox>, Address)>, Stop> {
    if let Some(reference) = &object.spec.mailbox_ref {
        return Ok(vec![references::mailbox(ctx, object, reference)?]);
    }
    if let Some(reference) = &object.spec.domain_ref {
        references::domain(ctx, object, reference)?;
    }
    Ok(rule_set::mailboxes(ctx, object))
}

fn in_script(id: &str, script: &ScriptState) -> InScript {
    let placed = script.compiled.placed.iter().find(|placed| placed.id == id);
    InScript {
        mailbox: script.address.clone(),
        outcome: script.outcome.clone(),
        refused: script.refused.get(id).cloned(),
        position: placed.map(|placed| placed.position),
        shadowed_by: placed.and_then(|placed| placed.shadowed_by.clone()),
        script_hash: script.compiled.script.as_ref().map(|script| script.hash.clone()),
    }
}

/// Waits until the rule is out of every script; works without the mailbox object and on an invalid spec.
async fn remove(object: &EmailForwardingRule, before: &EmailForwardingRuleStatus, ctx: &Context) -> Result<(), Stop> {
    let policy = RemovalPolicy::from(policies::of(ctx, object).deletion.value);
    if policy == RemovalPolicy::Retain || !has_finalizer(object) {
        return Ok(());
    }
    let mailboxes = rule_set::mailboxes(ctx, object);
    for (mailbox, address) in &mailboxes {
        let script = ctx.scripts.of(mailbox).filter(|script| script.is_of(object));
        let waits =
            || Outcome::waiting(Reason::Pending, format!("the rule is being taken out of the script of {address}"));
        let outcome = script.map_or_else(waits, |script| script.outcome.clone());
        if !script::is_out(&outcome) {
            return Err(outcome.into());
        }
    }
    let remembered = before.mailboxes.first().and_then(|text| Address::parse(text).ok());
    match (&object.spec.mailbox_ref, remembered) {
        (Some(reference), Some(address)) if mailboxes.is_empty() => {
            may_remove_all(object)?;
            let namespace = object.namespace().unwrap_or_default();
            match script::apply_without_mailbox(ctx, Place::without_object(ctx, &namespace, &reference.name, address))
                .await
            {
                Err(Stop::Outcome(outcome)) if script::is_out(&outcome) => Ok(()),
                result => result,
            }
        }
        _ => Ok(()),
    }
}
