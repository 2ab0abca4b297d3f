//! Rules from files, grouped by mailbox, with the operator's verdict on each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::nearest;
use super::flags::Input;
use super::manifests::{Manifests, Object, Owner, RuleSpec, read};
use super::show::Show;
use crate::crd::{self, ToSink};
use crate::desired;
use crate::forwarding::{Paths, Sends, rule_loops};
use crate::gates::Gates;
use crate::mail::rule::{Queue, QueueKind, Rule};
use crate::mail::{Address, Sinks};
use crate::sieve::{self, Compiled};

/// The rules of all mailboxes, each valid or not.
pub(super) struct RuleSet {
    /// Groups by mailbox.
    pub(super) groups: BTreeMap<String, Group>,
    /// Every rule by its id, with its errors, in the order of the files.
    pub(super) verdicts: Vec<Verdict>,
}

/// A rule, its mailboxes, and its errors.
pub(super) struct Verdict {
    /// `namespace/name`
    pub(super) id: String,
    /// Labels of the mailboxes; empty when the rule can't be read.
    pub(super) mailboxes: BTreeSet<String>,
    /// Errors; empty when the rule is valid.
    pub(super) wrong: Vec<String>,
}

impl Verdict {
    /// The JSON output.
    pub(super) fn json(&self) -> Value {
        let Self { id, mailboxes, wrong } = self;
        json!({"rule": id, "mailboxes": mailboxes, "valid": wrong.is_empty(), "problems": wrong})
    }

    /// The problems, each with the rule's name.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.wrong.iter().map(|why| format!("{}: {why}", self.id))
    }
}

/// The rules of one mailbox.
pub(super) struct Group {
    /// The mailbox.
    pub(super) owner: Owner,
    /// The valid rules.
    pub(super) rules: Vec<Rule>,
    /// Errors of the other rules.
    bad: Vec<String>,
}

impl RuleSet {
    /// Reads and checks the rules.
    pub(super) fn read(input: &Input, namespace: &str) -> Result<Self, Vec<String>> {
        let one = |why: String| vec![why];
        let manifests = Manifests::read(&input.files, namespace).map_err(one)?;
        let parse = |text: &String| Address::parse(text).map_err(|error| vec![format!("--mailbox: {error}")]);
        let given = input.mailbox.as_ref().map(parse).transpose()?;
        let sinks = sinks(input.sinks.as_deref(), &manifests).map_err(one)?;
        Ok(Self::of(&manifests, given.as_ref(), &sinks, None))
    }

    /// Checks the rules; `given` is the mailbox of rules whose mailbox is not in the manifests, `gates` the feature gates of
    /// the installation, if it is known.
    pub(super) fn of(manifests: &Manifests, given: Option<&Address>, sinks: &Sinks, gates: Option<&Gates>) -> Self {
        let mut rule_set = Self { groups: BTreeMap::new(), verdicts: Vec::new() };
        for rule in &manifests.rules {
            rule_set.add(rule, manifests, given, sinks, gates);
        }
        rule_set.leave_alone(manifests);
        rule_set.find_loops(manifests);
        rule_set
    }

    fn add(
        &mut self,
        rule: &Object<RuleSpec>,
        manifests: &Manifests,
        given: Option<&Address>,
        sinks: &Sinks,
        gates: Option<&Gates>,
    ) {
        let id = rule.id();
        let (mut mailboxes, mut wrong) = (BTreeSet::new(), Vec::new());
        let owners = match (manifests.owners(rule, given), &rule.spec) {
            (Ok(owners), _) => owners,
            // What is wrong with the spec comes first.
            (Err(_), Err(unreadable)) => {
                return self.verdicts.push(Verdict { id, mailboxes, wrong: vec![unreadable.why.clone()] });
            }
            (Err(why), Ok(_)) => return self.verdicts.push(Verdict { id, mailboxes, wrong: vec![why] }),
        };
        let mut add = |why: String| {
            if !wrong.contains(&why) {
                wrong.push(why);
            }
        };
        for owner in owners {
            mailboxes.insert(owner.label.clone());
            let read = match &rule.spec {
                Err(unreadable) => {
                    add(unreadable.why.clone());
                    Err(unreadable.why.clone())
                }
                Ok(spec) => {
                    let disabled = gates.map_or(Ok(()), |gates| desired::is_enabled(spec, gates));
                    if let Err(why) = &disabled {
                        add(why.to_string());
                    }
                    for why in desired::rule_problems(&id, spec, &owner.address, sinks) {
                        add(why.to_string());
                    }
                    let read = || desired::rule(&id, rule.created, spec, &owner.address, sinks);
                    disabled.map_err(|why| why.to_string()).and_then(|()| read().map_err(|why| why.to_string()))
                }
            };
            self.groups.entry(owner.label.clone()).or_insert_with(|| Group::new(owner)).take(&id, read);
        }
        if self.verdicts.iter().any(|known| known.id == id) {
            wrong.push("another rule in the files has the same namespace and name".to_owned());
        }
        self.verdicts.push(Verdict { id, mailboxes, wrong });
    }

    /// A domain's rule does nothing in a mailbox that its mail would come back to.
    fn leave_alone(&mut self, manifests: &Manifests) {
        let paths = Paths::from(manifests.routes(&self.owners()));
        for group in self.groups.values_mut() {
            let mailbox = &group.owner.address;
            for rule in group.rules.iter_mut().filter(|rule| manifests.is_of_domain(&rule.id)) {
                rule.leave_out(|to| paths.ends_only_in(to, mailbox));
            }
        }
    }

    /// In each forwarding loop, the youngest rule is wrong.
    fn find_loops(&mut self, manifests: &Manifests) {
        let mut sends: BTreeMap<String, Sends> = BTreeMap::new();
        for group in self.groups.values() {
            for rule in group.rules.iter().filter(|rule| rule.enabled) {
                let one = sends.entry(rule.id.clone()).or_insert_with(|| Sends {
                    id: rule.id.clone(),
                    created: rule.created,
                    is_of_domain: manifests.is_of_domain(&rule.id),
                    from: vec![],
                    to: vec![],
                });
                one.from.push(group.owner.address.clone());
                one.to.extend(rule.forwards().into_iter().map(|(to, _)| to.clone()));
            }
        }
        let sends: Vec<Sends> = sends.into_values().collect();
        for found in rule_loops(&manifests.routes(&self.owners()).into(), &sends) {
            let id = &found.id;
            let why = found.message("spec.actions", id.split_once('/').map_or("", |(namespace, _)| namespace));
            for group in self.groups.values_mut().filter(|group| group.rules.iter().any(|rule| rule.id == *id)) {
                group.rules.retain(|rule| rule.id != *id);
                group.bad.push(format!("{id}: {why}"));
            }
            let verdicts = self.verdicts.iter_mut().filter(|known| known.id == *id);
            verdicts.for_each(|verdict| verdict.wrong.push(why.clone()));
        }
    }

    fn owners(&self) -> Vec<&Owner> {
        self.groups.values().map(|group| &group.owner).collect()
    }

    /// The rules of the selected mailbox. Rules that can't be read count for every mailbox.
    pub(super) fn only(mut self, input: &Input, to: Option<&Address>) -> Result<Group, Vec<String>> {
        if self.verdicts.is_empty() {
            return Err(vec![format!("no EmailForwardingRule found in {}", shown(&input.files))]);
        }
        let wanted = input.mailbox.as_ref().and_then(|text| Address::parse(text).ok());
        let label = self.label(wanted.as_ref(), to)?;
        let unread = self.unread();
        let nobody = || wanted.or_else(|| to.cloned()).map(Owner::of).map(Group::new);
        let mut group = self.groups.remove(&label).or_else(nobody).ok_or_else(|| unread.clone())?;
        group.bad.extend(unread);
        if group.rules.is_empty() && group.bad.is_empty() {
            return Err(vec![format!("no rule in {} applies to {label}", shown(&input.files))]);
        }
        Ok(group)
    }

    /// Only the rules of these names; all of them if there is no name.
    pub(super) fn named(mut self, names: &[String]) -> Result<Self, Vec<String>> {
        if names.is_empty() {
            return Ok(self);
        }
        let name = |id: &str| id.split_once('/').map_or(id, |(_, name)| name).to_owned();
        let known: Vec<String> = self.verdicts.iter().map(|verdict| name(&verdict.id)).collect();
        if let Some(missing) = names.iter().find(|name| !known.contains(name)) {
            return Err(unknown("EmailForwardingRule", missing, known.iter().map(String::as_str)));
        }
        self.verdicts.retain(|verdict| names.contains(&name(&verdict.id)));
        Ok(self)
    }

    /// The problems of rules that count for every mailbox, because it can't be read for which they are.
    fn unread(&self) -> Vec<String> {
        self.verdicts.iter().filter(|one| one.mailboxes.is_empty()).flat_map(Verdict::problems).collect()
    }

    /// The rules of a mailbox, by its address or the name of its object.
    pub(super) fn of_mailbox(mut self, name: &str) -> Result<Group, Vec<String>> {
        let address = Address::parse(name).ok().map(|address| without_tag(&address).unwrap_or(address));
        let is_it = |group: &Group| group.owner.object.1 == name || Some(&group.owner.address) == address.as_ref();
        let label = self.groups.iter().find(|(_, group)| is_it(group)).map(|(label, _)| label.clone());
        let unread = self.unread();
        let Some(mut group) = label.and_then(|label| self.groups.remove(&label)) else {
            let known =
                self.groups.values().flat_map(|group| [group.owner.label.as_str(), group.owner.object.1.as_str()]);
            return Err(unknown("mailbox with rules", name, known).into_iter().chain(unread).collect());
        };
        group.bad.extend(unread);
        Ok(group)
    }

    /// The label of the selected mailbox.
    fn label(&self, wanted: Option<&Address>, to: Option<&Address>) -> Result<String, Vec<String>> {
        let of = |address: &Address| {
            let is_it = |group: &&Group| group.owner.is_known && group.owner.address == *address;
            self.groups.values().find(is_it).map(|group| group.owner.label.clone())
        };
        if let Some(address) = wanted {
            return Ok(of(address).unwrap_or_else(|| address.to_string()));
        }
        if let Some(label) = to.and_then(|to| of(to).or_else(|| of(&without_tag(to)?))) {
            return Ok(label);
        }
        if self.groups.len() <= 1 {
            return Ok(self.groups.keys().next().cloned().unwrap_or_default());
        }
        let labels: Vec<&str> = self.groups.keys().map(String::as_str).collect();
        Err(vec![format!("the rules belong to several mailboxes ({}); choose one with --mailbox", labels.join(", "))])
    }
}

impl Group {
    /// A mailbox without rules.
    pub(super) fn new(owner: Owner) -> Self {
        Self { owner, rules: Vec::new(), bad: Vec::new() }
    }

    fn take(&mut self, id: &str, rule: Result<Rule, String>) {
        match rule {
            Ok(rule) => self.rules.push(rule),
            Err(why) => self.bad.push(format!("{id}: {why}")),
        }
    }

    /// The script. An error ends it, or with `skip_invalid` is reported and the rule is left out.
    pub(super) fn compiled(&self, skip_invalid: bool, show: &Show) -> Result<Compiled, Vec<String>> {
        let compiled = sieve::compile(&self.owner.mark(), &self.owner.address, &self.rules);
        let refused = compiled.refused.iter().map(|(id, why)| format!("{id}: {why}"));
        let bad: Vec<String> = self.bad.iter().cloned().chain(refused).collect();
        if !bad.is_empty() && !skip_invalid {
            return Err(bad);
        }
        for problem in &bad {
            show.problem(problem);
        }
        Ok(compiled)
    }

    /// The rules in the script, in its order.
    pub(super) fn placed(&self, compiled: &Compiled) -> Vec<&Rule> {
        let of = |id: &String| self.rules.iter().find(|rule| rule.id == *id);
        compiled.placed.iter().filter_map(|placed| of(&placed.id)).collect()
    }

    /// The folders for tasks and notes, each with its rule and action.
    pub(super) fn queues(&self, compiled: &Compiled) -> Value {
        let one = |rule: &Rule, queue: &Queue| {
            let value = json!({"rule": rule.id, "action": queue_action(queue.kind), "sink": queue.sink});
            (queue.folder.clone(), value)
        };
        let all = self.placed(compiled);
        all.into_iter().flat_map(|rule| rule.queues().map(move |queue| one(rule, queue))).collect()
    }
}

/// The installation's sinks from a file, or every sink that a rule names.
pub(super) fn sinks(file: Option<&Path>, manifests: &Manifests) -> Result<Sinks, String> {
    if let Some(file) = file {
        let text = String::from_utf8(read(file)?).map_err(|_| format!("{}: it is not UTF-8 text", file.display()))?;
        return Sinks::parse(&text).map_err(|error| format!("{}: {error}", file.display()));
    }
    let specs = manifests.rules.iter().filter_map(|rule| rule.spec.as_ref().ok());
    let named = |action: &crd::Action| [action.create_task.clone(), action.create_note.clone()];
    let to: BTreeSet<String> =
        specs.flat_map(|spec| spec.actions.iter().flat_map(named)).flatten().map(|to: ToSink| to.sink).collect();
    // An invalid sink name stays unknown.
    let list = |names: &mut dyn Iterator<Item = &String>| -> Value {
        names
            .map(|name| json!({"name": name, "webhook": {"url": "https://sink.invalid"}, "namespaces": ["*"]}))
            .collect()
    };
    let is_name = |name: &&String| Sinks::parse(&list(&mut std::iter::once(*name)).to_string()).is_ok();
    Sinks::parse(&list(&mut to.iter().filter(is_name)).to_string()).map_err(|error| error.to_string())
}

/// The files as given on the command line.
pub(super) fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The address without `+tag`; `None` when it has none.
pub(super) fn without_tag(address: &Address) -> Option<Address> {
    let (local, _) = address.local().split_once('+')?;
    Address::new(local, address.domain().clone()).ok()
}

/// The action that fills a folder of this kind, as named in the output format.
pub(super) fn queue_action(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Task => "CreateTask",
        QueueKind::Note => "CreateNote",
    }
}

/// The nearest of the known rules or mailboxes.
fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    vec![format!("there is no {what} {name} in the namespace{}", nearest(name, known))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_set(rules: &[(&str, Value)], gates: Option<&str>) -> RuleSet {
        let mut manifests = Manifests::default();
        let object = |kind: &str, name: &str, spec: &Value| {
            json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": kind,
                "metadata": {"name": name, "namespace": "mail", "uid": name}, "spec": spec})
        };
        let mut objects = vec![object("EmailDomain", "acme", &json!({"domain": "acme.test"}))];
        for name in ["ada", "bob"] {
            let spec = json!({"localPart": name, "domainRef": {"name": "acme"}});
            objects.push(object("EmailMailbox", name, &spec));
        }
        objects.extend(rules.iter().map(|(name, spec)| object("EmailForwardingRule", name, spec)));
        for object in &objects {
            manifests.add_live(object).unwrap();
        }
        let sinks = sinks(None, &manifests).unwrap();
        RuleSet::of(&manifests, None, &sinks, gates.map(|gates| gates.parse().unwrap()).as_ref())
    }

    fn of(mailbox: &str, action: &Value) -> Value {
        json!({"mailboxRef": {"name": mailbox}, "actions": [action]})
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_reported_for_its_own_mailbox() {
        let newer = json!({"shred": {}});
        let rules = [("good", of("bob", &json!({"ignore": {}}))), ("newer", of("ada", &newer))];
        let group = rule_set(&rules, None).of_mailbox("ada").unwrap();
        assert!(group.bad[0].starts_with("mail/newer: spec.actions[0].shred: unknown field"), "{:?}", group.bad);
        assert!(group.rules.is_empty());
        let group = rule_set(&rules, None).of_mailbox("bob@acme.test").unwrap();
        assert_eq!((group.rules.len(), group.bad.len()), (1, 0));
    }

    #[test]
    fn a_rule_that_hides_its_mailbox_is_reported_for_each() {
        let rules = [("good", of("bob", &json!({"ignore": {}}))), ("odd", json!({"mailboxRef": 7, "actions": []}))];
        let group = rule_set(&rules, None).of_mailbox("bob").unwrap();
        assert!(group.bad[0].starts_with("mail/odd: spec.mailboxRef"), "{:?}", group.bad);
        let whys = rule_set(&rules, None).of_mailbox("ada").err().unwrap();
        assert!(whys[0].contains("no mailbox with rules ada") && whys[1].starts_with("mail/odd"), "{whys:?}");
    }

    #[test]
    fn rules_of_a_feature_that_is_off_are_invalid() {
        let rules =
            [("tasks", of("ada", &json!({"createTask": {"sink": "t"}}))), ("plain", of("ada", &json!({"ignore": {}})))];
        let wrong = |gates| {
            let verdicts = rule_set(&rules, gates).verdicts;
            verdicts
                .into_iter()
                .flat_map(|one| one.wrong.into_iter().map(move |why| format!("{}: {why}", one.id)))
                .collect::<Vec<_>>()
        };
        assert_eq!(wrong(None), Vec::<String>::new());
        assert_eq!(wrong(Some("TaskDelivery=true")), Vec::<String>::new());
        let off = wrong(Some(""));
        assert!(
            off.len() == 1 && off[0].contains("mail/tasks: spec.actions[0]: the feature gate TaskDelivery is off"),
            "{off:?}"
        );
        assert_eq!(wrong(Some("ForwardingRules=false")).len(), 2);
        let group = rule_set(&rules, Some("")).of_mailbox("ada").unwrap();
        assert_eq!((group.rules.len(), group.bad.len()), (1, 1));
    }
}
