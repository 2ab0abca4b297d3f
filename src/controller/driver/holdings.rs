//! What a namespace owns on a server, according to the statuses of its objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::controller::driver::context::Context;
use crate::controller::driver::index::Key;
use crate::crd::{DEFAULT_SERVER, EmailAlias, EmailDomain, EmailMailbox};
use crate::desired;
use crate::mail::{Address, Catch};
use crate::status::Conditioned;
use crate::tenancy::{Held, Holdings, held};

/// Whether the object owns its domain on Mailcow.
pub(crate) fn of_domain(domain: &EmailDomain) -> Option<Held> {
    let status = domain.status.as_ref();
    let conditions = status.map(Conditioned::conditions).unwrap_or_default();
    held(conditions, status.is_some_and(|status| status.usage.is_some()))
}

/// Whether the object owns its mailbox on Mailcow.
pub(crate) fn of_mailbox(mailbox: &EmailMailbox) -> Option<Held> {
    let status = mailbox.status.as_ref();
    let conditions = status.map(Conditioned::conditions).unwrap_or_default();
    held(conditions, status.is_some_and(|status| status.quota.is_some()))
}

/// Whether the object owns its alias on Mailcow.
pub(crate) fn of_alias(alias: &EmailAlias) -> Option<Held> {
    let status = alias.status.as_ref();
    let conditions = status.map(Conditioned::conditions).unwrap_or_default();
    held(conditions, status.is_some_and(|status| status.alias_id.is_some()))
}

/// What the object's namespace owns on a server.
pub(crate) fn of(ctx: &Context, object: &impl Resource, server: &str) -> Holdings {
    let namespace = object.meta().namespace.as_deref();
    let mut holdings = Holdings { is_platform: ctx.settings.is_platform(namespace), ..Holdings::default() };
    if holdings.is_platform {
        return holdings;
    }
    let is_beside = |other: &ObjectMeta| other.namespace.as_deref() == namespace;
    let is_there = |on: Option<&String>| on.map_or(DEFAULT_SERVER, String::as_str) == server;
    let in_namespace = || Key::Namespace(namespace.unwrap_or_default());
    let domains = ctx.stores.domains.by_keys(in_namespace(), |other| {
        is_beside(&other.metadata) && other.spec.server == server && other.metadata.deletion_timestamp.is_none()
    });
    for domain in domains {
        if let (Ok(name), Some(held)) = (desired::domain_name(&domain.spec), of_domain(&domain)) {
            holdings.add_domain(name, held);
        }
    }
    let mailboxes = ctx.stores.mailboxes.by_keys(in_namespace(), |other| is_beside(&other.metadata));
    for mailbox in mailboxes {
        let status = mailbox.status.as_ref().filter(|status| is_there(status.server.as_ref()));
        let address = status.and_then(|status| Address::parse(status.address.as_deref()?).ok());
        if let (Some(address), Some(held)) = (address, of_mailbox(&mailbox)) {
            holdings.add_address(address, held);
        }
    }
    let aliases = ctx.stores.aliases.by_keys(in_namespace(), |other| is_beside(&other.metadata));
    for alias in aliases {
        let status = alias.status.as_ref().filter(|status| is_there(status.server.as_ref()));
        let catch = status.and_then(|status| Catch::parse(status.address.as_deref()?).ok());
        // A catch-all is not an address.
        if let (Some(Catch::One(address)), Some(held)) = (catch, of_alias(&alias)) {
            holdings.add_address(address, held);
        }
    }
    holdings
}
