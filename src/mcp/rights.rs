//! The rights of a caller, to hide tools that they can't use. Nothing is decided here: the API server checks each call.

use std::borrow::Cow;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::ResourceRule;
use kube::Resource;

use super::arguments::Kind;
use super::caller::Caller;
use super::catalog::Tool;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP};

/// In more namespaces nobody looks; every tool is shown.
const MOST: usize = 8;
/// Without an answer within this time every tool is shown.
const LIMIT: Duration = Duration::from_secs(2);

/// What a caller may do in the served namespaces.
#[derive(Debug)]
pub(crate) struct Rights(Vec<ResourceRule>);

/// The rights in these namespaces; `None` if they can't be known.
pub(crate) async fn known(caller: &Caller, namespaces: &[String]) -> Option<Rights> {
    if namespaces.is_empty() || namespaces.len() > MOST {
        return None;
    }
    let asked = futures::future::join_all(namespaces.iter().map(|namespace| caller.rules(namespace)));
    let answers = tokio::time::timeout(LIMIT, asked).await.ok()?;
    let rules: Option<Vec<Vec<ResourceRule>>> = answers.into_iter().collect();
    Some(Rights(rules?.into_iter().flatten().collect()))
}

impl Rights {
    /// Whether the caller may use a tool somewhere.
    pub(crate) fn allow(&self, tool: Tool) -> bool {
        let (verb, kinds) = tool.right();
        kinds.iter().any(|kind| self.0.iter().any(|rule| allows(rule, verb, resource(*kind).as_ref())))
    }
}

fn allows(rule: &ResourceRule, verb: &str, resource: &str) -> bool {
    let has = |words: &[String], word: &str| words.iter().any(|found| found == word || found == "*");
    has(&rule.verbs, verb)
        && rule.api_groups.as_ref().is_some_and(|groups| has(groups, GROUP))
        && rule.resources.as_ref().is_some_and(|resources| has(resources, resource))
}

fn resource(kind: Kind) -> Cow<'static, str> {
    match kind {
        Kind::EmailDomain => EmailDomain::plural(&()),
        Kind::EmailMailbox => EmailMailbox::plural(&()),
        Kind::EmailAlias => EmailAlias::plural(&()),
        Kind::EmailForwardingRule => EmailForwardingRule::plural(&()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> ResourceRule {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        ResourceRule {
            verbs: words(verbs),
            api_groups: Some(words(groups)),
            resources: Some(words(resources)),
            ..ResourceRule::default()
        }
    }

    #[test]
    fn a_tool_is_shown_where_a_rule_allows_it() {
        let readers = Rights(vec![rule(&["get", "list"], &[GROUP], &["emailmailboxes"])]);
        assert!(readers.allow(Tool::ListMailboxes) && readers.allow(Tool::Explain));
        assert!(!readers.allow(Tool::ListDomains) && !readers.allow(Tool::CreateMailbox));
        assert!(Rights(vec![rule(&["*"], &["*"], &["*"])]).allow(Tool::ApplyDelete));
        assert!(!Rights(vec![rule(&["*"], &["apps"], &["*"])]).allow(Tool::ListDomains));
    }
}
