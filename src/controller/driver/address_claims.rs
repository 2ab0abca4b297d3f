//! Which of several mailboxes and aliases owns an address: the one that has it already, otherwise one of the domain's own
//! namespace, then the oldest, then by name.

use kube::ResourceExt;

use crate::controller::driver::action::Action;
use crate::controller::driver::addresses::{self, Addressed, wanted};
use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::controller::driver::guest_limits;
use crate::controller::driver::references;
use crate::controller::driver::refers::domain_of;
use crate::controller::driver::subaddress;
use crate::crd::{EmailAlias, EmailDomain, EmailMailbox};
use crate::kubernetes::object::{Object, key};
use crate::outcome::{Outcome, Reason};
use crate::status::{self, Conditioned};
use crate::tenancy::{Claim, Standing, standing};

/// Stops an object without the address if another object has the better claim on it. An object that may not use the
/// domain or the address claims nothing.
///
/// # Errors
/// [`Reason::Conflict`]; an object of another namespace is not named.
pub(crate) fn is_first<K: Addressed>(ctx: &Context, object: &K, address: &impl ToString) -> Result<(), Stop> {
    let address = address.to_string();
    let (mailboxes, aliases) = addresses::rivals(&ctx.stores, object);
    let mailboxes = mailboxes.into_iter().filter_map(|mailbox| {
        let home = is_claimant(mailbox.as_ref(), object).then(|| references::home(ctx, &mailbox).ok()).flatten()?;
        may_claim(ctx, mailbox.as_ref(), &home).then(|| Rival {
            claim: claim(mailbox.as_ref(), &address),
            is_seen: mailbox.is_seen(),
            kind: EmailMailbox::KIND,
            fits: Box::new(move || guest_limits::mailbox_fits(ctx, &mailbox, &home)),
        })
    });
    let aliases = aliases.into_iter().filter_map(|alias| {
        let home = || references::domain(ctx, alias.as_ref(), &alias.spec.domain_ref).ok();
        let home = is_claimant(alias.as_ref(), object).then(home).flatten()?;
        may_claim(ctx, alias.as_ref(), &home).then(|| Rival {
            claim: claim(alias.as_ref(), &address),
            is_seen: alias.is_seen(),
            kind: EmailAlias::KIND,
            fits: Box::new(move || guest_limits::alias_fits(ctx, &alias, &home)),
        })
    });
    let Some(better) = better(&claim(object, &address), mailboxes.chain(aliases).collect()) else { return Ok(()) };
    let own = format!("{}/", object.namespace().unwrap_or_default());
    let who = better.id.strip_prefix(&own).and_then(|rest| rest.split_once(' '));
    let who = who.map_or("an object of another namespace".to_owned(), |(name, kind)| format!("the {kind} {name}"));
    let message = format!("{who} already claims {address}; nothing is written for this object; delete one of them");
    Err(Outcome::stalled(Reason::Conflict, message).into())
}

/// Another object that wants an address.
struct Rival<'a> {
    claim: Claim,
    is_seen: bool,
    kind: &'static str,
    /// Whether it is within the limits of its namespace: a search through the namespace.
    fits: Box<dyn Fn() -> bool + 'a>,
}

/// The best of the rivals with a better claim, if any. Of objects beyond their namespace's limit only the oldest is
/// looked at: the younger ones are beyond it too.
fn better(own: &Claim, mut rivals: Vec<Rival<'_>>) -> Option<Claim> {
    loop {
        let claims: Vec<Claim> = rivals.iter().map(|rival| rival.claim.clone()).collect();
        // Addresses are never reserved: the next claimant gets a free address at once.
        let Standing::Rival(better) = standing(own, &claims, crate::clock::now().0) else { return None };
        let best = rivals.iter().find(|rival| rival.claim.uid == better.uid)?;
        if (best.fits)() {
            return Some(better.clone());
        }
        let kind = best.kind;
        rivals.retain(|rival| rival.is_seen || rival.kind != kind || rival.claim.namespace != better.namespace);
    }
}

/// Time until the next reconcile. An object that lost its address retries with back-off: no deletion shows that the
/// other object gave the address up, and the entry that Mailcow refused may just have been created for the other.
pub(crate) fn again<K: Addressed>(ctx: &Context, object: &K, outcome: &Outcome) -> Action {
    match outcome {
        Outcome::Stalled(_) if addresses::has_rivals(&ctx.stores, object) => {
            Action::requeue(ctx.backoff.failed(&key(object), rand::random()))
        }
        outcome => ctx.again(object, outcome),
    }
}

fn is_claimant<K: Addressed>(other: &K, object: &impl Addressed) -> bool {
    let is_itself = other.meta().uid == object.meta().uid;
    !is_itself && other.meta().deletion_timestamp.is_none() && wanted(other) == wanted(object)
}

/// Whether an object may have its address: a guest that is refused a name, or has all that it may have, keeps nobody
/// from the address. Its status alone does not show that: another problem may hide it.
fn may_claim<K: Addressed>(ctx: &Context, object: &K, domain: &EmailDomain) -> bool {
    let conditions = object.status().map(Conditioned::conditions).unwrap_or_default();
    let is_refused =
        status::ready(conditions).is_some_and(|ready| ready.reason == Reason::NamespaceLimitReached.as_str());
    (!is_refused || object.is_seen())
        && references::may_have_name(ctx, object, domain, object.local_part()).is_ok()
        && subaddress::may_have(ctx, object, domain).is_ok()
}

fn claim<K: Addressed>(object: &K, address: &str) -> Claim {
    let conditions = object.status().map(Conditioned::conditions).unwrap_or_default();
    let is_there = status::is_true(conditions, "Synced") || status::is_true(conditions, "Drifted");
    Claim {
        uid: object.uid().unwrap_or_default(),
        namespace: object.namespace().unwrap_or_default(),
        waits_for: None,
        is_held: is_there && object.address() == Some(address),
        // Guests come after the domain's own namespace, which also adopts what they may not.
        is_proven: domain_of(object).is_some_and(|domain| domain.namespace == object.namespace()),
        created: object.creation_timestamp().map(|time| time.0),
        id: format!("{}/{} {}", object.namespace().unwrap_or_default(), object.name_any(), K::KIND),
    }
}
