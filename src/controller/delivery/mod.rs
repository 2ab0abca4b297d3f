//! The driver of app passwords, one for each mailbox with rules whose copies the worker of task delivery takes out.
//! Where the feature is off it removes those that are left, which it knows by `status.delivery` of the mailbox. Their
//! entries stay in the Secrets, which the operator may not read then, and open nothing any more.
//!
//! Mailcow comes first: the Secret has only passwords that Mailcow confirmed, because every failed login of the worker
//! counts for Mailcow's ban. What a crash leaves in between is one app password too many, which the next reconcile
//! removes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::controller::domain::ownership;
use crate::controller::driver::action::Action;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{Failed, Stop, not_applied, outcome, server};
use crate::controller::driver::index::Key;
use crate::controller::driver::references;
use crate::controller::mailbox::secrets::random_password;
use crate::controller::rules::scope;
use crate::crd::{DeliveryStatus, EmailForwardingRule, EmailMailbox, MailboxState, Protocol, REPLACE_APP_PASSWORD};
use crate::desired;
use crate::gates::Gate;
use crate::inventory::{Age, Inventory};
use crate::kubernetes::app_passwords::AppPasswordEntry;
use crate::kubernetes::object::{annotation, is_paused};
use crate::kubernetes::writer::DELIVERY;
use crate::mail::{Address, Mark, hex};
use crate::mailcow;
use crate::outcome::{Outcome, Reason};
use crate::plan::{self, AppPasswordPlan, Change};
use crate::status::{self, Occurrence};

/// How often entries of mailboxes without an object are looked for, in addition to each deletion.
const SWEEP: Duration = Duration::from_mins(10);

/// One reconcile of the app password of a mailbox.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(mailbox: Arc<EmailMailbox>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    let done = Ok((Action::await_change(), Outcome::InSync));
    let readable = ctx.app_passwords.ready().await.map_err(Stop::api);
    let Some(address) = references::address(&ctx, &mailbox).or_else(|| last_address(&mailbox)) else { return done };
    let _lock = ctx.script_locks.lock(&lock_name(&address)).await;
    // Checked under the lock: a removal of the mailbox has the last word.
    let now = ctx.stores.mailboxes.get(&ObjectRef::from_obj(mailbox.as_ref()));
    let Some(mailbox) = now.filter(|now| now.metadata.deletion_timestamp.is_none()) else { return done };
    let before = ctx.writer.delivery_status(&mailbox);
    let work = Work::of(&ctx, &mailbox, address);
    if !work.is_needed && before.is_none() && work.entry.is_none() {
        return done;
    }
    let applied = match readable {
        Ok(()) => work.apply(&ctx, &mailbox, before.as_ref()).await,
        Err(refused) => Err(refused),
    };
    let result = outcome(applied)?;
    let now = ctx.writer.delivery_status(&mailbox);
    let after = status::delivery(work.is_needed, &result);
    ctx.writer.write_part(mailbox.as_ref(), DELIVERY, now.as_ref(), after.as_ref()).await?;
    let key = format!("delivery/{}/{}", mailbox.namespace().unwrap_or_default(), mailbox.name_any());
    Ok((Action::requeue(ctx.next_of(&key, &result)), result))
}

/// Removes the app password of a mailbox whose object is being deleted.
///
/// # Errors
/// [`Stop`] when it can't be done.
pub(crate) async fn finish_deletion(
    ctx: &Context,
    mailbox: &EmailMailbox,
    address: &Address,
    server: &Inventory,
) -> Result<(), Stop> {
    ctx.app_passwords.ready().await.map_err(Stop::api)?;
    let uid = mailbox.uid().unwrap_or_default();
    if ctx.writer.delivery_status(mailbox).is_none() && ctx.app_passwords.get(&uid).is_none() {
        return Ok(());
    }
    let _lock = ctx.script_locks.lock(&lock_name(address)).await;
    remove(ctx, server, address, &ctx.mark(mailbox), &uid).await
}

/// Removes entries of mailboxes whose object is gone, for as long as the process runs.
pub(crate) async fn sweep(ctx: &Context) {
    ctx.stores.ready().await;
    while ctx.app_passwords.ready().await.is_err() {
        tokio::time::sleep(SWEEP).await; // the mailboxes report it
    }
    let deleted = ctx.stores.mailboxes.subscribe(|change| change.deleted().map(drop));
    let ticks = stream::unfold((), |()| async {
        tokio::time::sleep(SWEEP).await;
        Some(((), ()))
    });
    let mut due = Box::pin(stream::select(stream::once(std::future::ready(())), stream::select(deleted, ticks)));
    while due.next().await.is_some() {
        for uid in ctx.app_passwords.uids() {
            if ctx.stores.mailboxes.has(Key::Uid(&uid), |mailbox| mailbox.metadata.uid.as_ref() == Some(&uid)) {
                continue;
            }
            if let Err(error) = ctx.app_passwords.write(&uid, None).await {
                tracing::warn!(%error, "the app password of a deleted mailbox can't be removed from its Secret");
            }
        }
    }
}

fn lock_name(address: &Address) -> String {
    format!("app password of {address}")
}

/// The last address of the mailbox, if its domain is deleted or no longer allows it.
fn last_address(mailbox: &EmailMailbox) -> Option<Address> {
    Address::parse(mailbox.status.as_ref()?.address.as_deref()?).ok()
}

/// Whether a rule of the mailbox files copies that the worker takes out. None does where the feature is off.
fn is_needed(ctx: &Context, mailbox: &EmailMailbox, address: &Address) -> bool {
    if !ctx.has(Gate::TaskDelivery) || !ctx.has(Gate::ForwardingRules) {
        return false;
    }
    let is_of = |rule: &EmailForwardingRule| {
        rule.metadata.namespace == mailbox.metadata.namespace
            && rule.metadata.deletion_timestamp.is_none()
            && scope::applies(rule, mailbox)
            && rule.spec.actions.iter().any(|action| action.create_task.is_some() || action.create_note.is_some())
    };
    let mut rules = ctx.stores.rules.by_keys(scope::keys_of_rules(mailbox), is_of);
    let has_queue = |rule: &Arc<EmailForwardingRule>| {
        scope::check(ctx, rule, Some(address)).is_ok_and(|rule| rule.queues().next().is_some())
    };
    rules.any(|rule| has_queue(&rule))
}

/// What one reconcile works with.
struct Work {
    address: Address,
    uid: String,
    mark: Mark,
    is_needed: bool,
    entry: Option<Arc<AppPasswordEntry>>,
    /// The value of the annotation that asks for another app password.
    asked: Option<String>,
}

impl Work {
    fn of(ctx: &Context, mailbox: &EmailMailbox, address: Address) -> Self {
        let uid = mailbox.uid().unwrap_or_default();
        Self {
            is_needed: is_needed(ctx, mailbox, &address),
            entry: ctx.app_passwords.get(&uid),
            mark: ctx.mark(mailbox),
            asked: annotation(mailbox, REPLACE_APP_PASSWORD).map(ToOwned::to_owned),
            uid,
            address,
        }
    }

    async fn apply(&self, ctx: &Context, mailbox: &EmailMailbox, before: Option<&DeliveryStatus>) -> Result<(), Stop> {
        let domain = references::home(ctx, mailbox);
        let reported = mailbox.status.as_ref().and_then(|status| status.server.as_deref());
        let name = references::server_name(domain.as_deref().ok(), reported);
        let server = server(ctx, &name)?;
        if is_paused(mailbox) {
            let message = "the mailbox is paused; not written: app password";
            // The status is there from before an app password is made until it was removed.
            let is_right = if self.is_needed { self.entry.is_some() } else { self.entry.is_none() && before.is_none() };
            return if is_right { Ok(()) } else { Err(Outcome::waiting(Reason::Paused, message).into()) };
        }
        if !self.is_needed {
            return remove(ctx, &server, &self.address, &self.mark, &self.uid).await;
        }
        let domain = domain?;
        ownership::of_domain_is_proven(ctx, &domain)?;
        references::mailbox_is_ours(ctx, &server, mailbox, &self.address).await?;
        let entry = self.entry.as_ref().filter(|entry| entry.address == self.address.to_string());
        let have = server.client().app_passwords(&self.address).await?;
        let stored = entry.map(|entry| entry.version.as_str());
        let is_replaced = self.asked.is_some() && entry.is_some_and(|entry| entry.replaced_for != self.asked);
        if is_replaced && ctx.requests.may_be_handled("app password", mailbox, REPLACE_APP_PASSWORD).is_err() {
            let message = "the app password was replaced a moment ago; the next one follows in a few seconds";
            return Err(Outcome::waiting(Reason::WrittenLately, message).into());
        }
        match plan::app_password(&self.address, stored, &have, &self.mark, is_replaced) {
            AppPasswordPlan::Keep(changes) => {
                server.execute(&changes, None).await?;
                self.update(ctx, entry, &name).await?;
            }
            AppPasswordPlan::Make(changes) => {
                // Known before anything is on Mailcow, so that the removal finds it.
                if before.is_none() {
                    let announced = Outcome::waiting(Reason::Pending, "the app password is being made");
                    let announced = status::delivery(true, &announced);
                    ctx.writer.write_part(mailbox, DELIVERY, None, announced.as_ref()).await.map_err(Stop::api)?;
                }
                self.make(ctx, &server, &name, &changes).await?;
                let why = match (entry.is_some(), is_replaced) {
                    (_, true) => Some("the annotation email.askrobots.com/replace-app-password asks for it"),
                    (true, false) => Some("the last one was changed or deleted on Mailcow"),
                    (false, false) if !changes.is_empty() => Some("the last one was lost from its Secret"),
                    (false, false) => None,
                };
                if let Some(why) = why {
                    let mailbox_address = self.address.to_string();
                    let occurrence = Occurrence::AppPasswordReplaced { mailbox: mailbox_address, why };
                    ctx.writer.publish(mailbox, &occurrence.event()).await;
                }
            }
        }
        let protocols = desired::mailbox(&mailbox.spec, &domain.spec, self.mark.clone())?.protocols;
        let protocols = match protocols {
            Some(protocols) => Some(protocols),
            None => server.mailbox(&self.address, Age::Recent).await?.map(|have| have.protocols),
        };
        may_log_in(&self.address, protocols.as_ref(), mailbox.spec.state)
    }

    /// Makes a new app password, stores it, and removes the others.
    async fn make(&self, ctx: &Context, server: &Inventory, name: &str, others: &[Change]) -> Result<(), Stop> {
        let version = hex(&rand::random::<[u8; 4]>());
        let on_mailcow = plan::app_password_name(&self.mark, &version);
        let password = random_password();
        let add = Change::AddAppPassword { mailbox: self.address.clone(), name: on_mailcow.clone() };
        let added = server.execute(std::slice::from_ref(&add), Some(&password)).await;
        // Where the answer was lost, the list tells whether it was made.
        if let Err(error) = &added
            && !matches!(error, mailcow::Error::OutcomeUnknown { .. })
        {
            return Err(error.clone().into());
        }
        let shown = server.client().app_passwords(&self.address).await?;
        let made = shown.iter().find(|made| made.name == on_mailcow);
        let Some(made) = made.filter(|made| made.active && made.is_imap_only) else {
            added?;
            return Err(not_applied(&[add]).into());
        };
        let entry = AppPasswordEntry {
            address: self.address.to_string(),
            server: name.to_owned(),
            host: ctx.mail_host(name).unwrap_or_default(),
            version,
            password,
            replaced_for: self.asked.clone(),
        };
        if let Err(error) = ctx.app_passwords.write(&self.uid, Some(&entry)).await {
            // Nobody knows its password.
            let unused = Change::DeleteAppPassword { id: made.id, mailbox: self.address.clone() };
            if let Err(error) = server.execute(&[unused], None).await {
                tracing::debug!(%error, "the app password that could not be stored is removed later");
            }
            return Err(Stop::api(error));
        }
        server.execute(others, None).await?;
        Ok(())
    }

    /// Stores where the worker finds the mailbox, if that changed.
    async fn update(&self, ctx: &Context, entry: Option<&Arc<AppPasswordEntry>>, name: &str) -> Result<(), Stop> {
        let Some(entry) = entry else { return Ok(()) };
        let host = ctx.mail_host(name).unwrap_or_else(|| entry.host.clone());
        let replaced_for = self.asked.clone().or_else(|| entry.replaced_for.clone());
        let now = AppPasswordEntry { server: name.to_owned(), host, replaced_for, ..entry.as_ref().clone() };
        if now == **entry {
            return Ok(());
        }
        ctx.app_passwords.write(&self.uid, Some(&now)).await.map_err(Stop::api)
    }
}

/// Removes every app password of ours from Mailcow, and the entry in the Secret.
async fn remove(ctx: &Context, server: &Inventory, address: &Address, mark: &Mark, uid: &str) -> Result<(), Stop> {
    let have = server.client().app_passwords(address).await?;
    server.execute(&plan::unneeded_app_passwords(address, &have, mark), None).await?;
    ctx.app_passwords.write(uid, None).await.map_err(Stop::api)
}

/// Reports a mailbox that lets nobody in by IMAP: copies wait there.
fn may_log_in(address: &Address, protocols: Option<&BTreeSet<Protocol>>, state: MailboxState) -> Result<(), Stop> {
    if protocols.is_some_and(|protocols| !protocols.contains(&Protocol::Imap)) {
        let message = format!(
            "IMAP is off for {address}, so task delivery can't read it, and copies wait in the mailbox; add IMAP to spec.protocols of the EmailMailbox"
        );
        return Err(Outcome::stalled(Reason::ImapDisabled, message).into());
    }
    if state != MailboxState::Active {
        let message = format!(
            "nobody can log in to {address}, task delivery neither, so copies wait in the mailbox; set spec.state: Active on the EmailMailbox"
        );
        return Err(Outcome::stalled(Reason::MailboxInactive, message).into());
    }
    Ok(())
}
