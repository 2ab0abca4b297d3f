//! The driver of scripts, one for each mailbox: the single place that applies the rules of a mailbox to Mailcow. The
//! mailbox's status has the result, where the rules read it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::controller::domain::ownership;
use crate::controller::driver::action::Action;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{Failed, Stop, not_applied, outcome, read_back, server};
use crate::controller::driver::policies;
use crate::controller::driver::references;
use crate::controller::rules::rule_set::{self, Place, RuleSet};
use crate::controller::rules::scope::{self, id};
use crate::crd::{
    AdoptionPolicy, DEFAULT_SERVER, DriftPolicy, EmailForwardingRule, EmailMailbox, RECONCILE_REQUESTED_AT, ScriptRule,
    ScriptStatus,
};
use crate::inventory::Inventory;
use crate::kubernetes::object::{annotation, has_finalizer, is_paused};
use crate::mail::{Address, Filter};
use crate::outcome::{Outcome, Reason, Why};
use crate::plan::{self, Change};
use crate::sieve::{self, Compiled};
use crate::status::{self, RuleVersion, ScriptSeen, SeenRule};

/// How long a read of a script can save another read, at most.
const REMEMBER: Duration = Duration::from_mins(5);

/// One reconcile of the script of a mailbox.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(mailbox: Arc<EmailMailbox>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    let reference = ObjectRef::from_obj(mailbox.as_ref());
    let Some(address) = references::address(&ctx, &mailbox).or_else(|| last_address(&mailbox)) else {
        return Ok((Action::await_change(), Outcome::InSync));
    };
    let _lock = ctx.script_locks.lock(&address.to_string()).await;
    // Checked under the lock: a removal of the mailbox has the last word on its script.
    let now = ctx.stores.mailboxes.get(&reference).filter(|now| now.metadata.deletion_timestamp.is_none());
    let Some(mailbox) = now else {
        ctx.script_reads.forget(&reference);
        return Ok((Action::await_change(), Outcome::InSync));
    };
    let before = ctx.writer.script_status(&mailbox);
    let mut work = ScriptReconcile::of(&ctx, &mailbox, address, before.clone()).await;
    if work.is_left_alone || (work.set.all.is_empty() && !work.may_hold_others()) {
        if !work.is_left_alone {
            ctx.script_reads.forget(&reference);
            ctx.writer.write_script_status(&mailbox, before.as_ref(), None).await?;
        }
        return Ok((Action::await_change(), Outcome::InSync));
    }
    let server = work.server(&ctx).ok().map(|server| Arc::as_ptr(&server).addr());
    let good_for = REMEMBER.min(ctx.settings.resync / 2);
    let is_recent = server.is_some_and(|server| ctx.script_reads.is_recent(&reference, server, good_for));
    if !is_recent || work.status(&Outcome::InSync) != before {
        ctx.script_reads.forget(&reference);
        let result = outcome(work.apply(&ctx, Some(&mailbox)).await)?;
        if let Some(server) = server.filter(|_| result == Outcome::InSync) {
            ctx.script_reads.remember(reference, server, good_for);
        }
        let after = work.status(&result);
        ctx.writer.write_script_status(&mailbox, work.before.as_ref(), after.as_ref()).await?;
        work.outcome = result;
    }
    let key = format!("script/{}/{}", mailbox.namespace().unwrap_or_default(), mailbox.name_any());
    Ok((Action::requeue(ctx.next_of(&key, &work.outcome)), work.outcome))
}

/// The last address of the mailbox, if its domain is deleted or no longer allows it.
fn last_address(mailbox: &EmailMailbox) -> Option<Address> {
    Address::parse(mailbox.status.as_ref()?.address.as_deref()?).ok()
}

/// Keeps only the mailbox's own rules in the script, because the mailbox is no longer managed. A problem that only a
/// person can solve does not block the mailbox.
///
/// # Errors
/// [`Stop`] when it can't be known whether it was done.
pub(crate) async fn retire(ctx: &Context, mailbox: &EmailMailbox, address: &Address) -> Result<(), Stop> {
    let place = Place { domain: None, ..Place::of(ctx, mailbox, address.clone()) };
    match apply_without_mailbox(ctx, place).await {
        Err(Stop::Outcome(Outcome::Stalled(_) | Outcome::Waiting(_))) => Ok(()),
        result => result,
    }
}

/// Applies the script of a mailbox whose object is deleted or being deleted.
///
/// # Errors
/// [`Stop`] when it can't be done.
pub(crate) async fn apply_without_mailbox(ctx: &Context, place: Place) -> Result<(), Stop> {
    let _lock = ctx.script_locks.lock(&place.address.to_string()).await;
    let names = match &place.server {
        Some(name) => vec![name.clone()],
        // Mailcow shows where our script is.
        None => {
            ctx.servers.names().filter(|name| !ctx.servers.is_not_configured(name)).map(ToOwned::to_owned).collect()
        }
    };
    for name in names {
        let place = Place { server: Some(name), ..place.clone() };
        ScriptReconcile::new(ctx, place, None).await.apply(ctx, None).await?;
    }
    Ok(())
}

/// Forgets a rule that is deleted without being removed from the script of a mailbox.
///
/// # Errors
/// [`Stop`] when the Kubernetes API fails.
pub(crate) async fn let_go(ctx: &Context, mailbox: &EmailMailbox, uid: &str) -> Result<(), Stop> {
    let address = references::address(ctx, mailbox).or_else(|| last_address(mailbox));
    let _lock = ctx.script_locks.lock(&address.map(|address| address.to_string()).unwrap_or_default()).await;
    let before = ctx.writer.script_status(mailbox);
    let mut after = before.clone();
    for rule in after.iter_mut().flat_map(|after| &mut after.rules).filter(|rule| rule.uid == uid) {
        rule.in_force = false;
    }
    ctx.writer.write_script_status(mailbox, before.as_ref(), after.as_ref()).await.map_err(Stop::api)
}

/// The parts of a rule that its scripts depend on.
pub(crate) fn version(rule: &EmailForwardingRule) -> RuleVersion {
    RuleVersion {
        name: rule.name_any(),
        uid: rule.uid().unwrap_or_default(),
        generation: rule.metadata.generation,
        requested_at: annotation(rule, RECONCILE_REQUESTED_AT).map(ToOwned::to_owned),
        is_paused: is_paused(rule),
    }
}

/// A reconcile of a script.
struct ScriptReconcile {
    place: Place,
    set: RuleSet,
    compiled: Compiled,
    /// Rules that are left out, by `namespace/name`.
    refused: BTreeMap<String, Why>,
    outcome: Outcome,
    /// The script in the mailbox's status.
    before: Option<ScriptStatus>,
    /// Whether the mailbox is separated from its domain and no rule leaves its script: the script stays as it is.
    is_left_alone: bool,
}

impl ScriptReconcile {
    /// For a mailbox object. If its domain is deleted or no longer allows it, it keeps the active rules, except those
    /// being removed.
    async fn of(ctx: &Context, mailbox: &EmailMailbox, address: Address, before: Option<ScriptStatus>) -> Self {
        let home = references::home(ctx, mailbox);
        let is_cut_off = home.and_then(|domain| references::may_use_server(ctx, &domain)).is_err();
        let mut work = Self::new(ctx, Place::of(ctx, mailbox, address), before).await;
        if is_cut_off {
            let before = work.before.iter().flat_map(|before| &before.rules).filter(|rule| rule.in_force);
            let before: Vec<ScriptRule> = before.cloned().collect();
            let stays = |object: &EmailForwardingRule| {
                let is_it = |rule: &&ScriptRule| Some(&rule.uid) == object.metadata.uid.as_ref();
                let made = before.iter().find(is_it);
                made.is_some_and(|made| made.generation == object.metadata.generation && !scope::leaves(ctx, object))
            };
            work.set.all.retain(|object| stays(object));
            work.is_left_alone = work.set.all.len() == before.len();
            let ids: Vec<String> = work.set.all.iter().map(|object| id(object)).collect();
            work.set.in_force.retain(|rule| ids.contains(&rule.id));
            work.compile();
        }
        work
    }

    async fn new(ctx: &Context, place: Place, before: Option<ScriptStatus>) -> Self {
        let set = rule_set::of(ctx, &place).await;
        let (compiled, refused) = (Compiled::default(), BTreeMap::new());
        let mut work = Self { place, set, compiled, refused, outcome: Outcome::InSync, before, is_left_alone: false };
        work.compile();
        work
    }

    fn compile(&mut self) {
        self.compiled = sieve::compile(&self.place.mark, &self.place.address, &self.set.in_force);
        self.refused = self.set.refused.clone();
        let does_not_fit = |(id, why): &(String, String)| (id.clone(), Why::new(Reason::DoesNotFit, why.clone()));
        self.refused.extend(self.compiled.refused.iter().map(does_not_fit));
    }

    /// Whether a script on Mailcow may have rules that no longer belong to the mailbox.
    fn may_hold_others(&self) -> bool {
        self.before.iter().flat_map(|before| &before.rules).any(|rule| rule.in_force)
    }

    /// The script's status after this outcome.
    fn status(&self, outcome: &Outcome) -> Option<ScriptStatus> {
        status::script(self.before.as_ref(), &self.seen(outcome))
    }

    fn seen(&self, outcome: &Outcome) -> ScriptSeen {
        let rules = self.set.all.iter().map(|rule| {
            let id = id(rule);
            let placed = self.compiled.placed.iter().find(|placed| placed.id == id);
            SeenRule {
                version: version(rule),
                position: placed.map(|placed| placed.position),
                shadowed_by: placed.and_then(|placed| placed.shadowed_by.clone()),
                refused: self.refused.get(&id).cloned(),
            }
        });
        let hash = self.compiled.script.as_ref().map(|script| script.hash.clone());
        ScriptSeen { rules: rules.collect(), hash, outcome: outcome.clone() }
    }

    fn server(&self, ctx: &Context) -> Result<Arc<Inventory>, Stop> {
        server(ctx, self.place.server.as_deref().unwrap_or(DEFAULT_SERVER))
    }

    /// Applies the script to Mailcow and reads it back; the caller has the lock of the mailbox.
    async fn apply(&mut self, ctx: &Context, mailbox: Option<&EmailMailbox>) -> Result<(), Stop> {
        let address = self.place.address.clone();
        let inventory = self.server(ctx)?;
        let server = inventory.client().clone();
        let have = server.prefilters(&address).await?;
        let frozen = self.leave_out_paused(&have);
        if self.is_new(&have) {
            // Without its object, nothing shows that the mailbox is ours: only a script of ours may change or go.
            let Some(mailbox) = mailbox else { return Ok(()) };
            may_begin(ctx, mailbox, &inventory, &address).await?;
        }
        self.add_finalizers(ctx).await?;
        let changes = self.changes(ctx, &have)?;
        if changes.is_empty() {
            return Ok(());
        }
        let mailbox_is_paused = mailbox.filter(|mailbox| is_paused(*mailbox)).map(ResourceExt::name_any);
        if let Some(name) = mailbox_is_paused {
            return Err(paused(&format!("the EmailMailbox {name}")).into());
        }
        if let Some(id) = frozen {
            return Err(paused(&format!("the rule {id}")).into());
        }
        self.stop_at_drift(ctx, &have)?;
        self.stop_if_stuck(&changes)?;
        if let Some(mailbox) = mailbox {
            // Rules are also removed from a script whose mailbox is separated from its domain.
            if let Ok(domain) = references::home(ctx, mailbox) {
                ownership::of_domain_is_proven(ctx, &domain)?;
            }
            self.announce(ctx, mailbox).await?;
        }
        let changes = self.changes(ctx, &have)?;
        tracing::info!(%address, "writing the script to Mailcow");
        server.execute(&changes, None).await?;
        let have = server.prefilters(&address).await?;
        read_back(&self.changes(ctx, &have)?)
    }

    /// Writes the rules of the script into the mailbox's status before the script is written. From then on a deleted
    /// rule waits until it is out again. A rule whose deletion is already known is left out.
    async fn announce(&mut self, ctx: &Context, mailbox: &EmailMailbox) -> Result<(), Stop> {
        let announced = status::script_to_be_written(self.before.as_ref(), &self.seen(&Outcome::InSync));
        ctx.writer.write_script_status(mailbox, self.before.as_ref(), Some(&announced)).await.map_err(Stop::api)?;
        self.before = Some(announced);
        let is_deleted = |rule: &EmailForwardingRule| {
            let now = ctx.stores.rules.get(&ObjectRef::from_obj(rule));
            now.is_none_or(|now| now.metadata.uid != rule.metadata.uid || scope::leaves(ctx, &now))
        };
        let deleted: Vec<String> = self.placed().filter(|rule| is_deleted(rule)).map(|rule| id(rule)).collect();
        self.leave_out(&deleted);
        Ok(())
    }

    /// Removes deleted rules from the script.
    fn leave_out(&mut self, deleted: &[String]) {
        if deleted.is_empty() {
            return;
        }
        self.set.all.retain(|rule| !deleted.contains(&id(rule)));
        self.set.in_force.retain(|rule| !deleted.contains(&rule.id));
        self.compile();
    }

    /// Whether there is a script to create, and none of ours exists.
    fn is_new(&self, have: &[Filter]) -> bool {
        let is_ours = |filter: &Filter| filter.mark().is_some_and(|there| there.same_owner(&self.place.mark));
        self.compiled.script.is_some() && !have.iter().any(is_ours)
    }

    fn changes(&self, ctx: &Context, have: &[Filter]) -> Result<Vec<Change>, Stop> {
        let (address, mark) = (&self.place.address, &self.place.mark);
        let Some(script) = &self.compiled.script else {
            return Ok(plan::filter_removal(address, have, mark));
        };
        let may_displace =
            self.placed().any(|rule| policies::of(ctx, rule.as_ref()).adoption.value == AdoptionPolicy::Force);
        Ok(plan::filter(address, &script.text, &script.description, have, mark, may_displace)?)
    }

    /// The objects of the rules in the script.
    fn placed(&self) -> impl Iterator<Item = &Arc<EmailForwardingRule>> {
        let placed = &self.compiled.placed;
        self.set.all.iter().filter(|rule| placed.iter().any(|placed| placed.id == id(rule)))
    }

    /// Adds our finalizer to every rule in the script before it is written, because each must be removed again. A rule
    /// that was deleted meanwhile is left out; the watch shows its deletion soon.
    async fn add_finalizers(&mut self, ctx: &Context) -> Result<(), Stop> {
        let mut deleted = Vec::new();
        let without = self.placed().filter(|rule| !has_finalizer(rule.as_ref()));
        for rule in without.filter(|rule| rule.metadata.deletion_timestamp.is_none()) {
            if let Err(error) = ctx.writer.add_finalizer(rule.as_ref()).await {
                if ctx.writer.is_alive(rule.as_ref()).await.map_err(Stop::api)? {
                    return Err(Stop::api(error));
                }
                deleted.push(id(rule));
            }
        }
        self.leave_out(&deleted);
        Ok(())
    }

    /// A paused rule that was never in the script stays out of it. Returns a paused rule in the script that has
    /// changed, or if all are paused: the script must stay as it is.
    fn leave_out_paused(&mut self, have: &[Filter]) -> Option<String> {
        let waiting = self.set.all.iter().filter(|rule| is_paused(rule.as_ref()) && !is_programmed(rule));
        let mark = &self.place.mark;
        let ours: Vec<&Filter> = have.iter().filter(|f| f.mark().is_some_and(|there| there.same_owner(mark))).collect();
        let (frozen, new): (Vec<String>, Vec<String>) =
            waiting.map(|rule| id(rule)).partition(|id| ours.iter().any(|filter| sieve::holds(&filter.script, id)));
        if !new.is_empty() {
            self.set.in_force.retain(|rule| !new.contains(&rule.id));
            let why = || Why::new(Reason::Paused, "paused; not written: script");
            self.set.refused.extend(new.into_iter().map(|id| (id, why())));
            self.compile();
        }
        let is_all_paused = self.placed().all(|rule| is_paused(rule.as_ref()));
        frozen.into_iter().next().or_else(|| self.placed().next().filter(|_| is_all_paused).map(|rule| id(rule)))
    }

    /// Stops if a change by hand must stay.
    fn stop_at_drift(&self, ctx: &Context, have: &[Filter]) -> Result<(), Stop> {
        let Some(script) = &self.compiled.script else { return Ok(()) };
        if !self.placed().any(|rule| policies::of(ctx, rule.as_ref()).drift.value == DriftPolicy::Report) {
            return Ok(());
        }
        let mark = &self.place.mark;
        let shown = self.before.as_ref().and_then(|before| before.hash.as_deref());
        let is_gone = !have.iter().any(|filter| filter.mark().is_some_and(|there| there.same_owner(mark)));
        let was_there = shown == Some(script.hash.as_str());
        if plan::filter_was_changed(&script.text, &script.hash, shown, have, mark) || (is_gone && was_there) {
            let address = &self.place.address;
            let message = format!(
                "the script of {address} was changed, deactivated or deleted by hand on Mailcow; with driftPolicy: Report it stays so until a rule changes"
            );
            return Err(Outcome::stalled(Reason::Drifted, message).into());
        }
        Ok(())
    }

    /// Stops if Mailcow accepted the same script of the same rules before without showing it.
    fn stop_if_stuck(&self, changes: &[Change]) -> Result<(), Stop> {
        let stuck = not_applied(changes);
        let Some(before) = self.before.as_ref().filter(|before| status::script_outcome(before) == stuck) else {
            return Ok(());
        };
        let is_same = self.set.all.iter().all(|rule| status::is_made_from(before, &version(rule)));
        if is_same { Err(stuck.into()) } else { Ok(()) }
    }
}

/// Stops until the mailbox exists and belongs to its object: the script of another owner's mailbox is confidential.
async fn may_begin(ctx: &Context, mailbox: &EmailMailbox, server: &Inventory, address: &Address) -> Result<(), Stop> {
    let domain = references::home(ctx, mailbox)?;
    ownership::of_domain_is_proven(ctx, &domain)?;
    references::mailbox_is_ours(ctx, server, mailbox, address).await
}

fn paused(who: &str) -> Outcome {
    Outcome::waiting(Reason::Paused, format!("{who} is paused; not written: script"))
}

/// Whether the script has the current rule.
fn is_programmed(rule: &EmailForwardingRule) -> bool {
    let conditions = rule.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_current =
        |c: &&crate::crd::StatusCondition| c.type_ == "Programmed" && c.observed_generation == rule.metadata.generation;
    let is_true = conditions.iter().find(is_current).is_some_and(|c| c.status == "True");
    is_true && status::is_true(conditions, "Ready") && rule.metadata.deletion_timestamp.is_none()
}
