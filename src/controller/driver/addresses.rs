//! Which mailboxes and aliases want an address, and which domains a name.

use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;

use crate::controller::driver::index::Key;
use crate::controller::driver::refers::{Refers, domain_of};
use crate::crd::{EmailAlias, EmailDomain, EmailMailbox};
use crate::desired;
use crate::hash::hashed;
use crate::kubernetes::object::Object;
use crate::kubernetes::store::Store;
use crate::kubernetes::stores::Stores;
use crate::mail::DomainName;

/// An object that wants an address.
pub(crate) trait Addressed: Object + Refers {
    /// The local part; `None` for a catch-all.
    fn local_part(&self) -> Option<&str>;
    /// The full address in the status.
    fn address(&self) -> Option<&str>;
    /// Whether the status shows its entry on Mailcow.
    fn is_seen(&self) -> bool;
}

impl Addressed for EmailMailbox {
    fn local_part(&self) -> Option<&str> {
        Some(&self.spec.local_part)
    }

    fn address(&self) -> Option<&str> {
        self.status.as_ref()?.address.as_deref()
    }

    fn is_seen(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.quota.is_some())
    }
}

impl Addressed for EmailAlias {
    fn local_part(&self) -> Option<&str> {
        self.spec.local_part.as_deref()
    }

    fn address(&self) -> Option<&str> {
        self.status.as_ref()?.address.as_deref()
    }

    fn is_seen(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.alias_id.is_some())
    }
}

/// The address that an object wants, by its spec: a hash of the domain's object and the local part.
pub(crate) fn wanted(object: &impl Addressed) -> Option<u64> {
    Some(place(&domain_of(object)?, object.local_part()))
}

/// An address in a domain; without `local` the catch-all.
pub(crate) fn place(domain: &ObjectRef<EmailDomain>, local: Option<&str>) -> u64 {
    hashed(&(&domain.namespace, &domain.name, local.map(str::to_ascii_lowercase)))
}

/// The address that an object's status names, as a hash.
pub(crate) fn reported(object: &impl Addressed) -> Option<u64> {
    Some(hashed(&object.address()?))
}

/// The domains with this name, of any namespace.
pub(crate) fn domains_named(stores: &Stores, name: &DomainName) -> impl Iterator<Item = Arc<EmailDomain>> {
    let is_named = move |domain: &EmailDomain| desired::domain_name(&domain.spec).as_ref() == Ok(name);
    stores.domains.by_keys(Key::DomainName(name.as_str()), is_named)
}

/// Whether an `EmailDomain` of any namespace has this name.
pub(crate) fn has_domain(stores: &Stores, name: &DomainName) -> bool {
    domains_named(stores, name).next().is_some()
}

/// The mailboxes or aliases that want an address in these domains; without `local` their catch-alls.
pub(crate) fn wanting_at<K: Addressed>(
    store: &Store<K>,
    local: Option<&str>,
    domains: &[ObjectRef<EmailDomain>],
) -> impl Iterator<Item = Arc<K>> {
    domains.iter().flat_map(move |domain| wanting(store, place(domain, local)))
}

fn wanting<K: Addressed>(store: &Store<K>, address: u64) -> impl Iterator<Item = Arc<K>> + use<K> {
    store.by_keys(Key::Wanted(address), move |object| wanted(object) == Some(address))
}

/// The other mailboxes and aliases that want the same address.
pub(crate) fn rivals<K: Addressed>(stores: &Stores, object: &K) -> (Vec<Arc<EmailMailbox>>, Vec<Arc<EmailAlias>>) {
    let Some(address) = wanted(object) else { return (Vec::new(), Vec::new()) };
    let mailboxes = wanting(&stores.mailboxes, address).filter(|mailbox| !is_itself(mailbox.as_ref(), object));
    let aliases = wanting(&stores.aliases, address).filter(|alias| !is_itself(alias.as_ref(), object));
    (mailboxes.collect(), aliases.collect())
}

/// Whether another mailbox or alias wants the same address.
pub(crate) fn has_rivals<K: Addressed>(stores: &Stores, object: &K) -> bool {
    let Some(address) = wanted(object) else { return false };
    wanting(&stores.mailboxes, address).any(|mailbox| !is_itself(mailbox.as_ref(), object))
        || wanting(&stores.aliases, address).any(|alias| !is_itself(alias.as_ref(), object))
}

/// Whether both are the same object, of whatever version.
fn is_itself<K: Addressed, O: Addressed>(other: &O, object: &K) -> bool {
    let (own, theirs) = (object.meta(), other.meta());
    K::KIND == O::KIND && own.namespace == theirs.namespace && own.name == theirs.name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::store::tests::mailbox;
    use crate::kubernetes::stores::Watched;

    fn alias(name: &str, local: &str) -> EmailAlias {
        let spec = format!("{{localPart: {local}, domainRef: {{name: d}}, goto: [x@e.com]}}");
        let mut alias = EmailAlias::new(name, serde_yaml::from_str(&spec).unwrap());
        alias.metadata.namespace = Some("n".into());
        alias
    }

    fn domain(name: &str) -> EmailDomain {
        let mut domain = EmailDomain::new(name, serde_yaml::from_str("{domain: Example.com}").unwrap());
        domain.metadata.namespace = Some("n".into());
        domain
    }

    fn stores(domains: &[EmailDomain], mailboxes: &[EmailMailbox], aliases: &[EmailAlias]) -> Stores {
        Stores {
            domains: Watched::of(domains.to_vec()),
            mailboxes: Watched::of(mailboxes.to_vec()),
            aliases: Watched::of(aliases.to_vec()),
            rules: Watched::of([]),
            namespaces: None,
        }
    }

    fn names<K: Addressed>(found: &[Arc<K>]) -> Vec<&str> {
        found.iter().filter_map(|object| object.meta().name.as_deref()).collect()
    }

    #[test]
    fn rivals_want_the_same_address_in_any_case_whatever_their_kind() {
        let (one, two, third) = (mailbox("one", "ada"), mailbox("two", "Ada"), alias("one", "ADA"));
        let alone = stores(&[], std::slice::from_ref(&one), &[]);
        assert!(!has_rivals(&alone, &one));
        assert!(has_rivals(&alone, &two), "known before it is in a store itself");
        let all = stores(&[], &[one.clone(), two, mailbox("bob", "bob")], std::slice::from_ref(&third));
        let (mailboxes, aliases) = rivals(&all, &one);
        assert_eq!((names(&mailboxes), names(&aliases)), (vec!["two"], vec!["one"]));
        let (mailboxes, aliases) = rivals(&all, &third);
        assert_eq!((mailboxes.len(), aliases.len()), (2, 0));
        assert!(!has_rivals(&all, &mailbox("bob", "bob")));
    }

    #[test]
    fn objects_are_found_by_their_address_also_from_other_namespaces() {
        let name = DomainName::parse("example.com").unwrap();
        let mut catch_all = alias("all", "unused");
        catch_all.spec.local_part = None;
        let mut guest = alias("guest", "sales");
        guest.metadata.namespace = Some("other".into());
        guest.spec.domain_ref.namespace = Some("n".into());
        let (mailboxes, aliases) = ([mailbox("one", "Ada")], [catch_all, guest, alias("elsewhere", "x")]);
        let none = stores(&[], &mailboxes, &aliases);
        assert!(!has_domain(&none, &name));
        let all = stores(&[domain("d"), domain("rival")], &mailboxes, &aliases);
        assert!(has_domain(&all, &name));
        let domains: Vec<_> = domains_named(&all, &name).map(|domain| ObjectRef::from_obj(domain.as_ref())).collect();
        let found = |local| names(&wanting_at(&all.aliases, local, &domains).collect::<Vec<_>>()).join(" ");
        assert_eq!((domains.len(), found(Some("sales")), found(None)), (2, "guest".to_owned(), "all".to_owned()));
        let mailboxes: Vec<_> = wanting_at(&all.mailboxes, Some("ada"), &domains).collect();
        assert_eq!(names(&mailboxes), ["one"]);
    }
}
