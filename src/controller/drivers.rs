//! Starts every driver with its triggers.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use crate::controller::driver::context::Context;
use crate::controller::driver::forget;
use crate::controller::driver::queue::{Driver, Running, drive};
use crate::controller::triggers::{self, changes};
use crate::controller::{alias, delivery, domain, domain_dns, mailbox, provision, rules, shutdown};
use crate::gates::Gate;

/// Number of domains whose DNS is checked in parallel. Most of this is waiting; the number of open queries has its own
/// limit ([`crate::dns::Options`]).
pub(crate) const DNS_CONCURRENCY: u16 = 32;

/// Runs every driver until the process must stop.
pub(crate) async fn run(ctx: &Arc<Context>) {
    if !ctx.has(Gate::EmailHosting) {
        return shutdown::requested(ctx.ending.clone()).await;
    }
    // An earlier reconcile would report for every object that it has no server.
    tokio::select! {
        () = ctx.servers.known() => {}
        () = shutdown::requested(ctx.ending.clone()) => return,
    }
    tokio::select! {
        () = all(drivers(ctx)) => {}
        () = forget::run(ctx) => {}
        () = delivery::sweep(ctx), if ctx.has(Gate::TaskDelivery) => {}
    }
}

/// Runs every driver on its own task. On one task they would all run on the main thread, which would have to be woken for
/// each end of a reconcile.
async fn all(drivers: Vec<Running>) {
    let tasks = drivers.into_iter().map(|driver| AbortOnDropHandle::new(tokio::spawn(driver)));
    // A panic ends the process.
    if let Err(failed) = futures::future::try_join_all(tasks).await
        && let Ok(panic) = failed.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

fn drivers(ctx: &Arc<Context>) -> Vec<Running> {
    let stores = &ctx.stores;
    let mut drivers = vec![
        drive(
            &stores.domains,
            ctx,
            Driver { matters: changes::domain_for_mailcow, ..Driver::new(triggers::of_domains(ctx)) },
            domain::reconcile,
        ),
        drive(
            &stores.domains,
            ctx,
            Driver {
                name: "DNS",
                concurrency: DNS_CONCURRENCY,
                matters: changes::domain_for_dns,
                ..Driver::new(vec![])
            },
            domain_dns::reconcile,
        ),
        drive(
            &stores.mailboxes,
            ctx,
            Driver { in_turn: Some(ctx.settings.resync), ..Driver::new(triggers::of_mailboxes(ctx)) },
            mailbox::reconcile,
        ),
        drive(
            &stores.aliases,
            ctx,
            Driver { in_turn: Some(ctx.settings.resync), ..Driver::new(triggers::of_aliases(ctx)) },
            alias::reconcile,
        ),
    ];
    if ctx.has(Gate::AutoProvisioning) {
        let driver = Driver { name: "Provisioning", ..Driver::new(triggers::of_provisioning(ctx)) };
        drivers.push(drive(&stores.domains, ctx, driver, provision::reconcile));
    }
    if ctx.has(Gate::ForwardingRules) {
        let scripts = Driver {
            name: "Script",
            matters: changes::mailbox_for_script,
            all_due: triggers::changes_of_sinks(ctx),
            ..Driver::new(triggers::of_scripts(ctx))
        };
        drivers.push(drive(&stores.mailboxes, ctx, scripts, rules::script::reconcile));
        drivers.push(drive(&stores.rules, ctx, Driver::new(triggers::of_rules(ctx)), rules::rule::reconcile));
    }
    // Where task delivery is off it removes the app passwords that are left.
    let matters = changes::mailbox_for_delivery;
    let all_due = triggers::changes_of_sinks(ctx);
    let driver = Driver { name: "Delivery", matters, all_due, ..Driver::new(triggers::of_delivery(ctx)) };
    drivers.push(drive(&stores.mailboxes, ctx, driver, delivery::reconcile));
    drivers
}
