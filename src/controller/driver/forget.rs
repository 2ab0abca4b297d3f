//! The single place that forgets what is known of a deleted object.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::context::Context;
use crate::crd::EmailMailbox;
use crate::kubernetes::object::Object;
use crate::kubernetes::stores::{Change, Watched};

/// Forgets deleted objects, by their uid. Runs for ever.
pub(crate) async fn run(ctx: &Context) {
    let domains = deleted(&ctx.stores.domains).map(|domain| {
        ctx.writer.forget(domain.as_ref());
        ctx.provisioned.forget(&domain);
    });
    let mailboxes = deleted(&ctx.stores.mailboxes).map(|mailbox| {
        ctx.writer.forget(mailbox.as_ref());
        ctx.passwords.forget(mailbox.as_ref());
        ctx.senders.remember(&mailbox, BTreeSet::new());
        ctx.script_reads.forget(&ObjectRef::from_obj(mailbox.as_ref()));
    });
    let aliases = deleted(&ctx.stores.aliases).map(|alias| {
        ctx.writer.forget(alias.as_ref());
        ctx.awaited.remember(&alias, BTreeSet::new());
    });
    let rules = deleted(&ctx.stores.rules).map(|rule| ctx.writer.forget(rule.as_ref()));
    let all = stream::select(stream::select(domains, mailboxes), stream::select(aliases, rules));
    all.for_each(std::future::ready).await;
}

fn deleted<K: Object + 'static>(watched: &Watched<K>) -> impl Stream<Item = Arc<K>> + use<K> {
    watched.subscribe(|change| Change::deleted(change).cloned())
}

/// Forgets an object, by kind and name, that should be reconciled but no longer exists. Each deletion comes here, and
/// so does each retry of an object that was deleted meanwhile.
pub(crate) fn forget_deleted(ctx: &Context, kind: &str, namespace: &str, name: &str) {
    ctx.backoff.succeeded(&format!("{kind}/{namespace}/{name}"));
    if kind == EmailMailbox::KIND {
        ctx.backoff.succeeded(&format!("script/{namespace}/{name}"));
        ctx.backoff.succeeded(&format!("delivery/{namespace}/{name}"));
    }
}
