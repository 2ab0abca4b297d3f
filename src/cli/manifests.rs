//! Manifests from files: rules, and the mailboxes and domains that they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kinds::Kind;
use crate::crd::{DomainRef, EmailAliasSpec, EmailDomainSpec, EmailForwardingRuleSpec, EmailMailboxSpec, GROUP, Ref};
use crate::desired;
use crate::forwarding::{Rank, Route, Routes};
use crate::mail::{Address, Catch, Mark};

/// The id of a cluster that is unknown.
const OFFLINE: &str = "offline";

/// The objects in the files.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    /// The rules.
    pub(super) rules: Vec<Object<RuleSpec>>,
    /// The mailboxes.
    pub(super) mailboxes: Vec<Object<EmailMailboxSpec>>,
    /// The aliases.
    pub(super) aliases: Vec<Object<EmailAliasSpec>>,
    /// The domains.
    pub(super) domains: Vec<Object<EmailDomainSpec>>,
    /// The short id of the cluster in ownership marks; `None` without a cluster.
    pub(super) cluster: Option<String>,
}

/// The spec of a rule, or what is known of one that can't be read.
pub(super) type RuleSpec = Result<EmailForwardingRuleSpec, UnreadableRule>;

/// A rule whose spec can't be read.
#[derive(Clone, Debug)]
pub(super) struct UnreadableRule {
    /// The error with its field.
    pub(super) why: String,
    /// The mailbox that it is for, if that can be read.
    mailbox_ref: Option<Ref>,
    /// The domain that it is for, if that can be read.
    domain_ref: Option<DomainRef>,
}

/// An object from a file or from the cluster.
#[derive(Debug)]
pub(super) struct Object<T> {
    /// The namespace.
    pub(super) namespace: String,
    /// The name.
    pub(super) name: String,
    /// Its uid; `0` if it is unknown.
    pub(super) uid: String,
    /// Creation time in seconds, if it is known.
    pub(super) created: i64,
    /// Its annotations.
    pub(super) annotations: BTreeMap<String, String>,
    /// The address in the status of one from the cluster.
    reported: Option<String>,
    /// Its spec.
    pub(super) spec: T,
    /// Whether it was read from the cluster and not from a file.
    pub(super) is_live: bool,
    /// The whole manifest, with its namespace; null for one from the cluster.
    pub(super) manifest: Value,
}

/// A mailbox with rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    /// Its address; a placeholder if the files don't have it.
    pub(super) address: Address,
    /// Its label: the address, or the reference.
    pub(super) label: String,
    /// Whether the files have the address.
    pub(super) is_known: bool,
    /// Namespace, name and uid of its object.
    pub(super) object: (String, String, String),
    /// The short id of the cluster.
    cluster: String,
}

impl Owner {
    /// A mailbox by its address alone.
    pub(super) fn of(address: Address) -> Self {
        let object = ("offline".to_owned(), address.local().to_owned(), "0".to_owned());
        Self { label: address.to_string(), address, is_known: true, object, cluster: OFFLINE.to_owned() }
    }

    /// The mark in the script.
    pub(super) fn mark(&self) -> Mark {
        Mark::new(&self.cluster, &self.object.0, &self.object.1, &self.object.2)
    }
}

impl<T> Object<T> {
    /// `namespace/name`
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it has this namespace and name.
    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }
}

impl Manifests {
    /// Reads files, folders and standard input (`-`).
    pub(super) fn read(files: &[PathBuf], namespace: &str) -> Result<Self, String> {
        let mut manifests = Self::default();
        for file in files {
            for path in listed(file)? {
                let text =
                    String::from_utf8(read(&path)?).map_err(|_| format!("{}: it is not UTF-8 text", path.display()))?;
                manifests.add(&text, namespace).map_err(|why| format!("{}: {why}", path.display()))?;
            }
        }
        Ok(manifests)
    }

    fn add(&mut self, text: &str, namespace: &str) -> Result<(), String> {
        for value in documents(text)? {
            match value["items"].as_array() {
                Some(items) if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
                    items.iter().try_for_each(|item| self.take(item, namespace, false))?;
                }
                _ => self.take(&value, namespace, false)?,
            }
        }
        Ok(())
    }

    /// Adds an object of the cluster, unless the files have it.
    ///
    /// # Errors
    /// When it can't be read; it is then left out. A newer CRD may have fields that this version does not know.
    pub(super) fn add_live(&mut self, value: &Value) -> Result<(), String> {
        let kind = value["kind"].as_str().unwrap_or_default();
        let metadata = &value["metadata"];
        let id = [metadata["namespace"].as_str(), metadata["name"].as_str()].map(Option::unwrap_or_default);
        let [namespace, name] = id;
        let is_known = match kind {
            "EmailDomain" => self.domains.iter().any(|object| object.is(namespace, name)),
            "EmailMailbox" => self.mailboxes.iter().any(|object| object.is(namespace, name)),
            "EmailAlias" => self.aliases.iter().any(|object| object.is(namespace, name)),
            _ => self.rules.iter().any(|object| object.is(namespace, name)),
        };
        if is_known { Ok(()) } else { self.take(value, namespace, true) }
    }

    /// Takes an object of a relevant kind; ignores others.
    pub(super) fn take(&mut self, value: &Value, namespace: &str, is_live: bool) -> Result<(), String> {
        let group = value["apiVersion"].as_str().and_then(|version| version.split('/').next());
        if group != Some(GROUP) {
            return Ok(());
        }
        match value["kind"].as_str() {
            Some("EmailForwardingRule") => self.rules.push(object(value, namespace, is_live, rule_spec(value))?),
            Some("EmailMailbox") => self.mailboxes.push(readable(value, namespace, is_live)?),
            Some("EmailAlias") => self.aliases.push(readable(value, namespace, is_live)?),
            Some("EmailDomain") => self.domains.push(readable(value, namespace, is_live)?),
            _ => {}
        }
        Ok(())
    }

    /// Whether a domain (`@example.com`), a mailbox or an alias of this address is among the objects.
    pub(super) fn has_entry(&self, entry: &str) -> bool {
        let name = |domain: &Object<EmailDomainSpec>| desired::domain_name(&domain.spec).ok();
        match Catch::parse(entry) {
            Err(_) => false,
            Ok(Catch::All(asked)) => self.domains.iter().any(|domain| name(domain).as_ref() == Some(&asked)),
            Ok(asked @ Catch::One(_)) => {
                let mailboxes = self.mailboxes.iter().filter_map(|mailbox| self.owner(mailbox));
                let aliases = self.aliases.iter().filter_map(|alias| {
                    let domain = self.domain(&alias.spec.domain_ref, &alias.namespace)?;
                    desired::alias_catch(&alias.spec, &domain.spec).ok()
                });
                mailboxes.map(|owner| Catch::One(owner.address)).chain(aliases).any(|known| known == asked)
            }
        }
    }

    /// The namespaces of all objects.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        let domains = self.domains.iter().map(|object| &object.namespace);
        let mailboxes = self.mailboxes.iter().map(|object| &object.namespace);
        let aliases = self.aliases.iter().map(|object| &object.namespace);
        let rules = self.rules.iter().map(|object| &object.namespace);
        domains.chain(mailboxes).chain(aliases).chain(rules).cloned().collect()
    }

    /// The namespaces of the domains that objects refer to.
    pub(super) fn domain_namespaces(&self) -> BTreeSet<String> {
        let mailboxes = self.mailboxes.iter().map(|object| (&object.namespace, Some(&object.spec.domain_ref)));
        let aliases = self.aliases.iter().map(|object| (&object.namespace, Some(&object.spec.domain_ref)));
        let rules = self.rules.iter().map(|object| (&object.namespace, references(&object.spec).1));
        let all = mailboxes.chain(aliases).chain(rules);
        all.filter_map(|(own, to)| to.map(|to| to.namespace_from(own).to_owned())).collect()
    }

    /// The manifests of the files: kind, namespace, name and text.
    pub(super) fn manifests(&self) -> impl Iterator<Item = (Kind, &str, &str, &Value)> {
        fn of<T>(kind: Kind, object: &Object<T>) -> (Kind, &str, &str, &Value) {
            (kind, &object.namespace, &object.name, &object.manifest)
        }
        let domains = self.domains.iter().map(|object| of(Kind::Domain, object));
        let mailboxes = self.mailboxes.iter().map(|object| of(Kind::Mailbox, object));
        let aliases = self.aliases.iter().map(|object| of(Kind::Alias, object));
        let rules = self.rules.iter().map(|object| of(Kind::Rule, object));
        domains.chain(mailboxes).chain(aliases).chain(rules).filter(|(.., manifest)| !manifest.is_null())
    }

    /// The domain that an object of a namespace refers to.
    pub(super) fn domain(&self, to: &DomainRef, own: &str) -> Option<&Object<EmailDomainSpec>> {
        let there = to.namespace_from(own);
        self.domains.iter().find(|domain| domain.is(there, &to.name))
    }

    /// The mailbox of a name, as far as its address is known.
    pub(super) fn mailbox_address(&self, namespace: &str, to: &Ref) -> Option<Address> {
        self.mailbox(namespace, to).into_iter().next().map(|owner| owner.address)
    }

    /// The mailboxes of a rule, also of one that can't be read. A mailbox without an address in the files is `given`, if
    /// set.
    pub(super) fn owners(&self, rule: &Object<RuleSpec>, given: Option<&Address>) -> Result<Vec<Owner>, String> {
        let (mailbox_ref, domain_ref) = references(&rule.spec);
        let mut owners = match (mailbox_ref, domain_ref) {
            (Some(to), None) => self.mailbox(&rule.namespace, to),
            (None, Some(to)) => self.in_domain(&rule.namespace, to),
            _ => return Err("spec: give exactly one of mailboxRef and domainRef".to_owned()),
        };
        if owners.is_empty() {
            let of_domain = || domain_ref.map(|to| &to.name);
            let name = mailbox_ref.map(|to| &to.name).or_else(of_domain);
            owners = match (given, name) {
                (Some(address), _) => vec![Owner::of(address.clone())],
                (None, name) => vec![unknown(&rule.namespace, name.map_or("", String::as_str))?],
            };
        }
        Ok(owners)
    }

    /// Whether the rule with this `namespace/name` applies to all mailboxes of a domain.
    pub(super) fn is_of_domain(&self, id: &str) -> bool {
        let rule = self.rules.iter().find(|rule| rule.id() == id);
        rule.is_some_and(|rule| references(&rule.spec).1.is_some())
    }

    /// The mailboxes and aliases of the files, and these mailboxes.
    pub(super) fn routes(&self, owners: &[&Owner]) -> Routes {
        let mut routes = Routes::default();
        let known = self.mailboxes.iter().filter_map(|mailbox| self.owner(mailbox));
        for owner in owners.iter().copied().cloned().chain(known) {
            routes.add_mailbox(owner.address, format!("{}/{}", owner.object.0, owner.object.1));
        }
        for alias in self.aliases.iter().filter(|alias| alias.spec.active) {
            if let Some((catch, to)) = self.route(alias) {
                let rank = Rank { is_new: true, created: alias.created, id: alias.id() };
                routes.add_alias(catch, Route { rank, to });
            }
        }
        routes
    }

    /// The address and the targets of an alias, as far as the files show.
    fn route(&self, alias: &Object<EmailAliasSpec>) -> Option<(Catch, Vec<Address>)> {
        let to = &alias.spec.domain_ref;
        let domain = self.domain(to, &alias.namespace)?;
        let catch = desired::alias_catch(&alias.spec, &domain.spec).ok()?;
        let given = alias.spec.goto.iter().flatten().filter_map(|text| Address::parse(text).ok());
        let references = alias.spec.goto_mailbox_refs.iter().flatten();
        let meant = references.flat_map(|to| self.mailbox(&alias.namespace, to)).map(|owner| owner.address);
        Some((catch, given.chain(meant).collect()))
    }

    fn mailbox(&self, namespace: &str, to: &Ref) -> Vec<Owner> {
        self.mailboxes.iter().filter(|mailbox| mailbox.is(namespace, &to.name)).filter_map(|m| self.owner(m)).collect()
    }

    /// Mailboxes in the rule's own namespace.
    fn in_domain(&self, namespace: &str, to: &DomainRef) -> Vec<Owner> {
        let is_in = |mailbox: &&Object<EmailMailboxSpec>| {
            mailbox.namespace == namespace && mailbox.spec.domain_ref.is_same(to, namespace)
        };
        self.mailboxes.iter().filter(is_in).filter_map(|mailbox| self.owner(mailbox)).collect()
    }

    /// `None` when its domain is neither in the files nor readable in the cluster, or one of both is invalid; another check
    /// reports that.
    fn owner(&self, mailbox: &Object<EmailMailboxSpec>) -> Option<Owner> {
        let address = match self.domain(&mailbox.spec.domain_ref, &mailbox.namespace) {
            Some(domain) => desired::mailbox_address(&mailbox.spec, &domain.spec).ok()?,
            // A domain that the user may not read.
            None => Address::parse(mailbox.reported.as_deref()?).ok()?,
        };
        let object = (mailbox.namespace.clone(), mailbox.name.clone(), mailbox.uid.clone());
        let cluster = self.cluster.clone().unwrap_or_else(|| OFFLINE.to_owned());
        Some(Owner { label: address.to_string(), address, is_known: true, object, cluster })
    }
}

/// The mailbox and the domain that a rule is for; a valid rule has one of them.
fn references(spec: &RuleSpec) -> (Option<&Ref>, Option<&DomainRef>) {
    match spec {
        Ok(spec) => (spec.mailbox_ref.as_ref(), spec.domain_ref.as_ref()),
        Err(unreadable) => (unreadable.mailbox_ref.as_ref(), unreadable.domain_ref.as_ref()),
    }
}

/// A mailbox whose address is unknown; nothing is sent to it.
fn unknown(namespace: &str, name: &str) -> Result<Owner, String> {
    let address = Address::parse("mailbox@unknown.invalid").map_err(|error| error.to_string())?;
    let object = (namespace.to_owned(), name.to_owned(), "0".to_owned());
    Ok(Owner { address, label: format!("{namespace}/{name}"), is_known: false, object, cluster: OFFLINE.to_owned() })
}

/// The files of a folder, sorted, or the file itself.
fn listed(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let bad = |error: std::io::Error| format!("{}: {error}", path.display());
    let entries = std::fs::read_dir(path).map_err(bad)?.collect::<Result<Vec<_>, _>>().map_err(bad)?;
    let is_manifest = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        path.is_file() && matches!(ending, Some("yaml" | "yml" | "json"))
    };
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_manifest).collect();
    files.sort();
    Ok(files)
}

/// The bytes of a file, or of standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(path).map(|read| bytes = read)
    };
    done.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes)
}

/// The documents of a file, as kubectl reads them: JSON objects one after the other if it begins with one, otherwise
/// YAML. A byte order mark is ignored; documents without content are left out.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        let all: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
        // A YAML document may begin with a brace too.
        if let Ok(all) = all {
            return Ok(all);
        }
    }
    let documents = serde_yaml::Deserializer::from_str(text).map(Value::deserialize);
    let all = documents.collect::<Result<Vec<Value>, _>>().map_err(|error| error.to_string())?;
    Ok(all.into_iter().filter(|value| !value.is_null()).collect())
}

fn object<T>(value: &Value, namespace: &str, is_live: bool, spec: T) -> Result<Object<T>, String> {
    let metadata = &value["metadata"];
    let text = |name: &str| metadata[name].as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let kind = value["kind"].as_str().unwrap_or_default();
    let created = text("creationTimestamp").and_then(|time| time.parse::<k8s_openapi::jiff::Timestamp>().ok());
    let namespace = text("namespace").unwrap_or_else(|| namespace.to_owned());
    let mut manifest = if is_live { Value::Null } else { value.clone() };
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), namespace.clone().into());
    }
    Ok(Object {
        name: text("name").ok_or_else(|| format!("{kind} without metadata.name"))?,
        namespace,
        uid: text("uid").unwrap_or_else(|| "0".to_owned()),
        created: created.map_or(0, k8s_openapi::jiff::Timestamp::as_second),
        annotations: serde_json::from_value(metadata["annotations"].clone()).unwrap_or_default(),
        reported: value.pointer("/status/address").and_then(Value::as_str).filter(|_| is_live).map(ToOwned::to_owned),
        spec,
        is_live,
        manifest,
    })
}

fn readable<T: DeserializeOwned>(value: &Value, namespace: &str, is_live: bool) -> Result<Object<T>, String> {
    let id = object(value, namespace, true, ())?.id();
    let spec = spec(value).map_err(|why| format!("{} {id}: {why}", value["kind"].as_str().unwrap_or_default()))?;
    object(value, namespace, is_live, spec)
}

fn rule_spec(value: &Value) -> RuleSpec {
    spec(value).map_err(|why| UnreadableRule {
        why,
        mailbox_ref: serde_json::from_value(value["spec"]["mailboxRef"].clone()).ok(),
        domain_ref: serde_json::from_value(value["spec"]["domainRef"].clone()).ok(),
    })
}

/// The spec, or the error with its field.
fn spec<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(&value["spec"]).map_err(|error| {
        let path = error.path().to_string();
        let dot = if path.starts_with('[') { "" } else { "." };
        let path = if path == "." { String::new() } else { format!("{dot}{path}") };
        format!("spec{path}: {}", error.into_inner())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: acme}
spec: {domain: acme.test}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: box, uid: 7}
spec: {localPart: Box, domainRef: {name: acme}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: v1
kind: List
items:
- apiVersion: email.askrobots.com/v1alpha1
  kind: EmailForwardingRule
  metadata: {name: r, creationTimestamp: '1970-01-01T00:01:00Z'}
  spec: {mailboxRef: {name: box}, actions: [{ignore: {}}]}
";

    fn manifests(text: &str) -> Manifests {
        let mut manifests = Manifests::default();
        manifests.add(text, "mail").unwrap();
        manifests
    }

    fn labels(text: &str, given: Option<&str>) -> Vec<String> {
        let manifests = manifests(text);
        let given = given.map(|given| Address::parse(given).unwrap());
        let rule = &manifests.rules[0];
        let owners = manifests.owners(rule, given.as_ref()).unwrap();
        owners.into_iter().map(|owner| owner.label).collect()
    }

    #[test]
    fn documents_and_lists_are_read_and_other_kinds_passed_over() {
        let manifests = manifests(FILE);
        assert_eq!((manifests.rules[0].id(), manifests.rules[0].created), ("mail/r".to_owned(), 60));
    }

    #[test]
    fn a_rule_finds_its_mailbox_by_name_or_through_the_domain_or_as_it_was_given() {
        assert_eq!(labels(FILE, None), ["box@acme.test"]);
        assert_eq!(labels(FILE, Some("x@y.test")), ["box@acme.test"]);
        assert_eq!(
            labels(&FILE.replace("mailboxRef: {name: box}", "domainRef: {name: acme}"), None),
            ["box@acme.test"]
        );
        let elsewhere = FILE.replace("mailboxRef: {name: box}", "mailboxRef: {name: other}");
        assert_eq!(labels(&elsewhere, None), ["mail/other"]);
        assert_eq!(labels(&elsewhere, Some("x@y.test")), ["x@y.test"]);
    }

    #[test]
    fn a_spec_that_cannot_be_read_says_where() {
        let bad = FILE.replace("ignore: {}", "ignore: {mode: Shred}");
        let why = manifests(&bad).rules[0].spec.clone().unwrap_err().why;
        assert!(why.starts_with("spec.actions[0].ignore.mode: unknown variant `Shred`"), "{why}");
    }

    #[test]
    fn files_are_read_as_kubectl_reads_them() {
        let rule = r#"{"apiVersion":"email.askrobots.com\/v1alpha1","kind":"EmailForwardingRule","metadata":{"name":"NAME"},
            "spec":{"mailboxRef":{"name":"box"},"match":{"all":[{"field":"Subject","operator":"Contains","values":["\ud83d\udce7"]}]},
            "actions":[{"ignore":{}}]}}"#;
        let json = format!("\u{feff}{}\n{}", rule.replace("NAME", "a"), rule.replace("NAME", "b"));
        let found = manifests(&json);
        assert_eq!(found.rules.iter().map(Object::id).collect::<Vec<_>>(), ["mail/a", "mail/b"]);
        let spec = found.rules[0].spec.as_ref().unwrap();
        assert_eq!(spec.matches.all[0].values, ["\u{1f4e7}"]);
        let yaml = format!("\u{feff}# a comment\n---\n# nothing here\n---\n{}", FILE.trim_start());
        assert_eq!(manifests(&yaml).rules.len(), 1);
        assert_eq!(manifests("{kind: List, apiVersion: v1, items: []}").rules.len(), 0, "YAML may begin with a brace");
        assert!(Manifests::default().add("{\"a\": ", "n").is_err());
    }

    #[test]
    fn objects_of_the_cluster_do_not_replace_those_of_files() {
        let mut manifests = manifests(FILE);
        let mut live = manifests.domains[0].manifest.clone();
        live["spec"]["domain"] = "other.test".into();
        manifests.add_live(&live).unwrap();
        assert_eq!((manifests.domains.len(), manifests.domains[0].spec.domain.as_str()), (1, "acme.test"));
        live["metadata"]["name"] = "other".into();
        manifests.add_live(&live).unwrap();
        assert!(manifests.domains.len() == 2 && manifests.domains[1].is_live);
        live["spec"] = serde_json::json!({"domain": 7});
        live["metadata"]["name"] = "newer".into();
        assert!(manifests.add_live(&live).unwrap_err().contains("mail/newer: spec.domain"));
    }

    #[test]
    fn a_live_mailbox_of_a_domain_that_may_not_be_read_has_the_address_in_its_status() {
        let mut manifests = Manifests::default();
        let live = serde_json::json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": "EmailMailbox",
            "metadata": {"name": "box", "namespace": "mail"}, "status": {"address": "box@acme.test"},
            "spec": {"localPart": "box", "domainRef": {"name": "acme", "namespace": "other"}}});
        manifests.add_live(&live).unwrap();
        let to = Ref { name: "box".to_owned() };
        assert_eq!(manifests.mailbox_address("mail", &to).unwrap().to_string(), "box@acme.test");
        assert_eq!(manifests.domain_namespaces(), ["other".to_owned()].into());
    }

    #[test]
    fn a_broken_file_is_no_empty_file() {
        assert!(Manifests::default().add("a: [", "mail").is_err());
        assert!(
            Manifests::default()
                .add("apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule", "n")
                .is_err()
        );
    }
}
