//! A record with all it includes, walked as a whole: what it costs, for advice.

use super::super::answer::Kind;
use super::super::known::{Known, Need};
use super::super::name;
use super::eval::{Stop, select};
use super::macros::MacroString;
use super::mechanism::Mechanism;
use super::record::Record;

/// At most this many records are read.
const MOST_RECORDS: usize = 40;

/// What the whole tree costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    /// Terms that look up, all records together.
    pub(super) lookups: usize,
    /// The same for each include or redirect of the top record.
    pub(super) branches: Vec<(String, usize)>,
    /// Whether a record uses `ptr`.
    pub(super) uses_ptr: bool,
    /// Why an evaluation that goes all the way fails: a loop, or a target without a record.
    pub(super) broken: Option<String>,
    read: usize,
}

/// Walks a record's tree. Targets with macros are counted, not followed.
///
/// # Errors
/// When something has to be asked first: all that is known to be needed by now, not only the next.
pub(super) fn tree(known: &Known, domain: &str, record: &Record) -> Result<Tree, Need> {
    let mut tree = Tree::default();
    let mut needs = Vec::new();
    tree.walk(known, &[domain.to_owned()], record, &mut needs);
    if needs.is_empty() { Ok(tree) } else { Err(Need::of(needs)) }
}

impl Tree {
    fn walk(&mut self, known: &Known, path: &[String], record: &Record, needs: &mut Vec<Need>) {
        self.lookups += record.directives.iter().filter(|directive| directive.mechanism.looks_up()).count();
        self.uses_ptr |= record.directives.iter().any(|directive| matches!(directive.mechanism, Mechanism::Ptr(_)));
        let redirect = record.redirect.as_ref().filter(|_| record.catch_all().is_none());
        self.lookups += usize::from(redirect.is_some());
        let includes = record.directives.iter().filter_map(|directive| match &directive.mechanism {
            Mechanism::Include(target) => Some(target),
            _ => None,
        });
        for target in includes.chain(redirect).filter_map(MacroString::plain) {
            let before = self.lookups;
            self.follow(known, path, &name::canonical(&target), needs);
            if path.len() == 1 {
                self.branches.push((target, self.lookups - before + 1));
            }
        }
    }

    fn follow(&mut self, known: &Known, path: &[String], target: &str, needs: &mut Vec<Need>) {
        let from = path.last().map(String::as_str).unwrap_or_default();
        if path.iter().any(|above| above == target) {
            self.broken.get_or_insert(format!(
                "{from} includes {target}, which includes it again: remove one of the two includes"
            ));
            return;
        }
        self.read += 1;
        if self.read > MOST_RECORDS {
            return;
        }
        let answer = match known.ask(target, Kind::Txt) {
            Ok(answer) => answer,
            Err(need) => return needs.push(need),
        };
        let problem = match select(target, answer) {
            Ok(Some(text)) => match Record::parse(text) {
                Ok(record) => return self.walk(known, &[path, &[target.to_owned()]].concat(), &record, needs),
                Err(problem) => format!("in {target}: {problem}"),
            },
            Ok(None) => format!("{from} includes {target}, but {target} has no SPF record"),
            Err(Stop::Permanent(problem)) => problem,
            Err(_) => return,
        };
        self.broken.get_or_insert(problem);
    }
}
