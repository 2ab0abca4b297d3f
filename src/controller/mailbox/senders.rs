//! Sender addresses of a mailbox: none in a domain of another namespace, except those of the mailbox's own namespace
//! there; and only addresses that Mailcow knows, because it drops others.

use std::collections::BTreeSet;

use kube::Resource;

use crate::controller::driver::context::Context;
use crate::controller::driver::references;
use crate::crd::{EmailDomain, EmailMailbox, StatusCondition};
use crate::inventory::{Age, Inventory};
use crate::mail::{Address, Catch, Mailbox};
use crate::mailcow::Error;
use crate::outcome::{Outcome, Reason};
use crate::status;

/// Removes sender addresses that belong to other namespaces, and reports them.
pub(crate) fn leave_out_others(
    ctx: &Context,
    object: &EmailMailbox,
    domain: &EmailDomain,
    want: &mut Mailbox,
) -> Option<Outcome> {
    let wanted = want.sender_acl.as_mut().filter(|wanted| !wanted.is_empty())?;
    let is_near = |other: &EmailDomain| other.spec.server == domain.spec.server;
    let elsewhere = ctx.stores.domains.state_filter(|other| !is_beside(object, other) && is_near(other));
    let others: BTreeSet<&str> = elsewhere.iter().filter(|domain| was_there(domain)).filter_map(|d| name(d)).collect();
    let here = ctx.stores.domains.state_filter(|other| is_beside(object, other) && is_near(other));
    let here = here.iter().filter(|domain| references::domain_is_there(domain).is_ok());
    let others = &others - &here.filter_map(|domain| name(domain)).collect();
    let left_out = &of_others(wanted, &others) - &addresses_of(ctx, object);
    wanted.retain(|entry| !left_out.contains(entry));
    (!left_out.is_empty()).then(|| report(&left_out))
}

/// Removes sender addresses that Mailcow would not keep: those that an alias allows anyway, and those that don't exist
/// yet. Reports the latter.
///
/// # Errors
/// When Mailcow can't be asked.
pub(crate) async fn take_out_unkept(server: &Inventory, want: &mut Mailbox) -> Result<Option<Outcome>, Error> {
    let (mut kept, mut missing) = (BTreeSet::new(), BTreeSet::new());
    let Some(wanted) = &want.sender_acl else { return Ok(None) };
    for entry in wanted {
        match kind(server, entry, &want.address).await? {
            Entry::Kept => kept.insert(entry.clone()),
            Entry::Missing => missing.insert(entry.clone()),
            Entry::Redundant => continue,
        };
    }
    want.sender_acl = Some(kept);
    Ok((!missing.is_empty()).then(|| not_found(&missing)))
}

/// What Mailcow does with an entry.
enum Entry {
    /// It keeps the entry.
    Kept,
    /// An alias allows the sender already: Mailcow keeps nothing.
    Redundant,
    /// It is not a mailbox, alias or domain: Mailcow refuses it.
    Missing,
}

async fn kind(server: &Inventory, entry: &str, mailbox: &Address) -> Result<Entry, Error> {
    let found = |is_there: bool| if is_there { Entry::Kept } else { Entry::Missing };
    match Catch::parse(entry) {
        // `*` is not an address.
        Err(_) => Ok(Entry::Kept),
        Ok(Catch::All(domain)) => Ok(found(server.has_domain_or_alias_domain(&domain).await?)),
        Ok(Catch::One(address)) if address == *mailbox => Ok(Entry::Redundant),
        Ok(Catch::One(address)) => match server.alias(&Catch::One(address.clone()), Age::Recent).await? {
            Some(alias) if alias.lets_send(mailbox) => Ok(Entry::Redundant),
            Some(_) => Ok(Entry::Kept),
            None => match server.mailbox(&address, Age::Recent).await {
                Ok(found_there) => Ok(found(found_there.is_some())),
                // A half-deleted mailbox doesn't count.
                Err(Error::Refused { .. }) => Ok(Entry::Missing),
                Err(error) => Err(error),
            },
        },
    }
}

fn not_found(missing: &BTreeSet<String>) -> Outcome {
    let entries = missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!(
        "spec.senderAcl: {entries} is not a mailbox, alias or domain on Mailcow; create it, or remove it from the list. Everything else is written"
    );
    Outcome::waiting(Reason::SenderNotFound, message)
}

/// The entries that the mailbox names now; none if it is being deleted.
pub(crate) fn named(object: &EmailMailbox) -> BTreeSet<String> {
    let is_deleted = object.metadata.deletion_timestamp.is_some();
    let entries = object.spec.sender_acl.iter().flatten().filter(|_| !is_deleted);
    entries.map(|entry| entry.to_lowercase()).collect()
}

/// The entries that are in these domains, or include them.
fn of_others(wanted: &BTreeSet<String>, others: &BTreeSet<&str>) -> BTreeSet<String> {
    let is_theirs = |entry: &&String| match entry.rsplit_once('@') {
        Some((_, domain)) => others.contains(domain),
        None => !others.is_empty(),
    };
    wanted.iter().filter(is_theirs).cloned().collect()
}

/// The addresses of the mailbox's namespace on Mailcow.
fn addresses_of(ctx: &Context, object: &EmailMailbox) -> BTreeSet<String> {
    let mailboxes = ctx.stores.mailboxes.state_filter(|other| is_beside(object, other));
    let aliases = ctx.stores.aliases.state_filter(|other| is_beside(object, other));
    let mailboxes = mailboxes.iter().filter_map(|mailbox| {
        let status = mailbox.status.as_ref()?;
        status.address.clone().filter(|_| is_synced(&status.conditions))
    });
    let aliases = aliases.iter().filter_map(|alias| {
        let status = alias.status.as_ref()?;
        status.address.clone().filter(|_| is_synced(&status.conditions))
    });
    // A catch-all is not an address.
    mailboxes.chain(aliases).filter(|address| !address.starts_with('@')).collect()
}

fn is_synced(conditions: &[StatusCondition]) -> bool {
    status::is_true(conditions, "Synced") || status::is_true(conditions, "Drifted")
}

fn is_beside(object: &EmailMailbox, other: &impl Resource) -> bool {
    other.meta().namespace == object.metadata.namespace
}

fn report(left_out: &BTreeSet<String>) -> Outcome {
    let entries = left_out.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!(
        "spec.senderAcl: {entries} would let the mailbox send in the name of another namespace; remove it. Everything else is written"
    );
    Outcome::stalled(Reason::OwnedByAnother, message)
}

/// Whether the domain was seen on Mailcow and is this object's.
fn was_there(domain: &EmailDomain) -> bool {
    domain.status.as_ref().is_some_and(|status| status.usage.is_some())
}

fn name(domain: &EmailDomain) -> Option<&str> {
    domain.status.as_ref()?.domain.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_in_others_is_left_out() {
        let wanted: BTreeSet<String> =
            ["*", "@b.example", "@a.example", "x@a.example", "x@c.example"].map(ToOwned::to_owned).into();
        let left_out = |others: &[&str]| of_others(&wanted, &others.iter().copied().collect());
        assert_eq!(left_out(&["a.example"]).into_iter().collect::<Vec<_>>(), ["*", "@a.example", "x@a.example"]);
        assert_eq!(left_out(&["other.example"]).into_iter().collect::<Vec<_>>(), ["*"]);
        assert!(left_out(&[]).is_empty(), "where nobody else is, anything goes");
    }
}
