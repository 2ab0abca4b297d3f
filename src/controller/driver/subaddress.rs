//! Addresses with a detail after `+` (RFC 5233). Mailcow delivers mail to `ceo+billing` to `ceo`, unless an alias with
//! that name exists, which wins. So an address and its subaddresses belong to one namespace.

use kube::Resource;

use crate::controller::driver::addresses::{Addressed, place};
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::controller::driver::holdings;
use crate::controller::driver::index::Key;
use crate::controller::driver::refers::domain_of;
use crate::crd::{AllowedNamespaces, EmailDomain, NamespacesFrom};
use crate::inventory::Inventory;
use crate::mail::{DomainName, Mark};
use crate::outcome::{Outcome, Reason};
use crate::tenancy::Held;

/// Stops a guest from taking a subaddress whose base address belongs to another namespace.
///
/// # Errors
/// [`Reason::AddressReserved`], or [`Reason::MailboxNotReady`] while the base address is still to be made.
pub(crate) fn may_have(ctx: &Context, object: &impl Addressed, domain: &EmailDomain) -> Result<(), Stop> {
    let Some(base) = object.local_part().and_then(base_of) else { return Ok(()) };
    if object.meta().namespace == domain.metadata.namespace {
        return Ok(());
    }
    let is_base = |local: &str| local.eq_ignore_ascii_case(base);
    let Some(home) = domain_of(object) else { return Ok(()) };
    let at_base = Key::Wanted(place(&home, Some(base)));
    let mailbox =
        ctx.stores.mailboxes.by_keys(at_base, |m| is_in_domain_of(m, object, is_base) && is_beside(object, m));
    let alias = ctx.stores.aliases.by_keys(at_base, |a| is_in_domain_of(a, object, is_base) && is_beside(object, a));
    let mailbox = mailbox.filter_map(|mailbox| holdings::of_mailbox(&mailbox)).max();
    let held = mailbox.max(alias.filter_map(|alias| holdings::of_alias(&alias)).max());
    match held {
        Some(Held::Surely | Held::Perhaps) => Ok(()),
        Some(Held::Wanted) => {
            let message = format!(
                "spec.localPart: {base} is not on Mailcow yet; an address with + is created after the address before the +"
            );
            Err(Outcome::waiting(Reason::MailboxNotReady, message).into())
        }
        None => {
            let message = format!(
                "spec.localPart: mail to an address with + belongs to {base}, which is not a mailbox or alias of this namespace; create {base} first, or choose another name"
            );
            Err(Outcome::stalled(Reason::AddressReserved, message).into())
        }
    }
}

/// Stops an object that wants a base address while another namespace owns subaddresses of it: their mail would not
/// reach it. Checked before anything is created, and only in domains with guests.
///
/// # Errors
/// [`Reason::Conflict`].
pub(crate) fn is_free<K: Addressed>(ctx: &Context, object: &K, domain: &EmailDomain) -> Result<(), Stop> {
    let Some(local) = object.local_part().filter(|local| base_of(local).is_none()) else { return Ok(()) };
    if !has_guests(domain.spec.allowed_namespaces.as_ref()) {
        return Ok(());
    }
    let base = local.to_lowercase();
    let is_subaddress = |theirs: &str| base_of(theirs).is_some_and(|base| base.eq_ignore_ascii_case(local));
    let mailbox = ctx.stores.mailboxes.has(Key::Base(&base), |other| {
        is_in_domain_of(other, object, is_subaddress)
            && !is_beside(object, other)
            && holdings::of_mailbox(other) > Some(Held::Wanted)
    });
    let alias = ctx.stores.aliases.has(Key::Base(&base), |other| {
        is_in_domain_of(other, object, is_subaddress)
            && !is_beside(object, other)
            && holdings::of_alias(other) > Some(Held::Wanted)
    });
    if !mailbox && !alias {
        return Ok(());
    }
    let message = format!(
        "another namespace has an address that begins with {local}+; nothing is written while it exists. Choose another localPart, or ask for its deletion"
    );
    Err(Outcome::stalled(Reason::Conflict, message).into())
}

/// The same for subaddresses that another namespace left on Mailcow without an object.
///
/// # Errors
/// [`Reason::Conflict`], or when Mailcow can't be asked.
pub(crate) async fn is_free_on_mailcow(
    ctx: &Context,
    server: &Inventory,
    object: &impl Addressed,
    domain: &EmailDomain,
    name: &DomainName,
) -> Result<(), Stop> {
    let Some(local) = object.local_part().filter(|local| base_of(local).is_none()) else { return Ok(()) };
    if !has_guests(domain.spec.allowed_namespaces.as_ref()) {
        return Ok(());
    }
    let own = object.meta().namespace.as_deref().unwrap_or_default();
    let is_foreign = |mark: &Mark| !mark.is_of_namespace(&ctx.cluster, own);
    let Some(found) = server.subaddress(local, name, is_foreign).await? else { return Ok(()) };
    let message = format!(
        "Mailcow has {found} of another namespace, which would get mail to {local}+…; nothing is written while it exists. Choose another localPart, or ask for its deletion on Mailcow"
    );
    Err(Outcome::stalled(Reason::Conflict, message).into())
}

/// The part before the first `+`; `None` without a `+`.
fn base_of(local_part: &str) -> Option<&str> {
    local_part.split_once('+').map(|(base, _)| base)
}

fn has_guests(allowed: Option<&AllowedNamespaces>) -> bool {
    allowed.is_some_and(|allowed| allowed.from != NamespacesFrom::Same)
}

fn is_beside(object: &impl Resource, other: &impl Resource) -> bool {
    object.meta().namespace == other.meta().namespace
}

/// Whether an object that is not being deleted belongs to the domain of `object`, and its local part passes the check.
fn is_in_domain_of<K: Addressed>(other: &K, object: &impl Addressed, asked: impl Fn(&str) -> bool) -> bool {
    // Compare names first: nearly all differ.
    other.local_part().is_some_and(asked)
        && other.meta().deletion_timestamp.is_none()
        && domain_of(other) == domain_of(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_stands_before_the_first_plus() {
        let bases = ["ceo", "ceo+billing", "ceo+a+b", "+x", "a-b"].map(base_of);
        assert_eq!(bases, [None, Some("ceo"), Some("ceo"), Some(""), None]);
    }
}
