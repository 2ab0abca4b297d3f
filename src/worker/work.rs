//! Rules and mailboxes → the queue folders of each mailbox. Only decisions: everything comes as values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use crate::crd::{DEFAULT_SERVER, DisabledSink, EmailForwardingRule, EmailMailbox, REPLAY};
use crate::desired;
use crate::intake::queue::{ImapServer, ImapTls, Limits, MailboxQueues, QueueFolder, Replay, Work};
use crate::intake::report::EventReason;
use crate::intake::rule_ref::RuleRef;
use crate::intake::sink::Sink;
use crate::kubernetes::app_passwords::AppPasswordEntry;
use crate::kubernetes::object::{annotation, is_paused};
use crate::mail::rule::Queue;
use crate::mail::{Address, Sinks};

/// Where the IMAP servers are, and for how long `Done` keeps messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// IMAP servers by the Mailcow server's name; others are at their mail host.
    pub(crate) servers: BTreeMap<String, ImapAddress>,
    /// How connections are encrypted.
    pub(crate) tls: ImapTls,
    /// Certificates of a private CA, PEM.
    pub(crate) ca: Vec<u8>,
    /// How long `Done` keeps messages.
    pub(crate) keep_done: Duration,
    /// The Mailcow servers whose mailboxes are worked on; empty: all.
    pub(crate) serve: BTreeSet<String>,
}

impl Settings {
    /// Whether the worker of another instance works on the mailbox.
    fn leaves_to_others(&self, mailbox: &EmailMailbox) -> bool {
        let server = mailbox.status.as_ref().and_then(|status| status.server.as_deref());
        !self.serve.is_empty() && !self.serve.contains(server.unwrap_or(DEFAULT_SERVER))
    }
}

/// Where an IMAP server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImapAddress {
    /// Its host.
    pub(crate) host: String,
    /// Its port; `None` for the usual one of the encryption.
    pub(crate) port: Option<u16>,
}

/// A queue folder of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FolderKey {
    /// `metadata.uid` of the rule.
    pub(crate) rule: String,
    /// The mailbox.
    pub(crate) mailbox: Address,
    /// The folder's name.
    pub(crate) folder: String,
}

/// What is to be done, and what each rule waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assembled {
    /// For the intake.
    pub(crate) work: Work,
    /// Every rule with queue folders.
    pub(crate) rules: Vec<RuleQueues>,
    /// Mailboxes with a replay request that is not handled yet.
    pub(crate) replays: Vec<MailboxReplay>,
}

/// A replay request of a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct MailboxReplay {
    /// Its object.
    pub(crate) object: Arc<EmailMailbox>,
    /// Its address.
    pub(crate) address: Address,
    /// The value of the annotation.
    pub(crate) request: String,
}

/// A rule with queue folders.
#[derive(Clone, Debug)]
pub(crate) struct RuleQueues {
    /// Its object.
    pub(crate) object: Arc<EmailForwardingRule>,
    /// Its folders that are worked on.
    pub(crate) folders: Vec<FolderKey>,
    /// Those that can't be read.
    pub(crate) unreadable: Vec<FolderKey>,
    /// Those that are not worked on because somebody paused the rule or the mailbox.
    pub(crate) paused: Vec<FolderKey>,
    /// Its sinks.
    pub(crate) sinks: Vec<String>,
    /// Why a folder is not worked on, the first one.
    pub(crate) blocked: Option<Blocked>,
    /// Its replay request that is not handled yet.
    pub(crate) replay: Option<String>,
}

/// Why the copies of a rule wait in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// One word: of [`EventReason`], or of the operator's own reasons.
    pub(crate) reason: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl Blocked {
    /// From a report of the intake.
    pub(crate) fn reported(reason: EventReason, message: &str) -> Self {
        Self { reason: reason.as_str().to_owned(), message: message.to_owned() }
    }
}

/// Everything that the work is made from.
pub(crate) struct Objects<'a> {
    /// All rules.
    pub(crate) rules: &'a [Arc<EmailForwardingRule>],
    /// The app passwords, by the uid of the mailbox.
    pub(crate) entry: &'a dyn Fn(&str) -> Option<Arc<AppPasswordEntry>>,
    /// The installation's sinks.
    pub(crate) sinks: &'a Sinks,
    /// Those of them that can be used.
    pub(crate) usable: &'a BTreeMap<String, Arc<Sink>>,
    /// Hashes of their configurations.
    pub(crate) configurations: &'a BTreeMap<String, String>,
    /// Servers.
    pub(crate) settings: &'a Settings,
}

/// What is to be done now, of all mailboxes.
pub(crate) fn assemble(objects: &Objects<'_>, mailboxes: impl IntoIterator<Item = Arc<EmailMailbox>>) -> Assembled {
    let mut rules: Vec<RuleQueues> =
        objects.rules.iter().filter(|rule| may_have_queues(rule)).map(rule_queues).collect();
    let mut of_namespace: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, rule) in rules.iter().enumerate() {
        of_namespace.entry(rule.object.namespace().unwrap_or_default()).or_default().push(place);
    }
    let mut made = Assembled::default();
    let mut servers = HashMap::new();
    for mailbox in mailboxes.into_iter().filter(|mailbox| !objects.settings.leaves_to_others(mailbox)) {
        let Some(places) = of_namespace.get(mailbox.metadata.namespace.as_deref().unwrap_or_default()) else {
            continue;
        };
        let Some(address) = address_of(&mailbox) else { continue };
        let mut folders = Vec::new();
        for place in places {
            if let Some(rule) = rules.get_mut(*place) {
                folders.extend(rule.folders_in(&mailbox, &address, objects));
            }
        }
        let uid = mailbox.uid().unwrap_or_default();
        let entry = (objects.entry)(&uid).filter(|entry| entry.address == address.to_string());
        let Some(entry) = entry.filter(|_| !folders.is_empty()) else { continue };
        if let Some(asked) = pending(annotation(mailbox.as_ref(), REPLAY), handled_of(&mailbox)) {
            made.replays.push(MailboxReplay { object: mailbox.clone(), address: address.clone(), request: asked });
        }
        let server = server_of(&entry, objects.settings);
        let server = servers.entry((server.host.clone(), server.port)).or_insert_with(|| Arc::new(server)).clone();
        made.work.mailboxes.push(MailboxQueues {
            login: address.to_string(),
            authserv_id: Some(entry.host.clone()).filter(|host| !host.is_empty()),
            address,
            server,
            password: entry.password.clone(),
            folders,
        });
    }
    made.work.mailboxes.sort_by(|a, b| a.address.cmp(&b.address));
    made.work.mailboxes.dedup_by(|a, b| a.address == b.address);
    made.work.sinks.clone_from(objects.usable);
    made.work.disabled = rules.iter().flat_map(|rule| disabled(rule, objects.configurations)).collect();
    // A rule whose sinks all take email has no copies to report on.
    rules.retain(|rule| rule.all_folders().next().is_some());
    made.rules = rules;
    made
}

fn may_have_queues(rule: &EmailForwardingRule) -> bool {
    rule.metadata.deletion_timestamp.is_none()
        && rule.spec.actions.iter().any(|action| action.create_task.is_some() || action.create_note.is_some())
}

/// The sinks of a rule that answered 410 as they are configured now, as its status says.
fn disabled(rule: &RuleQueues, configurations: &BTreeMap<String, String>) -> Vec<String> {
    let delivered = rule.object.status.as_ref().and_then(|status| status.delivered.as_ref());
    let sinks = delivered.into_iter().flat_map(|delivered| &delivered.disabled_sinks);
    let is_same = |sink: &&DisabledSink| configurations.get(&sink.name) == Some(&sink.configuration);
    sinks.filter(is_same).map(|sink| sink.name.clone()).collect()
}

fn rule_queues(rule: &Arc<EmailForwardingRule>) -> RuleQueues {
    let handled = rule.status.as_ref().and_then(|status| status.last_handled_replay.as_deref());
    RuleQueues {
        object: rule.clone(),
        folders: Vec::new(),
        unreadable: Vec::new(),
        paused: Vec::new(),
        sinks: Vec::new(),
        blocked: None,
        replay: pending(annotation(rule.as_ref(), REPLAY), handled),
    }
}

/// A request that is not handled yet.
fn pending(asked: Option<&str>, handled: Option<&str>) -> Option<String> {
    asked.filter(|asked| !asked.is_empty() && Some(*asked) != handled).map(ToOwned::to_owned)
}

fn handled_of(mailbox: &EmailMailbox) -> Option<&str> {
    mailbox.status.as_ref()?.last_handled_replay.as_deref()
}

/// The address of a mailbox that the operator has made or adopted.
fn address_of(mailbox: &EmailMailbox) -> Option<Address> {
    let status = mailbox.status.as_ref().filter(|_| mailbox.metadata.deletion_timestamp.is_none())?;
    Address::parse(status.address.as_deref()?).ok()
}

fn server_of(entry: &AppPasswordEntry, settings: &Settings) -> ImapServer {
    let given = settings.servers.get(&entry.server).cloned();
    let ImapAddress { host, port } = given.unwrap_or_else(|| ImapAddress { host: entry.host.clone(), port: None });
    let port = port.unwrap_or_else(|| settings.tls.default_port());
    ImapServer { host, port, tls: settings.tls, ca: settings.ca.clone() }
}

impl RuleQueues {
    /// Its folders in a mailbox; notes why there are none although there should be.
    fn folders_in(&mut self, mailbox: &EmailMailbox, address: &Address, objects: &Objects<'_>) -> Vec<QueueFolder> {
        let (namespace, name) = (mailbox.namespace().unwrap_or_default(), mailbox.name_any());
        if !desired::applies(&self.object.spec, &namespace, &name, &mailbox.spec) {
            return Vec::new();
        }
        let rule = RuleRef { uid: self.object.uid().unwrap_or_default(), namespace, name: self.object.name_any() };
        let id = format!("{}/{}", rule.namespace, rule.name);
        // What is wrong with a rule is in its conditions; the operator writes them.
        let Ok(read) = desired::rule(&id, 0, &self.object.spec, address, objects.sinks) else { return Vec::new() };
        let queues: Vec<&Queue> = read.queues().collect();
        if queues.is_empty() {
            return Vec::new();
        }
        self.sinks.extend(queues.iter().map(|queue| queue.sink.clone()));
        self.sinks.sort_unstable();
        self.sinks.dedup();
        let keys = queues.iter().map(|queue| FolderKey {
            rule: rule.uid.clone(),
            mailbox: address.clone(),
            folder: queue.folder.clone(),
        });
        let paused = self.paused_in(mailbox, address);
        if let Some(blocked) = paused.clone().or_else(|| unreadable(mailbox, address, objects)) {
            if paused.is_some() { &mut self.paused } else { &mut self.unreadable }.extend(keys);
            self.blocked.get_or_insert(blocked);
            return Vec::new();
        }
        self.folders.extend(keys);
        let replay =
            Replay { rule: self.replay.clone(), mailbox: pending(annotation(mailbox, REPLAY), handled_of(mailbox)) };
        let folder = |queue: &Queue| QueueFolder {
            folder: queue.folder.clone(),
            kind: queue.kind,
            sink: queue.sink.clone(),
            rule: rule.clone(),
            title: queue.title.clone(),
            labels: queue.labels.clone(),
            automatic: queue.automatic,
            limits: Limits::default(),
            keep_done: Some(objects.settings.keep_done),
            replay: replay.clone(),
        };
        queues.into_iter().map(folder).collect()
    }

    /// All its folders, whether they are worked on or not.
    pub(crate) fn all_folders(&self) -> impl Iterator<Item = &FolderKey> {
        self.folders.iter().chain(&self.unreadable).chain(&self.paused)
    }

    fn paused_in(&self, mailbox: &EmailMailbox, address: &Address) -> Option<Blocked> {
        let message = if is_paused(self.object.as_ref()) {
            "the rule is paused; its copies wait in the mailbox".to_owned()
        } else if is_paused(mailbox) {
            format!("the EmailMailbox of {address} is paused; copies wait in the mailbox")
        } else {
            return None;
        };
        Some(Blocked { reason: "Paused".to_owned(), message })
    }
}

/// Why the worker can't log in to a mailbox.
fn unreadable(mailbox: &EmailMailbox, address: &Address, objects: &Objects<'_>) -> Option<Blocked> {
    let delivery = mailbox.status.as_ref().and_then(|status| status.delivery.as_ref());
    let uid = mailbox.metadata.uid.as_deref().unwrap_or_default();
    let entry = (objects.entry)(uid).filter(|entry| entry.address == address.to_string());
    let reported = delivery.and_then(|delivery| Some((delivery.reason.clone()?, delivery.message.clone()?)));
    match (entry, reported) {
        (None, Some((reason, message))) => Some(Blocked { reason, message }),
        (None, None) => {
            let message = format!(
                "the operator has not made the app password of {address} yet; check that it runs with the feature gate TaskDelivery"
            );
            Some(Blocked { reason: "Pending".to_owned(), message })
        }
        // Nobody can log in: a try would only count for Mailcow's ban.
        (Some(_), Some((reason, message))) if ["ImapDisabled", "MailboxInactive"].contains(&reason.as_str()) => {
            Some(Blocked { reason, message })
        }
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::{ExposeSecret, SecretString};

    const SINKS: &str = "
- {name: tracker, webhook: {url: https://t.example/hook}, namespaces: ['*']}
- {name: wiki, caldav: {url: https://c.example/notes/}, namespaces: ['*']}
- {name: board, email: {address: in@board.example}, namespaces: ['*']}
";

    fn rule(name: &str, spec: &str) -> Arc<EmailForwardingRule> {
        let mut rule = EmailForwardingRule::new(name, serde_yaml::from_str(spec).unwrap());
        rule.metadata.namespace = Some("mail".into());
        rule.metadata.uid = Some(format!("uid of {name}"));
        Arc::new(rule)
    }

    fn mailbox(local: &str) -> EmailMailbox {
        let spec = format!("localPart: {local}\ndomainRef: {{name: d}}");
        let mut mailbox = EmailMailbox::new(local, serde_yaml::from_str(&spec).unwrap());
        mailbox.metadata.namespace = Some("mail".into());
        mailbox.metadata.uid = Some(format!("uid of {local}"));
        let status = format!("{{address: {local}@e.com}}");
        mailbox.status = Some(serde_yaml::from_str(&status).unwrap());
        mailbox
    }

    fn entry(uid: &str) -> Option<Arc<AppPasswordEntry>> {
        let local = uid.strip_prefix("uid of ")?;
        (local != "eve").then(|| {
            Arc::new(AppPasswordEntry {
                address: format!("{local}@e.com"),
                server: if local == "bob" { "internal" } else { "default" }.into(),
                host: "mail.e.com".into(),
                version: "v".into(),
                password: SecretString::from(format!("password of {local}")),
                replaced_for: None,
            })
        })
    }

    #[test]
    fn a_worker_leaves_the_mailboxes_of_other_instances_alone() {
        let mut bob = mailbox("bob");
        bob.status.get_or_insert_default().server = Some("internal".into());
        let rules = [rule("bugs", TASK), rule("all", "domainRef: {name: d}\nactions: [{createNote: {sink: wiki}}]")];
        let worked_on = |names: &[&str]| {
            let serve = names.iter().map(|name| (*name).to_owned()).collect();
            let made = made_with(&Settings { serve, ..settings() }, &rules, vec![bob.clone(), mailbox("ada")]);
            let mailboxes = made.work.mailboxes.iter().map(|mailbox| mailbox.address.to_string());
            let rules = made.rules.iter().map(|rule| rule.object.name_any());
            (mailboxes.collect::<Vec<_>>().join(" "), rules.collect::<Vec<_>>().join(" "))
        };
        let named = |mailboxes: &str, rules: &str| (mailboxes.to_owned(), rules.to_owned());
        assert_eq!(worked_on(&[]), named("ada@e.com bob@e.com", "bugs all"));
        assert_eq!(worked_on(&["default"]), named("ada@e.com", "bugs all"));
        assert_eq!(worked_on(&["internal"]), named("bob@e.com", "all"));
        assert_eq!(worked_on(&["other"]), named("", ""), "nothing is reported of the rules of others");
    }

    fn settings() -> Settings {
        Settings {
            servers: [("internal".to_owned(), ImapAddress { host: "dovecot.mail.svc".to_owned(), port: Some(1993) })]
                .into(),
            tls: ImapTls::Implicit,
            ca: Vec::new(),
            keep_done: Duration::from_hours(720),
            serve: BTreeSet::new(),
        }
    }

    fn made(rules: &[Arc<EmailForwardingRule>], mailboxes: Vec<EmailMailbox>) -> Assembled {
        made_with(&settings(), rules, mailboxes)
    }

    fn made_with(settings: &Settings, rules: &[Arc<EmailForwardingRule>], mailboxes: Vec<EmailMailbox>) -> Assembled {
        let sinks = Sinks::parse(SINKS).unwrap();
        let usable = BTreeMap::new();
        let configurations = BTreeMap::from([("tracker".to_owned(), "now".to_owned())]);
        let (usable, configurations) = (&usable, &configurations);
        let objects = Objects { rules, entry: &entry, sinks: &sinks, usable, configurations, settings };
        assemble(&objects, mailboxes.into_iter().map(Arc::new))
    }

    const TASK: &str = "mailboxRef: {name: ada}
actions: [{forward: {to: [a@b.org]}}, {createTask: {sink: tracker, title: 'T {subject}', labels: [x]}}]";

    #[test]
    fn a_mailbox_has_the_folders_of_its_rules() {
        let of_domain = "domainRef: {name: d}\nactions: [{createNote: {sink: wiki}}, {createTask: {sink: board}}]";
        let made = made(&[rule("bugs", TASK), rule("all", of_domain)], vec![mailbox("bob"), mailbox("ada")]);
        let shown: Vec<(String, Vec<&str>)> = made
            .work
            .mailboxes
            .iter()
            .map(|m| (m.address.to_string(), m.folders.iter().map(|f| f.folder.as_str()).collect()))
            .collect();
        assert_eq!(
            shown,
            [
                ("ada@e.com".into(), vec!["Ops/Tasks/mail/bugs@tracker", "Ops/Notes/mail/all@wiki"]),
                ("bob@e.com".into(), vec!["Ops/Notes/mail/all@wiki"]),
            ]
        );
        let ada = &made.work.mailboxes[0];
        assert_eq!(ada.password.expose_secret(), "password of ada");
        assert_eq!((ada.server.host.as_str(), ada.server.port), ("mail.e.com", 993));
        assert_eq!(made.work.mailboxes[1].server.host, "dovecot.mail.svc");
        assert_eq!(made.rules[1].folders.len(), 2);
    }

    #[test]
    fn the_order_of_actions_changes_nothing_that_is_delivered() {
        let of = |actions: &str| {
            let rule = rule("bugs", &format!("mailboxRef: {{name: ada}}\nactions: [{actions}]"));
            let mut folders = made(&[rule], vec![mailbox("ada")]).work.mailboxes.remove(0).folders;
            folders.sort_by(|a, b| a.folder.cmp(&b.folder));
            folders
        };
        let (task, note) = ("{createTask: {sink: tracker}}", "{createNote: {sink: wiki}}");
        let known = of(&format!("{task}, {note}"));
        assert_eq!(known.len(), 2);
        assert_eq!(of(&format!("{note}, {task}")), known);
        assert_eq!(of(&format!("{{forward: {{to: [a@b.org]}}}}, {task}, {note}")), known);
    }

    #[test]
    fn starttls_is_at_its_own_port() {
        let port = |tls| {
            let entry = entry("uid of ada").unwrap();
            server_of(&entry, &Settings { tls, ..settings() }).port
        };
        assert_eq!((port(ImapTls::Implicit), port(ImapTls::StartTls)), (993, 143));
    }

    #[test]
    fn a_rule_without_queues_is_not_reported_on() {
        let board = "mailboxRef: {name: ada}\nactions: [{createTask: {sink: board}}]";
        let missing = "mailboxRef: {name: ada}\nactions: [{createTask: {sink: nothing}}]";
        let made = made(&[rule("one", board), rule("two", missing)], vec![mailbox("ada")]);
        assert!(made.rules.is_empty() && made.work.mailboxes.is_empty());
    }

    #[test]
    fn what_a_rule_waits_for_is_reported() {
        let blocked = |mailbox: EmailMailbox, rule: Arc<EmailForwardingRule>| {
            let made = made(&[rule], vec![mailbox]);
            assert!(made.work.mailboxes.is_empty());
            let blocked = made.rules[0].blocked.clone().unwrap();
            let is_paused = blocked.reason == "Paused";
            assert_eq!(
                (made.rules[0].paused.len(), made.rules[0].unreadable.len()),
                if is_paused { (1, 0) } else { (0, 1) }
            );
            blocked
        };
        let eve = TASK.replace("name: ada", "name: eve");
        assert_eq!(blocked(mailbox("eve"), rule("r", &eve)).reason, "Pending");
        let mut refused = mailbox("eve");
        let status = "{state: Stalled, reason: PasswordRejected, message: the policy}";
        refused.status.as_mut().unwrap().delivery = Some(serde_yaml::from_str(status).unwrap());
        assert_eq!(blocked(refused, rule("r", &eve)).message, "the policy");
        let mut off = mailbox("ada");
        let status = "{state: Stalled, reason: ImapDisabled, message: IMAP is off}";
        off.status.as_mut().unwrap().delivery = Some(serde_yaml::from_str(status).unwrap());
        assert_eq!(blocked(off, rule("r", TASK)).reason, "ImapDisabled");
        let mut paused = mailbox("ada");
        paused.metadata.annotations = Some([(crate::crd::PAUSED.to_owned(), "true".to_owned())].into());
        assert_eq!(blocked(paused, rule("r", TASK)).reason, "Paused");
    }

    #[test]
    fn a_sink_that_answered_410_is_disabled_until_its_configuration_changes() {
        let disabled = |configuration: &str| {
            let mut rule = (*rule("r", TASK)).clone();
            let status = format!(
                "{{delivered: {{total: 0, failed: 1, waiting: 0, disabledSinks: [{{name: tracker, configuration: {configuration}}}]}}}}"
            );
            rule.status = Some(serde_yaml::from_str(&status).unwrap());
            made(&[Arc::new(rule)], vec![mailbox("ada")]).work.disabled.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(disabled("now"), ["tracker"]);
        assert_eq!(disabled("before"), Vec::<String>::new());
    }

    #[test]
    fn a_replay_is_asked_for_until_it_is_handled() {
        let asked = |of_rule: Option<&str>, handled: Option<&str>, of_mailbox: Option<&str>| {
            let mut rule = (*rule("r", TASK)).clone();
            rule.metadata.annotations = of_rule.map(|value| [(REPLAY.to_owned(), value.to_owned())].into());
            rule.status = Some(crate::crd::EmailForwardingRuleStatus {
                last_handled_replay: handled.map(ToOwned::to_owned),
                ..Default::default()
            });
            let mut ada = mailbox("ada");
            ada.metadata.annotations = of_mailbox.map(|value| [(REPLAY.to_owned(), value.to_owned())].into());
            made(&[Arc::new(rule)], vec![ada]).work.mailboxes[0].folders[0].replay.clone()
        };
        let of = |rule: Option<&str>, mailbox: Option<&str>| Replay {
            rule: rule.map(ToOwned::to_owned),
            mailbox: mailbox.map(ToOwned::to_owned),
        };
        assert_eq!(asked(None, None, None), of(None, None));
        assert_eq!(asked(Some("1"), None, None), of(Some("1"), None));
        assert_eq!(asked(Some("1"), Some("1"), None), of(None, None));
        assert_eq!(asked(Some("2"), Some("1"), Some("x mailbox=y")), of(Some("2"), Some("x mailbox=y")));
        assert_eq!(asked(Some("1"), Some("1"), Some("x")), of(None, Some("x")));
    }
}
