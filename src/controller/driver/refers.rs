//! The references of an object, as both sides write them.

use std::collections::{HashMap, HashSet};

use kube::Resource;
use kube::runtime::reflector::ObjectRef;

use crate::crd::{DomainRef, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, Ref};

/// References of an object to others, as both sides write them.
pub(crate) trait Refers: Resource<DynamicType = ()> {
    /// The domain it belongs to.
    fn domain(&self) -> Option<&DomainRef>;
    /// The mailboxes it needs.
    fn mailboxes(&self) -> Vec<&Ref>;
}

impl Refers for EmailMailbox {
    fn domain(&self) -> Option<&DomainRef> {
        Some(&self.spec.domain_ref)
    }

    fn mailboxes(&self) -> Vec<&Ref> {
        Vec::new()
    }
}

impl Refers for EmailAlias {
    fn domain(&self) -> Option<&DomainRef> {
        Some(&self.spec.domain_ref)
    }

    fn mailboxes(&self) -> Vec<&Ref> {
        self.spec.goto_mailbox_refs.iter().flatten().collect()
    }
}

impl Refers for EmailForwardingRule {
    fn domain(&self) -> Option<&DomainRef> {
        self.spec.domain_ref.as_ref()
    }

    fn mailboxes(&self) -> Vec<&Ref> {
        self.spec.mailbox_ref.iter().collect()
    }
}

/// Objects of one kind by namespace and name, so that those affected by thousands of changes are found in one search.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, HashSet<String>>);

impl Names {
    /// Whether it has this name in this namespace.
    pub(crate) fn contains(&self, namespace: Option<&str>, name: &str) -> bool {
        namespace.and_then(|namespace| self.0.get(namespace)).is_some_and(|names| names.contains(name))
    }

    /// Each namespace.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Each namespace and name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let namespaces = self.0.iter();
        namespaces.flat_map(|(namespace, names)| names.iter().map(move |name| (namespace.as_str(), name.as_str())))
    }

    /// Whether it has the domain of `object`.
    pub(crate) fn contain_domain_of(&self, object: &impl Refers) -> bool {
        let own = object.meta().namespace.as_deref();
        object.domain().is_some_and(|domain| self.contains(own.map(|own| domain.namespace_from(own)), &domain.name))
    }

    /// Whether it has a mailbox that `object` needs.
    pub(crate) fn contain_mailbox_of(&self, object: &impl Refers) -> bool {
        object.mailboxes().iter().any(|mailbox| self.contains(object.meta().namespace.as_deref(), &mailbox.name))
    }
}

impl Extend<(String, String)> for Names {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, objects: T) {
        for (namespace, name) in objects {
            self.0.entry(namespace).or_default().insert(name);
        }
    }
}

impl FromIterator<(String, String)> for Names {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(objects: T) -> Self {
        let mut names = Self::default();
        names.extend(objects);
        names
    }
}

/// Whether `object` refers to the domain `name` in `namespace`.
pub(crate) fn belongs_to(object: &impl Refers, namespace: Option<&str>, name: &str) -> bool {
    let is_there = |domain: &DomainRef| {
        let own = object.meta().namespace.as_deref();
        domain.name == name && own.is_some_and(|own| Some(domain.namespace_from(own)) == namespace)
    };
    object.domain().is_some_and(is_there)
}

/// The reference of the domain that an object belongs to.
pub(crate) fn domain_of(object: &impl Refers) -> Option<ObjectRef<EmailDomain>> {
    let domain = object.domain()?;
    Some(ObjectRef::new(&domain.name).within(domain.namespace_from(object.meta().namespace.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox() -> EmailMailbox {
        let spec = serde_yaml::from_str("localPart: a\ndomainRef: {name: d}").unwrap();
        let mut mailbox = EmailMailbox::new("m", spec);
        mailbox.metadata.namespace = Some("n".into());
        mailbox
    }

    #[test]
    fn references_count_only_inside_the_namespace() {
        let names = |namespace: &str, name: &str| Names::from_iter([(namespace.to_owned(), name.to_owned())]);
        assert!(names("n", "d").contain_domain_of(&mailbox()));
        assert!(!names("other", "d").contain_domain_of(&mailbox()) && !names("n", "e").contain_domain_of(&mailbox()));
        let spec = "{localPart: a, domainRef: {name: d}, gotoMailboxRefs: [{name: x}, {name: y}]}";
        let mut alias = EmailAlias::new("a", serde_yaml::from_str(spec).unwrap());
        alias.metadata.namespace = Some("n".into());
        assert!(names("n", "y").contain_mailbox_of(&alias) && !names("other", "y").contain_mailbox_of(&alias));
        assert!(belongs_to(&mailbox(), Some("n"), "d"));
        assert!(!belongs_to(&mailbox(), Some("other"), "d"));
        assert!(!belongs_to(&mailbox(), Some("n"), "e"));
    }

    #[test]
    fn a_domain_of_another_namespace_is_meant_where_it_is_named() {
        let mut guest = mailbox();
        guest.spec.domain_ref.namespace = Some("platform".into());
        assert!(belongs_to(&guest, Some("platform"), "d") && !belongs_to(&guest, Some("n"), "d"));
        assert_eq!(domain_of(&guest), Some(ObjectRef::new("d").within("platform")));
    }
}
