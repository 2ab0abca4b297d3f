//! The rules of a mailbox, and which of them can be active.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;

use crate::controller::driver::context::Context;
use crate::controller::driver::index::Key;
use crate::controller::driver::references;
use crate::controller::driver::refers::Refers;
use crate::controller::rules::links::links;
use crate::controller::rules::scope::{check, id, leaves};
use crate::crd::{DomainRef, EmailForwardingRule, EmailMailbox};
use crate::kubernetes::store::IndexKeys;
use crate::mail::rule::Rule;
use crate::mail::{Address, Mark};
use crate::outcome::{Reason, Why};

/// A mailbox from the view of rules; its object may be deleted.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// Name of the mailbox object.
    pub(crate) name: String,
    /// The domain object whose rules are active here; none if the mailbox is no longer managed.
    pub(crate) domain: Option<DomainRef>,
    /// The server of the mailbox; none if it is no longer known.
    pub(crate) server: Option<String>,
    pub(crate) address: Address,
    /// The mark of the script.
    pub(crate) mark: Mark,
}

impl Place {
    /// From a mailbox object.
    pub(crate) fn of(ctx: &Context, mailbox: &EmailMailbox, address: Address) -> Self {
        let said = mailbox.status.as_ref().and_then(|status| status.server.as_deref());
        Self {
            namespace: mailbox.namespace().unwrap_or_default(),
            name: mailbox.name_any(),
            domain: Some(mailbox.spec.domain_ref.clone()),
            server: Some(references::server_name(references::home(ctx, mailbox).ok().as_deref(), said)),
            address,
            mark: ctx.mark(mailbox),
        }
    }

    /// From a mailbox whose object is deleted. The uid does not matter for the owner of a mark.
    pub(crate) fn without_object(ctx: &Context, namespace: &str, name: &str, address: Address) -> Self {
        let mark = Mark::new(&ctx.cluster, namespace, name, "");
        Self { namespace: namespace.to_owned(), name: name.to_owned(), domain: None, server: None, address, mark }
    }

    /// The keys of its rules.
    fn rule_keys(&self) -> IndexKeys {
        let domain = self.domain.iter().map(|domain| Key::Domain(domain.namespace_from(&self.namespace), &domain.name));
        domain.chain([Key::Mailbox(&self.namespace, &self.name)]).collect()
    }

    fn has(&self, rule: &EmailForwardingRule) -> bool {
        let by_mailbox = rule.mailboxes().iter().any(|mailbox| mailbox.name == self.name);
        let is_same = |domain: &DomainRef| self.domain.as_ref().is_some_and(|own| own.is_same(domain, &self.namespace));
        let by_domain = rule.domain().is_some_and(is_same);
        rule.metadata.namespace.as_deref() == Some(&self.namespace) && (by_mailbox || by_domain)
    }
}

/// The rules of a mailbox.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    /// All rules, also those being deleted.
    pub(crate) all: Vec<Arc<EmailForwardingRule>>,
    /// Rules that can be in the script.
    pub(crate) in_force: Vec<Rule>,
    /// Rules that can't, by `namespace/name`.
    pub(crate) refused: BTreeMap<String, Why>,
}

/// The current rules of a mailbox.
pub(crate) async fn of(ctx: &Context, place: &Place) -> RuleSet {
    let all: Vec<_> = ctx.stores.rules.by_keys(place.rule_keys(), |rule| place.has(rule)).collect();
    if all.is_empty() {
        return RuleSet::default();
    }
    let links = links(ctx).await;
    let mut set = RuleSet::default();
    for object in all.iter().filter(|rule| !leaves(ctx, rule)) {
        let id = id(object);
        let mut rule = match check(ctx, object, Some(&place.address)) {
            Ok(rule) => rule,
            Err(why) => {
                set.refused.insert(id, why);
                continue;
            }
        };
        if let Some(found) = links.loops.get(&id) {
            let message = found.message("spec.actions", &place.namespace);
            set.refused.insert(id, Why::new(Reason::Conflict, message));
            continue;
        }
        if object.spec.domain_ref.is_some() {
            rule.leave_out(|to| links.paths().ends_only_in(to, &place.address));
        }
        set.in_force.push(rule);
    }
    set.all = all;
    set
}
