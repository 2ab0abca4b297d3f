//! Automatic mailboxes of a domain: which namespaces are entitled, which address each gets, the steps, and the rights
//! of such a mailbox.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

use super::admission::matches;
use super::local_part::{Reserved, asked, is_usable};
use super::provisioned::{Provisioned, is_placed, labels, name};
use crate::crd::{
    AutoProvision, DeletionPolicy, EmailAlias, EmailDomain, EmailMailbox, MailboxState, RefusedNamespace,
    RefusedReason, WhenRevoked,
};

/// The input of the decision. Objects that don't affect an address may be left out.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The domain with automatic mailboxes.
    pub domain: &'a EmailDomain,
    /// The metadata of namespaces.
    pub namespaces: &'a [Arc<PartialObjectMeta<Namespace>>],
    /// Mailboxes of the domain, and others with the name of automatic ones.
    pub mailboxes: &'a [Arc<EmailMailbox>],
    /// Aliases of the domain.
    pub aliases: &'a [Arc<EmailAlias>],
    /// Reserved local parts.
    pub reserved: &'a Reserved,
}

/// The steps, and the refusals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Number of entitled namespaces.
    pub entitled: usize,
    /// Number of entitled namespaces with a mailbox, before the steps.
    pub mailboxes: usize,
    /// Number of mailboxes of namespaces that are no longer entitled.
    pub revoked: usize,
    /// The steps, in the order of namespaces.
    pub steps: Vec<Step>,
    /// Entitled namespaces that get no mailbox, in their order.
    pub refused: Vec<RefusedNamespace>,
    /// Whether a mailbox is being deleted, after which there may be more steps.
    pub is_leaving: bool,
}

/// A step for one mailbox.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create it.
    Create(Provisioned),
    /// Its namespace is no longer entitled: disable its login.
    Deactivate(Provisioned),
    /// Its namespace is entitled, and it differs: correct it.
    Reactivate(Provisioned),
}

impl Step {
    /// The desired mailbox.
    pub fn mailbox(&self) -> &Provisioned {
        match self {
            Self::Create(mailbox) | Self::Deactivate(mailbox) | Self::Reactivate(mailbox) => mailbox,
        }
    }
}

/// Decides for every namespace. Namespaces that are unknown or being deleted are skipped.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let mut decision = Decision::default();
    let Some(spec) = &facts.domain.spec.auto_provision else { return decision };
    let claims = Claims::of(facts, spec);
    let mut namespaces: Vec<&ObjectMeta> = facts.namespaces.iter().map(|namespace| &namespace.metadata).collect();
    namespaces.sort_by_key(|namespace| &namespace.name);
    for namespace in namespaces.into_iter().filter(|namespace| namespace.deletion_timestamp.is_none()) {
        let own = claims.own.get(name_of(namespace)).copied();
        decision.is_leaving |= own.is_some_and(|own| own.metadata.deletion_timestamp.is_some());
        if is_entitled(spec, namespace) {
            decision.entitled += 1;
            match claims.judge(namespace) {
                Ok(local_part) => decision.grant(facts.domain, namespace, own, local_part),
                Err(refused) => decision.refused.push(refused),
            }
        } else if let Some(own) = own.filter(|own| is_of(facts.domain, own) && is_placed(own)) {
            decision.revoked += 1;
            decision.steps.extend(revoke(spec, own));
        }
    }
    decision
}

impl Decision {
    fn grant(&mut self, domain: &EmailDomain, namespace: &ObjectMeta, own: Option<&EmailMailbox>, local: String) {
        let Some(own) = own else {
            self.steps.push(Step::Create(Provisioned::new(domain, name_of(namespace), local)));
            return;
        };
        self.mailboxes += 1;
        let wanted = Provisioned::from(own).in_state(MailboxState::Active);
        self.steps.extend(differs(domain, own, MailboxState::Active).then_some(Step::Reactivate(wanted)));
    }
}

/// Disables the login, unless the mailbox must be kept. An inactive mailbox stays inactive.
fn revoke(spec: &AutoProvision, own: &EmailMailbox) -> Option<Step> {
    let is_on = own.spec.state == MailboxState::Active && own.metadata.deletion_timestamp.is_none();
    let wanted = || Step::Deactivate(Provisioned::from(own).in_state(MailboxState::LoginDisabled));
    (spec.when_revoked == WhenRevoked::Deactivate && is_on).then(wanted)
}

/// Whether the object differs from what the operator applies.
fn differs(domain: &EmailDomain, own: &EmailMailbox, state: MailboxState) -> bool {
    let is_labelled = labels(domain).iter().all(|(key, value)| own.labels().get(*key) == Some(value));
    let is_as_made = own.spec.system && own.spec.deletion_policy == Some(DeletionPolicy::Retain) && is_labelled;
    own.metadata.deletion_timestamp.is_none() && (own.spec.state != state || !is_as_made)
}

/// Whether a namespace is entitled to a mailbox.
pub(super) fn is_entitled(spec: &AutoProvision, namespace: &ObjectMeta) -> bool {
    let none = std::collections::BTreeMap::new();
    matches(Some(&spec.namespace_selector), namespace.labels.as_ref().unwrap_or(&none))
}

/// Whether the mailbox is one of the domain.
pub(super) fn is_of(domain: &EmailDomain, mailbox: &EmailMailbox) -> bool {
    let own = mailbox.metadata.namespace.as_deref().unwrap_or_default();
    let reference = &mailbox.spec.domain_ref;
    Some(&reference.name) == domain.metadata.name.as_ref()
        && Some(reference.namespace_from(own)) == domain.metadata.namespace.as_deref()
}

pub(super) fn name_of(namespace: &ObjectMeta) -> &str {
    namespace.name.as_deref().unwrap_or_default()
}

/// Rank of a claim on a local part; the smallest wins: the current user of the name, then an existing mailbox, then
/// age.
type Rank<'a> = (u8, Option<Timestamp>, &'a str);

/// Who claims an address.
#[derive(Clone, Copy, Debug)]
enum Claimant<'a> {
    Namespace(&'a str),
    Mailbox(&'a EmailMailbox),
    Alias(&'a EmailAlias),
}

impl Claimant<'_> {
    fn shown(self) -> String {
        match self {
            Self::Namespace(name) => format!("the namespace {name}"),
            Self::Mailbox(object) => format!("the EmailMailbox {}/{}", namespace_of(object), object.name_any()),
            Self::Alias(object) => format!("the EmailAlias {}/{}", namespace_of(object), object.name_any()),
        }
    }
}

fn namespace_of(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_default()
}

/// The best claim on each local part.
pub(super) struct Claims<'a> {
    spec: &'a AutoProvision,
    facts: &'a Facts<'a>,
    /// Mailboxes with the name of automatic ones, by namespace.
    own: HashMap<&'a str, &'a EmailMailbox>,
    best: HashMap<String, (Rank<'a>, Claimant<'a>)>,
}

impl<'a> Claims<'a> {
    pub(super) fn of(facts: &'a Facts<'a>, spec: &'a AutoProvision) -> Self {
        let ours = name(facts.domain);
        let is_ours = |mailbox: &&EmailMailbox| mailbox.metadata.name.as_deref() == Some(&ours);
        let all = facts.mailboxes.iter().map(Arc::as_ref);
        let named = all.filter(is_ours).filter_map(|mailbox| Some((mailbox.metadata.namespace.as_deref()?, mailbox)));
        let mut claims = Self { spec, facts, own: named.collect(), best: HashMap::new() };
        let entitled = facts.namespaces.iter().map(|n| &n.metadata);
        entitled.filter(|n| n.deletion_timestamp.is_none() && is_entitled(spec, n)).for_each(|n| claims.want(n));
        for mailbox in facts.mailboxes.iter().map(Arc::as_ref).filter(|mailbox| is_of(facts.domain, mailbox)) {
            claims.hold(mailbox, is_ours(&mailbox));
        }
        for alias in facts.aliases.iter().map(Arc::as_ref) {
            let is_there =
                alias.status.as_ref().is_some_and(|status| status.address.is_some() && status.alias_id.is_some());
            let local = alias.spec.local_part.as_ref().filter(|_| is_there || claims.is_at_home(alias));
            let rank = (0, None, alias.metadata.name.as_deref().unwrap_or_default());
            if let Some(local) = local {
                claims.add(local.to_lowercase(), rank, Claimant::Alias(alias));
            }
        }
        claims
    }

    /// Objects in the domain's own namespace always count. Those of guests, who may write as many as they like, count
    /// once they are on Mailcow.
    fn is_at_home(&self, object: &impl ResourceExt) -> bool {
        object.meta().namespace == self.facts.domain.metadata.namespace
    }

    fn want(&mut self, namespace: &'a ObjectMeta) {
        let (id, local) = (name_of(namespace), asked(namespace, &self.spec.local_part_annotation));
        let is_made = |own: &&&EmailMailbox| is_of(self.facts.domain, own) && has(own, &local);
        let made = self.own.get(id).filter(is_made).and_then(|own| own.metadata.creation_timestamp.as_ref());
        let created = made.or(namespace.creation_timestamp.as_ref()).map(|time| time.0);
        self.add(local, (if made.is_some() { 1 } else { 2 }, created, id), Claimant::Namespace(id));
    }

    fn hold(&mut self, mailbox: &'a EmailMailbox, is_ours: bool) {
        let namespace = mailbox.metadata.namespace.as_deref().unwrap_or_default();
        let who = if is_ours { Claimant::Namespace(namespace) } else { Claimant::Mailbox(mailbox) };
        let is_there = mailbox.status.as_ref().is_some_and(|status| status.quota.is_some());
        if is_placed(mailbox) && (is_ours || is_there) || (!is_ours && self.is_at_home(mailbox)) {
            self.add(mailbox.spec.local_part.to_lowercase(), (0, None, namespace), who);
        }
    }

    fn add(&mut self, local: String, rank: Rank<'a>, who: Claimant<'a>) {
        let best = self.best.entry(local).or_insert((rank, who));
        if rank < best.0 {
            *best = (rank, who);
        }
    }

    /// The local part of an entitled namespace, or why it gets none. An existing one stays.
    pub(super) fn judge(&self, namespace: &ObjectMeta) -> Result<String, RefusedNamespace> {
        let (id, annotation) = (name_of(namespace), &self.spec.local_part_annotation);
        let local = asked(namespace, annotation);
        let refused = |reason, message| Err(RefusedNamespace { namespace: id.to_owned(), reason, message });
        let advice = format!("set another name in the annotation {annotation} of the namespace");
        match self.own.get(id) {
            Some(own) if is_of(self.facts.domain, own) && is_placed(own) => {
                return Ok(own.spec.local_part.to_lowercase());
            }
            Some(own) if !is_of(self.facts.domain, own) || !has(own, &local) => {
                let name = own.name_any();
                let message = format!(
                    "the namespace already has another EmailMailbox {name}; delete it, and create it again with another name"
                );
                return refused(RefusedReason::NameInUse, message);
            }
            _ => {}
        }
        if !is_usable(&local) {
            let message = format!(
                "{local:?} is not a valid local part, which has 1 to 64 characters of a-z, 0-9 and . _ - & ' % /, and does not begin or end with a dot or contain two dots in a row; {advice}"
            );
            return refused(RefusedReason::Invalid, message);
        }
        if self.facts.reserved.has(&local) {
            return refused(RefusedReason::Reserved, format!("{local:?} is reserved; {advice}"));
        }
        match self.best.get(&local) {
            Some((_, Claimant::Namespace(best))) if *best == id => Ok(local),
            None => Ok(local),
            Some((_, other)) => {
                refused(RefusedReason::Taken, format!("{local:?} is taken by {}; {advice}", other.shown()))
            }
        }
    }
}

/// Whether the mailbox has this local part.
fn has(mailbox: &EmailMailbox, local: &str) -> bool {
    mailbox.spec.local_part.to_lowercase() == local
}

#[cfg(test)]
mod tests;
