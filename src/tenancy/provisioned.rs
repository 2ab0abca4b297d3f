//! An automatic mailbox: its fields and its claim on an address.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};

use super::local_part::asked;
use crate::crd::{DomainRef, EmailDomain, EmailMailbox, MANAGED_BY, MailboxState, PROVISIONED_BY};
use crate::mail::sha256;

/// The longest label value; bytes.
const LONGEST: usize = 63;

/// The operator's fields of an automatic mailbox; all others are free.
#[derive(Clone, Debug, PartialEq)]
pub struct Provisioned {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its local part.
    pub local_part: String,
    /// Its domain.
    pub domain_ref: DomainRef,
    /// Whether the user can log in.
    pub state: MailboxState,
}

impl Provisioned {
    pub(super) fn new(domain: &EmailDomain, namespace: &str, local_part: String) -> Self {
        let domain_ref = DomainRef { name: domain.name_any(), namespace: domain.namespace() };
        Self {
            namespace: namespace.to_owned(),
            name: name(domain),
            local_part,
            domain_ref,
            state: MailboxState::Active,
        }
    }

    pub(super) fn in_state(self, state: MailboxState) -> Self {
        Self { state, ..self }
    }

    /// The object as applied: only the operator's fields.
    pub fn manifest(&self, domain: &EmailDomain) -> Value {
        json!({
            "apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailMailbox",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": labels(domain)},
            "spec": {
                "localPart": self.local_part, "domainRef": self.domain_ref, "system": true, "state": self.state,
                "deletionPolicy": "Retain",
            },
        })
    }
}

impl From<&EmailMailbox> for Provisioned {
    /// From an existing one: immutable fields stay.
    fn from(there: &EmailMailbox) -> Self {
        Self {
            namespace: there.namespace().unwrap_or_default(),
            name: there.name_any(),
            local_part: there.spec.local_part.clone(),
            domain_ref: there.spec.domain_ref.clone(),
            state: there.spec.state,
        }
    }
}

/// The name of every automatic mailbox of the domain: the domain's `namespace.name`; a long one is shortened with a
/// hash. A namespace has no dot in its name, so two domains never have the same.
pub fn name(domain: &EmailDomain) -> String {
    let whole = format!("{}.{}", domain.namespace().unwrap_or_default(), domain.name_any());
    if whole.len() <= LONGEST {
        return whole;
    }
    let digits: String = sha256(&whole).chars().take(10).collect();
    let start: String = whole.chars().take(LONGEST - 1 - digits.len()).collect();
    format!("{}-{digits}", start.trim_end_matches(['-', '.']))
}

/// The labels of automatic mailboxes of the domain. Anybody may set them, so they decide nothing.
pub(super) fn labels(domain: &EmailDomain) -> BTreeMap<&'static str, String> {
    BTreeMap::from([(MANAGED_BY, "mailcow-operator".to_owned()), (PROVISIONED_BY, name(domain))])
}

/// Whether its domain allowed it once; only the operator writes statuses.
pub fn is_placed(mailbox: &EmailMailbox) -> bool {
    let address = mailbox.status.as_ref().and_then(|status| status.address.as_deref());
    let local = address.and_then(|address| address.rsplit_once('@')).map(|(local, _)| local);
    local.is_some_and(|local| local == mailbox.spec.local_part.to_lowercase())
}

/// Whether its claim on its address depends on this namespace; the input need not have others.
pub fn asks_for(namespace: &impl ResourceExt, domain: &EmailDomain, mailbox: &EmailMailbox) -> bool {
    let spec = domain.spec.auto_provision.as_ref();
    let is_own = Some(namespace.name_any()) == mailbox.namespace();
    let local = mailbox.spec.local_part.to_lowercase();
    is_own || spec.is_some_and(|spec| asked(namespace.meta(), &spec.local_part_annotation) == local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace;

    fn domain(namespace: &str, name: &str) -> EmailDomain {
        let mut domain = EmailDomain::new(name, serde_yaml::from_str("domain: e.com").unwrap());
        domain.metadata.namespace = Some(namespace.into());
        domain
    }

    #[test]
    fn names_tell_domains_apart_and_fit_into_labels() {
        assert_eq!(name(&domain("mail", "example-com")), "mail.example-com");
        assert_ne!(name(&domain("a", "b.c")), name(&domain("a-b", "c")));
        let whole = name(&domain("mail", &"x".repeat(LONGEST - 5)));
        assert_eq!((whole.len(), whole.trim_end_matches('x')), (LONGEST, "mail."), "what fits stays as it is");
        let long = |last: &str| name(&domain("mail", &format!("{}{last}", "x".repeat(252))));
        assert_eq!(long("a").len(), LONGEST);
        assert_ne!(long("a"), long("b"));
        let dotted = name(&domain(&"n".repeat(51), "x.y.z.and-so-on"));
        assert!(dotted.len() <= LONGEST && !dotted.contains(".-"), "{dotted}");
    }

    fn mailbox(namespace: &str, local_part: &str, address: Option<&str>) -> EmailMailbox {
        let spec = json!({"localPart": local_part, "domainRef": {"name": "d", "namespace": "mail"}});
        let status = json!({"address": address});
        let metadata = json!({"name": "x", "namespace": namespace});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn a_mailbox_is_let_in_once_its_status_has_the_address_of_its_spec() {
        for (local, address, expected) in [
            ("ada", None, false),
            ("ada", Some("ada@e.com"), true),
            ("Ada", Some("ada@e.com"), true),
            ("ada", Some("bob@e.com"), false),
            ("ada", Some("ada"), false),
        ] {
            assert_eq!(is_placed(&mailbox("a", local, address)), expected, "{local} {address:?}");
        }
        let unseen = EmailMailbox { status: None, ..mailbox("a", "ada", None) };
        assert!(!is_placed(&unseen));
    }

    #[test]
    fn a_claim_depends_on_its_own_namespace_and_on_those_that_ask_for_the_same() {
        let makes = "{domain: e.com, autoProvision: {namespaceSelector: {}}}";
        let makes = EmailDomain::new("d", serde_yaml::from_str(makes).unwrap());
        let makes_none = domain("mail", "d");
        let namespace = |name: &str, username: Option<&str>| {
            let annotations = username.map(|username| json!({crate::crd::USERNAME: username}));
            let metadata = json!({"name": name, "annotations": annotations});
            serde_json::from_value::<Namespace>(json!({"metadata": metadata})).unwrap()
        };
        let mailbox = mailbox("a", "Ada", None);
        for (name, username, expected) in [
            ("a", None, true),
            ("a", Some("bob"), true),
            ("b", None, false),
            ("b", Some("ada"), true),
            ("ada", None, true),
            ("ada", Some("bob"), false),
        ] {
            assert_eq!(asks_for(&namespace(name, username), &makes, &mailbox), expected, "{name} {username:?}");
        }
        assert!(asks_for(&namespace("a", None), &makes_none, &mailbox));
        assert!(!asks_for(&namespace("ada", None), &makes_none, &mailbox));
    }

    #[test]
    fn what_is_applied_is_only_what_is_the_operators() {
        let domain = domain("mail", "d");
        let made = Provisioned::new(&domain, "ada", "ada".into()).in_state(MailboxState::LoginDisabled);
        let manifest = made.manifest(&domain);
        let fields: Vec<&String> = manifest["spec"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["deletionPolicy", "domainRef", "localPart", "state", "system"]);
        assert_eq!(manifest["spec"]["domainRef"], json!({"name": "d", "namespace": "mail"}));
        assert_eq!(manifest["metadata"]["labels"][PROVISIONED_BY], "mail.d");
        let parsed: EmailMailbox = serde_json::from_value(manifest).unwrap();
        assert_eq!(Provisioned::from(&parsed), made);
    }
}
