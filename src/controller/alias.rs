//! The driver of `EmailAlias`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::controller::domain::ownership;
use crate::controller::driver::action::Action;
use crate::controller::driver::address_claims;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{
    DependsOn, Failed, Stop, age, apply, finish_deletion, may_remove, outcome, read_back, report_rest, server,
    still_shown, unsupported,
};
use crate::controller::driver::drift::Drift;
use crate::controller::driver::guest_limits;
use crate::controller::driver::index::Key;
use crate::controller::driver::on_server::{OnServer, write_status};
use crate::controller::driver::policies;
use crate::controller::driver::recreation;
use crate::controller::driver::references;
use crate::controller::driver::subaddress;
use crate::controller::rules::links;
use crate::crd::{AdoptionPolicy, EmailAlias, EmailAliasStatus, EmailDomain, EmailMailbox, RemovalPolicy};
use crate::desired;
use crate::inventory::{Age, Inventory};
use crate::kubernetes::object::{has_finalizer, request};
use crate::mail::{Address, Alias, AliasHave, Catch, Feature, Goto};
use crate::outcome::{Outcome, Reason};
use crate::plan::{self, Change};
use crate::status::{self, AliasSeen};

/// One reconcile of an alias.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(object: Arc<EmailAlias>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    let request = request(object.as_ref());
    let before = ctx.writer.last_status(object.as_ref(), &request);
    let mut seen = AliasSeen {
        outcome: Outcome::InSync,
        refused: before.refused.clone(),
        server: object.server(&ctx),
        policies: policies::of(&ctx, object.as_ref()),
        catch: None,
        have: None,
        external: Vec::new(),
    };
    if object.metadata.deletion_timestamp.is_some() {
        let steps = remove(&object, &ctx).await;
        let Some(left) = finish_deletion(&ctx, object.as_ref(), steps).await? else {
            return Ok((Action::await_change(), Outcome::InSync));
        };
        seen.outcome = left;
    } else {
        let steps = Box::pin(steps(&object, &before, &ctx, &mut seen));
        let steps = ctx.writer.report_pending(object.as_ref(), &before, steps).await;
        seen.outcome = outcome(steps)?;
    }
    if ctx.writer.is_new(object.as_ref()) && references::waits_for_a_new_one(&ctx, object.as_ref(), &seen.outcome) {
        return Ok((ctx.again(object.as_ref(), &seen.outcome), seen.outcome));
    }
    let after = status::alias(&before, &seen, &request);
    write_status(&ctx, object.as_ref(), &before, &after).await?;
    Ok((address_claims::again(&ctx, object.as_ref(), &seen.outcome), seen.outcome))
}

async fn steps(
    object: &EmailAlias,
    before: &EmailAliasStatus,
    ctx: &Context,
    seen: &mut AliasSeen,
) -> Result<(), Stop> {
    ctx.awaited.remember(object, BTreeSet::new());
    let domain = references::domain(ctx, object, &object.spec.domain_ref)?;
    references::may_have_name(ctx, object, &domain, object.spec.local_part.as_deref())?;
    subaddress::may_have(ctx, object, &domain)?;
    ownership::of_domain_is_proven(ctx, &domain)?;
    references::may_use_server(ctx, &domain)?;
    let catch = desired::alias_catch(&object.spec, &domain.spec)?;
    seen.catch = Some(catch.clone());
    seen.server.clone_from(&domain.spec.server);
    let mailboxes = match mailboxes(object, ctx) {
        Ok(mailboxes) => mailboxes,
        Err(missing) => {
            seen.have = own(object, ctx, &domain.spec.server, &catch).await;
            return Err(missing);
        }
    };
    let server = server(ctx, &domain.spec.server)?;
    let mut want = desired::alias(&object.spec, catch, &mailboxes, ctx.mark(object))?;
    seen.external = external(&want);
    if let Some(found) = links::loop_of_alias(ctx, object, &want).await {
        let message = found.message("spec.goto", object.metadata.namespace.as_deref().unwrap_or_default());
        return Err(Outcome::stalled(Reason::Conflict, message).into());
    }
    let lacking = match want.sender_allowed {
        Some(_) => unsupported(&server, Feature::SenderAllowed).await?,
        None => None,
    };
    want.sender_allowed = want.sender_allowed.filter(|_| lacking.is_none());
    let policy = seen.policies.adoption.value;
    let handled = before.last_handled_reconcile_at.as_deref();
    let age = age(object, before.observed_generation, handled);
    let touched = server.touched(&want.catch);
    // An object that waits for others doesn't ask Mailcow again each time: a slightly older answer is enough.
    let may_be_made = || references::domain_is_there(&domain).and_then(|()| mailboxes_are_there(object, ctx, None));
    if may_be_made().is_err() && server.alias(&want.catch, Age::Recent).await?.is_none() {
        may_be_made()?;
    }
    let mut have = server.alias(&want.catch, age).await?;
    // Mailcow refuses a new alias that exists: no need to read again.
    let is_new = have.is_none() && before.synced_generation.is_none();
    if age == Age::Recent && !is_new && plan::alias(&want, have.as_ref(), policy) != Ok(Vec::new()) {
        have = server.alias(&want.catch, Age::Now).await?;
    }
    may_be_managed(ctx, &domain, object, &want, have.as_ref(), policy)?;
    if have.is_none() {
        subaddress::is_free_on_mailcow(ctx, &server, object, &domain, want.catch.domain()).await?;
        mailboxes_are_there(object, ctx, None)?;
        references::domain_is_still_there(&server, want.catch.domain())?;
        targets_are_there(ctx, &server, object, &want).await?;
    }
    let _measured = guest_limits::alias(ctx, &server, object, &domain, &want, have.as_ref()).await?;
    let changes = plan::alias(&want, have.as_ref(), policy)?;
    // Only now it is safe to show: an alias of another owner is confidential.
    seen.have = have;
    mailboxes_are_there(object, ctx, seen.have.as_ref())?;
    let drift = Drift::new(object, seen.policies.drift.value, before.synced_generation, handled)
        .and(touched.is_none() && !waited_for_others(before));
    let (changes, drifted) = drift.separate(changes);
    let is_recreated = matches!(changes.first(), Some(Change::AddAlias(_))) && before.synced_generation.is_some();
    if is_recreated && !drift.is_correction_asked() {
        recreation::may_be_made_again(ctx, &domain.spec.server, &server, &want.catch).await?;
    }
    let generation = domain.metadata.generation;
    let depends_on = DependsOn { domain: want.catch.domain(), domain_generation: generation, password_version: None };
    let applied = apply(ctx, &server, object, &before.conditions, &mut seen.refused, &depends_on, &changes, None).await;
    let applied = match applied {
        Err(failed) if seen.have.is_none() => {
            let is_there = async || server.alias(&want.catch, Age::Now).await.map(|have| have.is_some());
            let refused = &mut seen.refused;
            let domain = want.catch.domain();
            Err(references::why_not_added(&server, &want.catch, domain, is_there, failed, refused).await)
        }
        applied => applied,
    };
    if applied? {
        seen.have = server.alias(&want.catch, Age::Now).await?;
        ctx.senders.written(&want.catch);
        read_back(&plan::alias(&want, seen.have.as_ref(), policy)?)?;
        drift.report_correction(ctx, object, &want.catch, &changes).await;
    }
    report_rest(drifted)?;
    server.settle(&want.catch, touched);
    report_rest(lacking)
}

/// The alias on Mailcow while it waits for a mailbox; `None` if it is not visible or not the object's own.
async fn own(object: &EmailAlias, ctx: &Context, server: &str, catch: &Catch) -> Option<AliasHave> {
    let have = ctx.servers.get(server).ok()?.alias(catch, Age::Recent).await.ok()??;
    have.mark().is_some_and(|there| there.same_owner(&ctx.mark(object))).then_some(have)
}

/// Whether the alias waited for its domain or one of its mailboxes. Mailcow removes a deleted mailbox from aliases, so
/// this is no change by hand.
fn waited_for_others(before: &EmailAliasStatus) -> bool {
    let waits = [Reason::DomainNotFound, Reason::DomainNotReady, Reason::MailboxNotFound, Reason::MailboxNotReady];
    let ready = before.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.is_some_and(|ready| waits.iter().any(|reason| reason.as_str() == ready.reason))
}

/// Stops before anything is created or taken in a domain that is not its own, and before anything is taken from another
/// object.
fn may_be_managed(
    ctx: &Context,
    domain: &EmailDomain,
    object: &EmailAlias,
    want: &Alias,
    have: Option<&AliasHave>,
    policy: AdoptionPolicy,
) -> Result<(), Stop> {
    let there = have.and_then(AliasHave::mark);
    let is_ours = there.as_ref().is_some_and(|there| there.same_owner(&want.mark));
    if !is_ours {
        references::domain_is_there(domain)?;
    }
    plan::refuse_if_owner_exists(
        &want.mark,
        there.as_ref(),
        |there| ctx.living_owner(&ctx.stores.aliases, there, object),
        &want.catch,
    )?;
    if is_ours {
        return Ok(());
    }
    if have.is_some() && there.is_none() {
        references::may_adopt(object, domain, policy, &want.catch)?;
    }
    subaddress::is_free(ctx, object, domain)?;
    address_claims::is_first(ctx, object, &want.catch)
}

/// Stops while a target mailbox is missing on Mailcow and will be recreated, as after a restore. Mailcow accepts such
/// an alias, but rebuilds its groupware's view of everything for it, which delays other writes for up to half a minute
/// (recordings `11_contention`).
async fn targets_are_there(ctx: &Context, server: &Inventory, object: &EmailAlias, want: &Alias) -> Result<(), Stop> {
    let Goto::Addresses(goto) = &want.goto else { return Ok(()) };
    // Subscribe before asking, so that no write in between is missed.
    ctx.awaited.remember(object, want.goto.texts());
    for to in goto.iter().filter(|to| server.knows_domain(to.domain())) {
        if server.mailbox(to, Age::Recent).await.is_ok_and(|found| found.is_some()) {
            continue;
        }
        let address = to.to_string();
        let is_it = |mailbox: &EmailMailbox| {
            let status = mailbox.status.as_ref().filter(|status| status.address.as_ref() == Some(&address));
            // A mailbox that never existed may never appear: the alias doesn't wait for it.
            let was_there = status.is_some_and(|status| status.synced_generation.is_some());
            was_there && mailbox.metadata.deletion_timestamp.is_none()
        };
        if ctx.stores.mailboxes.has(Key::Address(&address), is_it) {
            let message = format!(
                "the mailbox {to} is not on Mailcow yet; the operator creates the alias when the mailbox exists"
            );
            return Err(Outcome::waiting(Reason::MailboxNotReady, message).into());
        }
    }
    ctx.awaited.remember(object, BTreeSet::new());
    Ok(())
}

fn mailboxes(object: &EmailAlias, ctx: &Context) -> Result<Vec<Address>, Stop> {
    let references = object.spec.goto_mailbox_refs.iter().flatten();
    references.map(|reference| references::mailbox(ctx, object, reference).map(|(_, address)| address)).collect()
}

/// An alias waits for mailboxes that are not among its targets yet: mail to a missing mailbox would bounce.
fn mailboxes_are_there(object: &EmailAlias, ctx: &Context, have: Option<&AliasHave>) -> Result<(), Stop> {
    let mut references = object.spec.goto_mailbox_refs.iter().flatten();
    references.try_for_each(|reference| {
        let (mailbox, address) = references::mailbox(ctx, object, reference)?;
        if have.is_some_and(|have| have.goto.contains(&address.to_string())) {
            return Ok(());
        }
        references::mailbox_is_there(&mailbox)
    })
}

/// Goto addresses outside the alias' own domain.
fn external(alias: &Alias) -> Vec<String> {
    let own = alias.catch.domain();
    let Goto::Addresses(goto) = &alias.goto else { return Vec::new() };
    goto.iter().filter(|to| to.domain() != own).map(ToString::to_string).collect()
}

/// Removes the alias as the deletion policy says; works without its domain and with an invalid spec.
async fn remove(object: &EmailAlias, ctx: &Context) -> Result<(), Stop> {
    let Some(catch) = known_catch(object, ctx).filter(|_| has_finalizer(object)) else { return Ok(()) };
    let policy = RemovalPolicy::from(policies::of(ctx, object).deletion.value);
    let name = object.server(ctx);
    if policy == RemovalPolicy::Retain && ctx.servers.is_not_configured(&name) {
        return Ok(());
    }
    let server = server(ctx, &name)?;
    let have = server.alias(&catch, Age::Now).await?;
    let mut changes = plan::alias_removal(have.as_ref(), &ctx.mark(object), policy)?;
    if policy == RemovalPolicy::Retain && guest_limits::keeps_mark(object) {
        changes.clear();
    }
    may_remove(object, policy == RemovalPolicy::Retain, &changes)?;
    server.execute(&changes, None).await?;
    let was_deleted = changes.iter().any(|change| matches!(change, Change::DeleteAlias { .. }));
    if was_deleted && server.alias(&catch, Age::Now).await?.is_some() {
        return Err(still_shown(&catch));
    }
    ctx.senders.written(&catch);
    Ok(())
}

/// Its address, from the status or the references.
fn known_catch(object: &EmailAlias, ctx: &Context) -> Option<Catch> {
    let reported = object.status.as_ref().and_then(|status| status.address.as_deref());
    reported.and_then(|text| Catch::parse(text).ok()).or_else(|| {
        let domain = references::domain(ctx, object, &object.spec.domain_ref).ok()?;
        desired::alias_catch(&object.spec, &domain.spec).ok()
    })
}
