//! All rules of one mailbox → one script, as far as they fit, and the result for each rule.

use std::collections::BTreeSet;

use super::print;
use super::shadow::shadows;
use super::translate;
use crate::crd::OnMatch;
use crate::mail::rule::Rule;
use crate::mail::{Address, Mark, sha256};

/// The longest script in bytes: the size of Mailcow's database column.
const LONGEST: usize = 65_535;
/// How many addresses and queue folders one message may go to. Dovecot counts what a message meets, not the whole
/// script: from 100 on it drops all actions, or files spam wrongly (`sieve_max_redirects`, `sieve_max_actions`).
pub const MOST_TARGETS: usize = 99;
/// Every extension that a script may require.
const EXTENSIONS: [&str; 6] = ["copy", "envelope", "fileinto", "index", "mailbox", "regex"];

/// The result for the rules of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The script; `None` when no rule is active, so that the filter is deleted.
    pub script: Option<Script>,
    /// The rules in the script, in its order.
    pub placed: Vec<Placed>,
    /// Rules that did not fit, each with the reason.
    pub refused: Vec<(String, String)>,
}

/// A script for Mailcow's prefilter slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The script; its first line has the owner's mark and the SHA-256 of the lines below.
    pub text: String,
    /// The description on Mailcow; it has the mark too.
    pub description: String,
    /// SHA-256 of the whole text, in hex.
    pub hash: String,
}

/// A rule in the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its `namespace/name`.
    pub id: String,
    /// Its position, from 1.
    pub position: u32,
    /// An earlier rule that certainly takes all its mail.
    pub shadowed_by: Option<String>,
}

/// Compiles the rules of `mailbox`, given in any order.
pub fn compile(mark: &Mark, mailbox: &Address, rules: &[Rule]) -> Compiled {
    let mut order: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
    order.sort_by(|a, b| (a.priority, a.created, &a.id).cmp(&(b.priority, b.created, &b.id)));
    let mut draft = Draft::new(mailbox, first_line(mark, "").len());
    let mut refused = Vec::new();
    for rule in order {
        if let Err(why) = draft.take(rule) {
            refused.push((rule.id.clone(), why));
        }
    }
    Compiled { script: draft.script(mark), placed: draft.placed(), refused }
}

/// Whether a script of ours has the rule `id`.
pub fn holds(script: &str, id: &str) -> bool {
    let line = format!("# {}", print::comment(&translate::comment(id)));
    script.lines().any(|known| known == line)
}

/// A script that grows rule by rule.
struct Draft<'a> {
    mailbox: &'a Address,
    rules: Vec<&'a Rule>,
    body: String,
    needs: BTreeSet<&'static str>,
    /// Bytes left for the body.
    room: usize,
    /// Targets of the rules that continue.
    passed: usize,
}

impl<'a> Draft<'a> {
    fn new(mailbox: &'a Address, first_line: usize) -> Self {
        let all = print::require(&EXTENSIONS.into()).len();
        let room = LONGEST - first_line - all;
        Self { mailbox, rules: vec![], body: String::new(), needs: BTreeSet::new(), room, passed: 0 }
    }

    /// Adds a rule, or returns why it does not fit.
    fn take(&mut self, rule: &'a Rule) -> Result<(), String> {
        let most = self.passed + rule.forwards().len() + rule.queues().count();
        if most > MOST_TARGETS {
            return Err(format!(
                "together with the earlier rules that continue, a message could go to {most} addresses and folders; Mailcow allows at most {MOST_TARGETS}"
            ));
        }
        let printed = print::block(&translate::block(rule, self.mailbox));
        let long = printed.text.len();
        if long > self.room {
            let room = self.room;
            return Err(format!(
                "the rule needs {long} bytes, but the mailbox's script has only {room} left; Mailcow allows {LONGEST} in total"
            ));
        }
        self.room -= long;
        self.body.push_str(&printed.text);
        self.needs.extend(printed.needs);
        if rule.on_match == OnMatch::Continue {
            self.passed = most;
        }
        self.rules.push(rule);
        Ok(())
    }

    fn script(&self, mark: &Mark) -> Option<Script> {
        if self.rules.is_empty() {
            return None;
        }
        let rest = format!("{}{}", print::require(&self.needs), self.body);
        let text = format!("{}{rest}", first_line(mark, &rest));
        let description =
            format!("{mark} generated from EmailForwardingRule objects; the operator overwrites changes made here");
        Some(Script { hash: sha256(&text), text, description })
    }

    fn placed(&self) -> Vec<Placed> {
        let place = |(i, rule): (usize, &&Rule)| Placed {
            id: rule.id.clone(),
            position: u32::try_from(i + 1).unwrap_or(u32::MAX),
            shadowed_by: self.rules[..i]
                .iter()
                .find(|earlier| shadows(earlier, rule))
                .map(|earlier| earlier.id.clone()),
        };
        self.rules.iter().enumerate().map(place).collect()
    }
}

fn first_line(mark: &Mark, rest: &str) -> String {
    format!("# {} sha256={}\n", print::comment(&mark.to_string()), sha256(rest))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crd::EmailForwardingRuleSpec;

    /// A rule from its spec without the mailbox; made in second 0.
    pub(in super::super) fn rule(id: &str, yaml: &str) -> Rule {
        let mut value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        value["mailboxRef"] = serde_json::json!({"name": "ada"});
        let spec: EmailForwardingRuleSpec = serde_json::from_value(value).unwrap();
        let sinks = "[{name: tracker, webhook: {url: 'https://t.example'}, namespaces: ['*']}]";
        let sinks = crate::mail::Sinks::parse(sinks).unwrap();
        crate::desired::rule(id, 0, &spec, &Address::parse("ada@example.com").unwrap(), &sinks).unwrap()
    }

    fn mark() -> Mark {
        Mark::new("c0ffee00", "mail", "ada", "7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d11")
    }

    fn compiled(rules: &[Rule]) -> Compiled {
        compile(&mark(), &Address::parse("ada@example.com").unwrap(), rules)
    }

    fn order(rules: &[Rule]) -> Vec<String> {
        compiled(rules).placed.into_iter().map(|placed| placed.id).collect()
    }

    const IGNORE: &str = "{actions: [{ignore: {}}]}";

    /// Forwards to `count` addresses of their own.
    fn forwards(id: &str, count: usize, on_match: &str) -> Rule {
        let to: Vec<String> = (0..count).map(|i| format!("{}{i}@b.org", id.replace('/', "-"))).collect();
        rule(id, &format!("{{actions: [{{forward: {{to: [{}]}}}}], onMatch: {on_match}}}", to.join(", ")))
    }

    #[test]
    fn the_script_of_a_small_rule_reads_like_this() {
        let yaml = "{match: {all: [{field: Sender, operator: Domain, values: [vendor.com]}]}, \
                    actions: [{forward: {to: [a@b.org]}}]}";
        let script = compiled(&[rule("mail/r", yaml)]).script.unwrap();
        let (first, rest) = script.text.split_once('\n').unwrap();
        assert_eq!(
            rest,
            "require [\"copy\"];\n# rule mail/r\nif allof (\n  not header :contains \"x-spam-flag\" \"YES\",\n  address \
             :domain :is \"from\" \"vendor.com\") {\n  redirect :copy \"a@b.org\";\n  stop;\n}\n"
        );
        assert_eq!(first, format!("# {} sha256={}", mark(), sha256(rest)));
    }

    #[test]
    fn the_owner_is_found_in_first_line_and_description() {
        let long = Mark::new("c0ffee00", &"n".repeat(63), &"x".repeat(253), "7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d11");
        for mark in [mark(), long] {
            let ada = Address::parse("ada@example.com").unwrap();
            let script = compile(&mark, &ada, &[rule("n/r", IGNORE)]).script.unwrap();
            assert_eq!(Mark::of_script(&script.text), Some(mark.clone()));
            assert_eq!(Mark::at_start(&script.description), Some(mark));
            assert!(script.description.len() <= 255);
            assert_eq!(script.hash, sha256(&script.text));
        }
    }

    #[test]
    fn order_is_priority_then_age_then_name_however_they_are_given() {
        let mut first = rule("z/z", IGNORE);
        first.priority = 1;
        let mut elder = rule("n/b", IGNORE);
        elder.created = -5;
        let rules = [rule("n/c", IGNORE), rule("n/a", IGNORE), elder, first];
        assert_eq!(order(&rules), ["z/z", "n/b", "n/a", "n/c"]);
        let mut turned = rules.to_vec();
        turned.reverse();
        assert_eq!(compiled(&rules), compiled(&turned));
    }

    #[test]
    fn without_a_rule_in_force_there_is_no_script() {
        let mut off = rule("n/r", IGNORE);
        off.enabled = false;
        assert_eq!(compiled(&[]), Compiled::default());
        assert_eq!(compiled(&[off.clone()]), Compiled::default());
        assert_eq!(order(&[off, rule("n/s", IGNORE)]), ["n/s"]);
    }

    #[test]
    fn a_script_tells_which_rules_it_holds() {
        let text = compiled(&[rule("n/rule", IGNORE)]).script.unwrap().text;
        assert!(holds(&text, "n/rule") && !holds(&text, "n/rul") && !holds(&text, "n/other"));
    }

    #[test]
    fn positions_count_from_one_and_name_who_takes_the_mail() {
        let placed = compiled(&[rule("n/a", IGNORE), rule("n/b", IGNORE)]).placed;
        let placed: Vec<_> = placed.iter().map(|p| (p.position, p.shadowed_by.as_deref())).collect();
        assert_eq!(placed, [(1, None), (2, Some("n/a"))]);
    }

    #[test]
    fn what_one_message_could_be_forwarded_to_is_limited_to_99() {
        let rules = [
            forwards("n/a", 60, "Continue"),
            forwards("n/b", 40, "Stop"),
            forwards("n/c", 39, "Stop"),
            forwards("n/d", 39, "Stop"),
            forwards("n/e", 100, "Stop"),
        ];
        let compiled = compiled(&rules);
        assert_eq!(order(&rules), ["n/a", "n/c", "n/d"]);
        assert_eq!(compiled.refused[0].0, "n/b");
        assert!(compiled.refused[0].1.contains("100 addresses"), "{:?}", compiled.refused);
        assert_eq!(compiled.refused[1].0, "n/e");
    }

    #[test]
    fn a_copy_for_a_task_counts_like_a_forward() {
        let task = rule("n/b", "{actions: [{createTask: {sink: tracker}}]}");
        assert_eq!(order(&[forwards("n/a", 99, "Stop"), task.clone()]), ["n/a", "n/b"]);
        assert_eq!(order(&[forwards("n/a", 99, "Continue"), task]), ["n/a"]);
    }

    #[test]
    fn a_task_is_a_copy_in_a_folder_of_its_own() {
        let text = |keep| {
            let yaml =
                format!("{{match: {{spam: Any}}, actions: [{{createTask: {{sink: tracker, keepCopy: {keep}}}}}]}}");
            compiled(&[rule("n/a", &yaml)]).script.unwrap().text
        };
        assert!(text(true).contains("  fileinto :copy :create \"Ops/Tasks/n/a@tracker\";\n"), "{}", text(true));
        assert!(text(false).contains("  fileinto :create \"Ops/Tasks/n/a@tracker\";\n"), "{}", text(false));
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole_and_smaller_rules_still_go_in() {
        let big = |id: &str| {
            let values: Vec<String> = (0..64).map(|i| format!("\"{i:02}{}\"", "x".repeat(500))).collect();
            let values = values.join(", ");
            let yaml = format!(
                "{{match: {{all: [{{field: Subject, operator: Equals, values: [{values}]}}]}}, actions: [{{ignore: {{}}}}]}}"
            );
            rule(id, &yaml)
        };
        let rules = [big("n/a"), big("n/b"), rule("n/c", IGNORE)];
        let compiled = compiled(&rules);
        assert_eq!(order(&rules), ["n/a", "n/c"]);
        assert!(compiled.refused[0].1.contains("bytes"), "{:?}", compiled.refused);
        assert!(compiled.script.unwrap().text.len() <= LONGEST);
    }

    #[test]
    fn a_script_may_fill_the_room_to_the_last_byte() {
        let rules: Vec<Rule> = (0..2000).map(|i| rule(&format!("n/rule-{i:04}"), IGNORE)).collect();
        let compiled = compiled(&rules);
        let long = compiled.script.unwrap().text.len();
        assert!(long <= LONGEST && long > LONGEST - 200, "{long}");
        assert_eq!(compiled.placed.len() + compiled.refused.len(), 2000);
    }

    #[test]
    fn moved_mail_is_discarded_here_unless_it_came_back() {
        let text = |keep: bool| {
            let yaml = format!("{{match: {{spam: Any}}, actions: [{{forward: {{to: [a@b.org], keepCopy: {keep}}}}}]}}");
            compiled(&[rule("n/a", &yaml)]).script.unwrap().text
        };
        let discard = "  redirect \"a@b.org\";\n  if not header :matches \"x-sieve-redirected-from\" [\n    \
                       \"*ada@example.com\",\n    \"*ada+*@example.com\"] {\n    discard;\n  }\n  stop;\n";
        assert!(text(false).contains(discard), "{}", text(false));
        assert!(!text(true).contains("discard"), "{}", text(true));
    }

    #[test]
    fn a_hostile_name_stays_inside_its_comment() {
        let mut hostile = rule("n/r", IGNORE);
        hostile.id = "n/r\r\ndiscard;\n*/".to_owned();
        let script = compiled(&[hostile]).script.unwrap();
        assert!(script.text.contains("\n# rule n/rdiscard;*/\n"), "{}", script.text);
    }
}
