//! Which namespaces may use a domain.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::crd::{AllowedNamespaces, NamespaceSelector, NamespacesFrom};

/// Whether a namespace other than the domain's own may use it; `labels` are that namespace's, if known. In doubt it may
/// not.
pub fn admits(allowed: Option<&AllowedNamespaces>, labels: Option<&BTreeMap<String, String>>) -> bool {
    let Some(allowed) = allowed else { return false };
    match allowed.from {
        NamespacesFrom::Same => false,
        NamespacesFrom::All => true,
        NamespacesFrom::Selector => labels.is_some_and(|labels| matches(allowed.selector.as_ref(), labels)),
    }
}

/// Whether a selector matches labels; no selector matches nothing.
pub(super) fn matches(selector: Option<&NamespaceSelector>, labels: &BTreeMap<String, String>) -> bool {
    let selector = selector.and_then(|selector| Selector::try_from(LabelSelector::from(selector)).ok());
    selector.is_some_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(yaml: &str) -> AllowedNamespaces {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn only_whom_the_domain_lets_in_may_attach() {
        let paid = BTreeMap::from([("plan".to_owned(), "paid".to_owned())]);
        let free = BTreeMap::from([("plan".to_owned(), "free".to_owned())]);
        let ask = |yaml: &str, labels: Option<&BTreeMap<String, String>>| admits(Some(&allowed(yaml)), labels);
        let by_label = "{from: Selector, selector: {matchLabels: {plan: paid}}}";
        let by_expression =
            "{from: Selector, selector: {matchExpressions: [{key: plan, operator: In, values: [paid]}]}}";
        for (yaml, labels, expected) in [
            ("{}", Some(&paid), false),
            ("{from: Same}", Some(&paid), false),
            ("{from: All}", None, true),
            (by_label, Some(&paid), true),
            (by_label, Some(&free), false),
            (by_label, None, false),
            (by_expression, Some(&paid), true),
            (by_expression, Some(&free), false),
            ("{from: Selector, selector: {}}", Some(&free), true),
            (
                "{from: Selector, selector: {matchExpressions: [{key: plan, operator: DoesNotExist}]}}",
                Some(&paid),
                false,
            ),
            (
                "{from: Selector, selector: {matchExpressions: [{key: other, operator: DoesNotExist}]}}",
                Some(&paid),
                true,
            ),
            ("{from: Selector, selector: {matchExpressions: [{key: plan, operator: Exists}]}}", Some(&free), true),
        ] {
            assert_eq!(ask(yaml, labels), expected, "{yaml} {labels:?}");
        }
        assert!(!admits(None, Some(&paid)));
    }
}
