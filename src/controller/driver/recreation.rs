//! Recreation of entries that vanished from Mailcow: with a Warning if they had mail, and not at all if many vanished
//! at once, until somebody confirms it on the Secret with the connection.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;

use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::controller::servers::vanished::{ConnectionSecret, Counted};
use crate::crd::{DEFAULT_SERVER, RECONCILE_REQUESTED_AT, RECREATE_VANISHED};
use crate::inventory::Inventory;
use crate::kubernetes::object::Object;
use crate::mail::{Catch, DomainName};
use crate::mailcow;
use crate::outcome::{Outcome, Reason};
use crate::plan::{DomainCounts, Held, Vanished};
use crate::status::Occurrence;

/// If thousands vanish at once, they are counted once.
const KEEP: Duration = Duration::from_secs(2);

/// Reports that an entry vanished with its mail and was recreated, empty.
pub(crate) async fn report<K: Object>(ctx: &Context, object: &K, thing: &impl Display) {
    let event = Occurrence::Recreated(thing.to_string()).event();
    tracing::warn!("{}", event.note);
    ctx.writer.publish(object, &event).await;
}

/// Stops before an entry is recreated that was in sync, if many others vanished from its server too.
///
/// # Errors
/// [`Reason::VanishedFromMailcow`], or why the server can't be asked.
pub(crate) async fn may_be_made_again(
    ctx: &Context,
    name: &str,
    server: &Inventory,
    thing: &impl Display,
) -> Result<(), Stop> {
    let of_server = ctx.vanished.of(name);
    let mut last = of_server.lock().await;
    let known = last.filter(|last| last.at.elapsed() < KEEP);
    let mut now = if let Some(known) = known {
        known
    } else {
        let vanished = count(ctx, name, server).await?;
        Counted { at: Instant::now(), vanished, reported: last.and_then(|last| last.reported) }
    };
    let secret = ctx.servers.secret(name);
    let consent = secret.as_ref().and_then(|secret| secret.consent.as_deref());
    let url = server.client().server();
    let time = crate::clock::now().0;
    let is_stopped = now.vanished.is_many() && !now.vanished.is_consented(consent, &url, time);
    let today = time.as_second() / 86_400;
    let is_news = now.reported.is_none_or(|(missing, day)| missing < now.vanished.missing || day != today);
    now.reported = match is_stopped {
        true if is_news => {
            report_vanished(ctx, name, now.vanished, &url, secret.as_ref()).await;
            Some((now.vanished.missing, today))
        }
        true => now.reported,
        false => None,
    };
    *last = Some(now);
    drop(last);
    if !is_stopped {
        return Ok(());
    }
    let whence = secret.map_or_else(
        || "the operator's log".to_owned(),
        |secret| {
            format!("a Warning on the Secret {} in the namespace {}", secret.name, ctx.settings.operator_namespace)
        },
    );
    let message = format!(
        "{thing} vanished from Mailcow together with many other entries of this server, so the operator recreates nothing; {whence} says how many, and what to do"
    );
    Err(Outcome::stalled(Reason::VanishedFromMailcow, message).into())
}

/// Reports once how many entries are missing and what to do.
async fn report_vanished(ctx: &Context, name: &str, vanished: Vanished, url: &str, secret: Option<&ConnectionSecret>) {
    let Vanished { missing, expected } = vanished;
    let looks = format!(
        "{missing} of {expected} domains, mailboxes and aliases that were in sync vanished from the Mailcow server {name} ({url}). The operator recreates none, because they would be empty. Check that this is the right server and that it has all its data."
    );
    let Some(secret) = secret else {
        tracing::warn!(
            server = name,
            missing,
            expected,
            "{looks} To recreate one, set its annotation {} to a value that begins with correct",
            RECONCILE_REQUESTED_AT
        );
        return;
    };
    let namespace = &ctx.settings.operator_namespace;
    let consent = vanished.consent(url, crate::clock::now().0);
    let note = format!(
        "{looks} If the data is lost, recreate everything: kubectl -n {namespace} annotate --overwrite secret {} {RECREATE_VANISHED}={consent}",
        secret.name
    );
    tracing::warn!(server = name, missing, expected, "{note}");
    let reference = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some(secret.name.clone()),
        namespace: Some(namespace.clone()),
        uid: secret.uid.clone(),
        ..ObjectReference::default()
    };
    ctx.writer.publish_on(&reference, &Occurrence::VanishedFromMailcow(note).event()).await;
}

/// Compares the entries that statuses report as in sync with those on the server.
async fn count(ctx: &Context, name: &str, server: &Inventory) -> Result<Vanished, mailcow::Error> {
    let shown = server.client().domains().await?;
    let mut domains: HashMap<DomainName, DomainCounts> = shown
        .into_iter()
        .map(|(name, have)| {
            let held = Held { mailboxes: usize_of(have.mailboxes), aliases: usize_of(have.aliases) };
            (name, DomainCounts { shown: Some(held), ..DomainCounts::default() })
        })
        .collect();
    for domain in ctx.stores.domains.filter(|domain| domain.spec.server == name) {
        let status = domain.status.as_ref().filter(|status| status.synced_generation.is_some());
        let known = status.and_then(|status| DomainName::parse(status.domain.as_deref()?).ok());
        if let Some(known) = known.filter(|_| domain.metadata.deletion_timestamp.is_none()) {
            domains.entry(known).or_default().is_expected = true;
        }
    }
    let is_here = |on: Option<&str>| on.unwrap_or(DEFAULT_SERVER) == name;
    for mailbox in ctx.stores.mailboxes.all() {
        let status = mailbox.status.as_ref().filter(|status| is_here(status.server.as_deref()));
        let synced = status.filter(|status| status.synced_generation.is_some());
        let Some(catch) = synced.and_then(|status| Catch::parse(status.address.as_deref()?).ok()) else { continue };
        if mailbox.metadata.deletion_timestamp.is_none() {
            let counts = domains.entry(catch.domain().clone()).or_default();
            counts.expected.mailboxes += 1;
            counts.seen_missing.mailboxes += usize::from(server.misses_mailbox(&catch));
        }
    }
    for alias in ctx.stores.aliases.all() {
        let status = alias.status.as_ref().filter(|status| is_here(status.server.as_deref()));
        let synced = status.filter(|status| status.synced_generation.is_some());
        let Some(catch) = synced.and_then(|status| Catch::parse(status.address.as_deref()?).ok()) else { continue };
        if alias.metadata.deletion_timestamp.is_none() {
            let counts = domains.entry(catch.domain().clone()).or_default();
            counts.expected.aliases += 1;
            counts.seen_missing.aliases += usize::from(server.misses_alias(&catch));
        }
    }
    Ok(Vanished::count(domains.values()))
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
