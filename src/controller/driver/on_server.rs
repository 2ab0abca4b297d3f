//! On which Mailcow server an object is, and whether this instance serves it. Each object is on exactly one server at a
//! time, so of several instances exactly one reconciles and reports it.

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::addresses;
use crate::controller::driver::context::Context;
use crate::controller::driver::index::Key;
use crate::controller::driver::references::{self, server_name};
use crate::crd::{DEFAULT_SERVER, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::kubernetes::object::Object;
use crate::mail::Address;

/// An object on a Mailcow server.
pub(crate) trait OnServer: Object {
    /// The name of its server: that of its domain, else the last one, else the default.
    fn server(&self, ctx: &Context) -> String;
}

impl OnServer for EmailDomain {
    fn server(&self, _: &Context) -> String {
        self.spec.server.clone()
    }
}

impl OnServer for EmailMailbox {
    fn server(&self, ctx: &Context) -> String {
        let reported = self.status.as_ref().and_then(|status| status.server.as_deref());
        server_name(references::home(ctx, self).ok().as_deref(), reported)
    }
}

impl OnServer for EmailAlias {
    fn server(&self, ctx: &Context) -> String {
        let reported = self.status.as_ref().and_then(|status| status.server.as_deref());
        server_name(references::domain(ctx, self, &self.spec.domain_ref).ok().as_deref(), reported)
    }
}

impl OnServer for EmailForwardingRule {
    fn server(&self, ctx: &Context) -> String {
        let namespace = self.namespace().unwrap_or_default();
        let mailbox = self.spec.mailbox_ref.as_ref().and_then(|reference| {
            let mailbox = ctx.stores.mailboxes.get(&ObjectRef::new(&reference.name).within(&namespace))?;
            Some(mailbox.server(ctx))
        });
        let domain = || {
            let domain = references::domain(ctx, self, self.spec.domain_ref.as_ref()?).ok()?;
            Some(domain.spec.server.clone())
        };
        mailbox.or_else(domain).or_else(|| last_server(ctx, self)).unwrap_or_else(|| DEFAULT_SERVER.to_owned())
    }
}

/// The server of the last address in the status of a rule whose mailbox or domain is gone: that of a mailbox which still
/// has it, else that of its domain.
fn last_server(ctx: &Context, rule: &EmailForwardingRule) -> Option<String> {
    let last = rule.status.as_ref()?.mailboxes.first()?;
    let has_it = |mailbox: &EmailMailbox| {
        mailbox.metadata.namespace == rule.metadata.namespace
            && mailbox.status.as_ref().is_some_and(|status| status.address.as_ref() == Some(last))
    };
    if let Some(mailbox) = ctx.stores.mailboxes.by_keys(Key::Address(last), has_it).next() {
        return Some(mailbox.server(ctx));
    }
    let last = Address::parse(last).ok()?;
    let domains = addresses::domains_named(&ctx.stores, last.domain());
    domains.map(|domain| domain.spec.server.clone()).min()
}

/// Whether this instance works on the object. The others leave it alone: no status, no finalizer, no event.
pub(crate) fn is_served<K: OnServer>(ctx: &Context, object: &K) -> bool {
    ctx.served.is_everything() || ctx.served.has(&object.server(ctx))
}

/// Writes the status of an object, unless another instance serves it by now.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn write_status<K: OnServer>(
    ctx: &Context,
    object: &K,
    before: &K::Status,
    after: &K::Status,
) -> Result<(), kube::Error> {
    if is_served(ctx, object) { ctx.writer.write_status(object, before, after).await } else { Ok(()) }
}
