//! Domains with what belongs to them, and the state of each object: what `status` shows. Only values: no cluster.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use serde::Serialize;

use crate::crd::{
    DnsVerdict, DomainRef, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, PAUSED, StatusCondition,
};

/// The objects of the four kinds.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    /// Domains.
    pub(super) domains: Vec<EmailDomain>,
    /// Mailboxes.
    pub(super) mailboxes: Vec<EmailMailbox>,
    /// Aliases.
    pub(super) aliases: Vec<EmailAlias>,
    /// Rules.
    pub(super) rules: Vec<EmailForwardingRule>,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fleet {
    /// The domains, by name.
    pub(super) domains: Vec<Domain>,
    /// Objects whose domain is not among those that were read.
    pub(super) without_domain: Vec<Node>,
}

/// A domain and what belongs to it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Domain {
    /// The domain itself.
    #[serde(flatten)]
    pub(super) node: Node,
    /// Its DNS records, in the order of the status.
    pub(super) dns: Vec<Mark>,
    /// Its mailboxes, by address.
    pub(super) mailboxes: Vec<Node>,
    /// Its aliases, by address.
    pub(super) aliases: Vec<Node>,
    /// Its rules: those of its mailboxes, and those of the whole domain.
    pub(super) rules: Vec<Node>,
}

/// A DNS record in one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Mark {
    /// The type in the status, such as `SPF`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The verdict.
    pub(super) verdict: DnsVerdict,
    /// Whether `DNSVerified` needs it.
    pub(super) required: bool,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    /// The kind.
    pub(super) kind: &'static str,
    /// Its short name, as kubectl takes it.
    #[serde(skip)]
    pub(super) short: &'static str,
    /// The namespace.
    pub(super) namespace: String,
    /// The name.
    pub(super) name: String,
    /// The domain name or the address; for a rule its mailbox or domain. Empty while it is unknown.
    pub(super) address: String,
    /// `True`, `False` or `Unknown`.
    pub(super) ready: String,
    /// The reason of `Ready`, or of the first problem besides.
    pub(super) reason: String,
    /// The same in words.
    pub(super) message: String,
    /// The command that helps, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
    /// Usage and similar, in a few words.
    pub(super) detail: String,
    /// Whether somebody paused it.
    pub(super) paused: bool,
    /// All conditions.
    pub(super) conditions: Vec<Condition>,
    /// The mailbox or domain that a rule refers to.
    #[serde(skip)]
    parent: Option<(String, String)>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    /// The reason.
    pub(super) reason: String,
    /// The reason in words.
    pub(super) message: String,
}

/// How an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// Somebody must act.
    Wrong,
    /// It is not known, or it waits.
    Unsure,
    /// It is ready, but somebody should know something: DNS, drift, a full mailbox.
    Warned,
    /// All is well.
    Good,
}

impl Node {
    /// How it is.
    pub(super) fn health(&self) -> Health {
        match self.ready.as_str() {
            "True" if self.reason.is_empty() => Health::Good,
            "True" => Health::Warned,
            "False" if !self.paused => Health::Wrong,
            _ => Health::Unsure,
        }
    }

    /// `short/name`, with the namespace if it is not `own`.
    pub(super) fn reference(&self, own: Option<&str>) -> String {
        if own == Some(self.namespace.as_str()) {
            format!("{}/{}", self.short, self.name)
        } else {
            format!("{}/{} -n {}", self.short, self.name, self.namespace)
        }
    }
}

impl Domain {
    /// The domain and everything in it.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        [&self.node].into_iter().chain(&self.mailboxes).chain(&self.aliases).chain(&self.rules)
    }
}

impl Fleet {
    /// All objects.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.domains.iter().flat_map(Domain::nodes).chain(&self.without_domain)
    }

    /// Puts the objects into their domains.
    pub(super) fn of(objects: &Objects) -> Self {
        let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut domains: Vec<Domain> = objects.domains.iter().map(domain).collect();
        domains.sort_by(|a, b| (&a.node.address, &a.node.namespace).cmp(&(&b.node.address, &b.node.namespace)));
        for (place, domain) in domains.iter().enumerate() {
            places.insert((domain.node.namespace.clone(), domain.node.name.clone()), place);
        }
        let mut fleet = Self { domains, without_domain: Vec::new() };
        let mut homes = BTreeMap::new();
        for mailbox in &objects.mailboxes {
            let node = mailbox_node(mailbox);
            let place = places.get(&key(&mailbox.spec.domain_ref, &node.namespace)).copied();
            homes.insert((node.namespace.clone(), node.name.clone()), (place, node.address.clone()));
            fleet.put(place, node, |domain| &mut domain.mailboxes);
        }
        for alias in &objects.aliases {
            let node = alias_node(alias);
            let place = places.get(&key(&alias.spec.domain_ref, &node.namespace)).copied();
            fleet.put(place, node, |domain| &mut domain.aliases);
        }
        for rule in &objects.rules {
            let mut node = rule_node(rule);
            let mailbox = rule.spec.mailbox_ref.as_ref().map(|to| (node.namespace.clone(), to.name.clone()));
            let place = match (&mailbox, &rule.spec.domain_ref) {
                (Some(mailbox), _) => homes.get(mailbox).and_then(|(place, _)| *place),
                (None, Some(to)) => places.get(&key(to, &node.namespace)).copied(),
                (None, None) => None,
            };
            if let Some((_, address)) = mailbox.as_ref().and_then(|mailbox| homes.get(mailbox)) {
                node.address.clone_from(address);
            }
            node.parent = mailbox;
            fleet.put(place, node, |domain| &mut domain.rules);
        }
        for domain in &mut fleet.domains {
            for list in [&mut domain.mailboxes, &mut domain.aliases, &mut domain.rules] {
                list.sort_by(|a, b| (&a.address, &a.namespace, &a.name).cmp(&(&b.address, &b.namespace, &b.name)));
            }
        }
        fleet.without_domain.sort_by(|a, b| (a.kind, &a.namespace, &a.name).cmp(&(b.kind, &b.namespace, &b.name)));
        fleet
    }

    fn put(&mut self, place: Option<usize>, node: Node, list: fn(&mut Domain) -> &mut Vec<Node>) {
        match place.and_then(|place| self.domains.get_mut(place)) {
            Some(domain) => list(domain).push(node),
            None => self.without_domain.push(node),
        }
    }
}

impl Node {
    /// The namespace and name of the mailbox that a rule refers to.
    pub(super) fn is_of(&self, mailbox: &Self) -> bool {
        self.parent.as_ref().is_some_and(|(namespace, name)| *namespace == mailbox.namespace && *name == mailbox.name)
    }

    /// Whether it is a rule of a whole domain.
    pub(super) fn is_of_domain(&self) -> bool {
        self.parent.is_none()
    }
}

fn key(to: &DomainRef, own: &str) -> (String, String) {
    (to.namespace_from(own).to_owned(), to.name.clone())
}

fn domain(object: &EmailDomain) -> Domain {
    let status = object.status.clone().unwrap_or_default();
    let address = status.domain.clone().unwrap_or_else(|| object.spec.domain.clone());
    let mut node = node(object, "EmailDomain", "edom", address, &status.conditions, status.observed_generation);
    node.detail = status.usage.as_ref().map_or_else(String::new, |usage| {
        format!(
            "{}, {}, {} used, {}",
            counted(usage.mailboxes.into(), "mailbox", "mailboxes"),
            counted(usage.aliases.into(), "alias", "aliases"),
            usage.quota_used,
            counted(usage.messages, "message", "messages")
        )
    });
    let records = status.dns.map(|dns| dns.records).unwrap_or_default();
    let mut dns: Vec<Mark> = Vec::new();
    for record in records {
        let kind = record.kind.as_str();
        match dns.iter_mut().find(|mark| mark.kind == kind) {
            // Of several records of a type, the one that is not verified counts.
            Some(mark) if mark.verdict == DnsVerdict::Verified => mark.verdict = record.verdict,
            Some(_) => {}
            None => dns.push(Mark { kind, verdict: record.verdict, required: record.required }),
        }
    }
    Domain { node, dns, mailboxes: Vec::new(), aliases: Vec::new(), rules: Vec::new() }
}

fn mailbox_node(object: &EmailMailbox) -> Node {
    let status = object.status.clone().unwrap_or_default();
    let address = status.address.clone().unwrap_or_else(|| format!("{}@…", object.spec.local_part));
    let mut node = node(object, "EmailMailbox", "embx", address, &status.conditions, status.observed_generation);
    node.detail = match (&status.quota, status.messages) {
        (Some(quota), Some(messages)) => {
            let used = match (quota.limit.as_str(), quota.percent) {
                ("0", _) => format!("{}, no quota", quota.used),
                (limit, Some(percent)) => format!("{} of {limit} ({percent} %)", quota.used),
                (limit, None) => format!("{} of {limit}", quota.used),
            };
            format!("{used}, {}", counted(messages, "message", "messages"))
        }
        _ => String::new(),
    };
    node
}

fn alias_node(object: &EmailAlias) -> Node {
    let status = object.status.clone().unwrap_or_default();
    let local = object.spec.local_part.clone().unwrap_or_default();
    let address = status.address.clone().unwrap_or_else(|| format!("{local}@…"));
    let mut node = node(object, "EmailAlias", "ealias", address, &status.conditions, status.observed_generation);
    node.detail = status.goto_summary.map_or_else(String::new, |goto| format!("to {goto}"));
    node
}

fn rule_node(object: &EmailForwardingRule) -> Node {
    let status = object.status.clone().unwrap_or_default();
    let to = object.spec.domain_ref.as_ref().map(|to| to.name.clone());
    let of = object.spec.mailbox_ref.as_ref().map(|to| to.name.clone()).or(to).unwrap_or_default();
    let mut node = node(object, "EmailForwardingRule", "efr", of, &status.conditions, status.observed_generation);
    node.detail = match (object.spec.enabled, status.position, &status.shadowed_by) {
        (false, ..) => "disabled".to_owned(),
        (true, _, Some(by)) => format!("gets no mail: {by} takes it all"),
        (true, Some(position), None) => format!("position {position}"),
        (true, None, None) => String::new(),
    };
    node
}

/// What all kinds have in common.
fn node<K: Resource<DynamicType = ()>>(
    object: &K,
    kind: &'static str,
    short: &'static str,
    address: String,
    conditions: &[StatusCondition],
    observed: Option<i64>,
) -> Node {
    let find = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    let is_seen = observed.is_some_and(|observed| object.meta().generation.is_none_or(|now| observed >= now));
    let words = |condition: &StatusCondition| (condition.reason.clone(), condition.message.clone());
    let ready = find("Ready").filter(|_| is_seen);
    let (ready, (reason, message)) = match ready {
        None => {
            let message = if observed.is_none_or(|observed| observed < 0) {
                "the operator has not seen it yet"
            } else {
                "the operator has not seen the last change yet"
            };
            ("Unknown".to_owned(), ("Pending".to_owned(), message.to_owned()))
        }
        Some(ready) if ready.status == "True" => {
            ("True".to_owned(), warned(conditions).map_or_else(Default::default, words))
        }
        Some(ready) => (ready.status.clone(), words(ready)),
    };
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let remedy = remedy(&reason, &format!("{short}/{name}"), &namespace, &address);
    Node {
        kind,
        short,
        paused: object.annotations().get(PAUSED).is_some_and(|value| value == "true"),
        namespace,
        name,
        address,
        ready,
        reason,
        message,
        remedy,
        detail: String::new(),
        conditions: conditions.iter().map(condition).collect(),
        parent: None,
    }
}

fn condition(condition: &StatusCondition) -> Condition {
    Condition {
        kind: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    }
}

/// The first condition that tells of a problem although `Ready` is True.
fn warned(conditions: &[StatusCondition]) -> Option<&StatusCondition> {
    let is_bad = |condition: &&StatusCondition| match condition.type_.as_str() {
        "Drifted" | "Stalled" | "Paused" | "QuotaNearlyFull" => condition.status == "True",
        "DNSVerified" | "OwnershipVerified" | "Published" | "Provisioned" | "Programmed" => {
            condition.status == "False" && condition.reason != "Disabled"
        }
        _ => false,
    };
    conditions.iter().find(is_bad)
}

/// The command for reasons that one command mends. The messages of the others say what to change.
fn remedy(reason: &str, reference: &str, namespace: &str, address: &str) -> Option<String> {
    let command = match reason {
        "Pending" => "kubectl email check".to_owned(),
        "Paused" => format!("kubectl email resume {reference} -n {namespace}"),
        "Drifted" => format!("kubectl email reconcile {reference} -n {namespace} --correct"),
        "ConfirmationNeeded" => {
            format!("kubectl annotate {reference} -n {namespace} email.askrobots.com/confirm-delete={address}")
        }
        "NotVerified" | "CheckFailing" | "DnsNotVerified" => {
            format!("kubectl email dns {address} -n {namespace}")
        }
        "MailcowNotConfigured" | "MailcowUnreachable" | "KeyOrSourceRejected" | "KeyReadOnly" | "UnexpectedAnswer" => {
            "kubectl email check".to_owned()
        }
        _ => return None,
    };
    Some(command)
}

/// A number with its noun.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<K: serde::de::DeserializeOwned>(text: &str) -> Vec<K> {
        use serde::Deserialize as _;
        serde_yaml::Deserializer::from_str(text)
            .map(|document| {
                let value = serde_json::Value::deserialize(document).unwrap();
                serde_json::from_value(value).unwrap()
            })
            .collect()
    }

    fn conditions(ready: (&str, &str), more: &str) -> String {
        let time = "lastTransitionTime: '2026-01-01T00:00:00Z'";
        format!(
            "observedGeneration: 1, conditions: [{{type: Ready, status: '{}', reason: {}, message: m, {time}}}{}]",
            ready.0,
            ready.1,
            more.replace("TIME", time)
        )
    }

    fn objects() -> Objects {
        let kind = |kind: &str| format!("apiVersion: email.askrobots.com/v1alpha1\nkind: {kind}\n");
        let meta = |name: &str| format!("metadata: {{name: {name}, namespace: mail, generation: 1}}\n");
        let domain = format!(
            "{}{}spec: {{domain: example.com}}\nstatus: {{domain: example.com, {}, dns: {{records: [\
             {{type: MX, name: d, verdict: Verified, required: true, message: m, source: Authoritative}},\
             {{type: SRV, name: a, verdict: Verified, required: false, message: m, source: Authoritative}},\
             {{type: SRV, name: b, verdict: Missing, required: false, message: m, source: Authoritative}}]}}}}",
            kind("EmailDomain"),
            meta("d"),
            conditions(
                ("True", "InSync"),
                ", {type: DNSVerified, status: 'False', reason: NotVerified, message: x, TIME}"
            )
        );
        let mailbox = |name: &str, ready| {
            format!(
                "{}{}spec: {{localPart: {name}, domainRef: {{name: d}}}}\nstatus: {{address: {name}@example.com, {}}}\n",
                kind("EmailMailbox"),
                meta(name),
                conditions(ready, "")
            )
        };
        let mailboxes =
            format!("{}---\n{}", mailbox("b", ("False", "PasswordRejected")), mailbox("a", ("True", "InSync")));
        let rule = format!(
            "{}{}spec: {{mailboxRef: {{name: b}}, actions: [{{ignore: {{}}}}]}}\nstatus: {{observedGeneration: -1}}",
            kind("EmailForwardingRule"),
            meta("r")
        );
        let alias = format!(
            "{}{}spec: {{localPart: x, domainRef: {{name: elsewhere}}, goto: [a@example.com]}}",
            kind("EmailAlias"),
            meta("x")
        );
        Objects { domains: read(&domain), mailboxes: read(&mailboxes), aliases: read(&alias), rules: read(&rule) }
    }

    #[test]
    fn objects_are_put_below_their_domain_and_sorted_by_address() {
        let fleet = Fleet::of(&objects());
        let domain = &fleet.domains[0];
        let addresses: Vec<&str> = domain.mailboxes.iter().map(|node| node.address.as_str()).collect();
        assert_eq!(addresses, ["a@example.com", "b@example.com"]);
        assert!(domain.rules[0].is_of(&domain.mailboxes[1]) && domain.rules[0].address == "b@example.com");
        assert_eq!(fleet.without_domain.len(), 1, "its domain was not read");
    }

    #[test]
    fn health_is_that_of_ready_and_of_what_is_worth_knowing_besides() {
        let fleet = Fleet::of(&objects());
        let domain = &fleet.domains[0];
        let health = [&domain.node, &domain.mailboxes[0], &domain.mailboxes[1], &domain.rules[0]].map(Node::health);
        assert_eq!(health, [Health::Warned, Health::Good, Health::Wrong, Health::Unsure]);
        assert_eq!(domain.node.remedy.as_deref(), Some("kubectl email dns example.com -n mail"));
        assert_eq!(domain.rules[0].message, "the operator has not seen it yet");
    }

    #[test]
    fn of_several_records_of_a_type_the_worst_counts() {
        let dns = &Fleet::of(&objects()).domains[0].dns;
        let marks: Vec<_> = dns.iter().map(|mark| (mark.kind, mark.verdict)).collect();
        assert_eq!(marks, [("MX", DnsVerdict::Verified), ("SRV", DnsVerdict::Missing)]);
    }
}
