//! Which rules a mailbox has, and which of them can be in force.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use kube::ResourceExt;

use crate::controller::driver::context::Context;
use crate::controller::driver::policies;
use crate::controller::driver::references;
use crate::controller::driver::refers::Refers;
use crate::controller::rules::loops::Links;
use crate::crd::{DeletionPolicy, DomainRef, EmailForwardingRule, EmailMailbox};
use crate::desired;
use crate::forwarding::{ForwardingLoop, Routes, Sends, rule_loops};
use crate::gates::Gate;
use crate::mail::rule::Rule;
use crate::mail::{Address, DomainName, Mark, Sinks};
use crate::outcome::{Reason, Why};

/// Stands for any mailbox where a rule is checked without one.
const ANY: &str = "mailbox@rule.invalid";

/// A mailbox as rules see it; its object may be gone.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// Name of the mailbox object.
    pub(crate) name: String,
    /// The domain object whose rules are in force here; none where the mailbox is no longer managed.
    pub(crate) domain: Option<DomainRef>,
    /// The server that holds the mailbox; none where that is not known any more.
    pub(crate) server: Option<String>,
    pub(crate) address: Address,
    /// Of the script.
    pub(crate) mark: Mark,
}

impl Place {
    /// That of a mailbox object.
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

    /// That of a mailbox whose object is gone. The uid plays no part in who owns a mark.
    pub(crate) fn without_object(ctx: &Context, namespace: &str, name: &str, address: Address) -> Self {
        let mark = Mark::new(&ctx.cluster, namespace, name, "");
        Self { namespace: namespace.to_owned(), name: name.to_owned(), domain: None, server: None, address, mark }
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
    /// Every one, those that are going too.
    pub(crate) all: Vec<Arc<EmailForwardingRule>>,
    /// Those that can be in the script.
    pub(crate) in_force: Vec<Rule>,
    /// Those that can't, by `namespace/name`.
    pub(crate) refused: BTreeMap<String, Why>,
    /// Whether one of them forwards to a mailbox of the namespace.
    pub(crate) is_linked: bool,
}

/// The rules of a mailbox as they are now.
pub(crate) fn of(ctx: &Context, place: &Place) -> RuleSet {
    let all = ctx.stores.rules.state_filter(|rule| place.has(rule));
    if all.is_empty() {
        return RuleSet::default();
    }
    let links = links(ctx, &place.namespace);
    let mut set = RuleSet::default();
    for rule in all.iter().filter(|rule| !leaves(ctx, rule)) {
        let id = id(rule);
        set.is_linked |= links.rules.contains(&id);
        let ring = links.rings.iter().find(|ring| ring.id == id);
        match (check(ctx, rule, Some(&place.address)), ring) {
            (Ok(rule), None) => set.in_force.push(rule),
            (Ok(_), Some(ring)) => drop(set.refused.insert(id, why(ring, &place.namespace))),
            (Err(why), _) => drop(set.refused.insert(id, why)),
        }
    }
    set.all = all;
    set
}

/// Whether a rule is on its way out of the script.
fn leaves(ctx: &Context, rule: &EmailForwardingRule) -> bool {
    rule.metadata.deletion_timestamp.is_some() && policies::of(ctx, rule).deletion.value == DeletionPolicy::Delete
}

fn why(ring: &ForwardingLoop, namespace: &str) -> Why {
    Why::new(Reason::Conflict, ring.message("spec.actions", namespace))
}

/// Reads a rule for one of its mailboxes, or for any.
///
/// # Errors
/// Why it can't be in force.
pub(crate) fn check(ctx: &Context, object: &EmailForwardingRule, address: Option<&Address>) -> Result<Rule, Why> {
    let to_sink = object.spec.actions.iter().position(|a| a.create_task.is_some() || a.create_note.is_some());
    if let Some(n) = to_sink.filter(|_| !ctx.has(Gate::TaskDelivery)) {
        let message = format!("spec.actions[{n}]: the feature gate TaskDelivery is off in this installation");
        return Err(Why::new(Reason::FeatureDisabled, message));
    }
    read(object, address, &ctx.sinks.borrow()).map_err(|error| Why::new(error.reason(), error.to_string()))
}

fn read(object: &EmailForwardingRule, address: Option<&Address>, sinks: &Sinks) -> Result<Rule, desired::Unusable> {
    let created = object.creation_timestamp().map(|time| time.0.as_second()).unwrap_or_default();
    let any = || Address::parse(ANY).map_err(|error| desired::Invalid::of("spec")(error.to_string()));
    let address = address.cloned().map_or_else(any, Ok)?;
    desired::rule(&id(object), created, &object.spec, &address, sinks)
}

/// A rule's `namespace/name`.
pub(crate) fn id(object: &EmailForwardingRule) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// The managed mailboxes that a rule is for, with their addresses.
pub(crate) fn mailboxes(ctx: &Context, rule: &EmailForwardingRule) -> Vec<(Arc<EmailMailbox>, Address)> {
    let namespace = rule.namespace();
    let is_of = |mailbox: &EmailMailbox| {
        mailbox.metadata.deletion_timestamp.is_none() && applies(rule, mailbox) && mailbox.namespace() == namespace
    };
    let found = ctx.stores.mailboxes.state_filter(is_of);
    found.into_iter().filter_map(|mailbox| Some((mailbox.clone(), references::address(ctx, &mailbox)?))).collect()
}

/// Whether the rule is for the mailbox, when both are in one namespace.
pub(crate) fn applies(rule: &EmailForwardingRule, mailbox: &EmailMailbox) -> bool {
    rule.mailboxes().iter().any(|named| Some(&named.name) == mailbox.metadata.name.as_ref())
        || rule.domain().is_some_and(|domain| {
            mailbox.spec.domain_ref.is_same(domain, mailbox.metadata.namespace.as_deref().unwrap_or_default())
        })
}

fn links(ctx: &Context, namespace: &str) -> Arc<Links> {
    let of = |found: Option<&String>| found.is_some_and(|of| of == namespace);
    let rules = ctx.stores.rules.state_filter(|r| of(r.metadata.namespace.as_ref()) && !leaves(ctx, r));
    let mailboxes = ctx
        .stores
        .mailboxes
        .state_filter(|m| of(m.metadata.namespace.as_ref()) && m.metadata.deletion_timestamp.is_none());
    let domains = ctx.stores.domains.state_filter(|d| of(d.metadata.namespace.as_ref()));
    let sinks = ctx.sinks.borrow().clone();
    let versions: Vec<_> = rules.iter().map(|rule| (&rule.metadata.uid, rule.metadata.generation)).collect();
    let (of_mailboxes, of_domains): (Vec<_>, Vec<_>) =
        (mailboxes.iter().map(|m| &m.metadata.uid).collect(), domains.iter().map(|d| &d.metadata.uid).collect());
    let mut hasher = DefaultHasher::new();
    (versions, of_mailboxes, of_domains, Arc::as_ptr(&sinks)).hash(&mut hasher);
    let state = hasher.finish();
    if let Some(links) = ctx.loops.known(namespace, state) {
        return links;
    }
    let mailboxes: Vec<(Arc<EmailMailbox>, Address)> =
        mailboxes.into_iter().filter_map(|m| Some((m.clone(), references::address(ctx, &m)?))).collect();
    let links = Arc::new(find(&rules, &mailboxes, &sinks));
    ctx.loops.lock().insert(namespace.to_owned(), (state, links.clone()));
    links
}

fn find(rules: &[Arc<EmailForwardingRule>], mailboxes: &[(Arc<EmailMailbox>, Address)], sinks: &Sinks) -> Links {
    let mut domains: Vec<&DomainName> = mailboxes.iter().map(|(_, address)| address.domain()).collect();
    domains.sort();
    domains.dedup();
    let mut sends = Vec::new();
    for object in rules.iter().filter(|rule| rule.spec.enabled && may_stay_inside(rule, &domains)) {
        let from: Vec<Address> = mailboxes
            .iter()
            .filter(|(mailbox, _)| applies(object, mailbox))
            .map(|(_, address)| address.clone())
            .collect();
        let only = if object.spec.domain_ref.is_none() { from.first() } else { None };
        let Ok(rule) = read(object, only, sinks) else { continue };
        let to: Vec<_> = rule.forwards().into_iter().map(|(to, _)| to.clone()).collect();
        if to.iter().any(|to| mailboxes.iter().any(|(_, address)| to.is_in(address))) {
            let is_of_domain = object.spec.domain_ref.is_some();
            sends.push(Sends { id: rule.id, created: rule.created, is_of_domain, from, to });
        }
    }
    let mut routes = Routes::default();
    for (mailbox, address) in mailboxes {
        let id = format!("{}/{}", mailbox.namespace().unwrap_or_default(), mailbox.name_any());
        routes.add_mailbox(address.clone(), id);
    }
    Links { rings: rule_loops(&routes, &sends), rules: sends.into_iter().map(|sends| sends.id).collect() }
}

/// A quick look at whether one of the targets may be a mailbox of these domains; in doubt it may.
fn may_stay_inside(rule: &EmailForwardingRule, domains: &[&DomainName]) -> bool {
    let is_ours = |to: &String| {
        let domain = to.rsplit_once('@').map_or("", |(_, domain)| domain);
        !domain.is_ascii() || domains.iter().any(|ours| ours.as_str().eq_ignore_ascii_case(domain))
    };
    rule.spec.actions.iter().any(|action| {
        let to_sink = action.create_task.is_some() || action.create_note.is_some();
        to_sink || action.forward.as_ref().is_some_and(|forward| forward.to.iter().any(is_ours))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, created: i64, spec: &str) -> Arc<EmailForwardingRule> {
        let mut rule = EmailForwardingRule::new(name, serde_yaml::from_str(spec).unwrap());
        rule.metadata.namespace = Some("n".into());
        let time = k8s_openapi::jiff::Timestamp::from_second(created).unwrap();
        rule.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        Arc::new(rule)
    }

    fn mailbox(local: &str) -> (Arc<EmailMailbox>, Address) {
        let spec = format!("localPart: {local}\ndomainRef: {{name: d}}");
        let mut mailbox = EmailMailbox::new(local, serde_yaml::from_str(&spec).unwrap());
        mailbox.metadata.namespace = Some("n".into());
        (Arc::new(mailbox), Address::parse(&format!("{local}@e.com")).unwrap())
    }

    #[test]
    fn rules_inside_the_namespace_are_linked_and_those_to_the_outside_are_not() {
        let mailboxes = [mailbox("a"), mailbox("b")];
        let rules = [
            rule("in", 1, "mailboxRef: {name: a}\nactions: [{forward: {to: [b@E.com]}}]"),
            rule("out", 2, "mailboxRef: {name: a}\nactions: [{forward: {to: [b@other.org]}}]"),
            rule("back", 3, "domainRef: {name: d}\nactions: [{forward: {to: [a@e.com]}}]"),
        ];
        let links = find(&rules, &mailboxes, &Sinks::default());
        assert_eq!(links.rules, ["n/in", "n/back"]);
        assert_eq!(links.rings.iter().map(|ring| ring.id.as_str()).collect::<Vec<_>>(), ["n/back"]);
        assert!(why(&links.rings[0], "n").message.contains("b@e.com → a@e.com → b@e.com"));
    }

    #[test]
    fn a_domains_rule_is_for_each_mailbox_of_the_domain() {
        let (a, _) = mailbox("a");
        assert!(applies(&rule("r", 1, "domainRef: {name: d}\nactions: []"), &a));
        assert!(!applies(&rule("r", 1, "domainRef: {name: e}\nactions: []"), &a));
        assert!(applies(&rule("r", 1, "mailboxRef: {name: a}\nactions: []"), &a));
        assert!(!applies(&rule("r", 1, "mailboxRef: {name: d}\nactions: []"), &a));
    }
}
