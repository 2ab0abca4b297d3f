//! Entries of Mailcow as manifests. A field is written unless an entry that the operator creates without it would have
//! the same value, so that the manifests change nothing where the entry is, and make the same entry where it is not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::crd::{DEFAULT_SERVER, GROUP, PAUSED, Protocol};
use crate::mail::{
    Access, Address, AliasHave, Catch, DomainHave, DomainName, Login, MailboxHave, Mark, Quota, RateLimit,
};
use crate::mailcow::MailboxFilter;

/// The longest name of an object in Kubernetes, in bytes.
const LONGEST_NAME: usize = 253;
/// The largest number in limits.
const MOST: u32 = 1_000_000;
/// Mailcow's tags of an entry that the schema takes.
const MOST_TAGS: usize = 25;
/// Entries of `senderAcl` and targets of an alias that the schema takes.
const MOST_ADDRESSES: usize = 100;

/// What all manifests of an export have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Style {
    /// `metadata.namespace`; `None`: left out.
    pub(super) namespace: Option<String>,
    /// `spec.server` of domains.
    pub(super) server: String,
    /// Whether the objects are paused.
    pub(super) is_paused: bool,
}

/// A manifest with comments above it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// Comments, a line each.
    pub(super) comments: Vec<String>,
    /// The manifest.
    pub(super) manifest: Value,
}

/// A domain's entries as manifests, and what was left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Exported {
    /// The manifests: the domain, its mailboxes, its aliases.
    pub(super) documents: Vec<Document>,
    /// Entries that have no manifest, each with the reason.
    pub(super) left_out: Vec<String>,
    /// Number of entries that objects in a cluster manage already.
    pub(super) managed: usize,
    /// Numbers of exported mailboxes and aliases.
    pub(super) counts: [usize; 2],
}

/// Everything of a domain on Mailcow.
#[derive(Clone, Debug)]
pub(super) struct DomainEntries {
    /// The domain, with its DKIM key.
    pub(super) domain: DomainHave,
    /// Its mailboxes.
    pub(super) mailboxes: Vec<(Address, MailboxHave)>,
    /// Its aliases.
    pub(super) aliases: Vec<(Catch, AliasHave)>,
    /// The filters of its mailboxes.
    pub(super) filters: Vec<MailboxFilter>,
}

/// The spec of an entry, and comments on what it can't hold.
#[derive(Default)]
struct Spec {
    fields: Map<String, Value>,
    comments: Vec<String>,
}

impl Spec {
    fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.fields.insert(field.to_owned(), value.into());
    }

    fn note(&mut self, text: impl Into<String>) {
        self.comments.push(text.into());
    }
}

impl DomainEntries {
    /// The manifests. `exported` are all domains of the export, whose addresses may be in `senderAcl`. Entries that an
    /// object manages are left out, unless `with_managed`.
    pub(super) fn manifests(mut self, style: &Style, exported: &BTreeSet<DomainName>, with_managed: bool) -> Exported {
        let mut out = Exported::default();
        let name = self.domain.name.clone();
        self.mailboxes.sort_by(|a, b| a.0.cmp(&b.0));
        self.aliases.sort_by(|a, b| a.0.cmp(&b.0));
        let mut names = Names::default();
        let mark = self.domain.mark();
        let reference = match mark.as_ref().and_then(Mark::object) {
            Some((_, namespace, object)) => (Some(namespace.to_owned()), object.to_owned()),
            None => (None, names.of("EmailDomain", name.as_str())),
        };
        if mark.is_none() || with_managed {
            let spec = domain_spec(&self.domain, style);
            out.documents.push(document("EmailDomain", &reference.1, spec, mark.as_ref(), style));
        } else {
            out.managed += 1;
        }
        let to = reference_to(&reference, style);
        let mut filters: BTreeMap<Address, Vec<MailboxFilter>> = BTreeMap::new();
        for filter in std::mem::take(&mut self.filters) {
            filters.entry(filter.mailbox.clone()).or_default().push(filter);
        }
        for (address, have) in &self.mailboxes {
            let mark = have.mark();
            if mark.is_some() && !with_managed {
                out.managed += 1;
                continue;
            }
            if !is_local_part(address.local()) || address.local().contains('/') || address.local() == "0" {
                out.left_out.push(format!("the mailbox {address}: the operator can't manage this local part"));
                continue;
            }
            let mut spec = mailbox_spec(have, &to, exported);
            for filter in filters.get(address).into_iter().flatten() {
                spec.note(filter_note(filter));
            }
            let object = object_name(mark.as_ref(), || names.of("EmailMailbox", &address_name(address.local(), &name)));
            out.documents.push(document("EmailMailbox", &object, spec, mark.as_ref(), style));
            out.counts[0] += 1;
        }
        for (catch, have) in &self.aliases {
            let mark = have.mark();
            if mark.is_some() && !with_managed {
                out.managed += 1;
                continue;
            }
            let spec = match alias_spec(catch, have, &to) {
                Ok(spec) => spec,
                Err(why) => {
                    out.left_out.push(format!("the alias {catch}: {why}"));
                    continue;
                }
            };
            let local = match catch {
                Catch::One(address) => address.local().to_owned(),
                Catch::All(_) => "catch-all".to_owned(),
            };
            let object = object_name(mark.as_ref(), || names.of("EmailAlias", &address_name(&local, &name)));
            out.documents.push(document("EmailAlias", &object, spec, mark.as_ref(), style));
            out.counts[1] += 1;
        }
        out
    }
}

/// The name of the object that manages an entry, or a new one.
fn object_name(mark: Option<&Mark>, new: impl FnOnce() -> String) -> String {
    mark.and_then(Mark::object).map_or_else(new, |(_, _, name)| name.to_owned())
}

fn reference_to((namespace, name): &(Option<String>, String), style: &Style) -> Value {
    match namespace.as_ref().filter(|namespace| style.namespace.as_ref() != Some(namespace)) {
        Some(namespace) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": name}),
    }
}

fn document(kind: &str, name: &str, spec: Spec, mark: Option<&Mark>, style: &Style) -> Document {
    let mut metadata = json!({"name": name});
    let owner = mark.and_then(Mark::object);
    let namespace = style.namespace.clone().or_else(|| owner.map(|(_, namespace, _)| namespace.to_owned()));
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    if style.is_paused {
        metadata["annotations"] = json!({PAUSED: "true"});
    }
    let mut comments = spec.comments;
    if let Some((cluster, namespace, name)) = owner {
        comments.insert(0, format!("managed by {kind} {namespace}/{name} of the cluster {cluster}; what only that object says, such as policies and DNS, is missing here"));
    }
    let manifest =
        json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind, "metadata": metadata, "spec": spec.fields});
    Document { comments, manifest }
}

fn domain_spec(have: &DomainHave, style: &Style) -> Spec {
    let mut spec = Spec::default();
    spec.set("domain", have.name.as_str());
    if style.server != DEFAULT_SERVER && !style.server.is_empty() {
        spec.set("server", style.server.as_str());
    }
    // A new domain gets its name as description.
    if have.description != have.name.as_str() && !have.description.is_empty() {
        if is_text(&have.description, 255) && have.description != "0" {
            spec.set("description", have.description.as_str());
        } else {
            spec.note("description: it has characters that the field does not take");
        }
    }
    spec.set("active", have.active);
    let limits = limits(have, &mut spec);
    spec.set("limits", limits);
    match quantity(have.limits.default_quota) {
        Some(quota) if have.limits.default_quota != Quota::UNLIMITED => {
            spec.set("mailboxDefaults", json!({"quota": quota}));
        }
        _ => spec.note("mailboxDefaults.quota: Mailcow has none"),
    }
    rate_limit(have.rate_limit, &mut spec);
    if !have.address_list {
        spec.set("globalAddressList", false);
    }
    relay(have, &mut spec);
    tags(&have.tags, &mut spec);
    if let Some(key) = &have.dkim {
        let is_selector = !key.selector.is_empty()
            && key.selector.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !key.selector.starts_with('-')
            && !key.selector.ends_with('-');
        if is_selector && matches!(key.key_size, 2048 | 4096) {
            spec.set("dkim", json!({"selector": key.selector, "keySize": key.key_size}));
        } else {
            spec.note(format!(
                "dkim: the key stays; the field does not take its selector {:?} with {} bits",
                key.selector, key.key_size
            ));
        }
    }
    spec
}

fn limits(have: &DomainHave, spec: &mut Spec) -> Value {
    let mut limits = Map::new();
    let own = have.limits;
    if own.mailboxes <= MOST {
        limits.insert("mailboxes".to_owned(), own.mailboxes.into());
    } else {
        spec.note(format!("limits.mailboxes: {} is above the field's maximum", own.mailboxes));
    }
    if (1..=MOST).contains(&own.aliases) {
        limits.insert("aliases".to_owned(), own.aliases.into());
    } else {
        spec.note(format!("limits.aliases: the field does not take {}", own.aliases));
    }
    for (field, quota) in [("mailboxQuota", own.mailbox_quota), ("totalQuota", own.total_quota)] {
        let fits = field != "mailboxQuota" || own.mailbox_quota <= own.total_quota;
        match quantity(quota).filter(|_| quota != Quota::UNLIMITED && fits) {
            Some(text) => drop(limits.insert(field.to_owned(), text.into())),
            None => spec.note(format!("limits.{field}: the field does not take {quota}")),
        }
    }
    limits.into()
}

fn relay(have: &DomainHave, spec: &mut Spec) {
    let own = have.relay;
    let mut relay = Map::new();
    // Each switch needs the one before it.
    let switches =
        [("backupMx", own.backup_mx), ("allRecipients", own.all_recipients), ("unknownOnly", own.unknown_only)];
    let mut needed = true;
    for (field, is_on) in switches.into_iter().filter(|(_, is_on)| *is_on) {
        let is_first = field == "backupMx";
        if is_first || needed && relay.len() == usize::from(field == "unknownOnly") + 1 {
            relay.insert(field.to_owned(), is_on.into());
        } else {
            needed = false;
            spec.note(format!("relay.{field}: it is on in Mailcow without the switches that it needs"));
        }
    }
    if own.host != 0 {
        if i32::try_from(own.host).is_ok() {
            relay.insert("host".to_owned(), own.host.into());
        } else {
            spec.note(format!("relay.host: {} is above the field's maximum", own.host));
        }
    }
    if !relay.is_empty() {
        spec.set("relay", Value::Object(relay));
    }
}

fn mailbox_spec(have: &MailboxHave, domain: &Value, exported: &BTreeSet<DomainName>) -> Spec {
    let mut spec = Spec::default();
    spec.set("localPart", have.address.local());
    spec.set("domainRef", domain.clone());
    if !have.name.is_empty() {
        let is_odd = have.name.starts_with('<') || have.name.ends_with('>') || have.name == "0";
        if is_text(&have.name, 255) && !is_odd {
            spec.set("displayName", have.name.as_str());
        } else {
            spec.note("displayName: it has characters that the field does not take");
        }
    }
    match quantity(have.quota) {
        Some(quota) => spec.set("quota", quota),
        None => spec.note(format!("quota: the field does not take {}", have.quota)),
    }
    match have.access {
        Access::Active => {}
        Access::LoginDisabled => spec.set("state", "LoginDisabled"),
        Access::Inactive => spec.set("state", "Inactive"),
    }
    let on: BTreeSet<Protocol> = &have.protocols | &have.hidden_protocols;
    if on.len() < Protocol::ALL.len() {
        let list: Vec<Value> = on.iter().filter_map(|protocol| serde_json::to_value(protocol).ok()).collect();
        spec.set("protocols", list);
    }
    if have.tls.incoming || have.tls.outgoing {
        spec.set("tls", json!({"enforceIncoming": have.tls.incoming, "enforceOutgoing": have.tls.outgoing}));
    }
    if have.login == Login::Elsewhere {
        spec.note("an identity provider checks its password");
    } else if have.force_password_change {
        spec.set("forcePasswordChange", true);
    }
    senders(have, exported, &mut spec);
    tags(&have.tags, &mut spec);
    rate_limit(have.rate_limit, &mut spec);
    let own: Vec<&str> =
        have.attributes.iter().map(|(name, _)| name.as_str()).filter(|name| *name != MailboxHave::MARK).collect();
    if !own.is_empty() {
        spec.note(format!("custom attributes stay on Mailcow and have no field: {}", own.join(", ")));
    }
    spec
}

/// Sender addresses, if the namespace that gets the manifests will own all of them: otherwise the operator would remove
/// the others, and leaving the field out keeps them.
fn senders(have: &MailboxHave, exported: &BTreeSet<DomainName>, spec: &mut Spec) {
    let Some(acl) = have.sender_acl.as_ref() else {
        return spec.note("senderAcl: this version of Mailcow does not show it; it stays as it is");
    };
    if acl.is_empty() {
        return;
    }
    let is_own = |entry: &&String| Catch::parse(entry).is_ok_and(|catch| exported.contains(catch.domain()));
    let others: Vec<&str> = acl.iter().filter(|entry| !is_own(entry)).map(String::as_str).collect();
    if others.is_empty() && acl.len() <= MOST_ADDRESSES {
        spec.set("senderAcl", acl.iter().cloned().collect::<Vec<_>>());
    } else {
        let all: Vec<&str> = acl.iter().map(String::as_str).collect();
        spec.note(format!(
            "senderAcl: [{}] stays on Mailcow; {} belongs to no exported domain, so that only the platform's namespaces may list it",
            all.join(", "),
            if others.is_empty() { "the list is too long, or it" } else { "an entry" }
        ));
    }
}

/// # Errors
/// Why there is no manifest for it.
fn alias_spec(catch: &Catch, have: &AliasHave, domain: &Value) -> Result<Spec, String> {
    let mut spec = Spec::default();
    spec.set("domainRef", domain.clone());
    match catch {
        Catch::All(_) => spec.set("catchAll", true),
        Catch::One(address) if is_local_part(address.local()) => spec.set("localPart", address.local()),
        Catch::One(_) => return Err("the operator can't manage this local part".to_owned()),
    }
    if let Some(sink) = have.sink() {
        spec.set("sink", serde_json::to_value(sink).map_err(|error| error.to_string())?);
    } else {
        if let Some(odd) = have.goto.iter().find(|to| Address::parse(to).is_err()) {
            return Err(format!("its target {odd} is not an address"));
        }
        if have.goto.is_empty() || have.goto.len() > MOST_ADDRESSES {
            return Err(format!("it has {} targets; the operator takes 1 to {MOST_ADDRESSES}", have.goto.len()));
        }
        spec.set("goto", have.goto.to_vec());
    }
    for (field, is_on) in
        [("active", have.active), ("visibleInSogo", have.visible_in_sogo), ("senderAllowed", have.sender_allowed)]
    {
        if !is_on {
            spec.set(field, false);
        }
    }
    if !have.public_comment.is_empty() {
        if is_text(&have.public_comment, 160) && have.public_comment.len() <= 160 {
            spec.set("publicComment", have.public_comment.as_str());
        } else {
            spec.note("publicComment: the field does not take it; it stays as it is");
        }
    }
    if !have.private_comment.is_empty() && have.mark().is_none() {
        spec.note(format!("adoption replaces its private comment {:?}", have.private_comment));
    }
    Ok(spec)
}

fn filter_note(filter: &MailboxFilter) -> String {
    let active = if filter.active { "active" } else { "inactive" };
    if filter.is_ours {
        return format!(
            "the {active} {} {:?} is the script of rules in a cluster: export these with kubectl get efr -o yaml",
            filter.kind, filter.description
        );
    }
    let why = if filter.kind == "prefilter" && filter.active {
        "rules for this mailbox wait until it is deactivated, because Mailcow allows one prefilter"
    } else {
        "it stays as it is"
    };
    format!(
        "the {active} {} {:?} is its user's own Sieve script, which the operator does not manage: {why}",
        filter.kind, filter.description
    )
}

fn rate_limit(rate: RateLimit, spec: &mut Spec) {
    match rate {
        RateLimit::Unlimited => {}
        RateLimit::Limit { messages, per } if messages <= MOST => {
            let per = serde_json::to_value(per).unwrap_or_default();
            spec.set("rateLimit", json!({"messages": messages, "per": per}));
        }
        RateLimit::Limit { messages, .. } => spec.note(format!("rateLimit: {messages} is above the field's maximum")),
    }
}

/// Tags of people; ownership marks are left out.
fn tags(tags: &[String], spec: &mut Spec) {
    let is_mark = |tag: &String| Mark::at_start(tag).is_some();
    let is_good = |tag: &&String| {
        is_text(tag, 64)
            && tag.trim() == tag.as_str()
            && *tag != "0"
            && !tag.to_ascii_lowercase().contains("mailcow-operator")
    };
    let (good, odd): (Vec<&String>, Vec<&String>) = tags.iter().filter(|tag| !is_mark(tag)).partition(is_good);
    let shown: Vec<&String> = good.iter().copied().take(MOST_TAGS).collect();
    if !odd.is_empty() || good.len() > MOST_TAGS {
        spec.note("tags: some stay on Mailcow, because the field does not take them");
    }
    if !shown.is_empty() {
        spec.set("tags", shown.into_iter().cloned().collect::<Vec<_>>());
    }
}

/// A quota as manifests write it: a whole number of Mi, Gi or Ti, or 0.
fn quantity(quota: Quota) -> Option<String> {
    let mib = quota.as_mib();
    if quota == Quota::UNLIMITED {
        return Some("0".to_owned());
    }
    let (number, unit) = match mib {
        _ if Quota::mib(mib) != quota => return None,
        mib if mib % (1 << 20) == 0 => (mib >> 20, "Ti"),
        mib if mib % (1 << 10) == 0 => (mib >> 10, "Gi"),
        mib => (mib, "Mi"),
    };
    (number < 1_000_000_000).then(|| format!("{number}{unit}"))
}

/// Whether fields for texts take it.
fn is_text(text: &str, longest: usize) -> bool {
    text.chars().count() <= longest
        && !text.chars().any(|c| matches!(c, '\u{0}'..='\u{1f}' | '\u{7f}'))
        && !text.to_ascii_lowercase().contains("mailcow-operator/")
}

/// Whether the schema takes a local part.
fn is_local_part(local: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+&'%/-".contains(c);
    (1..=64).contains(&local.len()) && local.split('.').all(|part| !part.is_empty() && part.chars().all(is_allowed))
}

fn address_name(local: &str, domain: &DomainName) -> String {
    format!("{local}.{domain}")
}

/// Names of objects, each once in its kind.
#[derive(Default)]
struct Names(BTreeSet<(String, String)>);

impl Names {
    /// A name for a text: what Kubernetes does not allow becomes `-` (RFC 1123, section 2.1).
    fn of(&mut self, kind: &str, text: &str) -> String {
        let replaced: String = text
            .to_ascii_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let labels = replaced.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty());
        let mut base = labels.collect::<Vec<_>>().join(".");
        base.truncate(LONGEST_NAME - 6);
        let base = base.trim_end_matches(['-', '.']).to_owned();
        let mut name = base.clone();
        let mut number = 1;
        while !self.0.insert((kind.to_owned(), name.clone())) {
            number += 1;
            name = format!("{base}-{number}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{EmailAliasSpec, EmailDomainSpec, EmailMailboxSpec, Per};
    use crate::mail::{DkimKey, Limits, Relay, Tls};
    use crate::{desired, plan};

    fn domain() -> DomainHave {
        DomainHave {
            name: DomainName::parse("example.com").unwrap(),
            description: "Example".into(),
            active: true,
            limits: Limits {
                mailboxes: 10,
                aliases: 400,
                default_quota: Quota::gib(1),
                mailbox_quota: Quota::gib(10),
                total_quota: Quota::gib(2048),
            },
            rate_limit: RateLimit::Limit { messages: 7, per: Per::Day },
            address_list: false,
            relay: Relay { backup_mx: true, all_recipients: true, unknown_only: false, host: 3 },
            tags: vec!["customer".into()],
            dkim: Some(DkimKey { selector: "s".into(), key_size: 2048, record: "v".into(), public_key: "k".into() }),
            mailboxes: 1,
            aliases: 1,
            quota_left: Quota::gib(1),
            used: Quota::UNLIMITED,
            messages: 0,
        }
    }

    fn mailbox(local: &str) -> (Address, MailboxHave) {
        let address = Address::parse(&format!("{local}@example.com")).unwrap();
        let have = MailboxHave {
            address: address.clone(),
            name: "Ada".into(),
            quota: Quota::mib(77),
            access: Access::LoginDisabled,
            rate_limit: RateLimit::Unlimited,
            protocols: [Protocol::Imap].into(),
            hidden_protocols: BTreeSet::new(),
            tls: Tls { incoming: true, outgoing: false },
            force_password_change: true,
            login: Login::Mailcow,
            sender_acl: Some(["@example.com".to_owned()].into()),
            tags: vec![],
            attributes: vec![],
            used: Quota::UNLIMITED,
            messages: 3,
            last_logins: [0; 3],
        };
        (address, have)
    }

    fn alias(address: &str, goto: &[&str]) -> (Catch, AliasHave) {
        let catch = Catch::parse(address).unwrap();
        let have = AliasHave {
            id: 1,
            catch: catch.clone(),
            goto: goto.iter().map(|to| (*to).to_owned()).collect(),
            active: false,
            visible_in_sogo: false,
            sender_allowed: true,
            public_comment: "c".into(),
            private_comment: "note".into(),
        };
        (catch, have)
    }

    fn entries() -> DomainEntries {
        let filter = MailboxFilter {
            mailbox: mailbox("ada").0,
            kind: "prefilter".into(),
            active: true,
            description: "vacation".into(),
            is_ours: false,
        };
        DomainEntries {
            domain: domain(),
            mailboxes: vec![mailbox("ada"), mailbox("a_b"), mailbox("a-b"), mailbox("a/b")],
            aliases: vec![
                alias("info@example.com", &["ada@example.com", "x@far.example"]),
                alias("@example.com", &["null@localhost"]),
                alias("odd@example.com", &["nowhere"]),
            ],
            filters: vec![filter],
        }
    }

    fn exported() -> Exported {
        let style = Style { server: DEFAULT_SERVER.to_owned(), ..Style::default() };
        entries().manifests(&style, &[domain().name].into(), false)
    }

    fn spec<T: serde::de::DeserializeOwned>(document: &Document) -> T {
        serde_json::from_value(document.manifest["spec"].clone()).unwrap()
    }

    #[test]
    fn what_is_exported_plans_no_change_but_the_mark() {
        let out = exported();
        let mark = || Mark::new("c", "n", "x", "u");
        let domain_spec: EmailDomainSpec = spec(&out.documents[0]);
        let want = desired::domain(&domain_spec, mark()).unwrap();
        let have = domain();
        let changes = plan::domain(&want, Some(&have), crate::crd::AdoptionPolicy::IfUnowned).unwrap();
        let fields: Vec<_> = changes.iter().flat_map(plan::Change::fields).collect();
        assert_eq!(fields, ["ownership mark"], "{changes:#?}");
        assert_eq!(plan::dkim_agrees(&want, Some(&have)), Ok(()));
        let is_ada = |document: &&Document| document.manifest["spec"]["localPart"] == "ada";
        let mailbox_spec: EmailMailboxSpec = spec(out.documents.iter().find(is_ada).unwrap());
        let want = desired::mailbox(&mailbox_spec, &domain_spec, mark()).unwrap();
        let changes =
            plan::mailbox(&want, Some(&mailbox("ada").1), crate::crd::AdoptionPolicy::IfUnowned, false).unwrap();
        assert!(changes.iter().all(|change| change.fields() == ["ownership mark"]), "{changes:#?}");
        let is_info = |document: &&Document| document.manifest["spec"]["localPart"] == "info";
        let alias_spec: EmailAliasSpec = spec(out.documents.iter().find(is_info).unwrap());
        let (catch, have) = alias("info@example.com", &["ada@example.com", "x@far.example"]);
        let want = desired::alias(&alias_spec, catch, &[], mark()).unwrap();
        let changes = plan::alias(&want, Some(&have), crate::crd::AdoptionPolicy::IfUnowned).unwrap();
        assert!(changes.iter().all(|change| change.fields() == ["ownership mark"]), "{changes:#?}");
    }

    #[test]
    fn names_are_those_of_kubernetes_and_each_stands_once() {
        let out = exported();
        let names: Vec<&str> =
            out.documents.iter().map(|document| document.manifest["metadata"]["name"].as_str().unwrap()).collect();
        let expected = [
            "example.com",
            "a-b.example.com",
            "a-b.example.com-2",
            "ada.example.com",
            "info.example.com",
            "catch-all.example.com",
        ];
        assert_eq!(names, expected);
        assert_eq!(Names::default().of("K", "a_.-b.Example.com"), "a.b.example.com");
    }

    #[test]
    fn what_has_no_manifest_is_named_and_what_has_no_field_is_a_comment() {
        let out = exported();
        assert_eq!(out.left_out.len(), 2, "{:?}", out.left_out);
        assert!(out.left_out[0].contains("a/b@example.com") && out.left_out[1].contains("nowhere"));
        let comments: Vec<&String> = out.documents.iter().flat_map(|document| &document.comments).collect();
        assert!(comments.iter().any(|comment| comment.contains("vacation") && comment.contains("own Sieve script")));
        assert!(comments.iter().any(|comment| comment.contains("\"note\"")), "{comments:?}");
    }

    #[test]
    fn sender_addresses_of_others_stay_on_mailcow() {
        let mut entries = entries();
        entries.mailboxes[0].1.sender_acl = Some(["*".to_owned()].into());
        let out = entries.manifests(&Style::default(), &[domain().name].into(), false);
        let ada = out.documents.iter().find(|document| document.manifest["spec"]["localPart"] == "ada").unwrap();
        assert!(ada.manifest["spec"].get("senderAcl").is_none());
        assert!(ada.comments.iter().any(|comment| comment.contains("senderAcl: [*]")), "{:?}", ada.comments);
    }

    #[test]
    fn managed_entries_are_left_out_or_keep_their_names() {
        let mut entries = entries();
        entries.domain.tags.push(Mark::new("c1", "mail", "example", "uid").to_string());
        let out = entries.clone().manifests(&Style::default(), &BTreeSet::new(), false);
        assert_eq!(out.managed, 1);
        assert_eq!(out.documents[0].manifest["spec"]["domainRef"], json!({"name": "example", "namespace": "mail"}));
        let out = entries.manifests(&Style::default(), &BTreeSet::new(), true);
        assert_eq!(out.documents[0].manifest["metadata"], json!({"name": "example", "namespace": "mail"}));
        assert_eq!(out.documents[0].manifest["spec"]["tags"], json!(["customer"]));
    }

    #[test]
    fn quotas_are_written_in_the_largest_unit() {
        let written =
            [Quota::UNLIMITED, Quota::mib(77), Quota::gib(5), Quota::gib(2048), Quota::bytes(17)].map(quantity);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(written, [text("0"), text("77Mi"), text("5Gi"), text("2Ti"), None]);
    }
}
