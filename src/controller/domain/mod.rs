//! The driver of `EmailDomain` for Mailcow. DNS has its own driver.

pub(crate) mod claims;
pub(crate) mod ownership;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::controller::driver::action::Action;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{
    DependsOn, Failed, Stop, age, apply, finish_deletion, is_confirmed, may_remove, outcome, read_back, report_rest,
    server, server_of, still_shown,
};
use crate::controller::driver::drift::Drift;
use crate::controller::driver::index::Key;
use crate::controller::driver::policies;
use crate::controller::driver::recreation;
use crate::controller::driver::references;
use crate::controller::driver::refers::{Names, belongs_to};
use crate::controller::provision;
use crate::crd::{Attached, DeletionPolicy, DnsGate, EmailDomain, EmailDomainStatus, EmailForwardingRule};
use crate::desired;
use crate::inventory::{Age, Moved};
use crate::kubernetes::object::{has_finalizer, request};
use crate::kubernetes::store::{IndexKey, IndexKeys};
use crate::mail::{DomainHave, DomainName, Tags};
use crate::outcome::Outcome;
use crate::plan::{self, Change};
use crate::status::{self, DomainSeen, Occurrence};

/// One reconcile of a domain.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(object: Arc<EmailDomain>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    let request = request(object.as_ref());
    let before = ctx.writer.last_status(object.as_ref(), &request);
    let mut seen = start(&object, &ctx, &before);
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
    ctx.writer.change_status(object.as_ref(), |now| status::domain(now, &seen, &request)).await?;
    Ok((Action::requeue(ctx.next(object.as_ref(), &seen.outcome)), seen.outcome))
}

/// The state before anything was read.
fn start(object: &EmailDomain, ctx: &Context, before: &EmailDomainStatus) -> DomainSeen {
    DomainSeen {
        outcome: Outcome::InSync,
        refused: before.refused.clone(),
        name: desired::domain_name(&object.spec).ok(),
        have: None,
        version: None,
        recreated: before.recreated.clone(),
        claim: before.claim.clone(),
        tags: Tags { wanted: object.spec.tags.clone(), placed: before.tags.clone() },
        policies: policies::of(ctx, object),
        attached: attached(object, ctx),
        gate: object.spec.dns.as_ref().map(|dns| dns.gate).unwrap_or_default(),
        provisioning: provision::reported(ctx, object),
    }
}

async fn steps(
    object: &EmailDomain,
    before: &EmailDomainStatus,
    ctx: &Context,
    seen: &mut DomainSeen,
) -> Result<(), Stop> {
    let mut want = desired::domain(&object.spec, ctx.mark(object))?;
    ownership::is_proven(ctx, object, before)?;
    claims::is_first(ctx, object, &want.name, &mut seen.claim)?;
    want.tags = seen.tags.clone();
    let server = server_of(ctx, object)?;
    let policy = seen.policies.adoption.value;
    let handled = before.last_handled_reconcile_at.as_deref();
    let age = age(object, before.observed_generation, handled);
    let mut have = server.domain(&want.name, age).await?;
    let is_gated = seen.gate == DnsGate::Activate && before.dns_verified_at.is_none();
    // An active domain is never deactivated because of DNS.
    want.active &= !is_gated || have.as_ref().is_some_and(|have| have.active);
    // Mailcow refuses a new domain that exists: no need to read again.
    let is_new = have.is_none() && before.synced_generation.is_none();
    if age == Age::Recent && !is_new && plan::domain(&want, have.as_ref(), policy) != Ok(Vec::new()) {
        have = server.domain(&want.name, Age::Now).await?;
    }
    let there = have.as_ref().and_then(DomainHave::mark);
    plan::refuse_if_owner_exists(
        &want.mark,
        there.as_ref(),
        |there| ctx.living_owner(&ctx.stores.domains, there, object),
        &want.name,
    )?;
    let changes = plan::domain(&want, have.as_ref(), policy)?;
    // Only now it is safe to show: a domain of another owner is confidential.
    let is_gate_open = seen.gate == DnsGate::Activate && have.as_ref().is_some_and(|have| !have.active);
    seen.have = have;
    seen.version = server.client().known_version().await.ok();
    let drift = Drift::new(object, seen.policies.drift.value, before.synced_generation, handled);
    // When the gate activates a domain, that is no change by hand.
    let drift = drift.and(!is_gate_open);
    let (changes, drifted) = drift.separate(changes);
    let is_recreated = changes.iter().any(Change::makes_a_store_of_mail) && before.synced_generation.is_some();
    if is_recreated && !drift.is_correction_asked() {
        recreation::may_be_made_again(ctx, &object.spec.server, &server, &want.name).await?;
    }
    let depends_on = DependsOn { domain: &want.name, domain_generation: None, password_version: None };
    let applied = apply(ctx, &server, object, &before.conditions, &mut seen.refused, &depends_on, &changes, None).await;
    let applied = match applied {
        Err(failed) if is_new && references::is_refusal(&failed) => {
            let is_there = server.domain(&want.name, Age::Now).await.map(|have| have.is_some());
            Err(references::unless_it_appeared(&want.name, is_there, failed, &mut seen.refused))
        }
        applied => applied,
    };
    if applied? {
        seen.have = server.domain(&want.name, Age::Now).await?;
        let is_made = changes.iter().any(|change| matches!(change, Change::AddDomain { .. }));
        if is_made {
            ctx.senders.written(&format!("@{}", want.name));
        }
        if is_made && before.synced_generation.is_some() {
            let made = [want.name.to_string()].into();
            ctx.mailcow_changes.publish(&Arc::new(Moved { made, ..Moved::default() }));
        }
        if is_recreated {
            seen.recreated = Some(crate::clock::now());
            recreation::report(ctx, object, &want.name).await;
        }
        report_new_key(ctx, object, &want.name, before, seen.have.as_ref()).await;
        read_back(&plan::domain(&want, seen.have.as_ref(), policy)?)?;
        if !is_recreated {
            drift.report_correction(ctx, object, &want.name, &changes).await;
        }
    }
    report_rest(drifted)?;
    Ok(plan::dkim_agrees(&want, seen.have.as_ref())?)
}

/// Reports that the domain has another DKIM key than before: Mailcow signs with a key that DNS doesn't have.
async fn report_new_key(
    ctx: &Context,
    object: &EmailDomain,
    name: &DomainName,
    before: &EmailDomainStatus,
    have: Option<&DomainHave>,
) {
    let known = before.dkim.as_ref().map(|key| key.record.as_str());
    let now = have.and_then(|have| have.dkim.as_ref()).map(|key| key.record.as_str());
    if known.zip(now).is_some_and(|(known, now)| known != now) {
        ctx.writer.publish(object, &Occurrence::DkimKeyLost(name.to_string()).event()).await;
    }
}

/// The objects in Kubernetes that refer to the domain and may use it.
fn attached(object: &EmailDomain, ctx: &Context) -> Attached {
    let (namespace, name) = (object.namespace(), object.name_any());
    let is_own = |meta: &ObjectMeta| meta.namespace == namespace;
    let of_this = Key::Domain(namespace.as_deref().unwrap_or_default(), &name);
    let mailboxes = ctx.stores.mailboxes.by_keys(of_this, |m| {
        belongs_to(m, namespace.as_deref(), &name) && (is_own(&m.metadata) || references::home(ctx, m).is_ok())
    });
    let aliases = ctx.stores.aliases.by_keys(of_this, |a| {
        let is_allowed = || references::domain(ctx, a, &a.spec.domain_ref).is_ok();
        belongs_to(a, namespace.as_deref(), &name) && (is_own(&a.metadata) || is_allowed())
    });
    let (mut names, mut of_people) = (Names::default(), 0);
    for mailbox in mailboxes {
        names.extend(mailbox.namespace().map(|namespace| (namespace, mailbox.name_any())));
        of_people += usize::from(!mailbox.spec.system);
    }
    let mut rule_keys = IndexKeys::from(of_this);
    rule_keys.extend(names.namespaces().map(|namespace| IndexKey::from(Key::Namespace(namespace))));
    let of_domain = |rule: &EmailForwardingRule| {
        let is_allowed = |domain| references::domain(ctx, rule, domain).is_ok();
        let belongs = belongs_to(rule, namespace.as_deref(), &name);
        let is_guests = || rule.spec.domain_ref.as_ref().is_some_and(is_allowed);
        belongs && (is_own(&rule.metadata) || is_guests()) || names.contain_mailbox_of(rule)
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Attached {
        mailboxes: count(of_people),
        aliases: count(aliases.count()),
        rules: count(ctx.stores.rules.by_keys(rule_keys, of_domain).count()),
    }
}

/// Removes the domain as the deletion policy says; works with an invalid spec.
async fn remove(object: &EmailDomain, ctx: &Context) -> Result<(), Stop> {
    let Some(name) = known_name(object).filter(|_| has_finalizer(object)) else { return Ok(()) };
    let policy = policies::of(ctx, object).deletion.value;
    if policy == DeletionPolicy::Retain && ctx.servers.is_not_configured(&object.spec.server) {
        return Ok(());
    }
    let server = server(ctx, &object.spec.server)?;
    let have = server.domain(&name, Age::Now).await?;
    let is_confirmed = is_confirmed(object, name.as_str());
    let changes = plan::domain_removal(have.as_ref(), &ctx.mark(object), policy, is_confirmed)?;
    may_remove(object, policy == DeletionPolicy::Retain, &changes)?;
    server.execute(&changes, None).await?;
    let was_deleted = changes.iter().any(|change| matches!(change, Change::DeleteDomain(_)));
    if was_deleted && server.domain(&name, Age::Now).await?.is_some() {
        return Err(still_shown(&name));
    }
    let aliases = have.map_or(0, |have| have.aliases);
    if was_deleted && aliases > 0 {
        let lost = format!("{aliases} {}", if aliases == 1 { "alias" } else { "aliases" });
        let occurrence = Occurrence::Deleted { thing: name.to_string(), lost };
        ctx.writer.publish(object, &occurrence.event()).await;
    }
    Ok(())
}

/// The name, from the spec or the status.
fn known_name(object: &EmailDomain) -> Option<DomainName> {
    let reported = object.status.as_ref().and_then(|status| status.domain.as_deref());
    desired::domain_name(&object.spec).ok().or_else(|| DomainName::parse(reported?).ok())
}
