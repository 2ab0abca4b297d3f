//! The mailboxes of a rule, whether it is being removed, and its content.

use std::sync::Arc;

use kube::ResourceExt;

use crate::controller::driver::context::Context;
use crate::controller::driver::index::Key;
use crate::controller::driver::policies;
use crate::controller::driver::references;
use crate::crd::{DeletionPolicy, EmailForwardingRule, EmailMailbox};
use crate::desired;
use crate::kubernetes::store::IndexKeys;
use crate::mail::rule::Rule;
use crate::mail::{Address, Sinks};
use crate::outcome::{Reason, Why};

/// A placeholder for the check of a rule without a mailbox.
const ANY: &str = "mailbox@rule.invalid";

/// Whether a rule is being removed from the script.
pub(crate) fn leaves(ctx: &Context, rule: &EmailForwardingRule) -> bool {
    rule.metadata.deletion_timestamp.is_some() && policies::of(ctx, rule).deletion.value == DeletionPolicy::Delete
}

/// Reads a rule for one of its mailboxes, or for any.
///
/// # Errors
/// Why it can't be in force.
pub(crate) fn check(ctx: &Context, object: &EmailForwardingRule, address: Option<&Address>) -> Result<Rule, Why> {
    desired::is_enabled(&object.spec, &ctx.settings.feature_gates)
        .map_err(|disabled| Why::new(Reason::FeatureDisabled, disabled.to_string()))?;
    read(object, address, &ctx.sinks.borrow()).map_err(|error| Why::new(error.reason(), error.to_string()))
}

/// The rule of an object for one of its mailboxes, or for any.
pub(crate) fn read(
    object: &EmailForwardingRule,
    address: Option<&Address>,
    sinks: &Sinks,
) -> Result<Rule, desired::Unusable> {
    let created = object.creation_timestamp().map(|time| time.0.as_second()).unwrap_or_default();
    let any = || Address::parse(ANY).map_err(|error| desired::Invalid::of("spec")(error.to_string()));
    let address = address.cloned().map_or_else(any, Ok)?;
    desired::rule(&id(object), created, &object.spec, &address, sinks)
}

/// A rule's `namespace/name`.
pub(crate) fn id(object: &EmailForwardingRule) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// The managed mailboxes of a rule, with their addresses.
pub(crate) fn mailboxes(ctx: &Context, rule: &EmailForwardingRule) -> Vec<(Arc<EmailMailbox>, Address)> {
    let namespace = rule.namespace();
    let is_of = |mailbox: &EmailMailbox| {
        mailbox.metadata.deletion_timestamp.is_none() && applies(rule, mailbox) && mailbox.namespace() == namespace
    };
    let found = ctx.stores.mailboxes.by_keys(keys(rule), is_of);
    found.into_iter().filter_map(|mailbox| Some((mailbox.clone(), references::address(ctx, &mailbox)?))).collect()
}

/// The keys of the mailboxes to which the rule may apply.
pub(crate) fn keys(rule: &EmailForwardingRule) -> IndexKeys {
    let own = rule.metadata.namespace.as_deref().unwrap_or_default();
    let one = rule.spec.mailbox_ref.iter().map(|mailbox| Key::Name(&mailbox.name));
    let all = rule.spec.domain_ref.iter().map(|domain| Key::Domain(domain.namespace_from(own), &domain.name));
    one.chain(all).collect()
}

/// The keys of the rules that may apply to the mailbox.
pub(crate) fn keys_of_rules(mailbox: &EmailMailbox) -> IndexKeys {
    let own = mailbox.metadata.namespace.as_deref().unwrap_or_default();
    let domain = &mailbox.spec.domain_ref;
    let mailbox = Key::Mailbox(own, mailbox.metadata.name.as_deref().unwrap_or_default());
    [mailbox, Key::Domain(domain.namespace_from(own), &domain.name)].into_iter().collect()
}

/// Whether the rule applies to the mailbox, if both are in one namespace.
pub(crate) fn applies(rule: &EmailForwardingRule, mailbox: &EmailMailbox) -> bool {
    let meta = &mailbox.metadata;
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    desired::applies(&rule.spec, namespace.unwrap_or_default(), name.unwrap_or_default(), &mailbox.spec)
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
    fn a_domains_rule_is_for_each_mailbox_of_the_domain() {
        let (a, _) = mailbox("a");
        assert!(applies(&rule("r", 1, "domainRef: {name: d}\nactions: []"), &a));
        assert!(!applies(&rule("r", 1, "domainRef: {name: e}\nactions: []"), &a));
        assert!(applies(&rule("r", 1, "mailboxRef: {name: a}\nactions: []"), &a));
        assert!(!applies(&rule("r", 1, "mailboxRef: {name: d}\nactions: []"), &a));
    }
}
