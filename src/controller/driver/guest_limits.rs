//! The limits that a domain sets for its guest namespaces. The operator reads from Mailcow what else a namespace has.
//! It handles one object of a namespace at a time, so that two growing objects can't both pass the check.

use std::collections::HashSet;

use kube::{Resource, ResourceExt};
use tokio::sync::OwnedMutexGuard;

use crate::controller::driver::addresses::Addressed;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::controller::driver::index::Key;
use crate::controller::driver::references;
use crate::controller::driver::refers::{Refers, domain_of};
use crate::controller::provision;
use crate::crd::{EmailAlias, EmailDomain, EmailMailbox, EmailMailboxStatus, NamespaceLimits};
use crate::desired;
use crate::inventory::{Age, Inventory};
use crate::kubernetes::store::Store;
use crate::mail::{Address, Alias, AliasHave, Mailbox, MailboxHave, Mark, Quota, RateLimit};
use crate::mailcow;
use crate::outcome::{Outcome, Reason};
use crate::plan::Change;
use crate::tenancy::{self, LimitReached, Other};

/// A lock: only one object of its namespace in the domain is measured and written until it is dropped.
pub(crate) struct Measured {
    _lock: Option<OwnedMutexGuard<()>>,
}

impl From<LimitReached> for Outcome {
    fn from(reached: LimitReached) -> Self {
        Self::stalled(Reason::NamespaceLimitReached, reached.to_string())
    }
}

/// Limits a guest's rate limit to what the domain allows, and reports a spec that asks for more.
pub(crate) fn bound_rate(
    ctx: &Context,
    object: &EmailMailbox,
    domain: &EmailDomain,
    want: &mut Mailbox,
) -> Option<Outcome> {
    if !is_limited_guest(ctx, object, domain) {
        return None;
    }
    let (most, of_domain) = rate_bounds(domain);
    let own: Option<RateLimit> = object.spec.rate_limit.as_ref().map(Into::into);
    let default = domain.spec.mailbox_defaults.as_ref().and_then(|defaults| defaults.rate_limit.as_ref());
    match tenancy::rate(most, of_domain, own, default.map(Into::into)) {
        Ok(rate) => {
            want.rate_limit = rate;
            None
        }
        Err(reached) => {
            want.rate_limit = own.and_then(|own| tenancy::lowered_rate(most, of_domain, own));
            Some(reached.into())
        }
    }
}

/// Lowers the rate limit that a guest's mailbox has on Mailcow to what the domain allows now. This also happens while
/// the object is paused, only reports drift, or is refused otherwise.
///
/// # Errors
/// When Mailcow can't be asked.
pub(crate) async fn lower_rate(ctx: &Context, object: &EmailMailbox, before: &EmailMailboxStatus) -> Result<(), Stop> {
    let Ok(domain) = references::home(ctx, object) else { return Ok(()) };
    let (most, of_domain) = rate_bounds(&domain);
    if (most.is_none() && of_domain.is_none()) || !is_limited_guest(ctx, object, &domain) {
        return Ok(());
    }
    let address = before.address.as_deref().and_then(|text| Address::parse(text).ok());
    let (Some(address), Ok(server)) = (address, ctx.servers.get(&domain.spec.server)) else { return Ok(()) };
    // An incomplete mailbox counts as absent.
    let Ok(Some(have)) = server.mailbox(&address, Age::Recent).await else { return Ok(()) };
    let is_ours = have.mark().is_some_and(|mark| mark.same_owner(&ctx.mark(object)));
    let Some(rate) = tenancy::lowered_rate(most, of_domain, have.rate_limit).filter(|_| is_ours) else {
        return Ok(());
    };
    tracing::info!("lowering the rate limit of a guest's mailbox to what its domain allows");
    Ok(server.execute(&[Change::LimitMailbox { address, rate }], None).await?)
}

/// What the domain allows each mailbox of a guest, and every sender.
fn rate_bounds(domain: &EmailDomain) -> (Option<RateLimit>, Option<RateLimit>) {
    let most = limits(domain).and_then(|limits| limits.rate_limit.as_ref()).map(Into::into);
    (most, domain.spec.rate_limit.as_ref().map(Into::into))
}

/// Stops a guest's mailbox that would exceed the number of mailboxes or the sum of quotas.
///
/// # Errors
/// [`Reason::NamespaceLimitReached`], or when Mailcow can't be asked.
pub(crate) async fn mailbox(
    ctx: &Context,
    server: &Inventory,
    object: &EmailMailbox,
    domain: &EmailDomain,
    want: &Mailbox,
    have: Option<&MailboxHave>,
) -> Result<Measured, Stop> {
    let limits = limits(domain).filter(|limits| limits.mailboxes.is_some() || limits.total_quota.is_some());
    let Some(limits) = limits.filter(|_| is_limited_guest(ctx, object, domain)) else {
        return Ok(Measured { _lock: None });
    };
    let has = have.map(|have| have.quota);
    // A default quota does not grow a mailbox that exists.
    let wants = if want.is_default_quota { has.map_or(want.quota, |has| has.max(want.quota)) } else { want.quota };
    // Such a mailbox is within the limits whatever others have, so that most reconciles don't count them.
    if !tenancy::grows(wants, has) {
        tenancy::mailbox_limit(limits, wants, has, &[])?;
        return Ok(Measured { _lock: None });
    }
    let lock = lock(ctx, object, domain).await;
    let (mut others, mut counted) = (Vec::new(), HashSet::from([want.address.clone()]));
    for other in ctx.stores.mailboxes.by_keys(in_namespace(object), |other| is_beside(other, object)) {
        let Ok(wanted) = desired::mailbox(&other.spec, &domain.spec, ctx.mark(other.as_ref())) else { continue };
        let there = match server.mailbox(&wanted.address, Age::Recent).await {
            // An incomplete mailbox counts as absent.
            Err(mailcow::Error::Refused { .. }) => None,
            there => there?,
        };
        let there = there.filter(|there| there.mark().is_some_and(|mark| is_of_guest(ctx, object, &mark)));
        let is_earlier = is_earlier(other.as_ref(), object);
        others.push(Other { has: there.map(|there| there.quota), wants: wanted.quota, is_earlier });
        counted.insert(wanted.address);
    }
    tenancy::mailbox_limit(limits, wants, has, &others)?;
    let all = server.all_mailboxes(want.address.domain()).await?;
    let left = all.filter(|(address, have)| {
        !counted.contains(address) && have.mark().is_some_and(|mark| is_of_guest(ctx, object, &mark))
    });
    others.extend(left.map(|(_, have)| Other { has: Some(have.quota), wants: have.quota, is_earlier: false }));
    tenancy::mailbox_limit(limits, wants, has, &others)?;
    Ok(Measured { _lock: Some(lock) })
}

/// Stops a guest's alias that would exceed the number of aliases.
///
/// # Errors
/// [`Reason::NamespaceLimitReached`], or when Mailcow can't be asked.
pub(crate) async fn alias(
    ctx: &Context,
    server: &Inventory,
    object: &EmailAlias,
    domain: &EmailDomain,
    want: &Alias,
    have: Option<&AliasHave>,
) -> Result<Measured, Stop> {
    let is_new = have.and_then(AliasHave::mark).is_none_or(|mark| !mark.same_owner(&want.mark));
    let limits = limits(domain).filter(|limits| is_new && limits.aliases.is_some());
    let Some(limits) = limits.filter(|_| is_guest(object, domain)) else { return Ok(Measured { _lock: None }) };
    let lock = lock(ctx, object, domain).await;
    let (mut others, mut counted) = (Vec::new(), HashSet::from([want.catch.clone()]));
    for other in ctx.stores.aliases.by_keys(in_namespace(object), |other| is_beside(other, object)) {
        let Ok(catch) = desired::alias_catch(&other.spec, &domain.spec) else { continue };
        let there = server.alias(&catch, Age::Recent).await?;
        let is_there = there.and_then(|there| there.mark()).is_some_and(|mark| is_of_guest(ctx, object, &mark));
        let is_earlier = is_earlier(other.as_ref(), object);
        others.push(Other { has: is_there.then_some(Quota::default()), wants: Quota::default(), is_earlier });
        counted.insert(catch);
    }
    tenancy::alias_limit(limits, &others)?;
    let all = server.all_aliases(want.catch.domain()).await?;
    let left = all.filter(|(catch, have)| {
        !counted.contains(catch) && have.mark().is_some_and(|mark| is_of_guest(ctx, object, &mark))
    });
    others.extend(left.map(|_| Other { has: Some(Quota::default()), wants: Quota::default(), is_earlier: false }));
    tenancy::alias_limit(limits, &others)?;
    Ok(Measured { _lock: Some(lock) })
}

/// Whether released entries keep their ownership mark. What a guest leaves behind counts until it is gone, only the
/// guest adopts it again, and nobody gets a mailbox whose password the guest knows. This also holds when the domain is
/// deleted, or no longer allows the namespace.
pub(crate) fn keeps_mark(object: &impl Refers) -> bool {
    let own = object.meta().namespace.as_deref().unwrap_or_default();
    object.domain().is_some_and(|domain| domain.namespace_from(own) != own)
}

/// Whether a guest's mailbox is within the number that its domain allows, by the objects alone: older ones count, and
/// those that were seen on Mailcow.
pub(crate) fn mailbox_fits(ctx: &Context, object: &EmailMailbox, domain: &EmailDomain) -> bool {
    let most = limits(domain).and_then(|limits| limits.mailboxes);
    let most = most.filter(|_| is_limited_guest(ctx, object, domain));
    fits(&ctx.stores.mailboxes, object, most)
}

/// The same for an alias.
pub(crate) fn alias_fits(ctx: &Context, object: &EmailAlias, domain: &EmailDomain) -> bool {
    let most = limits(domain).and_then(|limits| limits.aliases).filter(|_| is_guest(object, domain));
    fits(&ctx.stores.aliases, object, most)
}

fn fits<K: Addressed + 'static>(store: &Store<K>, object: &K, most: Option<u32>) -> bool {
    let Some(most) = most.filter(|_| !object.is_seen()) else { return true };
    let counts = |other: &K| is_beside(other, object) && (other.is_seen() || is_earlier(other, object));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    store.by_keys(in_namespace(object), counts).take(most).count() < most
}

/// Whether a mark on Mailcow names the object's namespace.
fn is_of_guest(ctx: &Context, object: &impl Resource, mark: &Mark) -> bool {
    object.meta().namespace.as_deref().is_some_and(|namespace| mark.is_of_namespace(&ctx.cluster, namespace))
}

fn limits(domain: &EmailDomain) -> Option<&NamespaceLimits> {
    domain.spec.allowed_namespaces.as_ref()?.limits.as_ref()
}

fn is_guest(object: &impl Resource, domain: &EmailDomain) -> bool {
    object.meta().namespace != domain.metadata.namespace
}

/// Mailboxes that the domain creates automatically don't count as guests.
fn is_limited_guest(ctx: &Context, object: &EmailMailbox, domain: &EmailDomain) -> bool {
    is_guest(object, domain) && provision::entitlement(ctx, object).is_none()
}

async fn lock(ctx: &Context, object: &impl Resource, domain: &EmailDomain) -> OwnedMutexGuard<()> {
    let (guest, owner) = (object.meta().namespace.as_deref().unwrap_or_default(), domain.metadata.namespace.as_deref());
    ctx.guest_locks.lock(&format!("{}/{}/{guest}", owner.unwrap_or_default(), domain.name_any())).await
}

fn in_namespace(object: &impl Resource) -> Key<'_> {
    Key::Namespace(object.meta().namespace.as_deref().unwrap_or_default())
}

/// Whether another object has the same namespace and domain, and stays.
fn is_beside<K: Refers>(other: &K, object: &K) -> bool {
    let (theirs, ours) = (other.meta(), object.meta());
    theirs.namespace == ours.namespace
        && theirs.uid != ours.uid
        && theirs.deletion_timestamp.is_none()
        && domain_of(other) == domain_of(object)
}

/// Whether an object was created before another. Within the same second, the uid decides.
fn is_earlier(one: &impl ResourceExt, other: &impl ResourceExt) -> bool {
    (one.creation_timestamp().map(|time| time.0), one.uid())
        < (other.creation_timestamp().map(|time| time.0), other.uid())
}
