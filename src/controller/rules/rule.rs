//! The driver of `EmailForwardingRule`: it reports the state of the rule in the scripts of its mailboxes, which the
//! script driver applies, and keeps the finalizer until the rule is out of them.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::action::Action;
use crate::controller::driver::context::{self, Context};
use crate::controller::driver::converge::{Failed, Stop, finish_deletion, may_remove_all, outcome};
use crate::controller::driver::index::Key;
use crate::controller::driver::on_server::{is_served, write_status};
use crate::controller::driver::policies;
use crate::controller::driver::references;
use crate::controller::rules::rule_set::Place;
use crate::controller::rules::scope;
use crate::controller::rules::script;
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
    let before = ctx.writer.last_status(object.as_ref(), &request);
    let is_going = object.metadata.deletion_timestamp.is_some();
    let seen = if is_going {
        let steps = remove(&object, &before, &ctx).await;
        let Some(left) = finish_deletion(&ctx, object.as_ref(), steps).await? else {
            return Ok((Action::await_change(), Outcome::InSync));
        };
        RuleSeen { outcome: left, ..RuleSeen::of_before(&before) }
    } else {
        let Some(seen) = found(&object, &ctx)? else {
            // The rule is due again when its scripts are done.
            ctx.writer.write_pending(object.as_ref(), &before).await?;
            return Ok((Action::requeue(context::WAIT), Outcome::waiting(Reason::Pending, "its scripts")));
        };
        seen
    };
    let mut after = status::rule(&before, &seen, &request);
    after.policies = Some(policies::of(&ctx, object.as_ref()));
    write_status(&ctx, object.as_ref(), &before, &after).await?;
    // From here only a deletion calls Mailcow.
    let next = if is_going { ctx.next(object.as_ref(), &seen.outcome) } else { ctx.resync() };
    Ok((Action::requeue(next), seen.outcome))
}

/// The state of the rule; `None` until every script was made from the current rule.
fn found(object: &EmailForwardingRule, ctx: &Context) -> Result<Option<RuleSeen>, Failed> {
    let mailboxes = match mailboxes(object, ctx) {
        Ok(mailboxes) => mailboxes,
        Err(missing) => {
            let refused = scope::check(ctx, object, None).err();
            return Ok(Some(RuleSeen { refused, ..RuleSeen::of(outcome(Err(missing))?) }));
        }
    };
    if mailboxes.is_empty() {
        return Ok(Some(RuleSeen::without_mailbox(scope::check(ctx, object, None).err())));
    }
    let version = script::version(object);
    let in_script = |(mailbox, address): (Arc<EmailMailbox>, Address)| {
        status::in_script(address, &ctx.writer.script_status(&mailbox)?, &version)
    };
    let scripts = mailboxes.into_iter().map(in_script).collect::<Option<Vec<InScript>>>();
    Ok(scripts.map(RuleSeen::in_scripts))
}

/// The managed mailboxes of the rule.
fn mailboxes(object: &EmailForwardingRule, ctx: &Context) -> Result<Vec<(Arc<EmailMailbox>, Address)>, Stop> {
    if let Some(reference) = &object.spec.mailbox_ref {
        return Ok(vec![references::mailbox(ctx, object, reference)?]);
    }
    if let Some(reference) = &object.spec.domain_ref {
        references::domain(ctx, object, reference)?;
    }
    Ok(scope::mailboxes(ctx, object))
}

/// Waits until no script has the rule, by the statuses of the namespace's mailboxes; works without the mailbox object,
/// without its domain, and with an invalid spec.
async fn remove(object: &EmailForwardingRule, before: &EmailForwardingRuleStatus, ctx: &Context) -> Result<(), Stop> {
    if !has_finalizer(object) {
        return Ok(());
    }
    let uid = object.uid().unwrap_or_default();
    let namespace = object.namespace();
    let holding = ctx
        .stores
        .mailboxes
        .by_keys(Key::Namespace(namespace.as_deref().unwrap_or_default()), |mailbox| mailbox.namespace() == namespace);
    let holding = holding.into_iter().filter_map(|mailbox| {
        let script = ctx.writer.script_status(&mailbox).filter(|script| status::holds(script, &uid))?;
        Some((mailbox, script))
    });
    if RemovalPolicy::from(policies::of(ctx, object).deletion.value) == RemovalPolicy::Retain {
        // The instance of another server's mailbox takes the rule out, because it is no longer that mailbox's.
        for (mailbox, _) in holding.filter(|(mailbox, _)| is_served(ctx, mailbox.as_ref())) {
            script::let_go(ctx, &mailbox, &uid).await?;
        }
        return Ok(());
    }
    if let Some((mailbox, script)) = holding.into_iter().next() {
        let address = mailbox.status.as_ref().and_then(|status| status.address.as_deref()).unwrap_or_default();
        return Err(match status::script_outcome(&script) {
            Outcome::InSync => is_being_taken_out(address),
            outcome => outcome.into(),
        });
    }
    // A script that was not made since the rule was deleted is made first.
    for (mailbox, address) in scope::mailboxes(ctx, object) {
        let script = ctx.writer.script_status(&mailbox);
        if !script.is_some_and(|script| status::is_made_from(&script, &script::version(object))) {
            return Err(is_being_taken_out(&address.to_string()));
        }
    }
    let remembered = before.mailboxes.first().and_then(|text| Address::parse(text).ok());
    let Some((reference, address)) = object.spec.mailbox_ref.as_ref().zip(remembered) else { return Ok(()) };
    let namespace = namespace.unwrap_or_default();
    if ctx.stores.mailboxes.get(&ObjectRef::new(&reference.name).within(&namespace)).is_some() {
        return Ok(());
    }
    // Without its object, nobody reconciles the script of a mailbox.
    may_remove_all(object)?;
    let place = Place::without_object(ctx, &namespace, &reference.name, address);
    match script::apply_without_mailbox(ctx, place).await {
        Err(Stop::Outcome(outcome)) if status::is_out(&outcome) => Ok(()),
        result => result,
    }
}

fn is_being_taken_out(address: &str) -> Stop {
    Outcome::waiting(Reason::Pending, format!("the rule is being removed from the script of {address}")).into()
}
