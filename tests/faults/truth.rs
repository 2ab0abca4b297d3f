//! What an object asks of Mailcow against what Mailcow has: a second opinion, from the documentation of the API alone,
//! that shares no code with the operator.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailcow_simulator::{FilterKind, State};
use serde_json::Value;

use crate::mirror::{Life, Mirror};

/// Begins every mark of ownership that the operator leaves.
const MARK: &str = "mailcow-operator/";

/// What is needed to say what an object asks.
pub(crate) struct Scene<'a> {
    pub(crate) mirror: &'a Mirror,
    pub(crate) namespaces: &'a [String],
}

/// Whom a mark names: the cluster, and the object as `namespace/name`.
pub(crate) type Owner = (String, String);

/// Who is named by a mark in a text.
pub(crate) fn owner(text: &str) -> Option<Owner> {
    let rest = text.split_once(MARK)?.1;
    let mark = rest.split(|c: char| c.is_whitespace() || c == '"').next()?;
    let mut pieces = mark.split('/');
    let (cluster, namespace, name) = (pieces.next()?, pieces.next()?, pieces.next()?);
    Some((cluster.to_owned(), format!("{namespace}/{name}")))
}

/// Where a mailbox may carry its mark.
pub(crate) fn marks(mailbox: &mailcow_simulator::Mailbox) -> Vec<String> {
    let attributes = mailbox.custom_attributes.iter().map(|(_, value)| value.to_text());
    attributes.chain(mailbox.tags.iter().cloned()).collect()
}

/// The Secret with a mailbox's password, and its key.
pub(crate) fn secret<'a>(spec: &'a Value, name: &str) -> (String, &'a str) {
    let given = &spec["passwordSecretRef"];
    match (given["name"].as_str(), spec["credentialsSecretName"].as_str()) {
        (Some(given_name), _) => (given_name.to_owned(), given["key"].as_str().unwrap_or("password")),
        (None, Some(named)) => (named.to_owned(), "password"),
        (None, None) => (format!("{name}-mailbox"), "password"),
    }
}

/// The password in a value of a Secret. A newline at its end is no part of it.
pub(crate) fn password(value: &Value) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()?;
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The address of a name in a domain; domains are compared in lower case and as A-labels.
fn ascii(name: &str) -> String {
    let lower = name.to_lowercase();
    idna::domain_to_ascii(&lower).unwrap_or(lower)
}

fn canonical(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", local.to_lowercase(), ascii(domain)),
        None => address.to_lowercase(),
    }
}

/// A quantity in bytes.
fn bytes(text: &str) -> Option<i64> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    match units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))) {
        Some((digits, shift)) => digits.parse::<i64>().ok()?.checked_shl(shift),
        None => text.parse().ok(),
    }
}

impl Scene<'_> {
    /// The newest `EmailDomain` that a reference means, whether or not it is still there.
    fn domain_of(&self, spec: &Value, own: &str) -> Option<Arc<Life>> {
        let reference = &spec["domainRef"];
        let namespace = reference["namespace"].as_str().unwrap_or(own);
        self.mirror.newest("EmailDomain", namespace, reference["name"].as_str()?)
    }

    /// The name on Mailcow of an `EmailDomain`.
    pub(crate) fn domain_name(spec: &Value) -> String {
        ascii(spec["domain"].as_str().unwrap_or_default())
    }

    /// The address of an `EmailMailbox` or `EmailAlias`; `@domain` for a catch-all.
    pub(crate) fn address(&self, spec: &Value, own: &str) -> Option<String> {
        let domain = Self::domain_name(self.domain_of(spec, own)?.spec());
        Some(format!("{}@{domain}", spec["localPart"].as_str().unwrap_or_default().to_lowercase()))
    }

    /// What an object is about on Mailcow: its domain, its address, or the mailboxes that a rule is for. `None` while the
    /// mirror does not know what it refers to.
    pub(crate) fn things(&self, kind: &str, spec: &Value, own: &str) -> Option<Vec<String>> {
        let is_known = |name: &Value| self.mirror.newest("EmailMailbox", own, name["name"].as_str()?);
        match kind {
            "EmailDomain" => Some(vec![Self::domain_name(spec)]),
            "EmailForwardingRule" => Some(self.mailboxes_of(own, spec, false)),
            _ => {
                let mut references = spec["gotoMailboxRefs"].as_array().into_iter().flatten();
                references.all(|name| is_known(name).is_some()).then(|| self.address(spec, own).into_iter().collect())
            }
        }
    }

    /// On which server an object's things are.
    pub(crate) fn server(&self, kind: &str, spec: &Value, own: &str) -> Option<String> {
        let of = |domain: &Value| domain["server"].as_str().unwrap_or("default").to_owned();
        match kind {
            "EmailDomain" => Some(of(spec)),
            "EmailForwardingRule" if !spec["mailboxRef"].is_null() => {
                let mailbox = self.mirror.newest("EmailMailbox", own, spec["mailboxRef"]["name"].as_str()?)?;
                Some(of(self.domain_of(mailbox.spec(), own)?.spec()))
            }
            _ => Some(of(self.domain_of(spec, own)?.spec())),
        }
    }

    /// In what Mailcow differs from a spec; empty when it is as asked.
    pub(crate) fn differences(
        &self,
        kind: &str,
        (namespace, name): (&str, &str),
        spec: &Value,
        state: &State,
    ) -> Vec<String> {
        let mut found = Differences(Vec::new());
        let owner = format!("{namespace}/{name}");
        match kind {
            "EmailDomain" => domain(&mut found, &owner, spec, state),
            "EmailMailbox" => self.mailbox(&mut found, &owner, namespace, spec, state),
            "EmailAlias" => self.alias(&mut found, &owner, namespace, spec, state),
            _ => self.rule(&mut found, namespace, spec, state),
        }
        found.0
    }

    fn mailbox(&self, found: &mut Differences, owner: &str, namespace: &str, spec: &Value, state: &State) {
        let Some(address) = self.address(spec, namespace) else { return found.say("no domain is known for it") };
        let Some(have) = state.mailbox(&address).filter(|mailbox| !mailbox.half_deleted) else {
            return found.say("it is not there");
        };
        found.text("displayName", &spec["displayName"], &have.name);
        if let Some(quota) = spec["quota"].as_str().and_then(bytes) {
            found.equal("quota", quota, have.quota);
        }
        let active = match spec["state"].as_str() {
            Some("Inactive") => 0,
            Some("LoginDisabled") => 2,
            _ => 1,
        };
        found.equal("state", active, have.active);
        let switch = |name: &str| {
            let pair = have.attributes.switches.iter().find(|(switch, _)| *switch == name);
            pair.is_some_and(|(_, value)| value == "1")
        };
        if let Some(wanted) = spec["protocols"].as_array() {
            for (protocol, name) in [
                ("IMAP", "imap_access"),
                ("POP3", "pop3_access"),
                ("SMTP", "smtp_access"),
                ("Sieve", "sieve_access"),
                ("EAS", "eas_access"),
                ("DAV", "dav_access"),
                ("SOGo", "sogo_access"),
            ] {
                found.equal(protocol, wanted.iter().any(|wanted| wanted == protocol), switch(name));
            }
        }
        found.flag("tls.enforceIncoming", &spec["tls"]["enforceIncoming"], switch("tls_enforce_in"));
        found.flag("tls.enforceOutgoing", &spec["tls"]["enforceOutgoing"], switch("tls_enforce_out"));
        found.tags(&spec["tags"], &have.tags);
        found.rate(&spec["rateLimit"], state.rate_limits.get(&address));
        found.owned(owner, marks(have).iter().map(String::as_str));
    }

    fn alias(&self, found: &mut Differences, owner: &str, namespace: &str, spec: &Value, state: &State) {
        let Some(address) = self.address(spec, namespace) else { return found.say("no domain is known for it") };
        let Some(have) = state.alias(&address) else { return found.say("it is not there") };
        let wanted: BTreeSet<String> = if let Some(sink) = spec["sink"].as_str() {
            let to = match sink {
                "Discard" => "null@localhost",
                "LearnSpam" => "spam@localhost",
                _ => "ham@localhost",
            };
            [to.to_owned()].into()
        } else if let Some(references) = spec["gotoMailboxRefs"].as_array() {
            let address = |name: &Value| {
                let mailbox = self.mirror.newest("EmailMailbox", namespace, name["name"].as_str()?)?;
                self.address(mailbox.spec(), namespace)
            };
            references.iter().filter_map(address).collect()
        } else {
            spec["goto"].as_array().into_iter().flatten().filter_map(Value::as_str).map(canonical).collect()
        };
        let goto: BTreeSet<String> = have.gotos().map(canonical).collect();
        if wanted != goto {
            found.say(&format!("goto is {goto:?}, not {wanted:?}"));
        }
        found.equal("active", spec["active"].as_bool().unwrap_or(true), have.active == 1);
        found.flag("visibleInSogo", &spec["visibleInSogo"], have.sogo_visible == 1);
        found.flag("senderAllowed", &spec["senderAllowed"], have.sender_allowed == 1);
        found.text("publicComment", &spec["publicComment"], have.public_comment.as_deref().unwrap_or_default());
        found.owned(owner, have.private_comment.as_deref());
    }

    /// Whether the scripts of all mailboxes that the rule is for hold its forwards.
    fn rule(&self, found: &mut Differences, namespace: &str, spec: &Value, state: &State) {
        if spec["enabled"] == false {
            return;
        }
        let targets = forwards(spec);
        for address in self.mailboxes_of(namespace, spec, true) {
            let scripts: Vec<&str> = ours_in_force(state, &address).collect();
            match scripts[..] {
                [] => found.say(&format!("{address} has no script of ours in force")),
                _ => {
                    for target in
                        targets.iter().filter(|to| !scripts.iter().any(|script| redirects(script).contains(*to)))
                    {
                        found.say(&format!("the script of {address} does not forward to {target}"));
                    }
                }
            }
        }
    }

    /// The addresses that a rule is for; `ready`: only those whose mailbox says that it is.
    pub(crate) fn mailboxes_of(&self, namespace: &str, spec: &Value, ready: bool) -> Vec<String> {
        let is_ready = |life: &Arc<Life>| {
            life.deleting.is_none() && life.condition("Ready").is_some_and(|(status, _)| status == "True")
        };
        let address = |life: &Arc<Life>| self.address(life.spec(), namespace);
        if let Some(name) = spec["mailboxRef"]["name"].as_str() {
            let mailbox = self.mirror.newest("EmailMailbox", namespace, name);
            return mailbox.filter(|life| !ready || is_ready(life)).as_ref().and_then(address).into_iter().collect();
        }
        let domain = &spec["domainRef"];
        let all = self.mirror.all("EmailMailbox", &[namespace.to_owned()]);
        let of_domain = all.into_iter().filter(|(_, life)| {
            let its = &life.spec()["domainRef"];
            let place = |reference: &Value| reference["namespace"].as_str().unwrap_or(namespace).to_owned();
            its["name"] == domain["name"]
                && place(its) == place(domain)
                && (!ready || (life.is_there() && is_ready(life)))
        });
        of_domain.filter_map(|(_, life)| address(&life)).collect()
    }

    /// Whether any rule ever asked for this forward.
    pub(crate) fn ever_asked(&self, server: &str, from: &str, to: &str) -> bool {
        self.asked(server, true).contains(&(from.to_owned(), to.to_owned()))
    }

    /// Forwards in force that no rule asks for: of those that exist, or of all that ever did. `mailbox → target`.
    pub(crate) fn stray_forwards(&self, state: &State, (server, ever): (&str, bool)) -> BTreeSet<String> {
        let asked = self.asked(server, ever);
        let mut stray = BTreeSet::new();
        for filter in state.filters.values().filter(|filter| is_ours(filter)) {
            let from = canonical(&filter.username);
            for target in redirects(&filter.script) {
                if !asked.contains(&(from.clone(), target.clone())) {
                    stray.insert(format!("{from} -> {target}"));
                }
            }
        }
        stray
    }

    /// What the rules ask for that exist, or all that ever did: mailbox and target.
    fn asked(&self, server: &str, ever: bool) -> BTreeSet<(String, String)> {
        let mut asked: BTreeSet<(String, String)> = BTreeSet::new();
        for ((namespace, _), life) in self.mirror.all("EmailForwardingRule", self.namespaces) {
            let is_kept = life.spec()["deletionPolicy"] == "Retain";
            let may = |spec: &&Value| ever || is_kept || (life.is_there() && spec["enabled"] != false);
            let newest = life.specs.last_key_value().map(|(_, spec)| spec);
            let specs: Vec<&Value> = if ever { life.specs.values().collect() } else { newest.into_iter().collect() };
            for spec in specs.into_iter().filter(may) {
                if self.server("EmailForwardingRule", spec, &namespace).is_some_and(|its| its != server) {
                    continue;
                }
                for address in self.mailboxes_of(&namespace, spec, false) {
                    asked.extend(forwards(spec).into_iter().map(|target| (address.clone(), target)));
                }
            }
        }
        asked
    }
}

fn is_ours(filter: &mailcow_simulator::SieveFilter) -> bool {
    filter.active
        && filter.kind == FilterKind::Before
        && (filter.script.contains(MARK) || filter.description.contains("mailcow-operator"))
}

fn ours_in_force<'a>(state: &'a State, address: &'a str) -> impl Iterator<Item = &'a str> {
    let of_it = state.filters.values().filter(move |filter| canonical(&filter.username) == address && is_ours(filter));
    of_it.map(|filter| filter.script.as_str())
}

/// The addresses that a rule forwards to.
fn forwards(spec: &Value) -> BTreeSet<String> {
    let actions = spec["actions"].as_array().into_iter().flatten();
    let to = actions.filter_map(|action| action["forward"]["to"].as_array()).flatten();
    // The sinks of the stories' installation, of which one is an address.
    let sinks = spec["actions"].as_array().into_iter().flatten();
    let sinks = sinks.flat_map(|action| [&action["createTask"]["sink"], &action["createNote"]["sink"]]);
    let by_mail = sinks.filter(|sink| **sink == "desk").map(|_| "desk@tools.example".to_owned());
    to.filter_map(Value::as_str).map(canonical).chain(by_mail).collect()
}

/// The addresses that a script redirects to.
pub(crate) fn redirects(script: &str) -> BTreeSet<String> {
    let commands = script.lines().filter_map(|line| line.trim().strip_prefix("redirect "));
    let quoted = commands.filter_map(|rest| rest.split('"').nth(1));
    quoted.map(canonical).collect()
}

fn domain(found: &mut Differences, owner: &str, spec: &Value, state: &State) {
    let name = Scene::domain_name(spec);
    let Some(have) = state.domain(&name) else { return found.say("it is not there") };
    found.text("description", &spec["description"], &have.description);
    if spec["dns"]["gate"] != "Activate" {
        found.equal("active", spec["active"].as_bool().unwrap_or(true), have.active == 1);
    }
    let limits = &spec["limits"];
    found.number("limits.mailboxes", limits["mailboxes"].as_i64(), have.max_mailboxes);
    found.number("limits.aliases", limits["aliases"].as_i64(), have.max_aliases);
    let mib = |value: &Value| value.as_str().and_then(bytes).map(|bytes| bytes >> 20);
    found.number("limits.mailboxQuota", mib(&limits["mailboxQuota"]), have.max_quota);
    found.number("limits.totalQuota", mib(&limits["totalQuota"]), have.quota);
    found.number("mailboxDefaults.quota", mib(&spec["mailboxDefaults"]["quota"]), have.default_quota);
    found.flag("globalAddressList", &spec["globalAddressList"], have.gal == 1);
    found.flag("relay.backupMx", &spec["relay"]["backupMx"], have.backupmx == 1);
    found.flag("relay.allRecipients", &spec["relay"]["allRecipients"], have.relay_all_recipients == 1);
    found.flag("relay.unknownOnly", &spec["relay"]["unknownOnly"], have.relay_unknown_only == 1);
    if let Some(host) = spec["relay"]["host"].as_i64() {
        found.equal("relay.host", host.to_string(), have.relayhost.clone());
    }
    found.tags(&spec["tags"], &have.tags);
    found.rate(&spec["rateLimit"], state.rate_limits.get(&name));
    match (spec["dkim"]["selector"].as_str(), state.dkim.get(&name)) {
        (_, None) => found.say("it has no DKIM key"),
        (Some(selector), Some(key)) => found.equal("dkim.selector", selector, key.selector.as_str()),
        (None, Some(_)) => {}
    }
    found.owned(owner, have.tags.iter().map(String::as_str));
}

/// In what things differ, field by field. A field that the spec leaves out is nobody's business.
struct Differences(Vec<String>);

impl Differences {
    fn say(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    #[expect(clippy::needless_pass_by_value, reason = "most are numbers")]
    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, field: &str, wanted: T, have: T) {
        if wanted != have {
            self.0.push(format!("{field} is {have:?}, not {wanted:?}"));
        }
    }

    fn text(&mut self, field: &str, wanted: &Value, have: &str) {
        if let Some(wanted) = wanted.as_str() {
            self.equal(field, wanted, have);
        }
    }

    fn number(&mut self, field: &str, wanted: Option<i64>, have: i64) {
        if let Some(wanted) = wanted {
            self.equal(field, wanted, have);
        }
    }

    fn flag(&mut self, field: &str, wanted: &Value, have: bool) {
        if let Some(wanted) = wanted.as_bool() {
            self.equal(field, wanted, have);
        }
    }

    fn tags(&mut self, wanted: &Value, have: &BTreeSet<String>) {
        let have: BTreeSet<String> = have.iter().map(|tag| tag.to_lowercase()).collect();
        for tag in wanted.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !have.contains(&tag.to_lowercase()) {
                self.0.push(format!("the tag {tag:?} is missing"));
            }
        }
    }

    fn rate(&mut self, wanted: &Value, have: Option<&mailcow_simulator::RateLimit>) {
        let Some(messages) = wanted["messages"].as_i64() else { return };
        let frame = match wanted["per"].as_str() {
            Some("Second") => "s",
            Some("Minute") => "m",
            Some("Hour") => "h",
            _ => "d",
        };
        let have = have.map(|rate| (rate.value, rate.frame.as_str()));
        let wanted = (messages > 0).then_some((messages, frame));
        self.equal("rateLimit", wanted, have);
    }

    fn owned<'a>(&mut self, by: &str, marks: impl IntoIterator<Item = &'a str>) {
        let owners: Vec<String> = marks.into_iter().filter_map(owner).map(|(_, owner)| owner).collect();
        if owners != [by] {
            self.0.push(format!("it is marked as that of {owners:?}, not of {by}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_cluster_and_object() {
        let text = "# mailcow-operator/testing/mail/ada/7d0a2f0e sha256=1";
        assert_eq!(owner(text), Some(("testing".to_owned(), "mail/ada".to_owned())));
        assert_eq!(owner("mailcow-operator is nice"), None);
    }

    #[test]
    fn redirects_are_read_from_a_script() {
        let script =
            "if true {\n  redirect :copy \"A@b.org\";\n  redirect \"c@d.example\";\n}\n# redirect \"no@x.org\"\n";
        assert_eq!(redirects(script), ["a@b.org", "c@d.example"].map(str::to_owned).into());
    }
}
