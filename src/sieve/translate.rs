//! One rule → one block.

use std::collections::BTreeSet;

use super::script::{Block, Command, How, Slice, Test, What};
use crate::crd::{OnMatch, Spam};
use crate::mail::Quota;
use crate::mail::rule::{self, Action, Condition, Glob, Part, Rule, Target, Text, When};

/// The rule's block. `copied` are targets that an earlier block may have sent a copy to.
pub(super) fn block(rule: &Rule, copied: &BTreeSet<Target>) -> Block {
    Block { comment: comment(&rule.id), test: test(&rule.when), commands: commands(rule, copied) }
}

/// What a reader of the script is told of the rule.
pub(super) fn comment(id: &str) -> String {
    format!("rule {id}")
}

fn commands(rule: &Rule, copied: &BTreeSet<Target>) -> Vec<Command> {
    let forwards = rule.forwards();
    let mut commands: Vec<Command> =
        forwards.iter().map(|(to, kept)| Command::Redirect { to: to.to_string(), copy: *kept }).collect();
    for action in &rule.actions {
        match action {
            Action::Forward { .. } => {}
            Action::Queue(queue) => {
                commands.push(Command::FileInto { folder: queue.folder.clone(), copy: queue.keep_copy });
            }
            Action::Trash => commands.push(Command::FileInto { folder: "Trash".to_owned(), copy: false }),
            Action::Discard => commands.push(Command::Discard),
        }
    }
    // Dovecot drops a second redirect to the same address, and with it that the inbox gets no copy.
    let mut moved = forwards.iter().filter(|(_, kept)| !kept).peekable();
    if moved.peek().is_some() && moved.all(|(to, _)| copied.contains(*to)) {
        commands.push(Command::Discard);
    }
    match rule.on_match {
        OnMatch::Stop => commands.push(Command::Stop),
        OnMatch::Continue => {}
    }
    commands
}

fn test(when: &When) -> Test {
    let mut tests = Vec::new();
    let spam = || compare(What::Header("x-spam-flag".to_owned()), How::Contains, vec!["YES".to_owned()]);
    match when.spam {
        Spam::Any => {}
        Spam::Only => tests.push(spam()),
        Spam::Never => tests.push(Test::Not(Box::new(spam()))),
    }
    tests.extend(when.larger_than.map(|size| Test::Over(kib(size))));
    tests.extend(when.smaller_than.map(|size| Test::Under(kib(size))));
    tests.extend(when.all.iter().map(condition));
    if !when.any.is_empty() {
        tests.push(one_or(Test::Any, when.any.iter().map(condition).collect()));
    }
    if tests.is_empty() { Test::True } else { one_or(Test::All, tests) }
}

fn kib(size: Quota) -> u64 {
    size.as_bytes() / 1024
}

/// The only test itself, or a list of several.
fn one_or(several: fn(Vec<Test>) -> Test, mut tests: Vec<Test>) -> Test {
    match tests.pop() {
        Some(only) if tests.is_empty() => only,
        last => {
            tests.extend(last);
            several(tests)
        }
    }
}

fn condition(condition: &Condition) -> Test {
    let test = plain(condition);
    if condition.not { Test::Not(Box::new(test)) } else { test }
}

fn plain(condition: &Condition) -> Test {
    let part = &condition.part;
    match &condition.test {
        rule::Test::Exists => Test::Exists(header(part).to_owned()),
        rule::Test::Equals(values) => texts(part, How::Is, values, |text| text.as_str().to_owned()),
        rule::Test::Contains(values) => texts(part, How::Contains, values, |text| text.as_str().to_owned()),
        rule::Test::StartsWith(values) => texts(part, How::Matches, values, |text| format!("{}*", literal(text))),
        rule::Test::EndsWith(values) => texts(part, How::Matches, values, |text| format!("*{}", literal(text))),
        rule::Test::Glob(values) => globs(part, values),
        rule::Test::Regex(values) => texts(part, How::Regex, values, |pattern| pattern.as_str().to_owned()),
        rule::Test::Domain(names) => domain(part, names.iter().map(ToString::to_string).collect()),
    }
}

/// Patterns as they are, but for those that Pigeonhole misreads (0.5.19 was tried): behind a `?` and a `*` it forgets that
/// what stands between them has to fit. Those are written as expressions.
fn globs(part: &Part, values: &[Glob]) -> Test {
    let (misread, sound): (Vec<&Glob>, Vec<&Glob>) = values.iter().partition(|glob| is_misread(glob));
    let mut tests = Vec::new();
    if !sound.is_empty() {
        tests.push(texts(part, How::Matches, &sound, |glob| glob.as_str().to_owned()));
    }
    if !misread.is_empty() {
        tests.push(texts(part, How::Regex, &misread, |glob| expression(glob)));
    }
    one_or(Test::Any, tests)
}

fn is_misread(glob: &Glob) -> bool {
    let plain = glob.as_str().replace(r"\\", "").replace(r"\?", "").replace(r"\*", "");
    plain.split_once('?').is_some_and(|(_, rest)| rest.contains('*'))
}

/// The POSIX extended regular expression that fits what the pattern fits.
fn expression(glob: &Glob) -> String {
    let mut expression = "^".to_owned();
    let mut chars = glob.as_str().chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '*' => {
                expression.push_str(".*");
                continue;
            }
            '?' => {
                expression.push('.');
                continue;
            }
            '\\' => chars.next().unwrap_or(c),
            c => c,
        };
        if r".[(){+^$|*?\".contains(literal) {
            expression.push('\\');
        }
        expression.push(literal);
    }
    expression.push('$');
    expression
}

fn literal(text: &Text) -> String {
    Glob::literal(text).as_str().to_owned()
}

fn texts<T>(part: &Part, how: How, values: &[T], key: impl Fn(&T) -> String) -> Test {
    let keys: Vec<String> = values.iter().map(key).collect();
    match part {
        Part::Sender => compare(What::Address(Slice::All, "from"), how, keys),
        Part::EnvelopeSender => compare(What::Envelope(Slice::All, "from"), how, keys),
        Part::Recipient => {
            Test::Any(vec![compare(What::Envelope(Slice::All, "to"), how, keys.clone()), compare(ORIGINAL, how, keys)])
        }
        Part::Subject | Part::Header(_) => compare(What::Header(header(part).to_owned()), how, keys),
    }
}

/// What Mailcow's Postfix puts on top: the address that the mail came for. A sender's own comes below it.
const ORIGINAL: What = What::FirstHeader("x-original-to");

fn domain(part: &Part, names: Vec<String>) -> Test {
    match part {
        Part::EnvelopeSender => compare(What::Envelope(Slice::Domain, "from"), How::Is, names),
        Part::Recipient => {
            let ends = names.iter().map(|name| format!("*@{name}")).collect();
            Test::Any(vec![
                compare(What::Envelope(Slice::Domain, "to"), How::Is, names),
                compare(ORIGINAL, How::Matches, ends),
            ])
        }
        Part::Sender | Part::Subject | Part::Header(_) => compare(What::Address(Slice::Domain, "from"), How::Is, names),
    }
}

/// The header that a part is in.
fn header(part: &Part) -> &str {
    match part {
        Part::Sender | Part::EnvelopeSender => "from",
        Part::Recipient => "x-original-to",
        Part::Subject => "subject",
        Part::Header(name) => name.as_str(),
    }
}

fn compare(what: What, how: How, keys: Vec<String>) -> Test {
    Test::Compare { what, how, keys }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).unwrap()
    }

    #[test]
    fn a_run_behind_one_byte_is_written_as_an_expression() {
        assert!(is_misread(&glob("?nvoice*")) && is_misread(&glob(r"a\??b*")));
        assert!(!is_misread(&glob("*nvoice?")) && !is_misread(&glob(r"\?nvoice*")) && !is_misread(&glob(r"?nvoice\*")));
        assert_eq!(expression(&glob(r"?a.b\*(c*\\")), r"^.a\.b\*\(c.*\\$");
    }

    #[test]
    fn sound_and_misread_patterns_stand_side_by_side() {
        let Test::Any(tests) = globs(&Part::Subject, &[glob("a*"), glob("?b*")]) else { panic!("two tests") };
        let how = |test: &Test| matches!(test, Test::Compare { how: How::Matches, .. });
        assert_eq!(tests.iter().map(how).collect::<Vec<_>>(), [true, false]);
    }
}
