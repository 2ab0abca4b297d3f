//! The driver of `EmailMailbox`.

pub(crate) mod passwords;
pub(crate) mod secrets;
pub(crate) mod senders;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::controller::delivery;
use crate::controller::domain::ownership;
use crate::controller::driver::action::Action;
use crate::controller::driver::address_claims;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{
    DependsOn, Failed, Stop, age, apply, finish_deletion, is_confirmed, may_remove, outcome, read_back, report_rest,
    server, still_shown, unsupported,
};
use crate::controller::driver::drift::Drift;
use crate::controller::driver::guest_limits;
use crate::controller::driver::on_server::{OnServer, write_status};
use crate::controller::driver::policies;
use crate::controller::driver::recreation;
use crate::controller::driver::references;
use crate::controller::driver::subaddress;
use crate::controller::mailbox::secrets::Generated;
use crate::controller::mailbox::senders::Senders;
use crate::controller::provision;
use crate::controller::rules::script;
use crate::crd::{AdoptionPolicy, DeletionPolicy, EmailDomain, EmailMailbox, EmailMailboxStatus, Protocol};
use crate::desired;
use crate::gates::Gate;
use crate::inventory::{Age, Inventory};
use crate::kubernetes::object::{has_finalizer, is_paused, request};
use crate::kubernetes::secret_versions::{is_same_data, revision};
use crate::mail::{Address, Catch, Feature, Login, Mailbox, MailboxHave, Mark, Tags};
use crate::mailcow;
use crate::outcome::{Outcome, Reason};
use crate::plan::{self, Change};
use crate::status::{self, MailboxSeen, Occurrence};

/// One reconcile of a mailbox.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(object: Arc<EmailMailbox>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    if let Some(soon) = provision::is_switched_off_soon(&ctx, &object) {
        // The write that deactivates it triggers it.
        return Ok((Action::requeue(soon), Outcome::InSync));
    }
    ctx.senders.remember(&object, senders::named(&object));
    let request = request(object.as_ref());
    let before = ctx.writer.last_status(object.as_ref(), &request);
    let seen = if object.metadata.deletion_timestamp.is_some() {
        let steps = remove(&object, &ctx).await;
        let Some(left) = finish_deletion(&ctx, object.as_ref(), steps).await? else {
            ctx.passwords.forget(object.as_ref());
            return Ok((Action::await_change(), Outcome::InSync));
        };
        MailboxSeen { outcome: left, ..start(&object, &before, &ctx) }
    } else {
        let mut seen = start(&object, &before, &ctx);
        let steps = Box::pin(steps(&object, &before, &ctx, &mut seen));
        let steps = ctx.writer.report_pending(object.as_ref(), &before, steps).await;
        seen.outcome = outcome(steps)?;
        seen
    };
    if ctx.writer.is_new(object.as_ref()) && references::waits_for_a_new_one(&ctx, object.as_ref(), &seen.outcome) {
        return Ok((ctx.again(object.as_ref(), &seen.outcome), seen.outcome));
    }
    let after = status::mailbox(&before, &seen, &request);
    write_status(&ctx, object.as_ref(), &before, &after).await?;
    Ok((address_claims::again(&ctx, object.as_ref(), &seen.outcome), seen.outcome))
}

/// The state before anything was read.
fn start(object: &EmailMailbox, before: &EmailMailboxStatus, ctx: &Context) -> MailboxSeen {
    MailboxSeen {
        outcome: Outcome::InSync,
        refused: before.refused.clone(),
        address: None,
        have: None,
        is_absent: false,
        recreated: before.recreated.clone(),
        tags: Tags { wanted: object.spec.tags.clone(), placed: before.tags.clone() },
        domain_generation: None,
        server: object.server(ctx),
        policies: policies::of(ctx, object),
        sender_acl: before.sender_acl.clone(),
        granted_senders: before.granted_senders.clone(),
        password_change_asked: before.password_change_asked,
        secret_name: before.credentials_secret_name.clone(),
        password_version: before.password_version.clone(),
    }
}

async fn steps(
    object: &EmailMailbox,
    before: &EmailMailboxStatus,
    ctx: &Context,
    seen: &mut MailboxSeen,
) -> Result<(), Stop> {
    // What the mailbox may no longer have goes first, whatever stops the rest.
    senders::take_away(ctx, object, before, seen).await?;
    guest_limits::lower_rate(ctx, object, before).await?;
    let domain = references::home(ctx, object)?;
    references::may_have_name(ctx, object, &domain, Some(&object.spec.local_part))?;
    subaddress::may_have(ctx, object, &domain)?;
    ownership::of_domain_is_proven(ctx, &domain)?;
    references::may_use_server(ctx, &domain)?;
    let mut want = wanted(object, before, &domain, ctx)?;
    let exceeded = guest_limits::bound_rate(ctx, object, &domain, &mut want);
    let senders = Senders::of(ctx, object, &domain, &want.address, &seen.granted_senders);
    let left_out = senders.leave_out_others(&mut want);
    seen.address = Some(want.address.clone());
    seen.domain_generation = domain.metadata.generation;
    seen.server.clone_from(&domain.spec.server);
    if ctx.servers.is_not_configured(&domain.spec.server) {
        prepare(object, ctx, &want, seen).await?;
    }
    let server = server(ctx, &domain.spec.server)?;
    let missing = senders::take_out_unkept(&server, &mut want).await?;
    let lacking = lacking_switches(&server, &want).await?;
    let policy = seen.policies.adoption.value;
    let handled = before.last_handled_reconcile_at.as_deref();
    let age = age(object, before.observed_generation, handled);
    let touched = server.touched(&want.address);
    let is_new = before.synced_generation.is_none();
    let have = observed(&server, &domain, &want, policy, age, is_new, seen.sender_acl.as_deref()).await?;
    // Until it is known to exist and to be ours.
    seen.is_absent = true;
    may_be_managed(ctx, &domain, object, &want, have.as_ref(), policy)?;
    if have.is_none() {
        references::domain_is_still_there(&server, want.address.domain())?;
        subaddress::is_free_on_mailcow(ctx, &server, object, &domain, want.address.domain()).await?;
        was_not_renamed(&server, &want, before).await?;
    }
    let _measured = guest_limits::mailbox(ctx, &server, object, &domain, &want, have.as_ref()).await?;
    // Checked before a Secret is created and before anything is shown: a mailbox that is not ours gets no Secret and is
    // confidential.
    let changes = plan::mailbox(&want, have.as_ref(), policy, false)?;
    let drift = Drift::new(object, seen.policies.drift.value, before.synced_generation, handled)
        .and(before.synced_domain_generation == domain.metadata.generation && touched.is_none());
    let (mut changes, drifted) = drift.separate(changes);
    if have.is_none() && changes.is_empty() {
        // The mailbox vanished and is only reported: it gets no password and no Secret.
        return report_rest(drifted);
    }
    let is_recreated = have.is_none() && before.synced_generation.is_some();
    if is_recreated && !drift.is_correction_asked() {
        recreation::may_be_made_again(ctx, &domain.spec.server, &server, &want.address).await?;
    }
    seen.have.clone_from(&have);
    seen.is_absent = have.is_none();
    let is_elsewhere = have.as_ref().is_some_and(|have| have.login == Login::Elsewhere);
    // A requested reconcile reads the Secret.
    let needs_none = have.is_some() && !is_elsewhere && changes.is_empty() && age == Age::Recent;
    let is_set = needs_none && is_password_set(object, before, ctx, seen);
    let (password, elsewhere) = if is_elsewhere {
        (None, password_elsewhere(object, ctx, &want.address, seen).await?)
    } else if is_set {
        (None, None)
    } else {
        (credentials(object, before, ctx, &want, have.as_ref()).await?, None)
    };
    seen.secret_name = (password.is_some() || is_set).then(|| secrets::name(object));
    let left = password.as_ref().filter(|p| p.is_left && have.is_some()).map(|p| p.version.clone());
    seen.password_version = seen.password_version.take().or(left);
    let is_due = password.as_ref().is_some_and(|password| is_due(object, ctx, seen, password));
    let corrections = changes.clone();
    if is_due && have.is_some() {
        changes.push(Change::SetPassword(want.address.clone()));
    }
    let secret = password.as_ref().map(|password| &password.value);
    let depends_on = DependsOn {
        domain: want.address.domain(),
        domain_generation: domain.metadata.generation,
        password_version: password.as_ref().map(|password| revision(&password.version)),
    };
    seen.granted_senders = senders.before_writing(&want);
    // Objects of the same file may have arrived meanwhile.
    may_be_managed(ctx, &domain, object, &want, seen.have.as_ref(), policy)?;
    let applied =
        apply(ctx, &server, object, &before.conditions, &mut seen.refused, &depends_on, &changes, secret).await;
    let applied = match applied {
        Err(failed) if have.is_none() => {
            let is_there = async || server.mailbox(&want.address, Age::Now).await.map(|have| have.is_some());
            let refused = &mut seen.refused;
            let domain = want.address.domain();
            Err(references::why_not_added(&server, &want.address, domain, is_there, failed, refused).await)
        }
        applied => applied,
    };
    if applied? {
        // A mailbox that vanished and is only reported gets no password.
        password.as_ref().inspect(|password| ctx.passwords.remember(object, &password.value));
        seen.password_version = password.map(|password| password.version);
        if is_recreated {
            seen.recreated = Some(crate::clock::now());
            recreation::report(ctx, object, &want.address).await;
        }
        let mut shown = server.mailbox(&want.address, Age::Now).await?;
        let stuck = plan::stuck_senders(&want, shown.as_ref());
        if drifted.is_none() && !stuck.is_empty() {
            server.execute(&stuck, None).await?;
            shown = server.mailbox(&want.address, Age::Now).await?;
        }
        seen.is_absent = shown.is_none();
        ctx.senders.written(&want.address);
        ctx.awaited.written(&want.address);
        // A field that Mailcow can't show counts as written once Mailcow accepted it.
        let is_hidden = shown.as_ref().is_some_and(|have| have.sender_acl.is_none());
        seen.sender_acl = want.sender_acl.as_ref().filter(|_| is_hidden).map(|acl| acl.iter().cloned().collect());
        seen.have = recalled(shown, seen.sender_acl.as_deref());
        if drifted.is_none() {
            read_back(&plan::mailbox(&want, seen.have.as_ref(), policy, false)?)?;
        }
        if !is_recreated {
            drift.report_correction(ctx, object, &want.address, &corrections).await;
        }
    }
    report_rest(drifted)?;
    seen.granted_senders = senders.after_writing(&want, seen.have.as_ref());
    server.settle(&want.address, touched);
    seen.password_change_asked = object.spec.force_password_change == Some(true) && !is_elsewhere;
    report_rest(elsewhere.into_iter().chain(exceeded).chain(left_out).chain(missing).chain(lacking))
}

/// Reports that the server can't turn off a protocol that the spec turns off.
async fn lacking_switches(server: &Inventory, want: &Mailbox) -> Result<Option<Outcome>, Stop> {
    let has_both = |wanted: &BTreeSet<Protocol>| wanted.contains(&Protocol::Eas) && wanted.contains(&Protocol::Dav);
    match &want.protocols {
        Some(wanted) if !has_both(wanted) => unsupported(server, Feature::EasAndDav).await,
        Some(_) | None => Ok(None),
    }
}

/// Stops if the mailbox was renamed on Mailcow: an empty one must not take its place.
///
/// # Errors
/// [`Reason::MailboxRenamed`].
async fn was_not_renamed(server: &Inventory, want: &Mailbox, before: &EmailMailboxStatus) -> Result<(), Stop> {
    if before.synced_generation.is_none() {
        return Ok(());
    }
    let alias = server.alias(&Catch::One(want.address.clone()), Age::Now).await?;
    let renamed = alias.and_then(|alias| alias.renamed_to());
    let Some(now) = renamed.or_else(|| server.marked_mailbox(&want.address, &want.mark)) else { return Ok(()) };
    let message = format!(
        "{} was renamed to {now} in Mailcow; rename it back there, or create an EmailMailbox for {now} and delete this one with deletionPolicy: Retain",
        want.address
    );
    Err(Outcome::stalled(Reason::MailboxRenamed, message).into())
}

/// The outcome for a mailbox whose password an identity provider checks. Mailcow accepts a password without applying
/// it, so the operator writes none and creates no Secret. The message names every field that asks for a password.
async fn password_elsewhere(
    object: &EmailMailbox,
    ctx: &Context,
    address: &Address,
    seen: &mut MailboxSeen,
) -> Result<Option<Outcome>, Stop> {
    // When Mailcow checks the password again, it must be set.
    ctx.passwords.forget(object);
    seen.password_version = None;
    let mut asks = Vec::new();
    if object.spec.password_secret_ref.is_some() {
        asks.push("remove spec.passwordSecretRef".to_owned());
    } else if let Generated::InUse { .. } | Generated::Prepared(_) = secrets::generated(ctx, object, address).await? {
        asks.push(format!("delete the Secret {}, whose password does not work", secrets::name(object)));
    }
    if object.spec.force_password_change == Some(true) {
        asks.push("remove spec.forcePasswordChange".to_owned());
    }
    let message = format!(
        "an identity provider checks the password of {address} (Mailcow's authsource), so the operator does not write it; {}, or let Mailcow check the password. Everything else is written",
        asks.join(" and ")
    );
    Ok((!asks.is_empty()).then(|| Outcome::stalled(Reason::PasswordManagedElsewhere, message)))
}

/// The mailbox on Mailcow. The cached state is enough while it matches.
async fn observed(
    server: &Inventory,
    domain: &EmailDomain,
    want: &Mailbox,
    policy: AdoptionPolicy,
    age: Age,
    is_new: bool,
    sender_acl: Option<&[String]>,
) -> Result<Option<MailboxHave>, Stop> {
    // An object that waits for its domain doesn't ask Mailcow again each time: a slightly older answer is enough.
    let may_be_made = references::domain_is_there(domain);
    if may_be_made.is_err() && server.mailbox(&want.address, Age::Recent).await?.is_none() {
        may_be_made?;
    }
    let have = recalled(server.mailbox(&want.address, age).await?, sender_acl);
    // Mailcow refuses a new mailbox that exists: no need to read again.
    let is_known = age == Age::Now || (have.is_none() && is_new);
    if is_known || plan::mailbox(want, have.as_ref(), policy, false) == Ok(Vec::new()) {
        return Ok(have);
    }
    Ok(recalled(server.mailbox(&want.address, Age::Now).await?, sender_acl))
}

/// Stops before anything is created or taken in a domain that is not its own, and before anything is taken from another
/// object.
fn may_be_managed(
    ctx: &Context,
    domain: &EmailDomain,
    object: &EmailMailbox,
    want: &Mailbox,
    have: Option<&MailboxHave>,
    policy: AdoptionPolicy,
) -> Result<(), Stop> {
    let there = have.and_then(MailboxHave::mark);
    let is_ours = there.as_ref().is_some_and(|there| there.same_owner(&want.mark));
    if !is_ours {
        references::domain_is_there(domain)?;
    }
    plan::refuse_if_owner_exists(
        &want.mark,
        there.as_ref(),
        |there| ctx.living_owner(&ctx.stores.mailboxes, there, object),
        &want.address,
    )?;
    if is_ours {
        return Ok(());
    }
    // The platform chooses the names of automatic mailboxes.
    if have.is_some() && there.is_none() && provision::entitlement(ctx, object).is_none() {
        references::may_adopt(object, domain, policy, &want.address)?;
    }
    subaddress::is_free(ctx, object, domain)?;
    address_claims::is_first(ctx, object, &want.address)
}

/// The mailbox that should exist. A password change is requested only once: the user may already have done it.
fn wanted(
    object: &EmailMailbox,
    before: &EmailMailboxStatus,
    domain: &EmailDomain,
    ctx: &Context,
) -> Result<Mailbox, desired::Invalid> {
    let mut want = desired::mailbox(&object.spec, &domain.spec, ctx.mark(object))?;
    want.tags.placed.clone_from(&before.tags);
    if before.password_change_asked && want.force_password_change == Some(true) {
        want.force_password_change = None;
    }
    Ok(want)
}

/// Creates the Secret of a mailbox before Mailcow is available, for whoever deploys a mail client now.
async fn prepare(object: &EmailMailbox, ctx: &Context, want: &Mailbox, seen: &mut MailboxSeen) -> Result<(), Stop> {
    if let Some(given) = &object.spec.password_secret_ref {
        return secrets::given(ctx, object, given).await.map(|_| ());
    }
    let was_placed = seen.password_version.is_some();
    let is_missing = matches!(secrets::generated(ctx, object, &want.address).await?, Generated::Missing);
    if is_missing && !was_placed && !is_paused(object) {
        secrets::prepare(ctx, object, &want.address).await?;
    }
    seen.secret_name = (!is_missing || !was_placed && !is_paused(object)).then(|| secrets::name(object));
    Ok(())
}

/// Fields that this version of Mailcow can't show are taken from the last write.
fn recalled(have: Option<MailboxHave>, sender_acl: Option<&[String]>) -> Option<MailboxHave> {
    let mut have = have?;
    if have.sender_acl.is_none() {
        have.sender_acl = sender_acl.map(|acl| acl.iter().cloned().collect());
    }
    Some(have)
}

/// The password to set, if the operator manages it: a given or generated password, or the mailbox was created by the
/// operator. An adopted mailbox keeps the password that its user knows.
async fn credentials(
    object: &EmailMailbox,
    before: &EmailMailboxStatus,
    ctx: &Context,
    want: &Mailbox,
    have: Option<&MailboxHave>,
) -> Result<Option<secrets::Password>, Stop> {
    if let Some(given) = &object.spec.password_secret_ref {
        return secrets::given(ctx, object, given).await.map(Some);
    }
    let is_ours = have.is_none_or(|have| have.mark().is_some_and(|mark| mark == want.mark));
    let is_new = before.address.is_none() && have.is_none() && !is_paused(object);
    if is_new && let Some(password) = secrets::generate_first(ctx, object, &want.address).await? {
        return Ok(Some(password));
    }
    // The operator generates a password before it adds a mailbox. So if no password is known to be set, and there is no
    // Secret in use, a mailbox that exists has the password of its user. It may have our mark: then its adoption was
    // interrupted. With a Secret in use, the mark shows that our add was interrupted.
    let is_users = have.is_some() && before.password_version.is_none();
    match secrets::generated(ctx, object, &want.address).await? {
        Generated::Missing => {}
        // It was generated for the add that Mailcow refused, because the mailbox exists.
        Generated::InUse { secret, .. } if is_users && !is_ours && secrets::is_generated_for(&secret, object) => {
            return secrets::leave_to_owner(ctx, object, &secret).await.map(|()| None);
        }
        Generated::InUse { password, .. } => return Ok(Some(password)),
        // The user's password was lost with the mailbox.
        Generated::OfOwner(secret) if have.is_none() && !is_paused(object) => {
            return secrets::renew(ctx, object, &secret).await.map(Some);
        }
        Generated::OfOwner(_) => return Ok(None),
        Generated::Prepared(_) if is_paused(object) => return Ok(None),
        Generated::Prepared(secret) if is_users => {
            return secrets::leave_to_owner(ctx, object, &secret).await.map(|()| None);
        }
        Generated::Prepared(secret) => return secrets::take_up(ctx, object, &secret).await.map(Some),
    }
    if is_users || !is_ours || is_paused(object) {
        return Ok(None);
    }
    secrets::generate(ctx, object, &want.address).await.map(Some)
}

/// Whether the Secret is still in the version whose password was set, for this spec and policy: then it needs no read.
fn is_password_set(object: &EmailMailbox, before: &EmailMailboxStatus, ctx: &Context, seen: &MailboxSeen) -> bool {
    // The owner of a generated Secret depends on the policy.
    let policy = before.policies.as_ref().map(|policies| policies.deletion.value);
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let is_at = |version: &String| ctx.secret_versions.is_at(namespace, &secrets::name(object), version);
    before.synced_generation == object.metadata.generation
        && policy == Some(seen.policies.deletion.value)
        && before.password_version.as_ref().is_some_and(is_at)
}

/// Whether the password must be set. A Secret that changed otherwise counts as set.
fn is_due(object: &EmailMailbox, ctx: &Context, seen: &mut MailboxSeen, password: &secrets::Password) -> bool {
    let is_same = |set: &str| revision(set) == revision(&password.version);
    let is_set = match (ctx.passwords.is_set(object, &password.value), seen.password_version.as_deref()) {
        (_, Some(set)) if is_same(set) => true,
        (Some(is_set), _) => is_set,
        (None, Some(set)) => is_same_data(set, &password.version),
        (None, None) => false,
    };
    if is_set {
        ctx.passwords.remember(object, &password.value);
        if !seen.password_version.as_deref().is_some_and(is_same) {
            seen.password_version = Some(password.version.clone());
        }
    }
    !is_set
}

/// Removes the mailbox as the deletion policy says; works without its domain and with an invalid spec.
async fn remove(object: &EmailMailbox, ctx: &Context) -> Result<(), Stop> {
    let Some(address) = known_address(object, ctx).filter(|_| has_finalizer(object)) else { return Ok(()) };
    let policy = policies::of(ctx, object).deletion.value;
    let name = object.server(ctx);
    if policy == DeletionPolicy::Retain && ctx.servers.is_not_configured(&name) {
        return Ok(());
    }
    let server = server(ctx, &name)?;
    let (mut changes, messages) = removal(object, policy, &server, &address, &ctx.mark(object)).await?;
    let is_automatic = provision::entitlement(ctx, object).is_some();
    if !is_automatic && guest_limits::keeps_mark(object) {
        changes.retain(|change| !matches!(change, Change::SetAttributes { .. } | Change::UnmarkMailbox { .. }));
    }
    may_remove(object, policy == DeletionPolicy::Retain, &changes)?;
    // A deleted mailbox takes its filters along; a paused mailbox can only be removed as it is.
    if policy != DeletionPolicy::Delete && !is_paused(object) && ctx.has(Gate::ForwardingRules) {
        script::retire(ctx, object, &address).await?;
    }
    delivery::finish_deletion(ctx, object, &address, &server).await?;
    server.execute(&changes, None).await?;
    let was_deleted = changes.iter().any(|change| matches!(change, Change::DeleteMailbox(_)));
    if was_deleted && server.mailbox(&address, Age::Now).await?.is_some() {
        return Err(still_shown(&address));
    }
    if was_deleted && messages > 0 {
        let lost = format!("{messages} {}", if messages == 1 { "message" } else { "messages" });
        let occurrence = Occurrence::Deleted { thing: address.to_string(), lost };
        ctx.writer.publish(object, &occurrence.event()).await;
    }
    ctx.senders.written(&address);
    Ok(())
}

/// The steps of the removal, and the number of messages in the mailbox. An own deletion that stopped half-way is
/// repeated.
async fn removal(
    object: &EmailMailbox,
    policy: DeletionPolicy,
    server: &Inventory,
    address: &Address,
    mark: &Mark,
) -> Result<(Vec<Change>, u64), Stop> {
    let was_ours = object.status.as_ref().is_some_and(|s| s.password_version.is_some());
    match server.mailbox(address, Age::Now).await {
        Ok(have) => {
            let is_confirmed = is_confirmed(object, &address.to_string());
            let changes = plan::mailbox_removal(have.as_ref(), mark, policy, is_confirmed, object.spec.system)?;
            Ok((changes, have.map_or(0, |have| have.messages)))
        }
        Err(mailcow::Error::Refused { code, .. })
            if code == "half_deleted" && was_ours && policy == DeletionPolicy::Delete =>
        {
            Ok((vec![Change::DeleteMailbox(address.clone())], 0))
        }
        Err(error) => Err(error.into()),
    }
}

/// The address, from the status or the references.
fn known_address(object: &EmailMailbox, ctx: &Context) -> Option<Address> {
    let reported = object.status.as_ref().and_then(|status| status.address.as_deref());
    reported.and_then(|text| Address::parse(text).ok()).or_else(|| references::address(ctx, object))
}
