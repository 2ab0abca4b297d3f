//! Finds the objects that an object refers to, in the stores.

use std::fmt::Display;
use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::controller::driver::refers::{Refers, domain_of};
use crate::controller::provision;
use crate::crd::{
    AdoptionPolicy, DEFAULT_SERVER, DomainRef, EmailDomain, EmailMailbox, Ref, RefusedWrite,
    StatusCondition as Condition,
};
use crate::desired;
use crate::inventory::{Age, Inventory};
use crate::mail::{Address, DomainName};
use crate::mailcow;
use crate::outcome::{Outcome, Reason, Why};
use crate::status;
use crate::tenancy::{self, Entitlement};

/// The domain that `object` refers to, if it is allowed.
///
/// # Errors
/// [`Reason::DomainNotFound`]; for a domain of another namespace [`Reason::NamespaceNotAllowed`], whether it is there or
/// not: that is nobody's business.
pub(crate) fn domain(ctx: &Context, object: &impl Resource, reference: &DomainRef) -> Result<Arc<EmailDomain>, Stop> {
    let own = object.meta().namespace.as_deref().unwrap_or_default();
    let there = reference.namespace_from(own);
    let found = ctx.stores.domains.get(&ObjectRef::new(&reference.name).within(there));
    if there == own {
        return found.ok_or_else(|| {
            let message =
                format!("spec.domainRef: the EmailDomain {} does not exist in this namespace; create it, or set domainRef.namespace if another namespace shares the domain", reference.name);
            Outcome::waiting(Reason::DomainNotFound, message).into()
        });
    }
    let namespace = ctx.stores.namespace(own);
    let labels = namespace.as_ref().and_then(|namespace| namespace.metadata.labels.as_ref());
    let admits = |domain: &Arc<EmailDomain>| tenancy::admits(domain.spec.allowed_namespaces.as_ref(), labels);
    found.filter(admits).ok_or_else(|| {
        let message = format!(
            "spec.domainRef: no EmailDomain {} in the namespace {there} allows this namespace; its owner must add it to spec.allowedNamespaces",
            reference.name
        );
        Outcome::waiting(Reason::NamespaceNotAllowed, message).into()
    })
}

/// The domain of a mailbox that allows its namespace, or that created the mailbox automatically.
///
/// # Errors
/// As [`domain`].
pub(crate) fn home(ctx: &Context, mailbox: &EmailMailbox) -> Result<Arc<EmailDomain>, Stop> {
    let found = domain(ctx, mailbox, &mailbox.spec.domain_ref);
    found.or_else(|stop| match provision::entitlement(ctx, mailbox) {
        Some((domain, Entitlement::Admitted | Entitlement::Leaving)) => Ok(domain),
        Some((_, Entitlement::Refused)) | None => Err(stop),
    })
}

/// Stops an object whose domain is in a namespace that may not use the domain's server.
///
/// # Errors
/// [`Reason::ServerNotFound`].
pub(crate) fn may_use_server(ctx: &Context, domain: &EmailDomain) -> Result<(), Stop> {
    let may_use = |server: &str| ctx.settings.may_use_server(server, domain.metadata.namespace.as_deref());
    if may_use(&domain.spec.server) {
        return Ok(());
    }
    Err(ctx.servers.unknown(&domain.spec.server, may_use).into())
}

/// Stops a guest namespace from using a reserved name in another namespace's domain. A catch-all, which has no local
/// part, gets the mail of reserved names that nobody has, and its targets may send as every address that nobody has.
///
/// # Errors
/// [`Reason::AddressReserved`].
pub(crate) fn may_have_name(
    ctx: &Context,
    object: &impl Resource,
    domain: &EmailDomain,
    local_part: Option<&str>,
) -> Result<(), Stop> {
    if object.meta().namespace == domain.metadata.namespace {
        return Ok(());
    }
    let Some(local_part) = local_part else {
        let message = "spec.catchAll: the catch-all is reserved for the namespace that owns the domain, because it gets the mail of reserved names too; ask that namespace to create it with your addresses in goto";
        return Err(Outcome::stalled(Reason::AddressReserved, message).into());
    };
    if !ctx.reserved.is_kept_from_guests(local_part) {
        return Ok(());
    }
    let message = format!(
        "spec.localPart: {local_part} is reserved for the namespace that owns the domain; choose another name, or ask that namespace to create it"
    );
    Err(Outcome::stalled(Reason::AddressReserved, message).into())
}

/// The server of `domain`; if unknown, the server in the status (`said`).
pub(crate) fn server_name(domain: Option<&EmailDomain>, said: Option<&str>) -> String {
    domain.map(|domain| domain.spec.server.as_str()).or(said).unwrap_or(DEFAULT_SERVER).to_owned()
}

/// The mailbox that `object` refers to, and its address.
///
/// # Errors
/// [`Reason::MailboxNotFound`], or what is wrong with the mailbox's own domain.
pub(crate) fn mailbox(
    ctx: &Context,
    object: &impl Resource,
    reference: &Ref,
) -> Result<(Arc<EmailMailbox>, Address), Stop> {
    let namespace = object.meta().namespace.clone().unwrap_or_default();
    let found = ctx.stores.mailboxes.get(&ObjectRef::new(&reference.name).within(&namespace));
    let Some(mailbox) = found.filter(|mailbox| mailbox.metadata.deletion_timestamp.is_none()) else {
        let message = format!("the EmailMailbox {} does not exist in this namespace; create it", reference.name);
        return Err(Outcome::waiting(Reason::MailboxNotFound, message).into());
    };
    let domain = home(ctx, &mailbox)?;
    let address = desired::mailbox_address(&mailbox.spec, &domain.spec)?;
    Ok((mailbox, address))
}

/// The address of a mailbox; `None` if its domain is missing or it is not a valid address.
pub(crate) fn address(ctx: &Context, mailbox: &EmailMailbox) -> Option<Address> {
    desired::mailbox_address(&mailbox.spec, &home(ctx, mailbox).ok()?.spec).ok()
}

/// A domain of ours that exists on Mailcow but can't match its whole spec still accepts mailboxes.
fn is_there_but_differs(domain: &EmailDomain) -> bool {
    let harmless = [Reason::DkimKeyDiffers, Reason::RefusedByMailcow, Reason::FieldNotApplied, Reason::Drifted];
    let Some(status) = domain.status.as_ref().filter(|status| status.usage.is_some()) else { return false };
    let stalled = status.conditions.iter().find(|c| c.type_ == "Stalled");
    stalled.is_some_and(|stalled| harmless.iter().any(|reason| reason.as_str() == stalled.reason))
}

/// Stops a guest namespace from adopting an entry without a mark in another namespace's domain: somebody made it by
/// hand, with mail and a password of its own. Only `Force` does, which the admission policies keep for the platform.
///
/// # Errors
/// [`Reason::NotAdopted`].
pub(crate) fn may_adopt(
    object: &impl Resource,
    domain: &EmailDomain,
    policy: AdoptionPolicy,
    thing: &impl Display,
) -> Result<(), Stop> {
    if object.meta().namespace == domain.metadata.namespace || policy == AdoptionPolicy::Force {
        return Ok(());
    }
    let message = format!(
        "{thing} already exists on Mailcow without an owner, and the domain belongs to another namespace; choose another localPart, or ask that namespace to create it or to delete the entry. Only adoptionPolicy: Force adopts it"
    );
    Err(Outcome::stalled(Reason::NotAdopted, message).into())
}

/// Stops until the domain is on Mailcow.
///
/// # Errors
/// [`Reason::DomainNotReady`].
pub(crate) fn domain_is_there(domain: &EmailDomain) -> Result<(), Stop> {
    let conditions = domain.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if status::is_true(conditions, "Synced") || is_there_but_differs(domain) {
        return Ok(());
    }
    if conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == Reason::VanishedFromMailcow.as_str()) {
        let message = format!(
            "the domain of the EmailDomain {} vanished from Mailcow together with many other entries of the server, so the operator recreates nothing; see the status of the EmailDomain",
            domain.name_any()
        );
        return Err(Outcome::stalled(Reason::VanishedFromMailcow, message).into());
    }
    let message = format!("the EmailDomain {} is not on Mailcow yet; its status says why", domain.name_any());
    Err(Outcome::waiting(Reason::DomainNotReady, message).into())
}

/// Stops while the domain is missing on Mailcow, as after a restore: Mailcow would refuse its mailboxes and aliases.
///
/// # Errors
/// [`Reason::DomainNotReady`].
pub(crate) fn domain_is_still_there(server: &Inventory, name: &DomainName) -> Result<(), Stop> {
    if !server.misses_domain(name) {
        return Ok(());
    }
    let message = format!("the domain {name} is no longer on Mailcow; the operator recreates it first");
    Err(Outcome::waiting(Reason::DomainNotReady, message).into())
}

/// Why Mailcow did not create a mailbox or an alias. A missing domain and an entry that appeared since the last read are
/// no refusals to remember: the operator retries. `is_there` reads the entry now.
pub(crate) async fn why_not_added(
    server: &Inventory,
    thing: &impl Display,
    domain: &DomainName,
    is_there: impl AsyncFnOnce() -> Result<bool, mailcow::Error>,
    failed: Stop,
    refused: &mut Option<Box<RefusedWrite>>,
) -> Stop {
    if !is_refusal(&failed) {
        return failed;
    }
    if matches!(server.domain(domain, Age::Now).await, Ok(None)) {
        let stop = domain_is_still_there(server, domain).err().unwrap_or(failed);
        refused.take_if(|_| stop.is_waiting());
        return stop;
    }
    unless_it_appeared(thing, is_there().await, failed, refused)
}

/// Why Mailcow did not create an entry, by a read after its refusal.
pub(crate) fn unless_it_appeared(
    thing: &impl Display,
    is_there: Result<bool, mailcow::Error>,
    failed: Stop,
    refused: &mut Option<Box<RefusedWrite>>,
) -> Stop {
    match is_there {
        Ok(true) => {
            *refused = None;
            let message = format!("{thing} appeared on Mailcow a moment ago; the operator compares it and continues");
            Outcome::Unknown(Why::new(Reason::RefusedByMailcow, message)).into()
        }
        Ok(false) => failed,
        // For example a half-deleted mailbox, which no list shows.
        Err(error) => {
            *refused = None;
            error.into()
        }
    }
}

/// Whether Mailcow refused a write.
pub(crate) fn is_refusal(failed: &Stop) -> bool {
    match failed {
        Stop::Outcome(Outcome::Stalled(_)) => true,
        Stop::Outcome(Outcome::Unknown(why)) => why.reason == Reason::RefusedByMailcow,
        Stop::Outcome(Outcome::InSync | Outcome::Waiting(_)) | Stop::Failed(_) => false,
    }
}

/// Whether a new object waits for an object that was not reconciled yet either. It reports nothing then: its status
/// would only repeat that. The first status of the other one triggers it.
pub(crate) fn waits_for_a_new_one(ctx: &Context, object: &impl Refers, outcome: &Outcome) -> bool {
    let Outcome::Waiting(why) = outcome else { return false };
    if !matches!(why.reason, Reason::DomainNotReady | Reason::MailboxNotReady) {
        return false;
    }
    let is_new = |conditions: Option<&[Condition]>| !status::is_reported(conditions.unwrap_or_default());
    let domain = domain_of(object).and_then(|domain| ctx.stores.domains.get(&domain));
    let is_new_domain = |domain: Arc<EmailDomain>| is_new(domain.status.as_ref().map(|it| it.conditions.as_slice()));
    let namespace = object.meta().namespace.clone().unwrap_or_default();
    let mailbox = |name: &Ref| ctx.stores.mailboxes.get(&ObjectRef::new(&name.name).within(&namespace));
    let is_new_mailbox =
        |mailbox: Arc<EmailMailbox>| is_new(mailbox.status.as_ref().map(|it| it.conditions.as_slice()));
    domain.is_some_and(is_new_domain) || object.mailboxes().into_iter().filter_map(mailbox).any(is_new_mailbox)
}

/// Stops until the mailbox is on Mailcow.
///
/// # Errors
/// [`Reason::MailboxNotReady`].
pub(crate) fn mailbox_is_there(mailbox: &EmailMailbox) -> Result<(), Stop> {
    // Mail reaches a mailbox that exists, even if it differs from its spec.
    if mailbox.status.as_ref().is_some_and(|status| status.quota.is_some()) {
        return Ok(());
    }
    Err(not_there(mailbox))
}

/// Stops until Mailcow shows the mailbox with the mark of its object. A status is not enough for what reads or forwards
/// all mail: it may describe an entry that is gone, while the address has another owner.
///
/// # Errors
/// [`Reason::MailboxNotReady`], or when Mailcow can't be asked.
pub(crate) async fn mailbox_is_ours(
    ctx: &Context,
    server: &Inventory,
    mailbox: &EmailMailbox,
    address: &Address,
) -> Result<(), Stop> {
    mailbox_is_there(mailbox)?;
    let there = server.mailbox(address, Age::Recent).await?.and_then(|have| have.mark());
    if there.is_some_and(|there| there.same_owner(&ctx.mark(mailbox))) {
        return Ok(());
    }
    Err(not_there(mailbox))
}

fn not_there(mailbox: &EmailMailbox) -> Stop {
    let message = format!("the EmailMailbox {} is not on Mailcow yet; its status says why", mailbox.name_any());
    Outcome::waiting(Reason::MailboxNotReady, message).into()
}
