//! All rules of one mailbox → one script, as much as fits, and what became of each rule.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::print;
use super::shadow::shadows;
use super::translate;
use crate::crd::OnMatch;
use crate::mail::Mark;
use crate::mail::rule::{Rule, Target};

/// The longest script in bytes: the column that Mailcow keeps it in.
const LONGEST: usize = 65_535;
/// How many addresses one message may be forwarded to. From 100 on Dovecot drops all actions or files spam wrongly.
pub const MOST_REDIRECTS: usize = 99;
/// Every extension that a script may require.
const EXTENSIONS: [&str; 6] = ["copy", "envelope", "fileinto", "index", "mailbox", "regex"];

/// What became of the rules of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The script; `None` when no rule is in force, so that the filter goes away.
    pub script: Option<Script>,
    /// The rules in the script, in its order.
    pub placed: Vec<Placed>,
    /// Rules that did not fit, each with the reason.
    pub refused: Vec<(String, String)>,
}

/// A script for Mailcow's prefilter slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The script; its first line holds the owner's mark and the SHA-256 of the lines below.
    pub text: String,
    /// What Mailcow shows beside it; holds the mark too.
    pub description: String,
    /// SHA-256 of the whole text, in hex.
    pub hash: String,
}

/// A rule in the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its `namespace/name`.
    pub id: String,
    /// Its place, from 1.
    pub position: u32,
    /// An earlier rule that surely takes all its mail.
    pub shadowed_by: Option<String>,
}

/// Compiles the rules of one mailbox, given in any order.
pub fn compile(mark: &Mark, rules: &[Rule]) -> Compiled {
    let mut order: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
    order.sort_by(|a, b| (a.priority, a.created, &a.id).cmp(&(b.priority, b.created, &b.id)));
    let mut draft = Draft::new(first_line(mark, "").len());
    let mut refused = Vec::new();
    for rule in order {
        if let Err(why) = draft.take(rule) {
            refused.push((rule.id.clone(), why));
        }
    }
    Compiled { script: draft.script(mark), placed: draft.placed(), refused }
}

/// A script that grows rule by rule.
struct Draft<'a> {
    rules: Vec<&'a Rule>,
    body: String,
    needs: BTreeSet<&'static str>,
    /// Bytes left for the body.
    room: usize,
    /// Forwards of the rules that let later rules see the mail.
    passed: usize,
    /// Where those may have sent a copy to.
    copied: BTreeSet<Target>,
}

impl<'a> Draft<'a> {
    fn new(first_line: usize) -> Self {
        let all = print::require(&EXTENSIONS.into()).len();
        let room = LONGEST - first_line - all;
        Self { rules: vec![], body: String::new(), needs: BTreeSet::new(), room, passed: 0, copied: BTreeSet::new() }
    }

    /// Adds a rule, or says why it does not fit.
    fn take(&mut self, rule: &'a Rule) -> Result<(), String> {
        let forwards = rule.forwards();
        let most = self.passed + forwards.len();
        if most > MOST_REDIRECTS {
            return Err(format!(
                "a message could be forwarded to {most} addresses with the earlier rules that continue; Mailcow sends none of more than {MOST_REDIRECTS}"
            ));
        }
        let printed = print::block(&translate::block(rule, &self.copied));
        let long = printed.text.len();
        if long > self.room {
            let room = self.room;
            return Err(format!(
                "it takes {long} bytes and the mailbox's script has room for {room}; Mailcow takes {LONGEST} in all"
            ));
        }
        self.room -= long;
        self.body.push_str(&printed.text);
        self.needs.extend(printed.needs);
        if rule.on_match == OnMatch::Continue {
            self.passed = most;
            self.copied.extend(forwards.into_iter().filter(|(_, kept)| *kept).map(|(to, _)| to.clone()));
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
        let description = format!("{mark} made from EmailForwardingRule objects; edits here are undone");
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

fn sha256(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
