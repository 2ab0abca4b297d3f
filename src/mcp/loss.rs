//! What a deletion would lose, from what the object says.

use kube::ResourceExt;

use super::managed::Managed;
use crate::crd::{DeletionPolicy, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

/// What is lost when an object is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Whether the operator may destroy mail, or aliases, on Mailcow.
    pub(crate) destroys_mail: bool,
    /// In words.
    pub(crate) words: Vec<String>,
    /// What a person types to confirm.
    pub(crate) confirmation: String,
    /// The value of the annotation `confirm-delete` that the operator asks for; `None` if it asks for none.
    pub(crate) annotation: Option<String>,
}

/// A kind whose deletion can be planned.
pub(crate) trait Lossy: Managed {
    /// What its deletion loses.
    fn loss(&self) -> Loss;
}

const STAYS: &str = "nothing is lost on Mailcow: the entry stays there as it is, and the operator no longer manages it";
const UNKNOWN: &str = "the operator has not reported the deletion policy yet; the default keeps domains and mailboxes on Mailcow and removes aliases and rules, but the namespace or the installation can say otherwise";

impl Lossy for EmailMailbox {
    fn loss(&self) -> Loss {
        let policy = self.deletion_policy();
        let address = self.address();
        let status = self.status.as_ref();
        let used =
            status.and_then(|status| status.quota.as_ref()).map_or("an unknown size", |quota| quota.used.as_str());
        let messages = status.and_then(|status| status.messages);
        let count =
            messages.map_or_else(|| "an unknown number of messages".to_owned(), |count| format!("{count} messages"));
        let shown = address.clone().unwrap_or_else(|| self.name_any());
        let destroys_mail = policy == Some(DeletionPolicy::Delete) && !self.spec.system;
        let words = match policy {
            Some(DeletionPolicy::Delete) if self.spec.system => vec![
                "this is a system mailbox: the operator does not delete it on Mailcow, and the deletion waits"
                    .to_owned(),
            ],
            Some(DeletionPolicy::Delete) => vec![
                format!("Mailcow destroys the mailbox {shown} with {count} ({used}); this can't be undone"),
                "the Secret with its generated password is deleted too".to_owned(),
            ],
            Some(DeletionPolicy::Deactivate) => vec![format!(
                "the mailbox {shown} becomes inactive on Mailcow: it refuses mail, and nobody can log in; its mail stays ({count})"
            )],
            Some(DeletionPolicy::Retain) => vec![STAYS.to_owned()],
            None => vec![UNKNOWN.to_owned()],
        };
        let annotation = address.filter(|_| destroys_mail);
        Loss { destroys_mail, words, confirmation: shown, annotation }
    }
}

impl Lossy for EmailDomain {
    fn loss(&self) -> Loss {
        let policy = self.deletion_policy();
        let domain = self.address().unwrap_or_default();
        let mut words = match policy {
            Some(DeletionPolicy::Delete) => vec![format!(
                "Mailcow deletes the domain {domain} with its aliases, once it has no mailboxes; this can't be undone"
            )],
            Some(DeletionPolicy::Deactivate) => {
                vec![format!("the domain {domain} becomes inactive on Mailcow: it neither receives nor sends mail")]
            }
            Some(DeletionPolicy::Retain) => vec![STAYS.to_owned()],
            None => vec![UNKNOWN.to_owned()],
        };
        let attached = self.status.as_ref().and_then(|status| status.attached.as_ref());
        match attached {
            Some(attached) if attached.mailboxes + attached.aliases + attached.rules > 0 => words.push(format!(
                "{} EmailMailbox, {} EmailAlias and {} EmailForwardingRule objects refer to it and stop with DomainNotFound",
                attached.mailboxes, attached.aliases, attached.rules
            )),
            Some(_) => {}
            None => words.push("it is not known which objects refer to it".to_owned()),
        }
        let destroys_mail = policy == Some(DeletionPolicy::Delete);
        let annotation = destroys_mail.then(|| domain.clone());
        Loss { destroys_mail, words, confirmation: domain, annotation }
    }
}

impl Lossy for EmailAlias {
    fn loss(&self) -> Loss {
        let address = self.address().unwrap_or_else(|| self.name_any());
        let words = match self.deletion_policy() {
            Some(DeletionPolicy::Delete) => {
                vec![format!("Mailcow deletes the alias {address}: mail to it is refused, or goes to the catch-all")]
            }
            Some(DeletionPolicy::Retain | DeletionPolicy::Deactivate) => vec![STAYS.to_owned()],
            None => vec![UNKNOWN.to_owned()],
        };
        Loss { destroys_mail: false, words, confirmation: address, annotation: None }
    }
}

impl Lossy for EmailForwardingRule {
    fn loss(&self) -> Loss {
        let count = self.status.as_ref().and_then(|status| status.mailbox_count);
        let mailboxes = count.map_or_else(|| "its mailboxes".to_owned(), |count| format!("{count} mailboxes"));
        let words = match self.deletion_policy() {
            Some(DeletionPolicy::Delete) => {
                vec![format!(
                    "the rule no longer runs in {mailboxes}: the mail it forwarded, filed or ignored arrives as without it"
                )]
            }
            Some(DeletionPolicy::Retain | DeletionPolicy::Deactivate) => {
                vec!["the rule stays in the script until another rule of the mailbox changes".to_owned()]
            }
            None => vec![UNKNOWN.to_owned()],
        };
        Loss { destroys_mail: false, words, confirmation: self.name_any(), annotation: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn object<T: DeserializeOwned>(kind: &str, spec: &Value, status: &Value) -> T {
        let value = json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": kind,
            "metadata": {"name": "ada", "namespace": "mail"}, "spec": spec, "status": status});
        serde_json::from_value(value).unwrap()
    }

    fn policies(word: &str) -> Value {
        let chosen = |value: &str| json!({"value": value, "from": "Kind"});
        json!({"deletion": chosen(word), "adoption": chosen("IfUnowned"), "drift": chosen("Correct")})
    }

    fn mailbox(policy: Option<&str>, system: bool) -> EmailMailbox {
        let mut status = json!({"address": "ada@example.com", "messages": 4711,
            "quota": {"limit": "2Gi", "used": "1200Mi"}});
        if let Some(policy) = policy {
            status["policies"] = policies(policy);
        }
        object("EmailMailbox", &json!({"localPart": "ada", "domainRef": {"name": "d"}, "system": system}), &status)
    }

    #[test]
    fn mail_that_would_be_destroyed_is_counted() {
        let loss = mailbox(Some("Delete"), false).loss();
        assert!(loss.destroys_mail && loss.words[0].contains("4711 messages (1200Mi)"), "{loss:?}");
        assert_eq!(loss.confirmation, "ada@example.com");
        assert_eq!(loss.annotation.as_deref(), Some("ada@example.com"));
    }

    #[test]
    fn what_stays_needs_no_annotation() {
        for (policy, system) in
            [(Some("Retain"), false), (Some("Deactivate"), false), (Some("Delete"), true), (None, false)]
        {
            let loss = mailbox(policy, system).loss();
            assert!(!loss.destroys_mail && loss.annotation.is_none(), "{policy:?} {loss:?}");
        }
        assert!(mailbox(None, false).loss().words[0].contains("not reported"));
    }

    #[test]
    fn a_domain_names_who_depends_on_it() {
        let domain: EmailDomain = object(
            "EmailDomain",
            &json!({"domain": "example.com"}),
            &json!({"attached": {"mailboxes": 3, "aliases": 2, "rules": 1}, "policies": policies("Retain"), "dns": {"records": []}}),
        );
        let loss = domain.loss();
        assert!(loss.words[1].starts_with("3 EmailMailbox, 2 EmailAlias"), "{loss:?}");
    }

    #[test]
    fn an_alias_and_a_rule_say_where_mail_goes() {
        let alias: EmailAlias = object(
            "EmailAlias",
            &json!({"domainRef": {"name": "d"}, "localPart": "x", "goto": ["a@b.example"]}),
            &json!({"address": "x@example.com", "policies": policies("Delete")}),
        );
        assert!(alias.loss().words[0].contains("x@example.com"));
        let rule: EmailForwardingRule = object(
            "EmailForwardingRule",
            &json!({"mailboxRef": {"name": "ada"}, "actions": [{"ignore": {}}]}),
            &json!({"mailboxCount": 2, "policies": policies("Delete")}),
        );
        assert!(rule.loss().words[0].contains("2 mailboxes"));
    }
}
