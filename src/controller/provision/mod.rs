//! The driver of automatic mailboxes, one for each entitled namespace.

pub(crate) mod state;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use crate::controller::driver::action::Action;
use crate::controller::driver::addresses::place;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Failed;
use crate::controller::driver::index::Key;
use crate::controller::driver::refers::belongs_to;
use crate::crd::{EmailDomain, EmailMailbox, ProvisionedStatus, RefusedNamespace, RefusedReason};
use crate::gates::Gate;
use crate::kubernetes::object::is_paused;
use crate::kubernetes::store::IndexKeys;
use crate::outcome::{Outcome, Reason, Why};
use crate::status::Provisioning;
use crate::tenancy::{self, Decision, Entitlement, Facts, Reserved, Step, decide, is_placed, provisioned_name};

/// Field manager for the operator's fields of automatic mailboxes.
const MANAGER: &str = "mailcow-operator-provisioning";
/// How long a reconcile waits for more triggers.
const GATHERING: Duration = Duration::from_millis(200);
/// Number of parallel writes.
const CONCURRENCY: usize = 8;
/// Writes in one reconcile; the rest is decided again, because labels may have changed.
const BATCH: usize = 200;
/// API answers that concern one object only.
const REFUSALS: [u16; 5] = [400, 403, 404, 409, 422];
/// Number of refusals in the status.
const SHOWN: usize = 20;
/// Time until the next reconcile without a trigger: some deletions trigger nothing.
const AGAIN: Duration = Duration::from_mins(1);
/// The same while a mailbox is being deleted, a write is not visible yet, or a write was refused.
const SOON: Duration = Duration::from_secs(5);

/// One reconcile of the automatic mailboxes of a domain.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(object: Arc<EmailDomain>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    if provisions(&ctx, &object) {
        // Thousands of namespaces may be labelled at once.
        tokio::time::sleep(GATHERING).await;
    }
    let current = ctx.stores.domains.get(&ObjectRef::from_obj(object.as_ref()));
    let makes = |domain: &Arc<EmailDomain>| provisions(&ctx, domain) && !is_leaving(domain);
    let Some(domain) = current.filter(makes) else {
        ctx.provisioned.forget(&object);
        return Ok((Action::await_change(), Outcome::InSync));
    };
    let Some(decision) = decision(&ctx, &domain) else { return Ok((Action::await_change(), Outcome::InSync)) };
    let mut steps = ctx.provisioned.open(&domain, decision.steps.clone());
    let is_more = steps.len() > BATCH;
    steps.truncate(if is_paused(domain.as_ref()) { 0 } else { BATCH });
    let is_open = is_more || !decision.steps.is_empty() || decision.is_leaving;
    let done = take(&ctx, &domain, steps).await;
    let (made, refused) = ctx.provisioned.taken(&domain);
    ctx.provisioned.report(&domain, report(decision, made, refused));
    done?;
    let wait = match () {
        () if is_more && !is_paused(domain.as_ref()) => Duration::ZERO,
        () if is_open => SOON,
        () => AGAIN,
    };
    Ok((Action::requeue(wait.min(ctx.resync())), Outcome::InSync))
}

/// Whether the domain creates mailboxes, and its namespace is allowed to.
fn provisions(ctx: &Context, domain: &EmailDomain) -> bool {
    let (listed, own) = (&ctx.settings.provisioning_namespaces, domain.namespace().unwrap_or_default());
    domain.spec.auto_provision.is_some() && (listed.is_empty() || listed.contains(&own))
}

fn is_leaving(domain: &EmailDomain) -> bool {
    domain.metadata.deletion_timestamp.is_some()
}

/// The steps to do; `None` if labels of namespaces can't be read.
fn decision(ctx: &Context, domain: &EmailDomain) -> Option<Decision> {
    let (namespace, name, ours) = (domain.namespace(), domain.name_any(), provisioned_name(domain));
    let is_about = |m: &EmailMailbox| m.name_any() == ours || belongs_to(m, namespace.as_deref(), &name);
    let of_domain = Key::Domain(namespace.as_deref().unwrap_or_default(), &name);
    Some(decide(&Facts {
        domain,
        namespaces: &ctx.stores.namespaces.as_ref()?.all().collect::<Vec<_>>(),
        mailboxes: &ctx
            .stores
            .mailboxes
            .by_keys([of_domain, Key::Name(&ours)].into_iter().collect::<IndexKeys>(), is_about)
            .collect::<Vec<_>>(),
        aliases: &ctx
            .stores
            .aliases
            .by_keys(of_domain, |a| belongs_to(a, namespace.as_deref(), &name))
            .collect::<Vec<_>>(),
        reserved: &ctx.reserved,
    }))
}

/// Does the steps, some in parallel, until the process must stop.
///
/// # Errors
/// When the API fails in a way that is no refusal.
async fn take(ctx: &Context, domain: &EmailDomain, steps: Vec<Step>) -> Result<(), kube::Error> {
    let steps = stream::iter(steps).take_while(|_| std::future::ready(!*ctx.ending.borrow()));
    let mut done = std::pin::pin!(steps.map(|step| write(ctx, domain, step)).buffer_unordered(CONCURRENCY));
    while let Some((step, result)) = done.next().await {
        let refused = match result {
            Ok(()) => None,
            Err(kube::Error::Api(answer)) if REFUSALS.contains(&answer.code) => Some(not_taken(&step, &answer.message)),
            Err(error) => return Err(error),
        };
        ctx.provisioned.took(domain, step, refused);
    }
    Ok(())
}

async fn write(ctx: &Context, domain: &EmailDomain, step: Step) -> (Step, Result<(), kube::Error>) {
    let mailbox = step.mailbox();
    let api: Api<EmailMailbox> = Api::namespaced(ctx.kube.clone(), &mailbox.namespace);
    let params = PatchParams::apply(MANAGER).force();
    let result = api.patch(&mailbox.name, &params, &Patch::Apply(mailbox.manifest(domain))).await.map(|_| ());
    match (&step, &result) {
        (Step::Create(made), Ok(())) => tracing::info!(namespace = made.namespace, "created a mailbox"),
        (Step::Deactivate(made), Ok(())) => tracing::info!(namespace = made.namespace, "disabled a login"),
        (Step::Reactivate(made), Ok(())) => tracing::info!(namespace = made.namespace, "corrected a mailbox"),
        (_, Err(error)) => tracing::warn!(namespace = mailbox.namespace, %error, "writing a mailbox failed"),
    }
    (step, result)
}

fn not_taken(step: &Step, answer: &str) -> RefusedNamespace {
    let mailbox = step.mailbox();
    let answer: String = answer.chars().take(300).collect();
    let message = format!(
        "the Kubernetes API refuses the EmailMailbox {} (check featureGates.AutoProvisioning: true in the chart): {answer}",
        mailbox.name
    );
    RefusedNamespace { namespace: mailbox.namespace.clone(), reason: RefusedReason::NotCreated, message }
}

/// The status.
fn report(decision: Decision, made: usize, not_taken: Vec<RefusedNamespace>) -> ProvisionedStatus {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut refused: Vec<RefusedNamespace> = decision.refused.into_iter().chain(not_taken).collect();
    refused.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    let refused_count = count(refused.len());
    refused.truncate(SHOWN);
    ProvisionedStatus {
        entitled: count(decision.entitled),
        mailboxes: count(decision.mailboxes + made),
        revoked: count(decision.revoked),
        refused_count,
        refused,
    }
}

/// The status of the automatic mailboxes of a domain.
pub(crate) fn reported(ctx: &Context, domain: &EmailDomain) -> Provisioning {
    let not = |reason, message: &str| Provisioning::Not(Why::new(reason, message));
    if domain.spec.auto_provision.is_none() {
        return Provisioning::Off;
    }
    if !ctx.has(Gate::AutoProvisioning) {
        return not(
            Reason::FeatureDisabled,
            "spec.autoProvision: the feature gate AutoProvisioning is off in this installation; remove the field, or set featureGates.AutoProvisioning: true in the chart",
        );
    }
    if !provisions(ctx, domain) {
        let message = "spec.autoProvision: domains in this namespace may not create mailboxes; add the namespace to provisioningNamespaces in the chart";
        return not(Reason::FeatureDisabled, message);
    }
    if ctx.stores.namespaces.is_none() {
        let message = "the operator can't read namespaces, because of watchNamespaces or missing rights, so it entitles and revokes no namespace";
        return not(Reason::NamespacesNotReadable, message);
    }
    if is_paused(domain) {
        return not(Reason::Paused, "paused; no mailbox is created or disabled");
    }
    // After a restart, the last status of the same spec stays until the namespaces are read.
    let status = domain.status.as_ref().filter(|status| status.observed_generation == domain.metadata.generation);
    let last = || status.and_then(|status| status.provisioned.clone());
    let pending = || not(Reason::Pending, "the operator has not read the namespaces yet");
    ctx.provisioned.reported(domain).or_else(last).map_or_else(pending, Provisioning::Known)
}

/// The domain of an automatic mailbox, and what the mailbox may do; `None` for every other mailbox.
pub(crate) fn entitlement(ctx: &Context, mailbox: &EmailMailbox) -> Option<(Arc<EmailDomain>, Entitlement)> {
    if !ctx.has(Gate::AutoProvisioning) || !mailbox.spec.system {
        return None;
    }
    let (own, reference) = (mailbox.namespace()?, &mailbox.spec.domain_ref);
    let domain = ObjectRef::new(&reference.name).within(reference.namespace_from(&own));
    let domain = ctx.stores.domains.get(&domain).filter(|domain| provisions(ctx, domain))?;
    if mailbox.name_any() != provisioned_name(&domain) {
        return None;
    }
    let entitlement = match ctx.stores.namespaces.as_ref()? {
        _ if is_placed(mailbox) => {
            let namespaces: Vec<_> = ctx.stores.namespace(&own).into_iter().collect();
            judged(&ctx.reserved, &domain, mailbox, (&namespaces, &[], &[]))
        }
        namespaces => {
            let asks = |n: &PartialObjectMeta<Namespace>| tenancy::asks_for(n, &domain, mailbox);
            let local = mailbox.spec.local_part.to_lowercase();
            let (namespace, name) = (domain.namespace(), domain.name_any());
            let is_same = |said: &str| said.to_lowercase() == local;
            let wanted = Key::Wanted(place(&ObjectRef::from_obj(domain.as_ref()), Some(&local)));
            let mailboxes = ctx
                .stores
                .mailboxes
                .by_keys(wanted, |m| is_same(&m.spec.local_part) && belongs_to(m, namespace.as_deref(), &name))
                .collect::<Vec<_>>();
            let aliases = ctx
                .stores
                .aliases
                .by_keys(wanted, |a| {
                    a.spec.local_part.as_deref().is_some_and(is_same) && belongs_to(a, namespace.as_deref(), &name)
                })
                .collect::<Vec<_>>();
            judged(&ctx.reserved, &domain, mailbox, (&namespaces.filter(asks), &mailboxes, &aliases))
        }
    };
    Some((domain, entitlement))
}

type Around<'a> = (&'a [Arc<PartialObjectMeta<Namespace>>], &'a [Arc<EmailMailbox>], &'a [Arc<crate::crd::EmailAlias>]);

fn judged(
    reserved: &Reserved,
    domain: &EmailDomain,
    mailbox: &EmailMailbox,
    (namespaces, mailboxes, aliases): Around<'_>,
) -> Entitlement {
    tenancy::entitlement(&Facts { domain, namespaces, mailboxes, aliases, reserved }, mailbox)
}

/// How long a mailbox waits that will be disabled soon; `None` for every other.
pub(crate) fn is_switched_off_soon(ctx: &Context, mailbox: &EmailMailbox) -> Option<Duration> {
    let is_leaving = entitlement(ctx, mailbox).is_some_and(|(_, entitlement)| entitlement == Entitlement::Leaving);
    (is_leaving && mailbox.metadata.deletion_timestamp.is_none()).then_some(SOON)
}
