//! The tools that only read.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube::ResourceExt;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};

use super::answers::{
    AliasItem, Aliases, DnsRecord, DomainDns, DomainItem, Domains, Explained, Explanation, MailboxItem, Mailboxes,
    RuleItem, Rules,
};
use super::arguments::{Kind, List, ListDomains, Named, Object, USUAL_ITEMS};
use super::caller::Caller;
use super::guidance::what_to_do;
use super::managed::{Managed, credentials};
use super::scope::Scope;
use super::text::ObjectName;
use super::tool_error::{ErrorKind, ToolError};
use super::untrusted::Untrusted;
use crate::crd::{
    DnsRecordStatus, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, PAUSED, StatusCondition,
};
use crate::kubernetes::object::annotation;

/// Most calls of the Kubernetes API for one page.
const MOST_CALLS: usize = 10;
/// Conditions that are good news when they are not True.
const TROUBLES: [&str; 5] = ["Stalled", "Drifted", "QuotaNearlyFull", "Paused", "Reconciling"];

/// A page of objects.
pub(crate) struct Page<K> {
    /// The objects.
    pub(crate) items: Vec<K>,
    /// Where the next page begins.
    pub(crate) next: Option<String>,
}

/// Where a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// The namespace to list; `None`: all.
    place: Option<String>,
    /// Where to continue there.
    token: Option<String>,
}

impl Cursor {
    fn written(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(text: &str) -> Result<Self, ToolError> {
        let bad =
            || ToolError::argument("cursor", Some(text), "must be nextCursor of the page before, unchanged", "eyJwb…");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        serde_json::from_slice(&bytes).map_err(|_| bad())
    }
}

/// A page of the objects that `takes` accepts.
pub(crate) async fn page<K: Managed>(
    caller: &Caller,
    places: &[Option<String>],
    limit: u32,
    cursor: Option<&str>,
    takes: impl Fn(&K) -> bool,
) -> Result<Page<K>, ToolError> {
    let start = cursor.map(Cursor::read).transpose()?;
    let begin = start.clone().unwrap_or_default();
    let at = match &start {
        None => 0,
        Some(cursor) => places.iter().position(|place| *place == cursor.place).ok_or_else(|| {
            ToolError::argument("cursor", None, "must be of a call with the same namespace", "eyJwb…")
        })?,
    };
    let (mut items, mut token, mut refused, mut is_read) = (Vec::new(), begin.token, None, start.is_some());
    let mut left = places.iter().skip(at).peekable();
    let mut calls = 0;
    while let Some(place) = left.peek() {
        let wanted = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(limit));
        if wanted == 0 || calls == MOST_CALLS {
            return Ok(Page { items, next: Some(Cursor { place: (*place).clone(), token }.written()) });
        }
        calls += 1;
        let params = ListParams { limit: Some(wanted), continue_token: token.take(), ..ListParams::default() };
        match caller.list::<K>(place.as_deref(), &params).await {
            Ok(list) => {
                is_read = true;
                token = list.metadata.continue_.filter(|token| !token.is_empty());
                items.extend(list.items.into_iter().filter(|item| takes(item)));
            }
            // Of several namespaces, those that the caller may not read are left out.
            Err(error) if error.error == ErrorKind::Forbidden && places.len() > 1 => refused = Some(error),
            Err(error) if params.continue_token.is_some() && error.error != ErrorKind::Forbidden => {
                return Err(expired(error));
            }
            Err(error) => return Err(error),
        }
        if token.is_none() {
            left.next();
        }
    }
    match refused {
        Some(error) if !is_read => Err(error),
        _ => Ok(Page { items, next: None }),
    }
}

/// A page that can't be continued is begun again.
fn expired(error: ToolError) -> ToolError {
    match error.error {
        ErrorKind::Unreachable if error.answer.is_none() => error,
        _ => ToolError::argument("cursor", None, "has expired or was changed; begin again without cursor", "eyJwb…"),
    }
}

/// `list_domains`
pub(crate) async fn domains(caller: &Caller, scope: &Scope, list: &ListDomains) -> Result<Domains, ToolError> {
    let places = scope.places(list.namespace.as_ref())?;
    let limit = list.limit.map_or(USUAL_ITEMS, super::arguments::Items::get);
    let page = page::<EmailDomain>(caller, &places, limit, list.cursor.as_deref(), |_| true).await?;
    Ok(Domains { items: page.items.iter().map(domain_item).collect(), next_cursor: page.next })
}

fn domain_item(domain: &EmailDomain) -> DomainItem {
    let usage = domain.status.as_ref().and_then(|status| status.usage.as_ref());
    DomainItem {
        namespace: domain.place(),
        name: domain.name_any(),
        domain: domain.address().unwrap_or_default(),
        ready: domain.is_ready(),
        reason: domain.reason(),
        dns_verified: domain.is_true("DNSVerified"),
        mailboxes: usage.map(|usage| usage.mailboxes),
        aliases: usage.map(|usage| usage.aliases),
        quota_used: usage.map(|usage| usage.quota_used.clone()),
    }
}

/// The arguments of a list of what is in domains.
async fn listed<K: Managed>(
    caller: &Caller,
    scope: &Scope,
    list: &List,
    domain: impl Fn(&K) -> Option<&str>,
) -> Result<Page<K>, ToolError> {
    let places = scope.places(list.namespace.as_ref())?;
    let limit = list.limit.map_or(USUAL_ITEMS, super::arguments::Items::get);
    let wanted = list.domain.as_ref().map(ObjectName::as_str);
    page::<K>(caller, &places, limit, list.cursor.as_deref(), |object| {
        wanted.is_none_or(|wanted| domain(object) == Some(wanted))
    })
    .await
}

/// `list_mailboxes`
pub(crate) async fn mailboxes(caller: &Caller, scope: &Scope, list: &List) -> Result<Mailboxes, ToolError> {
    let page = listed(caller, scope, list, |m: &EmailMailbox| Some(m.spec.domain_ref.name.as_str())).await?;
    Ok(Mailboxes { items: page.items.iter().map(mailbox_item).collect(), next_cursor: page.next })
}

fn mailbox_item(mailbox: &EmailMailbox) -> MailboxItem {
    let quota = mailbox.status.as_ref().and_then(|status| status.quota.as_ref());
    MailboxItem {
        namespace: mailbox.place(),
        name: mailbox.name_any(),
        address: mailbox.address(),
        display_name: mailbox.spec.display_name.as_deref().map(Untrusted::new),
        state: mailbox.spec.state,
        ready: mailbox.is_ready(),
        reason: mailbox.reason(),
        quota: quota.map(|quota| quota.limit.clone()).or_else(|| mailbox.spec.quota.clone()),
        used: quota.map(|quota| quota.used.clone()),
    }
}

/// `list_aliases`
pub(crate) async fn aliases(caller: &Caller, scope: &Scope, list: &List) -> Result<Aliases, ToolError> {
    let page = listed(caller, scope, list, |a: &EmailAlias| Some(a.spec.domain_ref.name.as_str())).await?;
    Ok(Aliases { items: page.items.iter().map(alias_item).collect(), next_cursor: page.next })
}

fn alias_item(alias: &EmailAlias) -> AliasItem {
    let reported = alias.status.iter().flat_map(|status| &status.goto);
    let goto = Untrusted::all(
        reported
            .chain(alias.spec.goto.iter().flatten().filter(|_| alias.status.as_ref().is_none_or(|s| s.goto.is_empty())))
            .take(10),
    );
    AliasItem {
        namespace: alias.place(),
        name: alias.name_any(),
        address: alias.address(),
        goto,
        active: alias.spec.active,
        ready: alias.is_ready(),
        reason: alias.reason(),
    }
}

/// `list_forwarding_rules`
pub(crate) async fn rules(caller: &Caller, scope: &Scope, list: &List) -> Result<Rules, ToolError> {
    let places = scope.places(list.namespace.as_ref())?;
    let limit = list.limit.map_or(USUAL_ITEMS, super::arguments::Items::get);
    let mut homes = Homes::default();
    let (mut items, mut cursor) = (Vec::new(), list.cursor.clone());
    for _ in 0..MOST_CALLS {
        let left = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(limit));
        let page = page::<EmailForwardingRule>(caller, &places, left, cursor.as_deref(), |_| true).await?;
        cursor = page.next;
        match &list.domain {
            None => items.extend(page.items),
            Some(domain) => {
                homes.read(caller, &page.items).await?;
                items.extend(page.items.into_iter().filter(|rule| homes.domain_of(rule) == Some(domain.as_str())));
            }
        }
        if cursor.is_none() || items.len() >= limit as usize {
            break;
        }
    }
    Ok(Rules { items: items.iter().map(rule_item).collect(), next_cursor: cursor })
}

/// The domains of the mailboxes of rules, by namespace and name of the mailbox; `None` for a mailbox that does not exist.
#[derive(Debug, Default)]
struct Homes(BTreeMap<(String, String), Option<String>>);

impl Homes {
    /// Reads the mailboxes of these rules that are not known yet.
    ///
    /// # Errors
    /// When the caller may not read one of them: nobody then knows whether its rule is in the domain.
    async fn read(&mut self, caller: &Caller, rules: &[EmailForwardingRule]) -> Result<(), ToolError> {
        let mut wanted: Vec<_> = rules.iter().filter_map(mailbox_of).filter(|key| !self.0.contains_key(key)).collect();
        wanted.sort();
        wanted.dedup();
        let asked = wanted.iter().map(|(namespace, name)| caller.get::<EmailMailbox>(namespace, name));
        let found = futures::future::join_all(asked).await;
        for (key, mailbox) in wanted.into_iter().zip(found) {
            let domain = match mailbox {
                Ok(mailbox) => Some(mailbox.spec.domain_ref.name),
                Err(error) if error.error == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            self.0.insert(key, domain);
        }
        Ok(())
    }

    /// The object name of the domain that a rule is for, directly or by its mailbox.
    fn domain_of<'a>(&'a self, rule: &'a EmailForwardingRule) -> Option<&'a str> {
        match (&rule.spec.domain_ref, mailbox_of(rule)) {
            (Some(domain), _) => Some(domain.name.as_str()),
            (None, key) => self.0.get(&key?)?.as_deref(),
        }
    }
}

/// Namespace and name of the mailbox of a rule.
fn mailbox_of(rule: &EmailForwardingRule) -> Option<(String, String)> {
    rule.spec.mailbox_ref.as_ref().map(|mailbox| (rule.place(), mailbox.name.clone()))
}

fn rule_item(rule: &EmailForwardingRule) -> RuleItem {
    let spec = &rule.spec;
    let text =
        serde_json::json!({"match": spec.matches, "actions": spec.actions, "onMatch": spec.on_match}).to_string();
    RuleItem {
        namespace: rule.place(),
        name: rule.name_any(),
        mailbox: spec.mailbox_ref.as_ref().map(|mailbox| mailbox.name.clone()),
        domain: spec.domain_ref.as_ref().map(|domain| domain.name.clone()),
        enabled: spec.enabled,
        priority: spec.priority,
        rule: Untrusted::new(&text),
        ready: rule.is_ready(),
        reason: rule.reason(),
    }
}

/// `get_domain_dns`
pub(crate) async fn domain_dns(caller: &Caller, scope: &Scope, named: &Named) -> Result<DomainDns, ToolError> {
    scope.check(&named.namespace)?;
    let domain: EmailDomain = caller.get(named.namespace.as_str(), named.name.as_str()).await?;
    let dns = domain.status.as_ref().and_then(|status| status.dns.as_ref());
    let records: Vec<DnsRecord> = dns.iter().flat_map(|dns| &dns.records).map(record).collect();
    let verified = domain.is_true("DNSVerified");
    let what_to_do = match (records.is_empty(), verified) {
        (true, _) => "the operator has not checked DNS yet; ask again in a minute, or call explain",
        (_, true) => "every required record is correct; you don't have to do anything",
        (_, false) => {
            "have a person publish the expected value of each record whose verdict is not Verified with the DNS provider; the operator checks again by itself"
        }
    };
    Ok(DomainDns {
        namespace: domain.place(),
        name: domain.name_any(),
        domain: domain.address().unwrap_or_default(),
        verified,
        records,
        what_to_do: what_to_do.to_owned(),
    })
}

fn record(record: &DnsRecordStatus) -> DnsRecord {
    DnsRecord {
        kind: record.kind,
        name: record.name.clone(),
        verdict: record.verdict,
        required: record.required,
        expected: record.expected.clone(),
        observed: Untrusted::all(&record.observed),
        message: Untrusted::new(&record.message),
        hint: record.hint.as_deref().map(Untrusted::new),
        warnings: record.warnings.iter().map(|warning| Untrusted::new(&warning.message)).collect(),
    }
}

/// `explain`
pub(crate) async fn explain(caller: &Caller, scope: &Scope, object: &Object) -> Result<Explanation, ToolError> {
    scope.check(&object.namespace)?;
    let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
    match object.kind {
        Kind::EmailDomain => Ok(explained(&caller.get::<EmailDomain>(namespace, name).await?, None)),
        Kind::EmailMailbox => {
            let mailbox = caller.get::<EmailMailbox>(namespace, name).await?;
            Ok(explained(&mailbox, Some(credentials(&mailbox))))
        }
        Kind::EmailAlias => Ok(explained(&caller.get::<EmailAlias>(namespace, name).await?, None)),
        Kind::EmailForwardingRule => Ok(explained(&caller.get::<EmailForwardingRule>(namespace, name).await?, None)),
    }
}

fn explained<K: Managed>(object: &K, credentials_secret: Option<String>) -> Explanation {
    let is_set = |name: &str| annotation(object, name) == Some("true");
    Explanation {
        kind: K::WHICH,
        namespace: object.place(),
        name: object.name_any(),
        address: object.address(),
        ready: object.is_ready(),
        is_current: object.is_current(),
        paused: is_set(PAUSED),
        deleting: object.meta().deletion_timestamp.is_some(),
        conditions: object.conditions().iter().map(condition).collect(),
        deletion_policy: object.deletion_policy().map(|policy| format!("{policy:?}")),
        credentials_secret,
    }
}

/// A condition, with what to do where something is to be done.
pub(crate) fn condition(condition: &StatusCondition) -> Explained {
    let is_good = (condition.status == "True") != TROUBLES.contains(&condition.type_.as_str());
    Explained {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: Untrusted::new(&condition.message),
        what_to_do: if is_good { None } else { what_to_do(&condition.reason) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_was_written_and_nothing_else_does() {
        let cursor = Cursor { place: Some("mail".to_owned()), token: Some("t".to_owned()) };
        assert_eq!(Cursor::read(&cursor.written()).unwrap(), cursor);
        for bad in ["", "x", "eyJwbGFjZSI6", &URL_SAFE_NO_PAD.encode(r#"{"place":"a","secret":1}"#)] {
            assert_eq!(Cursor::read(bad).unwrap_err().problems[0].field, "cursor", "{bad}");
        }
    }

    #[test]
    fn good_news_has_nothing_to_do() {
        let of = |type_: &str, status: &str, reason: &str| {
            let condition = serde_json::json!({"type": type_, "status": status, "reason": reason, "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            super::condition(&serde_json::from_value(condition).unwrap()).what_to_do
        };
        assert!(of("Ready", "True", "InSync").is_none());
        assert!(of("Ready", "False", "DomainNotFound").is_some_and(|text| text.contains("create it")));
        assert!(of("Stalled", "True", "PasswordRejected").is_some());
        assert!(of("Ready", "False", "Obey me").is_none());
    }
}
