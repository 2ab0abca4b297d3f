//! The driver of scripts, one for each mailbox: the one place that applies the rules of a mailbox to Mailcow. The rules
//! only tell what became of it.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use crate::controller::domain::ownership;
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{Failed, Stop, is_same_stall, not_applied, outcome, read_back, server};
use crate::controller::driver::policies;
use crate::controller::driver::references;
use crate::controller::rules::rule_set::{self, Place, RuleSet, id};
use crate::controller::rules::script_state::{ScriptState, Version};
use crate::crd::{AdoptionPolicy, DEFAULT_SERVER, DriftPolicy, EmailForwardingRule, EmailMailbox};
use crate::inventory::Inventory;
use crate::kubernetes::object::{has_finalizer, is_paused};
use crate::mail::{Address, Filter};
use crate::outcome::{Outcome, Reason, Why};
use crate::plan::{self, Change};
use crate::sieve;
use crate::status;

/// How long what was read of a script is good for doing nothing, at most.
const REMEMBER: Duration = Duration::from_mins(5);

/// One reconcile of the script of a mailbox.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn reconcile(mailbox: Arc<EmailMailbox>, ctx: Arc<Context>) -> Result<(Action, Outcome), Failed> {
    let address = references::address(&ctx, &mailbox);
    let turn = match &address {
        Some(address) => Some(ctx.script_locks.lock(&address.to_string()).await),
        None => None,
    };
    // Looked at in turn: whoever lets the mailbox go has the last word on its script.
    let is_going = ctx
        .stores
        .mailboxes
        .get(&ObjectRef::from_obj(mailbox.as_ref()))
        .is_none_or(|now| now.metadata.deletion_timestamp.is_some());
    let Some(address) = address.filter(|_| !is_going) else {
        ctx.scripts.forget(&mailbox);
        ctx.scripts.trigger(&ctx.stores.rules.state_filter(|rule| {
            rule.metadata.namespace == mailbox.metadata.namespace && rule_set::applies(rule, &mailbox)
        }));
        return Ok((Action::await_change(), Outcome::InSync));
    };
    let place = Place::of(&ctx, &mailbox, address);
    let set = rule_set::of(&ctx, &place);
    let before = ctx.scripts.of(&mailbox);
    let mut work = ScriptReconcile::new(place, set, before.as_deref());
    let mut read = None;
    if !work.set.all.is_empty() && !is_known(&ctx, &mailbox, &work, before.as_deref()) {
        work.state.outcome = outcome(work.apply(&ctx, Some(&mailbox)).await)?;
        read = work.server(&ctx).ok().map(|server| Arc::as_ptr(&server).addr());
    }
    drop(turn);
    let ScriptReconcile { set, state, .. } = work;
    let result = state.outcome.clone();
    if set.all.is_empty() {
        // Nobody asks for it.
        ctx.scripts.forget(&mailbox);
        return Ok((Action::await_change(), result));
    }
    if ctx.scripts.enter(&mailbox, state, read) {
        ctx.scripts.trigger(&set.all);
    }
    let key = format!("script/{}/{}", mailbox.namespace().unwrap_or_default(), mailbox.name_any());
    Ok((Action::requeue(ctx.next_of(&key, &result)), result))
}

/// Whether the same script of the same rules was in sync a moment ago.
fn is_known(ctx: &Context, mailbox: &EmailMailbox, work: &ScriptReconcile<'_>, before: Option<&ScriptState>) -> bool {
    let Ok(server) = work.server(ctx) else { return false };
    let keep = REMEMBER.min(ctx.settings.resync / 2);
    let is_recent = ctx.scripts.read_at(mailbox, Arc::as_ptr(&server).addr()).is_some_and(|read| read.elapsed() < keep);
    let is_same = before.is_some_and(|before| before.outcome == Outcome::InSync && *before == work.state);
    is_recent && is_same
}

/// Leaves in the script only the mailbox's own rules, as the mailbox is no longer managed. What only a person can mend
/// does not hold the mailbox.
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

/// Whether an outcome says that no script of ours is in force, so that a rule that goes is in none.
pub(crate) fn is_out(outcome: &Outcome) -> bool {
    let out = [Reason::FilterSlotTaken, Reason::MailboxNotReady];
    outcome.why().is_none_or(|why| out.contains(&why.reason))
}

/// Brings the script of a mailbox whose object is gone.
///
/// # Errors
/// [`Stop`] when it can't be done.
pub(crate) async fn apply_without_mailbox(ctx: &Context, place: Place) -> Result<(), Stop> {
    let _turn = ctx.script_locks.lock(&place.address.to_string()).await;
    let names = match &place.server {
        Some(name) => vec![name.clone()],
        // Where its script is of ours is found by asking.
        None => {
            ctx.servers.names().filter(|name| !ctx.servers.is_not_configured(name)).map(ToOwned::to_owned).collect()
        }
    };
    for name in names {
        let place = Place { server: Some(name), ..place.clone() };
        let set = rule_set::of(ctx, &place);
        ScriptReconcile::new(place, set, None).apply(ctx, None).await?;
    }
    Ok(())
}

/// A script on its way.
struct ScriptReconcile<'a> {
    place: Place,
    set: RuleSet,
    state: ScriptState,
    before: Option<&'a ScriptState>,
}

impl<'a> ScriptReconcile<'a> {
    fn new(place: Place, set: RuleSet, before: Option<&'a ScriptState>) -> Self {
        let versions = set.all.iter().filter_map(|rule| Some((rule.uid()?, Version::of(rule))));
        let mut state = ScriptState {
            address: place.address.clone(),
            rules: versions.collect(),
            compiled: sieve::compile(&place.mark, &place.address, &set.in_force),
            refused: set.refused.clone(),
            outcome: Outcome::InSync,
            is_linked: set.is_linked,
        };
        let does_not_fit = |(id, why): &(String, String)| (id.clone(), Why::new(Reason::DoesNotFit, why.clone()));
        state.refused.extend(state.compiled.refused.iter().map(does_not_fit));
        Self { place, set, state, before }
    }

    fn server(&self, ctx: &Context) -> Result<Arc<Inventory>, Stop> {
        server(ctx, self.place.server.as_deref().unwrap_or(DEFAULT_SERVER))
    }

    /// Brings the script to Mailcow and reads it back; the caller has the turn of the mailbox.
    async fn apply(&mut self, ctx: &Context, mailbox: Option<&EmailMailbox>) -> Result<(), Stop> {
        let address = self.place.address.clone();
        let server = self.server(ctx)?.client().clone();
        let have = server.prefilters(&address).await?;
        let frozen = self.leave_out_paused(&have);
        if let Some(mailbox) = mailbox.filter(|_| self.is_new(&have)) {
            may_begin(ctx, mailbox)?;
        }
        let changes = self.changes(ctx, &have)?;
        self.hold(ctx).await?;
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
            let domain = references::home(ctx, mailbox)?;
            ownership::of_domain_is_proven(ctx, &domain)?;
        }
        tracing::info!(%address, "writing the script to Mailcow");
        server.execute(&changes, None).await?;
        let have = server.prefilters(&address).await?;
        read_back(&self.changes(ctx, &have)?)
    }

    /// Whether there is a script to make, and none of ours yet.
    fn is_new(&self, have: &[Filter]) -> bool {
        let is_ours = |filter: &Filter| filter.mark().is_some_and(|there| there.same_owner(&self.place.mark));
        self.state.compiled.script.is_some() && !have.iter().any(is_ours)
    }

    fn changes(&self, ctx: &Context, have: &[Filter]) -> Result<Vec<Change>, Stop> {
        let (address, mark) = (&self.place.address, &self.place.mark);
        let Some(script) = &self.state.compiled.script else {
            return Ok(plan::filter_removal(address, have, mark));
        };
        let may_displace =
            self.placed().any(|rule| policies::of(ctx, rule.as_ref()).adoption.value == AdoptionPolicy::Force);
        Ok(plan::filter(address, (&script.text, &script.description), have, mark, may_displace)?)
    }

    /// The objects of the rules in the script.
    fn placed(&self) -> impl Iterator<Item = &Arc<EmailForwardingRule>> {
        let placed = &self.state.compiled.placed;
        self.set.all.iter().filter(|rule| placed.iter().any(|placed| placed.id == id(rule)))
    }

    /// Our finalizer on every rule in the script, before it is written: each has to be taken out again.
    async fn hold(&self, ctx: &Context) -> Result<(), Stop> {
        let free = self.placed().filter(|rule| !has_finalizer(rule.as_ref()));
        for rule in free.filter(|rule| rule.metadata.deletion_timestamp.is_none()) {
            match ctx.writer.add_finalizer(rule.as_ref()).await {
                // It went meanwhile; the watch tells soon.
                Err(kube::Error::Api(error)) if error.is_not_found() || error.is_conflict() => {}
                result => result.map_err(Stop::api)?,
            }
        }
        Ok(())
    }

    /// A paused rule that never was in the script stays out of it. Gives one that is in there and has changed: the
    /// script has to stay as it is; so it has where every rule in it is paused.
    fn leave_out_paused(&mut self, have: &[Filter]) -> Option<String> {
        let waiting = self.set.all.iter().filter(|rule| is_paused(rule.as_ref()) && !is_programmed(rule));
        let mark = &self.place.mark;
        let ours: Vec<&Filter> = have.iter().filter(|f| f.mark().is_some_and(|there| there.same_owner(mark))).collect();
        let (frozen, new): (Vec<String>, Vec<String>) =
            waiting.map(|rule| id(rule)).partition(|id| ours.iter().any(|filter| sieve::holds(&filter.script, id)));
        if !new.is_empty() {
            self.set.in_force.retain(|rule| !new.contains(&rule.id));
            self.state.compiled = sieve::compile(mark, &self.place.address, &self.set.in_force);
            let why = || Why::new(Reason::Paused, "paused; not written: script");
            self.state.refused.extend(new.into_iter().map(|id| (id, why())));
        }
        let is_all_paused = self.placed().all(|rule| is_paused(rule.as_ref()));
        frozen.into_iter().next().or_else(|| self.placed().next().filter(|_| is_all_paused).map(|rule| id(rule)))
    }

    /// Stops where a change by hand is to be left as it is.
    fn stop_at_drift(&self, ctx: &Context, have: &[Filter]) -> Result<(), Stop> {
        let Some(script) = &self.state.compiled.script else { return Ok(()) };
        if !self.placed().any(|rule| policies::of(ctx, rule.as_ref()).drift.value == DriftPolicy::Report) {
            return Ok(());
        }
        let mark = &self.place.mark;
        let was_there = || {
            let said = |rule: &EmailForwardingRule| rule.status.as_ref().and_then(|status| status.script_hash.clone());
            self.placed().any(|rule| rule.spec.mailbox_ref.is_some() && said(rule).as_ref() == Some(&script.hash))
                || self.before.is_some_and(|b| was_shown(&b.outcome) && b.compiled.script.as_ref() == Some(script))
        };
        let is_gone = !have.iter().any(|filter| filter.mark().is_some_and(|there| there.same_owner(mark)));
        if plan::filter_was_changed(&script.text, have, mark) || (is_gone && was_there()) {
            let address = &self.place.address;
            let message = format!(
                "the script of {address} was changed, switched off or removed on Mailcow; driftPolicy: Report leaves it so until a rule changes"
            );
            return Err(Outcome::stalled(Reason::Drifted, message).into());
        }
        Ok(())
    }

    /// Stops where Mailcow was seen to take the same script without showing it.
    fn stop_if_stuck(&self, changes: &[Change]) -> Result<(), Stop> {
        let stuck = not_applied(changes);
        let is_stuck = self.before.is_some_and(|b| b.outcome == stuck && b.rules == self.state.rules)
            || self.placed().any(|rule| {
                let conditions = rule.status.iter().flat_map(|status| &status.conditions);
                conditions.into_iter().any(|c| is_same_stall(c, rule.as_ref(), &stuck))
            });
        if is_stuck { Err(stuck.into()) } else { Ok(()) }
    }
}

/// Stops until the mailbox is there and its object's own: what another's mailbox holds is nobody's business.
fn may_begin(ctx: &Context, mailbox: &EmailMailbox) -> Result<(), Stop> {
    let domain = references::home(ctx, mailbox)?;
    ownership::of_domain_is_proven(ctx, &domain)?;
    references::mailbox_is_there(mailbox)
}

/// Whether Mailcow showed the script of a work that ended so, as far as nobody changed it by hand.
fn was_shown(outcome: &Outcome) -> bool {
    outcome.why().is_none_or(|why| why.reason == Reason::Drifted)
}

fn paused(who: &str) -> Outcome {
    Outcome::waiting(Reason::Paused, format!("{who} is paused; not written: script"))
}

/// Whether the script holds the rule as it is now.
fn is_programmed(rule: &EmailForwardingRule) -> bool {
    let conditions = rule.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_current =
        |c: &&crate::crd::StatusCondition| c.type_ == "Programmed" && c.observed_generation == rule.metadata.generation;
    let is_true = conditions.iter().find(is_current).is_some_and(|c| c.status == "True");
    is_true && status::is_true(conditions, "Ready") && rule.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_script_that_was_shown_can_drift() {
        assert!(was_shown(&Outcome::InSync) && was_shown(&Outcome::stalled(Reason::Drifted, "gone")));
        assert!(!was_shown(&Outcome::waiting(Reason::MailboxNotReady, "not there")));
        assert!(!was_shown(&Outcome::Unknown(Why::new(Reason::MailcowUnreachable, "down"))));
    }

    #[test]
    fn a_rule_is_out_where_no_script_of_ours_is_in_force() {
        assert!(is_out(&Outcome::InSync));
        assert!(is_out(&Outcome::stalled(Reason::FilterSlotTaken, "taken")));
        assert!(is_out(&Outcome::waiting(Reason::MailboxNotReady, "not there")));
        assert!(!is_out(&Outcome::stalled(Reason::FieldNotApplied, "stuck")));
        assert!(!is_out(&Outcome::Unknown(Why::new(Reason::MailcowUnreachable, "down"))));
    }
}
